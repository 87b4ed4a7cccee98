"""A gradient against numerical derivatives, at one step: truncation, rounding, or a floor."""

import numpy as np

from capsedu.figures.palette import COLOURS
from capsedu.numerical_derivatives import StepSweep
from capsedu.sketches.plane import Plane
from capsedu.sketches.sketch import Sketch

WIDTH, HEIGHT = 760, 264  # pixels of the sketch
METHODS = {  # from light to dark, with the line and the order of the truncation
    "forward": ("#8A8A8A", (2, 3), "h"),
    "central": ("#5C5C5C", (7, 4), "h²"),
    "complex_step": ("#000000", (), "h²"),
}
SMALL = 1e-6  # the last step must not be larger, or a floor is not told from truncation
NEIGHBOURS = 3  # rounding jumps from step to step: the median of so many is judged
ROUNDED = 1e-14  # errors below are all one: rounding of the values themselves
FAR_ABOVE_ROUNDING = 1e-9  # no right gradient is so wrong, by complex step at the last step
DESCRIPTION = (
    "Relative error of three numerical derivatives against a gradient, over the step h, which is "
    "smaller to the right, both axes logarithmic. If the gradient is right, forward and central "
    "differences draw a V, truncation on its left and rounding on its right, and complex step "
    "falls to rounding and stays flat. If it is that of another function, all three stop at one "
    "floor. A vertical line stands at the chosen step, with a dot on each curve; to the right, the "
    "three errors and what dominates each."
)


def sketch_check(sweep: StepSweep, k: int, name: str = "") -> Sketch:
    """Draw the errors of forward, central and complex step over h, the k-th step marked.

    Parameters
    ----------
    sweep : StepSweep
        What `step_sweep` returned.
    k : int
        Which of its steps, from 0.
    name : str, optional
        What was checked, as "frozen, couplings free".

    Raises
    ------
    ValueError
        If the steps do not fall, or not far enough to tell a floor from truncation, an error is
        not finite, or there is no step k.
    """
    check_sweep(name or "sweep", sweep)
    if not 0 <= k < len(sweep.steps):
        raise ValueError(f"k: got {k}, want a number from 0 to {len(sweep.steps) - 1}")
    sketch = Sketch(WIDTH, HEIGHT, "Gradient check", DESCRIPTION, readout(sweep, k, name))
    _draw_errors(sketch, sweep, k)
    _draw_words(sketch, sweep, k)
    return sketch


def check_sweep(name: str, sweep: StepSweep) -> None:
    """Raise ValueError unless the sweep can be drawn and judged."""
    steps = np.asarray(sweep.steps)
    if steps.ndim != 1 or len(steps) < NEIGHBOURS or (np.diff(steps) >= 0).any():
        raise ValueError(f"{name}: got steps {steps}, want {NEIGHBOURS} or more, each smaller")
    if steps[-1] > SMALL:
        raise ValueError(f"{name}: the last step is {steps[-1]:g}, want {SMALL:g} or less")
    if not all(np.isfinite(getattr(sweep, method)).all() for method in METHODS):
        raise ValueError(f"{name}: an error is NaN or infinite, want finite ones, as of less steps")


def verdict(sweep: StepSweep) -> tuple[bool, str]:
    """Return whether the gradient is right, and why, by complex step at the last step."""
    floor = sweep.complex_step[-1]
    if floor < FAR_ABOVE_ROUNDING:
        return True, "Passes: complex step goes down to rounding."
    return False, f"Fails: all three stop at {floor:.1e}: the gradient of another function."


def dominant(sweep: StepSweep, method: str, k: int) -> str:
    """Return in words what the error of a method at step k consists of.

    Near the bottom of a V it is both, at larger steps truncation, at smaller ones rounding; near
    the floor of all three methods, it is the floor.
    """
    errors, passes = getattr(sweep, method), verdict(sweep)[0]
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(errors, NEIGHBOURS // 2, mode="edge"), NEIGHBOURS
    )
    steady = np.median(windows, axis=-1)
    near = steady <= 2 * max(steady.min(), sweep.complex_step[-1], ROUNDED)
    if near[k] and not passes:
        return "the floor: a smaller step is no help"
    if near[k]:
        return "rounding alone" if method == "complex_step" else "near the bottom of the V"
    if k < np.flatnonzero(near).mean():
        if errors[k : k + NEIGHBOURS].max() > errors[k]:
            return "truncation: h too large to fall yet"
        return f"truncation: falls as {METHODS[method][2]}"
    return "rounding: grows as 1/h"


def readout(sweep: StepSweep, k: int, name: str) -> str:
    """Return step k in words: h, the three errors with what dominates, the verdict."""
    told = "; ".join(
        f"{method.replace('_', ' ')} {getattr(sweep, method)[k]:.1e} ({dominant(sweep, method, k)})"
        for method in METHODS
    )
    head = f"{name[:1].upper()}{name[1:]}. " if name else ""
    return f"{head}Step h = {sweep.steps[k]:.1e}. Errors: {told}. {verdict(sweep)[1]}"


def _draw_errors(sketch: Sketch, sweep: StepSweep, k: int) -> None:
    h = np.log10(sweep.steps)
    curves = {method: np.log10(np.maximum(getattr(sweep, method), 1e-16)) for method in METHODS}
    top = max(1.0, *(curve.max() for curve in curves.values()))
    plot = Plane(sketch, 62, 34, 400, 180, (h.max(), h.min()), (-17, top))
    ticks = [x for x in range(-16, 1, 4) if h.min() - 0.1 <= x <= h.max()]
    scale = {x: f"1e{x}" if x else "1" for x in range(-16, int(top) + 1, 4)}
    plot.axes("step h: smaller to the right", "relative error", {x: scale[x] for x in ticks}, scale)
    name = f"step {sweep.steps[k]:.1e}"
    plot.path([(h[k], -17), (h[k], top)], COLOURS["muted"], width=1, name=name)
    for method, (colour, dash, _) in METHODS.items():
        plot.path(np.stack([h, curves[method]], axis=-1), colour, width=2.5, dash=dash)
        told = f"{method.replace('_', ' ')}: error {getattr(sweep, method)[k]:.1e}"
        plot.dot((h[k], curves[method][k]), colour, told)


def _draw_words(sketch: Sketch, sweep: StepSweep, k: int) -> None:
    sketch.words((490, 30), f"h = {sweep.steps[k]:.1e}", anchor="start", size=15)
    for row, (method, (colour, dash, _)) in enumerate(METHODS.items()):
        y = 64 + 44 * row
        sketch.path([(490, y), (520, y)], colour, width=2.5, dash=dash)
        told = f"{method.replace('_', ' ')}: {getattr(sweep, method)[k]:.1e}"
        sketch.words((528, y), told, anchor="start")
        sketch.words((528, y + 18), dominant(sweep, method, k), anchor="start", size=12)
    for row, line in enumerate(verdict(sweep)[1].replace(": ", ":\n").split("\n")):
        sketch.words((490, 206 + 18 * row), line, anchor="start", size=13 if row == 0 else 12)
