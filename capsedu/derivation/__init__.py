"""From formula to NumPy: derivations that are checked, and code that is generated from them."""

from capsedu.derivation.evaluation import evaluate
from capsedu.derivation.index_notation import Node, index, jacobian, tensor, total, vjp
from capsedu.derivation.jacobians import derive_frozen_jacobian, derive_squash_jacobian
from capsedu.derivation.layer import generate_layer
from capsedu.derivation.numpy_function import (
    NumpyFunction,
    generate_forward,
    generate_function,
    generate_vjp,
)

__all__ = [
    "Node",
    "NumpyFunction",
    "derive_frozen_jacobian",
    "derive_squash_jacobian",
    "evaluate",
    "generate_forward",
    "generate_function",
    "generate_layer",
    "generate_vjp",
    "index",
    "jacobian",
    "tensor",
    "total",
    "vjp",
]
