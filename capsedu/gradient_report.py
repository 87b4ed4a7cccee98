"""What a gradient check found: rows of numbers with a verdict, and the words for them."""

import math
import textwrap
from dataclasses import dataclass

from capsedu.numerical_derivatives import CENTRAL

WIDTH = 90  # columns of the summary


@dataclass(frozen=True)
class Comparison:
    """One argument's gradient against one numerical derivative: one row of the report.

    Attributes
    ----------
    argument : str
        Its name.
    along : "entries" or "directions"
        Whether each entry was moved alone, or all of them at once in a random direction.
    method : "complex step" or "central"
        Central means central differences.
    compared, total : int
        How many entries or directions, of how many.
    worst : tuple of int
        Index of the worst entry, or number of the worst direction: of those that are wrong the one
        with the largest error; where none is, the one closest to what is explained.
    got, want, error, step : float
        There: the claimed derivative, the numerical one, their distance, and h.
    explained : float
        There: the largest error that rounding explains; of central differences, also truncation.
    largest_step, largest_explained : float
        Of all that was compared; shown where nothing is wrong, as then rounding decides which
        entry is the worst.
    verdict : "ok", "WRONG", "cannot tell" or "not trusted"
        Cannot tell: nothing is known to be wrong, but a mistake could hide in what is explained.
        Not trusted: complex step and central differences disagree, and the latter judge alone.
    """

    argument: str
    along: str
    method: str
    compared: int
    total: int
    worst: tuple[int, ...]
    got: float
    want: float
    error: float
    step: float
    explained: float
    largest_step: float
    largest_explained: float
    verdict: str

    def cells(self) -> list[str]:
        """Return the row of the summary's table."""
        some = f"{self.compared} of " if self.compared < self.total else ""
        kind = self.along if self.total != 1 else {"entries": "entry"}.get(self.along, "direction")
        step, error, explained = self.largest_step, "", self.largest_explained
        if self.error > self.explained:
            step, explained = self.step, self.explained
            error = _number(self.error, explained, self.error)
        return [
            self.argument if len(self.argument) <= 12 else self.argument[:11] + "…",
            f"{some}{self.total} {kind}",
            self.method,
            f"{step:.1e}",
            error or _bound(explained),
            _bound(explained),
            self.verdict,
        ]

    def sentence(self) -> str:
        """Return what was found: at the worst entry or direction, if something is wrong there."""
        if self.error <= self.explained:
            return (
                f"{self.argument}, {self.along}: {self.verdict} ({self.method}). Errors "
                f"{_bound(self.largest_explained)} are what rounding explains here, and a mistake "
                "could hide among them. Try another point, or float64, and see that vjp gives the "
                "same whenever it is called."
            )
        index = ", ".join(map(str, self.worst))
        place = f"[{index}]" if index else ""
        if self.along == "directions":
            place = f" along direction {index}"
        got, want, error = (
            _number(value, self.explained, self.error)
            for value in (self.got, self.want, self.error)
        )
        method = f"{self.method}, step {self.step:.1e}"
        explain = "rounding explains"
        if self.method == CENTRAL:
            explain = "rounding and truncation explain"
        return (
            f"{self.argument}{place}: got {got}, want {want} ({method}), error {error}, "
            f"{explain} {_bound(self.explained)}: {self.verdict}"
        )


@dataclass(frozen=True)
class GradientReport:
    """What `check_vjp` found; `print` shows the summary.

    Attributes
    ----------
    rows : tuple of Comparison
        Each argument, along entries and directions, against each numerical derivative.
    problems : tuple of str
        Claimed gradients that are wrong before any number is compared: their shape, NaN.
    notes : tuple of str
        What limits the check.
    """

    rows: tuple[Comparison, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Nothing is wrong, and wherever something was compared, a mistake would have been seen."""
        return not self.problems and not self._wrong() and not self._undecided()

    def _wrong(self) -> list[Comparison]:
        """Return the most telling wrong row of each argument: complex step, entry by entry."""
        wrong = [row for row in self.rows if row.verdict == "WRONG"]
        return list({row.argument: row for row in reversed(wrong)}.values())[::-1]

    def _undecided(self) -> list[Comparison]:
        """Return, for each argument, a row that cannot tell where no sharper method could."""
        trusted = [row for row in self.rows if row.verdict != "not trusted"]
        sharpest = {(row.argument, row.along): row for row in reversed(trusted)}
        unsure = [row for row in sharpest.values() if row.verdict == "cannot tell"]
        return list({row.argument: row for row in unsure}.values())[::-1]

    def _unseen(self, argument: str) -> bool:
        """Whether some entries of an argument were never moved alone."""
        rows = (row for row in self.rows if (row.argument, row.along) == (argument, "entries"))
        return not any(row.compared == row.total for row in rows)

    def summary(self) -> str:
        """Return a table of all rows, then what is wrong and what limits the check, in words."""
        wrong, undecided = self._wrong(), self._undecided()
        outcome = "FAILED" if self.problems or wrong else "CANNOT TELL" if undecided else "PASSED"
        lines = [f"gradient check: {outcome}"]
        if self.rows:
            head = ["argument", "compared", "method", "step", "error", "explained", "verdict"]
            table = [head, *(row.cells() for row in self.rows)]
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            lines += ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table]
        words = [*self.problems, *(row.sentence() for row in wrong + undecided)]
        for row in wrong:
            if row.along == "directions" and self._unseen(row.argument):
                words.append(
                    f"{row.argument}: no entry that was moved alone is wrong, so the mistake is in "
                    "another: raise max_entries to find it."
                )
        if self.rows and self.passed:
            words.append(
                "Every error is within what rounding (in central differences, also truncation) "
                "explains."
            )
        for sentence in [*words, *self.notes]:
            unbroken = sentence.replace("< ", "<\xa0")  # keeps "< 1e-12" on one line
            lines.append(textwrap.fill(unbroken, WIDTH, subsequent_indent="    "))
        return "\n".join(lines).replace("\xa0", " ")

    def __str__(self) -> str:
        return self.summary()


def _bound(explained: float) -> str:
    """Return the next power of ten, so that no digit is printed which rounding decides."""
    if not 0 < explained < math.inf:
        return "of any size" if explained else "0"
    return f"< 1e{math.ceil(math.log10(explained) - 1e-6):+03d}"


def _number(value: float, explained: float, error: float) -> str:
    """Return four digits, or more if it takes more to see the error, but none of rounding's."""
    if abs(value) <= explained:
        return "0"
    if not math.isfinite(value):
        return f"{value}"
    wanted = 4
    if 0 < error < abs(value):
        wanted = max(wanted, 2 + math.ceil(math.log10(abs(value) / error)))
    digits = math.ceil(math.log10(abs(value) / explained)) if explained else wanted
    return f"{value:.{min(digits, wanted)}g}"
