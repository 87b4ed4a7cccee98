"""How back-propagation works in a capsule network when routing is on.

This module holds the mathematics, in NumPy alone: each operation beside its Jacobian or its
vector-Jacobian product. What else there is, is imported by the name of its module.

Notation: u_i (…, I, n) activity of input capsule i; W_ij (I, J, m, n) transformation matrix;
z_ij = W_ij u_i (…, I, J, m) prediction vector; b_ij, c_ij (…, I, J) routing logit and coupling
coefficient; s_j, v_j (…, J, m) total input and output; L the loss, and dx is always ∂L/∂x, of the
shape of x. … is any number of batch axes, none included.
"""

from capsedu.layer import capsule_layer, capsule_layer_vjp, dv_dW
from capsedu.losses import margin_loss, margin_loss_vjp
from capsedu.predictions import predict, predict_vjp
from capsedu.routing import Routing, route, route_vjp, softmax, softmax_vjp
from capsedu.squashing import squash, squash_jacobian, squash_vjp

__all__ = [
    "Routing",
    "capsule_layer",
    "capsule_layer_vjp",
    "dv_dW",
    "margin_loss",
    "margin_loss_vjp",
    "predict",
    "predict_vjp",
    "route",
    "route_vjp",
    "softmax",
    "softmax_vjp",
    "squash",
    "squash_jacobian",
    "squash_vjp",
]
