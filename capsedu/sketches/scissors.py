"""Scissors: the four-integer example as its unrolled graph; cut an edge, get another gradient."""

import functools
from collections.abc import Collection

import numpy as np

from capsedu.figures.palette import COLOURS
from capsedu.layer import capsule_layer
from capsedu.numerical_derivatives import central_difference
from capsedu.predictions import predict, predict_vjp
from capsedu.routing import route, softmax_vjp
from capsedu.sketches.four_integers import DV, LINES, WINDOW, U, W, draw_slopes
from capsedu.sketches.plane import Plane
from capsedu.sketches.sketch import Sketch
from capsedu.squashing import squash_vjp

WIDTH, HEIGHT = 760, 300  # pixels of the sketch
CUTS = {
    "z_into_s1": "z into s¹",
    "z_into_agreement": "z into the agreement",
    "v_into_agreement": "v¹ into the agreement",
    "c_into_s2": "c² into s²",
    "z_into_s2": "z into s²",
}
# From the layer's end to its beginning: from, to, and which cut parts them.
EDGES = (
    *(("v²", "L", ""), ("s²", "v²", ""), ("c²", "s²", "c_into_s2"), ("z", "s²", "z_into_s2")),
    *(("b", "c²", ""), ("v¹", "b", "v_into_agreement"), ("z", "b", "z_into_agreement")),
    *(("s¹", "v¹", ""), ("z", "s¹", "z_into_s1"), ("W", "z", "")),
)
NODES = {
    name: 24 + 61 * k for k, name in enumerate(("W", "z", "s¹", "v¹", "b", "c²", "s²", "v²", "L"))
}
LEVEL = 78  # pixels of the nodes from above; NODES has those from the left
RADIUS = 15  # pixels of a node
SAG = {("z", "b"): 50, ("z", "s²"): 92}  # pixels that an edge runs below the others
# The three roads from L to W, each by the cuts that close it: past the couplings, as the frozen
# rule has it; through the agreement directly to z; through the agreement, v¹ and s¹.
ROADS = (
    {"z_into_s2"},
    {"c_into_s2", "z_into_agreement"},
    {"c_into_s2", "v_into_agreement", "z_into_s1"},
)
NAMES = {  # by whether the first road is open, and how many of the other two
    (True, 2): "unrolled, the exact gradient",
    (True, 1): "half-detached: z or v¹ cut in the agreement, the same here",
    (True, 0): "frozen, the couplings held constant",
    (False, 2): "only through the couplings: unrolled − frozen",
    (False, 1): "only through the couplings, directly to z or by way of v¹, the same here",
    (False, 0): "zero, no road leads from L to W",
}
DESCRIPTION = (
    "The two routing iterations of the four-integer example as a graph from W over z, s¹, v¹, b, "
    "c², s², v² to the loss L, with edges from z into s¹, into the agreement b and into s². A cut "
    "edge is grey and dashed, with a gap and the word cut; edges that still carry a gradient are "
    "thick. Below, the four entries of dL/dW with these cuts, those of a finite difference, and "
    "what is missing. To the right, output v_1 over W_12, and at 2 the slopes of both."
)


def cut_gradient(cuts: Collection[str] = ()) -> np.ndarray:
    """dL/dW where nothing flows back through the cut edges: as if their values were constants.

    Parameters
    ----------
    cuts : collection of str
        Any of `CUTS`.

    Returns
    -------
    dW : ndarray, shape (2, 2)

    Raises
    ------
    ValueError
        If a cut is not one of `CUTS`.
    """
    if not set(cuts) <= CUTS.keys():
        raise ValueError(f"cuts: got {sorted(cuts)}, want some of {list(CUTS)}")
    open_ = {cut: cut not in cuts for cut in CUTS}
    z = predict(W, U)
    first, second = route(z, 2).steps
    ds2 = squash_vjp(second.s, DV)
    dz = open_["z_into_s2"] * second.c[..., None] * ds2
    dc2 = open_["c_into_s2"] * np.einsum("ijm,jm->ij", z, ds2)
    db = softmax_vjp(second.c, dc2)
    dz = dz + open_["z_into_agreement"] * db[..., None] * first.v
    dv1 = open_["v_into_agreement"] * np.einsum("ij,ijm->jm", db, z)
    dz = dz + open_["z_into_s1"] * first.c[..., None] * squash_vjp(first.s, dv1)
    return predict_vjp(W, U, dz)[0][:, :, 0, 0]


@functools.cache
def finite_difference() -> np.ndarray:
    """(L(W + h e) − L(W − h e)) / 2h of the layer as it runs, e each entry of W alone: (2, 2)."""

    def loss(W: np.ndarray) -> np.ndarray:
        return np.sum(DV * capsule_layer(W, U, iterations=2).v)

    entries = np.eye(W.size).reshape(W.size, *W.shape)
    return np.reshape([central_difference(loss, W, e, step=1e-6) for e in entries], (2, 2))


def roads(cuts: Collection[str]) -> tuple[bool, ...]:
    """Return which of the three roads from L to W are open."""
    return tuple(road.isdisjoint(cuts) for road in ROADS)


def gradient_name(cuts: Collection[str]) -> str:
    """Return what the gradient is called that these cuts make."""
    past_couplings, *through_them = roads(cuts)
    return NAMES[past_couplings, sum(through_them)]


