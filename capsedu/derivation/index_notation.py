"""Index notation: tensors with named axes, sums over them, derivatives by Kronecker deltas.

The letter of an index names its axis: a the example, i the input capsule, j the output capsule, l
an entry of an output vector, p an entry of an input vector. Primes tell the indices of one axis
apart. Sizes stay symbols, so that what is derived here holds for every shape.
"""

from dataclasses import dataclass
from functools import cache

import sympy as sp
from sympy import Indexed, IndexedBase, KroneckerDelta, Sum

SIZES = dict(zip("aijlp", sp.symbols("B I J m n", integer=True, positive=True), strict=True))


def index(name: str) -> sp.Symbol:
    """Return the index `name`: a letter of SIZES, and primes or none."""
    return sp.Symbol(name, integer=True, nonnegative=True)


def tensor(name: str, *indices: sp.Symbol) -> sp.Expr:
    """Return the entry of the real tensor `name` at `indices`; without any, the number `name`."""
    return IndexedBase(name, real=True)[indices] if indices else sp.Symbol(name, real=True)


def total(expression: sp.Expr, *indices: sp.Symbol) -> sp.Expr:
    """Σ over all values of each of the `indices`."""
    limits = [(x, 0, SIZES[x.name[0]] - 1) for x in indices]
    return Sum(expression, *limits) if limits else expression


def free_indices(expression: sp.Expr) -> tuple[sp.Symbol, ...]:
    """Return the indices that are not summed over, in the order of the axes of an array."""
    found = (x for x in expression.free_symbols if isinstance(x, sp.Symbol))
    return tuple(sorted((x for x in found if _is_index(x)), key=lambda x: x.name))


def name_of(entry: sp.Expr) -> str:
    """Return "s" for s[a, j, l]."""
    return str(entry.base) if isinstance(entry, Indexed) else entry.name


@dataclass(frozen=True)
class Node:
    """One operation of the forward pass: output = formula, for all values of the free indices.

    Attributes
    ----------
    id : str
        The equation's id.
    output : Indexed, or Symbol for a number
        What it computes; its indices have no primes.
    formula : Expr
        Over tensors, scalar symbols and sums. An index that is summed over carries a prime:
        SymPy would otherwise take it for the free one of that name, and derive something else.

    Raises
    ------
    ValueError
        If the formula is not of that form; the message says what is wrong in it.
    """

    id: str
    output: sp.Expr
    formula: sp.Expr

    def __post_init__(self) -> None:
        """Hold output and formula to index notation."""
        for sum_ in self.formula.atoms(Sum):
            for x, *limits in sum_.limits:
                if not _is_index(x) or limits != [0, SIZES[x.name[0]] - 1]:
                    raise self._fault(f"a sum over {(x, *limits)}", "a sum over a whole axis")
                if not x.name.endswith("'"):
                    raise self._fault(f"a sum over {x}", f"a prime, {x}', on a summed index")
                if any(x in inner.variables for inner in sum_.function.atoms(Sum)):
                    raise self._fault(f"a sum over {x} inside another", "two names")
        axes: dict[str, str] = {}
        for entry in self.formula.atoms(Indexed) | {self.output}:
            letters = "".join(x.name[0] for x in getattr(entry, "indices", ()) if _is_index(x))
            wanted = axes.setdefault(name_of(entry), letters)
            if not wanted == letters == "".join(sorted(set(letters))):
                raise self._fault(f"{entry}", "each axis once, in the order a, i, j, l, p")
            if len(letters) != len(getattr(entry, "indices", ())):
                raise self._fault(f"{entry}", "indices that are made by index()")
        free, own = free_indices(self.formula), free_indices(self.output)
        if not set(free) <= set(own) or any("'" in x.name for x in own):
            raise self._fault(f"free indices {free}", f"those of the output, {own}, without primes")

    def _fault(self, got: str, want: str) -> ValueError:
        return ValueError(f"{self.id}: got {got}, want {want}")

    @property
    def inputs(self) -> list[Indexed]:
        """The tensors that the formula reads, by name, at indices without primes."""
        return inputs_of(self.formula)

    @property
    def parameters(self) -> list[sp.Symbol]:
        """The scalar symbols of the formula, by name."""
        return parameters_of(self.formula)


def inputs_of(expression: sp.Expr) -> list[Indexed]:
    """Return the tensors in an expression, by name, at indices without primes."""
    found = {x.base[tuple(index(i.name[0]) for i in x.indices)] for x in expression.atoms(Indexed)}
    return sorted(found, key=name_of)


