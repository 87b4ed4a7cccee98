"""The diagnosis diagnosed: every mistake is planted in every task, and what is named is counted."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from inspect import signature

import numpy as np

from capsedu.exercises.diagnosis import Diagnosis, bench, diagnose, identity
from capsedu.exercises.probes import TASKS, Task
from capsedu.exercises.report import Report
from capsedu.exercises.variations import Variation

REVEALED = ("nan-at-zero", "epsilon-bias", "overflow", "batch-axis-assumed", "number-hard-coded")
SECONDS = 0.2  # after which a function that never returns is stopped
# What is only seen blames nothing.
SEEN = {"not-written", "raises", "wrong-shape", "wrong-dtype", "not-a-number", "zero-everywhere"}
EXACTLY = 1e-6  # times the tolerance: what is closer is the same computation


@dataclass(frozen=True)
class Planted:
    """A function with mistakes: of the catalogue, in the ways named, or a symptom."""

    task: Task
    ways: tuple[str, ...]
    function: Callable
    seed: int

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the mistakes."""
        return tuple(map(identity, self.ways))

    def report(self) -> Report:
        """Return what the diagnosis says."""
        seconds = SECONDS if self.ids == ("never-returns",) else 10
        return diagnose(self.task, self.function, self.seed, seconds)

    def verdict(self) -> str:
        """Say of two mistakes whether they are named.

        Both (or one of ties is both), "the same as another" (the two together are, to the last
        digit, another entry or right), "unknown", "passed" or "blamed on a third".
        """
        named = {frozenset(found.ids) for found in self.report().explanations}
        if any(ids >= set(self.ids) for ids in named):
            return "both named"
        ready = bench(self.task, self.seed)
        exact = {k: ready.wrong(k, *self.ways) for k in range(len(ready.probes))}
        others = {frozenset(e.ids) for e in Diagnosis(ready, exact, EXACTLY).explanations()}
        if named & others:
            return "the same as another"
        if frozenset() in named:
            return "passed"
        return "blamed on a third" if any(ids - SEEN for ids in named) else "unknown"


def plant(task: Task, seed: int, choices: Iterator[tuple[str, ...]]) -> Iterator[Planted]:
    """Yield the task's function with the mistakes of each choice."""
    for ways in choices:
        yield Planted(task, ways, rounded(getattr(Variation(*ways), task.name)), seed)


def singles(seed: int) -> Iterator[Planted]:
    """Yield each mistake of the catalogue in each task where it shows, then each symptom."""
    for task in TASKS.values():
        yield from plant(task, seed, ((way,) for way in bench(task, seed).ways))
        for id, spoil in SYMPTOMS.items():
            if shows(task, id):
                yield Planted(task, (id,), spoil(task.function), seed)


def pairs(seed: int) -> Iterator[Planted]:
    """Yield every two of the catalogue in each task, of which neither hides the other."""
    for task in TASKS.values():
        yield from plant(task, seed, bench(task, seed).pairs)


class Table:
    """The confusion table: mistakes that were planted, against those that were named."""

    def __init__(self):
        self.rows: dict[str, Counter] = {}
        self.tasks: dict[str, set[str]] = {}

    def add(self, planted: Planted) -> None:
        """Count what is named."""
        (id,) = planted.ids
        self.rows.setdefault(id, Counter())[planted.report().mistakes] += 1
        self.tasks.setdefault(id, set()).add(planted.task.id)

    @property
    def clean(self) -> bool:
        """Whether every mistake was named each time, and nothing else ever."""
        return all(set(named) == {(id,)} for id, named in self.rows.items())

    def __str__(self) -> str:
        lines = [f"{'planted':34}  tasks  planted    named  something else"]
        for id, named in self.rows.items():
            others = "; ".join(
                f"{' + '.join(ids) or 'unknown'} ({count})"
                for ids, count in named.items()
                if ids != (id,)
            )
            counts = f"{len(self.tasks[id]):5}  {named.total():7}  {named[(id,)]:7}"
            lines.append(f"{id:34}  {counts}  {others or '–'}")
        return "\n".join(lines)


def each(function: Callable, change: Callable) -> Callable:
    """Return the function with each of its results changed; its signature stays."""

    @wraps(function)
    def changed(*positional: object, **named: object) -> object:
        result = function(*positional, **named)
        if isinstance(result, tuple):
            return tuple(change(x) for x in result)
        return change(getattr(result, "v", result))

    return changed


