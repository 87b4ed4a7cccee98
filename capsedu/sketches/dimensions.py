"""The dimensions of a digit capsule: one entry of v moved, decoded, and read again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from capsedu.arguments import as_numbers, check_shape
from capsedu.capsule_network import CapsuleNetwork
from capsedu.figures.palette import COLOURS
from capsedu.sketches.plane import Plane
from capsedu.sketches.sketch import Sketch, corners

AMOUNTS = tuple(round(0.05 * k, 2) for k in range(-5, 6))  # by which an entry of v is moved
WIDTH, HEIGHT = 760, 304  # pixels of the sketch
SIDE = 150  # pixels of a large image
STRIP = 708  # pixels for the images of all amounts
COLUMN, ROW = 340, 32  # pixels of a row of the table, without and with what is between
ROUNDING = 1e-6  # of grey values, in single precision
DESCRIPTION = (
    "Three images: the one that was shown, the one decoded from the digit's capsule v, and the one "
    "decoded with one entry of v moved. To the right the entries of v as bars, the moved one dark, "
    "with a line where it was. Below, the images decoded for every amount, the present one framed."
)


@dataclass(frozen=True, eq=False)
class Moves:
    """What an image's longest capsule is decoded to when one entry of it is moved.

    Attributes
    ----------
    image : ndarray, shape (height, width)
    j : int
        The longest output capsule.
    v : ndarray, shape (m,)
    dimension : int
        The entry that is moved, counted from 1.
    decoded : ndarray, shape (amounts, height, width)
        For each of `AMOUNTS`.
    read, length : ndarray, shape (amounts,)
        The capsule that is longest when the network is shown what was decoded, and how long it is.
    """

    image: np.ndarray
    j: int
    v: np.ndarray
    dimension: int
    decoded: np.ndarray
    read: np.ndarray
    length: np.ndarray


def move_dimension(network: CapsuleNetwork, image: np.ndarray, dimension: int) -> Moves:
    """x̂ = decode(T ⊙ (v + a e_k)),  T the longest capsule, k the dimension: for each amount a.

    Parameters
    ----------
    network : CapsuleNetwork
    image : array_like, shape (height, width)
        Grey values in [0, 1], of the size that the network was made for.
    dimension : int
        The entry that is moved, counted from 1.

    Raises
    ------
    ValueError
        If the image does not fit the network or has other values, or there is no such dimension.
    """
    image = as_numbers("image", image)
    check_shape("image", image, batch=(), height=None, width=None)
    if not ((image >= -ROUNDING) & (image <= 1 + ROUNDING)).all():  # nor is NaN between them
        got = f"{image.min()} to {image.max()}"
        raise ValueError(f"image: got values from {got}, want grey values from 0 to 1")
    v = network.forward(image).routing.v
    j = int(np.linalg.norm(v, axis=-1).argmax())
    if not 1 <= dimension <= v.shape[-1]:
        raise ValueError(f"dimension: got {dimension}, want one from 1 to {v.shape[-1]}")
    moved = np.tile(v, (len(AMOUNTS), 1, 1))
    moved[:, j, dimension - 1] += AMOUNTS
    decoded = network.reconstruct(moved, np.full(len(AMOUNTS), j)).reshape(-1, *image.shape)
    again = np.linalg.norm(network.forward(decoded).routing.v, axis=-1)
    return Moves(image, j, v[j], dimension, decoded, again.argmax(axis=-1), again.max(axis=-1))


def sketch_dimension(moves: Moves, amount: float) -> Sketch:
    """Draw the image, what its capsule is decoded to, and that with one entry of v moved.

    Parameters
    ----------
    moves : Moves
        What `move_dimension` returned.
    amount : float
        One of `AMOUNTS`.

    Raises
    ------
    ValueError
        If the amount is another.
    """
    if amount not in AMOUNTS:
        raise ValueError(f"amount: got {amount}, want one of {', '.join(map(str, AMOUNTS))}")
    a, here = AMOUNTS.index(amount), AMOUNTS.index(0)
    sketch = Sketch(WIDTH, HEIGHT, "Dimensions of a capsule", DESCRIPTION, readout(moves, a))
    shown = (
        ("the image", moves.image, f"longest capsule: {moves.j}"),
        ("decoded from v", moves.decoded[here], f"read again: {moves.read[here]}"),
        (_moved(moves.dimension, a), moves.decoded[a], f"read again: {moves.read[a]}"),
    )
    for column, (title, image, below) in enumerate(shown):
        left = 26 + column * (SIDE + 16)
        sketch.words((left + SIDE / 2, 12), title)
        sketch.image(image, (left, 24), (SIDE, SIDE), title)
        sketch.words((left + SIDE / 2, 24 + SIDE + 12), below, size=12)
    _draw_entries(sketch, moves, amount)
    _draw_strip(sketch, moves, a)
    return sketch


def sketch_table(table: Sequence[Moves]) -> Sketch:
    """Draw what is decoded for every amount, an entry of v a row."""
    rows = math.ceil(len(table) / 2)
    read = np.array([moves.read for moves in table])
    told = (
        f"Of the {read.size} images, decoded with one of {len(table)} entries moved by −0.25 to "
        f"0.25, the network reads {(read == table[0].j).sum()} as {table[0].j}."
    )
    description = "Decoded images in rows: an entry of v a row, moved from left to right."
    sketch = Sketch(WIDTH, 20 + ROW * rows, "Dimensions of a capsule", description, told)
    for number, moves in enumerate(table):
        column, row = divmod(number, rows)
        left, top = 26 + column * (COLUMN + 30), 18 + ROW * row
        if row == 0:
            for share, amount in ((0.5, AMOUNTS[0]), (5.5, 0.0), (10.5, AMOUNTS[-1])):
                at = left + COLUMN * share / len(AMOUNTS), 9
                sketch.words(at, _signed(amount), size=11)
        sketch.words((left - 6, top + ROW / 2), str(moves.dimension), anchor="end", size=12)
        strip, size = np.concatenate(moves.decoded, axis=-1), (COLUMN, COLUMN / len(AMOUNTS))
        sketch.image(strip, (left, top), size, f"entry {moves.dimension}, moved by −0.25 to 0.25")
    return sketch


def readout(moves: Moves, a: int) -> str:
    """Return in words which entry was moved, by how much, and as what the image is read again."""
    after = _after(moves, AMOUNTS[a])
    k, m = moves.dimension, len(after)
    return (
        f"Longest capsule: {moves.j}, length {np.linalg.norm(moves.v):.2f}. "
        f"{_moved(k, a).capitalize()}: of {m} entries, number {k} is {_signed(after[k - 1])}, and "
        f"the length of v {np.linalg.norm(after):.2f}. The network reads the image decoded from it "
        f"as {moves.read[a]}, length {moves.length[a]:.2f}."
    )


def _after(moves: Moves, amount: float) -> np.ndarray:
    return moves.v + amount * (np.arange(1, len(moves.v) + 1) == moves.dimension)


def _signed(x: float) -> str:
    return f"{round(float(x), 2) + 0:+.2f}".replace("-", "−").replace("+0.00", "0")


def _moved(dimension: int, a: int) -> str:
    return f"entry {dimension} moved by {_signed(AMOUNTS[a])}"


def _draw_entries(sketch: Sketch, moves: Moves, amount: float) -> None:
    m, k, most = len(moves.v), moves.dimension - 1, abs(moves.v).max() + AMOUNTS[-1]
    plot = Plane(sketch, 536, 24, 210, SIDE, (0, m), (-most, most))
    sketch.words((641, 12), f"the {m} entries of v")
    for entry, value in enumerate(_after(moves, amount)):
        name = f"entry {entry + 1}: {_signed(value)}"
        opacity = 1.0 if entry == k else 0.4
        bar = corners(entry + 0.12, 0, 0.76, value)
        plot.path(bar, COLOURS["v"], width=0, opacity=opacity, name=name)
    plot.path([(0, 0), (m, 0)], COLOURS["muted"], width=1)
    before = moves.v[k]
    plot.path([(k, before), (k + 1, before)], "#000000", name=f"before: {_signed(before)}")
    told = f"entry {k + 1}: {_signed(before)}, moved {_signed(before + amount)}"
    sketch.words((641, 24 + SIDE + 12), told, size=12)


def _draw_strip(sketch: Sketch, moves: Moves, a: int) -> None:
    side = STRIP / len(AMOUNTS)
    strip = np.concatenate(moves.decoded, axis=-1)
    sketch.image(strip, (26, 204), (STRIP, side), "decoded for every amount")
    frame = corners(26 + side * a, 204, side, side)
    sketch.path(frame, "#000000", width=3, name=_moved(moves.dimension, a))
    for number, amount in enumerate(AMOUNTS):
        sketch.words((26 + side * (number + 0.5), 204 + side + 14), _signed(amount), size=12)
