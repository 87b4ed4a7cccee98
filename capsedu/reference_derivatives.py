"""The derivative of a function along many moves by two methods, and how far each may be off."""

import textwrap
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from capsedu.numerical_derivatives import (
    CENTRAL,
    COMPLEX_STEP,
    central_difference,
    complex_step,
    entry_sizes,
)

# Rounding is measured: everything is computed again one rounding away. It explains this many times
# the largest change that is seen there.
SAFETY = 10

Point = dict[str, np.ndarray]  # the arguments by name


class Moves(NamedTuple):
    """The vectors d along which one argument is moved.

    Attributes
    ----------
    argument : str
        Its name.
    along : "entries" or "directions"
        Whether each d is a unit vector or random.
    total : int
        How many of the kind there are.
    labels : list of tuple of int
        Index of each entry, or number of each direction.
    vectors : callable
        Gives each d in turn; anew at each call, as all unit vectors at once would fill the memory.
    sizes : ndarray
        A step of h times this moves by about h of the size of what is moved.
    norms : ndarray
        ‖d‖: the error of ⟨gradient, d⟩ for independent errors of 1 in the entries.
    """

    argument: str
    along: str
    total: int
    labels: list[tuple[int, ...]]
    vectors: Callable[[], Iterator[np.ndarray]]
    sizes: np.ndarray
    norms: np.ndarray


def entry_moves(name: str, x: np.ndarray, count: int, rng: np.random.Generator) -> Moves:
    """Each entry alone; a random sample of `count`, if there are more."""
    chosen = np.sort(rng.choice(x.size, min(count, x.size), replace=False))
    labels = [tuple(map(int, np.unravel_index(k, x.shape))) for k in chosen]
    sizes = entry_sizes(x).ravel()[chosen]

    def unit_vectors() -> Iterator[np.ndarray]:
        return (np.eye(1, x.size, k).reshape(x.shape) for k in chosen)

    return Moves(name, "entries", x.size, labels, unit_vectors, sizes, np.ones(len(labels)))


def direction_moves(name: str, x: np.ndarray, count: int, rng: np.random.Generator) -> Moves:
    """All entries at once, `count` times, each by about the size of the vector it belongs to."""
    moves = [entry_sizes(x) * rng.standard_normal(x.shape) for _ in range(count)]
    labels = [(number,) for number in range(1, count + 1)]
    norms = np.array([np.linalg.norm(d) for d in moves])
    return Moves(name, "directions", count, labels, lambda: iter(moves), np.ones(count), norms)


class Derivative(NamedTuple):
    """d/dh ⟨dy, f(x + h d)⟩ along each move, how far off it may be, and the step."""

    want: np.ndarray
    error: np.ndarray
    step: np.ndarray


class Reference:
    """The function near one point, in float64, and its derivatives by both methods.

    Attributes
    ----------
    eps : float
        Precision of what the function returns.
    size : float
        ‖dy ⊙ y‖, the size of what is differentiated.
    refusal : str
        What the function answered to complex numbers, if it took none.
    """

    def __init__(
        self, function: Callable, point: Point, dy: np.ndarray, rng: np.random.Generator
    ) -> None:
        self.function, self.dy = function, dy.astype(np.float64)
        self.point = {name: x.astype(np.float64) for name, x in point.items()}
        self.near = all_nudged(self.point, rng)
        y = np.asarray(function(*copies(self.point)))
        change = np.asarray(function(*copies(self.near))) - y
        self.eps = float(np.finfo(y.dtype).eps)
        self.size = float(np.linalg.norm(self.dy * y))
        self.rounding = SAFETY * max(self.eps * self.size, np.linalg.norm(self.dy * change))
        self.refusal = ""

    def derivatives(self, moves: Moves) -> dict[str, Derivative]:
        """By complex step, unless the function refuses complex numbers, and central differences."""
        found = {}
        if not self.refusal:
            try:
                found[COMPLEX_STEP] = self._complex_step(moves)
            except Exception as reason:  # whatever a function may do when given complex numbers
                self.refusal = textwrap.shorten(f"{type(reason).__name__}: {reason}", 120)
        found[CENTRAL] = self._central(moves)
        return found

    def _complex_step(self, moves: Moves) -> Derivative:
        step = 1e-20 * moves.sizes
        want = self._along(complex_step, self.point, moves, step)
        # Another step, as the same one would repeat the same roundings of the imaginary part.
        near = self._along(complex_step, self.near, moves, 0.7 * step)
        change = (abs(near - want) / moves.norms).max()
        return Derivative(want, SAFETY * change * moves.norms, step)

    def _central(self, moves: Moves) -> Derivative:
        step = self.eps ** (1 / 3) * moves.sizes
        want = self._along(central_difference, self.point, moves, step)
        double = self._along(central_difference, self.point, moves, 2 * step)
        # Doubling makes truncation 4 times as large, or twice where f is bent sharply.
        truncation = 4 * abs(double - want)
        return Derivative(want, np.maximum(truncation, self.rounding / step), step)

    def _along(self, method: Callable, point: Point, moves: Moves, steps: np.ndarray) -> np.ndarray:
        def f(x: np.ndarray) -> np.ndarray:
            others = {name: value.astype(x.dtype) for name, value in point.items()}
            return np.asarray(self.function(*(others | {moves.argument: x}).values()))

        changes = (
            method(f, point[moves.argument], d, step)
            for d, step in zip(moves.vectors(), steps, strict=True)
        )
        return np.array([np.sum(self.dy * change) for change in changes])


def agree(one: Derivative, *others: Derivative) -> bool:
    """Whether all give the same, to within their own errors."""
    return all((abs(one.want - x.want) <= one.error + x.error).all() for x in others)


def copies(point: Point) -> list[np.ndarray]:
    """Return what a function may write to."""
    return [x.copy() for x in point.values()]


def nudged(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """x (1 ± eps), each sign at random: another point, as good as x to within rounding."""
    nudge = rng.choice([-1, 1], x.shape) * np.finfo(x.dtype).eps
    return x * (1 + nudge).astype(x.dtype)


def all_nudged(point: Point, rng: np.random.Generator) -> Point:
    """Every argument nudged."""
    return {name: nudged(x, rng) for name, x in point.items()}
