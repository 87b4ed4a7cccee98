"""A student's function, called so that nothing it does can hurt: its arrays, or how it failed."""

import contextlib
import copy
import ctypes
import inspect
import pickle
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter

import numpy as np

from capsedu.exercises.probes import Probe, Task


@dataclass(frozen=True)
class Failure:
    """A call that gave no arrays: the id of the mistake, and what happened in words."""

    id: str
    message: str


Outcome = dict[str, np.ndarray] | Failure
MANY = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


def given(task: Task, function: Callable, probe: Probe) -> tuple[list, dict] | None:
    """Return the positional and the named arguments that the function takes.

    Required ones go by name if the function has all of the names, otherwise by position. None if it
    can't be asked this: it has no such parameter, and the default is another one.
    """
    optional = dict(probe.arguments)
    required = {name: optional.pop(name) for name in task.required}
    try:
        signature = inspect.signature(function)
        own = signature.parameters
        call = signature.bind_partial()
        if required.keys() <= own.keys():
            call.arguments.update(required)
        elif all(p.kind is Parameter.VAR_KEYWORD for p in own.values()):
            call = signature.bind_partial(**required)
        else:
            call = signature.bind_partial(*required.values())
    except (TypeError, ValueError):  # its parameters are not known, or too few
        return [*required.values()], optional
    left = [p for p in own.values() if p.name not in call.arguments and p.kind not in MANY]
    for fits in (same_name, same_default, other_iterations):
        for p in list(left):
            name = next((x for x in optional if fits(p, x, task.parameters[x], left)), None)
            if name:
                call.arguments[p.name] = optional.pop(name)
                left.remove(p)
    before = (p for p in left if p.kind is Parameter.POSITIONAL_ONLY)  # those that are taken
    call.arguments.update({p.name: p.default for p in before})
    if any(p.kind is Parameter.VAR_KEYWORD for p in own.values()):
        return [*call.args], call.kwargs | optional
    usual = task.parameters | {"rule": task.rules[0]}
    unasked = any(value != usual[name] for name, value in optional.items())
    return None if unasked else ([*call.args], call.kwargs)


def same_name(own: Parameter, name: str, default: object, left: list) -> bool:
    """Whether a parameter of the student's own is called as the library's."""
    return own.name == name


def same_default(own: Parameter, name: str, default: object, left: list) -> bool:
    """Whether it has the same default, or none."""
    return own.default is Parameter.empty or (
        type(own.default) is type(default) and own.default == default
    )


def other_iterations(own: Parameter, name: str, default: object, left: list) -> bool:
    """Whether it alone of all that are left has a default that may be a number of iterations."""
    counts = [p for p in left if type(p.default) is int and 1 <= p.default <= 10]
    return name == "iterations" and counts == [own] and own.name not in ("axis", "dim")


def outcome(
    task: Task, function: Callable, probe: Probe, seconds: float
) -> tuple[Outcome, bool] | None:
    """Call the function; return what came of it, and whether it wrote to its arguments.

    None if it can't be asked this.
    """
    call = given(task, function, probe)
    if call is None:
        return None
    positional, named = copy.deepcopy(call)
    before = pickle.dumps((positional, named), protocol=4)  # 5 tells what is read-only too
    finished = guarded(lambda: function(*positional, **named), seconds)
    if finished is None:
        return Failure("never-returns", f"stopped after {seconds:g} s"), False
    result, error = finished
    written = pickle.dumps((positional, named), protocol=4) != before
    if error is not None:
        id = "not-written" if isinstance(error, NotImplementedError) else "raises"
        return Failure(id, described(function, error)), written
    return as_outcome(task, result), written


def guarded(call: Callable, seconds: float) -> tuple[object, BaseException | None] | None:
    """Return what `call` returned and None, or None and what it raised; None if it never returns.

    It runs in a thread of its own, where it can be left behind; an exception that is set from
    outside ends it at its next line of Python.
    """
    finished = []

    def work() -> None:
        with np.errstate(all="ignore"):
            try:
                finished.append((call(), None))
            except BaseException as error:  # SystemExit too: a student's exit() ends no notebook
                finished.append((None, error))

    thread = threading.Thread(target=work, daemon=True)
    # Anything on stderr fails a cell that is graded: what a student prints there is seen on stdout.
    with contextlib.redirect_stderr(sys.stdout), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thread.start()
        late = True
        try:
            thread.join(seconds)
            late = thread.is_alive()
        finally:  # Ctrl-C too
            if late:
                identity = ctypes.c_ulong(thread.ident)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(SystemExit))
                thread.join(0.2)
    return None if late else finished[0]


def described(function: Callable, error: BaseException) -> str:
    """Return the exception in words, and the line of the function that it came from."""
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    code = getattr(inspect.unwrap(function), "__code__", None)
    frames = traceback.walk_tb(error.__traceback__)
    lines = [line - code.co_firstlineno for frame, line in frames if frame.f_code is code]
    return f"{told} (line {lines[-1] + 1} of {code.co_name})" if lines else told


def as_outcome(task: Task, result: object) -> Outcome:
    """Return what the function returned as arrays, by the names of the task's results."""
    if task.name == "route":
        result = getattr(result, "v", result)
    if result is None:
        return Failure("returns-nothing", "got None")
    names = task.results
    if len(names) > 1 and not (isinstance(result, list | tuple) and len(result) == len(names)):
        count = f"{len(result)} results" if isinstance(result, list | tuple) else "one result"
        return Failure("wrong-shape", f"got {count}, want {len(names)}: {', '.join(names)}")
    arrays = {}
    for name, x in zip(names, result if len(names) > 1 else [result], strict=True):
        if x is None:
            return Failure("returns-nothing", f"{name}: got None")
        try:
            x = as_array(x)
        except Exception:  # whatever a foreign array raises
            if isinstance(x, tuple):
                return Failure("wrong-shape", f"got {len(x)} results, want one: {name}")
            told = f"{name}: got {type(x).__name__}, which is no array of numbers"
            return Failure("wrong-dtype", told)
        if x.dtype.kind != "f" or x.dtype.itemsize < 4:
            told = f"{name}: got dtype {x.dtype}, want float64 or float32"
            if x.dtype.kind == "c" and not x.imag.any():
                told += " (the imaginary part is 0: return .real)"
            return Failure("wrong-dtype", told)
        arrays[name] = x
    return arrays


def as_array(x: object) -> np.ndarray:
    """Return an array of any framework, or nested lists of numbers, as one of NumPy's."""
    if hasattr(x, "detach"):
        x = x.detach().cpu()
    x = np.array(x)  # a copy: who returns an array may write to it in the next call
    return x.astype(float) if x.dtype == object else x
