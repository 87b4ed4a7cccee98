"""The figure of the gallery: how wrong a gradient is, beside how well it learned."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS


class Exhibit(NamedTuple):
    """What was measured of a layer with a mistake in it."""

    passed: bool  # the check of its gradient against its own forward pass
    cosine: float  # of the angle between its dW and the right one
    error: float  # ‖its dW − right dW‖ / ‖right dW‖
    accuracy: float  # share of held-out digits recognised, from 0 to 1


# What the layer's own gradient check says: a sign, and how it is drawn.
SIGNS = {
    True: ("passes its own gradient check", {"marker": "o", "color": COLOURS["v"]}),
    False: ("fails it", {"marker": "X", "color": COLOURS["c"]}),
}


def wrong_yet_accurate(gallery: Mapping[str, Exhibit], right: Sequence[float]) -> Picture:
    """For each mistake the error of its gradient, and the accuracy after training with it.

    Parameters
    ----------
    gallery : dict of str to Exhibit
        Measured at the same weights, on the same examples, and trained alike.
    right : sequence of float
        Accuracies of the layer without a mistake, from several first weights; the first is that
        which the others began with too.
    """
    rows = sorted(gallery.items(), key=lambda row: row[1].error)
    told = []
    with drawing(9, 0.7 + 0.42 * len(rows)) as figure:
        errors, accuracies = figure.subplots(1, 2, sharey=True)
        low, high = 100 * min(right), 100 * max(right)
        accuracies.axvspan(low, high, color=COLOURS["muted"], alpha=0.25, linewidth=0)
        accuracies.axvline(100 * right[0], color="black", label="without a mistake")
        for y, (name, exhibit) in enumerate(rows):
            meaning, sign = SIGNS[exhibit.passed]
            percent = 100 * exhibit.accuracy
            error = 100 * exhibit.error
            errors.plot(error, y, linestyle="", markersize=10, label=meaning, **sign)
            accuracies.plot(percent, y, linestyle="", markersize=10, **sign)
            for axes, x, text, side in (
                (errors, error, f"cos {exhibit.cosine:.2f}", 1),
                (accuracies, percent, f"{percent:.0f} %", -1),
            ):
                axes.annotate(
                    text,
                    (x, y),
                    (12 * side, 0),
                    textcoords="offset points",
                    ha="left" if side == 1 else "right",
                    va="center",
                    fontsize=9,
                )
            told.append(
                f"{name}: {meaning.replace('fails it', 'fails its own gradient check')}, off by "
                f"{error:.0f} %, cosine {exhibit.cosine:.2f}, {percent:.0f} %"
            )
        errors.set(xlabel="error of dL/dW, % of its length")
        errors.set_xlim(-8, 1.3 * 100 * max(exhibit.error for _, exhibit in rows))
        errors.set_yticks(range(len(rows)), [name for name, _ in rows])
        lowest = 100 * min(exhibit.accuracy for _, exhibit in rows)
        accuracies.set(xlabel="held-out digits recognised, %", xlim=(min(50, lowest - 10), 100))
        for axes in (errors, accuracies):
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="y", color=COLOURS["muted"], alpha=0.25, linewidth=0.8)
        handles = dict(zip(*errors.get_legend_handles_labels()[::-1], strict=True))
        handles |= dict(zip(*accuracies.get_legend_handles_labels()[::-1], strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
        return picture(
            figure,
            "For each mistake, what its own gradient check says, how far its gradient is from the "
            f"right one, and the digits recognised after training; {100 * right[0]:.0f} % without "
            f"a mistake, {low:.0f} to {high:.0f} % from other first weights. {'. '.join(told)}.",
        )
