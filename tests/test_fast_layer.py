"""The fast layer is predict, route and their VJPs: the same numbers on every edge, in less room."""

import tracemalloc
from functools import partial
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_close
from shapes import EDGES, ITERATIONS, RULES, layer, seeded

from capsedu import (
    capsule_layer,
    capsule_layer_vjp,
    fast_layer,
    predict,
    predict_vjp,
    route,
    route_vjp,
)

PAPER = (1152, 10, 16, 8)  # I, J, m, n of Sabour, Frosst & Hinton 2017


def results(layer, iterations, rule, plain=False):
    """Everything the layer computes, as the public names or the plain functions compute it."""
    W, u, dv = layer
    if plain:
        routing = route(predict(W, u), iterations)
        dW, du = predict_vjp(W, u, route_vjp(routing, dv, rule))
    else:
        routing = capsule_layer(W, u, iterations)
        dW, du = capsule_layer_vjp(W, u, routing, dv, rule)
    steps = {
        f"{name} {k}": x
        for k, step in enumerate(routing.steps)
        for name, x in step._asdict().items()
    }
    return {**steps, "dW": dW, "du": du}


def assert_same(layer, iterations, rule, tolerance):
    plain = results(layer, iterations, rule, plain=True)
    for name, got in results(layer, iterations, rule).items():
        assert got.dtype == plain[name].dtype, name
        assert_close(got, plain[name], tolerance)


def small_chunks():
    """n examples a chunk, the fewest there are, two input capsules a block, W in the new order."""
    return mock.patch.multiple(fast_layer, CHUNK_BYTES=1, BLOCK=2, FEW=0)


def as_type(layer, dtype):
    return type(layer)(*(x.astype(dtype) for x in layer))


shapes = st.builds(
    layer,
    I=st.integers(1, 6),
    J=st.integers(1, 4),
    m=st.integers(1, 4),
    n=st.integers(1, 4),
    batch=st.sampled_from([(), (1,), (3,), (7,), (20,), (2, 3), (2, 1, 5), (0,), (3, 0)]),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.1, 0.7, 1.0]),
)


@seeded
@given(shapes, st.sampled_from(ITERATIONS), st.sampled_from(RULES), st.booleans())
def test_any_shape(layer, iterations, rule, small):
    if small:
        with small_chunks():
            assert_same(layer, iterations, rule, 1e-12)
    else:
        assert_same(layer, iterations, rule, 1e-12)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("iterations", ITERATIONS)
@pytest.mark.parametrize("edge", EDGES)
def test_the_edges(edge, iterations, rule):
    assert_same(EDGES[edge], iterations, rule, 1e-13)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch", [(), (8,), (19,)])  # 8 a chunk, W put in order from 16
def test_the_size_of_the_paper(batch, rule):
    sized = layer(*PAPER, batch, scale=0.1)
    assert_same(as_type(sized, np.float32), 3, rule, 1e-5)
    assert_same(sized, 3, rule, 1e-13)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("iterations", ITERATIONS)
def test_float32(iterations, rule):
    with small_chunks():
        assert_same(as_type(layer(6, 3, 4, 2, (5,)), np.float32), iterations, rule, 1e-5)


@pytest.mark.parametrize("one", range(3))
@pytest.mark.parametrize("rule", RULES)
def test_types_are_mixed_as_in_the_plain_functions(one, rule):
    mixed = list(layer(4, 3, 2, 2, (5,)))
    mixed[one] = mixed[one].astype(np.float32)
    assert_same(mixed, 3, rule, 1e-6)
    mixed[one] = mixed[one].astype(np.complex128)
    assert_same(mixed, 3, rule, 1e-13)


