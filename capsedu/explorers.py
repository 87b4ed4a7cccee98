"""Explorers: a slider over pictures in a live notebook, one still picture everywhere else.

`from capsedu.explorers import routing_explorer`, in a notebook, and give it your own arrays.
"""

import base64
import html
from collections.abc import Sequence
from dataclasses import replace

import ipywidgets as widgets
import numpy as np

from capsedu.figures.canvas import Picture
from capsedu.figures.routing import (
    WHAT_IS_DRAWN,
    check_plane,
    routing_iteration,
    routing_readout,
    routing_row,
)
from capsedu.routing import route


class Explorer(widgets.VBox):
    """A slider over frames drawn beforehand, and the still that stands in where no kernel runs.

    The browser itself ties the slider to the frames: moving it asks no kernel and draws nothing.

    Parameters
    ----------
    name : str
        The slider's label.
    frames : sequence of (Picture, str)
        For each position of the slider, 1, 2, …, its picture, and its numbers as a line of text,
        which the picture's alt text does not repeat.
    still : Picture
        What the same cell shows where no kernel runs.
    """

    def __init__(self, name: str, frames: Sequence[tuple[Picture, str]], still: Picture):
        # A screen reader says the slider's value, so that is the position: from 1, like the frames,
        # with nothing at 0. The slider's own readout would say it again.
        slots = [widgets.HTML(), *(_frame(*frame) for frame in frames)]
        shown = widgets.Stack(slots, selected_index=1)
        slider = widgets.IntSlider(value=1, min=1, max=len(frames), description=name, readout=False)
        play = widgets.Play(value=1, min=1, max=len(frames), interval=1000)
        super().__init__([widgets.HBox([play, slider]), shown])
        self.links = (
            widgets.jslink((play, "value"), (slider, "value")),
            widgets.jslink((slider, "value"), (shown, "selected_index")),
        )
        self.still = still

    def _repr_mimebundle_(self, **kwargs: object) -> tuple[dict, dict]:
        """Return the widget and the still together: a front end shows the one it can."""
        still, metadata = self.still._repr_mimebundle_()
        return super()._repr_mimebundle_(**kwargs) | still, metadata


def _frame(picture: Picture, readout: str) -> widgets.HTML:
    """Return a picture and its readout as one widget, so that they cannot disagree."""
    png = base64.b64encode(picture.png).decode()
    # Decoded at once, or the place would be empty for a moment at every step of the slider.
    return widgets.HTML(
        f'<img src="data:image/png;base64,{png}" alt="{html.escape(picture.alt)}" '
        f'width="{picture.width}" decoding="sync"><p>{html.escape(readout)}</p>'
    )


def routing_explorer(z: np.ndarray, iterations: int = 10) -> Explorer:
    """Routing by agreement in the plane, iteration by iteration: `routing_iteration(route(z), k)`.

    Parameters
    ----------
    z : array_like, shape (I, J, 2)
        Prediction vectors of one example.
    iterations : int
        The slider goes from 1 to here.

    Returns
    -------
    Explorer
        Without a kernel: the iterations 1, 3 and the last, in a row.

    Raises
    ------
    ValueError
        If z has another shape or is not finite, or `iterations` is less than 1.
    """
    routing = route(z, iterations)
    check_plane(routing)
    positions = range(1, iterations + 1)
    frames = [
        (replace(routing_iteration(routing, k), alt=WHAT_IS_DRAWN), routing_readout(routing, k))
        for k in positions
    ]
    story = sorted({1, 3, iterations} & set(positions))
    return Explorer("iteration", frames, routing_row(routing, story))
