"""Figures that set gradients side by side."""

import numpy as np

from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS
from capsedu.layer import capsule_layer, capsule_layer_vjp
from capsedu.routing import route


def first_output(w_12: np.ndarray) -> np.ndarray:
    """Return v_1 of the four-integer example, r = 2, for each W_12: u is 1, so that z is W."""
    W = np.tile([[1.0, 0.0], [1.0, 0.0]], (*np.shape(w_12), 1, 1))
    W[..., 0, 1] = w_12
    return route(W[..., None], iterations=2).v[..., 0, 0]


def same_output_two_tangents() -> Picture:
    """The first output of the four-integer example over W_12, with the tangents the rules give.

    W = [[1, W_12], [1, 0]], u = (1, 1), two iterations.
    """
    W, u = np.array([[1.0, 2.0], [1.0, 0.0]])[:, :, None, None], np.ones((2, 1))
    dv = np.array([[1.0], [0.0]])
    here = capsule_layer(W, u, iterations=2)
    w = np.linspace(0, 4, 201)
    v_1 = first_output(w)
    slope = {
        rule: capsule_layer_vjp(W, u, here, dv, rule)[0][0, 1, 0, 0]
        for rule in ("frozen", "unrolled")
    }
    near = np.array([0.7, 3.3])
    with drawing(6.4, 3.8) as figure:
        axes = figure.subplots()
        axes.plot(w, v_1, color=COLOURS["v"], linewidth=4, alpha=0.75)
        for rule, dash in (("frozen", (0, (5, 2))), ("unrolled", "-")):
            axes.plot(near, 0.5 + slope[rule] * (near - 2), color=COLOURS[rule], linestyle=dash)
        axes.plot(2, 0.5, "o", color=COLOURS["v"], markersize=10, markeredgecolor="white")
        axes.text(0.08, 0.575, "output $v_1$", color=COLOURS["v"])
        axes.text(2.3, 0.508, "frozen: slope 0")
        axes.text(0.95, 0.637, f"unrolled: slope −{-slope['unrolled']:.4f}")
        axes.set(xlim=(0, 4), ylim=(0.28, 0.68), xlabel="weight $W_{12}$", ylabel="output $v_1$")
        alt = (
            "Output v_1 over the weight W_12: a curve that falls from "
            f"{v_1[0]:.4f} at 0 over 0.5 at 2 to {v_1[-1]:.4f} at 4. At 2 the unrolled gradient "
            f"is the tangent of the curve, of slope {slope['unrolled']:.4f}; the frozen gradient "
            "is a horizontal line that crosses the curve."
        )
        return picture(figure, alt)
