"""Which mistake gives these very numbers? The right result, every known mistake, then pairs."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from itertools import combinations, permutations

import numpy as np

from capsedu.exercises.calling import Failure, Outcome, as_outcome, outcome
from capsedu.exercises.mistakes import MISTAKES
from capsedu.exercises.numerical import check_numerically
from capsedu.exercises.probes import Task, draw_probes
from capsedu.exercises.report import Explanation, Place, Report
from capsedu.exercises.variations import Variation

RELATIVE, OF_LARGEST = 1e-4, 1e-5  # room for float32; 0.1 % of an entry is ten times as much
ASSUMED = ("batch-axis-assumed", "number-hard-coded")
CLEARLY = 10  # times the tolerance: mistakes that differ by less are not told apart
Results = dict[int, Outcome]  # by the number of the probe


class Bench:
    """The probes of one task, and what the right function and each mistaken one return there."""

    def __init__(self, task: Task, seed: int):
        self.task = task
        self.probes = tuple(draw_probes(task, seed))
        self.ordinary = self.telling()
        self.right = {k: self.computed(k, task.function) for k in range(len(self.probes))}
        self._known: dict[tuple, Outcome] = {(k, frozenset()): x for k, x in self.right.items()}

    def computed(self, k: int, function: Callable) -> Outcome:
        """Return what a function of the library's signature returns for probe k."""
        with np.errstate(all="ignore"):
            try:
                return as_outcome(self.task, function(**self.probes[k].arguments))
            except Exception as error:  # a mistake that does not fit these shapes
                return Failure("raises", str(error))

    def wrong(self, k: int, *ways: str) -> Outcome:
        """Return what these mistakes give for probe k."""
        key = k, frozenset(ways)
        if key not in self._known:
            self._known[key] = self.computed(k, getattr(Variation(*ways), self.task.name))
        return self._known[key]

    def telling(self, *ways: str) -> list[int]:
        """Return the probes that tell these mistakes: ordinary ones, and those that reveal them."""
        ids = {"", *map(identity, ways)}
        return [k for k, probe in enumerate(self.probes) if probe.reveals in ids]

    @cached_property
    def ways(self) -> list[str]:
        """Ways of going wrong that show in this task: by other numbers, at a probe for them."""
        return [
            way
            for mistake in MISTAKES.values()
            for way in mistake.ways
            if any(
                self.differ(k, (way,)) and not isinstance(self.wrong(k, way), Failure)
                for k in self.telling(way)
            )
        ]

    def differ(self, k: int, ways: tuple[str, ...], others: tuple[str, ...] = ()) -> bool:
        """Whether some mistakes give clearly something else than others do, for probe k."""
        return not alike(self.wrong(k, *ways), self.wrong(k, *others), CLEARLY)

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of them of which neither hides the other, and that do not undo each other."""
        # What has a probe of its own is told there, beside any other mistake.
        ways = [way for way in self.ways if self.telling(way) == self.ordinary]
        return [
            pair
            for pair in combinations(ways, 2)
            if all(
                any(self.differ(k, pair, fewer) for k in self.ordinary)
                for fewer in ((), pair[:1], pair[1:])
            )
        ]


bench = lru_cache(maxsize=64)(Bench)


def identity(way: str) -> str:
    """Return the mistake's id."""
    return way.partition("/")[0]


def alike(got: Outcome, want: Outcome, room: float = 1) -> bool:
    """Whether two outcomes are the same: shapes, and numbers to the tolerance."""
    if isinstance(got, Failure) or isinstance(want, Failure):
        return isinstance(got, Failure) and isinstance(want, Failure)
    return all(close(got[name], want[name], room) for name in want)


def close(got: np.ndarray, want: np.ndarray, room: float = 1) -> bool:
    """Whether shapes are equal, and no entry is off by more than the tolerance."""
    if got.shape != want.shape:
        return False
    size = abs(want)
    largest = size.max(initial=0)
    if not np.isfinite(largest):  # what is no number must be the same one, and the rest close
        finite = np.isfinite(want)
        same = np.array_equal(got[~finite], want[~finite], equal_nan=True)
        return same and close(got[finite], want[finite], room)
    return bool((abs(got - want) <= room * (RELATIVE * size + OF_LARGEST * largest)).all())


def broken(got: Outcome, right: Outcome) -> bool:
    """Whether an outcome has not the right one's shapes."""
    if isinstance(got, Failure):
        return True
    return any(got[name].shape != right[name].shape for name in right)


