"""Each equation of the series, verified: derived = generated = shipped = numerical derivative."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from capsedu.derivation import (
    NumpyFunction,
    derive_frozen_jacobian,
    derive_squash_jacobian,
    evaluate,
    generate_forward,
    generate_function,
    generate_layer,
    generate_vjp,
    index,
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
from capsedu.layer import capsule_layer
from capsedu.numerical_derivatives import central_difference, complex_step
from capsedu.routing import route

Arrays = dict[str, np.ndarray]
Errors = Iterator[tuple[str, float]]
Check = Callable[[Callable, np.random.Generator, int], Errors]

ITERATIONS = (1, 2, 3)  # each with a random shape of its own
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
            for iterations in ITERATIONS:
                for way, error in CHECKS[equation.id](equation.resolve(), rng, iterations):
                    errors[way] = float(np.max([errors.get(way, 0.0), error]))
        except Exception as exception:  # whatever a shipped function raises is its failure
            failure = f"{type(exception).__name__}: {exception}"
        yield Row(equation, errors, failure)


# Written once, not at every call.
generated_forward = functools.cache(generate_forward)
generated_vjp = functools.cache(generate_vjp)
generated_layer = functools.cache(generate_layer)


# The derived expressions, evaluated entry by entry.


def apply(node: Node, values: Arrays) -> np.ndarray:
    """y = formula."""
    return evaluate(node.formula, getattr(node.output, "indices", ()), values)


def pull(node: Node, name: str, values: Arrays) -> np.ndarray:
    """dx = vjp(node, x) for the input x called `name`."""
    x = next(x for x in node.inputs if name_of(x) == name)
    return evaluate(vjp(node, x), x.indices, values)


def routed(z: np.ndarray, iterations: int) -> list[Arrays]:
    """b, c, s, v of each iteration, from the formulas."""
    b, steps = np.zeros(z.shape[:-1]), []
    for _ in range(iterations):
        c = apply(COUPLING, {"b": b})
        s = apply(TOTAL_INPUT, {"c": c, "z": z})
        v = apply(SQUASH, {"s": s})
        steps.append({"b": b, "c": c, "s": s, "v": v, "z": z})
        b = apply(AGREEMENT, {"b": b, "z": z, "v": v})
    return steps


def pulled(z: np.ndarray, dv: np.ndarray, iterations: int, rule: str) -> np.ndarray:
    """dz for the last v, from the derived vector-Jacobian products, last iteration to first."""
    dz, db = np.zeros(z.shape), np.zeros(z.shape[:-1])
    for k, step in reversed(list(enumerate(routed(z, iterations), start=1))):
        if k < iterations:
            dz = dz + pull(AGREEMENT, "z", step | {"db_next": db})
            dv = pull(AGREEMENT, "v", step | {"db_next": db})
        ds = pull(SQUASH, "s", step | {"dv": dv})
        dz = dz + pull(TOTAL_INPUT, "z", step | {"ds": ds})
        if rule == "frozen":
            break
        dc = pull(TOTAL_INPUT, "c", step | {"ds": ds})
        db = db + pull(COUPLING, "b", step | {"dc": dc})
    return dz


def forward(z: np.ndarray, iterations: int, c: np.ndarray | None = None) -> np.ndarray:
    """The last v, by generated code, which takes complex numbers; with c held, if it is given."""
    b = np.zeros(z.shape[:-1])
    for _ in range(iterations):
        couplings = generated_forward(COUPLING)(b) if c is None else c
        s = generated_forward(TOTAL_INPUT)(couplings, z)
        v = generated_forward(SQUASH)(s)
        b = generated_forward(AGREEMENT)(b, v, z)
    return v


# Checks: a shipped function, random numbers and r in, the errors at one random shape out.


def node_formula(node: Node, shipped: Callable) -> Check:
    """y = formula, for shipped(function, values) -> y."""

    def check(function: Callable, rng: np.random.Generator, r: int) -> Errors:
        values = draw(node, rng)
        for given in (values, at_zero(values)):
            derived = apply(node, given)
            yield "generated", distance(_call(generated_forward(node), given), derived)
            yield "shipped", distance(shipped(function, given), derived)

    return check


def node_gradients(node: Node, names: str, shipped: Callable | None) -> Check:
    """dx for each input x, for shipped(function, values) -> those of the inputs called `names`."""

    def check(function: Callable, rng: np.random.Generator, r: int) -> Errors:
        values = draw(node, rng)
        forward = generated_forward(node)
        dy = rng.standard_normal(np.shape(_call(forward, values)))
        values |= {name_of(node.output): apply(node, values), f"d{name_of(node.output)}": dy}
        derived = {name_of(x): pull(node, name_of(x), values) for x in node.inputs}
        generated = _tuple(_call(generated_vjp(node), values))
        for found, wanted in zip(generated, derived.values(), strict=True):
            yield "generated", distance(found, wanted)
        for name in names:

            def of_one(x: np.ndarray, name: str = name) -> np.ndarray:
                return _call(forward, values | {name: x})

            for way, jacobian in numerical(of_one, values[name]):
                dx = np.tensordot(dy, jacobian, np.ndim(dy))
                yield way, distance(dx, derived[name])
        if shipped is not None:
            # At 0, where SymPy's expression is 0/0, the generated code stands in for it.
            given = at_zero(values)
            at_0 = dict(zip(derived, _tuple(_call(generated_vjp(node), given)), strict=True))
            for where, wanted in ((values, derived), (given, at_0)):
                found = _tuple(shipped(function, where))
                yield from (
                    ("shipped", distance(dx, wanted[name]))
                    for dx, name in zip(found, names, strict=True)
                )

    return check


def squash_jacobian(function: Callable, rng: np.random.Generator, r: int) -> Errors:
    """J[l, l'] = ∂v[l]/∂s[l']."""
    values = draw(SQUASH, rng)
    expression = derive_squash_jacobian()
    axes = free_indices(expression)
    derived = evaluate(expression, axes, values)
    generated = generate_function("squash-jacobian", {tensor("J", *axes): expression})
    yield "generated", distance(_call(generated, values), derived)
    yield "shipped", distance(function(values["s"]), derived)
    given = at_zero(values)
    yield "shipped", distance(function(given["s"]), _call(generated, given))
    s = values["s"][0, 0]
    for way, jacobian in numerical(generated_forward(SQUASH), s[None, None]):
        yield way, distance(jacobian[0, 0, :, 0, 0], derived[0, 0])


def between(node: Node, read: Callable) -> Check:
    """y = formula inside route(z), for read(two iterations of route's) -> values, y."""

    def check(function: Callable, rng: np.random.Generator, r: int) -> Errors:
        z = draw(TOTAL_INPUT, rng)["z"]
        values, found = read(function(z, 2).steps)
        derived = apply(node, values | {"z": z})
        yield "generated", distance(_call(generated_forward(node), values | {"z": z}), derived)
        yield "shipped", distance(found, derived)

    return check


def all_iterations(function: Callable, rng: np.random.Generator, r: int) -> Errors:
    """v of route(z)."""
    z = draw(TOTAL_INPUT, rng)["z"]
    derived = routed(z, r)[-1]["v"]
    yield "generated", distance(forward(z, r), derived)
    yield "shipped", distance(function(z, r).v, derived)


def routing_gradient(rule: str) -> Check:
    """dz of route(z).v, under a rule."""

    def check(function: Callable, rng: np.random.Generator, r: int) -> Errors:
        z = draw(TOTAL_INPUT, rng)["z"][:1]  # one example: so W, which is z for u = 1, may be it
        dv = rng.standard_normal((1, *z.shape[2:]))
        derived = pulled(z, dv, r, rule)
        dW = generated_layer(r, rule)(z[0][..., None], np.ones((1, z.shape[1], 1)), dv)[1]
        yield "generated", distance(dW[None, ..., 0], derived)
        yield "shipped", distance(function(route(z, r), dv, **_named(rule)), derived)
        c = routed(z, r)[-1]["c"] if rule == "frozen" else None
        for way, jacobian in numerical(lambda x: forward(x, r, c), z):
            yield way, distance(np.tensordot(dv, jacobian, dv.ndim), derived)

    return check


def in_routing(node: Node, names: str, iterations: int) -> Check:
    """dx of a node that is a part of route_vjp: shipped is the fewest iterations that have it."""
    part, whole = node_gradients(node, names, None), routing_gradient("unrolled")

    def check(function: Callable, rng: np.random.Generator, r: int) -> Errors:
        yield from part(function, rng, r)
        yield from (error for error in whole(function, rng, iterations) if error[0] == "shipped")

    return check


def whole_layer(function: Callable, rng: np.random.Generator, r: int) -> Errors:
    """v of capsule_layer(W, u)."""
    values = draw(PREDICTION, rng)
    v = routed(apply(PREDICTION, values), r)[-1]["v"]
    W, u = values["W"], values["u"]
    yield "generated", distance(generated_layer(r)(W, u, np.zeros(v.shape))[0], v)
    yield "shipped", distance(function(W, u, r).v, v)


def layer_gradient(function: Callable, rng: np.random.Generator, r: int) -> Errors:
    """dW and du of capsule_layer(W, u).v, under both rules."""
    values = draw(PREDICTION, rng)
    W, u = values["W"], values["u"]
    z, predictions = apply(PREDICTION, values), generated_forward(PREDICTION)
    dv = rng.standard_normal((len(u), *W.shape[1:3]))
    for rule in ("frozen", "unrolled"):
        known = values | {"dz": pulled(z, dv, r, rule)}
        derived = {name: pull(PREDICTION, name, known) for name in "Wu"}
        shipped = function(W, u, capsule_layer(W, u, r), dv, **_named(rule))
        for name, one, other in zip(
            "Wu", generated_layer(r, rule)(W, u, dv)[1:], shipped, strict=True
        ):
            yield "generated", distance(one, derived[name])
            yield "shipped", distance(other, derived[name])
        c = routed(z, r)[-1]["c"] if rule == "frozen" else None
        for name, function_of_one in (
            ("W", lambda W, c=c: forward(predictions(W, u), r, c)),
            ("u", lambda u, c=c: forward(predictions(W, u), r, c)),
        ):
            for way, jacobian in numerical(function_of_one, values[name]):
                yield way, distance(np.tensordot(dv, jacobian, dv.ndim), derived[name])


def layer_jacobian(rule: str) -> Check:
    """∂v_k[a]/∂W_ij[l, p] of one example, under a rule."""

    def check(function: Callable, rng: np.random.Generator, r: int) -> Errors:
        values = draw(PREDICTION, rng)
        W, u = values["W"], values["u"][:1]
        I, J, m, n = shape = W.shape
        z = apply(PREDICTION, {"W": W, "u": u})
        c = None
        if rule == "frozen":
            last = routed(z, r)[-1] | {"u": u}
            expression, c = derive_frozen_jacobian(), last["c"]
            entry = tensor("dv_dW", *map(index, ("a", "j'", "l'", "i", "j", "l", "p")))
            derived = evaluate(expression, entry.indices, last)[0]
            generated = _call(generate_function("frozen-jacobian", {entry: expression}), last)[0]
        else:
            # A copy of the example for each entry of v, each with a dv that asks for that entry.
            dv = np.eye(J * m).reshape(J * m, J, m)
            dz = pulled(np.repeat(z, J * m, axis=0), dv, r, rule)
            derived = np.stack([pull(PREDICTION, "W", {"u": u, "dz": d[None]}) for d in dz])
            derived = derived.reshape(J, m, *shape)
            generated = np.stack([generated_layer(r, rule)(W, u[0], d)[1] for d in dv])
            generated = generated.reshape(J, m, *shape)
        yield "generated", distance(generated, derived)
        yield "shipped", distance(function(W, u[0], r, **_named(rule)), derived)
        predictions = generated_forward(PREDICTION)
        for way, jacobian in numerical(lambda W: forward(predictions(W, u), r, c)[0], W):
            yield way, distance(jacobian, derived)

    return check


def numerical(function: Callable, x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """∂y/∂x[entry], the axes of y first, by complex step and by central differences."""
    entries = np.eye(x.size).reshape(-1, *x.shape)
    for way, method, step in NUMERICAL:
        slopes = np.stack([method(function, x, entry, step) for entry in entries], axis=-1)
        yield way, slopes.reshape(*slopes.shape[:-1], *x.shape)


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


def at_zero(values: Arrays) -> Arrays:
    """Return `values` with one s or v, whose norm a formula may hold, put to 0."""
    zeroed = {name: values[name].copy() for name in "sv" if name in values}
    for x in zeroed.values():
        x[0, 0] = 0
    return values | zeroed


def distance(found: object, derived: np.ndarray) -> float:
    """max |found − derived| / max |derived|; infinite where the shapes differ."""
    found = np.asarray(found)
    if found.shape != derived.shape:
        return np.inf
    return abs(found - derived).max() / (abs(derived).max() or 1.0)


def _call(function: NumpyFunction, values: Arrays) -> object:
    """Call generated code with what it asks for."""
    return function(*(values[name] for name in inspect.signature(function.function).parameters))


def _named(rule: str) -> dict[str, str]:
    """The unrolled rule is asked for by saying nothing, so that the default is verified too."""
    return {"rule": rule} if rule == "frozen" else {}


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
    "total-input-vjp": in_routing(TOTAL_INPUT, "cz", iterations=1),
    "agreement-vjp": in_routing(AGREEMENT, "bvz", iterations=2),
    "unrolled-vjp": routing_gradient("unrolled"),
    "unrolled-jacobian": layer_jacobian("unrolled"),
    "layer": whole_layer,
    "layer-vjp": layer_gradient,
}
