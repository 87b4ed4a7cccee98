"""Figures of a layer whose couplings are given: the vectors in the plane, the full Jacobian."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import FuncNorm

from capsedu.arguments import check_shape
from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS
from capsedu.figures.plane import along, arrow, frame, label
from capsedu.squashing import squash


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
        panels = figure.subplots(1, J + 1)
        for axes in panels:  # the same window in all, so that lengths can be compared
            frame(axes, np.concatenate([u, *z, *path]))
        for tip in u:
            arrow(panels[0], tip, "u", width=2)
        label(panels[0], u, [f"$u_{i}$" for i in range(1, I + 1)], along(u))
        panels[0].set_title("input capsules")
        for j, axes in enumerate(panels[1:]):
            arrow(axes, s[j], "s", width=2.5)
            for tip in z[:, j]:
                arrow(axes, tip, "z", width=1.5)
            axes.plot(
                *path[:, j].T, "o--", color=COLOURS["c"], linewidth=1.6, markersize=4, zorder=3
            )
            arrow(axes, v[j], "v", width=3)
            tips = [*z[:, j], s[j], v[j]]
            names = [f"$z_{{{i}{j + 1}}}$" for i in range(1, I + 1)]
            taken = np.vstack([along(tips), along(path[1:, j], path[:-1, j])])
            label(axes, tips, [*names, f"$s_{j + 1}$", f"$v_{j + 1}$"], taken)
            axes.set_title(f"output capsule {j + 1}")
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


def jacobian_blocks(jacobians: Mapping[str, np.ndarray]) -> Picture:
    """∂v_k[a]/∂W_ij[l, p] as a matrix: a row for each entry of v, a column for each of W.

    Parameters
    ----------
    jacobians : dict of str to ndarray of shape (J, m, I, J, m, n)
        As `capsedu.dv_dW` returns them, by what the panel is called; all of one shape. Columns are
        ordered by j first, then i, l, p.

    Raises
    ------
    ValueError
        If one has another number of axes.
    """
    largest = max(abs(jacobian).max() for jacobian in jacobians.values())
    # The colour follows the root of the entry, so that small entries are seen.
    colours = FuncNorm((_signed_root, _signed_square), vmin=-largest, vmax=largest)
    with drawing(9, 0.7 + 1.9 * len(jacobians)) as figure:
        panels = figure.subplots(len(jacobians), 1, sharex=True, squeeze=False)[:, 0]
        told = []
        for axes, (title, jacobian) in zip(panels, jacobians.items(), strict=True):
            check_shape(title, jacobian, batch=(), K=None, a=None, I=None, J=None, l=None, p=None)
            J, m, I, _, _, n = jacobian.shape
            matrix = np.moveaxis(jacobian, 3, 2).reshape(J * m, J * I * m * n)
            shown = axes.imshow(matrix, cmap="RdBu_r", norm=colours, aspect="auto")
            rows = [f"$v_{k}[{a}]$" for k in range(1, J + 1) for a in range(1, m + 1)]
            columns = [f"$W_{{{i}{j}}}$" for j in range(1, J + 1) for i in range(1, I + 1)]
            axes.set_yticks(range(J * m), rows)
            axes.set_xticks((np.arange(I * J) + 0.5) * m * n - 0.5, columns)
            for place in range(1, I * J):
                axes.axvline(place * m * n - 0.5, color=COLOURS["muted"], linewidth=0.6)
            for j in range(1, J):
                axes.axvline(j * I * m * n - 0.5, color="black", linewidth=1.2)
                axes.axhline(j * m - 0.5, color="black", linewidth=1.2)
            across = {
                (k, j): abs(jacobian[k, :, :, j]).max() for k, j in np.ndindex(J, J) if k != j
            }
            for k, j in (at for at, size in across.items() if size == 0):
                middle = (j + 0.5) * I * m * n - 0.5, (k + 0.5) * m - 0.5
                axes.text(*middle, "all zero", ha="center", va="center")
            axes.tick_params(length=0, labelbottom=axes is panels[-1])
            axes.spines[:].set_visible(True)
            axes.set_title(title)
            told.append(
                f"{title}: the largest entry has size {abs(jacobian).max():.3f}; outside the "
                f"blocks of an output and its own weights, {max(across.values(), default=0):.3f}"
            )
        figure.colorbar(shown, ax=panels, label="derivative", pad=0.02)
        alt = (
            f"The Jacobian as a matrix of {matrix.shape[0]} rows, the entries of the outputs, and "
            f"{matrix.shape[1]} columns, the entries of all W_ij, red where positive and blue "
            f"where negative. {'. '.join(told)}."
        )
        return picture(figure, alt)


def _signed_root(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.sqrt(abs(x))


def _signed_square(x: np.ndarray) -> np.ndarray:
    return x * abs(x)
