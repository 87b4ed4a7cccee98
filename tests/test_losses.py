"""The margin loss and its VJP: by hand, against loops, complex step, autograd; the corner."""

import autograd.numpy as anp
import numpy as np
import pytest
from autograd import elementwise_grad
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_close, complex_step, loop_margin_loss
from shapes import seeded

from capsedu import margin_loss, margin_loss_vjp

BATCHES = [(), (1,), (4,), (2, 3), (0,), (2, 0)]
MARGINS = [{}, {"m_plus": 0.7, "m_minus": 0.3, "down_weight": 0.25}]


def outputs(batch, J=3, m=4, seed=0):
    """Lengths on both sides of both margins, and labels."""
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(*batch, J, m))
    v *= rng.uniform(0.02, 0.99, size=(*batch, J, 1)) / np.linalg.norm(v, axis=-1, keepdims=True)
    return v, rng.integers(J, size=batch)


def test_by_hand():
    v = np.array([[0.3, 0.4], [0.0, 0.6], [0.06, 0.08]])  # lengths 0.5, 0.6, 0.1
    # label 0: (0.9 − 0.5)² + ½ (0.6 − 0.1)² + 0
    assert margin_loss(v, 0) == pytest.approx(0.16 + 0.125, rel=1e-14)
    # label 1: (0.9 − 0.6)² + ½ (0.5 − 0.1)² + 0
    assert margin_loss(v, 1) == pytest.approx(0.09 + 0.08, rel=1e-14)
    # label 2: (0.9 − 0.1)² + ½ (0.4² + 0.5²)
    assert margin_loss(v, 2) == pytest.approx(0.64 + 0.205, rel=1e-14)
    assert margin_loss([v, v, v], [0, 1, 2]) == pytest.approx(1.3 / 3, rel=1e-14)
    # other margins, label 0: (0.7 − 0.5)² + 2 ((0.6 − 0.3)² + 0)
    other = margin_loss(v, 0, m_plus=0.7, m_minus=0.3, down_weight=2)
    assert other == pytest.approx(0.04 + 0.18, rel=1e-14)


def test_vjp_by_hand():
    v = np.array([[0.3, 0.4], [0.0, 0.6], [0.03, 0.04]])
    want = [[-2 * 0.4 * 0.6, -2 * 0.4 * 0.8], [0, 0.5], [0, 0]]
    np.testing.assert_allclose(margin_loss_vjp(v, 0), want, rtol=1e-14)
    np.testing.assert_allclose(margin_loss_vjp([v, v], [0, 0]), np.array([want, want]) / 2, 1e-14)


def test_a_length_beyond_its_margin_costs_nothing():
    v = np.array([[0.0, 0.95], [0.05, 0.0]])
    assert margin_loss(v, 0) == 0
    assert not margin_loss_vjp(v, 0).any()
    assert margin_loss(v, 1) > 1


@pytest.mark.parametrize("margins", MARGINS)
@pytest.mark.parametrize("batch", BATCHES)
def test_against_loops(batch, margins):
    v, labels = outputs(batch)
    loss = margin_loss(v, labels, **margins)
    assert np.ndim(loss) == 0
    assert loss == pytest.approx(loop_margin_loss(v, labels, **margins), rel=1e-13)


@seeded
@given(
    J=st.integers(1, 4),
    m=st.integers(1, 4),
    batch=st.sampled_from(BATCHES),
    margins=st.sampled_from(MARGINS),
    seed=st.integers(0, 2**32 - 1),
)
def test_vjp_against_complex_step(J, m, batch, margins, seed):
    v, labels = outputs(batch, J, m, seed)
    dv = margin_loss_vjp(v, labels, **margins)
    want = complex_step(lambda moved: margin_loss(moved, labels, **margins), v, 1.0)
    assert_close(dv, want, 1e-12)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_vjp_against_autograd(batch):
    v, labels = outputs(batch)
    T = np.eye(3)[labels]

    def loss(v):
        length = anp.sqrt(anp.sum(v * v, axis=-1))
        right = T * anp.maximum(0, 0.9 - length) ** 2
        wrong = 0.5 * (1 - T) * anp.maximum(0, length - 0.1) ** 2
        return anp.sum(right + wrong) / max(1, labels.size)

    assert margin_loss(v, labels) == pytest.approx(loss(v), rel=1e-14)
    assert_close(margin_loss_vjp(v, labels), elementwise_grad(loss)(v), 1e-13)


@pytest.mark.parametrize("batch", [(0,), (2, 0)])
def test_an_empty_batch_has_no_loss_and_no_gradient(batch):
    v, labels = outputs(batch)
    assert margin_loss(v, labels) == 0
    assert margin_loss_vjp(v, labels).shape == v.shape
    assert margin_loss(np.zeros((0, 3, 4)), []) == 0


@pytest.mark.parametrize("label", [0, 1])
def test_at_the_corner_the_derivative_is_zero(label):
    v = np.array([[0.0, 0.0], [0.3, 0.4]])
    assert not margin_loss_vjp(v, label)[0].any()
    assert margin_loss_vjp(v, label)[1].any()
    # There the loss has no derivative: a step to either side raises or lowers it alike.
    ahead, behind = (margin_loss([[h, 0], v[1]], 0) for h in (1e-3, -1e-3))
    assert ahead == behind < margin_loss(v, 0)


def test_huge_and_tiny_lengths_do_not_warn():
    v = np.array([[1e-300, 2e-300], [3e-170, 0.0], [0.0, 0.0]])
    with np.errstate(all="raise", under="ignore"):
        assert margin_loss(v, 0) == pytest.approx(0.81, rel=1e-15)
        direction = margin_loss_vjp(v, 0)[0] / (-2 * 0.9)
        assert margin_loss([[3e150, 4e150]], 0) == 0
        assert not margin_loss_vjp([[3e150, 4e150]], 0).any()
    np.testing.assert_allclose(direction, np.array([1, 2]) / 5**0.5, rtol=1e-14)
