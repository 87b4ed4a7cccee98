"""Figures of routing by agreement: couplings over a digit, and what routing ascends."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from capsedu.figures.canvas import HALO, Picture, drawing, picture
from capsedu.figures.palette import COLOURS
from capsedu.routing import route

COUPLING = LinearSegmentedColormap.from_list("coupling", ["white", COLOURS["c"]])


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


def what_routing_ascends() -> Picture:
    """F(c) = Σ_j φ(‖s_j‖), φ(t) = t − arctan t, over the couplings of two inputs; routing on it.

    Left, its contours over c_11 and c_21 with iterations 1 … 10; right, its value over them.
    """
    z = np.array([[[1.0, 0.2], [0.7, 0.6]], [[0.5, 0.7], [-0.5, 0.9]]])
    steps = route(z, iterations=10).steps
    path = np.array([step.c[:, 0] for step in steps])
    F_path = np.array([_ascended(step.s) for step in steps])
    grid = np.linspace(0, 1, 101)
    to_1 = np.stack(np.meshgrid(grid, grid), axis=-1)
    c = np.stack([to_1, 1 - to_1], axis=-1)
    F = _ascended(np.einsum("...ij,ijm->...jm", c, z))
    with drawing(8.4, 3.6) as figure:
        hill, curve = figure.subplots(1, 2)
        hill.contour(grid, grid, F, levels=14, colors=COLOURS["muted"], linewidths=0.8)
        hill.plot(*path.T, "o-", color=COLOURS["c"], markersize=5, linewidth=1.2)
        hill.text(*(path[0] - (0.02, 0.06)), "iteration 1", ha="right", path_effects=HALO)
        hill.text(*(path[-1] - (0.04, 0.0)), "10", ha="right", va="center", path_effects=HALO)
        hill.set(xlabel="$c_{11}$", ylabel="$c_{21}$", aspect="equal", xticks=[0, 1], yticks=[0, 1])
        hill.set_title("contours of $F$", fontsize=11)
        curve.plot(np.arange(1, 11), F_path, "o-", color=COLOURS["c"], markersize=5)
        curve.set(xlabel="iteration", ylabel="$F$", xticks=range(1, 11))
        alt = (
            "Left, contours of F over the couplings c_11 and c_21 of two inputs to output 1: a "
            "bowl whose high places are its corners. Routing starts in the middle, where all "
            f"couplings are 0.5, and climbs to c_11 = {path[-1, 0]:.2f}, c_21 = {path[-1, 1]:.2f}. "
            f"Right, F over the iterations: it rises from {F_path[0]:.3f} to {F_path[-1]:.3f}."
        )
        return picture(figure, alt)


def _ascended(s: np.ndarray) -> np.ndarray:
    """F = Σ_j φ(‖s_j‖),  φ(t) = t − arctan t, for s of shape (…, J, m)."""
    t = np.linalg.norm(s, axis=-1)
    return (t - np.arctan(t)).sum(axis=-1)
