"""The figure of a training while it runs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS


def training_so_far(
    losses: Sequence[float], steps: int, images: np.ndarray, v: np.ndarray, labels: np.ndarray
) -> Picture:
    """The loss of each step taken, with its running mean, and what is read in some digits now.

    Parameters
    ----------
    losses : sequence of float
    steps : int
        How many there are to be; the axis is as long from the start.
    images : ndarray, shape (N, height, width)
    v : ndarray, shape (N, J, m)
        Each image is drawn above the lengths ‖v_j‖ of its capsules.
    labels : ndarray of int, shape (N,)
    """
    with drawing(9, 5) as figure:
        curve, below = figure.subplots(2, 1)
        means = [float(np.mean(losses[max(0, k - 9) : k + 1])) for k in range(len(losses))]
        curve.plot(range(1, len(losses) + 1), losses, ".", color=COLOURS["muted"], markersize=4)
        curve.plot(range(1, len(losses) + 1), means, color="black")
        curve.set(xlim=(0, steps), ylim=(0, None), xlabel="step", ylabel="loss of a batch")
        told = _draw_readings(below, images, v, labels)
        alt = f"The loss of each step, and the mean of the last 10 steps, after {len(losses)} steps"
        if losses:
            alt += f": from {losses[0]:.1f} to {means[-1]:.1f}"
        return picture(figure, f"{alt}. {told}")


def _draw_readings(axes: Axes, images: np.ndarray, v: np.ndarray, labels: np.ndarray) -> str:
    """Draw the digits side by side, bars of ‖v_j‖ under each; return in words what is read."""
    J = v.shape[1]
    lengths = np.linalg.norm(v, axis=-1)
    told, ticks = [], []
    for k, (image, length, label) in enumerate(zip(images, lengths, labels, strict=True)):
        # Each digit has a width of 1: above its image, below from 0 to 1 the bars.
        axes.imshow(image, cmap="gray_r", extent=(k + 0.15, k + 0.85, 1.2, 2.1))
        at, longest = k + (np.arange(J) + 1.5) / (J + 2), length.argmax()
        colours = [COLOURS["v" if j == longest else "muted"] for j in range(J)]
        axes.bar(at, length, 0.8 / (J + 2), color=colours)
        right = longest == label
        words = f"read: {longest}" if right else f"read: {longest}, is {label}"
        axes.text(k + 0.5, 2.2, words, ha="center", weight="normal" if right else "bold")
        told.append(f"{label} read as {longest}")
        ticks += [(at[j], j) for j in {longest, label}]
    for margin in (0.1, 0.9):
        axes.axhline(margin, color=COLOURS["muted"], linewidth=1, linestyle=":", zorder=0)
    axes.set_xticks(*zip(*ticks, strict=True), fontsize=9)
    axes.tick_params(axis="x", length=0)
    axes.set(xlim=(0, len(images)), ylim=(0, 2.45), aspect="auto")
    axes.set_yticks([0.1, 0.9])
    axes.spines["left"].set_bounds(0, 1)
    axes.set_ylabel(r"$\|v_j\|$", y=0.2)
    return f"Some digits, with the lengths of their capsules as bars: {', '.join(told)}."
