"""The layer and its gradient from the nodes: each formula in turn, then the VJPs backwards."""

from collections.abc import Iterable, Iterator

import numpy as np
from sympy import Indexed

from capsedu.arguments import as_count, as_numbers, check_rule, check_shape
from capsedu.derivation.index_notation import Node, gradient_of, ignored_shift, name_of, tensor, vjp
from capsedu.derivation.nodes import LAYER
from capsedu.derivation.numpy_function import NumpyFunction, write_function
from capsedu.derivation.numpy_source import Source
from capsedu.predictions import check_layer

ABOUT = """\
A capsule layer and its gradient, {}, {}.

Written by capsedu.derivation.generate_layer from the formulas of the forward pass in index
notation. Each line ends in the id of its equation; those in -vjp were derived by SymPy.

Formulas are computed as they stand. With ‖s‖ s / (1 + ‖s‖²) for squash, this is accurate where ‖s‖
is 0 or from 1e-150 to 1e60 (float32: 1e-18 to 1e7). Beyond, powers of ‖s‖ underflow or overflow,
and dW and du are wrong or NaN."""


class GeneratedLayer(NumpyFunction):
    """What `generate_layer` returns: the text in `.source`, and layer(W, u, dv) -> v, dW, du.

    Formulas are computed as they stand. With ‖s‖ s / (1 + ‖s‖²) for squash, dW and du are accurate
    where each ‖s‖ is 0 or from 1e-150 to 1e60 (float32: 1e-18 to 1e7), v up to 1e150 (float32:
    1e18). Beyond, ‖s‖² underflows, or ‖s‖ (1 + ‖s‖²)² overflows, and they are wrong or NaN;
    `capsedu.capsule_layer` and `capsule_layer_vjp` are right there too.
    """

    def __call__(
        self, W: np.ndarray, u: np.ndarray, dv: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """v = capsule_layer(W, u).v, and the vector-Jacobian products dW, du of dv.

        Parameters
        ----------
        W : array_like, shape (I, J, m, n)
            Transformation matrices.
        u : array_like, shape (…, I, n)
            Activities of the input capsules.
        dv : array_like, shape (…, J, m)
            ∂L/∂v.

        Returns
        -------
        v, dW, du : ndarray, shapes (…, J, m), (I, J, m, n), (…, I, n)

        Raises
        ------
        ValueError
            If a shape does not fit, or an argument holds no numbers.
        """
        W, u = check_layer(W, u)
        dv = as_numbers("dv", dv)
        check_shape("dv", dv, batch=u.shape[:-2], J=W.shape[1], m=W.shape[2])
        return self.function(W, u, dv)


def generate_layer(
    iterations: int = 3, rule: str = "unrolled", nodes: Iterable[Node] = ()
) -> GeneratedLayer:
    """Write layer_gradient(W, u, dv) -> v, dW, du in NumPy, for so many iterations and one rule.

    Forward, the formula of each node in its turn. Backward, from dv, its vector-Jacobian product
    for each input that changes with W or u; by the frozen rule, the couplings don't.

    Parameters
    ----------
    iterations : int
        r, at least 1.
    rule : "unrolled" or "frozen"
        Whether the couplings are functions of W and u, or stored constants.
    nodes : iterable of Node
        Taken instead of the nodes of `capsedu.derivation.nodes` that have their id: another
        squash, say. Output and inputs stay the same.

    Returns
    -------
    GeneratedLayer
        With `.source`, and callable.

    Raises
    ------
    ValueError
        If `iterations` is less than 1, `rule` is unknown, or a node fits nowhere.

    Notes
    -----
    Equations `prediction`, `routing`, `coupling`, `total-input`, `squash`, `agreement` and their
    `-vjp`: notebook 05.
    """
    iterations = as_count("iterations", iterations)
    check_rule(rule)
    forward = layer_nodes(iterations, nodes)
    source = Source()
    _write_forward(source, forward)
    _write_backward(source, list(backward(forward, "Wu", rule)), iterations)
    W, u = forward[0].inputs
    v = forward[-1].output
    about = ABOUT.format(f"{iterations} iteration{'s' * (iterations > 1)} of routing", rule)
    arguments = {"W": W, "u": u, "dv": gradient_of(v)}
    results = {"v": v, "dW": gradient_of(W), "du": gradient_of(u)}
    function = write_function("layer_gradient", about, arguments, source, results)
    return GeneratedLayer(function.name, function.source)


def layer_nodes(iterations: int, replaced: Iterable[Node] = ()) -> list[Node]:
    """The nodes of the forward pass in their order, each over its own arrays: c_2 for c.

    Logits start from b_1, which no node computes.
    """
    layer = {node.id: node for node in LAYER}
    for node in replaced:
        old = layer.get(node.id)
        if old is None:
            raise ValueError(f"nodes: got id {node.id!r}, want one of {', '.join(layer)}")
        got = [node.output, *node.inputs, *node.parameters]
        want = [old.output, *old.inputs]
        if got != want:
            raise ValueError(f"nodes: got {node.id} with output and inputs {got}, want {want}")
        for x in node.inputs:
            vjp(node, x)  # refuses what has no derivative, in the node's own names
        layer[node.id] = node
    prediction, *loop = layer.values()
    placed = [_placed(node, k) for k in range(1, iterations + 1) for node in loop]
    # After the last iteration nothing asks for new logits.
    return [prediction, *placed[:-1]]


def _placed(node: Node, k: int) -> Node:
    """The node over the arrays of iteration k."""
    names = {x: f"{x}_{k}" for x in ("b", "c", "s", "v")} | {"b_next": f"b_{k + 1}"}
    entries = {node.output, *node.formula.atoms(Indexed)}
    place = {x: tensor(names.get(name_of(x), name_of(x)), *x.indices) for x in entries}
    return Node(node.id, node.output.xreplace(place), node.formula.xreplace(place))


def backward(
    forward: list[Node], moving: Iterable[str], rule: str
) -> Iterator[tuple[Node, list[Indexed]]]:
    """Each node that has a gradient, the last first, and those of its inputs that get a term.

    dx is the sum of the vector-Jacobian products of all nodes that have the input x. By the frozen
    rule, couplings do not change with W and u.
    """
    moves = set(moving)
    for node in forward:
        held = rule == "frozen" and node.id == "coupling"
        if not held and moves.intersection(map(name_of, node.inputs)):
            moves.add(name_of(node.output))
    known = {forward[-1].output}  # what has a gradient
    for node in reversed(forward):
        if node.output in known:
            inputs = [x for x in node.inputs if name_of(x) in moves]
            known.update(inputs)
            yield node, inputs


def _write_forward(source: Source, nodes: list[Node]) -> None:
    source.header("Prediction vectors")
    iteration = 0
    for node in nodes:
        if node.id == "coupling":
            iteration += 1
            source.header(f"Iteration {iteration}")
            if iteration == 1:
                source.write("b_1", "np.zeros(z.shape[:-1], z.dtype)", "routing")
        source.assign(node.output, node.formula, node.id, shifted=_shifted(node))


def _write_backward(
    source: Source, steps: list[tuple[Node, list[Indexed]]], iteration: int
) -> None:
    begun: set[Indexed] = set()  # what has a term already
    for n, (node, inputs) in enumerate(steps):
        if node.id == "prediction":
            source.header("Back to W and u")
        elif n == 0 or node.id == "agreement":
            source.header(f"Back through iteration {iteration}")
            iteration -= 1
        for x in inputs:
            slope, equation = vjp(node, x), f"{node.id}-vjp"
            source.assign(gradient_of(x), slope, equation, x in begun, _shifted(node))
            begun.add(x)


def _shifted(node: Node) -> str:
    """The logits that are taken less their maximum; the first ones are 0."""
    logits = ignored_shift(node)
    return "" if logits == "b_1" else logits
