"""Your solutions. One task: `pytest -m task_squash`; all of them: `pytest`.

Shapes: W (I, J, m, n), u (…, I, n), z (…, I, J, m), b and c (…, I, J), s and v (…, J, m), where …
is any number of batch axes; dx is ∂L/∂x, of the shape of x. What an earlier task asks for, you may
take from capsedu in a later one: capsedu.squash_vjp, and so on.
"""

import numpy as np  # noqa: F401

import capsedu  # noqa: F401


def squash(s):
    """v = ‖s‖ s / (1 + ‖s‖²), over the last axis."""
    raise NotImplementedError("not written yet")


def squash_jacobian(s):
    """J[…, a, l] = ∂v[a]/∂s[l]."""
    raise NotImplementedError("not written yet")


def squash_vjp(s, dv):
    """ds = J(s) dv, without making J."""
    raise NotImplementedError("not written yet")


def predict_vjp(W, u, dz):
    """dW, summed over the batch, and du, of z_ij = W_ij u_i."""
    raise NotImplementedError("not written yet")


def softmax(b):
    """c = exp(b) / Σ exp(b), over the last axis."""
    raise NotImplementedError("not written yet")


def softmax_vjp(c, dc):
    """db, for c = softmax(b)."""
    raise NotImplementedError("not written yet")


def route(z, iterations=3):
    """v after that many iterations of routing, from logits b = 0."""
    raise NotImplementedError("not written yet")


def route_vjp_frozen(routing, dv):
    """dz with the couplings held, for routing = capsedu.route(z): it has .z, .c, .s, .v."""
    raise NotImplementedError("not written yet")


def route_vjp_unrolled(routing, dv):
    """dz through every iteration: routing.steps holds the .b, .c, .s, .v of each."""
    raise NotImplementedError("not written yet")


def capsule_layer_vjp(W, u, routing, dv, rule="unrolled"):
    """dW, summed over the batch, and du, for routing = capsedu.capsule_layer(W, u); both rules."""
    raise NotImplementedError("not written yet")


def dv_dW(W, u, iterations=3, rule="unrolled"):
    """∂v_k[a]/∂W_ij[l, p] of one example, indexed [k, a, i, j, l, p]."""
    raise NotImplementedError("not written yet")


def margin_loss(v, labels, m_plus=0.9, m_minus=0.1, down_weight=0.5):
    """The mean over the batch of Σ_k T_k (m⁺ − ‖v_k‖)₊² + λ (1 − T_k) (‖v_k‖ − m⁻)₊²."""
    raise NotImplementedError("not written yet")


def margin_loss_vjp(v, labels, m_plus=0.9, m_minus=0.1, down_weight=0.5):
    """dv of the margin loss; 0 where ‖v_k‖ = 0."""
    raise NotImplementedError("not written yet")
