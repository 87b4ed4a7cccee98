"""The capsule network of Sabour, Frosst & Hinton 2017, of any size: from an image to capsules."""

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from capsedu.arguments import as_count, as_number, as_numbers, check_rule, check_shape
from capsedu.convolution import convolve, convolve_images_vjp, convolve_kernel_vjp
from capsedu.layer import capsule_layer, capsule_layer_vjp
from capsedu.losses import margin_loss, margin_loss_vjp
from capsedu.networks import initial_W, longest
from capsedu.routing import Routing
from capsedu.squashing import squash, squash_vjp

STRIDE = 2  # of the convolution that makes the primary capsules
NAMES = ("K1", "bias1", "K2", "bias2", "W", "D1", "bias3", "D2", "bias4", "D3", "bias5")


def relu(a: np.ndarray) -> np.ndarray:
    """h = a where a > 0, else 0."""
    return a * (a.real > 0)


def sigmoid(a: np.ndarray) -> np.ndarray:
    """x̂ = 1 / (1 + exp(−a)), by tanh, which doesn't overflow."""
    return 0.5 * (1 + np.tanh(0.5 * a))


class Passed(NamedTuple):
    """What the forward pass computed on its way."""

    h: np.ndarray  # after the first convolution, (…, P, Q, channels)
    s: np.ndarray  # primary capsules before their squash, (…, I, n)
    u: np.ndarray  # and after it
    routing: Routing | None = None  # of the capsule layer, where it has run


