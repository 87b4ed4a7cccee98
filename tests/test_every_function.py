"""What holds of every public function alike: batches, NaN, number types, inputs unchanged."""

import inspect
from typing import NamedTuple

import numpy as np
import pytest
from reference import assert_close

import capsedu

I, J, m, n = 4, 3, 2, 3


class Result(NamedTuple):
    each: tuple = ()  # arrays that lead with the batch axes
    total: tuple = ()  # arrays summed over the batch


def routed(routing):
    return Result(each=tuple(array for step in routing.steps for array in step))


def layer_vjp(W, u, dv, rule):
    dW, du = capsedu.capsule_layer_vjp(W, u, capsedu.capsule_layer(W, u), dv, rule)
    return Result(each=(du,), total=(dW,))


def predict_vjp(W, u, dz):
    dW, du = capsedu.predict_vjp(W, u, dz)
    return Result(each=(du,), total=(dW,))


def route_vjp(z, dv, rule):
    return Result(each=(capsedu.route_vjp(capsedu.route(z), dv, rule),))


def of_batch(result, labels):
    """A mean over the batch, made the sum over it again."""
    return result * result.dtype.type(np.asarray(labels).size)


# Each takes what its parameters are named after, from `arguments`. The margin loss is a mean, so
# it is multiplied out: only then is a batch the sum of its examples.
CALLS = {
    "softmax": lambda b: Result((capsedu.softmax(b),)),
    "softmax_vjp": lambda b, dc: Result((capsedu.softmax_vjp(capsedu.softmax(b), dc),)),
    "squash": lambda s: Result((capsedu.squash(s),)),
    "squash_jacobian": lambda s: Result((capsedu.squash_jacobian(s),)),
    "squash_vjp": lambda s, dv: Result((capsedu.squash_vjp(s, dv),)),
    "predict": lambda W, u: Result((capsedu.predict(W, u),)),
    "predict_vjp": predict_vjp,
    "route": lambda z: routed(capsedu.route(z)),
    "route_vjp": lambda z, dv: route_vjp(z, dv, "unrolled"),
    "route_vjp frozen": lambda z, dv: route_vjp(z, dv, "frozen"),
    "capsule_layer": lambda W, u: routed(capsedu.capsule_layer(W, u)),
    "capsule_layer_vjp": lambda W, u, dv: layer_vjp(W, u, dv, "unrolled"),
    "capsule_layer_vjp frozen": lambda W, u, dv: layer_vjp(W, u, dv, "frozen"),
    "margin_loss": lambda v, labels: Result(
        total=(of_batch(capsedu.margin_loss(v, labels), labels),)
    ),
    "margin_loss_vjp": lambda v, labels: Result(
        each=(of_batch(capsedu.margin_loss_vjp(v, labels), labels),)
    ),
}
NO_BATCH = {
    "dv_dW": lambda W, u: Result(total=(capsedu.dv_dW(W, u),)),
    "dv_dW frozen": lambda W, u: Result(total=(capsedu.dv_dW(W, u, rule="frozen"),)),
}
every_call = pytest.mark.parametrize("name", CALLS)
every_call_and_dv_dW = pytest.mark.parametrize("name", {**CALLS, **NO_BATCH})


def arguments(name, batch=()):
    """The call and its arguments, in float64."""
    call = {**CALLS, **NO_BATCH}[name]
    shapes = {
        "b": (*batch, I, J),
        "dc": (*batch, I, J),
        "s": (*batch, J, m),
        "v": (*batch, J, m),
        "dv": (*batch, J, m),
        "W": (I, J, m, n),
        "u": (*batch, I, n),
        "z": (*batch, I, J, m),
        "dz": (*batch, I, J, m),
    }
    rng = np.random.default_rng(0)
    arrays = {symbol: rng.normal(scale=0.8, size=shape) for symbol, shape in shapes.items()}
    arrays["labels"] = rng.integers(J, size=batch)
    return call, {symbol: arrays[symbol] for symbol in inspect.signature(call).parameters}


def example(arrays, index):
    return {symbol: x if symbol == "W" else x[index] for symbol, x in arrays.items()}


def test_every_public_function_is_in_the_table():
    tried = {name.split()[0] for name in {**CALLS, **NO_BATCH}}
    assert tried | {"Routing"} == set(capsedu.__all__)


@pytest.mark.parametrize("batch", [(1,), (5,), (2, 3)])
@every_call
def test_a_batch_is_its_examples_one_by_one(name, batch):
    call, arrays = arguments(name, batch)
    together = call(**arrays)
    alone = {index: call(**example(arrays, index)) for index in np.ndindex(batch)}
    for index, result in alone.items():
        for got, want in zip(together.each, result.each, strict=True):
            assert_close(got[index], want, 1e-13)
    for got, *want in zip(
        together.total, *(result.total for result in alone.values()), strict=True
    ):
        assert_close(got, np.sum(want, axis=0), 1e-13)


