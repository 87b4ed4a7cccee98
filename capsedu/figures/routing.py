"""Figures of routing by agreement: iterations in the plane, couplings over a digit, long runs."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from capsedu.arguments import check_shape
from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS
from capsedu.figures.plane import along, arrow, frame, label
from capsedu.routing import Iteration, Routing

COUPLING = LinearSegmentedColormap.from_list("coupling", ["white", COLOURS["c"]])
ROWS_WITH_NUMBERS = 12  # beyond, the numbers of the matrix would overlap
WHAT_IS_DRAWN = (
    "Prediction vectors of each output capsule as arrows in the plane, the stronger coupled the "
    "thicker and darker, with total input s, and output v, which stays inside the unit circle; and "
    "the couplings as a matrix, inputs down and outputs across."
)


def entropy(c: np.ndarray) -> np.ndarray:
    """H_i = −Σ_j c_ij log c_ij / log J: 1 where input i is undecided, 0 where it has chosen.

    Parameters
    ----------
    c : ndarray, shape (…, I, J)
        Coupling coefficients.

    Returns
    -------
    H : ndarray, shape (…, I)
        In [0, 1]; 0 for J = 1, where there is nothing to choose.
    """
    log_c = np.log(np.where(c > 0, c, 1))  # c log c → 0 as c → 0
    return -(c * log_c).sum(axis=-1) / np.log(max(2, c.shape[-1]))


def routing_readout(routing: Routing, k: int) -> str:
    """Return iteration k (from 1) in a line: ‖s_j‖, ‖v_j‖, b_ij, c_ij and their mean entropy."""
    step = _step(routing, k)
    s, v = (", ".join(f"{x:.2f}" for x in np.linalg.norm(y, axis=-1)) for y in (step.s, step.v))
    together = "\N{NO-BREAK SPACE}"  # an input's numbers stay on one line
    b, c = (
        " · ".join(together.join(f"{x:.2f}" for x in row) for row in y) for y in (step.b, step.c)
    )
    return (
        f"Iteration {k} of {len(routing.steps)}. Lengths of s: {s}. Lengths of v: {v}. "
        f"Logits b, input by input: {b}. Couplings c, input by input: {c}. "
        f"Mean entropy: {entropy(step.c).mean():.2f}."
    )


def routing_iteration(routing: Routing, k: int) -> Picture:
    """Iteration k of one example with m = 2: z_ij weighted by c_ij, s_j and v_j; the couplings.

    Parameters
    ----------
    routing : Routing
        What `route(z)` returned for z of shape (I, J, 2).
    k : int
        The iteration, counted from 1.

    Raises
    ------
    ValueError
        If z has another shape or is not finite, or there is no iteration k.
    """
    check_plane(routing)
    J = routing.c.shape[-1]
    with drawing(3 * J + 1.8, 2.4) as figure:
        panels = figure.subplots(1, J + 1, width_ratios=[3] * J + [1.8])
        _draw_iteration(panels, routing, k)
        for j, axes in enumerate(panels[:-1], start=1):
            axes.set_title(f"output {j}")
        return picture(figure, f"{WHAT_IS_DRAWN} {routing_readout(routing, k)}")


def routing_row(routing: Routing, chosen: Sequence[int] = (1, 3, 10)) -> Picture:
    """Several iterations of one example side by side, each drawn as in `routing_iteration`."""
    check_plane(routing)
    J = routing.c.shape[-1]
    with drawing(3 * len(chosen), 2.1 * J + 2.2) as figure:
        heights = [2.1] * J + [2.2]
        columns = figure.subplots(J + 1, len(chosen), squeeze=False, height_ratios=heights).T
        for k, column in zip(chosen, columns, strict=True):
            _draw_iteration(column, routing, k)
            column[0].set_title(f"iteration {k}", fontsize="large")
        for j, axes in enumerate(columns[0, :-1], start=1):
            axes.set_ylabel(f"output {j}", fontsize="large")
        for axes in columns[1:, -1]:
            axes.set_ylabel("")
        told = " ".join(routing_readout(routing, k) for k in chosen)
        return picture(figure, f"{WHAT_IS_DRAWN} {told}")


def check_plane(routing: Routing) -> None:
    """Raise ValueError unless `routing` is of one example with finite prediction vectors, m = 2.

    The message calls what is wrong z, which is what the reader gave.
    """
    check_shape("z", np.asarray(routing.z), batch=(), I=None, J=None, m=2)
    if not np.isfinite(routing.z).all():
        raise ValueError("z: holds NaN or infinity, want finite numbers")


def _step(routing: Routing, k: int) -> Iteration:
    """Return iteration k, counted from 1, or raise ValueError if there is no such iteration."""
    if not 1 <= k <= len(routing.steps):
        raise ValueError(f"k: got {k}, want an iteration from 1 to {len(routing.steps)}")
    return routing.steps[k - 1]


def _draw_iteration(panels: Sequence[Axes], routing: Routing, k: int) -> None:
    """Draw iteration k into J + 1 axes: a plane for each output capsule, then the couplings."""
    step = _step(routing, k)
    # The same window in every plane and at every iteration, so that what moves is what changed.
    every_s = np.array([each.s for each in routing.steps])
    points = np.vstack([routing.z.reshape(-1, 2), every_s.reshape(-1, 2)])
    names = [*(str(i) for i in range(1, len(routing.z) + 1)), "$s$", "$v$"]
    for j, axes in enumerate(panels[:-1]):
        frame(axes, points)
        arrow(axes, step.s[j], "s", width=1.5, zorder=1)
        for z, c in zip(routing.z[:, j], step.c[:, j], strict=True):
            arrow(axes, z, "z", width=0.5 + 3 * c, alpha=0.15 + 0.85 * c, zorder=2)
        arrow(axes, step.v[j], "v", width=3, zorder=3)
        # Labels keep clear of s at every iteration, so that those of the inputs stand still.
        taken = along([*routing.z[:, j], *every_s[:, j]])
        label(axes, [*routing.z[:, j], step.s[j], step.v[j]], names, taken)
    _draw_couplings(panels[-1], step.c)


def _draw_couplings(axes: Axes, c: np.ndarray) -> None:
    """Draw c (I, J) as a matrix of squares with its numbers, inputs down and outputs across."""
    I, J = c.shape
    axes.imshow(c, cmap=COUPLING, vmin=0, vmax=1, aspect="auto")
    if I <= ROWS_WITH_NUMBERS:
        for (i, j), value in np.ndenumerate(c):
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=9)
        axes.set_yticks(range(I), range(1, I + 1))
    axes.set_xticks(range(J), range(1, J + 1))
    axes.tick_params(length=0)
    axes.set(title="couplings", xlabel="output $j$", ylabel="input $i$")


def entropy_curves(curves: Mapping[str, np.ndarray]) -> Picture:
    """Mean entropy of the couplings over the iterations, a line for each named curve."""
    dashes = itertools.cycle(["-", (0, (5, 2)), (0, (1, 1.5))])
    last = max(len(values) for values in curves.values())
    with drawing(6.4, 3.2) as figure:
        axes = figure.subplots()
        for (name, values), dash in zip(curves.items(), dashes, strict=False):
            k = np.arange(1, len(values) + 1)
            axes.plot(k, values, "o", color=COLOURS["c"], linestyle=dash, markersize=5)
            axes.text(k[-1] + 0.2, values[-1], name, va="center")
        axes.set(xlim=(0.7, last + 2.6), ylim=(0, 1.05), xticks=range(1, last + 1))
        axes.set(xlabel="iteration", ylabel="mean entropy of the couplings")
        told = "; ".join(
            f"{name} from {values[0]:.2f} to {values[-1]:.2f}" for name, values in curves.items()
        )
        alt = f"Mean entropy of the couplings over the iterations, 1 is undecided: {told}."
        return picture(figure, alt)


def coupling_maps(
    image: np.ndarray, maps: np.ndarray, iterations: Sequence[int], target: str
) -> Picture:
    """Beside the image, where on it the couplings to one output capsule are strong.

    Parameters
    ----------
    image : ndarray, shape (height, width)
    maps : ndarray, shape (K, rows, columns)
        The couplings of the patches, as they lie on the image, at each of the `iterations`.
    iterations : sequence of int, length K
    target : str
        What the output capsule stands for, as "digit 7".
    """
    with drawing(1.8 * (len(maps) + 1), 2.1) as figure:
        panels = figure.subplots(1, len(maps) + 1)
        panels[0].imshow(image, cmap="gray_r")
        panels[0].set_title("the image")
        for axes, couplings, k in zip(panels[1:], maps, iterations, strict=True):
            shown = axes.imshow(couplings, cmap=COUPLING, vmin=0, vmax=maps.max())
            axes.set_title(f"iteration {k}")
        for axes in panels:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(True)
        figure.colorbar(shown, ax=panels, label=f"coupling to {target}", shrink=0.8)
        told = ", ".join(
            f"{couplings.min():.2f} to {couplings.max():.2f} at iteration {k}"
            for couplings, k in zip(maps, iterations, strict=True)
        )
        rows, columns = maps.shape[1:]
        alt = (
            f"An image, and the couplings of its {rows} × {columns} patches to the capsule of "
            f"{target}, darker where stronger: {told}."
        )
        return picture(figure, alt)


def long_run(routing: Routing) -> Picture:
    """Each input's b_i1 − b_i2 and each output's ‖v_j‖ over the iterations of one example.

    Parameters
    ----------
    routing : Routing
        What `route(z)` returned for z of shape (I, 2, m).

    Raises
    ------
    ValueError
        If z has another shape.
    """
    check_shape("z", np.asarray(routing.z), batch=(), I=None, J=2, m=None)
    k = np.arange(1, len(routing.steps) + 1)
    gap = np.array([step.b[:, 0] - step.b[:, 1] for step in routing.steps])
    length = np.array([np.linalg.norm(step.v, axis=-1) for step in routing.steps])
    with drawing(9, 3.2) as figure:
        left, right = figure.subplots(1, 2)
        left.plot(k, gap, color=COLOURS["muted"])
        right.plot(k, length, color=COLOURS["v"])
        for axes, lines, name in ((left, gap, "input"), (right, length, "output")):
            for index, value in enumerate(lines[-1]):
                axes.text(k[-1], value, f" {name} {index + 1}", va="center", fontsize=9)
            axes.set(xlabel="iteration", xlim=(1, 1.25 * k[-1]))
        left.axhline(0, color=COLOURS["muted"], linewidth=0.8)
        left.set_ylabel("logits: $b_{i1} - b_{i2}$")
        right.set(ylabel=r"length of the output $\|v_j\|$", ylim=(0, 1))
        told = ", ".join(f"{value:.0f}" for value in gap[-1])
        ends = " and ".join(f"{value:.2f}" for value in length[-1])
        alt = (
            f"Left, the difference of each input's two logits over {k[-1]} iterations: straight "
            f"lines that grow to {told}. Right, the lengths of the outputs, which settle at {ends}."
        )
        return picture(figure, alt)