@seeded
@given(shapes, st.sampled_from(ITERATIONS), st.sampled_from(RULES))
def test_a_complex_step_passes_as_through_the_plain_functions(layer, iterations, rule):
    rng, h = np.random.default_rng(1), 1e-30
    moved = type(layer)(*(x + 1j * h * rng.normal(size=x.shape) for x in layer))
    plain = results(moved, iterations, rule, plain=True)
    with small_chunks():
        for name, got in results(moved, iterations, rule).items():
            assert_close(got.real, plain[name].real, 1e-12)
            # Where nothing moves, as for J = 1, both are rounding errors of a step of 1.
            assert abs(got.imag / h - plain[name].imag / h).max(initial=0) <= 1e-11 * max(
                1, abs(plain[name].imag / h).max(initial=0)
            )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scale", [0, 1e-320, 1e-200, 1e-30, 1e30, 1e150])
def test_zero_tiny_and_huge_predictions(scale, rule):
    W, u, dv = layer(5, 3, 2, 2, (7,), scale=1.0)
    with small_chunks():
        assert_same((W * scale, u, dv), 3, rule, 1e-12)
        if 1e-40 < scale < 1e38:
            assert_same(as_type(layer(5, 3, 2, 2, (7,), scale=scale), np.float32), 3, rule, 1e-5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("symbol", ["u", "dv"])
@pytest.mark.parametrize("ill", range(7))
def test_nan_stays_in_its_example_whatever_the_chunk(ill, symbol, rule):
    clean = layer(4, 3, 2, 3, (7,))
    hurt = clean._replace(**{symbol: getattr(clean, symbol).copy()})
    getattr(hurt, symbol)[ill, 0, 0] = np.nan
    others = np.arange(7) != ill
    with small_chunks():
        want, got = results(clean, 3, rule), results(hurt, 3, rule)
    for name in want.keys() - {"dW"}:
        np.testing.assert_array_equal(got[name][others], want[name][others])
    assert np.isnan(got["du"][ill]).any()
    assert np.isnan(got["dW"]).any()


@pytest.mark.parametrize("rule", RULES)
def test_nothing_that_is_given_is_written_to(rule):
    W, u, dv = layer(4, 3, 2, 3, (2, 4))
    routing = capsule_layer(W, u)
    given = [W, u, dv, *(x for step in routing.steps for x in step)]
    before = [x.copy() for x in given]
    for x in given:
        x.flags.writeable = False
    with small_chunks():
        capsule_layer(W, u)
        capsule_layer_vjp(W, u, routing, dv, rule)
    for x, was in zip(given, before, strict=True):
        np.testing.assert_array_equal(x, was)


@pytest.mark.parametrize("rule", RULES)
def test_any_memory_order_will_do(rule):
    W, u, dv = layer(4, 3, 2, 3, (2, 4))
    dW, du = capsule_layer_vjp(W, u, capsule_layer(W, u), dv, rule)
    W, u, dv = (np.asfortranarray(x) for x in (W, u, dv))
    with small_chunks():
        for routing in (capsule_layer(W, u), route(predict(W, u))):
            got_dW, got_du = capsule_layer_vjp(W, u, routing, dv, rule)
            assert_close(got_dW, dW, 1e-13)
            assert_close(got_du, du, 1e-13)
            assert got_dW.flags.c_contiguous
            assert got_du.flags.c_contiguous


def extra_megabytes(function):
    """Peak memory while it runs, beyond what there was and what it returns; NumPy reports both."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    result = function()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del result
    return (peak - max(before, after)) / 1e6


def test_memory_is_bounded_and_does_not_grow_with_the_batch():
    extra = {}
    for batch in (128, 256):
        W, u, dv = as_type(layer(*PAPER, (batch,), scale=0.1), np.float32)
        routing = capsule_layer(W, u)
        calls = [partial(capsule_layer, W, u)]
        calls += [partial(capsule_layer_vjp, W, u, routing, dv, rule) for rule in RULES]
        extra[batch] = [extra_megabytes(call) for call in calls]
    print(extra)
    assert max(extra[128]) <= 60
    assert max(extra[256]) <= max(extra[128]) + 1


def test_memory_that_is_used_is_seen():
    assert 7.9 < extra_megabytes(lambda: np.ones(10**6).sum()) < 8.1
    assert extra_megabytes(lambda: np.ones(10**6)) < 0.1