def parameters_of(expression: sp.Expr) -> list[sp.Symbol]:
    """Return the scalar symbols in an expression, by name; sizes are none."""
    entries = expression.atoms(Indexed)
    others = entries | {x.base.label for x in entries} | set(SIZES.values())
    return sorted((x for x in expression.free_symbols - others if not _is_index(x)), key=str)


def gradient_of(entry: sp.Expr) -> sp.Expr:
    """Return dx, ∂L/∂x, for a tensor's entry x."""
    return tensor(f"d{name_of(entry)}", *getattr(entry, "indices", ()))


@cache
def vjp(node: Node, argument: Indexed) -> sp.Expr:
    """dx[β] = Σ_α dy[α] ∂y[α]/∂x[β],  for y = node.output and x = argument.

    SymPy differentiates; then every sum that a Kronecker delta decides is carried out. Where the
    result can be written with y instead of x, it is: exp(b_ij)/Σ_j' exp(b_ij') is c_ij.

    Parameters
    ----------
    node : Node
        y = formula.
    argument : Indexed
        x, one of `node.inputs`.

    Returns
    -------
    Expr
        In the indices of x; dy is the tensor "d" + the name of y.
    """
    y, formula = node.output, _set_apart(node.formula)
    apart = {x: index(x.name + "'") for x in free_indices(y)}
    slope = formula.xreplace(apart).diff(argument)
    dy = gradient_of(y).xreplace(apart)
    slope_in_y = slope.subs(formula.xreplace(apart), y.xreplace(apart))
    in_y = _contract(total(dy * slope_in_y, *apart.values())).subs(formula, y)
    if argument.base in {entry.base for entry in in_y.atoms(Indexed)}:
        in_y = contract(total(dy * slope, *apart.values()))
    return zero_where_norms_are(tidy(_with_primes(in_y, free_indices(in_y))))


@cache
def ignored_shift(node: Node) -> str:
    """Return the input x, in an exp, for which y stays when x_j becomes x_j + t for all j.

    Parameters
    ----------
    node : Node
        y = formula.

    Returns
    -------
    str
        The name of x; "" if there is none, or SymPy does not show it. For a softmax, "b": as
        exp(b + t) = exp(b) exp(t), what exp(t) adds cancels.
    """
    for x in inputs_of(sp.Tuple(*node.formula.atoms(sp.exp))):
        entries = (entry for entry in node.formula.atoms(Indexed) if entry.base == x.base)
        shift = {entry: entry + tensor("t", *entry.indices[:-1]) for entry in entries}
        if contract(sp.expand(node.formula.xreplace(shift))) == contract(node.formula):
            return name_of(x)
    return ""


@cache
def jacobian(node: Node, output: Indexed, argument: Indexed) -> sp.Expr:
    """∂y/∂x = ∂output/∂argument, with Kronecker deltas for the axes that the two share.

    Parameters
    ----------
    node : Node
        y = formula.
    output : Indexed
        `node.output`, at any indices.
    argument : Indexed
        One of `node.inputs`, at any indices: the example of `output`, since examples do not mix.

    Returns
    -------
    Expr
        In the indices of `output` and `argument`.
    """
    place = dict(zip(node.output.indices, output.indices, strict=True))
    return tidy(contract(_set_apart(node.formula).xreplace(place).diff(argument)))


def contract(expression: sp.Expr) -> sp.Expr:
    """Carry out each sum that a delta decides: Σ_j' δ_jj' x_j' = x_j; pull constants out of others.

    Raises
    ------
    ValueError
        If a delta with a summed index stands inside a function, where it decides nothing.
    """
    return _with_primes(_contract(_set_apart(expression)), free_indices(expression))


def _contract(expression: sp.Expr) -> sp.Expr:
    if isinstance(expression, Sum):
        terms = sp.Add.make_args(sp.expand_mul(_contract(expression.function)))
        return sp.Add(*(_contract_product(term, expression.variables) for term in terms))
    if isinstance(expression, Indexed) or not expression.args:
        return expression
    return expression.func(*map(_contract, expression.args))


