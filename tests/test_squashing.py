"""squash, its Jacobian and its VJP: accuracy from 0 to 1e300, and what must hold of any squash."""

import functools

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import MpSquash, assert_close, complex_step, complex_step_jacobian, mp_norm
from shapes import seeded

from capsedu import squash, squash_jacobian, squash_vjp

# 1e-15 and 2e-15 are 4.5 and 9 spacings of float64; float32 is held to as many of its own.
SQUASH_SPACINGS = 1e-15 / np.finfo(np.float64).eps
VJP_SPACINGS = 2e-15 / np.finfo(np.float64).eps

NEAR_ONE = [1 - 1e-16, 1.0, 1 + 3e-16, 1 - 1e-7, 1 + 1e-7, 0.999, 1.001]
ORDINARY = [*NEAR_ONE, 1e-3, 0.1, 1 / 3, 3**-0.5, 0.9, 1.5, 2.0, 10.0, 1e3]
# To the limits of the type, and where squares or cubes of a length leave it.
SHORT = [0.0, 5e-324, 1e-310, 1e-300, 1e-162, 1e-154, 1e-100, 1e-17, 1e-8]
LONG = [1e8, 1e17, 1e100, 1e107, 1e154, 1e160, 1e200, 1e300]
SHORT32 = [0.0, 1e-45, 1e-40, 1e-38, 1e-23, 1e-19, 1e-10, 1e-5]
LONG32 = [1e5, 1e10, 1e13, 1e19, 1e23, 1e30, 1e38, 3.4e38]
LENGTHS = {
    np.float64: [*SHORT, *ORDINARY, *LONG],
    np.float32: [*SHORT32, *ORDINARY, *LONG32],
}
PRECISIONS = [np.float64, np.float32]
DIMENSIONS = [1, 2, 3, 8, 16]


