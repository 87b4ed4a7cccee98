"""Is a vector-Jacobian product right? It is held against derivatives that need no formula."""

from collections.abc import Callable, Mapping

import numpy as np

from capsedu.arguments import as_numbers
from capsedu.gradient_report import Comparison, GradientReport
from capsedu.layer import capsule_layer
from capsedu.numerical_derivatives import CENTRAL, COMPLEX_STEP
from capsedu.predictions import predict
from capsedu.reference_derivatives import (
    SAFETY,
    Derivative,
    Moves,
    Point,
    Reference,
    agree,
    all_nudged,
    copies,
    direction_moves,
    entry_moves,
    nudged,
)
from capsedu.squashing import squash

# Rounding is measured: everything is computed again at points that are one rounding away.
NEIGHBOURS = 4  # how many such points the claimed gradient is computed at
# Errors below these parts of the largest entry are always put down to rounding. They are well above
# what is usual, so that the bounds in a report are the same on every machine.
FLOOR = {COMPLEX_STEP: 1e-12, CENTRAL: 1e-9}
FLOOR_IN_EPS = 100  # the same for what the arguments' precision allows; it counts for float32
COARSE = 1e-10  # the precision of float32, in which one entry is lost among thousands
BLIND = 5e-4  # where more than this part of the largest entry is explained, a mistake could hide


def check_vjp(
    function: Callable[..., np.ndarray],
    vjp: Callable[..., np.ndarray | tuple[np.ndarray, ...]],
    arguments: Mapping[str, np.ndarray],
    *,
    dy: np.ndarray | None = None,
    directions: int = 5,
    max_entries: int = 1000,
    seed: int = 0,
) -> GradientReport:
    """⟨vjp(x, dy), d⟩ = d/dh ⟨dy, f(x + h d)⟩ at h = 0, for unit vectors d and for random ones.

    The right side is computed in float64 from values of f alone, by complex step and by central
    differences. What error rounding explains is measured: both sides are computed again at points
    one rounding away. What truncation explains of a central difference is measured by doubling
    its step.

    Parameters
    ----------
    function : callable
        f: takes the arguments in their order, gives y.
    vjp : callable
        Takes the arguments in their order, then dy; gives ∂⟨dy, y⟩/∂x for each argument x, in its
        shape (a tuple, if there are several).
    arguments : dict of str to array_like
        The point, by name; never written to. At float32 arguments, f is differentiated in float64,
        and the claimed gradient is judged by the precision of float32.
    dy : array_like, of the shape of y, optional
        Weights of the entries of y; drawn from N(0, 1) if not given.
    directions : int
        How many random directions; each of them moves all entries.
    max_entries : int
        How many entries are moved one by one: a random sample, where an argument has more.
    seed : int
        Of all that is random.

    Returns
    -------
    GradientReport
        `.passed`, `.rows`; printed, it says what is wrong and where.

    Raises
    ------
    ValueError
        If nothing is to be compared, an argument, y or dy is not real and finite, dy does not fit,
        or vjp does not return one gradient for each argument. (A gradient of the wrong shape, or
        with NaN in it, is reported as wrong.)
    """
    if not isinstance(arguments, Mapping) or not arguments:
        raise ValueError(f"arguments: got {arguments!r}, want a dict of names and arrays")
    if min(directions, max_entries) < 0 or directions == max_entries == 0:
        raise ValueError(
            f"directions, max_entries: got {directions} and {max_entries}, "
            "want 0 or more, and not both 0"
        )
    rng = np.random.default_rng(seed)
    point = {name: _finite(name, x) for name, x in arguments.items()}
    y = _finite("y", function(*copies(point)))
    dy = rng.standard_normal(y.shape) if dy is None else _finite("dy", dy)
    if dy.shape != y.shape:
        raise ValueError(f"dy: got shape {dy.shape}, want {y.shape}, the shape of y")
    dy = dy.astype(y.dtype)

    claims = _claims(vjp, point, dy)
    nearby = [_claims(vjp, all_nudged(point, rng), nudged(dy, rng)) for _ in range(NEIGHBOURS)]
    reference = Reference(function, point, dy, rng)
    eps = max(reference.eps, *(float(np.finfo(x.dtype).eps) for x in [*point.values(), y]))

    compared, problems, notes = [], [], []
    for k, (name, x) in enumerate(reference.point.items()):
        if problem := _problem(name, claims[k], x.shape):
            problems.append(problem)
        elif x.size == 0:
            notes.append(f"{name} has no entries: nothing was compared.")
        else:
            unmoved = x.size - max_entries
            if unmoved > 0 and (directions == 0 or eps > COARSE):
                seen = "not looked at" if directions == 0 else "moved only together"
                notes.append(
                    f"{unmoved} entries of {name} were {seen}: a mistake in one of them would not "
                    "show. Raise max_entries."
                )
            claim = np.asarray(claims[k], dtype=np.float64)
            change = np.max([abs(np.asarray(other[k]) - claim).max() for other in nearby])
            for moves in (
                entry_moves(name, x, max_entries, rng),
                direction_moves(name, x, directions, rng),
            ):
                if moves.labels:
                    compared.append((moves, claim, SAFETY * change, reference.derivatives(moves)))
    trusted = all(agree(*derivatives.values()) for *_, derivatives in compared)
    if y.size == 0:
        notes.append("y is empty: all that was compared is that every gradient is 0.")
    if reference.refusal:
        notes.append(
            f"The function takes no complex numbers ({reference.refusal}): complex step was not "
            "used, and central differences judge alone."
        )
    if not trusted:
        notes.append(
            "Complex step and central differences disagree by more than their own errors: the "
            "function is not analytic as written (abs, np.linalg.norm, np.maximum of complex "
            "numbers), complex step is silently wrong there, and central differences judge alone."
        )
    rows = [
        _judge(moves, claim, rounding, method, derivative, reference.size, eps, trusted)
        for moves, claim, rounding, derivatives in compared
        for method, derivative in derivatives.items()
    ]
    return GradientReport(tuple(rows), tuple(problems), tuple(notes))


