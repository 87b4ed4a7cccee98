"""A whole function in NumPy: its text, and the function that the text defines."""

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp
from sympy import Indexed

from capsedu.derivation.index_notation import (
    SIZES,
    Node,
    free_indices,
    gradient_of,
    ignored_shift,
    inputs_of,
    name_of,
    parameters_of,
    vjp,
)
from capsedu.derivation.numpy_source import Source

ABOUT = """\
Equation {}, in NumPy.

Written by capsedu.derivation from the equation in index notation, and computed as it stands: where
its powers overflow or underflow, it is inexact or NaN. A capital letter in einsum is the second
index of its axis."""
MODULE = '''\
"""{about}

In einsum: a example, i input capsule, j output capsule, l entry of an output vector, p entry of an
input vector. dx is the derivative of the loss by x.
"""

import numpy as np


def {name}({given}):
{body}
'''


@dataclass(frozen=True)
class NumpyFunction:
    """Generated NumPy, to be read and called.

    Attributes
    ----------
    name : str
        What the source calls the function.
    source : str
        A module that imports NumPy alone.
    """

    name: str
    source: str

    @cached_property
    def function(self) -> Callable:
        """The function that `source` defines, by itself."""
        names: dict[str, Callable] = {}
        exec(compile(self.source, f"<generated {self.name}>", "exec"), names)
        return names[self.name]

    def __call__(self, *arguments: np.ndarray, **named: np.ndarray) -> np.ndarray | tuple:
        """Return what `function` returns; it checks no shapes."""
        return self.function(*arguments, **named)


def write_function(
    name: str,
    about: str,
    arguments: Mapping[str, sp.Expr],
    source: Source,
    results: Mapping[str, sp.Expr],
) -> NumpyFunction:
    """def name(arguments): source; return results. Batch axes become one, and are restored.

    Parameters
    ----------
    name : str
        Of the function.
    about : str
        What the module's docstring says: the first line, and what it was made from.
    arguments : mapping of str to Expr
        Parameter -> what the source takes it for: an entry of a tensor, or a scalar symbol.
    source : Source
        The lines between.
    results : mapping of str to Expr
        What the docstring calls it -> the entry that is returned.

    Returns
    -------
    NumpyFunction
    """
    arrays = {x: entry for x, entry in arguments.items() if isinstance(entry, Indexed)}
    batched = {x: len(entry.indices) - 1 for x, entry in arrays.items() if _has_batch(entry)}
    first, others = next(iter(batched.items()))
    returned = ", ".join(results)
    shapes = ", ".join(f"{x} ({', '.join(map(str, _shape(arrays[x])))})" for x in arrays)
    lines = [f'"""Return {returned}, for {shapes.replace("(B", "(…")}."""']
    lines += [f"{x} = 1.0 * np.asarray({x})" for x in arrays]
    lines[1] += "  # integers become float64, floats stay"
    if any(map(_has_batch, results.values())):
        lines.append(f"batch = {first}.shape[:-{others}]  # any number of axes: they become one, a")
    for x, others in batched.items():
        lines.append(f"{name_of(arrays[x])} = {x}.reshape(-1, *{x}.shape[-{others}:])")
    for size in sorted(source.sizes, key=str):
        entry = next(x for x in arrays.values() if size in _shape(x))
        length = f"{name_of(entry)}.shape[{_shape(entry).index(size)}]"
        # In a mean over the batch, an empty one counts as one example of loss 0.
        lines.append(f"{size} = max(1, {length})" if size == SIZES["a"] else f"{size} = {length}")
    lines += [*source.lines, ""]
    for y, entry in results.items():
        if _has_batch(entry):
            lines.append(f"{y} = {name_of(entry)}.reshape(batch + {name_of(entry)}.shape[1:])")
    lines.append(f"return {returned}")
    given, body = ", ".join(arguments), textwrap.indent("\n".join(lines), "    ")
    return NumpyFunction(name, MODULE.format(about=about, name=name, given=given, body=body))


def generate_function(equation: str, outputs: Mapping[sp.Expr, sp.Expr]) -> NumpyFunction:
    """Write a function that returns each output = expression, in NumPy.

    Parameters
    ----------
    equation : str
        The id of the equation; the function is called so, with _ for -.
    outputs : mapping of Expr to Expr
        Entry, with the axes that the array is to have -> expression.

    Returns
    -------
    NumpyFunction
        Of the tensors and scalar symbols of the expressions, by name.
    """
    expressions = sp.Tuple(*outputs.values())
    arguments = [*inputs_of(expressions), *parameters_of(expressions)]
    return _function(equation, arguments, Source(), outputs)


def generate_forward(node: Node) -> NumpyFunction:
    """y = formula, in NumPy: of the node's inputs and parameters, by name."""
    outputs = {node.output: node.formula}
    return _function(node.id, node.inputs + node.parameters, Source(), outputs, ignored_shift(node))


def generate_vjp(node: Node) -> NumpyFunction:
    """dx = vjp(node, x) for each input x, in NumPy: of the inputs, dy and the parameters."""
    slopes = {gradient_of(x): vjp(node, x) for x in node.inputs}
    arguments = [*node.inputs, gradient_of(node.output), *node.parameters]
    source, shifted = Source(), ignored_shift(node)
    if any(node.output in inputs_of(slope) for slope in slopes.values()):
        source.assign(node.output, node.formula, node.id, shifted=shifted)
    return _function(f"{node.id}-vjp", arguments, source, slopes, shifted)


def _function(
    equation: str,
    arguments: list[sp.Expr],
    source: Source,
    outputs: Mapping[sp.Expr, sp.Expr],
    shifted: str = "",
) -> NumpyFunction:
    """Write the outputs after what the source holds, all in their own names."""
    for entry, expression in outputs.items():
        source.assign(entry, expression, equation, shifted=shifted)
    given, results = ({name_of(x): x for x in entries} for entries in (arguments, outputs))
    return write_function(
        equation.replace("-", "_"), ABOUT.format(equation), given, source, results
    )


def _shape(entry: Indexed) -> list[sp.Symbol]:
    return [SIZES[x.name[0]] for x in entry.indices]


def _has_batch(entry: sp.Expr) -> bool:
    return any(x.name[0] == "a" for x in free_indices(entry))
