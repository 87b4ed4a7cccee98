"""Index notation: each derived VJP and Jacobian against floor 1, and against complex step."""

import re

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_close, complex_step, complex_step_jacobian
from shapes import seeded

import capsedu
from capsedu.derivation import (
    Node,
    derive_frozen_jacobian,
    derive_squash_jacobian,
    evaluate,
    generate_forward,
    generate_function,
    generate_vjp,
    index,
    tensor,
    total,
    vjp,
)
from capsedu.derivation import nodes as N
from capsedu.derivation.index_notation import (
    SIZES,
    contract,
    free_indices,
    gradient_of,
    ignored_shift,
    name_of,
)

a, i, j, l, p = map(index, "aijlp")
i_, j_, l_, l__, p_ = map(index, ("i'", "j'", "l'", "l''", "p'"))
x, y, s, v, b, c = (sp.IndexedBase(name, real=True) for name in "xysvbc")

NODES = {node.id: node for node in (*N.LAYER, N.MARGIN_LOSS)}
FORWARD = {id: generate_forward(node) for id, node in NODES.items()}
BACKWARD = {id: generate_vjp(node) for id, node in NODES.items()}
SCALARS = {"m_plus": 0.9, "m_minus": 0.1, "down_weight": 0.5}
# The shipped function, of inputs in the order of node.inputs, dy last; and its VJP.
SHIPPED = {
    "prediction": (capsedu.predict, capsedu.predict_vjp),
    "coupling": (capsedu.softmax, lambda b, dc: (capsedu.softmax_vjp(capsedu.softmax(b), dc),)),
    "squash": (capsedu.squash, lambda s, dv: (capsedu.squash_vjp(s, dv),)),
    "margin-loss": (
        lambda T, v: capsedu.margin_loss(v, T.argmax(-1)),
        lambda T, v, dL: (None, dL * capsedu.margin_loss_vjp(v, T.argmax(-1))),
    ),
}


class Problem:
    """Random inputs of a node and a gradient of its output, of the same random sizes."""

    def __init__(self, node, lengths, seed):
        rng = np.random.default_rng(seed)
        self.node, self.sizes = node, dict(zip("aijlp", lengths, strict=True))
        self.inputs = {name_of(x): self.random(rng, x) for x in node.inputs}
        self.dy = self.random(rng, node.output)
        if node is N.MARGIN_LOSS:
            labels = rng.integers(lengths[2], size=lengths[0])
            self.inputs["T"] = np.eye(lengths[2])[labels]
            self.inputs["v"] = capsedu.squash(2 * self.inputs["v"])  # long ones and short ones
        self.scalars = {str(x): SCALARS[str(x)] for x in node.parameters}

    def random(self, rng, entry):
        return rng.normal(size=[self.sizes[x.name[0]] for x in getattr(entry, "indices", ())])

    def forward(self, name, moved):
        return FORWARD[self.node.id](**self.inputs | {name: moved}, **self.scalars)

    def complex_step(self, name):
        return complex_step(
            lambda moved: self.forward(name, moved), self.inputs[name], self.dy, 1e-30
        )

    def derived(self, entry, expression=None):
        """The derived VJP for one input, evaluated without the generated NumPy."""
        values = self.inputs | self.scalars | {f"d{name_of(self.node.output)}": self.dy}
        if self.node is N.COUPLING:
            values["c"] = capsedu.softmax(self.inputs["b"])
        expression = vjp(self.node, entry) if expression is None else expression
        return evaluate(expression, free_indices(entry), values)


lengths = st.tuples(*(st.integers(1, 3) for _ in "aijlp"))


@pytest.mark.parametrize("id", NODES)
@seeded
@given(lengths=lengths, seed=st.integers(0, 2**32 - 1))
def test_each_vjp_derived_generated_shipped_and_by_complex_step(id, lengths, seed):
    problem = Problem(NODES[id], lengths, seed)
    dy = {f"d{name_of(problem.node.output)}": problem.dy}
    generated = BACKWARD[id](**problem.inputs, **problem.scalars, **dy)
    generated = generated if isinstance(generated, tuple) else (generated,)
    shipped = SHIPPED[id][1](*problem.inputs.values(), problem.dy) if id in SHIPPED else ()
    for n, entry in enumerate(problem.node.inputs):
        wanted = problem.complex_step(name_of(entry))
        assert_close(problem.derived(entry), wanted, 1e-13)
        assert_close(generated[n], wanted, 1e-13)
        if shipped and shipped[n] is not None:
            assert_close(generated[n], shipped[n], 1e-13)