class Diagnosis:
    """The search for what explains a student's results.

    Parameters
    ----------
    bench : Bench
    got : dict of int to Outcome
        What the student's function gave, by the number of the probe.
    room : float
        Times the tolerance.
    """

    def __init__(self, bench: Bench, got: Results, room: float = 1):
        self.bench, self.got, self.room = bench, got, room

    def alike(self, got: Outcome, want: Outcome) -> bool:
        """Whether two outcomes are the same."""
        return alike(got, want, self.room)

    def close(self, got: np.ndarray, want: np.ndarray) -> bool:
        """Whether two arrays are the same."""
        return close(got, want, self.room)

    def explanations(self) -> list[Explanation]:
        """Return what explains the results, ties together; nothing if nothing known does."""
        right = self.bench.right
        given = [(x, right[k]) for k, x in self.got.items() if not isinstance(x, Failure)]
        if not given:
            return []
        if all(self.alike(x, {name: 0 * y for name, y in want.items()}) for x, want in given):
            return [Explanation(("zero-everywhere",))]
        searches = self.right, self.single, self.changed, self.single_changed, self.pair
        for search in searches:
            found = list(dict.fromkeys(search()))
            if found:
                fewest = min(len(explanation.ids) for explanation in found)
                return [e for e in found if len(e.ids) == fewest]
        return []

    def right(self) -> Iterator[Explanation]:
        """Right, but where a special probe shows a mistake."""
        if self.fits():
            ids, note = self.symptoms()
            if ids or all(self.alike(x, self.bench.right[k]) for k, x in self.got.items()):
                yield Explanation(ids, note)

    def single(self) -> Iterator[Explanation]:
        """One mistake of the catalogue."""
        yield from self.known((way,) for way in self.bench.ways)

    def pair(self) -> Iterator[Explanation]:
        """Two of them."""
        yield from self.known(self.bench.pairs)

    def known(self, choices: Iterable[tuple[str, ...]]) -> Iterator[Explanation]:
        """Those of the choices that fit, each with the symptoms that it leaves unexplained."""
        for ways in choices:
            if self.fits(*ways):
                ids, note = self.symptoms(*ways)
                yield Explanation(tuple(dict.fromkeys((*map(identity, ways), *ids))), note)

    def changed(self, *ways: str) -> Iterator[Explanation]:
        """The right result, or a mistaken one, in another order, transposed or multiplied."""
        ids = tuple(map(identity, ways))
        probes = [k for k in self.bench.telling(*ways) if k in self.got]
        pairs = [(self.got[k], self.bench.wrong(k, *ways)) for k in probes]
        pairs = [pair for pair in pairs if not any(isinstance(x, Failure) for x in pair)]
        if not pairs:
            return
        names = self.bench.task.results
        reverse = dict(zip(names, reversed(names), strict=True))
        if len(names) > 1 and all(
            self.alike({name: got[reverse[name]] for name in names}, want) for got, want in pairs
        ):
            yield Explanation(("results-swapped", *ids))
        told, notes = [], []
        for name in names:
            change = self.change([(got[name], want[name]) for got, want in pairs])
            if change is None:
                return
            if change[0]:
                told.append(change[0])
                notes.append(f"{name} {change[1]}")
        shown, note = self.symptoms(*ways, numbers=False)
        notes += [note] if note else []
        found = tuple(dict.fromkeys((*ids, *told, *shown)))
        if found:
            yield Explanation(found, "; ".join(notes))

    def single_changed(self) -> Iterator[Explanation]:
        """One mistake of the catalogue, transposed or multiplied."""
        for way in self.bench.ways:
            yield from self.changed(way)

    def change(self, pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[str, str] | None:
        """Return how one result differs everywhere in the same way: the id, and it in words."""
        if all(self.close(got, want) for got, want in pairs):
            return "", ""
        numbers = sum(want.size for _, want in pairs)  # one alone is a multiple of any other
        if numbers > 1 and all(got.shape == want.shape for got, want in pairs):
            got, want = (x.ravel() for x in pairs[0])
            factor = got @ want / ((want @ want) or 1)
            if (
                factor
                and np.isfinite(factor)
                and all(self.close(got, factor * want) for got, want in pairs)
            ):
                if self.close(np.array(factor), np.array(-1.0)):
                    return "wrong-sign", "has the wrong sign"
                return "constant-factor", f"is {factor:.6g} times what it should be"
        if all(self.close(np.sort(got, None), np.sort(want, None)) for got, want in pairs):
            for axes in permutations(range(pairs[0][1].ndim)):
                if all(self.close(got, want.transpose(axes)) for got, want in pairs):
                    order = ", ".join(map(str, axes))
                    return "transposed", f"has its axes in the order ({order})"
        return None

    def fits(self, *ways: str) -> bool:
        """Whether these mistakes explain every probe for them that gave numbers, one at least.

        Where the student's function fails, or returns another shape, the mistake must break it too,
        or the failure is a symptom that is named beside it.
        """
        matched = False
        for k in self.bench.telling(*ways):
            got, want, right = self.got.get(k), self.bench.wrong(k, *ways), self.bench.right[k]
            if got is None or isinstance(got, Failure):
                continue
            if isinstance(want, Failure) and broken(got, right):
                continue
            if not self.alike(got, want):
                return False
            matched = True
        return matched

    def symptoms(self, *ways: str, numbers: bool = True) -> tuple[tuple[str, ...], str]:
        """Return what these mistakes leave unexplained, where a probe tells what it is.

        The ids, and what the first failure said. Beside a mistake, other numbers without a batch
        axis or for another r tell nothing: it may be made there in another way.
        """
        shown, notes = [], []
        silent = ("nan-at-zero", *(ASSUMED if ways else ()))
        for k, got in self.got.items():
            probe, right = self.bench.probes[k], self.bench.right[k]
            want = self.bench.wrong(k, *ways)
            if self.alike(got, want) or (broken(got, right) and broken(want, right)):
                continue
            whole = not isinstance(got, Failure) and not bad(got)
            if whole and (not numbers or probe.reveals in silent or self.alike(got, right)):
                continue
            shown.append(probe.reveals or got.id)
            if isinstance(got, Failure):
                notes.append(f"{got.message} (probe: {probe.name})")
        return tuple(dict.fromkeys(shown)), "".join(notes[:1])


def bad(got: Outcome) -> bool:
    """Whether an outcome holds NaN or infinity."""
    return not isinstance(got, Failure) and not all(np.isfinite(x).all() for x in got.values())


@np.errstate(all="ignore")
def diagnose(task: Task, function: Callable, seed: int, seconds: float) -> Report:
    """Call the function on every probe, and find out what explains its results."""
    ready = bench(task, seed)
    got: Results = {}
    found, overwritten = None, False
    ask = partial(outcome, task, function, seconds=seconds)
    for k, probe in enumerate(ready.probes):
        called = ask(probe)
        if called is None:
            continue
        got[k], wrote = called
        overwritten = overwritten or wrote
        if isinstance(got[k], Failure) and got[k].id == "never-returns":
            found = [Explanation(("never-returns",), got[k].message)]
            break
        if len(got) == 1:
            again, _ = ask(probe)
            if not alike(again, got[k]):
                found, got[k] = [Explanation(("kept-between-calls",))], again
                break
    if found is None:
        found = Diagnosis(ready, got).explanations() or list(failures(ready, got))
        if overwritten:
            beside = Explanation(note="what else is wrong is not known")
            found = [replace(e, ids=(*e.ids, "input-overwritten")) for e in found or [beside]]
    names = tuple(ready.probes[k].name for k in got)
    where = place(ready, got)
    numerical = check_numerically(task, ask, where.probe, seed + 1) if where and not found else ""
    return Report(task, names, tuple(found), where, numerical)


def place(bench: Bench, got: Results) -> Place | None:
    """Return where the results are furthest from the right ones, at the first probe that shows."""
    for k, result in got.items():
        if not isinstance(result, Failure):
            for name, want in bench.right[k].items():
                if not close(result[name], want):
                    return Place(bench.probes[k], name, result[name], want)
    return None


def failures(bench: Bench, got: Results) -> Iterator[Explanation]:
    """Yield what is wrong before any number is compared: a failure, or a wrong shape."""
    for k, result in got.items():
        if isinstance(result, Failure):
            yield Explanation((result.id,), f"{result.message} (probe: {bench.probes[k].name})")
            return
    if any(broken(result, bench.right[k]) for k, result in got.items()):
        yield Explanation(("wrong-shape",))
    elif any(bad(got[k]) for k in bench.ordinary if k in got):
        yield Explanation(("not-a-number",))
