"""Prediction vectors: what each input capsule expects each output capsule to be."""

import numpy as np

from capsedu.arguments import as_numbers, check_shape


def check_layer(W: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return W (I, J, m, n) and u (…, I, n) as numbers that fit each other, or raise ValueError."""
    W, u = as_numbers("W", W), as_numbers("u", u)
    check_shape("W", W, batch=(), I=None, J=None, m=None, n=None)
    check_shape("u", u, I=W.shape[0], n=W.shape[3])
    return W, u


def predict(W: np.ndarray, u: np.ndarray) -> np.ndarray:
    """z_ij = W_ij u_i.

    Parameters
    ----------
    W : array_like, shape (I, J, m, n)
        Transformation matrices.
    u : array_like, shape (…, I, n)
        Activities of the input capsules.

    Returns
    -------
    z : ndarray, shape (…, I, J, m)
        Prediction vectors, û_{j|i} in the paper.

    Raises
    ------
    ValueError
        If a shape does not fit, or an argument holds no numbers.

    Notes
    -----
    Equation `prediction`: Sabour, Frosst & Hinton 2017, eq. 2 (right).
    """
    W, u = check_layer(W, u)
    return np.einsum("ijmn,...in->...ijm", W, u, optimize=True)


def predict_vjp(W: np.ndarray, u: np.ndarray, dz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """dW_ij = Σ_batch dz_ij u_iᵀ,  du_i = Σ_j W_ijᵀ dz_ij.

    Parameters
    ----------
    W : array_like, shape (I, J, m, n)
        Transformation matrices.
    u : array_like, shape (…, I, n)
        Activities of the input capsules.
    dz : array_like, shape (…, I, J, m)
        ∂L/∂z.

    Returns
    -------
    dW : ndarray, shape (I, J, m, n)
        ∂L/∂W: one W serves every example, so the batch is summed over.
    du : ndarray, shape (…, I, n)
        ∂L/∂u: one u_i feeds every output capsule, so j is summed over.

    Raises
    ------
    ValueError
        If a shape does not fit, or an argument holds no numbers.

    Notes
    -----
    Equation `prediction-vjp`: notebooks 02 and 04.
    """
    W, u = check_layer(W, u)
    dz = as_numbers("dz", dz)
    I, J, m, n = W.shape
    check_shape("dz", dz, batch=u.shape[:-2], I=I, J=J, m=m)
    dW = np.einsum("bijm,bin->ijmn", dz.reshape(-1, I, J, m), u.reshape(-1, I, n), optimize=True)
    du = np.einsum("ijmn,...ijm->...in", W, dz, optimize=True)
    return dW, du
