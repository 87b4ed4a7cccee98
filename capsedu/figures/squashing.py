"""Figures of squash: what it does to vectors, its two gains, and the image of a circle."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from capsedu.arguments import check_shape
from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS
from capsedu.figures.plane import CIRCLE, arrow, frame, unit_circle
from capsedu.squashing import gains, length_and_direction, squash

ACROSS, ALONG = "-", (0, (5, 2))  # the lines of what happens across s, and along it


def squashed(s: np.ndarray) -> Picture:
    """Total inputs s and outputs v = squash(s) in the plane, and ‖v‖ = ‖s‖²/(1+‖s‖²).

    Parameters
    ----------
    s : ndarray, shape (K, 2)

    Raises
    ------
    ValueError
        If `s` has another shape.
    """
    check_shape("s", s, batch=(), K=None, m=2)
    v = squash(s)
    t, length = (np.linalg.norm(x, axis=-1) for x in (s, v))
    reach = max(1, t.max()) + 0.1
    with drawing(9, 3.6) as figure:
        plane, curve = figure.subplots(1, 2)
        frame(plane, s)
        for tips, quantity, width in ((s, "s", 1.5), (v, "v", 3)):
            for tip in tips:
                arrow(plane, tip, quantity, width)
        plane.set_title("$s$ (thin), $v$ (thick), the unit circle")
        lengths = np.linspace(0, reach, 200)
        curve.plot(lengths, lengths**2 / (1 + lengths**2), color=COLOURS["v"])
        curve.plot(t, length, "o", color=COLOURS["v"], markersize=7)
        curve.axhline(1, color=COLOURS["muted"], linewidth=1, linestyle=":")
        curve.set(xlim=(0, reach), ylim=(0, 1.05))
        curve.set(xlabel=r"length of the total input $\|s\|$", ylabel=r"length $\|v\|$")
        told = ", ".join(f"{a:.2f} becomes {b:.2f}" for a, b in zip(t, length, strict=True))
        alt = (
            "Left, vectors s in the plane and their squashed v: each v points where its s points "
            f"and ends inside the unit circle. Right, the length of v over that of s, a curve that "
            f"rises from 0 towards 1, flat at both ends. The lengths: {told}."
        )
        return picture(figure, alt)


def two_gains(marks: Sequence[tuple[str, float]] = ()) -> Picture:
    """Both gains over ‖s‖: across s ‖s‖/(1+‖s‖²), along s 2‖s‖/(1+‖s‖²)².

    Parameters
    ----------
    marks : sequence of (name, ‖s‖)
        Where on the plot something stands, as a start of training; without any, the largest gains
        are marked.
    """
    t = np.geomspace(min([1e-3, *(0.5 * t for _, t in marks)]), 100, 400)
    with drawing(8.6, 4.2 if marks else 3.6) as figure:
        axes = figure.subplots()
        _draw_gains(axes, t)
        if not marks:
            axes.plot(1, 0.5, "o", color=COLOURS["v"], markersize=8)
            axes.plot(1 / np.sqrt(3), 3 * np.sqrt(3) / 8, "s", color=COLOURS["v"], markersize=8)
            axes.text(1.3, 0.525, "½ at 1: the largest, and the crossing")
            axes.text(0.68, 0.66, r"$3\sqrt{3}/8$ at $1/\sqrt{3}$")
        for name, x in marks:
            axes.plot([x, x], [0, 0.75], color=COLOURS["muted"], linewidth=0.8, zorder=0)
            axes.plot([x, x], _gains(x), "D", color="black", markersize=5)
            axes.text(x, 0.765, name, rotation=30, fontsize=10)
        axes.set(xlim=(t[0], t[-1]), ylim=(0, 1.05 if marks else 0.75))
        axes.set_xlabel(r"length of the total input $\|s\|$")
        marked = "; ".join(
            "{}: length {:.2g}, gain across {:.2g}, along {:.2g}".format(name, x, *_gains(x))
            for name, x in marks
        )
        alt = (
            "The two gains of squash over the length of s, on a logarithmic axis. Both rise from "
            "0, along s twice as fast as across, and fall again. Along s the largest is 0.65 at "
            "0.58; across s it is 0.5 at 1, where the two cross; beyond 1 the gain along s falls "
            f"much faster.{' Marked: ' + marked + '.' if marks else ''}"
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
    for gain, line in zip(_gains(t), (ACROSS, ALONG), strict=True):
        axes.semilogx(t, gain, color=COLOURS["v"], linestyle=line)
    axes.text(3.2, 0.35, "across $s$:\nturning")
    axes.text(0.085, 0.25, "along $s$:\nlengthening", ha="right")
    axes.set_yticks([0, 0.25, 0.5])
    axes.set_ylabel("gain: change of $v$ / of $s$")


def _gains(t: np.ndarray | float) -> list[np.ndarray]:
    """Return the gains across s and along it, for ‖s‖ = t."""
    length, _, x = length_and_direction(np.asarray(t, dtype=float)[..., None])
    return [gain[..., 0] for gain in gains(length, x)]


def circle_and_image(s: np.ndarray, radius: float) -> Picture:
    """A circle round s, with its diameters across s and along it, and what squash makes of them.

    Parameters
    ----------
    s : ndarray, shape (2,)
        The middle: both entries larger than the radius.
    radius : float

    Raises
    ------
    ValueError
        If `s` has another shape.
    """
    check_shape("s", s, batch=(), m=2)
    e = s / np.linalg.norm(s)
    steps = radius * np.linspace(-1, 1, 51)[:, None]
    across, along = s + steps * [-e[1], e[0]], s + steps * e
    circle = s + radius * CIRCLE
    extents = [np.linalg.norm(squash(x)[-1] - squash(x)[0]) for x in (across, along)]
    with drawing(9, 4.2) as figure:
        panels = figure.subplots(1, 2)
        for axes, map_, colour in zip(panels, (np.array, squash), "sv", strict=True):
            axes.fill(*map_(circle).T, color=COLOURS[colour], alpha=0.3)
            axes.plot(*map_(across).T, color=COLOURS[colour], linestyle=ACROSS, linewidth=2.5)
            axes.plot(*map_(along).T, color="black", linestyle=ALONG)
            arrow(axes, map_(s), colour, width=1.5)
            axes.set(aspect="equal")
        unit_circle(panels[1])
        panels[1].set(xlim=(0, 1.02), ylim=(0, 1.02), title="$v = $ squash$(s)$: a needle")
        reach = circle.max() + 0.3
        panels[0].set(xlim=(0, reach), ylim=(0, reach), title="$s$: a circle")
        alt = (
            f"Left, a circle of radius {radius:g} round s = ({s[0]:g}, {s[1]:g}), with one "
            "diameter across s and one along it. Right, what squash makes of it: a thin needle "
            f"that lies across v, {extents[0]:.2f} long and {extents[1]:.3f} thick, inside the "
            "unit circle."
        )
        return picture(figure, alt)
