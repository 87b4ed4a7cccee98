"""Figures of the two gains of squash over ‖s‖, and of where on them the capsules of a layer lie."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS
from capsedu.squashing import gains, length_and_direction


def two_gains() -> Picture:
    """Both gains over ‖s‖: across s ‖s‖/(1+‖s‖²), along s 2‖s‖/(1+‖s‖²)²."""
    t = np.geomspace(1e-3, 100, 400)
    with drawing(8.6, 3.6) as figure:
        axes = figure.subplots()
        _draw_gains(axes, t)
        axes.plot(1, 0.5, "o", color=COLOURS["v"], markersize=8)
        axes.plot(1 / np.sqrt(3), 3 * np.sqrt(3) / 8, "s", color=COLOURS["v"], markersize=8)
        axes.text(1.3, 0.525, "½ at 1: the largest, and the crossing")
        axes.text(0.68, 0.66, r"$3\sqrt{3}/8$ at $1/\sqrt{3}$")
        axes.set(xlim=(t[0], t[-1]), ylim=(0, 0.75))
        axes.set_xlabel(r"length of the total input $\|s\|$")
        alt = (
            "The two gains of squash over the length of s, on a logarithmic axis. Both rise from "
            "0, along s twice as fast as across, and fall again. Along s the largest is 0.65 at "
            "0.58; across s it is 0.5 at 1, where the two cross; beyond 1 the gain along s falls "
            "much faster."
        )
        return picture(figure, alt)


def gains_and_lengths(groups: Mapping[str, np.ndarray]) -> Picture:
    """Both gains over ‖s‖ and, below them, where the total inputs of a network lie.

    Parameters
    ----------
    groups : dict of str to ndarray
        ‖s‖ of many capsules, of any shape, by name: a row each, in this order, with a line over the
        middle 90 % and a dot at the median.
    """
    ranges = {name: np.quantile(t, (0.05, 0.5, 0.95)) for name, t in groups.items()}
    t = np.geomspace(min([1e-2, *(0.5 * low for low, _, _ in ranges.values())]), 100, 400)
    with drawing(8.6, 2.9 + 0.3 * len(ranges)) as figure:
        shares = {"height_ratios": (2.6, 0.3 * len(ranges))}
        above, below = figure.subplots(2, 1, sharex=True, gridspec_kw=shares)
        _draw_gains(above, t)
        for row, (low, middle, high) in enumerate(ranges.values()):
            below.plot([low, high], [row, row], color=COLOURS["s"], linewidth=5)
            below.plot(middle, row, "o", color="black", markersize=5)
        for axes in (above, below):  # where squash gives the lengths of the margins, 0.1 and 0.9
            for margin in (1 / 3, 3):
                axes.axvline(margin, color=COLOURS["muted"], linewidth=1, linestyle=":", zorder=0)
        below.set_yticks(range(len(ranges)), [*ranges])
        below.set(ylim=(len(ranges) - 0.5, -0.5), xlim=(t[0], t[-1]))
        below.set_xlabel(r"length of the total input $\|s\|$")
        told = "; ".join(
            f"{name}: median {middle:.2g}, from {low:.2g} to {high:.2g}"
            for name, (low, middle, high) in ranges.items()
        )
        alt = (
            "Above, the two gains of squash over the length of s, on a logarithmic axis: both rise "
            "from 0 to a half and more near 1 and fall again, that along s faster. Below, the "
            "middle 90 % of the lengths of s of several groups of capsules, with the median. "
            f"Dotted lines at 1/3 and 3, where v has length 0.1 and 0.9. {told}."
        )
        return picture(figure, alt)


def _draw_gains(axes: Axes, t: np.ndarray) -> None:
    """Draw both gains over the lengths t, and name them."""
    length, _, x = length_and_direction(t[:, None])
    for gain, line in zip(gains(length, x), ("-", "--"), strict=True):
        axes.semilogx(t, gain, color=COLOURS["v"], linestyle=line)
    axes.text(3.2, 0.35, "across $s$:\nturning")
    axes.text(0.085, 0.25, "along $s$:\nlengthening", ha="right")
    axes.set_yticks([0, 0.25, 0.5])
    axes.set_ylabel("gain: change of $v$ / of $s$")