def readout(cuts: Collection[str], dW: np.ndarray) -> str:
    """Return the cuts, the gradient's name and its numbers in words, and which cuts are idle."""
    want = finite_difference()
    cut = ", ".join(label for key, label in CUTS.items() if key in cuts) or "nothing"
    told = f"Cut: {cut}. Gradient: {gradient_name(cuts)}. dL/dW, row by row: {_entries(dW)}; "
    told += f"finite difference: {_entries(want)}. Slope of v_1 over W_12: {dW[0, 1]:z.4f}."
    idle = [CUTS[key] for key in CUTS if key in cuts and roads(set(cuts) - {key}) == roads(cuts)]
    if idle:
        told += f" Untick one of these alone, and nothing changes: {'; '.join(idle)}."
    return told


def _entries(x: np.ndarray) -> str:
    return ", ".join(f"{entry:z.4f}" for entry in x.ravel())


def sketch_scissors(cuts: Collection[str] = ()) -> Sketch:
    """The graph with its cuts, dL/dW beside the finite difference, the curve and its slopes.

    Parameters
    ----------
    cuts : collection of str
        Any of `CUTS`.

    Raises
    ------
    ValueError
        If a cut is not one of `CUTS`.
    """
    dW = cut_gradient(cuts)
    told = readout(cuts, dW)
    sketch = Sketch(WIDTH, HEIGHT, "Scissors in the unrolled graph", DESCRIPTION, told)
    _draw_graph(Plane(sketch, 0, 0, WIDTH, HEIGHT, (0, WIDTH), (HEIGHT, 0)), cuts)
    _draw_numbers(sketch, cuts, dW)
    line = "frozen" if roads(cuts) == (True, False, False) else "muted"
    slopes = {"exact": (finite_difference()[0, 1], "unrolled"), "these cuts": (dW[0, 1], line)}
    draw_slopes(Plane(sketch, 585, 34, 160, 170, *WINDOW), slopes)
    for y, (name, (slope, line)) in zip((262, 280), slopes.items(), strict=True):
        sketch.path([(540, y), (564, y)], **LINES[line])
        sketch.words((572, y), f"{name}: slope {slope:z.4f}", anchor="start", size=12)
    return sketch


def _draw_graph(page: Plane, cuts: Collection[str]) -> None:
    hears = {"L"}  # the nodes that a gradient reaches
    for tail, head, cut in EDGES:
        is_cut = cut in cuts
        if head in hears and not is_cut:
            hears.add(tail)
        name = CUTS.get(cut, f"{tail} into {head}") + ", cut" * is_cut
        _draw_edge(page, tail, head, name, is_cut, width=2.4 if head in hears else 1)
    c1 = NODES["s¹"]
    page.arrow((c1, LEVEL - 17), "#000000", 1, "c¹ into s¹", start=(c1, 34))
    page.words((c1, 22), "c¹ = ½", italic=True)
    for node, above, text in (
        ("v¹", 46, "iteration 1"),
        ("b", 28, "agreement"),
        ("s²", 46, "iteration 2"),
    ):
        page.words((NODES[node], LEVEL - above), text, size=11)
    for row, text in enumerate(("thick: a gradient", "flows back")):
        page.words((8, 146 + 14 * row), text, anchor="start", size=11)
    for name, x in NODES.items():
        page.dot((x, LEVEL), COLOURS.get(name[0], "#000000"), name, RADIUS)
        page.dot((x, LEVEL), "#FFFFFF", name, RADIUS - 2)
        page.words((x, LEVEL), name, italic=True)


def _draw_edge(page: Plane, tail: str, head: str, name: str, is_cut: bool, width: float) -> None:
    start, end, sag = NODES[tail], NODES[head], SAG.get((tail, head), 0)
    along = np.linspace(0, 1, 81)
    x, y = start + along * (end - start), LEVEL + 4 * along * (1 - along) * sag
    clear = np.hypot(np.minimum(x - start, end - x), y - LEVEL) >= RADIUS  # from rim to rim
    points = np.stack([x, y], axis=-1)[clear]
    if not is_cut:
        page.path(points[:-6], "#000000", width=width, name=name)
        page.arrow(points[-1], "#000000", width, name, start=points[-8])
        return
    middle = points[len(points) // 2]
    for side in (points[:, 0] < middle[0] - 4, points[:, 0] > middle[0] + 4):
        page.path(points[side], COLOURS["muted"], dash=(3, 3), name=name)
    for x in (-3, 3):
        page.path(np.add(middle, [(x - 2, 5), (x + 2, -5)]), "#000000", name=name)
    page.words(np.add(middle, (0, -15)), "cut", size=11)


def _draw_numbers(sketch: Sketch, cuts: Collection[str], dW: np.ndarray) -> None:
    want = finite_difference()
    tables = {"dL/dW with these cuts": dW, "finite difference": want, "missing": want - dW}
    for column, (name, table) in enumerate(tables.items()):
        x = 90 + 170 * column
        sketch.words((x, 190), name, size=12)
        for (i, j), entry in np.ndenumerate(table):
            sketch.words((x - 32 + 64 * j, 211 + 18 * i), f"{entry:z.4f}")
    sketch.words((12, 262), gradient_name(cuts), anchor="start", size=14)
