"""A derivation whose steps are checked: each is proved, confirmed to 30 digits, or refuted."""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import sympy as sp

POINTS = 16
DIGITS = 30
ROUNDING = sp.Float(10, DIGITS) ** (5 - DIGITS)  # relative
NOTHING = sp.Float(10, DIGITS) ** -60  # what is smaller is what a difference leaves for 0
SIZES = (4, 5)
INDICES = (1, 2, 3)
LARGEST_PROOF = 300  # operations: what is longer, SymPy would simplify for minutes


class Refuted(ValueError):
    """A step that is false: the message holds a counterexample and the values on both sides."""


@dataclass(frozen=True)
class Step:
    """One form of the right-hand side, why it equals the one before, and how that was seen."""

    form: sp.Basic
    reason: str
    status: str


@dataclass
class Derivation:
    """left = form₀ = form₁ = …, each sign of equality checked when it is written.

    Attributes
    ----------
    left : Expr
        What is derived, shown on the left; it is not looked into.
    start : Expr or Matrix
        The first form of the right-hand side. Derivatives and sums may stand in it unevaluated.
    steps : list of Step
        What followed, each with a status: "proved" (SymPy shows that the difference is zero) or
        "confirmed" (both sides agree at random points to 30 digits, where SymPy can't decide).

    Examples
    --------
    >>> x = sp.Symbol("x", positive=True)
    >>> Derivation(sp.Symbol("y"), sp.Derivative(x**2, x)).step(2 * x, "power rule").form
    2*x
    """

    left: sp.Expr
    start: sp.Basic
    steps: list[Step] = field(default_factory=list)

    @property
    def form(self) -> sp.Basic:
        """The right-hand side as it stands now."""
        return self.steps[-1].form if self.steps else self.start

    def step(self, form: sp.Basic, reason: str) -> "Derivation":
        """Write the next form, which has to equal the one before.

        Parameters
        ----------
        form : Expr or Matrix
            The next form.
        reason : str
            Why it is equal, in a few words: shown beside it.

        Returns
        -------
        Derivation
            Itself, so that steps chain and the last line of a cell shows all of them.

        Raises
        ------
        TypeError
            If the reason is no text: form and reason swapped.
        Refuted
            If the forms differ at a point: the step's number, the point, and both values.
        ValueError
            If the forms differ in shape, two symbols have one name, or too few points were found
            where both are real.
        """
        if not isinstance(reason, str):
            raise TypeError(f"got the reason {reason}, want step(form, reason in words)")
        form = sp.sympify(form)
        here = f"step {len(self.steps) + 1} ({reason})"
        _check_names(self.form, form)
        got, want = _shape(form), _shape(self.form)
        if got != want:
            raise ValueError(f"{here}: got a form of shape {got}, want {want}")
        if counterexample := refute(self.form, form):
            raise Refuted(f"{here}: {counterexample}")
        status = "proved" if prove(self.form, form) else "confirmed"
        self.steps.append(Step(form, reason, status))
        return self

    def _repr_latex_(self) -> str:
        """Aligned equalities, the reasons and how each was checked beside them."""
        lines = [rf"{sp.latex(self.left)} &= {sp.latex(self.start)}"]
        for step in self.steps:
            mark = r"\checkmark" if step.status == "proved" else rf"\approx_{{{DIGITS}}}"
            lines.append(rf"&= {sp.latex(step.form)} && {mark}\ \text{{{step.reason}}}")
        return r"$\displaystyle \begin{aligned}" + r" \\[4pt] ".join(lines) + r"\end{aligned}$"

    def __str__(self) -> str:
        """Return the same as text."""
        lines = [f"{self.left} = {self.start}"]
        lines += [f"  = {s.form}    [{s.status}: {s.reason}]" for s in self.steps]
        return "\n".join(lines)

    __repr__ = __str__


def prove(before: sp.Basic, after: sp.Basic) -> bool:
    """Whether SymPy shows that before − after = 0."""
    return all(_is_zero(entry) for entry in _entries(sp.sympify(before - after).doit()))


def _is_zero(entry: sp.Expr) -> bool:
    if entry == 0 or sp.expand(entry) == 0:
        return True
    if sp.count_ops(entry) > LARGEST_PROOF:
        return False
    try:
        return sp.simplify(entry) == 0
    except Exception:  # SymPy fails to simplify some sums, in ways of its own: then it can't decide
        return False


