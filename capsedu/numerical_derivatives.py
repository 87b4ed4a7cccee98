"""Derivatives from values of the function alone: what a formula for a gradient is held against."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from capsedu.arguments import as_numbers

COMPLEX_STEP, CENTRAL = "complex step", "central"  # what the methods are called in a report

Function = Callable[..., np.ndarray]


def forward_difference(
    function: Function, x: np.ndarray, direction: np.ndarray, step: float
) -> np.ndarray:
    """(f(x + h d) − f(x)) / h = J d + O(h): truncation of order h, rounding of order 1/h.

    Parameters
    ----------
    function : callable
        x -> y.
    x, direction : ndarray of float, of one shape
        The point, and d.
    step : float
        h.

    Returns
    -------
    Jd : ndarray
        The change of y along d, of y's shape.
    """
    return (function(x + step * direction) - function(x)) / step


def central_difference(
    function: Function, x: np.ndarray, direction: np.ndarray, step: float
) -> np.ndarray:
    """(f(x + h d) − f(x − h d)) / 2h = J d + O(h²): truncation of order h², rounding of order 1/h.

    Parameters, result: as in `forward_difference`.
    """
    return (function(x + step * direction) - function(x - step * direction)) / (2 * step)


def complex_step(
    function: Function, x: np.ndarray, direction: np.ndarray, step: float = 1e-20
) -> np.ndarray:
    """Im f(x + i h d) / h = J d + O(h²): nothing is subtracted, so h may be as small as one likes.

    True where f is analytic *as written*: a norm is sqrt(sum(x*x)), never abs or np.linalg.norm,
    which take the modulus and are then silently wrong.

    Parameters, result: as in `forward_difference`.

    Raises
    ------
    TypeError
        If the function drops the imaginary part, which holds the derivative.

    Notes
    -----
    Squire & Trapp 1998, "Using complex variables to estimate derivatives of real functions".
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        y = np.asarray(function(x + 1j * step * direction))
    if not np.iscomplexobj(y):
        raise TypeError(
            "the function drops the imaginary part, which holds the derivative: want no .real, no "
            "abs, and a norm as np.sqrt((s * s).sum()), not np.linalg.norm"
        )
    return y.imag / step


def entry_sizes(x: np.ndarray) -> np.ndarray:
    """Size of the vector each entry belongs to: the largest |x| along the last axis, in x's shape.

    Where that is 0, the largest |x| of all; where that is 0 too, 1. A step is relative to it.
    """
    vectors = abs(x).max(axis=-1, keepdims=True, initial=0) if x.ndim else abs(x)
    overall = abs(x).max(initial=0) or 1.0
    return np.broadcast_to(np.where(vectors == 0, overall, vectors), x.shape)


@dataclass(frozen=True, eq=False)
class StepSweep:
    """Relative error of three numerical derivatives at each step, along one direction.

    Attributes
    ----------
    steps : ndarray
        h; 1 is the size of the arguments.
    forward, central, complex_step : ndarray
        |numerical − claimed| / |claimed|, of the shape of `steps`. Below eps, it is given as eps,
        so that it can be drawn on a logarithmic axis.
    """

    steps: np.ndarray
    forward: np.ndarray
    central: np.ndarray
    complex_step: np.ndarray


def step_sweep(
    function: Function,
    vjp: Function,
    arguments: Mapping[str, np.ndarray],
    steps: np.ndarray | None = None,
    seed: int = 0,
) -> StepSweep:
    """Differentiate L(h) = ⟨dy, f(x + h d)⟩ at 0 with each step, for one random dy and d.

    Forward and central differences draw a V: truncation falls with h, rounding rises. Complex step
    falls, then stays at the bottom. A wrong vjp shows as a floor that none of the three goes below.

    Parameters
    ----------
    function, vjp, arguments, seed
        As in `capsedu.gradient_check.check_vjp`; computed in float64.
    steps : array_like, optional
        h; three in each decade from 1 to 1e-16 if not given.

    Returns
    -------
    StepSweep

    Raises
    ------
    ValueError
        If the claimed derivative along d is 0 or not finite: no error is relative to that.
    """
    steps = 10.0 ** (-np.arange(49) / 3) if steps is None else np.asarray(steps, dtype=float)
    rng = np.random.default_rng(seed)
    points = [np.array(as_numbers(name, x), dtype=np.float64) for name, x in arguments.items()]
    directions = [entry_sizes(x) * rng.standard_normal(x.shape) for x in points]

    def line(t: complex) -> np.ndarray:
        return function(*(x + t * d for x, d in zip(points, directions, strict=True)))

    dy = rng.standard_normal(np.shape(line(0.0)))
    gradients = vjp(*(x.copy() for x in points), dy)
    gradients = gradients if isinstance(gradients, tuple | list) else (gradients,)
    claimed = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
    if claimed == 0 or not np.isfinite(claimed):
        raise ValueError(f"vjp: gives {claimed} along the direction, want a finite number, not 0")

    def errors(derivative: Callable[..., np.ndarray]) -> np.ndarray:
        found = np.array([np.sum(dy * derivative(line, 0.0, 1.0, step)) for step in steps])
        return np.maximum(abs(found - claimed) / abs(claimed), np.finfo(float).eps)

    return StepSweep(
        steps, errors(forward_difference), errors(central_difference), errors(complex_step)
    )
