"""The command `capsedu`."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

INTERRUPTED = 130  # what a shell says of a command that Ctrl-C stopped
BROKEN_PIPE = 141  # what a shell says of a command whose reader went away


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="capsedu", description="How back-propagation works in a capsule network."
    )
    commands = parser.add_subparsers(title="commands", required=True)
    command = commands.add_parser(
        "verify",
        help="verify every equation of the series, in a few seconds",
        description=(
            "Each equation of the series is derived by SymPy. This holds to it, at random shapes "
            "and numbers, the NumPy generated from it, the function that capsedu ships, complex "
            "step and central differences. A row an equation: the largest error of each, relative "
            "to the largest entry, below the largest that is allowed; a formula of the forward "
            "pass has no derivative to compare (–). Exit status 1 if an error is too large."
        ),
    )
    command.add_argument(
        "--seed", type=_seed, default=0, help="of the random numbers, 0 or more (default: 0)"
    )
    command.set_defaults(run=run_verify)
    command = commands.add_parser(
        "train",
        help="train the capsule network on handwritten digits",
        description=(
            "Convolution, primary capsules, capsule layer, reconstruction: trained with Adam, a "
            "line an epoch. After each epoch everything is written to the checkpoint, and the same "
            "command carries on from there, however it was stopped: as if it had not been."
        ),
    )
    command.add_argument(
        "--mnist",
        metavar="PATH",
        help="folder with the four original files: all of MNIST, about 40 s an epoch on two cores "
        "(default: the sample of 5,000 images that comes with capsedu, a few seconds an epoch)",
    )
    command.add_argument(
        "--epochs", type=_count, default=4, help="in all, those of the checkpoint too (default: 4)"
    )
    command.add_argument(
        "--rule", choices=("unrolled", "frozen"), default="unrolled", help="default: unrolled"
    )
    command.add_argument("--iterations", type=_count, default=3, help="of the routing (default: 3)")
    command.add_argument("--rate", type=float, default=1e-3, help="learning rate (default: 0.001)")
    command.add_argument(
        "--decay", type=float, default=0.9, help="of the rate, at each epoch (default: 0.9)"
    )
    command.add_argument("--seed", type=_seed, default=0, help="0 or more (default: 0)")
    command.add_argument(
        "--checkpoint",
        metavar="FILE",
        default="capsedu-training.npz",
        help="written after each epoch (default: %(default)s)",
    )
    command.set_defaults(run=run_train)
    command = commands.add_parser(
        "mistakes",
        help="plant every mistake that the exercises know, and print which are named",
        description=(
            "The confusion table of the exercises' diagnosis: each mistake of the catalogue is "
            "planted in each task where it shows, with new numbers for each seed, and what is "
            "named is counted; then every two together, with the first seed. Exit status 1 unless "
            "each is named, nothing else is, and no two are blamed on a third or pass."
        ),
    )
    command.add_argument(
        "--seeds", type=_count, default=40, help="10 s each; then pairs, minutes (default: 40)"
    )
    command.set_defaults(run=run_mistakes)
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except ImportError as missing:
        print(f"{missing.name} is missing: pip install 'capsedu[lab]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains on
        return BROKEN_PIPE


def run_verify(options: argparse.Namespace) -> int:
    """Print a row for each equation as it is verified; return 1 if one fails, else 0."""
    from capsedu.verification import BOUNDS, verify  # needs SymPy, which the core goes without

    print(_line("equation", "function", *BOUNDS, ""))
    print(_line("", "allowed", *(f"{bound:.0e}" for bound in BOUNDS.values()), ""))
    rows = []
    for row in verify(options.seed):
        rows.append(row)
        errors = [f"{row.errors[way]:.1e}" if way in row.errors else "–" for way in BOUNDS]
        verdict = "ok" if row.passed else f"FAILED {row.failure}"
        print(_line(row.equation.id, row.equation.function, *errors, verdict), flush=True)
    failed = [row.equation for row in rows if not row.passed]
    for equation in failed:
        print(f"{equation.id} says {equation.statement}: notebook {equation.notebook}")
    if failed:
        print(f"{len(failed)} of {len(rows)} equations FAILED, seed {options.seed}.")
    else:
        print(f"{len(rows)} equations verified, seed {options.seed}.")
    return 1 if failed else 0


def run_train(options: argparse.Namespace) -> int:
    """Train, a line an epoch, from the checkpoint on if there is one; return the exit status."""
    from capsedu.capsule_network import CapsuleNetwork
    from capsedu.checkpoints import resume, save
    from capsedu.data import load_digits_sample, load_mnist, shifted
    from capsedu.training import JUDGED, Adam, Training

    try:
        x_train, y_train, x_test, y_test = (
            load_digits_sample() if options.mnist is None else load_mnist(options.mnist)
        )
        network = CapsuleNetwork.start(
            x_train[:200], iterations=options.iterations, rule=options.rule, seed=options.seed
        )
        training = Training(
            network,
            (x_train, y_train),
            (x_test, y_test),
            Adam(options.rate),
            batch_size=64,
            seed=options.seed,
            decay=options.decay,
            vary=shifted,
        )
        if os.path.exists(options.checkpoint):
            resume(training, options.checkpoint)
            done = len(training.history)
            print(f"{options.checkpoint}: carries on after epoch {done}")
            if done >= options.epochs:
                last = training.history[-1].test_accuracy
                print(f"nothing is left to train; right of the test images: {last:.2%}")
        else:
            save(training, options.checkpoint)  # if that can't be, it is told now
        for number in range(len(training.history) + 1, options.epochs + 1):
            begin = time.perf_counter()
            epoch = training.run(1)[-1]
            save(training, options.checkpoint)
            print(
                f"epoch {number}: loss {epoch.loss:.4f}, right of {JUDGED:,} training images "
                f"{epoch.train_accuracy:.2%}, of the test images {epoch.test_accuracy:.2%}, "
                f"{time.perf_counter() - begin:.0f} s",
                flush=True,
            )
    except BrokenPipeError:
        raise
    except (OSError, ValueError, FloatingPointError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped: the same command carries on from {options.checkpoint}", file=sys.stderr)
        return INTERRUPTED
    return 0


def run_mistakes(options: argparse.Namespace) -> int:
    """Plant all mistakes and print what is named; return 1 if one is named wrongly, else 0."""
    from collections import Counter

    from tqdm import tqdm

    from capsedu.exercises.confusion import Table, pairs, singles

    table = Table()
    for seed in tqdm(range(options.seeds), "seeds", leave=False):
        for planted in singles(seed):
            table.add(planted)
    print(table)
    named = "each named, and nothing else" if table.clean else "NOT each named"
    print(f"{len(table.rows)} mistakes over {options.seeds} seeds: {named}.")
    verdicts = Counter(planted.verdict() for planted in tqdm(list(pairs(0)), "pairs", leave=False))
    told = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.most_common())
    print(f"{verdicts.total():,} combinations of two: {told}.")
    return 1 if not table.clean or verdicts["blamed on a third"] or verdicts["passed"] else 0


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, want an integer of at least 1")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}, want an integer of at least 0")
    return int(text)


def _line(*cells: str) -> str:
    widths = (18, 25, 9, 7, 12, 7, 0)
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
