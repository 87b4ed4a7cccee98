"""Convolution and its VJP: by hand, against loops, complex step, and an identity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import assert_close, complex_step

from capsedu.convolution import CHUNK, convolve, convolve_images_vjp, convolve_kernel_vjp


def problem(k, C, O, height, width, stride, batch, seed=0):
    rng = np.random.default_rng(seed)
    K, x = rng.normal(size=(k, k, C, O)), rng.normal(size=(*batch, height, width, C))
    P, Q = (1 + (side - k) // stride for side in (height, width))
    return K, x, rng.normal(size=(*batch, P, Q, O))


def convolve_vjp(K, x, dy, stride=1):
    return convolve_kernel_vjp(K, x, dy, stride), convolve_images_vjp(K, x, dy, stride)


def by_loops(K, x, stride):
    """One image: every pixel of y as the sum over its patch."""
    k = len(K)
    P, Q = (1 + (side - k) // stride for side in x.shape[:2])
    y = np.zeros((P, Q, K.shape[-1]), np.result_type(K, x))
    for p, q in np.ndindex(P, Q):
        for a, b in np.ndindex(k, k):
            for c in range(x.shape[2]):
                y[p, q] += K[a, b, c] * x[stride * p + a, stride * q + b, c]
    return y


def test_by_hand():
    x = np.arange(9.0).reshape(3, 3, 1)
    K = np.array([[1.0, 10.0], [100.0, 1000.0]])[:, :, None, None]
    assert convolve(K, x)[..., 0].tolist() == [[4310, 5421], [7643, 8754]]
    dK, dx = convolve_vjp(K, x, np.array([[1.0, 0.0], [0.0, 2.0]])[..., None])
    assert dK[..., 0, 0].tolist() == [[0 + 2 * 4, 1 + 2 * 5], [3 + 2 * 7, 4 + 2 * 8]]
    assert dx[..., 0].tolist() == [[1, 10, 0], [100, 1002, 20], [0, 200, 2000]]


SMALL, SIDE = st.integers(1, 3), st.integers(3, 7)
SIZES = st.tuples(SMALL, SMALL, SMALL, SIDE, SIDE, SMALL)


@given(sizes=SIZES, batch=st.sampled_from([(), (1,), (3,), (2, 2)]))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_it_equals_the_loops_and_the_vjp_equals_the_complex_step(sizes, batch):
    K, x, dy = problem(*sizes, batch)
    stride = sizes[-1]
    images = x.reshape(-1, *x.shape[-3:])
    want = np.stack([by_loops(K, image, stride) for image in images])
    assert_close(convolve(K, x, stride), want.reshape(dy.shape), 1e-13)
    dK, dx = convolve_vjp(K, x, dy, stride)
    assert_close(dK, complex_step(lambda K: convolve(K, x, stride), K, dy), 1e-13)
    assert_close(dx, complex_step(lambda x: convolve(K, x, stride), x, dy), 1e-13)


@pytest.mark.parametrize("wrong", ["sign", "a tenth of a percent", "rows for columns"])
def test_a_wrong_gradient_is_caught(wrong):
    K, x, dy = problem(2, 2, 3, 5, 5, 1, (2,))
    dK, _ = convolve_vjp(K, x, dy)
    mistakes = {
        "sign": -dK,
        "a tenth of a percent": 1.001 * dK,
        "rows for columns": dK.swapaxes(0, 1),
    }
    with pytest.raises(AssertionError):
        want = complex_step(lambda K: convolve(K, x), K, dy)
        assert_close(mistakes[wrong], want, 1e-13)


@pytest.mark.parametrize("images", [0, CHUNK - 1, CHUNK + 1])
def test_images_do_not_feel_in_which_chunk_they_are(images):
    K, x, dy = problem(2, 2, 3, 5, 6, 2, (images,))
    y = convolve(K, x, 2)
    dK, dx = convolve_vjp(K, x, dy, 2)
    each = [convolve_vjp(K, one, d, 2) for one, d in zip(x, dy, strict=True)]
    assert y.shape == dy.shape and dx.shape == x.shape
    assert_close(dK, sum((one for one, _ in each), np.zeros(K.shape)), 1e-13)
    for image, (_, want) in zip(dx, each, strict=True):
        assert_close(image, want, 1e-13)


def test_the_precision_is_that_of_the_input_and_nothing_is_written_to():
    K, x, dy = (array.astype(np.float32) for array in problem(2, 2, 3, 5, 5, 1, (2,)))
    before = [array.copy() for array in (K, x, dy)]
    for result in (convolve(K, x), *convolve_vjp(K, x, dy)):
        assert result.dtype == np.float32
    for array, old in zip((K, x, dy), before, strict=True):
        assert np.array_equal(array, old)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda K, x, dy: convolve(K[:, :1], x), r"K: got shape \(2, 1, 2, 3\)"),
        (lambda K, x, dy: convolve(K, x[..., :1]), r"x: got shape \(2, 5, 5, 1\)"),
        (lambda K, x, dy: convolve(K, x[:, :1]), "x: .* want a height and width of at least 2"),
        (lambda K, x, dy: convolve(K, x, 0), "stride: got 0"),
        (lambda K, x, dy: convolve_vjp(K, x, dy[:, 1:]), r"dy: got shape \(2, 3, 4, 3\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(*problem(2, 2, 3, 5, 5, 1, (2,)))
