"""predict, capsule_layer, their VJPs and dv_dW: against loops, complex step and autograd."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import elementwise_grad, jacobian
from hypothesis import given
from hypothesis import strategies as st
from reference import (
    assert_close,
    autograd_layer,
    complex_step,
    complex_step_jacobian,
    loop_layer,
)
from shapes import EDGES, ITERATIONS, RULES, layer, layers, seeded

from capsedu import (
    capsule_layer,
    capsule_layer_vjp,
    dv_dW,
    predict,
    predict_vjp,
    route,
    route_vjp,
    squash,
    squash_jacobian,
)

DETACHED = {"unrolled": "", "frozen": "zv"}  # what autograd_layer is told to give that rule


def held_layer(routing):
    """The layer with the couplings of `routing` given: what the frozen rule differentiates."""
    return lambda W, u: squash(np.einsum("...ij,ijmn,...in->...jm", routing.c, W, u))


def assert_layer_vjp_is_complex_step(W, u, dv, iterations, rule):
    routing = capsule_layer(W, u, iterations)
    forward = held_layer(routing)
    if rule == "unrolled":

        def forward(W, u):
            return capsule_layer(W, u, iterations).v

    dW, du = capsule_layer_vjp(W, u, routing, dv, rule)
    assert_close(dW, complex_step(lambda moved: forward(moved, u), W, dv), 1e-12)
    assert_close(du, complex_step(lambda moved: forward(W, moved), u, dv), 1e-12)


# predict


@pytest.mark.parametrize("edge", EDGES)
def test_predict_against_loops(edge):
    W, u, _ = EDGES[edge]
    z = predict(W, u)
    assert z.shape == (*u.shape[:-2], *W.shape[:3])
    for example in np.ndindex(u.shape[:-2]):
        np.testing.assert_allclose(z[example], loop_layer(W, u[example], 1)[0], rtol=1e-13)


@seeded
@given(problem=layers)
def test_predict_vjp_against_complex_step(problem):
    W, u, _ = problem
    dz = np.random.default_rng(0).normal(size=(*u.shape[:-2], *W.shape[:3]))
    dW, du = predict_vjp(W, u, dz)
    assert_close(dW, complex_step(lambda moved: predict(moved, u), W, dz), 1e-12)
    assert_close(du, complex_step(lambda moved: predict(W, moved), u, dz), 1e-12)


# Forward


@seeded
@given(problem=layers, iterations=st.sampled_from(ITERATIONS))
def test_layer_against_loops(problem, iterations):
    W, u, dv = problem
    routing = capsule_layer(W, u, iterations)
    assert routing.v.shape == dv.shape
    assert len(routing.steps) == iterations
    for example in np.ndindex(u.shape[:-2]):
        _, steps = loop_layer(W, u[example], iterations)
        for step, loop in zip(routing.steps, steps, strict=True):
            for name, want in zip("bcsv", loop, strict=True):
                assert_close(getattr(step, name)[example], want, 1e-12)


def test_layer_is_route_of_predict_without_z():
    W, u, _ = layer(3, 2, 2, 2, (2,))
    result, plain = capsule_layer(W, u, 3), route(predict(W, u), 3)
    assert result.z is None
    assert plain.z is not None
    for name in "bcsv":
        assert_close(getattr(result, name), getattr(plain, name), 1e-13)
    assert len(capsule_layer(W, u).steps) == 3


@pytest.mark.parametrize("iterations", ITERATIONS)
def test_opposite_inputs_give_opposite_outputs(iterations):
    W, u, dv = layer(4, 3, 2, 3, (2,))
    there, opposite = capsule_layer(W, u, iterations), capsule_layer(W, -u, iterations)
    assert_close(opposite.v, -there.v, 1e-13)
    dW, du = capsule_layer_vjp(W, u, there, dv)
    opposite_dW, opposite_du = capsule_layer_vjp(W, -u, opposite, dv)
    assert_close(opposite_dW, -dW, 1e-12)
    assert_close(opposite_du, du, 1e-12)


# Vector-Jacobian products


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("iterations", ITERATIONS)
@pytest.mark.parametrize("edge", EDGES)
def test_vjp_against_complex_step_on_the_edges(edge, iterations, rule):
    assert_layer_vjp_is_complex_step(*EDGES[edge], iterations, rule)


@seeded
@given(problem=layers, iterations=st.sampled_from([1, 2, 3]), rule=st.sampled_from(RULES))
def test_vjp_against_complex_step(problem, iterations, rule):
    assert_layer_vjp_is_complex_step(*problem, iterations, rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("iterations", ITERATIONS)
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_vjp_against_autograd(batch, iterations, rule):
    W, u, dv = layer(5, 3, 4, 2, batch)

    def loss(W, u):
        return anp.sum(dv * autograd_layer(W, u, iterations, DETACHED[rule]))

    routing = capsule_layer(W, u, iterations)
    assert_close(routing.v, autograd_layer(W, u, iterations), 1e-12)
    dW, du = capsule_layer_vjp(W, u, routing, dv, rule)
    assert_close(dW, elementwise_grad(loss, 0)(W, u), 1e-12)
    assert_close(du, elementwise_grad(loss, 1)(W, u), 1e-12)


@pytest.mark.parametrize("half", ["z", "v"])
def test_half_detached_gradients_are_neither_of_the_two(half):
    W, u, dv = layer(5, 3, 4, 2, (2,))
    third = elementwise_grad(lambda W: anp.sum(dv * autograd_layer(W, u, 3, half)))(W)
    for rule in RULES:
        dW, _ = capsule_layer_vjp(W, u, capsule_layer(W, u, 3), dv, rule)
        assert abs(dW - third).max() > 1e-2 * abs(dW).max()


def test_rules_differ_by_the_coupling_term_that_a_finite_difference_sees():
    W, u, dv = layer(5, 3, 4, 2, scale=1.0)
    unrolled, frozen = (
        capsule_layer_vjp(W, u, capsule_layer(W, u, 3), dv, rule)[0] for rule in RULES
    )
    direction, h = np.random.default_rng(1).normal(size=W.shape), 1e-5
    ahead, behind = (capsule_layer(W + step * direction, u, 3).v for step in (h, -h))
    slope = np.sum(dv * (ahead - behind)) / (2 * h)
    assert np.sum(unrolled * direction) == pytest.approx(slope, rel=1e-7)
    assert np.sum(frozen * direction) != pytest.approx(slope, rel=1e-2)


def test_rules_are_equal_at_one_iteration():
    W, u, dv = layer(4, 3, 2, 3, (2,))
    routing = capsule_layer(W, u, 1)
    for unrolled, frozen in zip(
        *(capsule_layer_vjp(W, u, routing, dv, rule) for rule in RULES), strict=True
    ):
        np.testing.assert_array_equal(unrolled, frozen)


def test_unrolled_is_the_default_rule():
    W, u, dv = layer(4, 3, 2, 3)
    routing = capsule_layer(W, u)
    for default, unrolled in zip(
        capsule_layer_vjp(W, u, routing, dv),
        capsule_layer_vjp(W, u, routing, dv, "unrolled"),
        strict=True,
    ):
        np.testing.assert_array_equal(default, unrolled)
    np.testing.assert_array_equal(dv_dW(W, u), dv_dW(W, u, 3, "unrolled"))


def test_vjp_takes_the_result_of_route_too():
    W, u, dv = layer(4, 3, 2, 3, (2,))
    z = predict(W, u)
    dW, du = predict_vjp(W, u, route_vjp(route(z), dv))
    for routing in (capsule_layer(W, u), route(z)):
        got_dW, got_du = capsule_layer_vjp(W, u, routing, dv)
        assert_close(got_dW, dW, 1e-13)
        assert_close(got_du, du, 1e-13)


@pytest.mark.parametrize("rule", RULES)
def test_permuted_input_capsules_change_nothing_but_order(rule):
    W, u, dv = layer(5, 3, 2, 2, (2,))
    order = [3, 0, 4, 2, 1]
    dW, du = capsule_layer_vjp(W, u, capsule_layer(W, u), dv, rule)
    routing = capsule_layer(W[order], u[:, order])
    assert_close(routing.v, capsule_layer(W, u).v, 1e-13)
    permuted_dW, permuted_du = capsule_layer_vjp(W[order], u[:, order], routing, dv, rule)
    assert_close(permuted_dW, dW[order], 1e-13)
    assert_close(permuted_du, du[:, order], 1e-13)


# The full Jacobian


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("iterations", ITERATIONS)
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 2, 1), (1, 2, 3, 2), (3, 2, 1, 2)])
def test_dv_dW_against_complex_step_entry_by_entry(shape, iterations, rule):
    W, u, _ = layer(*shape)
    forward = held_layer(capsule_layer(W, u, iterations))
    if rule == "unrolled":

        def forward(W, u):
            return capsule_layer(W, u, iterations).v

    got = dv_dW(W, u, iterations, rule)
    assert got.shape == (*shape[1:3], *shape)
    assert_close(got, complex_step_jacobian(lambda moved: forward(moved, u), W), 1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_dv_dW_against_autograd_and_the_vjp(rule):
    W, u, dv = layer(4, 3, 2, 3)
    got = dv_dW(W, u, 3, rule)
    assert_close(got, jacobian(lambda W: autograd_layer(W, u, 3, DETACHED[rule]))(W), 1e-12)
    dW, _ = capsule_layer_vjp(W, u, capsule_layer(W, u, 3), dv, rule)
    assert_close(np.einsum("ka,kaijlp->ijlp", dv, got), dW, 1e-12)


@pytest.mark.parametrize("iterations", ITERATIONS)
def test_frozen_dv_dW_is_coupling_times_jacobian_times_input(iterations):
    W, u, _ = layer(4, 3, 2, 3)
    routing = capsule_layer(W, u, iterations)
    J = squash_jacobian(routing.s)
    got = dv_dW(W, u, iterations, "frozen")
    for k in range(3):
        for j in range(3):
            if k == j:
                want = np.einsum("i,al,ip->ailp", routing.c[:, j], J[j], u)
                assert_close(got[k, :, :, j], want, 1e-13)
            else:
                assert not got[k, :, :, j].any()


@pytest.mark.parametrize("iterations", [2, 3, 10])
def test_unrolled_cross_terms_are_not_zero(iterations):
    W, u, _ = layer(4, 3, 2, 3, scale=0.3)
    got = dv_dW(W, u, iterations, "unrolled")
    for k in range(3):
        for j in range(3):
            assert abs(got[k, :, :, j]).max() > 1e-3
    assert not dv_dW(W, u, 1, "unrolled")[0, :, :, 1].any()  # without routing there are none
