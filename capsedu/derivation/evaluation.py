"""An index expression as plain Python, entry by entry: what the generated NumPy is held against."""

from collections.abc import Mapping

import numpy as np
import sympy as sp
from sympy import Indexed

from capsedu.derivation.index_notation import SIZES, name_of


def evaluate(
    expression: sp.Expr, indices: tuple[sp.Symbol, ...], values: Mapping[str, np.ndarray | float]
) -> np.ndarray:
    """y[indices] = expression, by SymPy's own lambdify: sums as sums, deltas as comparisons.

    Slow, and independent of how the NumPy is generated.

    Parameters
    ----------
    expression : Expr
        Over tensors, scalar symbols and sums.
    indices : tuple of index
        Its free indices, in the order of the axes of y.
    values : mapping of str to array or number
        The tensors, with the axes they have in the notation, and the scalar symbols, by name.

    Returns
    -------
    y : ndarray of float

    Raises
    ------
    KeyError
        If a value is missing.
    """
    sizes: dict[sp.Symbol, int] = {}
    for entry in expression.atoms(Indexed):
        shape = np.shape(values[name_of(entry)])
        sizes |= {SIZES[x.name[0]]: d for x, d in zip(entry.indices, shape, strict=True)}
    # Python has no primes in its names.
    symbols = expression.atoms(sp.Symbol)
    plain = {x: sp.Symbol(x.name.replace("'", "_")) for x in symbols if "'" in x.name}
    names = [x.xreplace(plain) for x in indices] + [*sizes] + list(values)
    function = sp.lambdify(names, expression.xreplace(plain), "math")
    shape = [sizes[SIZES[x.name[0]]] for x in indices]
    given = [*sizes.values(), *values.values()]
    return np.array([function(*at, *given) for at in np.ndindex(*shape)], float).reshape(shape)
