"""Networks: parameters by name, a forward pass, the loss with its gradients, and a verdict.

Whatever has `parameters`, `classes`, `loss_and_gradients` and `classify` can be trained by
`capsedu.training`.
"""

import math
from dataclasses import dataclass

import numpy as np

from capsedu.arguments import as_count, as_number, as_numbers, check_rule, check_shape
from capsedu.layer import capsule_layer, capsule_layer_vjp
from capsedu.losses import margin_loss, margin_loss_vjp
from capsedu.routing import Routing
from capsedu.squashing import length_and_direction

STEEPEST = 1 / math.sqrt(3)  # the ‖s‖ at which squash passes on the most of a change in length


def initial_W(
    u: np.ndarray,
    J: int = 10,
    m: int = 8,
    length: float = STEEPEST,
    seed: int | np.random.Generator = 0,
) -> np.ndarray:
    """W_ij[l, p] ~ N(0, σ²),  σ = length · J / √(m U),  U = mean over the examples of Σ_i ‖u_i‖².

    Then s¹_j = Σ_i W_ij u_i / J has E‖s¹_j‖² = σ² m U / J² = length²: the first iteration lands
    where `length` says on the squash curve, and routing then lengthens s somewhat. At 1/√3 the
    radial gain is largest, 3√3/8. Far beyond 1 both gains vanish, and training stands still. They
    vanish far below too, but there Adam, which divides by the size of the gradient, moves on.

    Parameters
    ----------
    u : array_like, shape (N, I, n)
        Input capsules to measure U on, N at least 1.
    J, m : int
        Output capsules and their dimensions.
    length : float
        Root-mean-square ‖s¹_j‖, above 0.
    seed : int or Generator
        Where the random numbers come from.

    Returns
    -------
    W : ndarray, shape (I, J, m, n)
        In the precision of `u`.

    Raises
    ------
    ValueError
        If `u` has not three axes, is empty, all 0 or not finite; if `J` or `m` is less than 1 or
        `length` is not above 0.
    """
    u = as_numbers("u", u)
    check_shape("u", u, batch=(), N=None, I=None, n=None)
    J, m = as_count("J", J), as_count("m", m)
    if as_number("length", length) <= 0:
        raise ValueError(f"length: got {length!r}, want a number above 0")
    U = np.square(u, dtype=np.float64).sum(axis=(1, 2)).mean()
    if not 0 < U < math.inf:
        raise ValueError(f"u: its mean square length is {U}, want finite numbers that aren't all 0")
    sigma = length * J / math.sqrt(m * U)
    shape = (u.shape[1], J, m, u.shape[2])
    return (sigma * np.random.default_rng(seed).standard_normal(shape)).astype(u.dtype)


@dataclass(eq=False)
class CapsuleClassifier:
    """v = capsule_layer(W, u, iterations).v, and the class is the longest: argmax_j ‖v_j‖.

    Attributes
    ----------
    parameters : dict
        {"W": ndarray of shape (I, J, m, n)}; the J output capsules are the classes.
    iterations : int
        r, at least 1.
    rule : "unrolled" or "frozen"
        The gradient it is trained with; what it computes doesn't depend on it.

    Raises
    ------
    ValueError
        If `parameters` are not W alone, W has not four axes, `iterations` is less than 1 or `rule`
        is unknown.
    """

    parameters: dict[str, np.ndarray]
    iterations: int = 3
    rule: str = "unrolled"

    def __post_init__(self) -> None:
        if set(self.parameters) != {"W"}:
            raise ValueError(f"parameters: got the names {[*self.parameters]}, want W alone")
        W = as_numbers("W", self.parameters["W"])
        check_shape("W", W, batch=(), I=None, J=None, m=None, n=None)
        self.parameters = {"W": W}
        as_count("iterations", self.iterations)
        check_rule(self.rule)

    @property
    def classes(self) -> int:
        """J, the number of output capsules."""
        return self.parameters["W"].shape[1]

    def forward(self, u: np.ndarray) -> Routing:
        """v = capsule_layer(W, u, iterations).v, for u of shape (…, I, n)."""
        return capsule_layer(self.parameters["W"], u, self.iterations)

    def loss_and_gradients(
        self, u: np.ndarray, labels: np.ndarray
    ) -> tuple[np.floating, dict[str, np.ndarray]]:
        """L = margin_loss(v, labels),  {"W": ∂L/∂W} under the classifier's rule.

        Parameters
        ----------
        u : array_like, shape (…, I, n)
            Input capsules.
        labels : array_like of int, shape (…)
            The class of each example, 0 … J−1.

        Returns
        -------
        L : scalar
            Mean over the batch.
        gradients : dict
            By the names of `parameters`, each of its parameter's shape.

        Raises
        ------
        ValueError
            If a shape does not fit, or a label is no integer in 0 … J−1.
        """
        routing = self.forward(u)
        L = margin_loss(routing.v, labels)
        dv = margin_loss_vjp(routing.v, labels)
        dW, _ = capsule_layer_vjp(self.parameters["W"], u, routing, dv, self.rule)
        return L, {"W": dW}

    def classify(self, u: np.ndarray) -> np.ndarray:
        """argmax_j ‖v_j‖: labels as integers of shape (…), for u of shape (…, I, n).

        Raises
        ------
        ValueError
            If `u` does not fit W, or some ‖v_j‖ is NaN, as it is where `u` or W holds a NaN.
        """
        return longest("u", self.forward(u).v)


def longest(name: str, v: np.ndarray) -> np.ndarray:
    """argmax_j ‖v_j‖: integers of shape (…), for v of shape (…, J, m), which came from `name`.

    Raises
    ------
    ValueError
        If some ‖v_j‖ is NaN; the message calls what is wrong `name`.
    """
    lengths = length_and_direction(v)[0][..., 0]
    if np.isnan(lengths).any():
        raise ValueError(f"{name}: some output lengths are NaN, want no NaN or infinity")
    return lengths.argmax(axis=-1)
