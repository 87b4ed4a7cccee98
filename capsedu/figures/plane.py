"""The plane in which vectors are drawn: its window and unit circle, arrows, and their names."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from capsedu.figures.palette import COLOURS

ANGLES = np.linspace(0, 2 * np.pi, 101)
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=-1)
HALO = [withStroke(linewidth=2.5, foreground="white")]


def unit_circle(axes: Axes) -> None:
    """Draw the unit circle, dotted."""
    axes.plot(*CIRCLE.T, color=COLOURS["muted"], linewidth=0.8, linestyle=":")


def frame(axes: Axes, points: np.ndarray) -> None:
    """Draw the unit circle in a bare window that holds it and the `points`, shape (K, 2)."""
    unit_circle(axes)
    low, high = np.minimum(points.min(axis=0), -1), np.maximum(points.max(axis=0), 1)
    margin = 0.07 * (high - low).max()
    (left, bottom), (right, top) = low - margin, high + margin
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def arrow(axes: Axes, tip: np.ndarray, quantity: str, width: float, **style: float) -> None:
    """Draw an arrow from the origin in the colour of its quantity, its line `width` points wide."""
    head = f"-|>,head_length={0.3 + 0.06 * width},head_width={0.12 + 0.04 * width}"
    style |= {"arrowstyle": head, "mutation_scale": 10, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", tip, (0, 0), arrowprops=style | {"color": COLOURS[quantity], "lw": width})


def along(ends: np.ndarray, starts: np.ndarray | float = 0) -> np.ndarray:
    """Return points along the lines from the `starts`, or the origin, to the `ends`."""
    return np.linspace(starts, ends, 20).reshape(-1, 2)


def places(tips: np.ndarray, taken: np.ndarray, near: float) -> np.ndarray:
    """Return where a name can stand near each tip: farthest from the points that are `taken`.

    Parameters
    ----------
    tips : array_like, shape (K, 2)
    taken : ndarray, shape (N, 2)
        What the names should not cover; a name that has its place is taken too.
    near : float
        How far a name stands from its tip, if there is room; in a crowd, up to twice as far.
    """
    chosen = []
    for tip in np.asarray(tips):
        for distance in (near, 1.5 * near, 2 * near):
            around = tip + distance * CIRCLE[::4]
            clear = np.hypot(*(around[:, None] - taken).T).min(axis=0)
            if clear.max() > 0.8 * near:
                break
        chosen.append(around[clear.argmax()])
        taken = np.vstack([taken, chosen[-1] + 0.5 * near * CIRCLE[::10]])
    return np.array(chosen)


def label(axes: Axes, tips: np.ndarray, names: Sequence[str], taken: np.ndarray) -> None:
    """Write each name near its tip, where it is farthest from the points that are `taken`."""
    at = places(tips, taken, near=0.043 * axes.viewLim.size.max())
    for place, name in zip(at, names, strict=True):
        axes.text(*place, name, ha="center", va="center", path_effects=HALO, zorder=4, fontsize=10)
