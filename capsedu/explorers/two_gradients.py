"""The two-gradients explorer: frozen and unrolled coincide at r = 1, part, and meet again."""

import functools

import ipywidgets as widgets
import numpy as np

from capsedu.explorers.shell import Explorer
from capsedu.sketches.sketch import Sketch
from capsedu.sketches.two_gradients import (
    ITERATIONS,
    TwoGradients,
    compare_gradients,
    sketch_gradients,
)
from capsedu.squashing import squash

SCALES = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
CAPSULES = (2, 3, 5)


def gradients_explorer(
    W: np.ndarray | None = None, u: np.ndarray | None = None, dv: np.ndarray | None = None
) -> Explorer:
    """Both gradients of a layer under three controls: `sketch_gradients(compare_gradients(…), r)`.

    Parameters
    ----------
    W : array_like, shape (I, J, m, n), optional
        Transformation matrices, which the scale multiplies; for m > 2 each output shows the plane
        along which its predictions are longest. If not given, a random layer of 6 inputs and m = 2,
        and the reader chooses the number of output capsules. For prediction vectors z of your own:
        W = z[..., None] and u = ones of shape (I, 1).
    u : array_like, shape (I, n), optional
        Activities of the input capsules in one example; given with W.
    dv : array_like, shape (J, m), optional
        ∂L/∂v; given with W.

    Returns
    -------
    Explorer
        Without a kernel: r = 1, 10 and 1000, one below the other.

    Raises
    ------
    ValueError
        If a shape does not fit, something is not finite, the gradient is zero, or some of the three
        are missing.
    """
    missing = [name for name, x in (("W", W), ("u", u), ("dv", dv)) if x is None]
    if 0 < len(missing) < 3:
        raise ValueError(f"{', '.join(missing)}: missing, want W, u and dv, or none of them")

    @functools.cache
    def compared(capsules: int | None) -> dict[float, TwoGradients]:
        layer = (W, u, dv) if capsules is None else random_layer(capsules)
        return dict(zip(SCALES, compare_gradients(*layer, SCALES), strict=True))

    def draw(r: int, scale: float, capsules: int | None = None) -> Sketch:
        return sketch_gradients(compared(capsules)[scale], r)

    controls = {
        "r": widgets.SelectionSlider(options=ITERATIONS, description="iterations", readout=False),
        "scale": widgets.SelectionSlider(options=SCALES, value=1.0, description="scale of W"),
    }
    if W is None:
        controls["capsules"] = widgets.Dropdown(options=CAPSULES, value=3, description="outputs")
    stills = {f"r = {r}": {"r": r} for r in (1, 10, 1000)}
    return Explorer(draw, controls, stills, beforehand="r")


def random_layer(capsules: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return W, u and dv of 6 inputs and m = n = 2, the same whatever the number of outputs."""
    rng = np.random.default_rng(67)
    W, u, dv = (
        rng.normal(size=(6, 5, 2, 2)),
        squash(rng.normal(size=(6, 2))),
        rng.normal(size=(5, 2)),
    )
    return W[:, :capsules], u, dv[:capsules]
