"""A gradient on the curve it belongs to: where it is right, its segments lie along the curve."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np

from capsedu.arguments import check_shape
from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS

DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
TOUCHES = 0.03  # a slope this near to the curve's own, as part of its steepest, is seen as right


def slopes_on_curve(
    x: np.ndarray,
    curves: Mapping[str, np.ndarray],
    at: np.ndarray = (),
    slopes: np.ndarray = (),
    axes_labels: tuple[str, str] = ("x", "y"),
) -> Picture:
    """Curves over x, and on the first of them a short segment of each slope that is claimed.

    Parameters
    ----------
    x : ndarray, shape (K,)
    curves : dict of str to ndarray of shape (K,)
        By name; the segments belong to the first.
    at, slopes : ndarray, shape (N,)
        Where on the first curve a slope is claimed, and which.
    axes_labels : (str, str)
        What stands along x and along y.

    Raises
    ------
    ValueError
        If a shape does not fit.
    """
    x, at, slopes = (np.asarray(array, dtype=float) for array in (x, at, slopes))
    check_shape("slopes", slopes, batch=at.shape)
    for name, y in curves.items():
        check_shape(name, np.asarray(y), batch=x.shape)
    first, y = next(iter(curves.items()))
    own = np.gradient(y, x)
    touching = abs(slopes - np.interp(at, x, own)) <= TOUCHES * abs(own).max()
    with drawing(7.2, 3.8) as figure:
        axes = figure.subplots()
        for (name, values), dash in zip(curves.items(), cycle(DASHES), strict=False):
            style = {"linewidth": 4, "alpha": 0.7} if name == first and len(at) else {}
            axes.plot(x, values, color=COLOURS["v"], linestyle=dash, label=name, **style)
        axes.set(xlim=(x[0], x[-1]), ylim=axes.get_ylim())  # a wrong slope may leave the picture
        half = 0.07 * (x[-1] - x[0])
        for place, slope in zip(at, slopes, strict=True):
            here = np.interp(place, x, y)
            ends = np.array([-half, half])
            axes.plot(place + ends, here + slope * ends, color=COLOURS["unrolled"])
            axes.plot(place, here, "o", color=COLOURS["unrolled"], markersize=5)
        axes.set(xlabel=axes_labels[0], ylabel=axes_labels[1])
        if len(curves) > 1:
            axes.legend()
        told = "; ".join(
            f"{name}: {values[0]:.3f} at {x[0]:g}, {values[-1]:.3f} at {x[-1]:g}"
            for name, values in curves.items()
        )
        alt = f"{axes_labels[1]} over {axes_labels[0]}. {told}."
        if len(at):
            segments = "; ".join(
                f"slope {slope:.3f} at {place:g} {'lies along' if fits else 'cuts'} the curve"
                for place, slope, fits in zip(at, slopes, touching, strict=True)
            )
            alt += f" Segments: {segments}."
        return picture(figure, alt.replace("$", ""))
