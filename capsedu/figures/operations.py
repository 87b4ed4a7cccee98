"""Figures of how many operations a formula takes."""

from collections.abc import Mapping, Sequence

import numpy as np

from capsedu.figures.canvas import Picture, drawing, picture

FILLS = (("#9A9A9A", ""), ("#DDDDDD", "///"), ("#000000", ""))  # told apart in print, too


def operations_over_iterations(
    iterations: Sequence[int], counts: Mapping[str, Sequence[int]]
) -> Picture:
    """Bars on a logarithmic scale: operations of each way to compute, for each r.

    Parameters
    ----------
    iterations : sequence of int
        The numbers of iterations r.
    counts : dict of str to sequence of int
        By what is computed and how, three at most: the operations for each r.
    """
    width = 0.8 / len(counts)
    with drawing(9, 3.8) as figure:
        axes = figure.subplots()
        for n, ((name, numbers), (colour, hatch)) in enumerate(
            zip(counts.items(), FILLS, strict=False)
        ):
            at = np.arange(len(numbers)) + (n - (len(counts) - 1) / 2) * width
            style = {"color": colour, "hatch": hatch, "edgecolor": "#5C5C5C"}
            bars = axes.bar(at, numbers, 0.92 * width, label=name, linewidth=0, **style)
            labels = [_short(number).replace(" ", "\n") for number in numbers]
            axes.bar_label(bars, labels, padding=2, fontsize=9)
        axes.set(yscale="log", ylabel="operations", xlabel="iterations $r$")
        axes.set_ylim(10, 50 * max(map(max, counts.values())))
        axes.set_xticks(range(len(iterations)), map(str, iterations))
        axes.legend(loc="upper left")
        told = (f"{name}: {', '.join(map(_short, numbers))}" for name, numbers in counts.items())
        alt = (
            "Bars on a logarithmic scale, the number of operations for "
            f"r = {', '.join(map(str, iterations))}. {'. '.join(told)}."
        )
        return picture(figure, alt)


def _short(number: int) -> str:
    """12.3 million for 12,278,267; up to a million all digits."""
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.1f} {name}"
    return f"{number:,}"
