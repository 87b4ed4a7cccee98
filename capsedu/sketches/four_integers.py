"""The four-integer example: its first output over W_12, and what gradients say of it at 2."""

from collections.abc import Mapping

import numpy as np

from capsedu.figures.canvas import Picture
from capsedu.figures.palette import COLOURS
from capsedu.layer import capsule_layer, capsule_layer_vjp
from capsedu.routing import route
from capsedu.sketches.plane import Plane
from capsedu.sketches.sketch import Sketch

W = np.array([[1.0, 2.0], [1.0, 0.0]])[:, :, None, None]
U, DV = np.ones((2, 1)), np.array([[1.0], [0.0]])  # L = v_1
WINDOW = (0, 4), (0.28, 0.68)  # of W_12, and of v_1
LINES = {
    "unrolled": {"colour": COLOURS["unrolled"], "width": 2.5},
    "frozen": {"colour": COLOURS["frozen"], "width": 2.5, "dash": (7, 3)},
    "muted": {"colour": COLOURS["muted"], "width": 2.5, "dash": (7, 3)},
}


def first_output(w_12: np.ndarray) -> np.ndarray:
    """Return v_1 of the four-integer example, r = 2, for each W_12: u is 1, so that z is W."""
    W = np.tile([[1.0, 0.0], [1.0, 0.0]], (*np.shape(w_12), 1, 1))
    W[..., 0, 1] = w_12
    return route(W[..., None], iterations=2).v[..., 0, 0]


def draw_slopes(plot: Plane, slopes: Mapping[str, tuple[float, str]]) -> None:
    """Draw v_1 over W_12, and through the point at 2 a line of each slope.

    Parameters
    ----------
    plot : Plane
        Whose window is `WINDOW`.
    slopes : dict of str to (float, str)
        By name, the slope, and in which of `LINES` it is drawn.
    """
    ticks = {y: f"{y:.1f}" for y in (0.3, 0.4, 0.5, 0.6)}
    plot.axes("weight W₁₂", "output v₁", {w: str(w) for w in range(5)}, ticks)
    w = np.linspace(0, 4, 81)
    plot.path(np.stack([w, first_output(w)], axis=-1), COLOURS["v"], width=5, name="output v₁")
    for name, (slope, line) in slopes.items():
        ends = [(w, 0.5 + slope * (w - 2)) for w in (0.7, 3.3)]
        plot.path(ends, **LINES[line], name=f"{name}: slope {slope:z.4f}")
    plot.dot((2, 0.5), "#FFFFFF", radius=8)
    plot.dot((2, 0.5), COLOURS["v"], radius=6)


def same_output_two_tangents() -> Picture:
    """The first output of the four-integer example over W_12, with the tangents the rules give.

    W = [[1, W_12], [1, 0]], u = (1, 1), two iterations.
    """
    here = capsule_layer(W, U, iterations=2)
    frozen, unrolled = (
        capsule_layer_vjp(W, U, here, DV, rule)[0][0, 1, 0, 0] for rule in ("frozen", "unrolled")
    )
    description = (
        "Output v_1 over the weight W_12: a falling curve. At 2 the unrolled gradient is the "
        "tangent of the curve; the frozen gradient is a horizontal line that crosses the curve."
    )
    told = ", ".join(f"{first_output(w):.4f} at {w}" for w in (0, 2, 4))
    told = f"v_1 is {told}. Slopes at 2: unrolled {unrolled:.4f}, frozen {frozen:.0f}."
    sketch = Sketch(560, 350, "Same output, two tangents", description, told)
    plot = Plane(sketch, 44, 30, 500, 270, *WINDOW)
    draw_slopes(plot, {"unrolled": (unrolled, "unrolled"), "frozen": (frozen, "frozen")})
    style = {"anchor": "start", "size": 15}
    plot.words((0.08, 0.575), "output v₁", colour=COLOURS["v"], **style)
    plot.words((0.95, 0.645), f"unrolled: slope −{-unrolled:.4f}", **style)
    plot.words((2.3, 0.518), f"frozen: slope {frozen:.0f}", **style)
    return sketch.picture()
