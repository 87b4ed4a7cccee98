"""Routing by agreement, and its two vector-Jacobian products: couplings frozen, or unrolled."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from capsedu.arguments import as_count, as_numbers, check_rule, check_shape
from capsedu.squashing import squash, squash_vjp


def softmax(b: np.ndarray) -> np.ndarray:
    """c_ij = exp(b_ij) / Σ_l exp(b_il): over the last axis, the output capsules j.

    Parameters
    ----------
    b : array_like, shape (…, J)
        Routing logits.

    Returns
    -------
    c : ndarray, shape (…, J)
        Coupling coefficients, in [0, 1], with Σ_j c_ij = 1.

    Raises
    ------
    ValueError
        If `b` has no axis or an empty last one, or holds no numbers.

    Notes
    -----
    Equation `coupling`: Sabour, Frosst & Hinton 2017, eq. 3.
    """
    b = as_numbers("b", b)
    check_shape("b", b, J=None)
    # The shift cancels, and keeps exp from overflowing; real, so that a complex step passes.
    exp_b = np.exp(b - b.real.max(axis=-1, keepdims=True))
    return exp_b / exp_b.sum(axis=-1, keepdims=True)


def softmax_vjp(c: np.ndarray, dc: np.ndarray) -> np.ndarray:
    """db_ij = c_ij (dc_ij − Σ_l c_il dc_il),  for c = softmax(b).

    Parameters
    ----------
    c : array_like, shape (…, J)
        Coupling coefficients: what softmax returned, not the logits that it was given.
    dc : array_like, shape (…, J)
        ∂L/∂c.

    Returns
    -------
    db : ndarray, shape (…, J)
        ∂L/∂b; sums to 0 over j, as a shift of all the logits changes nothing.

    Raises
    ------
    ValueError
        If the shapes differ, `c` has no axis or an empty last one, or one holds no numbers.

    Notes
    -----
    Equation `coupling-vjp`: notebook 06.
    """
    c, dc = as_numbers("c", c), as_numbers("dc", dc)
    check_shape("c", c, J=None)
    check_shape("dc", dc, batch=c.shape[:-1], J=c.shape[-1])
    return c * (dc - (c * dc).sum(axis=-1, keepdims=True))


def entropy(c: np.ndarray) -> np.ndarray:
    """H_i = −Σ_j c_ij log c_ij / log J: 1 where input i is undecided, 0 where it has chosen.

    Parameters
    ----------
    c : array_like, shape (…, J)
        Coupling coefficients.

    Returns
    -------
    H : ndarray, shape (…)
        In [0, 1]; 0 for J = 1, where there is nothing to choose.

    Raises
    ------
    ValueError
        If `c` has no axis or an empty last one, or holds no numbers.
    """
    c = as_numbers("c", c)
    check_shape("c", c, J=None)
    log_c = np.log(np.where(c > 0, c, 1))  # c log c → 0 as c → 0
    return 0.0 - (c * log_c).sum(axis=-1) / math.log(max(2, c.shape[-1]))  # and not −0


class Iteration(NamedTuple):
    """What one routing iteration computed: b gave c, c gave s, s gave v."""

    b: np.ndarray
    c: np.ndarray
    s: np.ndarray
    v: np.ndarray


@dataclass(frozen=True, eq=False)
class Routing:
    """The result of routing: every iteration's b, c, s, v; those of the last under short names.

    Attributes
    ----------
    steps : tuple of Iteration
        Each with b, c of shape (…, I, J) and s, v of shape (…, J, m).
    z : ndarray of shape (…, I, J, m), or None
        Prediction vectors, held where `route` was called; a `capsule_layer` result holds none.
    """

    steps: tuple[Iteration, ...]
    z: np.ndarray | None = None

    @property
    def b(self) -> np.ndarray:
        """Routing logits that gave the last couplings, shape (…, I, J)."""
        return self.steps[-1].b

    @property
    def c(self) -> np.ndarray:
        """Coupling coefficients of the last iteration, shape (…, I, J)."""
        return self.steps[-1].c

    @property
    def s(self) -> np.ndarray:
        """Total input of the last iteration, shape (…, J, m)."""
        return self.steps[-1].s

    @property
    def v(self) -> np.ndarray:
        """Output, shape (…, J, m)."""
        return self.steps[-1].v


def check_routing(routing: object) -> None:
    """Raise ValueError unless `routing` is a Routing of at least one iteration."""
    if not isinstance(routing, Routing) or not routing.steps:
        raise ValueError(
            f"routing: got {type(routing).__name__}, want the Routing of the forward pass"
        )


def route(z: np.ndarray, iterations: int = 3) -> Routing:
    """b = 0;  r times: c = softmax(b), s_j = Σ_i c_ij z_ij, v_j = squash(s_j), b_ij += z_ij·v_j.

    The logits are not updated after the last iteration: v comes from r softmaxes, and r = 1 means
    uniform couplings, no routing.

    Parameters
    ----------
    z : array_like, shape (…, I, J, m)
        Prediction vectors.
    iterations : int
        r, at least 1.

    Returns
    -------
    Routing
        With `.z` held.

    Raises
    ------
    ValueError
        If `z` has fewer than three axes or no capsules, or `iterations` is less than 1.

    Notes
    -----
    Equations `total-input`, `agreement`, `routing`: Sabour, Frosst & Hinton 2017, procedure 1.
    """
    z = as_numbers("z", z)
    check_shape("z", z, I=None, J=None, m=None)
    iterations = as_count("iterations", iterations)
    b = np.zeros(z.shape[:-1], z.dtype)
    steps: list[Iteration] = []
    for _ in range(iterations):
        if steps:
            b = b + np.einsum("...ijm,...jm->...ij", z, steps[-1].v, optimize=True)
        c = softmax(b)
        s = np.einsum("...ij,...ijm->...jm", c, z, optimize=True)
        v = squash(s)
        steps.append(Iteration(b, c, s, v))
    return Routing(tuple(steps), z)


def route_vjp(routing: Routing, dv: np.ndarray, rule: str = "unrolled") -> np.ndarray:
    """Frozen: dz_ij = c_ij J(s_j) dv_j. Unrolled: the sum over the iterations, last to first.

    With db = 0 after the last iteration, for k = r … 1::

        dvᵏ_j  = dv_j if k = r, else Σ_i db_ij z_ij
        dsᵏ_j  = J(sᵏ_j) dvᵏ_j
        dz_ij += cᵏ_ij dsᵏ_j                              the frozen rule, and k = 1, stop here
        dc_ij  = z_ij·dsᵏ_j
        db_ij += cᵏ_ij (dc_ij − Σ_l cᵏ_il dc_il)
        dz_ij += db_ij vᵏ⁻¹_j

    Parameters
    ----------
    routing : Routing
        What `route` returned.
    dv : array_like, shape (…, J, m)
        ∂L/∂v of the last iteration.
    rule : "unrolled" or "frozen"
        Whether the couplings are functions of z, as the forward pass computes them, or stored
        constants.

    Returns
    -------
    dz : ndarray, shape (…, I, J, m)
        ∂L/∂z.

    Raises
    ------
    ValueError
        If `dv` does not fit, `rule` is unknown, or `routing` is no Routing or holds no z.

    Notes
    -----
    Equations `frozen-vjp` (notebook 04), and `unrolled-vjp` with its parts `total-input-vjp` and
    `agreement-vjp` (notebook 06).
    """
    check_routing(routing)
    z = routing.z
    if z is None:
        raise ValueError(
            "routing: holds no z, want the result of route(z): "
            "that of capsule_layer goes to capsule_layer_vjp"
        )
    dv = as_numbers("dv", dv)
    check_shape("dv", dv, batch=z.shape[:-3], J=z.shape[-2], m=z.shape[-1])
    check_rule(rule)
    dz = db = 0.0
    for k in reversed(range(len(routing.steps))):
        step = routing.steps[k]
        ds = squash_vjp(step.s, dv)
        dz = dz + step.c[..., None] * ds[..., None, :, :]
        if rule == "frozen" or k == 0:
            break
        dc = np.einsum("...ijm,...jm->...ij", z, ds, optimize=True)
        db = db + softmax_vjp(step.c, dc)
        dz = dz + db[..., None] * routing.steps[k - 1].v[..., None, :, :]
        dv = np.einsum("...ij,...ijm->...jm", db, z, optimize=True)
    return dz
