"""Squash: a vector keeps its direction, and its length is brought below one."""

import numpy as np

from capsedu.arguments import as_numbers, check_shape


def length_and_direction(s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """t = ‖s‖,  e = s/‖s‖ (0 where s = 0),  x = min(t, 1/t), all without overflow.

    Parameters
    ----------
    s : ndarray, shape (…, m)

    Returns
    -------
    t, e, x : ndarray, shapes (…, 1), (…, m), (…, 1)
        The squares of e are summed as they are, without the complex modulus, so that a complex
        step passes through.
    """
    largest = np.maximum(abs(s.real), abs(s.imag)).max(axis=-1, keepdims=True)
    # A power of two divides without rounding, and brings the largest entry into [1, 2).
    scale = np.ldexp(np.ones_like(largest), np.frexp(largest)[1] - 1)
    scaled = s / scale
    norm = np.sqrt((scaled * scaled).sum(axis=-1, keepdims=True))
    with np.errstate(over="ignore"):  # a length beyond the largest float: x, not t, is used then
        t = scale * norm
    e = scaled / np.where(norm == 0, 1, norm)
    short = t.real <= 1
    x = np.where(short, t, 1 / np.where(short, 1, scale) / np.where(short, 1, norm))
    return t, e, x


def gains(t: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tangential gain ‖s‖/(1+‖s‖²) and radial gain 2‖s‖/(1+‖s‖²)², the eigenvalues of J.

    With x = min(t, 1/t): x/(1+x²), and 2x/(1+x²)² for t ≤ 1 but 2x³/(1+x²)² beyond.
    """
    tangential = x / (1 + x * x)
    radial = 2 * tangential / (1 + x * x) * np.where(t.real > 1, x * x, 1)
    return tangential, radial


def squash(s: np.ndarray) -> np.ndarray:
    """v = ‖s‖ s / (1 + ‖s‖²).

    Parameters
    ----------
    s : array_like, shape (…, m)
        Total input.

    Returns
    -------
    v : ndarray, shape (…, m)
        Output, of the direction of s and of length ‖s‖²/(1+‖s‖²), in [0, 1).

    Raises
    ------
    ValueError
        If `s` has no axis or an empty last one, or holds no numbers.

    Notes
    -----
    Equation `squash`: Sabour, Frosst & Hinton 2017, eq. 1. No ε: at s = 0 the formula gives 0.
    """
    s = as_numbers("s", s)
    check_shape("s", s, m=None)
    t, e, x = length_and_direction(s)
    return np.where(t.real > 1, 1, x * x) / (1 + x * x) * e


def squash_jacobian(s: np.ndarray) -> np.ndarray:
    """J = g (I − e eᵀ) + ρ e eᵀ,  e = s/‖s‖,  g = ‖s‖/(1+‖s‖²),  ρ = 2‖s‖/(1+‖s‖²)².

    J[a, l] = ∂v[a]/∂s[l]: the gain g across s (at most 1/2, at ‖s‖ = 1), ρ along s (at most 3√3/8,
    at ‖s‖ = 1/√3). Symmetric, and 0 at s = 0.

    Parameters
    ----------
    s : array_like, shape (…, m)
        Total input.

    Returns
    -------
    J : ndarray, shape (…, m, m)

    Raises
    ------
    ValueError
        If `s` has no axis or an empty last one, or holds no numbers.

    Notes
    -----
    Equation `squash-jacobian`: derived in notebook 01 from Sabour, Frosst & Hinton 2017, eq. 1;
    the same as g I + h s sᵀ, whose h diverges at s = 0.
    """
    s = as_numbers("s", s)
    check_shape("s", s, m=None)
    t, e, x = length_and_direction(s)
    g, rho = (gain[..., None] for gain in gains(t, x))
    along = e[..., :, None] * e[..., None, :]
    across = np.eye(s.shape[-1], dtype=s.dtype) - along
    return g * across + rho * along


def squash_vjp(s: np.ndarray, dv: np.ndarray) -> np.ndarray:
    """ds = J dv = g (dv − (e·dv) e) + ρ (e·dv) e,  with e, g and ρ of `squash_jacobian`.

    Parameters
    ----------
    s : array_like, shape (…, m)
        Total input.
    dv : array_like, shape (…, m)
        ∂L/∂v.

    Returns
    -------
    ds : ndarray, shape (…, m)
        ∂L/∂s. J is symmetric, so this is also the change of v when s changes by `dv`.

    Raises
    ------
    ValueError
        If the shapes differ, `s` has no axis or an empty last one, or one holds no numbers.

    Notes
    -----
    Equation `squash-vjp`: notebook 01.
    """
    s, dv = as_numbers("s", s), as_numbers("dv", dv)
    check_shape("s", s, m=None)
    check_shape("dv", dv, batch=s.shape[:-1], m=s.shape[-1])
    t, e, x = length_and_direction(s)
    g, rho = gains(t, x)
    along = (e * dv).sum(axis=-1, keepdims=True) * e
    return g * (dv - along) + rho * along
