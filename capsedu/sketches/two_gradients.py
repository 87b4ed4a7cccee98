"""The frozen and the unrolled gradient side by side: dz as arrows, their angle, who contributes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from capsedu.arguments import as_numbers, check_shape
from capsedu.figures.palette import COLOURS
from capsedu.predictions import check_layer, predict
from capsedu.routing import Routing, route, route_vjp
from capsedu.sketches.plane import Plane
from capsedu.sketches.routing import principal_planes
from capsedu.sketches.sketch import Sketch, corners

ITERATIONS = (1, 2, 3, 5, 10, 30, 100, 300, 1000)
WIDTH, HEIGHT = 760, 310  # pixels of the sketch
PLANES = 495, 280  # pixels for the planes; their legend stands below, the numbers to the right
ROW = 14  # pixels for the share of an iteration
COLUMNS = 3  # planes in a row
ARROWS = 16  # the most inputs that are drawn in a plane: beyond, they hide one another
REACH = 0.6  # the longest dz is drawn at most so long, in lengths of the longest z
STYLES = {"unrolled": {"width": 2.4}, "frozen": {"width": 1.6, "dash": (4, 3)}}
DESCRIPTION = (
    "For each output capsule, prediction vectors z as arrows in a plane, and at the tip of each "
    "its gradient dz twice: frozen, orange and dashed, and unrolled, black and solid, to one "
    "scale. To the right, over the number of iterations, the cosine of the two dW and the "
    "ratio of their lengths, with the present number marked. Below, a bar for each iteration, or "
    "group of them: its share in the unrolled gradient; that of the last one is the frozen rule's."
)


@dataclass(frozen=True, eq=False)
class TwoGradients:
    """Both gradients of one example, for each r of `ITERATIONS`, and how they compare.

    Attributes
    ----------
    z : ndarray, shape (I, J, m)
    frozen, unrolled : ndarray, shape (R, I, J, m)
        ∂L/∂z under the two rules.
    cosine, ratio : ndarray, shape (R,)
        Of the two ∂L/∂W: of the angle between them, and ‖unrolled‖ / ‖frozen‖.
    shares : tuple of ndarray
        For the k-th r, k + 1 shares that sum to 1: of the last iteration, of the 2nd last, the
        3rd, the 4th to 5th, the 6th to 10th last, …, as `ITERATIONS` divides them.
    """

    z: np.ndarray
    frozen: np.ndarray
    unrolled: np.ndarray
    cosine: np.ndarray
    ratio: np.ndarray
    shares: tuple[np.ndarray, ...]


def compare_gradients(
    W: np.ndarray, u: np.ndarray, dv: np.ndarray, scales: Sequence[float] = (1.0,)
) -> list[TwoGradients]:
    """share_q = ⟨dz_q − dz_{q−1}, dz⟩ / ⟨dz, dz⟩,  dz_q: the sweep through the last q iterations.

    dz_1 is the frozen rule, dz_r the unrolled one.

    Parameters
    ----------
    W : array_like, shape (I, J, m, n)
        Transformation matrices.
    u : array_like, shape (I, n)
        Activities of the input capsules in one example.
    dv : array_like, shape (J, m)
        ∂L/∂v.
    scales : sequence of float
        What W is multiplied by.

    Returns
    -------
    list of TwoGradients
        One for each scale.

    Raises
    ------
    ValueError
        If a shape does not fit, something is not finite or not real, or the gradient is zero.
    """
    W, u = check_layer(W, u)
    check_shape("u", u, batch=(), I=W.shape[0], n=W.shape[3])
    dv = as_numbers("dv", dv)
    check_shape("dv", dv, batch=(), J=W.shape[1], m=W.shape[2])
    for name, x in {"W": W, "u": u, "dv": dv}.items():
        if np.iscomplexobj(x) or not np.isfinite(x).all():
            raise ValueError(f"{name}: holds NaN, infinity or complex, want finite real numbers")
    # The scales are a batch; and the first r of many iterations are a routing of r.
    z = np.multiply.outer(np.asarray(scales, float), predict(W, u))
    dv = np.broadcast_to(dv, (len(z), *dv.shape))
    steps = route(z, ITERATIONS[-1]).steps
    found = []
    for k, r in enumerate(ITERATIONS):
        last = [steps[r - q : r] for q in ITERATIONS[: k + 1]]
        found.append(np.stack([route_vjp(Routing(part, z), dv) for part in last], axis=1))
    if not all(dz.any(axis=(2, 3, 4)).all() for dz in found):
        raise ValueError("W, u, dv: the gradient is zero, and has no direction; want none all zero")
    lengths_of_u = np.linalg.norm(u, axis=-1)[:, None, None]
    return [_compare(z[x], [dz[x] for dz in found], lengths_of_u) for x in range(len(z))]


def _compare(z: np.ndarray, found: list[np.ndarray], lengths_of_u: np.ndarray) -> TwoGradients:
    cosine, ratio, shares = [], [], []
    for dz in found:
        # dW_ij = dz_ij u_iᵀ: as long as ‖u_i‖ dz_ij, and at the same angles.
        length, direction = zip(*(_polar(lengths_of_u * rule) for rule in dz[[0, -1]]), strict=True)
        cosine.append(np.sum(direction[0] * direction[1]))
        ratio.append(length[1] / length[0])
        length, direction = _polar(dz[-1])
        shares.append(np.diff(np.sum(dz / length * direction, axis=(1, 2, 3)), prepend=0))
    frozen, unrolled = (np.stack([dz[rule] for dz in found]) for rule in (0, -1))
    return TwoGradients(z, frozen, unrolled, np.array(cosine), np.array(ratio), tuple(shares))


def _polar(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return ‖x‖ and x / ‖x‖."""
    length = _norms(x.ravel())
    return length, x / length