def refute(before: sp.Basic, after: sp.Basic) -> str:
    """Evaluate both at random points, and tell the first at which they differ; "" if none does.

    To differ is to differ by more than rounding at 30 digits.

    A point gives every symbol a value of its kind (positive, real) and of some size, every
    dimension in the limits of a sum 4 or 5, every index 1 to 3, within any of them whether it
    counts from 0 or from 1, and every entry of an indexed tensor a value.

    Raises
    ------
    ValueError
        If too few points are found at which both are real numbers.
    """
    rng = random.Random(0)
    compared = 0
    for trial in range(10 * POINTS):
        point: dict[sp.Basic, sp.Expr] = {}
        # Half of the points are on the diagonal: elsewhere a product of deltas is 0, and 0 = 0.
        indices = INDICES if trial % 2 else (rng.choice(INDICES),)
        old, new = (_values(side, point, indices, rng) for side in (before, after))
        if old is None or new is None:
            continue
        for one, other in zip(old, new, strict=True):
            if abs(one - other) > ROUNDING * max(abs(one), abs(other), NOTHING):
                where = ", ".join(f"{x} = {sp.N(value, 4)}" for x, value in point.items())
                return (
                    f"the forms differ at {where or 'every point'}: "
                    f"{sp.N(one, 6)} before, {sp.N(other, 6)} after"
                )
        compared += 1
        if compared == POINTS:
            return ""
    raise ValueError(
        f"found {compared} points of {POINTS} at which both forms are real numbers: "
        "say which symbols are positive"
    )


def _values(
    form: sp.Basic, point: dict[sp.Basic, sp.Expr], indices: Sequence[int], rng: random.Random
) -> list[sp.Float] | None:
    """The entries of `form` at `point`, which grows by what it lacks; None if one is not real."""
    ends = (end for total in form.atoms(sp.Sum) for _, *limits in total.limits for end in limits)
    _extend(point, set().union(*(end.free_symbols for end in ends)), lambda _: rng.choice(SIZES))
    form = form.subs(point).doit()
    integers = {x for x in form.free_symbols if x.is_integer}
    _extend(point, integers, lambda _: rng.choice(indices))
    form = form.subs(point)
    _extend(point, form.atoms(sp.Indexed), lambda x: _number(x, rng))
    form = form.xreplace(point)
    _extend(point, form.free_symbols, lambda x: _number(x, rng))
    form = form.subs(point).doit()
    values = [sp.N(x, DIGITS) for x in _entries(form)]
    return values if all(x.is_Float or x.is_Integer for x in values) else None


def _check_names(*forms: sp.Basic) -> None:
    """Raise ValueError if a name stands for two symbols, which look alike and are not equal."""
    symbols = set().union(*(form.atoms(sp.Symbol) - form.atoms(sp.Dummy) for form in forms))
    for x, y in itertools.combinations(sorted(symbols, key=str), 2):
        if x.name == y.name:
            raise ValueError(
                f"{x} stands for two symbols, one {x.assumptions0}, one {y.assumptions0}: "
                "use the same one, with the same assumptions"
            )


def _shape(form: sp.Basic) -> tuple[int, ...]:
    return form.shape if isinstance(form, sp.MatrixBase) else ()


def _entries(form: sp.Basic) -> list[sp.Expr]:
    return list(form) if isinstance(form, sp.MatrixBase) else [form]


def _extend(point: dict[sp.Basic, sp.Expr], new: set, value: Callable[[sp.Basic], sp.Expr]) -> None:
    """Give each of the `new` symbols a value, in an order that does not change from run to run."""
    for x in sorted(new - set(point), key=str):
        point[x] = sp.sympify(value(x))


def _number(x: sp.Basic, rng: random.Random) -> sp.Rational:
    """A rational of the sign that `x` is assumed to have, never 0, between 0.001 and 20."""
    size = sp.Rational(rng.randint(100, 2000), 1000) * sp.Integer(10) ** rng.choice((-2, 0, 1))
    negative = x.is_negative or (not x.is_nonnegative and rng.random() < 0.5)
    return -size if negative else size
