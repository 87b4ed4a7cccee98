"""Exercises that know what you did wrong: `check` names the mistake in a function.

>>> from capsedu.exercises import check
>>> check("squash_vjp", my_squash_vjp)
"""

from collections.abc import Callable

from capsedu.arguments import as_count, as_number
from capsedu.exercises.diagnosis import diagnose
from capsedu.exercises.integers import HandExample, hand_example
from capsedu.exercises.mistakes import MISTAKES, Mistake
from capsedu.exercises.probes import TASKS
from capsedu.exercises.report import Report

__all__ = ["MISTAKES", "HandExample", "Mistake", "Report", "check", "hand_example", "tasks"]
HOUR = 3600  # seconds


def tasks() -> tuple[str, ...]:
    """Return the ids of all tasks, each a function of the library to be written again."""
    return tuple(TASKS)


def check(task: str, function: Callable, *, seed: int = 0, seconds: float = 10) -> Report:
    """Say whether a function is the one that the task asks for, and if not, what went wrong.

    The function is called on inputs that tell mistakes apart, and what it returns is held against
    the right result, against that of every mistake of the catalogue (`MISTAKES`), and against that
    of every two of them together.

    Parameters
    ----------
    task : str
        One of `tasks()`.
    function : callable
        With the signature of the library's function; arguments with a default may be left out. It
        may return arrays of any framework, or lists; `route` may return v alone.
    seed : int
        Of the numbers.
    seconds : float
        After so long a call is stopped.

    Returns
    -------
    Report
        `.passed`, `.mistakes`, `.summary()`; shown at the end of a cell, with a picture.

    Raises
    ------
    ValueError
        If there is no such task, or `seed` is no integer of at least 0, or `seconds` is not between
        0 and 3600.
    TypeError
        If `function` can't be called.
    """
    if task not in tasks():
        raise ValueError(f"task: got {task!r}, want one of {', '.join(tasks())}")
    if not callable(function):
        raise TypeError(f"function: got {type(function).__name__}, want the function itself")
    seconds = as_number("seconds", seconds)
    if not 0 < seconds <= HOUR:
        raise ValueError(f"seconds: got {seconds:g}, want more than 0, and no more than {HOUR}")
    return diagnose(TASKS[task], function, as_count("seed", seed, least=0), seconds)
