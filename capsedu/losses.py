"""The margin loss: the right capsule should be long, and the others short."""

import numpy as np

from capsedu.arguments import as_array, as_number, as_numbers, check_shape
from capsedu.squashing import length_and_direction


def _examples(v: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
    """T_k, 1 for the capsule of the label, else 0; ‖v_k‖; v_k/‖v_k‖; the size of the batch.

    Shapes (…, J), (…, J), (…, J, m) and (); an empty batch counts as one example, so that its mean
    is 0.

    Raises
    ------
    ValueError
        If a shape does not fit, or a label is no integer in 0 … J−1.
    """
    v = as_numbers("v", v)
    check_shape("v", v, J=None, m=None)
    J = v.shape[-2]
    labels = as_array("labels", labels)
    if labels.dtype.kind not in "iu" and labels.size:
        raise ValueError(f"labels: got dtype {labels.dtype}, want integers from 0 to {J - 1}")
    if labels.shape != v.shape[:-2]:
        raise ValueError(
            f"labels: got shape {labels.shape}, want {v.shape[:-2]}, the batch axes of v {v.shape}"
        )
    if labels.size and (labels.min() < 0 or labels.max() >= J):
        raise ValueError(
            f"labels: got values from {labels.min()} to {labels.max()}, "
            f"want integers from 0 to {J - 1}, one of the {J} output capsules"
        )
    length, direction, _ = length_and_direction(v)
    size = v.dtype.type(max(1, labels.size))
    return labels[..., None] == np.arange(J), length[..., 0], direction, size


def margin_loss(
    v: np.ndarray,
    labels: np.ndarray,
    m_plus: float = 0.9,
    m_minus: float = 0.1,
    down_weight: float = 0.5,
) -> np.floating | np.complexfloating:
    """L = mean over the batch of Σ_k T_k max(0, m⁺ − ‖v_k‖)² + λ (1 − T_k) max(0, ‖v_k‖ − m⁻)².

    Parameters
    ----------
    v : array_like, shape (…, J, m)
        Outputs; ‖v_k‖ says how surely class k is there.
    labels : array_like of int, shape (…)
        The class of each example, 0 … J−1: T_k = 1 for k = label, else 0.
    m_plus, m_minus : float
        m⁺ and m⁻: a length above m⁺ for the right class, or below m⁻ for another, costs nothing.
    down_weight : float
        λ, which keeps the many absent classes from shrinking every output at the start.

    Returns
    -------
    L : scalar
        0 for an empty batch.

    Raises
    ------
    ValueError
        If a shape does not fit, a label is no integer in 0 … J−1, or a margin no finite number.

    Notes
    -----
    Equation `margin-loss`: Sabour, Frosst & Hinton 2017, eq. 4.
    """
    T, length, _, size = _examples(v, labels)
    m_plus, m_minus = as_number("m_plus", m_plus), as_number("m_minus", m_minus)
    down_weight = as_number("down_weight", down_weight)
    L = np.where(T, _hinge(m_plus - length) ** 2, down_weight * _hinge(length - m_minus) ** 2)
    return L.sum() / size


def margin_loss_vjp(
    v: np.ndarray,
    labels: np.ndarray,
    m_plus: float = 0.9,
    m_minus: float = 0.1,
    down_weight: float = 0.5,
) -> np.ndarray:
    """dv_k = (−2 T_k max(0, m⁺ − ‖v_k‖) + 2 λ (1 − T_k) max(0, ‖v_k‖ − m⁻)) v_k/‖v_k‖ / batch.

    Parameters
    ----------
    v : array_like, shape (…, J, m)
        Outputs.
    labels : array_like of int, shape (…)
        The class of each example, 0 … J−1.
    m_plus, m_minus, down_weight : float
        As in `margin_loss`.

    Returns
    -------
    dv : ndarray, shape (…, J, m)
        ∂L/∂v. At ‖v_k‖ = 0, where the loss has a corner, it is taken as 0.

    Raises
    ------
    ValueError
        If a shape does not fit, a label is no integer in 0 … J−1, or a margin no finite number.

    Notes
    -----
    Equation `margin-loss-vjp`: notebook 04.
    """
    T, length, direction, size = _examples(v, labels)
    m_plus, m_minus = as_number("m_plus", m_plus), as_number("m_minus", m_minus)
    down_weight = as_number("down_weight", down_weight)
    dL = np.where(T, -2 * _hinge(m_plus - length), 2 * down_weight * _hinge(length - m_minus))
    return dL[..., None] * direction / size


def _hinge(x: np.ndarray) -> np.ndarray:
    """max(0, x), by the real part, so that a complex step passes; NaN stays NaN."""
    return np.where(x.real < 0, 0, x)
