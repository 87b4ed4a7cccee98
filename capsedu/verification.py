"""Each equation of the series, verified: derived = generated = shipped = numerical derivative."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from capsedu.derivation import (
    NumpyFunction,
    derive_squash_jacobian,
    evaluate,
    generate_forward,
    generate_function,
    generate_layer,
    generate_vjp,
    tensor,
    vjp,
)
from capsedu.derivation.index_notation import Node, free_indices, name_of
from capsedu.derivation.nodes import (
    AGREEMENT,
    COUPLING,
    MARGIN_LOSS,
    PREDICTION,
    SQUASH,
    TOTAL_INPUT,
)
from capsedu.equations import EQUATIONS, Equation
from capsedu.numerical_derivatives import central_difference, complex_step
from capsedu.routing import route

Arrays = dict[str, np.ndarray]
Errors = Iterator[tuple[str, float]]
Check = Callable[[Callable, np.random.Generator], Errors]

SHAPES = 3  # random shapes for each equation
ITERATIONS = 3
MARGINS = {"m_plus": 0.9, "m_minus": 0.1, "down_weight": 0.5}
NUMERICAL = (("complex step", complex_step, 1e-20), ("central", central_difference, 1e-5))

# The largest error allowed, relative to the largest entry of what was derived.
BOUNDS = {"generated": 1e-12, "shipped": 1e-12, "complex step": 1e-12, "central": 1e-7}


@dataclass(frozen=True)
class Row:
    """What verifying one equation found.

    Attributes
    ----------
    equation : Equation
    errors : dict
        Of each way in BOUNDS that applies, the largest error beside the derived expression. A
        forward formula has no derivative to compare.
    failure : str
        The exception that ended it, or nothing.
    """

    equation: Equation
    errors: dict[str, float]
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether every error is within its bound; NaN is not."""
        return not self.failure and all(error <= BOUNDS[way] for way, error in self.errors.items())


def verify(seed: int = 0, equations: Iterable[Equation] = EQUATIONS) -> Iterator[Row]:
    """Compare derived, generated, shipped, complex step and central differences, row by row.

    Derived is SymPy's expression, evaluated entry by entry; shipped is what stands at the
    equation's dotted name at this moment.

    Parameters
    ----------
    seed : int
        Of the random shapes and numbers.
    equations : iterable of Equation
        Which to verify.

    Yields
    ------
    Row
    """
    for equation in equations:
        rng = np.random.default_rng(seed)
        errors: dict[str, float] = {}
        failure = ""
        try:
            for _ in range(SHAPES):
                for way, error in CHECKS[equation.id](equation.resolve(), rng):
                    errors[way] = float(np.max([errors.get(way, 0.0), error]))
        except Exception as exception:  # whatever a shipped function raises is its failure
            failure = f"{type(exception).__name__}: {exception}"
        yield Row(equation, errors, failure)


# Written once for each node, not at every call.
generated_forward = functools.cache(generate_forward)
generated_vjp = functools.cache(generate_vjp)


# The derived expressions, evaluated entry by entry.


def apply(node: Node, values: Arrays) -> np.ndarray:
    """y = formula."""
    return evaluate(node.formula, getattr(node.output, "indices", ()), values)


def pull(node: Node, name: str, values: Arrays) -> np.ndarray:
    """dx = vjp(node, x) for the input x called `name`."""
    x = next(x for x in node.inputs if name_of(x) == name)
    return evaluate(vjp(node, x), x.indices, values)


def routed(z: np.ndarray) -> list[Arrays]:
    """b, c, s, v of each iteration, from the formulas."""
    b, steps = np.zeros(z.shape[:-1]), []
    for _ in range(ITERATIONS):
        c = apply(COUPLING, {"b": b})
        s = apply(TOTAL_INPUT, {"c": c, "z": z})
        v = apply(SQUASH, {"s": s})
        steps.append({"b": b, "c": c, "s": s, "v": v, "z": z})
        b = apply(AGREEMENT, {"b": b, "z": z, "v": v})
    return steps


def pulled(z: np.ndarray, dv: np.ndarray, rule: str) -> np.ndarray:
    """dz for the last v, from the derived vector-Jacobian products, last iteration to first."""
    dz, db = np.zeros(z.shape), np.zeros(z.shape[:-1])
    for k, step in reversed(list(enumerate(routed(z)))):
        if k < ITERATIONS - 1:
            dz = dz + pull(AGREEMENT, "z", step | {"db_next": db})
            dv = pull(AGREEMENT, "v", step | {"db_next": db})
        ds = pull(SQUASH, "s", step | {"dv": dv})
        dz = dz + pull(TOTAL_INPUT, "z", step | {"ds": ds})
        if rule == "frozen":
            break
        dc = pull(TOTAL_INPUT, "c", step | {"ds": ds})
        db = db + pull(COUPLING, "b", step | {"dc": dc})
    return dz