def rounded(function: Callable) -> Callable:
    """Return the function with its results rounded to seven digits, as a student's may be."""

    def seven_digits(x: np.ndarray) -> np.ndarray:
        mantissa, exponent = np.frexp(x)
        return np.ldexp(np.round(mantissa, 7), exponent)

    return each(function, seven_digits)


def before(function: Callable, act: Callable) -> Callable:
    """Return a function that does something to its arguments, or for itself, first."""

    @wraps(function)
    def acting(*positional: object, **named: object) -> object:
        result = function(*positional, **named)
        act(positional)
        return result

    return acting


def forever(_: object) -> None:
    """Never return."""
    while True:
        pass


def counting(function: Callable) -> Callable:
    """Return a function that keeps its results, and adds to them in the next call."""
    calls = []

    def more(x: np.ndarray) -> np.ndarray:
        calls.append(x)
        return x * len(calls)

    return each(function, more)


def overwriting(positional: tuple) -> None:
    """Double the first argument."""
    first = getattr(positional[0], "z", positional[0])
    first *= 2


def spoilt(when: Callable, change: Callable = lambda x: 1.05 * x) -> Callable:
    """Return what changes a function's results for some arguments only."""

    def spoil(function: Callable) -> Callable:
        @wraps(function)
        def spoiling(*positional: object, **named: object) -> object:
            bound = signature(function).bind(*positional, **named).arguments
            return (each(function, change) if when(bound) else function)(*positional, **named)

        return spoiling

    return spoil


def vectors(bound: dict) -> np.ndarray:
    """Return the vectors among the arguments, (…, I or J, m or n), or the (…, I, J) ones."""
    if "z" in bound:
        return bound["z"][..., 0, :]
    x = next(bound[name] for name in ("s", "u", "v", "routing", "b", "c") if name in bound)
    return getattr(x, "v", x)


def other_numbers(bound: dict) -> bool:
    """Whether r or a margin is not the usual one."""
    steps = getattr(bound.get("routing"), "steps", "123")
    return len(steps) != 3 or bound.get("iterations", 3) != 3 or bound.get("m_plus", 0.9) != 0.9


def unwritten(x: object) -> None:
    """Be a stub."""
    raise NotImplementedError


SYMPTOMS = {
    "transposed": lambda function: each(function, lambda x: np.swapaxes(x, -1, -2)),
    "results-swapped": lambda function: wraps(function)(lambda *x, **y: function(*x, **y)[::-1]),
    "wrong-sign": lambda function: each(function, np.negative),
    "constant-factor": lambda function: each(function, lambda x: 2 * x),
    "kept-between-calls": counting,
    "input-overwritten": lambda function: before(function, overwriting),
    "wrong-shape": lambda function: each(function, lambda x: np.asarray(x)[..., None]),
    "wrong-dtype": lambda function: each(function, lambda x: np.asarray(x).astype(int)),
    "returns-nothing": lambda function: each(function, lambda x: None),
    "not-written": lambda function: each(function, unwritten),
    "raises": lambda function: each(function, lambda x: 1 / 0),
    "zero-everywhere": lambda function: each(function, lambda x: 0 * x),
    "not-a-number": lambda function: each(function, lambda x: np.nan * x),
    "nan-at-zero": spoilt(lambda bound: (vectors(bound) == 0).all(-1).any(), lambda x: np.nan * x),
    "epsilon-bias": spoilt(lambda bound: 0 < abs(vectors(bound)).max() < 0.01),
    "overflow": spoilt(lambda bound: vectors(bound).max() > 700),
    "batch-axis-assumed": spoilt(lambda bound: vectors(bound).ndim < 3, lambda x: 1 / 0),
    "number-hard-coded": spoilt(other_numbers),
    "never-returns": lambda function: each(function, forever),
}


def shows(task: Task, id: str) -> bool:
    """Whether a symptom can be told from right results, or from another symptom, in a task."""
    if id == "transposed":  # a Jacobian that is symmetric, a number
        return task.id not in ("squash_jacobian", "margin_loss")
    if id == "results-swapped":
        return len(task.results) > 1
    return id not in REVEALED or id in {probe.reveals for probe in bench(task, 0).probes}