def _contract_product(term: sp.Expr, indices: tuple[sp.Symbol, ...]) -> sp.Expr:
    """Σ of one product over `indices`."""
    left = []
    for x in indices:
        deltas = (f for f in sp.Mul.make_args(term) if isinstance(f, KroneckerDelta) and f.has(x))
        delta = next(deltas, None)
        if delta is None:
            left.append(x)
        else:
            (other,) = set(delta.args) - {x}
            term = (term / delta).xreplace({x: other})
    for x in left:
        if any(delta.has(x) for delta in term.atoms(KroneckerDelta)):
            raise ValueError(f"cannot contract over {x}: a delta stands inside a function: {term}")
        outside, inside = term.as_independent(x, as_Add=False)
        term = outside * total(inside, x)
    return term


def _set_apart(expression: sp.Expr) -> sp.Expr:
    """Give each summed index a name that no free one has, * for ', so that none is captured."""
    if isinstance(expression, Indexed) or not expression.args:
        return expression
    expression = expression.func(*map(_set_apart, expression.args))
    summed = expression.variables if isinstance(expression, Sum) else ()
    return expression.xreplace({x: index(x.name.replace("'", "*")) for x in summed})


def _with_primes(expression: sp.Expr, taken: tuple[sp.Symbol, ...]) -> sp.Expr:
    """Give each summed index the fewest primes that tell it from those `taken` and in its sum."""
    if isinstance(expression, Indexed) or not expression.args:
        return expression
    expression = expression.func(*(_with_primes(x, taken) for x in expression.args))
    for x in expression.variables if isinstance(expression, Sum) else ():
        name = x.name[0] + "'"
        while index(name) in (expression.atoms(sp.Symbol) - {x}).union(taken):
            name += "'"
        expression = expression.xreplace({x: index(name)})
    return expression


def tidy(expression: sp.Expr) -> sp.Expr:
    """Collect the terms that are alike along the entries of vectors, and factor what is left.

    Without such an axis, l or p, along the last one.
    """
    for step in expression.atoms(sp.Heaviside):  # max(0, t) step(t) is max(0, t)
        hinge = sp.Max(0, *step.args[:1])
        expression = expression.subs(hinge * step, hinge)
    coefficients: dict[sp.Expr, sp.Expr] = {}
    indices = free_indices(expression)
    entries = [x for x in indices if x.name[0] in "lp"] or indices[-1:]
    for term in sp.Add.make_args(sp.expand_mul(expression)):
        before, along = term.as_independent(*entries, as_Add=False)
        coefficients[along] = coefficients.get(along, 0) + before
    return sp.Add(*(_factored(before) * along for along, before in coefficients.items()))


def _factored(coefficient: sp.Expr) -> sp.Expr:
    """factor(coefficient), with a leading minus taken into a difference: −(x − 1) is 1 − x."""
    number, factors = sp.factor(coefficient).as_coeff_mul()
    difference = next((f for f in factors if f.is_Add), None)
    if number.is_negative and difference is not None:
        number, factors = -number, [-f if f is difference else f for f in factors]
    return sp.Mul(number, *factors)


def root_of(expression: sp.Expr) -> Indexed | None:
    """Return x of a sum Σ x², or None."""
    x, power = expression.function.as_base_exp() if isinstance(expression, Sum) else (None, 1)
    return x if isinstance(x, Indexed) and power == 2 else None


def zero_where_norms_are(expression: sp.Expr) -> sp.Expr:
    """Return the expression, if each term that a norm ‖x‖ divides may be taken as 0 at x = 0.

    With εx for x, it goes to 0 with ε, or to what depends on the direction of x: a corner, where
    0 is taken. And what stands above the norm is 0, so that any divisor gives 0.

    Raises
    ------
    ValueError
        If it is otherwise.
    """
    for term in sp.Add.make_args(expression):
        for x in {root_of(p.base) for p in term.atoms(sp.Pow) if p.exp.is_negative} - {None}:
            eps = sp.Dummy(positive=True)
            entries = {y for y in term.atoms(Indexed) if y.base == x.base}
            scaled = contract(term.xreplace({y: eps * y for y in entries}))
            held = {y: sp.Dummy(positive=True) for y in scaled.atoms(Sum, sp.Max)}
            limit = sp.limit(scaled.xreplace(held), eps, 0, "+")
            corner = bool(entries & limit.atoms(Indexed)) and not limit.is_infinite
            above = sp.fraction(term)[0].xreplace(dict.fromkeys(entries, sp.S.Zero)).doit()
            if above != 0 or not (limit == 0 or corner):
                raise ValueError(f"{term} goes to {limit} at {x.base} = 0, want 0 or a corner")
    return expression


def _is_index(x: sp.Basic) -> bool:
    return isinstance(x, sp.Symbol) and x.name.rstrip("'*") in SIZES and bool(x.is_integer)