@pytest.mark.parametrize("id", NODES)
@seeded
@given(lengths=lengths, seed=st.integers(0, 2**32 - 1))
def test_each_formula_derived_generated_and_shipped(id, lengths, seed):
    problem = Problem(NODES[id], lengths, seed)
    node = problem.node
    values = problem.inputs | problem.scalars
    generated = FORWARD[id](**values)
    assert_close(generated, evaluate(node.formula, free_indices(node.output), values), 1e-13)
    if id in SHIPPED:
        assert_close(generated, SHIPPED[id][0](*problem.inputs.values()), 1e-13)


def test_total_input_and_agreement_are_those_of_route():
    z = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    first, second = capsedu.route(z, 2).steps
    assert_close(generate_forward(N.TOTAL_INPUT)(c=first.c, z=z), first.s, 1e-14)
    assert_close(generate_forward(N.AGREEMENT)(b=first.b, v=first.v, z=z), second.b, 1e-14)


def wrong_expressions(right, node):
    """The mistakes people make in a derived VJP."""
    dy = gradient_of(node.output)
    yield "sign", -right
    yield "a term dropped", sp.Add.make_args(right)[0] if right.is_Add else 2 * right
    yield "factor", right * sp.Rational(1001, 1000)
    yield (
        "upstream gradient ignored",
        right.replace(
            lambda e: getattr(e, "base", None) == getattr(dy, "base", 0), lambda e: sp.Integer(1)
        ),
    )


@pytest.mark.parametrize("id", ["coupling", "squash"])
def test_a_wrong_derived_expression_is_seen(id):
    node = NODES[id]
    problem = Problem(node, (2, 3, 2, 3, 2), 0)
    for entry in node.inputs:
        wanted = problem.complex_step(name_of(entry))
        for mistake, wrong in wrong_expressions(vjp(node, entry), node):
            got = problem.derived(entry, wrong)
            assert abs(got - wanted).max() > 1e-4 * abs(wanted).max(), mistake


# Jacobians


def test_scalar_symbols_are_arguments_too():
    k_0 = sp.Symbol("k0", real=True)
    scaled = generate_function("scaled", {y[a, j]: k_0 * x[a, j]})
    np.testing.assert_array_equal(scaled(x=np.array([[1.0, 2.0]]), k0=3.0), [[3.0, 6.0]])


squash_jacobian = generate_function(
    "squash-jacobian", {tensor("dv_ds", a, j, l, l_): derive_squash_jacobian()}
)
frozen_jacobian = generate_function(
    "frozen-jacobian", {tensor("dv_dW", a, j_, l_, i, j, l, p): derive_frozen_jacobian()}
)


@seeded
@given(lengths=lengths, seed=st.integers(0, 2**32 - 1))
def test_squash_jacobian_derived_generated_shipped_and_by_complex_step(lengths, seed):
    s = np.random.default_rng(seed).normal(size=(lengths[0], lengths[2], lengths[3]))
    shipped = capsedu.squash_jacobian(s)
    assert_close(squash_jacobian(s), shipped, 1e-13)
    assert_close(evaluate(derive_squash_jacobian(), (a, j, l, l_), {"s": s}), shipped, 1e-13)
    assert_close(
        complex_step_jacobian(FORWARD["squash"], s[0, 0][None])[0, :, 0],
        shipped[0, 0],
        1e-13,
    )


@seeded
@given(lengths=lengths, seed=st.integers(0, 2**32 - 1))
def test_frozen_jacobian_derived_generated_shipped_and_by_complex_step(lengths, seed):
    _, I, J, m, n = lengths
    rng = np.random.default_rng(seed)
    W, u = rng.normal(size=(I, J, m, n)), rng.normal(size=(I, n))
    shipped = capsedu.dv_dW(W, u, rule="frozen")
    routing = capsedu.capsule_layer(W, u)
    values = {"c": routing.c, "s": routing.s, "u": u}
    assert_close(frozen_jacobian(**values), shipped, 1e-13)
    values = {name: value[None] for name, value in values.items()}
    derived = evaluate(derive_frozen_jacobian(), (a, j_, l_, i, j, l, p), values)
    assert_close(derived[0], shipped, 1e-13)
    held = complex_step_jacobian(
        lambda W: capsedu.squash(np.einsum("ij,ijlp,ip->jl", routing.c, W, u)), W
    )
    assert_close(held, shipped, 1e-13)