@pytest.mark.parametrize("batch", [(0,), (2, 0)])
@every_call
def test_an_empty_batch_has_empty_results_and_zero_sums(name, batch):
    call, arrays = arguments(name, batch)
    result, one = call(**arrays), call(**arguments(name)[1])
    for got, want in zip(result.each, one.each, strict=True):
        assert got.shape == (*batch, *want.shape)
    for got, want in zip(result.total, one.total, strict=True):
        np.testing.assert_array_equal(got, np.zeros_like(want))


@pytest.mark.parametrize("batch", [(3,), (2, 3)])
@every_call
def test_nan_stays_in_its_example(name, batch):
    call, arrays = arguments(name, batch)
    clean, ill = call(**arrays), tuple(length - 1 for length in batch)
    others = [index for index in np.ndindex(batch) if index != ill]
    for symbol in arrays.keys() - {"W", "labels"}:
        hurt = arrays[symbol].copy()
        hurt[ill].flat[0] = np.nan
        result = call(**{**arrays, symbol: hurt})
        for got, want in zip(result.each, clean.each, strict=True):
            for index in others:
                np.testing.assert_array_equal(got[index], want[index])
        # du = Σ_j W_ijᵀ dz_ij holds no u: there the NaN shows in dW alone.
        if result.each and (name, symbol) != ("predict_vjp", "u"):
            assert any(np.isnan(array[ill]).any() for array in result.each)
        assert all(np.isnan(array).any() for array in result.total)


@every_call_and_dv_dW
def test_inputs_may_be_read_only_and_are_left_unchanged(name):
    call, arrays = arguments(name, () if name in NO_BATCH else (2,))
    before = {symbol: np.copy(x) for symbol, x in arrays.items()}
    writeable = call(**arrays)
    for symbol, x in arrays.items():
        np.testing.assert_array_equal(x, before[symbol])
        x.setflags(write=False)
    for results, others in zip(writeable, call(**arrays), strict=True):
        for result, other in zip(results, others, strict=True):
            np.testing.assert_array_equal(result, other)
            assert not any(np.shares_memory(result, x) for x in arrays.values())


@pytest.mark.parametrize(
    "given, wanted",
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.complex64, np.complex64),
        (np.complex128, np.complex128),
        (np.int64, np.float64),
        (np.uint8, np.float64),
        (bool, np.float64),
    ],
)
@pytest.mark.parametrize("batch", [(), (2,), (0,)])
@every_call_and_dv_dW
def test_number_types(name, batch, given, wanted):
    call, arrays = arguments(name, () if name in NO_BATCH else batch)
    for symbol in arrays.keys() - {"labels"}:
        arrays[symbol] = (10 * abs(arrays[symbol])).astype(given)
    for results in call(**arrays):
        for result in results:
            assert result.dtype == wanted


@every_call_and_dv_dW
def test_float32_is_close_to_float64(name):
    call, arrays = arguments(name, () if name in NO_BATCH else (5,))
    narrow = {x: y if x == "labels" else y.astype(np.float32) for x, y in arrays.items()}
    for results, wide_results in zip(call(**narrow), call(**arrays), strict=True):
        for result, wide in zip(results, wide_results, strict=True):
            assert_close(result, wide, 2e-6)


@every_call_and_dv_dW
def test_lists_are_arrays(name):
    call, arrays = arguments(name, () if name in NO_BATCH else (2,))
    lists = {symbol: x.tolist() for symbol, x in arrays.items()}
    for results, wanted in zip(call(**lists), call(**arrays), strict=True):
        for result, want in zip(results, wanted, strict=True):
            np.testing.assert_array_equal(result, want)


@every_call_and_dv_dW
def test_memory_order_does_not_matter(name):
    call, arrays = arguments(name, () if name in NO_BATCH else (2,))
    turned = {symbol: np.asfortranarray(x) for symbol, x in arrays.items()}
    for results, wanted in zip(call(**turned), call(**arrays), strict=True):
        for result, want in zip(results, wanted, strict=True):
            assert_close(result, want, 1e-13)


@every_call_and_dv_dW
def test_a_complex_step_passes_through(name):
    """Through the VJPs too: no modulus, conjugate or real part stands in the way."""
    call, arrays = arguments(name, () if name in NO_BATCH else (2,))
    rng = np.random.default_rng(1)
    moves = {x: rng.normal(size=y.shape) for x, y in arrays.items() if x != "labels"}

    def moved(step):
        return call(**{x: y + step * moves[x] if x in moves else y for x, y in arrays.items()})

    h, tiny = 1e-5, 1e-30
    for results, ahead, behind in zip(moved(1j * tiny), moved(h), moved(-h), strict=True):
        for result, more, less in zip(results, ahead, behind, strict=True):
            assert_close(result.imag / tiny, (more - less) / (2 * h), 1e-8)