def forward(z: np.ndarray, c: np.ndarray | None = None) -> np.ndarray:
    """The last v, by generated code, which takes complex numbers; with c held, if it is given."""
    b = np.zeros(z.shape[:-1])
    for _ in range(ITERATIONS):
        couplings = generated_forward(COUPLING)(b) if c is None else c
        s = generated_forward(TOTAL_INPUT)(couplings, z)
        v = generated_forward(SQUASH)(s)
        b = generated_forward(AGREEMENT)(b, v, z)
    return v


# Checks: a shipped function and random numbers in, the errors at one random shape out.


def node_formula(node: Node, shipped: Callable) -> Check:
    """y = formula, for shipped(function, values) -> y."""

    def check(function: Callable, rng: np.random.Generator) -> Errors:
        values = draw(node, rng)
        derived = apply(node, values)
        yield "generated", distance(_call(generated_forward(node), values), derived)
        yield "shipped", distance(shipped(function, values), derived)

    return check


def node_gradients(node: Node, names: str, shipped: Callable) -> Check:
    """dx for each input x, for shipped(function, values) -> those of the inputs called `names`."""

    def check(function: Callable, rng: np.random.Generator) -> Errors:
        values = draw(node, rng)
        forward_ = generated_forward(node)
        dy = rng.standard_normal(np.shape(_call(forward_, values)))
        known = {name_of(node.output): apply(node, values), f"d{name_of(node.output)}": dy}
        derived = {name_of(x): pull(node, name_of(x), values | known) for x in node.inputs}
        generated = _tuple(_call(generated_vjp(node), values | known))
        for found, wanted in zip(generated, derived.values(), strict=True):
            yield "generated", distance(found, wanted)
        for found, name in zip(_tuple(shipped(function, values | known)), names, strict=True):
            yield "shipped", distance(found, derived[name])
        for name in names:
            yield from numerical(
                lambda x, name=name: _call(forward_, values | {name: x}),
                values[name],
                dy,
                derived[name],
            )

    return check


def squash_jacobian(function: Callable, rng: np.random.Generator) -> Errors:
    """J[l, l'] = ∂v[l]/∂s[l']."""
    values = draw(SQUASH, rng)
    expression = derive_squash_jacobian()
    derived = evaluate(expression, free_indices(expression), values)
    entry = tensor("J", *free_indices(expression))
    yield (
        "generated",
        distance(generate_function("squash-jacobian", {entry: expression})(**values), derived),
    )
    yield "shipped", distance(function(values["s"]), derived)
    for way, method, step in NUMERICAL:
        columns = [
            method(generated_forward(SQUASH), values["s"], e, step)
            for e in np.eye(values["s"].shape[-1])
        ]
        yield way, distance(np.stack(columns, axis=-1), derived)


def between(node: Node, read: Callable) -> Check:
    """y = formula inside route(z), for read(two iterations of route's) -> values, y."""

    def check(function: Callable, rng: np.random.Generator) -> Errors:
        z = draw(TOTAL_INPUT, rng)["z"]
        values, found = read(function(z, 2).steps)
        derived = apply(node, values | {"z": z})
        yield "generated", distance(_call(generated_forward(node), values | {"z": z}), derived)
        yield "shipped", distance(found, derived)

    return check


def all_iterations(function: Callable, rng: np.random.Generator) -> Errors:
    """All iterations."""
    z = draw(TOTAL_INPUT, rng)["z"]
    derived = routed(z)[-1]["v"]
    yield "generated", distance(forward(z), derived)
    yield "shipped", distance(function(z, ITERATIONS).v, derived)


def routing_gradient(rule: str) -> Check:
    """dz of route(z).v, under a rule."""

    def check(function: Callable, rng: np.random.Generator) -> Errors:
        z = draw(TOTAL_INPUT, rng)["z"][:1]  # one example: so W, which is z for u = 1, may be it
        dv = rng.standard_normal((1, *z.shape[2:]))
        derived = pulled(z, dv, rule)
        dW = generate_layer(ITERATIONS, rule)(z[0][..., None], np.ones((1, z.shape[1], 1)), dv)[1]
        yield "generated", distance(dW[None, ..., 0], derived)
        yield "shipped", distance(function(route(z, ITERATIONS), dv, rule), derived)
        c = routed(z)[-1]["c"] if rule == "frozen" else None
        yield from numerical(lambda x: forward(x, c), z, dv, derived)

    return check


