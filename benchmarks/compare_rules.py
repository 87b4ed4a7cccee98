"""Compare the frozen gradient with the unrolled one, and both with no routing, on real digits.

Trains one capsule layer on the digits that come with capsedu, with the unrolled and with the frozen
gradient at r = 3, and without routing (r = 1), once for each seed. A seed gives all three the same
first W and the same order of examples, so that differences are taken seed by seed. Prints the
held-out accuracy as mean ± standard deviation over the seeds, and the paired differences as
mean ± standard error.
"""

import argparse
import csv
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from capsedu.data import load_digits_sample
from capsedu.networks import CapsuleClassifier, initial_W
from capsedu.patches import PatchBasis
from capsedu.training import Adam, Training

VALIDATION = 1000  # training digits that are held out when something is to be chosen


class Setting(NamedTuple):
    """What decides the outcome of a run."""

    rule: str
    iterations: int
    learning_rate: float
    epochs: int
    held_out: str  # "test" or "validation"
    seed: int


class Result(NamedTuple):
    """What a run gave; one line of the results file is a setting and its result."""

    loss: float
    train_accuracy: float
    accuracy: float
    seconds: float


# Rule, iterations, and the learning rate that --validation found best (see README.md).
CONTESTANTS = {
    "unrolled, r = 3": ("unrolled", 3, 0.005),
    "frozen, r = 3": ("frozen", 3, 0.005),
    "r = 1": ("frozen", 1, 0.01),
}
PAIRS = [("unrolled, r = 3", "frozen, r = 3"), ("frozen, r = 3", "r = 1")]


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    settings = {
        name: [
            Setting(rule, r, options.learning_rate or rate, options.epochs, options.held_out, seed)
            for seed in range(options.seeds)
        ]
        for name, (rule, r, rate) in CONTESTANTS.items()
    }
    try:
        results = read_results(options.results)
        complete(settings, results, options.results)
    except KeyboardInterrupt:
        if options.results is None:
            sys.exit("interrupted: nothing was kept; with --results FILE it would carry on")
        sys.exit(
            f"interrupted: {len(results)} runs are in {options.results}; "
            "the same command carries on"
        )
    except (OSError, ValueError) as error:
        sys.exit(f"compare_rules.py: {error}")
    print(table(settings, results))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="seeds 0 … N−1, at least 2 (default: 5)"
    )
    parser.add_argument(
        "--epochs", type=int, default=10, metavar="N", help="epochs of each run (default: 10)"
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help="Adam's, for all alike (default: for each the one that --validation found best)",
    )
    parser.add_argument(
        "--validation",
        dest="held_out",
        action="store_const",
        const="validation",
        default="test",
        help=f"hold out the last {VALIDATION} training digits and leave the test digits alone: "
        "for choosing a learning rate, say",
    )
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="keep each finished run in this CSV file, and don't repeat those that are in it with "
        "the same settings: a killed comparison carries on (default: nothing is kept)",
    )
    options = parser.parse_args(arguments)
    if options.seeds < 2:
        parser.error(f"--seeds: got {options.seeds}, want at least 2, or there is no spread")
    if options.epochs < 1:
        parser.error(f"--epochs: got {options.epochs}, want at least 1")
    if options.learning_rate is not None and not 0 < options.learning_rate < np.inf:
        parser.error(f"--learning-rate: got {options.learning_rate}, want a number above 0")
    return options


def complete(
    settings: dict[str, list[Setting]], results: dict[Setting, Result], path: Path | None
) -> None:
    """Add the missing runs to `results`, seed by seed, and to the file after each."""
    seeds = zip(*settings.values(), strict=True)
    missing = [setting for seed in seeds for setting in seed if setting not in results]
    if not missing:
        return
    train, held_out = digits(missing[0].held_out)
    for setting in tqdm(missing, unit="run", leave=False):
        results[setting] = run(setting, train, held_out)
        if path:
            write_results(path, results)


def digits(held_out: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Input capsules and labels to train on, and to be judged by."""
    x, y, x_held_out, y_held_out = load_digits_sample()
    if held_out == "validation":
        x, x_held_out = x[:-VALIDATION], x[-VALIDATION:]
        y, y_held_out = y[:-VALIDATION], y[-VALIDATION:]
    basis = PatchBasis.fit(x)
    return (basis.encode(x), y), (basis.encode(x_held_out), y_held_out)


def run(
    setting: Setting,
    train: tuple[np.ndarray, np.ndarray],
    held_out: tuple[np.ndarray, np.ndarray],
) -> Result:
    """Train once. The generator makes W first, and then the order of the examples."""
    generator = np.random.default_rng(setting.seed)
    W = initial_W(train[0], seed=generator)
    model = CapsuleClassifier({"W": W}, setting.iterations, setting.rule)
    training = Training(model, train, held_out, Adam(setting.learning_rate), seed=generator)
    start = time.perf_counter()
    last = training.run(setting.epochs)[-1]
    seconds = time.perf_counter() - start
    return Result(last.loss, last.train_accuracy, last.test_accuracy, round(seconds, 2))


def read_results(path: Path | None) -> dict[Setting, Result]:
    """Return what the file holds; nothing if there is none yet."""
    if path is None or not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if header != [*Setting._fields, *Result._fields]:
        raise ValueError(f"{path}: want the columns of a results file, got {', '.join(header)}")
    kinds = [*Setting.__annotations__.values(), *Result.__annotations__.values()]
    values = [[kind(text) for kind, text in zip(kinds, row, strict=True)] for row in rows]
    width = len(Setting._fields)
    return {Setting(*row[:width]): Result(*row[width:]) for row in values}


def write_results(path: Path, results: dict[Setting, Result]) -> None:
    """Put a new file in the place of the old one, so that a kill never leaves half a line."""
    new = path.with_name(path.name + ".new")
    with new.open("w", newline="", encoding="utf-8") as file:
        rows = [(*setting, *result) for setting, result in results.items()]
        csv.writer(file).writerows([(*Setting._fields, *Result._fields), *rows])
    os.replace(new, path)


def table(settings: dict[str, list[Setting]], results: dict[Setting, Result]) -> str:
    runs = {name: np.array([results[s] for s in of_name]) for name, of_name in settings.items()}
    percent = {name: 100 * of_name[:, 2] for name, of_name in runs.items()}
    some = settings["r = 1"]
    held_out, epochs = some[0].held_out, some[0].epochs
    lines = [
        f"{len(some)} seeds, {epochs} epochs, {held_out} digits",
        "",
        f"{'':24}  rate    accuracy, %     training loss  seconds a run",
    ]
    for name, of_name in settings.items():
        loss, _, _, seconds = runs[name].mean(axis=0)
        mean, deviation = percent[name].mean(), percent[name].std(ddof=1)
        lines.append(
            f"{name:24}  {of_name[0].learning_rate:<7g} {mean:5.2f} ± {deviation:4.2f}    "
            f"{loss:13.4f}  {seconds:13.1f}"
        )
    lines += ["", "Paired difference, mean ± standard error, in percent of the digits"]
    for one, other in PAIRS:
        difference = percent[one] - percent[other]
        error = difference.std(ddof=1) / np.sqrt(len(difference))
        lines.append(f"{one + ' − ' + other:32}   {difference.mean():+5.2f} ± {error:4.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
