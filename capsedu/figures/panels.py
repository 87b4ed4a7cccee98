"""Curves in panels: lines with names over x, one panel beside the other."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS

# What was computed under a rule looks the same wherever it is drawn.
LINES = {
    "frozen": {"color": COLOURS["frozen"], "linestyle": (0, (5, 2))},
    "unrolled": {"color": COLOURS["unrolled"], "linestyle": "-"},
    "no routing": {"color": COLOURS["muted"], "linestyle": (0, (1, 1))},
}
DASHES = "-", (0, (5, 2)), (0, (1, 1)), "-."  # of other lines, those that are free
FEW = 10  # points: so many are marked one by one


def curves(
    x: np.ndarray,
    x_name: str,
    panels: Mapping[str, Mapping[str, np.ndarray]],
    colours: Sequence[str] = (),
) -> Picture:
    """Lines over x, one panel beside the other.

    Parameters
    ----------
    x : array_like, shape (K,)
    x_name : str
    panels : dict of str to dict of str to array_like, shape (K,)
        By what is measured, the lines by their names. "frozen", "unrolled" and "no routing" look
        as everywhere; others are told apart by their dashes, or, if many, named at their ends.
    colours : sequence of str, optional
        For each panel, the quantity of the palette in whose colour the others are; black if not
        given.
    """
    x, told = np.asarray(x), []
    colours = colours or ["unrolled"] * len(panels)
    with drawing(max(5.6, min(9, 4.5 * len(panels))), 3.2) as figure:
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (measured, lines), colour in zip(row, panels.items(), colours, strict=True):
            lines = {name: np.asarray(y) for name, y in lines.items()}
            _draw(axes, x, lines, COLOURS[colour])
            axes.set(xlabel=x_name, ylabel=measured)
            told.append(f"{measured}: {'; '.join(_told(x, *line) for line in lines.items())}.")
        return picture(figure, f"Curves over the {x_name}. {' '.join(told)}".replace("$", ""))


def _draw(axes: Axes, x: np.ndarray, lines: Mapping[str, np.ndarray], colour: str) -> None:
    styles = {name: LINES[name] for name in lines if name in LINES}
    taken = [style["linestyle"] for style in styles.values()]
    free = [dash for dash in DASHES if dash not in taken]
    crowd = len(lines) > len(DASHES)
    for name, y in lines.items():
        style = styles.get(name) or {"color": colour, "linestyle": "-" if crowd else free.pop(0)}
        axes.plot(x, y, **style, label=name, marker="o" if len(x) <= FEW else "", markersize=5)
        if crowd:
            axes.text(x[-1], y[-1], f"  {name}", va="center", fontsize=9)
    if crowd:
        axes.set_xlim(x[0], x[-1] + 0.25 * (x[-1] - x[0]))
    else:
        axes.legend(fontsize=9)
    if len(x) <= FEW:
        axes.set_xticks(x)
    low, high = np.min([*lines.values()]), np.max([*lines.values()])
    if 0 <= low < high / 2:
        axes.set_ylim(bottom=0)
    if low < 0 < high:
        axes.axhline(0, color=COLOURS["muted"], linewidth=0.8)


def _told(x: np.ndarray, name: str, y: np.ndarray) -> str:
    """Return a line in words: its first and its last value, and its largest if that is another."""
    told = f"{name}, {y[0]:.2f} at {x[0]:g}, {y[-1]:.2f} at {x[-1]:g}"
    top = y.argmax()
    return told + (f", at most {y[top]:.2f} at {x[top]:g}" if y[top] > max(y[0], y[-1]) else "")
