"""A derivation believes nothing: true steps pass, the mistakes people make are refuted."""

import itertools

import pytest
import sympy as sp

from capsedu.derivation.steps import Derivation, Refuted

x, y = sp.symbols("x y", real=True)
t = sp.Symbol("t", positive=True)
s1, s2 = sp.symbols("s_1 s_2", real=True)
norm = sp.sqrt(s1**2 + s2**2)
slope = sp.Derivative(norm * s1 / (1 + norm**2), s1)
L = sp.Symbol("L")
INDICES = [sp.Symbol(name, integer=True, nonnegative=True) for name in "ijklpqab"]
u_p = sp.IndexedBase("u", real=True)[INDICES[0]]


def squash_slope(gain=None, along=None):
    gain = norm / (1 + norm**2) if gain is None else gain
    along = (1 - norm**2) / (norm * (1 + norm**2) ** 2) if along is None else along
    return gain + along * s1 * s1


def test_true_steps_are_proved():
    derivation = Derivation(L, sp.Derivative(x**2 * sp.sin(x), x))
    derivation.step(2 * x * sp.sin(x) + x**2 * sp.cos(x), "product rule")
    derivation.step(x * (2 * sp.sin(x) + x * sp.cos(x)), "factor x out")
    assert [step.status for step in derivation.steps] == ["proved", "proved"]
    assert derivation.form == x * (2 * sp.sin(x) + x * sp.cos(x))


def test_the_jacobian_of_squash_is_derived():
    assert Derivation(L, slope).step(squash_slope(), "quotient rule").steps[0].status == "proved"


def test_a_true_step_that_sympy_cannot_decide_is_confirmed():
    nested = sp.sqrt(5 + 2 * sp.sqrt(6)) * x
    flat = (sp.sqrt(2) + sp.sqrt(3)) * x
    assert sp.simplify(nested - flat) != 0, "SymPy has learned this one: find another"
    assert Derivation(L, nested).step(flat, "take the root").steps[0].status == "confirmed"