def _norms(x: np.ndarray) -> np.ndarray:
    """‖x‖ over the last axis; no square overflows, and after a tie a dz is beyond 1e154."""
    return np.hypot.reduce(x, axis=-1, initial=0)


def sketch_gradients(both: TwoGradients, r: int) -> Sketch:
    """dz of both rules after r iterations; cosine and ratio over r; the share of each iteration.

    Of more than 16 inputs, each plane shows the 16 with the longest dz.

    Raises
    ------
    ValueError
        If r is not one of `ITERATIONS`.
    """
    if r not in ITERATIONS:
        raise ValueError(f"r: got {r}, want one of {ITERATIONS}")
    k = ITERATIONS.index(r)
    named = "; ".join(
        f"{name}: {share:z.2f}" for name, share in zip(groups(k), both.shares[k], strict=True)
    )
    told = (
        f"r = {r}. Of the two dW: cosine {both.cosine[k]:.3f}, length unrolled / frozen "
        f"{both.ratio[k]:.3g}. Share of each iteration in the unrolled dz, last to first: {named}."
    )
    sketch = Sketch(WIDTH, HEIGHT, "Two gradients of one routing", DESCRIPTION, told)
    sketch.words((8, HEIGHT - 32), f"r = {r}", anchor="start", size=14)
    _draw_planes(sketch, both, k)
    name = f"cosine {both.cosine[k]:.2f}"
    _draw_curve(Plane(sketch, 524, 34, 90, 70), k, both.cosine, name, {0: "0", 1: "1"})
    name, tens = f"length × {both.ratio[k]:.3g}", {0: "1", 1: "10"}
    _draw_curve(Plane(sketch, 650, 34, 90, 70), k, np.log10(both.ratio), name, tens)
    _draw_shares(sketch, both, k)
    return sketch


def groups(k: int) -> list[str]:
    """Return which iterations of the k-th r the shares are of, last to first: "10", …, "5–1"."""
    r, before, names = ITERATIONS[k], 0, []
    for q in ITERATIONS[: k + 1]:
        first, last = r - q + 1, r - before
        names.append(f"{last}" if first == last else f"{last}–{first}")
        before = q
    return names


