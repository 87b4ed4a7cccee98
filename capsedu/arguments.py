"""What a function may be given: numbers of a known kind and shape, or an error that says so."""

import math
import operator

import numpy as np


def as_array(name: str, x: object) -> np.ndarray:
    """Return `x` as an array, or raise ValueError if it is ragged or masked."""
    if np.ma.is_masked(x):
        raise ValueError(f"{name}: got masked entries, want none")
    try:
        return np.asarray(x)
    except ValueError as ragged:
        raise ValueError(f"{name}: rows of different lengths, want an array of numbers") from ragged


def as_numbers(name: str, x: object) -> np.ndarray:
    """Return `x` as an array of float or complex numbers, integers made float64.

    Raises
    ------
    ValueError
        If `x` is ragged, masked or half precision, or holds something else than numbers; the
        message names it `name`.
    """
    x = as_array(name, x)
    if x.dtype.kind in "fc" and x.dtype != np.float16:
        return x
    if x.dtype.kind in "biu":
        return x.astype(np.float64)
    raise ValueError(f"{name}: got dtype {x.dtype}, want float32, float64, complex or integers")


def check_shape(
    name: str, x: np.ndarray, batch: tuple[int, ...] | None = None, **axes: int | None
) -> None:
    """Hold the shape of `x` to `batch` followed by the named `axes`, in their order.

    Parameters
    ----------
    name : str
        What the message calls `x`.
    x : ndarray
        The array to look at.
    batch : tuple of int, optional
        The batch axes; None allows any number of them, of any length.
    **axes : int or None
        The length each of the last axes must have; None allows any but zero.

    Raises
    ------
    ValueError
        If the shape is another one: `name`, the shape it had and the shape it wants.
    """
    split = x.ndim - len(axes)
    fits = split >= 0 and all(
        length > 0 if want is None else length == want
        for length, want in zip(x.shape[split:], axes.values(), strict=True)
    )
    if not fits or batch not in (None, x.shape[:split]):
        head = ["…"] if batch is None else [str(length) for length in batch]
        sizes = [axis if want is None else str(want) for axis, want in axes.items()]
        want, letters = ", ".join(head + sizes), ", ".join(["…"] * (batch != ()) + list(axes))
        message = f"{name}: got shape {x.shape}, want ({want})"
        if want != letters:
            message += f", which is ({letters})"
        if 0 in x.shape:
            message += "; only a batch axis may be empty"
        raise ValueError(message)


def as_number(name: str, x: object) -> float:
    """Return `x` as a finite float, or raise ValueError.

    A plain float, so that it takes the precision of the array it meets.
    """
    try:
        number = float(x)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(x, str) or not math.isfinite(number):
        raise ValueError(f"{name}: got {x!r}, want a finite number")
    return number


def as_count(name: str, x: object, least: int = 1) -> int:
    """Return `x`, an integer of at least `least`, or raise ValueError."""
    try:
        count = least - 1 if isinstance(x, bool) else operator.index(x)
    except TypeError:
        count = least - 1
    if count < least:
        raise ValueError(f"{name}: got {x!r}, want an integer of at least {least}")
    return count


def check_rule(rule: object) -> None:
    """Raise ValueError unless `rule` is "unrolled" or "frozen"."""
    if not isinstance(rule, str) or rule not in ("unrolled", "frozen"):
        raise ValueError(f'rule: got {rule!r}, want "unrolled" or "frozen"')