@dataclass(eq=False)
class CapsuleNetwork:
    """Image → convolution, ReLU → convolution, squash → capsule layer → lengths; and a decoder.

    With x the image, ∗ the convolution (the second of stride 2), T the one-hot label::

        h = relu(K1 ∗ x + bias1)
        u = squash(K2 ∗ h + bias2),   every n channels of a pixel one primary capsule
        v = capsule_layer(W, u)
        x̂ = sigmoid(D3 relu(D2 relu(D1 (T ⊙ v) + bias3) + bias4) + bias5)
        L = margin_loss(v, T) + ρ mean Σ (x̂ − x)²

    Attributes
    ----------
    parameters : dict of str to ndarray
        K1, K2 as in `convolve`; W of shape (I, J, m, n); D1, D2, D3 of shape (in, out); biases.
    iterations : int
        r, at least 1.
    rule : "unrolled" or "frozen"
        The gradient it is trained with; what it computes doesn't depend on it.
    reconstruction : float
        ρ, the weight of the reconstruction in the loss.

    Raises
    ------
    ValueError
        If a parameter is missing or unknown, `iterations` is less than 1 or `rule` is unknown.

    Notes
    -----
    Sabour, Frosst & Hinton 2017, sections 4 and 4.1: 256 channels of 9 × 9, 32 primary capsules of
    8 a pixel, ten digit capsules of 16, decoder 512 and 1024 wide, ρ = 0.0005.
    """

    parameters: dict[str, np.ndarray]
    iterations: int = 3
    rule: str = "unrolled"
    reconstruction: float = 0.0005

    def __post_init__(self) -> None:
        if set(self.parameters) != set(NAMES):
            raise ValueError(f"parameters: got the names {[*self.parameters]}, want {[*NAMES]}")
        self.parameters = {name: as_numbers(name, self.parameters[name]) for name in NAMES}
        self.iterations = as_count("iterations", self.iterations)
        self.reconstruction = as_number("reconstruction", self.reconstruction)
        check_rule(self.rule)

    @classmethod
    def start(
        cls,
        images: np.ndarray,
        channels: int = 32,
        types: int = 4,
        classes: int = 10,
        m: int = 16,
        n: int = 8,
        size: int = 9,
        hidden: tuple[int, int] = (128, 256),
        seed: int | np.random.Generator = 0,
        **options: object,
    ) -> Self:
        """Return a network with random weights, its first s_j where squash is steepest.

        Parameters
        ----------
        images : ndarray, shape (N, height, width)
            Some training images, to measure on.
        channels, types, classes, m, n, size : int
            Channels of the first convolution; primary capsules of n dimensions at each pixel of the
            second; output capsules of m dimensions; pixels of a kernel's side.
        hidden : (int, int)
            Widths of the decoder's two hidden layers.
        seed : int or Generator
            Where the random numbers come from.
        **options
            `iterations`, `rule` and `reconstruction`.
        """
        rng = np.random.default_rng(seed)
        images = as_numbers("images", images)
        check_shape("images", images, batch=(), N=None, height=None, width=None)

        def weights(*shape: int) -> np.ndarray:  # He et al. 2015: keeps the variance through a ReLU
            deviation = np.sqrt(2 / np.prod(shape[:-1]))
            return (deviation * rng.standard_normal(shape)).astype(images.dtype)

        widths = (classes * m, *hidden, images[0].size)
        parameters = {"K1": weights(size, size, 1, channels)}
        parameters["K2"] = weights(size, size, channels, types * n)
        for number, (a, b) in enumerate(itertools.pairwise(widths), start=1):
            parameters[f"D{number}"] = weights(a, b)
        outputs = (channels, types * n, *widths[1:])
        for number, out in enumerate(outputs, start=1):
            parameters[f"bias{number}"] = np.zeros(out, images.dtype)
        network = cls(parameters | {"W": np.zeros((1, classes, m, n), images.dtype)}, **options)
        network.parameters["W"] = initial_W(network._primary(images).u, classes, m, seed=rng)
        return network

    @property
    def classes(self) -> int:
        """J, the number of output capsules."""
        return self.parameters["W"].shape[1]

    def _primary(self, images: np.ndarray) -> Passed:
        p = self.parameters
        h = relu(convolve(p["K1"], images[..., None]) + p["bias1"])
        s = convolve(p["K2"], h, STRIDE) + p["bias2"]
        n = p["W"].shape[-1]
        s = s.reshape(*s.shape[:-3], math.prod(s.shape[-3:]) // n, n)
        return Passed(h, s, squash(s))

    def forward(self, images: np.ndarray) -> Passed:
        """h, s, u and the capsule layer's routing, for images of shape (…, height, width)."""
        passed = self._primary(as_numbers("images", images))
        got, want = passed.u.shape[-2], len(self.parameters["W"])
        if got != want:
            raise ValueError(
                f"images: got shape {np.shape(images)}, which makes {got} primary capsules, "
                f"want images that make {want}, as many as W has"
            )
        return passed._replace(
            routing=capsule_layer(self.parameters["W"], passed.u, self.iterations)
        )

    def decode(self, code: np.ndarray) -> list[np.ndarray]:
        """[code, h3, h4, x̂], for T ⊙ v as rows of J m entries: an image is x̂ in rows of pixels."""
        p = self.parameters
        h3 = relu(code @ p["D1"] + p["bias3"])
        h4 = relu(h3 @ p["D2"] + p["bias4"])
        return [code, h3, h4, sigmoid(h4 @ p["D3"] + p["bias5"])]

    def reconstruct(self, v: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """x̂ from the capsule of the label alone, of shape (…, pixels); v (…, J, m), labels (…)."""
        T = np.eye(self.classes, dtype=v.dtype)[labels][..., None]
        return self.decode((T * v).reshape(*v.shape[:-2], -1))[-1]

    def loss_and_gradients(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[np.floating, dict[str, np.ndarray]]:
        """L and ∂L/∂ each parameter, under the network's rule.

        Parameters
        ----------
        images : array_like, shape (N, height, width)
        labels : array_like of int, shape (N,)

        Returns
        -------
        L : scalar
        gradients : dict
            By the names of `parameters`, each of its parameter's shape.

        Raises
        ------
        ValueError
            If a shape does not fit, or a label is no integer in 0 … J−1.
        """
        images = as_numbers("images", images)
        if images.ndim != 3:
            raise ValueError(f"images: got shape {images.shape}, want (N, height, width)")
        p, N, pixels = self.parameters, len(images), math.prod(images.shape[1:])
        h, s, u, routing = self.forward(images)
        v = routing.v
        L = margin_loss(v, labels)
        T = np.eye(self.classes, dtype=v.dtype)[labels][..., None]
        *hidden, x_hat = self.decode((T * v).reshape(N, len(p["D1"])))
        error = x_hat - images.reshape(N, pixels)
        share = self.reconstruction / max(1, N)
        L = L + share * (error * error).sum()

        # The same lines, from the last to the first.
        gradients = {}
        da = 2 * share * error * x_hat * (1 - x_hat)
        for k in (3, 2, 1):
            gradients[f"D{k}"], gradients[f"bias{k + 2}"] = hidden[k - 1].T @ da, da.sum(axis=0)
            da = da @ p[f"D{k}"].T
            if k > 1:
                da = da * (hidden[k - 1].real > 0)
        dv = margin_loss_vjp(v, labels) + T * da.reshape(v.shape)
        gradients["W"], du = capsule_layer_vjp(p["W"], u, routing, dv, self.rule)
        ds = squash_vjp(s, du).reshape(N, *_grid(h, p["K2"]), p["K2"].shape[-1])
        gradients["K2"] = convolve_kernel_vjp(p["K2"], h, ds, STRIDE)
        gradients["bias2"] = ds.sum(axis=0).sum(axis=(0, 1))  # in this order much faster
        dh = convolve_images_vjp(p["K2"], h, ds, STRIDE) * (h.real > 0)
        gradients["K1"] = convolve_kernel_vjp(p["K1"], images[..., None], dh)
        gradients["bias1"] = dh.sum(axis=0).sum(axis=(0, 1))
        return L, gradients

    def classify(self, images: np.ndarray) -> np.ndarray:
        """argmax_j ‖v_j‖: labels as integers of shape (…), for images of shape (…, height, width).

        Raises
        ------
        ValueError
            If the images do not fit, or some ‖v_j‖ is NaN, as it is where they hold a NaN.
        """
        return longest("images", self.forward(images).routing.v)


def _grid(h: np.ndarray, K2: np.ndarray) -> tuple[int, int]:
    """Return the height and width of the primary capsules' grid."""
    return tuple(1 + (side - len(K2)) // STRIDE for side in h.shape[-3:-1])
