"""The gradient-check explorer: the step size under the finger, and gradients against functions."""

from collections.abc import Mapping

import ipywidgets as widgets
import numpy as np

from capsedu.explorers.shell import Explorer
from capsedu.gradient_check import held_couplings
from capsedu.layer import capsule_layer, capsule_layer_vjp
from capsedu.numerical_derivatives import Function, StepSweep, step_sweep
from capsedu.sketches.checking import check_sweep, sketch_check
from capsedu.sketches.sketch import Sketch
from capsedu.squashing import squash

SHOWN_STEP = 1e-4  # where the slider starts, and the stills stand


def check_explorer(sweeps: Mapping[str, StepSweep] | None = None) -> Explorer:
    """Numerical derivatives against a gradient, the step under a slider: `sketch_check(sweep, k)`.

    Parameters
    ----------
    sweeps : dict of str to StepSweep, optional
        What `step_sweep` returned, all of the same steps, by what the reader chooses from. If not
        given: the frozen gradient against a layer whose couplings are held and against one whose
        couplings are free, and the unrolled one against that.

    Returns
    -------
    Explorer
        Without a kernel: each sweep at the step 1e-4, one below the other.

    Raises
    ------
    ValueError
        If there is no sweep, their steps differ, do not fall to 1e-6 or below, or an error is not
        finite.
    """
    sweeps = _small_layer() if sweeps is None else dict(sweeps)
    if not sweeps:
        raise ValueError("sweeps: got none, want at least one")
    for name, sweep in sweeps.items():
        check_sweep(name, sweep)
    first, *others = (sweep.steps for sweep in sweeps.values())
    if not all(np.array_equal(first, steps) for steps in others):
        raise ValueError("sweeps: got different steps, want the same in all")
    here = int(abs(np.log(first / SHOWN_STEP)).argmin())

    def draw(step: int, gradient: str) -> Sketch:
        return sketch_check(sweeps[gradient], step, gradient)

    controls = {
        "step": widgets.SelectionSlider(
            options=range(len(first)), value=here, description="step h", readout=False
        ),
        "gradient": widgets.Dropdown(options=list(sweeps), description="gradient"),
    }
    stills = {name: {"gradient": name} for name in sweeps}
    return Explorer(draw, controls, stills, beforehand="step")


def _small_layer() -> dict[str, StepSweep]:
    """Return three sweeps of a routed layer: what is differentiated, and with what held."""
    rng = np.random.default_rng(0)
    point = {"W": 0.3 * rng.normal(size=(6, 4, 3, 5)), "u": squash(rng.normal(size=(7, 6, 5)))}

    def free(W: np.ndarray, u: np.ndarray) -> np.ndarray:
        return capsule_layer(W, u).v

    def sweep(function: Function, rule: str) -> StepSweep:
        def vjp(W: np.ndarray, u: np.ndarray, dv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return capsule_layer_vjp(W, u, capsule_layer(W, u), dv, rule)

        return step_sweep(function, vjp, point)

    return {
        "frozen, couplings held": sweep(held_couplings(**point), "frozen"),
        "frozen, couplings free": sweep(free, "frozen"),
        "unrolled, couplings free": sweep(free, "unrolled"),
    }
