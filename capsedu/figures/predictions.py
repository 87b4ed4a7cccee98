"""Figures of a layer whose couplings are given: the vectors in the plane, the full Jacobian."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from capsedu.arguments import check_shape
from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS
from capsedu.squashing import squash

LABEL_POINTS = 11  # from an arrow's tip to its name
HALO = [withStroke(linewidth=3, foreground="white")]


def predictions_in_the_plane(u: np.ndarray, z: np.ndarray, c: np.ndarray) -> Picture:
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
    with drawing(3 * (J + 1), 3.3) as figure:
        inputs, *outputs = figure.subplots(1, J + 1)
        _arrows(inputs, u, COLOURS["u"], 0.014, [f"$u_{i}$" for i in range(1, I + 1)])
        inputs.set_title("input capsules")
        for j, axes in enumerate(outputs):
            names = [f"$z_{{{i}{j + 1}}}$" for i in range(1, I + 1)]
            _arrows(axes, s[j : j + 1], COLOURS["s"], 0.022, [f"$s_{j + 1}$"])
            _arrows(axes, z[:, j], COLOURS["z"], 0.010, names)
            axes.plot(*path[:, j].T, "o--", color=COLOURS["c"], linewidth=1.6, markersize=4)
            _arrows(axes, v[j : j + 1], COLOURS["v"], 0.016, [f"$v_{j + 1}$"], turn=-1j)
            axes.set_title(f"output capsule {j + 1}")
        for axes, points in zip([inputs, *outputs], [u, *np.moveaxis(z, 1, 0)], strict=True):
            _frame(axes, points)
        sums = "; ".join(
            f"s_{j + 1} = ({s[j, 0]:.2f}, {s[j, 1]:.2f}) is squashed to "
            f"v_{j + 1} = ({v[j, 0]:.2f}, {v[j, 1]:.2f})"
            for j in range(J)
        )
        alt = (
            f"On the left {I} input capsules as arrows in the plane. Beside them a plane for each "
            f"of the {J} output capsules: its {I} prediction vectors, a dashed path that lays "
            "the prediction vectors, each times its coupling, end to end, the total input s that "
            f"the path leads to, and the output v inside the unit circle. {sums}."
        )
        return picture(figure, alt)


def _arrows(
    axes: Axes,
    tips: np.ndarray,
    colour: str,
    width: float,
    names: list[str],
    turn: complex = 1,
) -> None:
    """Draw arrows from the origin, their names beyond the tip or turned away from there."""
    origin = np.zeros(len(tips))
    axes.quiver(origin, origin, *tips.T, color=colour, width=width, angles="xy",
                scale_units="xy", scale=1)  # fmt: skip
    for tip, name in zip(tips, names, strict=True):
        away = LABEL_POINTS * turn * np.exp(1j * np.arctan2(tip[1], tip[0]))
        axes.annotate(name, tip, (away.real, away.imag), textcoords="offset points",
                      ha="center", va="center", path_effects=HALO)  # fmt: skip


def _frame(axes: Axes, points: np.ndarray) -> None:
    """Draw the unit circle, and give the plane a square window that holds it and the points."""
    circle = np.exp(1j * np.linspace(0, 2 * np.pi, 200))
    axes.plot(circle.real, circle.imag, color=COLOURS["muted"], linewidth=0.8, linestyle=":")
    low, high = np.minimum(points.min(axis=0), -1), np.maximum(points.max(axis=0), 1)
    middle, half = (low + high) / 2, (high - low).max() / 2 + 0.25
    axes.set(xlim=middle[0] + half * np.array([-1, 1]), ylim=middle[1] + half * np.array([-1, 1]))
    axes.set(aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def jacobian_blocks(jacobian: np.ndarray) -> Picture:
    """∂v_k[a]/∂W_ij[l, p] as a matrix: a row for each entry of v, a column for each of W.

    Parameters
    ----------
    jacobian : ndarray, shape (J, m, I, J, m, n)
        As `dv_dW` returns it; columns are ordered by j first, then i, l, p.

    Raises
    ------
    ValueError
        If it has another number of axes.
    """
    check_shape("jacobian", jacobian, batch=(), K=None, a=None, I=None, J=None, l=None, p=None)
    K, m, I, J, _, n = jacobian.shape
    matrix = np.moveaxis(jacobian, 3, 2).reshape(K * m, J * I * m * n)
    zero = [(k, j) for k in range(K) for j in range(J) if not jacobian[k, :, :, j].any()]
    largest = abs(matrix).max()
    with drawing(9, 2.6) as figure:
        axes = figure.subplots()
        shown = axes.imshow(matrix, cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto")
        rows = [f"$v_{k}[{a}]$" for k in range(1, K + 1) for a in range(1, m + 1)]
        columns = [f"$W_{{{i}{j}}}$" for j in range(1, J + 1) for i in range(1, I + 1)]
        axes.set_yticks(range(K * m), rows)
        axes.set_xticks((np.arange(I * J) + 0.5) * m * n - 0.5, columns)
        axes.tick_params(length=0)
        for place in range(1, I * J):
            axes.axvline(place * m * n - 0.5, color=COLOURS["muted"], linewidth=0.6)
        for place in range(1, J):
            axes.axvline(place * I * m * n - 0.5, color="black", linewidth=1.2)
        for place in range(1, K):
            axes.axhline(place * m - 0.5, color="black", linewidth=1.2)
        for k, j in zero:
            middle = (j + 0.5) * I * m * n - 0.5, (k + 0.5) * m - 0.5
            axes.text(*middle, "all zero", ha="center", va="center")
        axes.spines[:].set_visible(True)
        figure.colorbar(shown, ax=axes, label="derivative", pad=0.02)
        blocks = ", ".join(f"v_{k + 1} by W_i{j + 1}" for k, j in zero) or "none"
        alt = (
            f"The Jacobian as a matrix of {K * m} rows, the entries of the outputs, and "
            f"{matrix.shape[1]} columns, the entries of all W_ij. The largest entry has size "
            f"{largest:.2f}. Blocks that are all zero: {blocks}."
        )
        return picture(figure, alt)
