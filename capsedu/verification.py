"""Each equation of the series, verified: derived = generated = shipped = numerical derivative."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.random import Generator
from sympy import Indexed

from capsedu.derivation import (
    Node,
    NumpyFunction,
    derive_frozen_jacobian,
    derive_squash_jacobian,
    evaluate,
    generate_forward,
    generate_function,
    generate_layer,
    generate_vjp,
    index,
    nodes,
    tensor,
    vjp,
)
from capsedu.derivation.index_notation import name_of
from capsedu.derivation.layer import backward, layer_nodes
from capsedu.equations import EQUATIONS, Equation
from capsedu.layer import capsule_layer
from capsedu.numerical_derivatives import central_difference, complex_step
from capsedu.routing import route

Arrays = dict[str, np.ndarray]
Errors = Iterator[tuple[str, float]]

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
generated_forward = cache(generate_forward)
generated_vjp = cache(generate_vjp)
generated_layer = cache(generate_layer)


def apply(node: Node, values: Arrays) -> np.ndarray:
    """y = formula, entry by entry."""
    return evaluate(node.formula, getattr(node.output, "indices", ()), values)


def apply_generated(node: Node, values: Arrays) -> np.ndarray:
    """y = formula, by generated code, which takes complex numbers."""
    return _call(generated_forward(node), values)


def pull(node: Node, x: Indexed, values: Arrays) -> np.ndarray:
    """dx = vjp(node, x), entry by entry."""
    return evaluate(vjp(node, x), x.indices, values)


def forward(layer: list[Node], values: Arrays, apply: Callable = apply) -> Arrays:
    """The values, and what each node computes; what is among the values already is held."""
    for node in layer:
        if name_of(node.output) not in values:
            values = values | {name_of(node.output): apply(node, values)}
    return values


def back(layer: list[Node], values: Arrays, names: str, rule: str = "unrolled") -> Arrays:
    """The values, and dx for each x that the inputs called `names` change, the last node first."""
    for node, inputs in backward(layer, names, rule):
        for x in inputs:
            dx = f"d{name_of(x)}"
            values = values | {dx: values.get(dx, 0) + pull(node, x, values)}
    return values


# Errors beside what was derived.


def compare(way: str, found: Arrays, derived: Arrays) -> Errors:
    """The error of each array that was found."""
    for name, array in found.items():
        yield way, distance(array, derived[name])


def differentiate(
    function: Callable, x: np.ndarray, derived: np.ndarray, dy: np.ndarray | None = None
) -> Errors:
    """The errors of ∂y/∂x, the axes of y first, or of Σ dy ∂y/∂x for a dy that is given."""
    entries = np.eye(x.size).reshape(-1, *x.shape)
    for way, method, step in NUMERICAL:
        slopes = np.stack([method(function, x, entry, step) for entry in entries], axis=-1)
        jacobian = slopes.reshape(*slopes.shape[:-1], *x.shape)
        found = jacobian if dy is None else np.tensordot(dy, jacobian, np.ndim(dy))
        yield way, distance(found, derived)


def differentiate_layer(layer: list[Node], names: str, given: Arrays, derived: Arrays) -> Errors:
    """The errors of dx of the inputs called `names`."""
    y = name_of(layer[-1].output)
    for name in names:

        def of_one(x: np.ndarray, name: str = name) -> np.ndarray:
            return forward(layer, given | {name: x}, apply_generated)[y]

        yield from differentiate(of_one, derived[name], derived[f"d{name}"], derived[f"d{y}"])


def distance(found: object, derived: np.ndarray) -> float:
    """max |found − derived| / max |derived|; infinite where the shapes differ."""
    found = np.asarray(found)
    if found.shape != derived.shape:
        return np.inf
    return abs(found - derived).max() / (abs(derived).max() or 1.0)


# Checks: last a shipped function, random numbers and r; the errors at one random shape come out.
# `call` calls the shipped function with what it wants of the values.


def formula(node: Node, call: Callable, shipped: Callable, rng: Generator, r: int) -> Errors:
    """y = formula."""
    values = draw(node, rng)
    for given in (values, at_zero(values)):
        derived = apply(node, given)
        yield "generated", distance(apply_generated(node, given), derived)
        yield "shipped", distance(call(shipped, given), derived)


def node_gradients(
    node: Node, names: str, call: Callable | None, shipped: Callable, rng: Generator, r: int
) -> Errors:
    """dx of the inputs called `names`; they are what `call` returns, if there is one."""
    given, y, inputs = draw(node, rng), name_of(node.output), [*map(name_of, node.inputs)]
    values = forward([node], given)
    values[f"d{y}"] = rng.standard_normal(values[y].shape)
    values = back([node], values, inputs)
    yield from compare("generated", _by_name(inputs, _call(generated_vjp(node), values)), values)
    yield from differentiate_layer([node], names, given, values)
    if call is not None:
        yield from compare("shipped", _by_name(names, call(shipped, values)), values)
        # At 0, where SymPy's expression is 0/0, the generated code stands in for it.
        given = at_zero(values)
        stand_in = _by_name(inputs, _call(generated_vjp(node), given))
        yield from compare("shipped", _by_name(names, call(shipped, given)), stand_in)


def squash_jacobian(shipped: Callable, rng: Generator, r: int) -> Errors:
    """J[l, l'] = ∂v[l]/∂s[l']."""
    values = draw(nodes.SQUASH, rng)
    s, s_0 = values["s"], at_zero(values)["s"]
    entry = tensor("J", *map(index, ("a", "j", "l", "l'")))
    derived = evaluate(derive_squash_jacobian(), entry.indices, values)
    generated = generate_function("squash-jacobian", {entry: derive_squash_jacobian()})
    yield "generated", distance(generated(s), derived)
    yield "shipped", distance(shipped(s), derived)
    yield "shipped", distance(shipped(s_0), generated(s_0))
    one = derived[:1, :1, :, None, None]
    yield from differentiate(generated_forward(nodes.SQUASH), s[:1, :1], one)


def in_layer(array: str, call: Callable, shipped: Callable, rng: Generator, r: int) -> Errors:
    """An array of the forward pass; v_{r} is that of the last iteration."""
    layer, given = draw_layer(rng, max(r, 2))
    derived, generated = (forward(layer, given, way) for way in (apply, apply_generated))
    name = array.format(r=r)
    yield "generated", distance(generated[name], derived[name])
    yield "shipped", distance(call(shipped, derived, r), derived[name])


def layer_gradients(
    names: str, rules: Iterable[str], call: Callable, shipped: Callable, rng: Generator, r: int
) -> Errors:
    """dx of the last v for the arrays called `names`, which `call` returns, by each rule."""
    layer, given = draw_layer(rng, r)
    values = forward(layer, given)
    values["dv"] = values[f"dv_{r}"] = rng.standard_normal(values[f"v_{r}"].shape)
    for rule in rules:
        derived = back(layer, values, "Wu", rule)
        _, dW, du = _call(generated_layer(r, rule), values)
        yield from compare("generated", {"dW": dW, "du": du}, derived)
        # The unrolled rule is asked for by saying nothing, so that the default is verified too.
        asked = {"rule": rule} if rule == "frozen" else {}
        yield from compare("shipped", _by_name(names, call(shipped, values, r, **asked)), derived)
        held = {f"c_{r}": values[f"c_{r}"]} if rule == "frozen" else {}
        yield from differentiate_layer(layer, names, given | held, derived)


def in_routing(
    node: Node, names: str, iterations: int, shipped: Callable, rng: Generator, r: int
) -> Errors:
    """dx of a node that is a part of route_vjp: shipped is the fewest iterations that have it."""
    yield from node_gradients(node, names, None, shipped, rng, r)
    yield from layer_gradients("z", ["unrolled"], _of_routing, shipped, rng, iterations)


def frozen_jacobian(shipped: Callable, rng: Generator, r: int) -> Errors:
    """∂v_k[a]/∂W_ij[l, p] with c held."""
    layer, given = draw_layer(rng, r)
    values = forward(layer, given)
    last = {"c": values[f"c_{r}"], "s": values[f"s_{r}"], "u": values["u"]}
    entry = tensor("dv_dW", *map(index, ("a", "j'", "l'", "i", "j", "l", "p")))
    derived = evaluate(derive_frozen_jacobian(), entry.indices, last)
    generated = generate_function("frozen-jacobian", {entry: derive_frozen_jacobian()})
    yield "generated", distance(_call(generated, last), derived)
    examples = [shipped(values["W"], u, r, rule="frozen") for u in values["u"]]
    yield "shipped", distance(examples, derived)
    held = given | {f"c_{r}": last["c"]}
    yield from differentiate(
        lambda W: forward(layer, held | {"W": W}, apply_generated)[f"v_{r}"], values["W"], derived
    )


def draw(node: Node, rng: Generator) -> Arrays:
    """Draw a shape, and the numbers that a node reads; two output capsules or more, to compete."""
    size = dict(zip("aijlp", rng.integers((1, 1, 2, 1, 1), (4, 5, 5, 5, 4)).tolist(), strict=True))
    values = {
        name_of(x): rng.standard_normal([size[i.name[0]] for i in x.indices]) for x in node.inputs
    }
    if node is nodes.MARGIN_LOSS:  # lengths on both sides of the corners
        values["v"] *= 0.5
        values["T"] = np.eye(size["j"])[rng.integers(size["j"], size=size["a"])]
        values |= MARGINS
    return values


def draw_layer(rng: Generator, iterations: int) -> tuple[list[Node], Arrays]:
    """The nodes of a layer; W and u, and the first logits."""
    values = draw(nodes.PREDICTION, rng)
    W, u = values["W"], values["u"]
    return layer_nodes(iterations), values | {"b_1": np.zeros((len(u), *W.shape[:2]))}


def at_zero(values: Arrays) -> Arrays:
    """Return `values` with one s or v, whose norm a formula may hold, put to 0."""
    zeroed = {name: values[name].copy() for name in "sv" if name in values}
    for x in zeroed.values():
        x[0, 0] = 0
    return values | zeroed


def _call(function: NumpyFunction, values: Arrays) -> object:
    """Call generated code with what it asks for."""
    return function(*(values[name] for name in inspect.signature(function.function).parameters))


def _by_name(names: Iterable[str], found: object) -> Arrays:
    """dx by name, of one array or a tuple of them."""
    found = found if isinstance(found, tuple) else (found,)
    return {f"d{name}": dx for name, dx in zip(names, found, strict=True)}


def _of_jacobian(dv_dW: Callable, x: Arrays, r: int) -> np.ndarray:
    """dW = Σ dv ∂v/∂W, over the examples too."""
    pairs = zip(x["dv"], x["u"], strict=True)
    return sum(np.tensordot(dv, dv_dW(x["W"], u, r), 2) for dv, u in pairs)


def _of_routing(route_vjp: Callable, x: Arrays, r: int, **rule: str) -> np.ndarray:
    return route_vjp(route(x["z"], r), x["dv"], **rule)


def _of_layer(layer_vjp: Callable, x: Arrays, r: int, **rule: str) -> tuple:
    return layer_vjp(x["W"], x["u"], capsule_layer(x["W"], x["u"], r), x["dv"], **rule)


CHECKS: dict[str, Callable[[Callable, Generator, int], Errors]] = {
    "squash": partial(formula, nodes.SQUASH, lambda squash, x: squash(x["s"])),
    "squash-jacobian": squash_jacobian,
    "squash-vjp": partial(node_gradients, nodes.SQUASH, "s", lambda vjp, x: vjp(x["s"], x["dv"])),
    "prediction": partial(formula, nodes.PREDICTION, lambda predict, x: predict(x["W"], x["u"])),
    "prediction-vjp": partial(
        node_gradients, nodes.PREDICTION, "Wu", lambda vjp, x: vjp(x["W"], x["u"], x["dz"])
    ),
    "frozen-jacobian": frozen_jacobian,
    "coupling": partial(formula, nodes.COUPLING, lambda softmax, x: softmax(x["b"])),
    "total-input": partial(in_layer, "s_2", lambda route, x, r: route(x["z"], 2).steps[1].s),
    "agreement": partial(in_layer, "b_2", lambda route, x, r: route(x["z"], 2).steps[1].b),
    "routing": partial(in_layer, "v_{r}", lambda route, x, r: route(x["z"], r).v),
    "frozen-vjp": partial(layer_gradients, "z", ["frozen"], _of_routing),
    "margin-loss": partial(
        formula, nodes.MARGIN_LOSS, lambda loss, x: loss(x["v"], x["T"].argmax(axis=-1), **MARGINS)
    ),
    "margin-loss-vjp": partial(
        node_gradients,
        nodes.MARGIN_LOSS,
        "v",
        lambda vjp, x: x["dL"] * vjp(x["v"], x["T"].argmax(axis=-1), **MARGINS),
    ),
    "coupling-vjp": partial(
        node_gradients, nodes.COUPLING, "b", lambda vjp, x: vjp(x["c"], x["dc"])
    ),
    "total-input-vjp": partial(in_routing, nodes.TOTAL_INPUT, "cz", 1),
    "agreement-vjp": partial(in_routing, nodes.AGREEMENT, "bvz", 2),
    "unrolled-vjp": partial(layer_gradients, "z", ["unrolled"], _of_routing),
    "unrolled-jacobian": partial(layer_gradients, "W", ["unrolled"], _of_jacobian),
    "layer": partial(in_layer, "v_{r}", lambda layer, x, r: layer(x["W"], x["u"], r).v),
    "layer-vjp": partial(layer_gradients, "Wu", ["frozen", "unrolled"], _of_layer),
}
