"""The capsule layer: predictions, then routing; its gradients and its full Jacobian."""

import numpy as np

from capsedu.arguments import as_count, as_numbers, check_rule, check_shape
from capsedu.fast_layer import layer_steps, layer_vjp
from capsedu.predictions import check_layer, predict
from capsedu.routing import Iteration, Routing, check_routing, route, route_vjp


def capsule_layer(W: np.ndarray, u: np.ndarray, iterations: int = 3) -> Routing:
    """z_ij = W_ij u_i, then routing: v = route(z).v.

    Parameters
    ----------
    W : array_like, shape (I, J, m, n)
        Transformation matrices.
    u : array_like, shape (…, I, n)
        Activities of the input capsules.
    iterations : int
        r, at least 1.

    Returns
    -------
    Routing
        Without z, the largest array of all: W and u give it again.

    Raises
    ------
    ValueError
        If a shape does not fit, or `iterations` is less than 1.

    Notes
    -----
    Equation `layer`: Sabour, Frosst & Hinton 2017, eq. 2 and procedure 1. Computed a few examples
    at a time, in capsedu.fast_layer; the same as route(predict(W, u)), which says it plainly.
    """
    W, u = check_layer(W, u)
    return Routing(layer_steps(W, u, as_count("iterations", iterations)))


def capsule_layer_vjp(
    W: np.ndarray, u: np.ndarray, routing: Routing, dv: np.ndarray, rule: str = "unrolled"
) -> tuple[np.ndarray, np.ndarray]:
    """dW_ij = Σ_batch dz_ij u_iᵀ,  du_i = Σ_j W_ijᵀ dz_ij,  with dz = route_vjp(routing, dv, rule).

    Parameters
    ----------
    W : array_like, shape (I, J, m, n)
        Transformation matrices.
    u : array_like, shape (…, I, n)
        Activities of the input capsules.
    routing : Routing
        What `capsule_layer` returned for the same W and u.
    dv : array_like, shape (…, J, m)
        ∂L/∂v.
    rule : "unrolled" or "frozen"
        Whether the couplings are functions of W and u, or stored constants.

    Returns
    -------
    dW : ndarray, shape (I, J, m, n)
        ∂L/∂W, summed over the batch.
    du : ndarray, shape (…, I, n)
        ∂L/∂u.

    Raises
    ------
    ValueError
        If a shape does not fit, `rule` is unknown, or `routing` is no Routing.

    Notes
    -----
    Equation `layer-vjp`: notebooks 00, 04 and 06. Computed in capsedu.fast_layer; the same as
    predict_vjp of route_vjp, which say it plainly.
    """
    W, u = check_layer(W, u)
    I, J, m, _ = W.shape
    check_routing(routing)
    check_shape("routing.c", routing.c, batch=u.shape[:-2], I=I, J=J)
    check_shape("routing.s", routing.s, batch=u.shape[:-2], J=J, m=m)
    dv = as_numbers("dv", dv)
    check_shape("dv", dv, batch=u.shape[:-2], J=J, m=m)
    check_rule(rule)
    return layer_vjp(W, u, routing.steps, dv, rule)


def dv_dW(W: np.ndarray, u: np.ndarray, iterations: int = 3, rule: str = "unrolled") -> np.ndarray:
    """∂v_k[a]/∂W_ij[l, p] = (∂v_k[a]/∂z_ij[l]) u_i[p].

    Frozen, ∂v_k[a]/∂z_ij[l] = c_ij J(s_j)[a, l] for k = j and 0 otherwise. Unrolled, W_ij moves
    every output: it changes the couplings.

    Parameters
    ----------
    W : array_like, shape (I, J, m, n)
        Transformation matrices.
    u : array_like, shape (I, n)
        Activities of the input capsules in one example.
    iterations : int
        r, at least 1.
    rule : "unrolled" or "frozen"
        Whether the couplings are functions of W, or stored constants.

    Returns
    -------
    jacobian : ndarray, shape (J, m, I, J, m, n)
        Indexed [k, a, i, j, l, p].

    Raises
    ------
    ValueError
        If a shape does not fit, `u` has a batch axis, `iterations` is less than 1 or `rule` is
        unknown.

    Notes
    -----
    Equations `frozen-jacobian` (notebooks 02 and 04) and `unrolled-jacobian` (notebook 06).
    """
    W, u = check_layer(W, u)
    I, J, m, n = W.shape
    check_shape("u", u, batch=(), I=I, n=n)
    check_rule(rule)
    routing = route(predict(W, u), iterations)

    # One view of the example for each entry [k, a] of v, each with a dv that asks for that entry.
    def copies(x: np.ndarray) -> np.ndarray:
        return np.broadcast_to(x, (J * m, *x.shape))

    steps = tuple(Iteration(*map(copies, step)) for step in routing.steps)
    dv = np.eye(J * m, dtype=routing.v.dtype).reshape(J * m, J, m)
    dv_dz = route_vjp(Routing(steps, copies(routing.z)), dv, rule)
    return (dv_dz[..., None] * u[:, None, None, :]).reshape(J, m, I, J, m, n)
