"""A layer whose couplings are given: its prediction vectors, and their sums, in the plane."""

from itertools import pairwise

import numpy as np

from capsedu.arguments import check_shape
from capsedu.figures.palette import COLOURS
from capsedu.sketches.plane import Plane, along
from capsedu.sketches.sketch import Sketch
from capsedu.squashing import squash

SIDE = 280  # pixels of a plane with its title
WIDTHS = {"u": 3, "z": 2, "s": 3.5, "v": 5}  # of the arrows
SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
DESCRIPTION = (
    "On the left the input capsules as arrows in the plane. Beside them a plane for each output "
    "capsule: its prediction vectors, a dashed path that lays the prediction vectors, each times "
    "its coupling, end to end, the total input s that the path leads to, and the output v inside "
    "the unit circle."
)


def sketch_predictions(u: np.ndarray, z: np.ndarray, c: np.ndarray) -> Sketch:
    """Input capsules, then for each output: z_ij, the sum s_j = Σ_i c_ij z_ij end to end, v_j.

    Parameters
    ----------
    u : ndarray, shape (I, 2)
        Activities of the input capsules.
    z : ndarray, shape (I, J, 2)
        Prediction vectors.
    c : ndarray, shape (I, J)
        Coupling coefficients.

    Raises
    ------
    ValueError
        If a shape does not fit.
    """
    check_shape("z", z, batch=(), I=None, J=None, m=2)
    I, J, _ = z.shape
    check_shape("u", u, batch=(), I=I, n=2)
    check_shape("c", c, batch=(), I=I, J=J)
    # What is summed for s_j, one term after the other, from the origin on.
    path = np.concatenate([np.zeros((1, J, 2)), np.cumsum(c[..., None] * z, axis=0)])
    s = path[-1]
    v = squash(s)
    sums = "; ".join(
        f"s_{j + 1} = ({s[j, 0]:.2f}, {s[j, 1]:.2f}) is squashed to "
        f"v_{j + 1} = ({v[j, 0]:.2f}, {v[j, 1]:.2f})"
        for j in range(J)
    )
    told = f"Input capsules: {I}, output capsules: {J}. {sums}."
    sketch = Sketch(SIDE * (J + 1), SIDE + 20, "Prediction vectors", DESCRIPTION, told)
    panels = {"input capsules": ({f"u{i + 1}": u[i] for i in range(I)}, path[:1, 0])}
    for j in range(J):
        tips = {f"z{i + 1}{j + 1}": z[i, j] for i in range(I)}
        tips |= {f"s{j + 1}": s[j], f"v{j + 1}": v[j]}
        panels[f"output capsule {j + 1}"] = tips, path[:, j]
    # The same window in every plane, so that lengths can be compared.
    points = np.concatenate([u, *z, *path])
    for k, (title, (tips, steps)) in enumerate(panels.items()):
        plane = Plane.around(points, sketch, (SIDE * k + 4, 34, SIDE - 8, SIDE - 18))
        plane.title(title)
        plane.unit_circle()
        tips = {name.translate(SUBSCRIPT): tip for name, tip in tips.items()}
        for name, tip in tips.items():
            plane.arrow(tip, COLOURS[name[0]], WIDTHS[name[0]], name)
        for start, end in pairwise(steps):
            plane.path([start, end], COLOURS["c"], width=2, dash=(6, 4))
            plane.dot(end, COLOURS["c"], radius=3)
        arrows, terms = along([*tips.values()]), along(steps[1:], steps[:-1])
        plane.names(tips, np.concatenate([arrows, terms]), near=12)
    return sketch