def layer_jacobian(rule: str) -> Check:
    """∂v_k[a]/∂W_ij[l, p] of one example, under a rule."""

    def check(function: Callable, rng: np.random.Generator) -> Errors:
        values = draw(PREDICTION, rng)
        W, u = values["W"], values["u"][0]
        I, J, m, n = W.shape
        # A copy of the example for each entry of v, each with a dv that asks for that entry.
        z = np.repeat(apply(PREDICTION, {"W": W, "u": u[None]}), J * m, axis=0)
        dv = np.eye(J * m).reshape(J * m, J, m)
        dz = pulled(z, dv, rule)
        derived = (dz[..., None] * u[:, None, None, :]).reshape(J, m, I, J, m, n)
        one = generate_layer(ITERATIONS, rule)
        generated = [one(W, u, dv_k)[1] for dv_k in dv]
        yield "generated", distance(np.reshape(generated, derived.shape), derived)
        yield "shipped", distance(function(W, u, ITERATIONS, rule), derived)
        c = routed(z[:1])[-1]["c"] if rule == "frozen" else None

        def layer(W: np.ndarray) -> np.ndarray:
            return forward(generated_forward(PREDICTION)(W, u[None]), c)[0]

        for way, method, step in NUMERICAL:
            entries = np.eye(W.size).reshape(-1, *W.shape)
            columns = [method(layer, W, entry, step) for entry in entries]
            yield way, distance(np.stack(columns, axis=-1).reshape(derived.shape), derived)

    return check


def numerical(function: Callable, x: np.ndarray, dy: np.ndarray, derived: np.ndarray) -> Errors:
    """dx, entry by entry, by complex step and central differences of ⟨dy, f(x)⟩."""
    entries = np.eye(x.size).reshape(-1, *x.shape)
    for way, method, step in NUMERICAL:
        found = [np.sum(dy * method(function, x, entry, step)) for entry in entries]
        yield way, distance(np.reshape(found, x.shape), derived)


def draw(node: Node, rng: np.random.Generator) -> Arrays:
    """Draw a shape, and the numbers that a node reads; two output capsules or more, to compete."""
    size = dict(zip("aijlp", rng.integers((1, 1, 2, 1, 1), (4, 5, 5, 5, 4)).tolist(), strict=True))
    values = {
        name_of(x): rng.standard_normal([size[i.name[0]] for i in x.indices]) for x in node.inputs
    }
    if node is MARGIN_LOSS:  # lengths on both sides of the corners
        values["v"] *= 0.5
        values["T"] = np.eye(size["j"])[rng.integers(size["j"], size=size["a"])]
        values |= MARGINS
    return values


def distance(found: object, derived: np.ndarray) -> float:
    """max |found − derived| / max |derived|; infinite where the shapes differ."""
    found = np.asarray(found)
    if found.shape != derived.shape:
        return np.inf
    return abs(found - derived).max() / (abs(derived).max() or 1.0)


def _call(function: NumpyFunction, values: Arrays) -> object:
    """Call generated code with what it asks for."""
    return function(*(values[name] for name in inspect.signature(function.function).parameters))


def _tuple(found: object) -> tuple:
    return found if isinstance(found, tuple) else (found,)


CHECKS: dict[str, Check] = {
    "squash": node_formula(SQUASH, lambda squash, x: squash(x["s"])),
    "squash-jacobian": squash_jacobian,
    "squash-vjp": node_gradients(SQUASH, "s", lambda vjp, x: vjp(x["s"], x["dv"])),
    "prediction": node_formula(PREDICTION, lambda predict, x: predict(x["W"], x["u"])),
    "prediction-vjp": node_gradients(PREDICTION, "Wu", lambda vjp, x: vjp(x["W"], x["u"], x["dz"])),
    "frozen-jacobian": layer_jacobian("frozen"),
    "coupling": node_formula(COUPLING, lambda softmax, x: softmax(x["b"])),
    "total-input": between(TOTAL_INPUT, lambda steps: ({"c": steps[1].c}, steps[1].s)),
    "agreement": between(AGREEMENT, lambda steps: ({"b": steps[0].b, "v": steps[0].v}, steps[1].b)),
    "routing": all_iterations,
    "frozen-vjp": routing_gradient("frozen"),
    "margin-loss": node_formula(
        MARGIN_LOSS, lambda loss, x: loss(x["v"], x["T"].argmax(axis=-1), **MARGINS)
    ),
    "margin-loss-vjp": node_gradients(
        MARGIN_LOSS,
        "v",
        lambda vjp, x: x["dL"] * vjp(x["v"], x["T"].argmax(axis=-1), **MARGINS),
    ),
    "coupling-vjp": node_gradients(COUPLING, "b", lambda vjp, x: vjp(x["c"], x["dc"])),
    "unrolled-vjp": routing_gradient("unrolled"),
    "unrolled-jacobian": layer_jacobian("unrolled"),
}
