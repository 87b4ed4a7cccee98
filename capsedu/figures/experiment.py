"""Figures of the experiment on which gradient to train with."""

from collections.abc import Mapping, Sequence

import numpy as np

from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS
from capsedu.figures.panels import LINES
from capsedu.sweeps import paired_difference

# Held against the unrolled gradient: how it is named, and drawn.
AGAINST = {
    "frozen": {"marker": "o", "color": COLOURS["frozen"]},
    "frozen, exact length": {"marker": "D", "color": COLOURS["frozen"], "markerfacecolor": "white"},
    "no routing": {"marker": "s", "color": COLOURS["muted"]},
}


def what_the_rules_reach(runs: Sequence[Mapping]) -> Picture:
    """What the unrolled gradient gains on the others, and what each reaches in how many seconds.

    Parameters
    ----------
    runs : sequence of dict
        Results of `benchmarks/which_gradient.py` on the layer, judged by the test digits.
    """
    of = _by_name(runs)
    routed = sorted({run["iterations"] for run in runs} - {1})
    with drawing(9, 3.6) as figure:
        left, right = figure.subplots(1, 2)
        told = []
        for place, (other, style) in enumerate(AGAINST.items()):
            at = np.arange(len(routed)) + 0.2 * (place - 1)
            found = []
            for r in routed:
                others = of[other, r if other != "no routing" else 1]
                found.append(paired_difference(of["unrolled", r], others, "accuracy"))
            mean, half = 100 * np.transpose(found)
            left.errorbar(at, mean, half, **style, linestyle="", capsize=3, label=other)
            numbers = ", ".join(
                f"{m:+.2f} ± {h:.2f} at r = {r}" for m, h, r in zip(mean, half, routed, strict=True)
            )
            told.append(f"unrolled minus {other}: {numbers}")
        left.axhline(0, color=COLOURS["muted"], linewidth=1)
        left.set_xticks(range(len(routed)), [f"r = {r}" for r in routed])
        left.set_ylabel("accuracy, percentage points")
        left.set_title("what the unrolled gradient gains on …")
        left.legend(fontsize=9, loc="upper left")
        left.set_ylim(top=1.35 * left.get_ylim()[1])
        for name, r in (("unrolled", 3), ("frozen", 3), ("no routing", 1)):
            share = 100 * np.mean([run["accuracy by epoch"] for run in of[name, r]], axis=0)
            took = np.mean([run["processor seconds"] for run in of[name, r]])
            seconds = took * np.arange(1, len(share) + 1) / len(share)
            right.plot(seconds, share, **LINES[name], marker=".", label=name)
            told.append(f"{name}: {share[-1]:.1f} % after {took:.1f} s")
        right.set(xlabel="processor seconds, a dot an epoch", ylabel="test digits recognised, %")
        right.set_title("by the clock, routing with r = 3")
        right.set_xlim(left=0)
        right.legend(fontsize=9, loc="lower right")
        alt = (
            "Left, differences in accuracy with intervals of 95 %, in percentage points: "
            f"{'; '.join(told[:3])}. Right, accuracy over processor seconds: {'; '.join(told[3:])}."
        )
        return picture(figure, alt)


def _by_name(runs: Sequence[Mapping]) -> dict[tuple[str, int], list[Mapping]]:
    """Group the runs by gradient and iterations; without routing there is only one gradient."""
    grouped: dict[tuple[str, int], list[Mapping]] = {}
    for run in runs:
        r = run["iterations"]
        grouped.setdefault((run["rule"] if r > 1 else "no routing", r), []).append(run)
    return grouped
