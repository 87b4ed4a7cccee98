"""Figures that set gradients side by side."""

from collections.abc import Mapping

import numpy as np

from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS
from capsedu.layer import capsule_layer, capsule_layer_vjp
from capsedu.numerical_derivatives import StepSweep

GREYS = ("#9A9A9A", "#5C5C5C", "#000000")  # light to dark, for a few lines that have an order


def same_output_two_tangents() -> Picture:
    """The first output of the four-integer example over W_12, with the tangents the rules give.

    W = [[1, W_12], [1, 0]], u = (1, 1), two iterations.
    """
    u = np.ones((2, 1))
    dv = np.array([[1.0], [0.0]])

    def layer(w_12: float) -> tuple[np.ndarray, object]:
        W = np.array([[1, w_12], [1, 0]])[:, :, None, None]
        return W, capsule_layer(W, u, iterations=2)

    w = np.linspace(0, 4, 201)
    v_1 = np.array([layer(x)[1].v[0, 0] for x in w])
    W, here = layer(2.0)
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


def step_sweeps(sweeps: Mapping[str, StepSweep], gradient: str) -> Picture:
    """Relative error of three numerical derivatives over the step, a panel for each sweep.

    Parameters
    ----------
    sweeps : dict of str to StepSweep
        What `capsedu.numerical_derivatives.step_sweep` returned, by what the panel is called.
    gradient : str
        What the derivatives were compared with, as "frozen".
    """
    methods = ("forward", "central", "complex_step")
    dashes = ((0, (1, 1)), (0, (5, 2)), "-")
    with drawing(4.5 * len(sweeps), 3.2) as figure:
        panels = figure.subplots(1, len(sweeps), sharey=True, squeeze=False)[0]
        told = []
        for axes, (title, sweep) in zip(panels, sweeps.items(), strict=True):
            for method, colour, dash in zip(methods, GREYS, dashes, strict=True):
                name = method.replace("_", " ")
                axes.loglog(
                    sweep.steps, getattr(sweep, method), color=colour, linestyle=dash, label=name
                )
            axes.invert_xaxis()
            axes.set(title=title, xlabel="step $h$: smaller to the right", ylim=(1e-17, 10))
            floor = np.median(sweep.complex_step)
            if floor > 1e-9:
                told.append(
                    f"{title}: all three stay at an error of {floor:.1e}, at any small step"
                )
            else:
                told.append(
                    f"{title}: the errors of forward and central differences fall with the step, "
                    "then rise, a V; complex step falls to rounding and stays there"
                )
        panels[0].set_ylabel("relative error")
        panels[0].legend(loc="lower left")
        alt = (
            f"Relative error of numerical derivatives against the {gradient} gradient, over the "
            f"step. {'. '.join(told)}."
        )
        return picture(figure, alt)


def rules_over_iterations(
    iterations: np.ndarray, cosines: Mapping[str, np.ndarray], ratios: Mapping[str, np.ndarray]
) -> Picture:
    """Cosine of the unrolled and the frozen dW, and the ratio of their lengths, over r.

    Parameters
    ----------
    iterations : ndarray, shape (R,)
        The numbers of iterations r.
    cosines, ratios : dict of str to ndarray of shape (layers, R)
        By what the column is called: a line for the mean (of the ratios, the geometric mean), in a
        band from the least to the largest.
    """
    with drawing(3 * len(cosines), 4.4) as figure:
        panels = figure.subplots(2, len(cosines), sharex=True, sharey="row", squeeze=False)
        told = []
        for (above, below), name in zip(panels.T, cosines, strict=True):
            cosine, ratio = cosines[name].mean(axis=0), np.exp(np.log(ratios[name]).mean(axis=0))
            for axes, each, mean in (
                (above, cosines[name], cosine),
                (below, ratios[name], ratio),
            ):
                band = each.min(axis=0), each.max(axis=0)
                axes.fill_between(iterations, *band, color=COLOURS["unrolled"], alpha=0.15, lw=0)
                axes.plot(iterations, mean, "o-", color=COLOURS["unrolled"], markersize=4)
            above.set(title=name, ylim=(0, 1.03))
            below.set(xscale="log", yscale="log", xlabel="iterations $r$")
            lowest = cosine.argmin()
            told.append(
                f"{name}: 1 at r = {iterations[0]}, least at r = {iterations[lowest]} with "
                f"{cosine[lowest]:.2f} (from {cosines[name][:, lowest].min():.2f} to "
                f"{cosines[name][:, lowest].max():.2f}), {cosine[-1]:.2f} at "
                f"r = {iterations[-1]}; the unrolled one is up to {ratio.max():.1f} times as long "
                f"on average, {ratios[name].max():.0f} times in one layer"
            )
        panels[0, 0].set_ylabel("cosine of the two dW")
        panels[1, 0].set_ylabel("length, unrolled / frozen")
        alt = f"Mean cosine and length ratio of the unrolled and the frozen dW. {'. '.join(told)}."
        return picture(figure, alt)
