"""What is asked of a student's function: the tasks, and inputs that tell mistakes apart."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

import capsedu
from capsedu.routing import route, softmax


@dataclass(frozen=True)
class Task:
    """A function of the library that is to be written again.

    Attributes
    ----------
    id : str
    name : str
        Of the function, in capsedu.
    results : tuple of str
        What it returns.
    equation : str
        Its id.
    rules : tuple of str
        What a `rule` may be here; the first is what a function without one should follow.
    """

    id: str
    name: str
    results: tuple[str, ...]
    equation: str
    rules: tuple[str, ...] = ("unrolled",)

    @property
    def function(self) -> Callable:
        """The library's function."""
        return getattr(capsedu, self.name)

    @property
    def parameters(self) -> dict[str, object]:
        """Names of the library's parameters, with their defaults; `Parameter.empty` without."""
        return {name: p.default for name, p in signature(self.function).parameters.items()}

    @property
    def required(self) -> list[str]:
        """The parameters without a default."""
        return [name for name, default in self.parameters.items() if default is Parameter.empty]


BOTH = ("unrolled", "frozen")
TASKS = {
    task.id: task
    for task in (
        Task("squash", "squash", ("v",), "squash"),
        Task("squash_jacobian", "squash_jacobian", ("J",), "squash-jacobian"),
        Task("squash_vjp", "squash_vjp", ("ds",), "squash-vjp"),
        Task("predict_vjp", "predict_vjp", ("dW", "du"), "prediction-vjp"),
        Task("softmax", "softmax", ("c",), "coupling"),
        Task("softmax_vjp", "softmax_vjp", ("db",), "coupling-vjp"),
        Task("route", "route", ("v",), "routing"),
        Task("route_vjp_frozen", "route_vjp", ("dz",), "frozen-vjp", ("frozen",)),
        Task("route_vjp_unrolled", "route_vjp", ("dz",), "unrolled-vjp"),
        Task("capsule_layer_vjp", "capsule_layer_vjp", ("dW", "du"), "layer-vjp", BOTH),
        Task("dv_dW", "dv_dW", ("dv_dW",), "unrolled-jacobian", BOTH),
        Task("margin_loss", "margin_loss", ("L",), "margin-loss"),
        Task("margin_loss_vjp", "margin_loss_vjp", ("dv",), "margin-loss-vjp"),
    )
}


class Size(NamedTuple):
    """Axes of the arrays, and r."""

    batch: tuple[int, ...]
    I: int
    J: int
    m: int
    n: int
    r: int = 3

    def __str__(self) -> str:
        axes = [f"B = {self.batch[0]}"] if self.batch else ["no batch"]
        axes += [f"{name} = {getattr(self, name)}" for name in "IJmnr"]
        return ", ".join(axes)


# One example would hide sum against mean, equal sizes a transposition, r = 1 a dozen mistakes; and
# two sizes of the batch tell its mean from a constant factor.
ORDINARY = (Size((3,), 4, 3, 5, 5), Size((2,), 3, 4, 3, 6), Size((4,), 2, 5, 3, 3))
ONE_EXAMPLE = (Size((), 4, 3, 2, 2), Size((), 3, 3, 2, 4), Size((), 2, 4, 2, 2))
NO_BATCH = Size((), 4, 3, 5, 5)
OTHER_MARGINS = {"m_plus": 0.8, "m_minus": 0.2, "down_weight": 0.25}


@dataclass(frozen=True, eq=False)
class Probe:
    """One set of arguments.

    Attributes
    ----------
    name : str
        What is special about it.
    arguments : dict
        By the names of the library's parameters; those without a default come first.
    reveals : str
        Id of the mistake that this probe is for; "" for an ordinary one.
    """

    name: str
    arguments: dict[str, object]
    reveals: str = ""


def draw_probes(task: Task, seed: int) -> Iterator[Probe]:
    """Yield the ordinary probes, then each that reveals one mistake."""
    rng = np.random.default_rng(seed)
    uses = task.parameters.keys()
    sizes = ONE_EXAMPLE if task.id == "dv_dW" else ORDINARY
    for size in sizes:
        numbers = draw(size, rng)
        for rule in task.rules:
            told = f", {rule}" if len(task.rules) > 1 else ""
            yield Probe(f"{size}{told}", taken(task, numbers, size, rule))

    def special(name: str, reveals: str, size: Size = sizes[0], **changes: object) -> Probe:
        given = taken(task, draw(size, rng) | changes, size, task.rules[0])
        return Probe(name, given, reveals)

    if task.id != "dv_dW":
        yield special("no batch axis", "batch-axis-assumed", NO_BATCH)
    if {"routing", "iterations"} & uses:
        yield special("r = 2", "number-hard-coded", sizes[0]._replace(r=2))
    if "m_plus" in uses:
        yield special("other margins", "number-hard-coded", **OTHER_MARGINS)
    if task.id == "softmax":
        large = 800 * rng.standard_normal((3, 4, 3))
        yield special("logits of about 800", "overflow", b=large)
    if {"s", "z", "u", "v", "routing"} & uses and task.id != "predict_vjp":
        numbers = draw(sizes[0], rng)
        size = numbers["length"]
        short = {name: 1e-3 * numbers[name] for name in ("u", "z", "v")}
        yield special(
            "vectors of length 0.001", "epsilon-bias", s=1e-3 * numbers["s"] / size, **short
        )
        zero = {name: numbers[name].copy() for name in ("s", "u", "z", "v")}
        for x in zero.values():
            x[1 if task.id != "dv_dW" else ...] = 0
        yield special("one example 0", "nan-at-zero", **zero)


def draw(size: Size, rng: Generator) -> dict[str, np.ndarray]:
    """Return numbers for every parameter: W of standard deviation 0.5, others of 1, c and v apart.

    In a batch, the lengths of v lie on both sides of the loss's margins, of the right class and of
    the others; of one example alone between them, where no term of the loss is 0.
    """
    batch, I, J, m, n, _ = size
    normal = rng.standard_normal
    s = normal((*batch, J, m))
    length = np.sqrt((s * s).sum(axis=-1, keepdims=True))
    labels = rng.integers(0, J, batch)
    wanted = rng.uniform(0.2, 0.8, (*batch, J))
    if batch:
        wanted[0], wanted[1] = 0.03, 0.98
        wanted[[0, 1], labels[:2]] = 0.96, 0.06
    return {
        "W": 0.5 * normal((I, J, m, n)),
        "u": normal((*batch, I, n)),
        "z": normal((*batch, I, J, m)),
        "dz": normal((*batch, I, J, m)),
        "s": s,
        "length": length,
        "dv": normal((*batch, J, m)),
        "b": normal((*batch, I, J)),
        "c": softmax(normal((*batch, I, J))),
        "dc": normal((*batch, I, J)),
        "v": s / length * wanted[..., None],
        "labels": labels,
    }


def taken(task: Task, numbers: dict, size: Size, rule: str) -> dict[str, object]:
    """Return what the task takes, of the numbers."""
    given = task.parameters | numbers | {"iterations": size.r, "rule": rule}
    if task.name == "route_vjp":
        given["routing"] = route(numbers["z"], size.r)
    if task.name == "capsule_layer_vjp":
        given["routing"] = capsedu.capsule_layer(numbers["W"], numbers["u"], size.r)
    return {name: given[name] for name in task.parameters}
