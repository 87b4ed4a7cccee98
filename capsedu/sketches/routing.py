"""Routing by agreement, an iteration at a time: predictions in the plane, couplings, entropy."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from capsedu.arguments import as_numbers, check_shape
from capsedu.figures.palette import COLOURS
from capsedu.routing import Routing, entropy
from capsedu.sketches.plane import Plane, along
from capsedu.sketches.sketch import Sketch, corners

WIDTH, HEIGHT = 760, 310  # pixels of the sketch
PLANES = 570  # pixels for the planes; the couplings and their entropy stand to the right
NAME = 24  # pixels above a plane for its name
COLUMNS = 5  # planes in a row
ARROWS = 16  # the most that are drawn in a plane: beyond, they hide one another
SHOWN = 3  # times the longest prediction s is shown, in several rows less: beyond it hides them
NUMBERS = 24  # the most couplings that are told one by one
DESCRIPTION = (
    "For each output capsule, prediction vectors as arrows in a plane, the stronger coupled the "
    "thicker and darker, with the total input s (dashed where it is longer than drawn), and the "
    "output v, which stays inside the unit circle. To the right the couplings as a matrix, inputs "
    "down and outputs across, darker where stronger, and below it the mean entropy of the "
    "couplings over the iterations."
)


def principal_planes(z: np.ndarray) -> np.ndarray:
    """P_j: the two orthonormal directions along which output j's predictions are longest.

    Parameters
    ----------
    z : ndarray, shape (I, J, m)
        Prediction vectors of one example.

    Returns
    -------
    P : ndarray, shape (J, m, 2)
        P_jᵀ z_ij are coordinates in the plane: for m = 2 the entries as they are, for m = 1 the
        entry and 0, for m > 2 the two first right singular vectors of output j's predictions.
    """
    I, J, m = z.shape
    if m <= 2:
        return np.broadcast_to(np.eye(m, 2), (J, m, 2))
    _, _, Vt = np.linalg.svd(z.transpose(1, 0, 2), full_matrices=I < 2)
    axes = Vt[:, :2].transpose(0, 2, 1)
    # A singular vector may as well be its opposite: the sum of the predictions goes up and right.
    signs = np.sign((z.sum(axis=0)[:, :, None] * axes).sum(axis=1, keepdims=True))
    return axes * np.where(signs == 0, 1, signs)


def sketch_routing(
    routing: Routing, k: int, image: np.ndarray | None = None, outputs: Sequence[str] = ()
) -> Sketch:
    """Iteration k of one example: z_ij weighted by c_ij, s_j and v_j; c_ij; their mean entropy.

    Of more than 16 inputs, each plane shows the 16 with the largest c_ij ‖z_ij‖ at the end; an s of
    more than three times the longest prediction (1.5 times where the planes stand in two rows, and
    so on), and of more than 1, is cut off there and dashed.

    Parameters
    ----------
    routing : Routing
        What `route(z)` returned for z of shape (I, J, m).
    k : int
        The iteration, counted from 1.
    image : ndarray, shape (height, width), optional
        Grey values in [0, 1] of what was routed, drawn beside the couplings.
    outputs : sequence of str, optional
        What the J output capsules are called; "output 1", "output 2", … if not given.

    Raises
    ------
    ValueError
        If z has another shape or is not finite, there is no iteration k, or the names are not J.
    """
    if routing.z is None:
        raise ValueError("routing: holds no z, want the result of route, not of capsule_layer")
    check_one_example(routing.z)
    if not np.isfinite(routing.b).all():
        raise ValueError("z: so large that the routing logits grow to infinity")
    if not 1 <= k <= len(routing.steps):
        raise ValueError(f"k: got {k}, want an iteration from 1 to {len(routing.steps)}")
    J = routing.z.shape[1]
    outputs = list(outputs) or [f"output {j + 1}" for j in range(J)]
    if len(outputs) != J:
        raise ValueError(f"outputs: got {len(outputs)} names, want {J}")
    told = readout(routing, k, outputs)
    sketch = Sketch(WIDTH, HEIGHT, "Routing by agreement", DESCRIPTION, told)
    _draw_planes(sketch, routing, k, outputs)
    matrix = Plane(sketch, 620, NAME, 120, 140)
    if image is not None:
        matrix = replace(matrix, width=54)
        sketch.words((714, NAME / 2), "image")
        sketch.image(image, (684, NAME), (60, 60), "the image")
    _draw_couplings(matrix, routing.steps[k - 1].c)
    _draw_entropy(sketch, routing, k)
    return sketch


def check_one_example(z: np.ndarray) -> None:
    """Raise ValueError unless z, shape (I, J, m), holds finite real numbers."""
    z = as_numbers("z", z)
    check_shape("z", z, batch=(), I=None, J=None, m=None)
    if z.dtype.kind == "c":
        raise ValueError("z: got complex numbers, want real ones")
    if not np.isfinite(z).all():
        raise ValueError("z: holds NaN or infinity, want finite numbers")


def readout(routing: Routing, k: int, outputs: Sequence[str]) -> str:
    """Return iteration k (from 1) in words: ‖s_j‖, ‖v_j‖, mean entropy; b_ij and c_ij if few."""
    step = routing.steps[k - 1]
    length = np.linalg.norm(step.v, axis=-1)
    s, v = (", ".join(f"{x:.2f}" for x in y) for y in (np.linalg.norm(step.s, axis=-1), length))
    told = f"Iteration {k} of {len(routing.steps)}. Lengths of s: {s}. Lengths of v: {v}. "
    if step.c.size <= NUMBERS:
        together = "\N{NO-BREAK SPACE}"  # an input's numbers stay on one line
        b, c = (
            " · ".join(together.join(f"{x:.2f}" for x in row) for row in y)
            for y in (step.b, step.c)
        )
        told += f"Logits b, input by input: {b}. Couplings c, input by input: {c}. "
    else:
        told += f"Longest: {outputs[length.argmax()]}. "
    told += f"Mean entropy: {entropy(step.c).mean():.2f}."
    if routing.z.shape[-1] > 2:
        told += " Drawn as seen in the plane along which an output's predictions are longest."
    return told


def _draw_planes(sketch: Sketch, routing: Routing, k: int, outputs: Sequence[str]) -> None:
    I, J, _ = routing.z.shape
    P, step = principal_planes(routing.z), routing.steps[k - 1]
    z = np.einsum("ijm,jmx->ijx", routing.z, P)
    s, v = (np.einsum("jm,jmx->jx", x, P) for x in (step.s, step.v))
    # The same window in every plane and at every iteration, so that what moves is what changed.
    every_s = np.einsum("kjm,jmx->kjx", [each.s for each in routing.steps], P)
    columns = min(J, COLUMNS)
    rows = math.ceil(J / columns)
    far = max(1, SHOWN / rows * np.linalg.norm(z, axis=-1).max())
    points = np.concatenate([z.reshape(-1, 2), _cut(every_s, far).reshape(-1, 2)])
    width, height = PLANES / columns, HEIGHT / rows
    weight = routing.c * np.linalg.norm(z, axis=-1)
    length = np.linalg.norm(s, axis=-1)
    for j in range(J):
        row, column = divmod(j, columns)
        box = column * width + 4, row * height + NAME, width - 8, height - NAME - 4
        plane = Plane.around(points, sketch, box)
        sketch.words((box[0] + box[2] / 2, box[1] - NAME / 2), outputs[j])
        plane.unit_circle()
        name = f"total input s of {outputs[j]}, length {np.linalg.norm(step.s[j]):.2f}"
        tip = _cut(s[j], far)
        plane.arrow(tip, COLOURS["s"], 2, name, dash=(3, 3) if far < length[j] else ())
        for i in sorted(np.argsort(-weight[:, j])[:ARROWS]):
            c = step.c[i, j]
            name = f"prediction of input {i + 1} for {outputs[j]}, coupling {c:.2f}"
            plane.arrow(z[i, j], COLOURS["z"], 0.6 + 3 * c, name, opacity=0.15 + 0.85 * c)
        name = f"output v of {outputs[j]}, length {np.linalg.norm(step.v[j]):.2f}"
        plane.arrow(v[j], COLOURS["v"], 4, name)
        tips = {str(i + 1): z[i, j] for i in range(I)} if I <= ARROWS else {}
        tips |= {"s": tip, "v": v[j]}
        # The names keep clear of s at every iteration, so that those of the inputs stand still.
        plane.names(tips, along([*tips.values(), *_cut(every_s[:, j], far)])[::2])


def _cut(s: np.ndarray, far: float) -> np.ndarray:
    """Return s, an arrow longer than `far` cut to that length, which the planes can hold."""
    return s * np.minimum(1, far / np.maximum(np.linalg.norm(s, axis=-1, keepdims=True), far))


def _draw_couplings(box: Plane, c: np.ndarray) -> None:
    I, J = c.shape
    few = c.size <= NUMBERS
    matrix = replace(box, x=(0, J), y=(I, 0))
    matrix.words((J / 2, -12 * I / box.height), "couplings")
    for i, j in np.ndindex(I, J):
        name = f"input {i + 1}, output {j + 1}: coupling {c[i, j]:.2f}" if few else ""
        matrix.path(corners(j, i, 1, 1), COLOURS["c"], width=0, opacity=c[i, j], name=name)
    matrix.path(corners(0, 0, J, I), COLOURS["muted"], width=1)
    if not few:
        matrix.words((J / 2, I * (1 + 9 / box.height)), f"{I} × {J}", size=11)
    else:
        for i, j in np.ndindex(I, J):
            matrix.words((j + 0.5, i + 0.5), f"{c[i, j]:.2f}", size=11)
        for i in range(I):
            matrix.words((-0.08 * J, i + 0.5), str(i + 1), size=11)
        for j in range(J):
            matrix.words((j + 0.5, I * (1 + 9 / box.height)), str(j + 1), size=11)


def _draw_entropy(sketch: Sketch, routing: Routing, k: int) -> None:
    values = [entropy(step.c).mean() for step in routing.steps]
    last = max(2, len(values))
    plot = Plane(sketch, 620, 208, 120, 60, (1, last), (0, 1))
    plot.axes("iteration", "mean entropy", {1: "1", last: str(last)}, {0: "0", 1: "1"})
    points = np.stack([np.arange(1, len(values) + 1), values], axis=-1)
    plot.path(points, COLOURS["muted"], width=1)
    plot.path(points[:k], COLOURS["c"], width=2.5)
    plot.dot(points[k - 1], COLOURS["c"], f"iteration {k}: {values[k - 1]:.2f}")


def clusters(alike: float) -> np.ndarray:
    """z of six inputs: 1 to 3 agree about output 1, 4 and 5 about output 2, and 6 about nothing.

    Parameters
    ----------
    alike : float
        1: a group's predictions point one way; 0: they point round the circle.

    Returns
    -------
    z : ndarray, shape (6, 2, 2)
    """
    apart = 1 - alike
    turns = np.array(  # of the circle, from the x axis
        [
            [0.05, 0.45],
            [0.05 + 0.33 * apart, 0.65],
            [0.05 - 0.33 * apart, 0.85],
            [0.40, 0.10],
            [0.60, 0.10 + 0.50 * apart],
            [0.80, 0.35],
        ]
    )
    length = np.array([1.0, 0.85, 0.7, 1.0, 0.8, 0.6])[:, None, None]
    angle = 2 * np.pi * turns
    return length * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
