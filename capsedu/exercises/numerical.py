"""A student's gradient against numerical derivatives, where no known mistake explains it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from capsedu.exercises.calling import Failure
from capsedu.exercises.probes import Probe, Task
from capsedu.gradient_check import check_vjp, held_couplings
from capsedu.layer import capsule_layer
from capsedu.losses import margin_loss
from capsedu.predictions import predict
from capsedu.routing import route, softmax
from capsedu.squashing import squash

ENTRIES = 60  # of an argument that are moved one by one


def check_numerically(task: Task, ask: Callable, probe: Probe, seed: int) -> str:
    """Return the gradient check of a student's function in words; "" if there is none to check.

    `ask` calls it on a probe. The seed must be another than the probe's: from the same numbers, dv
    would be s once more, and a function that takes the one for the other would be right.
    """
    given = probe.arguments

    def asked(*required: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the student's results, for other arguments."""
        changed = given | dict(zip(task.required, required, strict=True))
        results, _ = ask(replace(probe, arguments=changed))
        if isinstance(results, Failure):
            raise ValueError(results.message)
        return tuple(results.values())

    case = derivative(task, given, asked)
    if case is None:
        return ""
    try:
        return str(check_vjp(*case, max_entries=ENTRIES, seed=seed))
    except ValueError:  # no numbers to compare: what is wrong has been said
        return ""


def derivative(task: Task, given: dict, asked: Callable) -> tuple[Callable, Callable, dict] | None:
    """Return what the task differentiates, the vector-Jacobian product claimed, and the point."""
    frozen = given.get("rule") == "frozen" or task.id == "route_vjp_frozen"
    match task.name:
        case "squash_jacobian":
            claim = lambda s, dv: np.einsum("...al,...a->...l", *asked(s), dv)  # noqa: E731
            return squash, claim, {"s": given["s"]}
        case "squash_vjp":
            return squash, asked, {"s": given["s"]}
        case "softmax_vjp":
            b = np.log(given["c"])
            return softmax, lambda b, dc: asked(softmax(b), dc), {"b": b}
        case "predict_vjp":
            return predict, asked, {"W": given["W"], "u": given["u"]}
        case "route_vjp":
            routing = given["routing"]
            r = len(routing.steps)

            def routed(z: np.ndarray) -> np.ndarray:
                if frozen:
                    return squash((routing.c[..., None] * z).sum(axis=-3))
                return route(z, r).v

            claim = lambda z, dv: asked(route(z, r), dv)  # noqa: E731
            return routed, claim, {"z": routing.z}
        case "capsule_layer_vjp" | "dv_dW":
            W, u = given["W"], given["u"]
            r = given["iterations"] if "iterations" in given else len(given["routing"].steps)
            layer = held_couplings(W, u, r) if frozen else lambda W, u: capsule_layer(W, u, r).v
            if task.name == "dv_dW":
                claim = lambda W, dv: np.einsum("kaijlp,ka->ijlp", *asked(W, u), dv)  # noqa: E731
                return lambda W: layer(W, u), claim, {"W": W}

            claim = lambda W, u, dv: asked(W, u, capsule_layer(W, u, r), dv)  # noqa: E731
            return layer, claim, {"W": W, "u": u}
        case "margin_loss_vjp":
            v, labels, *margins = given.values()
            claim = lambda v, dL: dL * asked(v, labels)[0]  # noqa: E731
            return lambda v: margin_loss(v, labels, *margins), claim, {"v": v}
    return None
