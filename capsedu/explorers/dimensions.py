"""The dimensions explorer: an entry of a digit capsule under a slider, and the digit it makes."""

import functools

import ipywidgets as widgets
import numpy as np

from capsedu.arguments import as_numbers, check_shape
from capsedu.capsule_network import CapsuleNetwork
from capsedu.data import load_digits_sample
from capsedu.explorers.shell import Explorer
from capsedu.sketches.dimensions import (
    AMOUNTS,
    Moves,
    move_dimension,
    sketch_dimension,
    sketch_table,
)
from capsedu.sketches.sketch import Sketch
from capsedu.trained_network import load_trained_network

DIGITS = {"a 4": 2, "a 7": 10, "a 2": 26, "a 5": 1, "a 3": 23}  # test images of the sample
ENTRY, MOVED = 3, 0.25  # what is seen first, and in the still


def dimensions_explorer(
    network: CapsuleNetwork | None = None, images: np.ndarray | None = None
) -> Explorer:
    """An entry of a capsule under a slider: `sketch_dimension(move_dimension(…), amount)`.

    Parameters
    ----------
    network : CapsuleNetwork, optional
        The trained network that comes with the package, if not given.
    images : array_like, shape (N, height, width), optional
        Grey values in [0, 1], of which the reader chooses one; five digits of the sample if not
        given.

    Returns
    -------
    Explorer
        Without a kernel: one entry moved; below, every entry of the first image's capsule.

    Raises
    ------
    ValueError
        If there is no image, or one does not fit the network or has other values.
    """
    network = load_trained_network() if network is None else network
    if images is None:
        x_test = load_digits_sample()[2]
        shown = {name: x_test[index] for name, index in DIGITS.items()}
    else:
        images = as_numbers("images", images)
        check_shape("images", images, batch=(), N=None, height=None, width=None)
        shown = {f"image {k}": image for k, image in enumerate(images, start=1)}

    @functools.cache
    def moves(example: str, dimension: int) -> Moves:
        return move_dimension(network, shown[example], dimension)

    def draw(amount: float, dimension: int, example: str) -> Sketch:
        return sketch_dimension(moves(example, dimension), amount)

    for example in shown:  # one that cannot be decoded is refused before it is seen
        m = len(moves(example, 1).v)
    controls = {
        "amount": widgets.SelectionSlider(
            options=AMOUNTS, value=0.0, description="moved by", readout=False
        ),
        "dimension": widgets.IntSlider(
            value=min(ENTRY, m), min=1, max=m, description="entry of v", readout=False
        ),
        "example": widgets.Dropdown(options=list(shown), description="digit"),
    }
    first = next(iter(shown))
    table = [moves(first, dimension) for dimension in range(1, m + 1)]
    stills = {f"One entry of v, the capsule of {first}": {"amount": MOVED}}
    below = {"Every entry of it, in a row of its own": sketch_table(table)}
    return Explorer(draw, controls, stills, beforehand="amount", below=below)
