"""Figures of training."""

from collections.abc import Mapping, Sequence

from capsedu.figures.canvas import Picture, drawing, picture
from capsedu.figures.palette import COLOURS
from capsedu.training import Epoch

LINES = {
    "frozen": {"color": COLOURS["frozen"], "linestyle": (0, (5, 2))},
    "unrolled": {"color": COLOURS["unrolled"], "linestyle": "-"},
    "r = 1": {"color": COLOURS["muted"], "linestyle": (0, (1, 1))},
}


def learning_curves(histories: Mapping[str, Sequence[Epoch]]) -> Picture:
    """Loss, and accuracy on training and held-out examples, over the epochs.

    Parameters
    ----------
    histories : dict of "frozen", "unrolled" or "r = 1" to sequence of Epoch
        What `capsedu.training.Training.run` returned, by the rule it was trained with, or without
        routing.
    """
    with drawing(9, 3.2) as figure:
        left, right = figure.subplots(1, 2)
        told = []
        for name, history in histories.items():
            epochs, loss, train, test = zip(*history, strict=True)
            left.plot(epochs, loss, **LINES[name], label=name)
            for share, width, marker, examples in (
                (train, 1, "", "training"),
                (test, 2, "o", "held-out"),
            ):
                percent = [100 * x for x in share]
                label = f"{name}, {examples}"
                right.plot(
                    epochs, percent, **LINES[name], linewidth=width, marker=marker, label=label
                )
            told.append(
                f"{name}: loss from {loss[0]:.2f} to {loss[-1]:.2f}, held-out digits recognised "
                f"from {100 * test[0]:.0f} % to {100 * test[-1]:.0f} %"
            )
        for axes, label in ((left, "margin loss, mean"), (right, "recognised, %")):
            axes.set(xlabel="epoch", ylabel=label)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(fontsize=9)
        left.set_ylim(bottom=0)
        return picture(figure, f"Learning curves over {len(epochs)} epochs. {'. '.join(told)}.")