def test_jacobians_keep_their_deltas():
    assert derive_squash_jacobian().atoms(sp.KroneckerDelta) == {sp.KroneckerDelta(l, l_)}
    assert derive_frozen_jacobian().atoms(sp.KroneckerDelta) == {
        sp.KroneckerDelta(j, j_),
        sp.KroneckerDelta(l, l_),
    }


def test_jacobians_are_zero_at_zero():
    s = np.zeros((1, 2, 3))
    assert np.array_equal(squash_jacobian(s), np.zeros((1, 2, 3, 3)))


# Corners


def test_the_margin_loss_at_length_0_and_in_an_empty_batch():
    forward, backward = generate_forward(N.MARGIN_LOSS), generate_vjp(N.MARGIN_LOSS)
    T, v = np.eye(2), np.zeros((2, 2, 3))
    assert forward(T=T, v=v, **SCALARS) == pytest.approx(capsedu.margin_loss(v, [0, 1]), rel=1e-15)
    assert np.array_equal(backward(T=T, v=v, dL=1.0, **SCALARS)[1], np.zeros_like(v))
    assert forward(T=T[:0], v=v[:0], **SCALARS) == 0
    assert backward(T=T[:0], v=v[:0], dL=1.0, **SCALARS)[1].shape == (0, 2, 3)


@pytest.mark.parametrize("id", ["coupling", "coupling-vjp"])
def test_the_softmax_of_large_logits(id):
    b = np.array([[[1000.0, 0.0], [-1000.0, -1001.0]]])
    dc = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    if id == "coupling":
        assert_close(generate_forward(N.COUPLING)(b), capsedu.softmax(b), 1e-15)
    else:
        assert_close(
            generate_vjp(N.COUPLING)(b, dc), capsedu.softmax_vjp(capsedu.softmax(b), dc), 1e-15
        )


def test_only_the_softmax_ignores_a_shift():
    sigmoid = Node("coupling", c[a, i, j], 1 / (1 + sp.exp(-b[a, i, j])))
    over_inputs = sp.exp(b[a, i, j]) / total(sp.exp(b[a, i_, j]), i_)
    assert {node.id: ignored_shift(node) for node in (*N.LAYER, N.MARGIN_LOSS)} == {
        **dict.fromkeys(NODES, ""),
        "coupling": "b",
    }
    assert ignored_shift(sigmoid) == ""
    assert ignored_shift(Node("coupling", c[a, i, j], over_inputs)) == ""


# Deltas and indices


def test_a_sum_that_a_delta_decides_is_carried_out():
    delta = sp.KroneckerDelta(j, j_)
    assert contract(total(delta * x[j_], j_)) == x[j]
    assert contract(total(delta * x[j_] + y[j] * x[j_], j_)) == x[j] + y[j] * total(x[j_], j_)
    assert contract(total(sp.KroneckerDelta(l, l_) * total(x[l_, l__], l__), l_)) == total(
        x[l, l_], l_
    )


def test_no_index_is_captured():
    # Σ_l'' δ_l'l'' Σ_l' x_l'' y_l': with l' put in naively, l' would be summed over.
    expression = total(sp.KroneckerDelta(l_, l__) * total(x[l__] * y[l_], l_), l__)
    assert contract(expression) == x[l_] * total(y[l__], l__)


def test_a_delta_inside_a_function_is_refused():
    with pytest.raises(ValueError, match="a delta stands inside a function"):
        contract(total(sp.exp(sp.KroneckerDelta(j, j_) * x[j_]), j_))


