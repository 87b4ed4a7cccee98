"""What was found out about a student's function, in words and in a picture."""

import textwrap
from dataclasses import dataclass
from html import escape

import numpy as np

from capsedu.equations import EQUATIONS
from capsedu.exercises.mistakes import MISTAKES
from capsedu.exercises.probes import Probe, Task

WIDTH = 96  # columns of the summary
HINTS = ("Hint", "Stronger hint")


@dataclass(frozen=True)
class Explanation:
    """Mistakes that together give the student's results; none, if the results are right.

    Attributes
    ----------
    ids : tuple of str
        Most important first.
    note : str
        What only these results tell: a factor, two axes, an error's message.
    """

    ids: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, eq=False)
class Place:
    """Where a result is furthest from the right one.

    Attributes
    ----------
    probe : Probe
        The arguments.
    name : str
        Of the result.
    got, want : ndarray
        All of it.
    """

    probe: Probe
    name: str
    got: np.ndarray
    want: np.ndarray

    @property
    def index(self) -> tuple[int, ...] | None:
        """Index of the worst entry; None if the shapes differ."""
        if self.got.shape != self.want.shape:
            return None
        error = abs(self.got - self.want)
        worst = np.argmax(np.where(np.isnan(error), np.inf, error))
        return tuple(map(int, np.unravel_index(worst, error.shape)))

    def __str__(self) -> str:
        if self.index is None:
            told = f"{self.name}: got shape {self.got.shape}, want {self.want.shape}"
        else:
            entry = f"[{', '.join(map(str, self.index))}]" if self.index else ""
            got, want = self.got[self.index], self.want[self.index]
            told = f"{self.name}{entry}: got {got:.4g}, want {want:.4g}"
        return f"{told} (probe: {self.probe.name})"


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What `check` found.

    Attributes
    ----------
    task : Task
    probes : tuple of str
        On what the function was tried, in words.
    explanations : tuple of Explanation
        Each explains everything that was seen, so that two or more are ties; none: unknown.
    place : Place or None
        Where the result is furthest from the right one.
    numerical : str
        The gradient check, where nothing known explains the result.
    """

    task: Task
    probes: tuple[str, ...]
    explanations: tuple[Explanation, ...]
    place: Place | None = None
    numerical: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing wrong was seen on the probes."""
        return self.explanations == (Explanation(),)

    @property
    def mistakes(self) -> tuple[str, ...]:
        """Ids of the mistakes, most likely first; empty when passed or unknown."""
        return tuple(dict.fromkeys(id for found in self.explanations for id in found.ids))

    def verdict(self) -> list[str]:
        """Return what is wrong, and where, in sentences."""
        if self.passed:
            return [
                f"{self.task.id}: PASSED.",
                f"Right to four digits on each of {len(self.probes)} probes; nothing else was "
                f"tried. Probes: {'; '.join(self.probes)}.",
            ]
        lines = [f"{self.task.id}: NOT YET."]
        if not self.explanations:
            lines.append(
                "The mistake is not known: no entry of the catalogue gives this result, alone or "
                "with another."
            )
        for number, found in enumerate(self.explanations):
            lead = "Likeliest mistake" if number == 0 else "Or, as likely"
            if len(found.ids) > 1:
                lead += f", {len(found.ids)} together"
            lines.append(f"{lead}: {' and '.join(found.ids)}.")
            lines += [MISTAKES[id].what for id in found.ids]
            lines += [f"Seen: {found.note}."] if found.note else []
        if self.place:
            lines.append(f"Where: {self.place}.")
        return lines

    def hints(self) -> dict[str, list[str]]:
        """Return those that give nothing away, then stronger ones, by what they are called."""
        entries = [MISTAKES[id] for id in self.mistakes]
        return {name: [e.hints[k] for e in entries] for k, name in enumerate(HINTS)}

    def reading(self) -> str:
        """Return the notebooks and equations to read."""
        equations = {e.id: e for e in EQUATIONS}
        chosen = [MISTAKES[id].equation for id in self.mistakes] or [None]
        unique = dict.fromkeys(equation or equations[self.task.equation] for equation in chosen)
        return "; ".join(f"notebook {e.notebook}, equation {e.id}" for e in unique)

    def summary(self, hints: int = 1) -> str:
        """Return what is wrong, where, hints, and what to read, as text.

        Parameters
        ----------
        hints : int
            0 for none, 1 for those that give nothing away, 2 for the stronger ones too.
        """
        lines = self.verdict()
        if not self.passed:
            told = self.hints()
            lines += [f"{name}: {hint}" for name in HINTS[:hints] for hint in told[name]]
            lines.append(f"Read: {self.reading()}.")
        text = "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="    ") for line in lines)
        return f"{text}\n{self.numerical}" if self.numerical else text

    def __str__(self) -> str:
        return self.summary()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the same with the hints folded, and the picture."""
        head, *lines = self.verdict()
        parts = [f"<p><b>{escape(head)}</b></p>", *(f"<p>{escape(line)}</p>" for line in lines)]
        if self.place and not self.passed:
            from capsedu.exercises.hinton import sketch_difference  # needs matplotlib

            place = self.place
            given = place.name, place.got, place.want, place.index, str(place)
            parts.append(sketch_difference(*given).svg())
        if not self.passed:
            for name, hints in self.hints().items():
                if hints:
                    told = escape(" ".join(hints))
                    parts.append(f"<details><summary>{name}</summary>{told}</details>")
            parts.append(f"<p>Read: {escape(self.reading())}.</p>")
        if self.numerical:
            parts.append(f"<pre>{escape(self.numerical)}</pre>")
        return "\n".join(parts)