def held_couplings(
    W: np.ndarray, u: np.ndarray, iterations: int = 3
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """v_j = squash(Σ_i c_ij W_ij u_i) as a function of W and u, with c stored as it is here.

    This is the function whose gradient the frozen rule computes.

    Parameters
    ----------
    W : array_like, shape (I, J, m, n)
        Transformation matrices at which c is computed.
    u : array_like, shape (…, I, n)
        Activities of the input capsules at which c is computed.
    iterations : int
        r, at least 1.

    Returns
    -------
    function : callable
        W, u -> v, shape (…, J, m).

    Raises
    ------
    ValueError
        If a shape does not fit, or `iterations` is less than 1.

    Notes
    -----
    Equation `frozen-vjp`: notebook 04.
    """
    c = capsule_layer(W, u, iterations).c

    def layer(W: np.ndarray, u: np.ndarray) -> np.ndarray:
        return squash(np.einsum("...ij,...ijm->...jm", c, predict(W, u), optimize=True))

    return layer


def _judge(
    moves: Moves,
    claim: np.ndarray,
    rounding: float,
    method: str,
    derivative: Derivative,
    size: float,
    eps: float,
    trusted: bool,
) -> Comparison:
    """Hold a claimed gradient, each entry off by `rounding`, to its derivatives by one method."""
    want, want_error, step = derivative
    got = np.array([np.sum(claim * d) for d in moves.vectors()])
    error = abs(got - want)
    error[np.isnan(error)] = np.inf
    largest = abs(claim).max() * moves.norms
    floor = max(FLOOR[method], FLOOR_IN_EPS * eps)
    explained = np.maximum.reduce([want_error, floor * largest, rounding * moves.norms])
    # What rounding loses of y (1 − 1e-17 is 1) shows at no point nearby. Beside it, a gradient that
    # has vanished is nothing.
    lost = SAFETY * eps * size * moves.norms
    explained = np.where((error > explained) & (error <= lost), lost, explained)
    explained[np.isnan(explained)] = np.inf  # no derivative nearby: nothing can be told
    wrong = error > explained

    # Where both sides are 0 there is no largest entry: a mistake would have to show beside y.
    beside_y = floor * size / moves.sizes
    zero = (abs(want) <= want_error).all() and (abs(got) <= beside_y).all()
    visible = np.maximum(BLIND * largest, beside_y if zero else 0)
    verdict = "WRONG" if wrong.any() else "ok" if (explained <= visible).all() else "cannot tell"
    if method == COMPLEX_STEP and not trusted:
        verdict = "not trusted"

    if wrong.any():  # of errors that differ by rounding alone the first, on every machine
        largest_error = np.argmax(np.where(wrong, error, 0))
        ties = wrong & (error >= error[largest_error] - explained[largest_error])
        worst = np.flatnonzero(ties)[0]
    else:
        known = (explained > 0) & (explained < np.inf)
        worst = np.argmax(np.divide(error, explained, out=np.zeros_like(error), where=known))
    at_worst = (float(values[worst]) for values in (got, want, error, step, explained))
    return Comparison(
        moves.argument,
        moves.along,
        method,
        len(moves.labels),
        moves.total,
        moves.labels[worst],
        *at_worst,
        float(step.max()),
        float(explained.max()),
        verdict,
    )


def _finite(name: str, x: object) -> np.ndarray:
    """Return `x` as an array of real and finite numbers, or raise ValueError."""
    x = as_numbers(name, x)
    if x.dtype.kind == "c":
        raise ValueError(f"{name}: got complex numbers, want real ones")
    if not np.isfinite(x).all():
        raise ValueError(f"{name}: got NaN or infinite numbers, want finite ones")
    return x


def _claims(vjp: Callable, point: Point, dy: np.ndarray) -> list[object]:
    """Return the claimed gradients, one for each argument."""
    claims = vjp(*copies(point), dy.copy())
    claims = list(claims) if isinstance(claims, tuple | list) else [claims]
    if len(claims) != len(point):
        raise ValueError(
            f"vjp: returned {len(claims)} gradients, want {len(point)}: of {', '.join(point)}"
        )
    return claims


def _problem(name: str, claim: object, shape: tuple[int, ...]) -> str:
    """Say what makes a claimed gradient wrong before any number is compared; "" if nothing."""
    try:
        claim = as_numbers(f"gradient of {name}", claim)
    except ValueError as reason:
        return f"{reason}: WRONG"
    if claim.shape != shape:
        return f"{name}: got a gradient of shape {claim.shape}, want {shape}, that of {name}: WRONG"
    if claim.dtype.kind == "c":
        return f"{name}: got a gradient of complex numbers, want real ones: WRONG"
    bad = np.argwhere(~np.isfinite(claim))
    if len(bad):
        index = ", ".join(map(str, bad[0]))
        return (
            f"{name}[{index}]: got {claim[tuple(bad[0])]}, and {len(bad)} of {claim.size} entries "
            "are NaN or infinite: WRONG"
        )
    return ""
