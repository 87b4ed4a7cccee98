"""softmax, route and their VJPs: values, derivatives under both rules, and what must hold of z."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_close, autograd_layer, complex_step, loop_layer, loop_softmax
from shapes import EDGES, ITERATIONS, RULES, layer, layers, seeded

from capsedu import Routing, predict, route, route_vjp, softmax, softmax_vjp, squash
from capsedu.routing import entropy


def held(c, z):
    """The layer with its couplings given: what the frozen rule differentiates."""
    return squash(np.einsum("...ij,...ijm->...jm", c, z))


def assert_route_vjp_is_complex_step(z, dv, iterations, rule):
    routing = route(z, iterations)
    forward = (
        (lambda x: route(x, iterations).v) if rule == "unrolled" else (lambda x: held(routing.c, x))
    )
    assert_close(route_vjp(routing, dv, rule), complex_step(forward, z, dv), 1e-12)


# softmax


def test_softmax_by_hand():
    np.testing.assert_allclose(softmax(np.log([1.0, 2.0, 5.0])), [1 / 8, 2 / 8, 5 / 8], rtol=1e-15)


@pytest.mark.parametrize("shape", [(1,), (4,), (3, 2), (2, 3, 5), (0, 3), (2, 0, 3)])
def test_softmax_against_loops_and_sums_to_one_over_the_outputs(shape):
    b = np.random.default_rng(0).normal(scale=3, size=shape)
    c = softmax(b)
    assert c.shape == shape
    for row in np.ndindex(shape[:-1]):
        np.testing.assert_allclose(c[row], loop_softmax(b[row]), rtol=1e-14)
    np.testing.assert_allclose(c.sum(axis=-1), np.ones(shape[:-1]), rtol=1e-15)


def test_softmax_of_huge_logits_neither_overflows_nor_warns():
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_array_equal(softmax([1e300, 0.0, -1e300]), [1, 0, 0])
        np.testing.assert_array_equal(softmax([-1e4, -1e4]), [0.5, 0.5])
        np.testing.assert_array_equal(softmax_vjp(softmax([1e300, 0.0]), [1.0, 2.0]), [0, 0])
    # A shift cancels, however large, as long as the logits still hold their differences.
    np.testing.assert_allclose(softmax(np.array([0.0, 1.0]) + 2**40), softmax([0.0, 1.0]), 1e-15)


@seeded
@given(
    J=st.integers(1, 5),
    batch=st.sampled_from([(), (3,), (2, 2), (0,)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_softmax_vjp_against_complex_step(J, batch, seed):
    rng = np.random.default_rng(seed)
    b, dc = rng.normal(scale=2, size=(2, *batch, J))
    db = softmax_vjp(softmax(b), dc)
    want = complex_step(softmax, b, dc)
    assert db.shape == b.shape
    assert abs(db - want).max(initial=0) <= 1e-12 * abs(dc).max(initial=0)
    np.testing.assert_allclose(db.sum(axis=-1), np.zeros(batch), atol=1e-14)


# entropy


def test_entropy_is_a_share_of_the_largest():
    c = [[0.25, 0.25, 0.25, 0.25], [0, 1, 0, 0], [0.5, 0.5, 0, 0]]
    np.testing.assert_allclose(entropy(c), [1, 0, 0.5], atol=1e-15)
    assert entropy(np.ones((3, 1))).tolist() == [0, 0, 0]
    assert not np.signbit(entropy(np.eye(3))).any()  # as it would be printed
    c = np.random.default_rng(0).dirichlet(np.ones(3), size=(2, 5))
    H = entropy(c)
    assert H.shape == (2, 5) and (H < 1).all()
    for row in np.ndindex(2, 5):
        want = -sum(share * math.log(share, 3) for share in c[row])
        assert H[row] == pytest.approx(want, rel=1e-14)
    assert entropy(c.astype(np.float32)).dtype == np.float32
    assert np.isnan(entropy([[0.5, np.nan], [0.5, 0.5]])).tolist() == [True, False]
    with pytest.raises(ValueError, match="c: got shape"):
        entropy(np.zeros((3, 0)))


# Forward


@pytest.mark.parametrize("iterations", ITERATIONS)
@pytest.mark.parametrize("edge", EDGES)
def test_every_iteration_against_loops(edge, iterations):
    W, u, dv = EDGES[edge]
    routing = route(predict(W, u), iterations)
    assert len(routing.steps) == iterations
    assert routing.v.shape == dv.shape
    for example in np.ndindex(u.shape[:-2]):
        _, steps = loop_layer(W, u[example], iterations)
        for step, loop in zip(routing.steps, steps, strict=True):
            for name, want in zip("bcsv", loop, strict=True):
                got = getattr(step, name)[example]
                np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14, err_msg=name)


def test_short_names_are_the_last_iteration_and_z_is_held():
    z = predict(*layer(3, 2, 2, 2, (2,))[:2])
    routing = route(z, 3)
    for name in "bcsv":
        assert getattr(routing, name) is getattr(routing.steps[-1], name)
    np.testing.assert_array_equal(routing.z, z)
    assert not routing.steps[0].b.any()
    for step in routing.steps:  # b: the logits that gave c, not those that would come next
        np.testing.assert_array_equal(softmax(step.b), step.c)
        np.testing.assert_array_equal(squash(step.s), step.v)
    agreement = np.einsum("...ijm,...jm->...ij", z, routing.steps[1].v)
    np.testing.assert_allclose(routing.b - routing.steps[1].b, agreement, rtol=1e-12, atol=1e-15)


def test_three_iterations_are_the_default():
    z = predict(*layer(3, 2, 2, 2)[:2])
    assert len(route(z).steps) == 3
    np.testing.assert_array_equal(route(z).v, route(z, 3).v)


def test_fewer_iterations_are_the_first_of_more():
    z = predict(*layer(3, 2, 2, 2, (2,))[:2])
    for k, step in enumerate(route(z, 5).steps, start=1):
        np.testing.assert_array_equal(route(z, k).v, step.v)


def test_one_iteration_is_the_mean_over_the_outputs():
    z = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    routing = route(z, 1)
    np.testing.assert_array_equal(routing.c, np.full((2, 3, 4), 1 / 4))
    np.testing.assert_allclose(routing.v, squash(z.sum(axis=1) / 4), rtol=1e-14)


@seeded
@given(problem=layers, iterations=st.sampled_from(ITERATIONS))
def test_couplings_sum_to_one_and_outputs_are_shorter_than_one(problem, iterations):
    routing = route(predict(problem.W, problem.u), iterations)
    for step in routing.steps:
        assert abs(step.c.sum(axis=-1) - 1).max(initial=0) <= 1e-15 * step.c.shape[-1]
        assert step.c.min(initial=1) >= 0
        assert np.linalg.norm(step.v, axis=-1).max(initial=0) <= 1 + 1e-15


@seeded
@given(problem=layers, iterations=st.sampled_from(ITERATIONS), rule=st.sampled_from(RULES))
def test_opposite_predictions_give_opposite_outputs_and_the_same_couplings(
    problem, iterations, rule
):
    z = predict(problem.W, problem.u)
    there, opposite = route(z, iterations), route(-z, iterations)
    assert_close(opposite.v, -there.v, 1e-13)
    assert_close(opposite.c, there.c, 1e-13)
    assert_close(route_vjp(opposite, problem.dv, rule), route_vjp(there, problem.dv, rule), 1e-12)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("iterations", ITERATIONS)
def test_permuted_input_capsules_change_nothing_but_order(iterations, rule):
    W, u, dv = layer(5, 3, 2, 2, (2,))
    z, order = predict(W, u), [3, 0, 4, 2, 1]
    plain, permuted = route(z, iterations), route(z[:, order], iterations)
    assert_close(permuted.v, plain.v, 1e-13)
    assert_close(permuted.c, plain.c[:, order], 1e-13)
    dz = route_vjp(plain, dv, rule)
    assert_close(route_vjp(permuted, dv, rule), dz[:, order], 1e-13)


@pytest.mark.parametrize("iterations", ITERATIONS)
def test_permuted_output_capsules_change_nothing_but_order(iterations):
    W, u, _ = layer(3, 4, 2, 2, (2,))
    z, order = predict(W, u), [2, 0, 3, 1]
    plain, permuted = route(z, iterations), route(z[..., order, :], iterations)
    assert_close(permuted.v, plain.v[:, order], 1e-13)
    assert_close(permuted.c, plain.c[..., order], 1e-13)


def test_huge_and_tiny_predictions_do_not_warn():
    z = np.random.default_rng(0).normal(size=(4, 3, 2))
    with np.errstate(all="raise", under="ignore"):
        for size in (0.0, 1e-300, 1e-160, 1e160, 1e300):
            routing = route(size * z, 3)
            assert np.isfinite(routing.v).all()
            assert np.isfinite(route_vjp(routing, np.ones((3, 2)), "frozen")).all()
    # So short that the agreement is nothing beside 1, z is not routed at all.
    np.testing.assert_allclose(route(1e-20 * z, 10).c, np.full((4, 3), 1 / 3), rtol=1e-15)


# Vector-Jacobian products


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("iterations", ITERATIONS)
@pytest.mark.parametrize("edge", EDGES)
def test_vjp_against_complex_step_on_the_edges(edge, iterations, rule):
    W, u, dv = EDGES[edge]
    assert_route_vjp_is_complex_step(predict(W, u), dv, iterations, rule)


@seeded
@given(problem=layers, iterations=st.sampled_from(ITERATIONS), rule=st.sampled_from(RULES))
def test_vjp_against_complex_step(problem, iterations, rule):
    z = predict(problem.W, problem.u)
    assert_route_vjp_is_complex_step(z, problem.dv, iterations, rule)


def test_unrolled_is_the_default_rule():
    W, u, dv = layer(3, 2, 2, 2)
    routing = route(predict(W, u), 3)
    np.testing.assert_array_equal(route_vjp(routing, dv), route_vjp(routing, dv, "unrolled"))
    assert abs(route_vjp(routing, dv) - route_vjp(routing, dv, "frozen")).max() > 1e-3


@seeded
@given(problem=layers)
def test_rules_are_equal_at_one_iteration(problem):
    routing = route(predict(problem.W, problem.u), 1)
    unrolled, frozen = (route_vjp(routing, problem.dv, rule) for rule in RULES)
    np.testing.assert_array_equal(unrolled, frozen)


def test_rules_meet_again_when_routing_has_become_hard():
    # Three groups of inputs, each agreeing on an output of its own: no ties, so every coupling
    # goes to 0 or 1 and stays there.
    z = np.random.default_rng(0).normal(scale=0.1, size=(6, 3, 2))
    z[np.arange(6), np.arange(6) // 2] += 1
    dv = np.random.default_rng(1).normal(size=(3, 2))
    apart = {}
    for iterations in (2, 100):
        routing = route(z, iterations)
        unrolled, frozen = (route_vjp(routing, dv, rule) for rule in RULES)
        apart[iterations] = np.linalg.norm(unrolled - frozen) / np.linalg.norm(frozen)
    assert apart[2] > 0.1
    assert apart[100] < 1e-12


def test_the_gradient_is_linear_in_dv():
    W, u, dv = layer(3, 2, 2, 2, (2,))
    routing = route(predict(W, u), 3)
    for rule in RULES:
        zero = route_vjp(routing, np.zeros_like(dv), rule)
        assert not zero.any()
        assert_close(route_vjp(routing, -3 * dv, rule), -3 * route_vjp(routing, dv, rule), 1e-14)


@pytest.mark.parametrize("iterations", [2, 3, 5])
def test_rank_of_the_unrolled_gradient_for_each_output(iterations):
    W, u, dv = layer(12, 2, 12, 3)
    dz = route_vjp(route(predict(W, u), iterations), dv)
    for j in range(2):
        assert np.linalg.matrix_rank(dz[:, j], tol=1e-12) <= 2 * iterations - 1


def test_reference_frozen_rule_is_autograd_with_the_agreement_detached():
    W, u, dv = layer(3, 2, 2, 2, (2,))
    c = route(predict(W, u), 3).c
    np.testing.assert_allclose(held(c, predict(W, u)), autograd_layer(W, u, 3, "zv"), rtol=1e-13)


def test_zero_predictions_have_zero_gradient():
    routing = route(np.zeros((3, 2, 2)), 3)
    for rule in RULES:
        assert not route_vjp(routing, np.ones((2, 2)), rule).any()


def test_a_layer_result_holds_no_z():
    with pytest.raises(ValueError, match=r"routing: holds no z.*capsule_layer_vjp"):
        route_vjp(Routing(route(np.ones((2, 2, 2))).steps), np.ones((2, 2)))
