"""The full Jacobian of a layer's outputs by its weights, as a figure."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import FuncNorm

from capsedu.arguments import check_shape
from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS


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
    # The colour follows the cube root of the entry, so that small entries are seen.
    colours = FuncNorm((np.cbrt, lambda x: x**3), vmin=-largest, vmax=largest)
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