def _draw_planes(sketch: Sketch, both: TwoGradients, k: int) -> None:
    J = both.z.shape[1]
    dz = {"unrolled": both.unrolled, "frozen": both.frozen}
    length = {rule: _norms(each) for rule, each in dz.items()}
    # In thirds of the longest z: so long that the plane's unit circle takes no room.
    unit = _norms(both.z).max() / 3
    longest = np.maximum(*length.values()).max(axis=(1, 2))
    larger = np.array([_round_down(3 * REACH * unit / x) for x in longest])
    P = principal_planes(both.z)
    z = np.einsum("ijm,jmx->ijx", both.z / unit, P)
    tips = {
        rule: z + np.einsum("r,rijm,jmx->rijx", larger / unit, each, P) for rule, each in dz.items()
    }
    # Each plane has its own middle; all have one room, for what is drawn at any r.
    ends = np.concatenate([z[None], 0 * z[None], *tips.values()])
    low, high = ends.min(axis=(0, 1)), ends.max(axis=(0, 1))
    room = (high - low).max(axis=0) / 2
    columns = min(J, COLUMNS)
    width, height = PLANES[0] / columns, PLANES[1] / math.ceil(J / columns)
    for j in range(J):
        row, column = divmod(j, columns)
        left, top = column * width, row * height
        ends = (low[j] + high[j]) / 2 + np.array([[-1], [1]]) * room
        plane = Plane.around(ends, sketch, (left + 2, top + 16, width - 4, height - 18))
        sketch.words((left + width / 2, top + 10), f"output {j + 1}", size=12)
        for i in sorted(np.argsort(-length["unrolled"][k, :, j])[:ARROWS]):
            of = f"input {i + 1} for output {j + 1}"
            plane.arrow(z[i, j], COLOURS["z"], 1.2, f"prediction of {of}", opacity=0.7)
            for rule, tip in tips.items():
                name = f"{rule} dz of {of}, length {length[rule][k, i, j]:.3g}"
                plane.arrow(tip[k, i, j], COLOURS[rule], name=name, start=z[i, j], **STYLES[rule])
    y = HEIGHT - 12
    for x, name, colour, style in (
        (14, "prediction z", "z", {"width": 1.2}),
        (128, "dz frozen", "frozen", STYLES["frozen"]),
        (226, "dz unrolled", "unrolled", STYLES["unrolled"]),
    ):
        sketch.path([(x, y), (x + 22, y)], COLOURS[colour], **style)
        sketch.words((x + 27, y), name, anchor="start", size=12)
    sketch.words((345, y), f"dz drawn × {larger[k]:g}, at this r", anchor="start", size=12)


def _round_down(x: float) -> float:
    """Return x rounded down to one digit."""
    ten = 10.0 ** math.floor(math.log10(x))
    return ten * math.floor(x / ten)


def _draw_curve(box: Plane, k: int, values: np.ndarray, name: str, ticks: dict) -> None:
    low, high = min(*ticks, values.min()), max(*ticks, values.max())
    plot = replace(box, x=(0, math.log10(ITERATIONS[-1])), y=(low, high))
    plot.axes("iterations", name, {math.log10(r): str(r) for r in (1, 10, 100, 1000)}, ticks)
    points = np.stack([np.log10(ITERATIONS), values], axis=-1)
    plot.path(points, COLOURS["unrolled"], width=1.5)
    for point in points:
        plot.dot(point, COLOURS["unrolled"], radius=2)
    plot.dot(points[k], COLOURS["unrolled"], f"r = {ITERATIONS[k]}: {name}", 4)


def _draw_shares(sketch: Sketch, both: TwoGradients, k: int) -> None:
    every = np.concatenate(both.shares)
    bars = Plane(sketch, 590, 168, 118, ROW * len(ITERATIONS), (min(0, *every), max(1, *every)))
    bars = replace(bars, y=(len(ITERATIONS), 0))
    sketch.words(
        (WIDTH - 6, 157), "shares in the unrolled dz, by iterations", anchor="end", size=12
    )
    bars.path([(0, 0), (0, len(ITERATIONS))], COLOURS["muted"], width=1)
    for row, (name, share) in enumerate(zip(groups(k), both.shares[k], strict=True)):
        of = f"iteration {name}: share {share:z.2f}" + (", the frozen dz" if row == 0 else "")
        bar = corners(0, row + 0.15, share, 0.7)
        bars.path(bar, COLOURS["unrolled" if row else "frozen"], width=0, name=of)
        y = bars.pixels((0, row + 0.5))[1]
        sketch.words((584, y), name if row else f"{name} (frozen)", anchor="end", size=11)
        sketch.words((WIDTH - 6, y), f"{share:z.2f}", anchor="end", size=11)
