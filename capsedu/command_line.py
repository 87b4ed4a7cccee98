"""The command `capsedu`."""

import argparse
import os
import sys
from collections.abc import Sequence

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
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except ImportError as missing:
        print(f"{missing.name} is missing: pip install 'capsedu[lab]'", file=sys.stderr)
        return 1
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


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"got {text!r}, want an integer of at least 0")
    return int(text)


def _line(*cells: str) -> str:
    widths = (18, 25, 9, 7, 12, 7, 0)
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
