"""The command `capsedu`."""

import argparse
from collections.abc import Sequence

from capsedu.verification import BOUNDS, Row, verify


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="capsedu", description="How back-propagation works in a capsule network."
    )
    commands = parser.add_subparsers(title="commands", required=True)
    command = commands.add_parser(
        "verify",
        help="verify every equation of the series",
        description=(
            "Each equation of the series is derived by SymPy. This holds to it, at random shapes "
            "and numbers, the NumPy generated from it, the function that capsedu ships, complex "
            "step and central differences, and prints the largest relative error of each. "
            "Exit status 1 if any is too large."
        ),
    )
    command.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    command.set_defaults(run=run_verify)
    options = parser.parse_args(arguments)
    return options.run(options)


def run_verify(options: argparse.Namespace) -> int:
    """Print a row for each equation as it is verified; return 1 if one fails, else 0."""
    print(_line("equation", "function", *BOUNDS, ""))
    print(_line("", "allowed", *(f"{bound:.0e}" for bound in BOUNDS.values()), ""))
    rows = []
    for row in verify(options.seed):
        rows.append(row)
        errors = [f"{row.errors[way]:.1e}" if way in row.errors else "" for way in BOUNDS]
        verdict = "ok" if row.passed else f"FAILED {row.failure}"
        print(_line(row.equation.id, row.equation.function, *errors, verdict), flush=True)
    return report(rows, options.seed)


def report(rows: Sequence[Row], seed: int) -> int:
    """Print the last line; return the exit status."""
    failed = [row.equation.id for row in rows if not row.passed]
    if failed:
        print(f"{len(failed)} of {len(rows)} equations FAILED, seed {seed}: {', '.join(failed)}")
    else:
        print(f"{len(rows)} equations verified, seed {seed}.")
    return 1 if failed else 0


def _line(*cells: str) -> str:
    widths = (18, 25, 9, 7, 12, 7, 0)
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
