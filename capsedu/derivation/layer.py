"""The layer and its gradient from the nodes: each formula in turn, then the VJPs backwards."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import sympy as sp
from sympy import Indexed

from capsedu.arguments import as_count, as_numbers, check_rule, check_shape
from capsedu.derivation.index_notation import Node, gradient_of, ignored_shift, name_of, tensor, vjp
from capsedu.derivation.nodes import LAYER
from capsedu.derivation.numpy_function import NumpyFunction, write_function
from capsedu.derivation.numpy_source import NEW, Begin, Source
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
    places = _places(_with(nodes), iterations)
    source = Source()
    _write_forward(source, places)
    _write_backward(source, places, rule)
    W, u = places[0].inputs
    v = places[-1].output
    about = ABOUT.format(f"{iterations} iteration{'s' * (iterations > 1)} of routing", rule)
    arguments = {"W": W, "u": u, "dv": gradient_of(v)}
    results = {"v": v, "dW": gradient_of(W), "du": gradient_of(u)}
    function = write_function("layer_gradient", about, arguments, source, results)
    return GeneratedLayer(function.name, function.source)


@dataclass(frozen=True)
class _Place:
    """A node in the layer: in iteration 2 its c is c_2. Iteration 0 comes before."""

    node: Node
    iteration: int = 0

    @property
    def names(self) -> dict[str, str]:
        """Tensor of the node -> array; what is not in it keeps its name."""
        k = self.iteration
        names = {x: f"{x}_{k}" for x in ("b", "c", "s", "v")} | {"b_next": f"b_{k + 1}"}
        return names | {f"d{x}": f"d{name}" for x, name in names.items()}

    def named(self, expression: sp.Expr) -> sp.Expr:
        """The expression over the arrays that its tensors are here."""
        entries = {x: self.names.get(name_of(x), name_of(x)) for x in expression.atoms(Indexed)}
        return expression.xreplace({x: tensor(entries[x], *x.indices) for x in entries})

    @property
    def output(self) -> Indexed:
        return self.named(self.node.output)

    @property
    def inputs(self) -> list[Indexed]:
        return [self.named(x) for x in self.node.inputs]

    def write(
        self, source: Source, entry: sp.Expr, expression: sp.Expr, equation: str, begin: Begin = NEW
    ) -> None:
        """Write entry = expression, both in the node's own names."""
        shifted = self.names.get(ignored_shift(self.node), "") if self.iteration > 1 else ""
        source.assign(self.named(entry), self.named(expression), equation, begin, shifted)


def _with(replaced: Iterable[Node]) -> list[Node]:
    """The nodes of the layer, some replaced."""
    layer = {node.id: node for node in LAYER}
    for node in replaced:
        old = layer.get(node.id)
        if old is None:
            raise ValueError(f"nodes: got id {node.id!r}, want one of {', '.join(layer)}")
        got = [node.output, *node.inputs, *node.parameters]
        want = [old.output, *old.inputs]
        if got != want:
            raise ValueError(f"nodes: got {node.id} with output and inputs {got}, want {want}")
        layer[node.id] = node
    return list(layer.values())


def _places(layer: list[Node], iterations: int) -> list[_Place]:
    """Where each node stands, in the order of the forward pass."""
    prediction, *loop = layer
    places = [_Place(node, k) for k in range(1, iterations + 1) for node in loop]
    # After the last iteration nothing asks for new logits.
    return [_Place(prediction), *places[:-1]]


def _write_forward(source: Source, places: list[_Place]) -> None:
    for place in places:
        node, k = place.node, place.iteration
        if node.id in ("prediction", "coupling"):
            source.header(f"Iteration {k}" if k else "Prediction vectors")
        if node.id == "coupling" and k == 1:
            source.write("b_1", "np.zeros(z.shape[:-1], z.dtype)", "routing")
        place.write(source, node.output, node.formula, node.id)


def _write_backward(source: Source, places: list[_Place], rule: str) -> None:
    moves = {"W", "u"}  # what changes with W or u
    for place in places:
        held = rule == "frozen" and place.node.id == "coupling"
        if not held and moves.intersection(map(name_of, place.inputs)):
            moves.add(name_of(place.output))
    begins = {places[-1].output: NEW}  # of what has a gradient: how its next line begins
    for n, place in reversed([*enumerate(places)]):
        node, k = place.node, place.iteration
        if place.output not in begins:
            continue
        if node.id in ("prediction", "agreement") or place is places[-1]:
            source.header(f"Back through iteration {k}" if k else "Back to W and u")
        inputs = zip(node.inputs, place.inputs, strict=True)
        for x, entry in ((x, entry) for x, entry in inputs if name_of(entry) in moves):
            dx, slope, equation = gradient_of(x), vjp(node, x), f"{node.id}-vjp"
            is_name = entry not in begins and getattr(slope, "indices", None) == dx.indices
            if is_name and any(entry in earlier.inputs for earlier in places[:n]):
                # No line of its own: db_2 = db_3 + ... is written when the next term comes.
                begins[entry] = f"{name_of(place.named(slope))} + ", f"{equation} + "
            else:
                place.write(source, dx, slope, equation, begins.get(entry, NEW))
                begins[entry] = f"{name_of(place.named(dx))} + ", ""