@pytest.mark.parametrize(
    ("output", "formula", "message"),
    [
        (v[a, j], total(s[a, j, l], l), "sum over l, want a prime, l', on a summed index"),
        (v[a, j], total(s[a, j, l_], l_) + sp.Sum(s[a, j, l_], (l_, 1, 3)), "whole axis"),
        (v[a, j], total(s[a, j, l_] * total(s[a, j, l_], l_), l_), "two names"),
        (v[a, j, l], total(s[a, l, j], j_), "each axis once, in the order a, i, j, l, p"),
        (v[a, j, l], s[a, j, l] + s[a, j], "each axis once"),
        (v[a, j, l], s[a, j, 0], "indices that are made by index()"),
        (v[a, j, l], x[a, i, j, l], "want those of the output"),
        (v[a, j, l_], s[a, j, l_], "without primes"),
    ],
)
def test_a_node_that_is_no_index_notation_is_refused(output, formula, message):
    with pytest.raises(ValueError, match=f"^squash: got .*{re.escape(message)}"):
        Node("squash", output, formula)


def test_why_a_summed_index_needs_a_prime():
    """What SymPy derives from Σ_l s_l²: with l captured, and with l'. 2 s_l is right."""
    captured = sp.Sum(s[l] ** 2, (l, 0, SIZES["l"] - 1)).diff(s[l])
    assert captured != 2 * s[l]
    assert contract(total(s[l_] ** 2, l_).diff(s[l])) == 2 * s[l]


# What divides by zero


SQUARED = total(s[a, j, l_] ** 2, l_)


@pytest.mark.parametrize(
    ("gain", "message"),
    [
        (1 / sp.sqrt(SQUARED), "goes to oo.* at s = 0, want 0 or a corner"),
        (1 / SQUARED, "goes to oo.* at s = 0"),
        (sp.log(1 + SQUARED) / SQUARED, "goes to dv.* at s = 0"),
        (sp.exp(-1 / sp.sqrt(SQUARED)), "at s = 0, want 0 or a corner"),
        (1 / (SQUARED - 1), "divides by .* which may be 0"),
    ],
)
def test_a_formula_without_a_derivative_is_refused(gain, message):
    with pytest.raises(ValueError, match=message):
        generate_vjp(Node("squash", v[a, j, l], gain * s[a, j, l]))


@pytest.mark.parametrize(
    ("gain", "at_zero"),
    [
        (1 / (1 + sp.sqrt(SQUARED)), 1),
        (sp.log(1 + SQUARED) / sp.sqrt(SQUARED), 0),
        (1 / sp.sqrt(1 + SQUARED), 1),
        (sp.exp(-SQUARED), 1),
    ],
)
def test_a_gain_that_has_a_value_at_zero_gives_it(gain, at_zero):
    backward = generate_vjp(Node("squash", v[a, j, l], gain * s[a, j, l]))
    dv = np.array([[[1.0, 2.0]]])
    assert_close(backward(0 * dv, dv), at_zero * dv, 1e-15)
    np.testing.assert_allclose(backward(1e-9 * dv, dv), at_zero * dv, atol=1e-7)


def test_what_numpy_would_broadcast_wrongly_is_refused():
    with pytest.raises(ValueError, match="entries of different axes"):
        generate_forward(Node("squash", v[a, j, l], sp.exp(s[a, j, l] + x[a, j])))
    with pytest.raises(ValueError, match="lack one of the axes"):
        generate_forward(Node("squash", v[a, j, l], x[a, j]))


def test_a_term_without_axes_is_added_to_every_entry():
    b0, dc = np.random.default_rng(0).standard_normal((2, 2, 3, 4))
    for formula, wanted in (
        (1 + b[a, i, j], 1 + b0),
        (2 * b[a, i, j] - 3, 2 * b0 - 3),
        (1 + b[a, i, j] * (1 + b[a, i, j]), 1 + b0 * (1 + b0)),
    ):
        node = Node("coupling", c[a, i, j], formula)
        assert_close(generate_forward(node)(b0), wanted, 1e-15)
        moved = complex_step(lambda x, node=node: generate_forward(node)(x), b0, dc)
        assert_close(generate_vjp(node)(b0, dc), moved, 1e-14)
    with pytest.raises(ValueError, match=r"coupling: c = 3 lacks the axes \(a, i, j\)"):
        generate_forward(Node("coupling", c[a, i, j], sp.Integer(3)))


def test_any_function_that_sympy_prints_is_derived():
    node = Node("squash", v[a, j, l], sp.tanh(s[a, j, l]))
    s0, dv = np.random.default_rng(0).normal(size=(2, 1, 2, 3))
    assert_close(generate_vjp(node)(s0, dv), dv / np.cosh(s0) ** 2, 1e-14)
