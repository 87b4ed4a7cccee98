"""Same output, three gradients: the example of four integers, to the last digit that is printed."""

import math

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import grad
from reference import autograd_layer, complex_step

from capsedu import capsule_layer, capsule_layer_vjp, dv_dW, predict, route, route_vjp
from capsedu.sketches.four_integers import same_output_two_tangents

# I = J = 2, m = n = 1; integers, as a reader types them.
W = np.array([[1, 2], [1, 0]]).reshape(2, 2, 1, 1)
u = np.array([[1], [1]])
dv = np.array([[1], [0]])  # L = v_1

TABLE = {
    (1, "unrolled"): ([[0.2500, 0], [0.2500, 0]], [0.2500, 0.2500]),
    (1, "frozen"): ([[0.2500, 0], [0.2500, 0]], [0.2500, 0.2500]),
    (2, "frozen"): ([[0.1888, 0], [0.3112, 0]], [0.1888, 0.3112]),
    (2, "unrolled"): ([[0.3063, -0.1175], [0.4287, -0.1175]], [0.0713, 0.4287]),
}
HALF_DETACHED = [[0.2475, -0.0588], [0.3700, -0.0588]]


def assert_prints_as(got, printed):
    """Every number rounds to the four digits that are printed."""
    np.testing.assert_array_equal(np.round(got, 4) + 0.0, printed)


def with_w12(x):
    moved = W.astype(np.result_type(x, float))
    moved[0, 1, 0, 0] = x
    return moved


def v_1(x):
    return capsule_layer(with_w12(x), u, 2).v[0, 0]


def dL_dW(iterations, rule):
    return capsule_layer_vjp(W, u, capsule_layer(W, u, iterations), dv, rule)[0][:, :, 0, 0]


def autograd_dL_dW(detached):
    def loss(W):
        return anp.sum(dv * autograd_layer(W, u.astype(float), 2, detached))

    return grad(loss)(W.astype(float))[:, :, 0, 0]


def test_forward_by_hand():
    first, second = capsule_layer(W, u, 2).steps
    np.testing.assert_array_equal(first.b, np.zeros((2, 2)))
    np.testing.assert_array_equal(first.c, np.full((2, 2), 1 / 2))
    np.testing.assert_allclose(first.s[:, 0], [1, 1], rtol=1e-15)
    np.testing.assert_allclose(first.v[:, 0], [1 / 2, 1 / 2], rtol=1e-15)
    np.testing.assert_allclose(second.b, [[1 / 2, 1], [1 / 2, 0]], rtol=1e-15)
    assert_prints_as(second.c, [[0.3775, 0.6225], [0.6225, 0.3775]])
    assert_prints_as(second.s[:, 0], [1, 1.2449])
    assert_prints_as(second.v[:, 0], [0.5, 0.6078])
    less = 1 / (1 + math.exp(1 / 2))
    np.testing.assert_allclose(second.c, [[less, 1 - less], [1 - less, less]], rtol=1e-15)


@pytest.mark.parametrize("iterations, rule", TABLE)
def test_the_table(iterations, rule):
    routing = capsule_layer(W, u, iterations)
    assert routing.v[0, 0] == pytest.approx(1 / 2, rel=1e-15)  # the output can't tell which
    dW, du = capsule_layer_vjp(W, u, routing, dv, rule)
    want_dW, want_du = TABLE[iterations, rule]
    assert dW.dtype == du.dtype == np.float64
    assert_prints_as(dW[:, :, 0, 0], want_dW)
    assert_prints_as(du[:, 0], want_du)
    assert_prints_as(dv_dW(W, u, iterations, rule)[0, 0, :, :, 0, 0], want_dW)
    z = predict(W, u)
    assert_prints_as(route_vjp(route(z, iterations), dv, rule)[..., 0], want_dW)  # since u = 1


def test_frozen_and_unrolled_in_closed_form():
    c = 1 / (1 + math.exp(1 / 2))  # c_11; c_21 = 1 − c, and dc_11/db_11 = c (1 − c)
    np.testing.assert_allclose(dL_dW(2, "frozen"), [[c / 2, 0], [(1 - c) / 2, 0]], atol=1e-15)
    # ds_1 = 1/2 reaches b_i1 and b_i2 with ± k, as z_11 = z_21 = 1; b_ij = z_ij v_j, and v_j moves
    # by J(1)/2 = 1/4 with each z_ij.
    k = c * (1 - c) / 2
    direct, through_v = k / 2, k * (1 + 1) / 4
    other, through_other = -k / 2, -k * (2 + 0) / 4
    np.testing.assert_allclose(
        dL_dW(2, "unrolled"),
        [
            [c / 2 + direct + through_v, other + through_other],
            [(1 - c) / 2 + direct + through_v, other + through_other],
        ],
        rtol=1e-14,
    )


@pytest.mark.parametrize("detached", ["z", "v"])
def test_detaching_only_z_or_only_v_gives_a_third_gradient(detached):
    half = autograd_dL_dW(detached)
    assert_prints_as(half, HALF_DETACHED)
    for rule in ("unrolled", "frozen"):
        assert abs(half - dL_dW(2, rule)).min() > 0.05


def test_autograd_with_nothing_detached_is_unrolled_and_with_both_frozen():
    np.testing.assert_allclose(autograd_dL_dW(""), dL_dW(2, "unrolled"), rtol=1e-14)
    np.testing.assert_allclose(autograd_dL_dW("zv"), dL_dW(2, "frozen"), rtol=1e-14)


def test_the_curve_and_its_two_tangents():
    assert_prints_as([v_1(0), v_1(2), v_1(4)], [0.6078, 0.5, 0.3196])
    slope = complex_step(lambda x: v_1(x), 2.0, 1.0)
    assert dL_dW(2, "unrolled")[0, 1] == pytest.approx(slope, rel=1e-14)
    h = 1e-5
    assert slope == pytest.approx((v_1(2 + h) - v_1(2 - h)) / (2 * h), rel=1e-9)
    assert dL_dW(2, "frozen")[0, 1] == 0  # horizontal
    told = same_output_two_tangents().alt
    assert "v_1 is 0.6078 at 0, 0.5000 at 2, 0.3196 at 4." in told
    assert "Slopes at 2: unrolled -0.1175, frozen 0." in told


def test_without_routing_the_curve_is_flat():
    assert capsule_layer(with_w12(0), u, 1).v[0, 0] == capsule_layer(with_w12(4), u, 1).v[0, 0]
