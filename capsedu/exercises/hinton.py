"""Wanted, got and their difference: each number a square, as large as the number."""

import numpy as np

from capsedu.sketches.sketch import Sketch

WIDTH, PANEL, TOP, BOTTOM = 760, 240, 44, 34  # pixels
MOST = 20  # rows that are shown of an array
COLOUR = "#000000"
LEGEND = "filled: positive; hollow: negative; area: size; cross: no number"
DESCRIPTION = (
    "Three panels: the result that is wanted, the one that was got, and got minus wanted. Each "
    "number is a square whose area is the number's size, on one scale; filled is positive, hollow "
    "negative, and a cross is no number."
)


def sketch_difference(
    name: str, got: np.ndarray, want: np.ndarray, worst: tuple[int, ...] | None, readout: str
) -> Sketch:
    """Draw a result as it should be, as it is, and the error: the part round its worst entry.

    If there is none, because the shapes differ, both results as they are.
    """
    told = name
    if worst is not None:
        lead = 0
        while want.ndim > lead and grid(want[worst[:lead]]).shape[0] > MOST:
            lead += 1
        want, got = want[worst[:lead]], got[worst[:lead]]
        if lead:
            told += f"[{', '.join([*map(str, worst[:lead]), '…'])}]"
    panels = {f"wanted {told}": grid(want), f"got {told}": grid(got)}
    if worst is not None:
        panels["got − wanted"] = grid(got - want)
    rows, columns = np.max([x.shape for x in panels.values()], axis=0)
    cell = min(24.0, (PANEL - 16) / min(columns, MOST))
    height = TOP + min(rows, MOST) * cell + BOTTOM
    sketch = Sketch(WIDTH, height, f"Wanted and got: {name}", DESCRIPTION, readout)
    sketch.words((10, height - 12), LEGEND, anchor="start")
    finite = [abs(x[np.isfinite(x)]).max(initial=0) for x in (grid(want), grid(got))]
    for number, (name, x) in enumerate(panels.items()):
        left = 10 + number * (PANEL + 10)
        sketch.words((left, 22), name, anchor="start")
        draw_grid(sketch, x, (left, TOP), cell, max(finite) or 1)
    return sketch


def grid(x: np.ndarray) -> np.ndarray:
    """Return an array as rows of its last axis."""
    x = np.atleast_1d(x)
    return x.reshape(-1, max(1, x.shape[-1]))


def draw_grid(
    sketch: Sketch, x: np.ndarray, corner: tuple[float, float], cell: float, largest: float
) -> None:
    """Draw a square for each number."""
    for (row, column), value in np.ndenumerate(x[:MOST, :MOST]):
        centre = np.add(corner, ((column + 0.5) * cell, (row + 0.5) * cell))
        name = f"[{row}, {column}]: {value:.4g}"
        half = 0.46 * cell
        if not np.isfinite(value):
            for tilt in ((1, 1), (1, -1)):
                ends = np.outer((-0.6 * half, 0.6 * half), tilt)
                sketch.path(centre + ends, COLOUR, width=1.5, name=name)
            continue
        half *= min(1.0, abs(value) / largest) ** 0.5
        square = centre + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)])
        if half > 0.3:
            sketch.path(square, COLOUR, width=0 if value > 0 else 1, name=name)