@pytest.mark.parametrize(
    ("before", "after", "mistake"),
    [
        (slope, squash_slope(gain=0), "a term dropped"),
        (slope, squash_slope(along=-(1 - norm**2) / (norm * (1 + norm**2) ** 2)), "sign"),
        (slope, squash_slope(along=0), "the norm treated as constant"),
        (slope, squash_slope(along=(1 - norm**2) / (1 + norm**2) ** 2), "a factor dropped"),
        (slope, squash_slope(along=(1 - norm) / (norm * (1 + norm**2) ** 2)), "a square dropped"),
        (slope, squash_slope() * sp.Rational(1001, 1000), "0.1 % off"),
        (slope, squash_slope() + sp.Rational(1, 10**20), "off in the twentieth digit"),
        (slope.subs(s1, s2).doit(), squash_slope(), "another index"),
        (sp.Derivative(x * sp.exp(x), x), sp.exp(x), "product rule forgotten"),
        (sp.Derivative(sp.sin(x**2), x), sp.cos(x**2), "chain rule forgotten"),
        (sp.sqrt(x**2), x, "the root of a square, for real x"),
        (INDICES[0] ** 2 * x, INDICES[0] * x, "true for an index of 0 or 1 only"),
        (sp.Max(0, x - 3), sp.Integer(0), "a hinge that opens at 3"),
        (abs(x - 3), 3 - x, "true below 3 only"),
        (sp.Rational(1, 10**27) * x, sp.Rational(2, 10**27) * x, "off by two, and tiny"),
        (
            sp.KroneckerDelta(INDICES[0], INDICES[1])
            + sp.KroneckerDelta(INDICES[0], INDICES[1] + 1)
            + sp.KroneckerDelta(INDICES[0] + 1, INDICES[1]),
            sp.Integer(1),
            "true for neighbours only",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_false_steps_are_refuted(before, after, mistake):
    derivation = Derivation(L, before)
    with pytest.raises(Refuted, match=r"step 1 \(why\): the forms differ at .* before, .* after"):
        derivation.step(after, "why")
    assert derivation.steps == [], "a refuted step is not written down"


def test_the_counterexample_is_one():
    with pytest.raises(Refuted) as refuted:
        Derivation(L, (x + y) ** 2).step(x**2 + y**2, "open the brackets")
    message = str(refuted.value)
    point = {
        sp.Symbol(n, real=True): float(v)
        for n, v in (
            part.split(" = ") for part in message.split(" at ")[1].split(": ")[0].split(", ")
        )
    }
    before, after = (float(part.split()[0]) for part in message.rsplit(": ", 1)[1].split(", "))
    assert float(((x + y) ** 2).subs(point)) == pytest.approx(before, rel=1e-2)
    assert float((x**2 + y**2).subs(point)) == pytest.approx(after, rel=1e-2)


def test_assumptions_are_kept():
    assert Derivation(L, sp.sqrt(t**2)).step(t, "t is positive").steps[0].status == "proved"


def test_the_second_step_is_named_when_it_is_the_false_one():
    derivation = Derivation(L, (x + 1) ** 2).step(x**2 + 2 * x + 1, "open the brackets")
    with pytest.raises(Refuted, match=r"step 2 \(forget one\)"):
        derivation.step(x**2 + 1, "forget one")


def test_matrices_are_compared_entry_by_entry():
    outer = sp.Matrix([s1, s2]) * sp.Matrix([[s1, s2]])
    right = sp.Matrix([[s1**2, s1 * s2], [s1 * s2, s2**2]])
    assert Derivation(L, outer).step(right, "row by column").steps[0].status == "proved"
    with pytest.raises(Refuted):
        Derivation(L, outer).step(sp.diag(s1**2, s2**2), "off-diagonal forgotten")
    with pytest.raises(ValueError, match=r"step 1 .*shape \(1, 2\), want \(2, 2\)"):
        Derivation(L, outer).step(sp.Matrix([[s1, s2]]), "a row")


def test_sums_over_symbolic_dimensions():
    n = sp.Symbol("n", integer=True, positive=True)
    i, k = sp.symbols("i k", integer=True, nonnegative=True)
    w, u = sp.IndexedBase("w", real=True), sp.IndexedBase("u", real=True)
    start = sp.Derivative(sp.Sum(w[i] * u[i], (i, 0, n - 1)), w[k])
    derivation = Derivation(L, start)
    derivation.step(sp.Sum(sp.KroneckerDelta(i, k) * u[i], (i, 0, n - 1)), "differentiate each")
    with pytest.raises(Refuted):
        Derivation(L, start).step(sp.Sum(u[i], (i, 0, n - 1)), "delta forgotten")
    with pytest.raises(Refuted):
        Derivation(L, start).step(u[i], "wrong index")


@pytest.mark.parametrize("wrong", [5 * u_p, 0, -u_p], ids=["factor", "dropped", "sign"])
def test_many_deltas_do_not_hide_a_mistake(wrong):
    """Where indices are drawn apart, a product of deltas is 0, and 0 = 0 says nothing."""
    apart = [sp.KroneckerDelta(*pair) for pair in itertools.pairwise(INDICES)]
    right = Derivation(L, sp.Mul(*apart, u_p))
    assert right.step(sp.Mul(*apart, u_p.subs(INDICES[0], INDICES[1])), "one is the other")
    with pytest.raises(Refuted):
        Derivation(L, sp.Mul(*apart, u_p)).step(sp.Mul(*apart) * wrong, "wrong")


def test_sums_may_count_from_0_or_from_1():
    i, j = INDICES[:2]
    size = sp.Symbol("m", integer=True, positive=True)
    w = sp.IndexedBase("w", real=True)
    for limits in ((i, 0, size - 1), (i, 1, size)):
        picked = sp.Sum(sp.KroneckerDelta(i, j) * w[i], limits)
        assert Derivation(L, picked).step(w[j], "the delta picks j").steps
        with pytest.raises(Refuted):
            Derivation(L, picked).step(w[j] * sp.KroneckerDelta(j, 0), "picks another")


@pytest.mark.parametrize("other", [sp.Symbol("x"), "x", sp.Symbol("x", positive=True)])
def test_two_symbols_of_one_name_are_told(other):
    with pytest.raises(ValueError, match="x stands for two symbols"):
        Derivation(L, 2 * x).step(2 * sp.sympify(other), "the same")


def test_no_point_is_no_proof():
    with pytest.raises(ValueError, match="found 0 points"):
        Derivation(L, sp.sqrt(-1 - x**2)).step(sp.sqrt(-1 - x**2) + 1, "both imaginary")


def test_form_and_reason_swapped_are_told():
    with pytest.raises(TypeError, match=r"got the reason 2\*x, want step\(form, reason in words\)"):
        Derivation(L, 2 * x).step("power rule", 2 * x)


def test_it_renders_as_aligned_mathematics_with_reasons():
    derivation = Derivation(sp.Symbol("y"), x * (x + 1)).step(x**2 + x, "open the brackets")
    latex = derivation._repr_latex_()
    for part in (r"\begin{aligned}", "y &= x", r"\text{open the brackets}", r"\checkmark"):
        assert part in latex
    assert "proved: open the brackets" in str(derivation)