@functools.cache
def exact_squashes(precision, m):
    """Vectors of every length in m dimensions (any direction, an axis, equal and wide entries)."""
    rng = np.random.default_rng(m)
    wide = rng.normal(size=m) * 10.0 ** rng.integers(-12, 1, size=m)
    directions = [rng.normal(size=m), np.eye(m)[m // 2], -np.ones(m), wide]
    unit = [direction / np.linalg.norm(direction) for direction in directions]
    vectors = [(length * e).astype(precision) for length in LENGTHS[precision] for e in unit]
    with mpmath.workdps(50):
        return [(s, MpSquash(s)) for s in vectors]


def smallest(precision):
    """The distance between the numbers next to zero: an error that no computation can avoid."""
    return float(np.finfo(precision).smallest_subnormal)


@pytest.fixture(autouse=True)
def fifty_digits_and_no_floating_point_warning_but_underflow():
    with mpmath.workdps(50), np.errstate(all="raise", under="ignore"):
        yield


@pytest.mark.parametrize("m", [*DIMENSIONS, 40])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_squash_is_accurate_entry_by_entry(precision, m):
    tolerance = SQUASH_SPACINGS * float(np.finfo(precision).eps)
    for s, exact in exact_squashes(precision, m):
        v = squash(s)
        assert v.dtype == precision
        for got, want in zip(v, exact.v, strict=True):
            assert abs(float(got) - want) <= tolerance * abs(want) + 2 * smallest(precision), s


@pytest.mark.parametrize("m", DIMENSIONS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_jacobian_is_accurate_in_norm(precision, m):
    tolerance = VJP_SPACINGS * float(np.finfo(precision).eps)
    for s, exact in exact_squashes(precision, m):
        J = squash_jacobian(s)
        assert J.dtype == precision
        # Scaled before it becomes an ordinary matrix, so that no error is lost to underflow.
        unit = max(exact.norm, mpmath.mpf(smallest(precision)))
        rows = zip(J.tolist(), exact.jacobian(), strict=True)
        error = [
            [float((got - want) / unit) for got, want in zip(*row, strict=True)] for row in rows
        ]
        assert np.linalg.norm(error, 2) <= tolerance + 2 * m * smallest(precision) / unit, s


@pytest.mark.parametrize("m", [*DIMENSIONS, 40])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_vjp_is_accurate_in_norm(precision, m):
    tolerance = VJP_SPACINGS * float(np.finfo(precision).eps)
    sizes = np.array([1.0, 1.0, 1e-15, 1e15])
    dvs = np.random.default_rng(m).normal(size=(4, m)) * sizes[:, None]
    for s, exact in exact_squashes(precision, m):
        for dv in dvs.astype(precision):
            ds = squash_vjp(s, dv)
            assert ds.dtype == precision
            size = mp_norm([mpmath.mpf(entry) for entry in dv.tolist()])
            pairs = zip(ds.tolist(), exact.vjp(dv), strict=True)
            error = mp_norm([got - want for got, want in pairs])
            # A gain near the smallest number has lost digits before it meets dv.
            lost = 2 * m * smallest(precision) * max(1, size)
            assert error <= tolerance * exact.norm * size + lost, (s, dv)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_in_one_dimension_the_derivative_is_within_a_few_ulp_of_itself(precision):
    few_ulp = 5 * float(np.finfo(precision).eps)
    for s, exact in exact_squashes(precision, 1):
        allowed = few_ulp * exact.along + 2 * smallest(precision)
        assert abs(float(squash_vjp(s, np.ones(1, precision))[0]) - exact.along) <= allowed, s
        assert abs(float(squash_jacobian(s)[0, 0]) - exact.along) <= allowed, s


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("m", [1, 2, 16])
def test_the_largest_floats_neither_overflow_nor_warn(precision, m):
    s = np.full(m, np.finfo(precision).max)  # for m > 1 its length is beyond the largest float
    np.testing.assert_allclose(squash(s), np.full(m, m**-0.5), rtol=5 * np.finfo(precision).eps)
    gain = 1.001 / float(np.finfo(precision).max) / m**0.5
    assert abs(squash_jacobian(s)).max() <= gain
    assert abs(squash_vjp(s, np.ones(m, precision))).max() <= gain


def test_three_four_by_hand():
    s = np.array([3.0, 4.0])
    np.testing.assert_allclose(squash(s), np.array([15, 20]) / 26, rtol=1e-15)
    along, across = np.array([3, 4]) / 5, np.array([-4, 3]) / 5
    np.testing.assert_allclose(squash_vjp(s, along), 10 / 676 * along, rtol=1e-14)
    np.testing.assert_allclose(squash_vjp(s, across), 5 / 26 * across, rtol=1e-14)
    assert pytest.approx(13) == (5 / 26) / (10 / 676)


@pytest.mark.parametrize("m", [1, 2, 16])
def test_at_zero_everything_is_zero(m):
    zero = np.zeros((2, m))
    assert not squash(zero).any()
    assert not squash_jacobian(zero).any()
    assert not squash_vjp(zero, np.ones((2, m))).any()


def test_the_gains_have_their_largest_values_where_they_should():
    at_one, at_a_third = np.array([0.6, 0.8]), np.array([0.6, 0.8]) / 3**0.5
    np.testing.assert_allclose(np.linalg.eigvalsh(squash_jacobian(at_one)), [0.5, 0.5], rtol=1e-14)
    largest = np.linalg.eigvalsh(squash_jacobian(at_a_third))[-1]
    assert largest == pytest.approx(3 * 3**0.5 / 8, rel=1e-14)
    for t in np.geomspace(1e-3, 1e3, 101):
        assert np.linalg.eigvalsh(squash_jacobian(t * at_one))[-1] <= largest * (1 + 1e-15)


@seeded
@given(
    m=st.integers(1, 6),
    batch=st.sampled_from([(), (1,), (3,), (2, 3), (0,)]),
    power=st.integers(-8, 1),  # on a longer vector what the complex step returns is its rounding
    seed=st.integers(0, 2**32 - 1),
)
def test_vjp_and_jacobian_against_complex_step(m, batch, power, seed):
    rng = np.random.default_rng(seed)
    s = rng.normal(size=(*batch, m)) * 10.0**power
    dv = rng.normal(size=(*batch, m))
    J, ds = squash_jacobian(s), squash_vjp(s, dv)
    assert J.shape == (*batch, m, m)
    assert ds.shape == (*batch, m)
    for example in np.ndindex(batch):
        want = complex_step_jacobian(squash, s[example], step=1e-30 * 10.0**power)
        assert_close(J[example], want, 1e-12)
        error = np.linalg.norm(ds[example] - dv[example] @ want)
        assert error <= 1e-12 * np.linalg.norm(want, 2) * np.linalg.norm(dv[example])


@pytest.mark.parametrize("m", [1, 3])
def test_complex_step_passes_through_zero(m):
    assert not complex_step(squash, np.zeros(m), np.ones(m)).any()


@pytest.mark.parametrize("power", [-200, -5, 0, 5, 20, 300])
def test_squash_keeps_direction_is_odd_and_shorter_than_one(power):
    s = np.random.default_rng(0).normal(size=(50, 4)) * 10.0**power
    v = squash(s)
    assert np.linalg.norm(v, axis=-1).max() <= 1 + 4 * np.finfo(float).eps
    np.testing.assert_array_equal(squash(-s), -v)
    if power > -100:
        cosine = np.sum(s / abs(s).max() * v, -1) / np.linalg.norm(s / abs(s).max(), axis=-1)
        np.testing.assert_allclose(cosine, np.linalg.norm(v, axis=-1), rtol=1e-14)
