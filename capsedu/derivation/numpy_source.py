"""From an expression in index notation to lines of NumPy: einsum, and broadcasting."""

import itertools
import re

import sympy as sp
from sympy import Indexed, KroneckerDelta, Sum
from sympy.printing.numpy import NumPyPrinter
from sympy.printing.precedence import PRECEDENCE

from capsedu.derivation.index_notation import SIZES, free_indices, index, name_of, root_of

LONGEST = 96  # columns of a line and its comment, before a function's body is indented
Axes = tuple[sp.Symbol, ...]


class Source:
    """Straight-line NumPy, an equation at a time; what was computed once has a name and is used.

    Attributes
    ----------
    lines : list of str
        What was written so far.
    sizes : set of Symbol
        The sizes that the lines need by name, such as B.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.sizes: set[sp.Symbol] = set()
        self._known: dict[sp.Expr, sp.Symbol] = {}
        self._taken: set[str] = set()
        self._shifted = ""

    def header(self, text: str) -> None:
        """Say what the next lines are about."""
        self.lines += ["", f"# {text}"]

    def write(self, target: str, text: str, equation: str) -> None:
        """Write `target = text`, with the id of its equation as a comment."""
        if len(f"{target} = {text}  # {equation}") > LONGEST:  # as a formatter would have it
            text, calls = re.subn(r"einsum\(([^()]*)\)$", r"einsum(\n    \1\n)", text)
            text = text if calls else f"(\n    {text}\n)"
        self.lines.append(f"{target} = {text}  # {equation}")

    def assign(
        self,
        target: sp.Expr,
        expression: sp.Expr,
        equation: str,
        add: bool = False,
        shifted: str = "",
    ) -> None:
        """Write `target = expression`, or add the expression to terms that came before.

        Parameters
        ----------
        target : Indexed, or Symbol for a number
            The array, with the axes it is to have.
        expression : Expr
            Over tensors that are called as their arrays are.
        equation : str
            The comment: the equation's id.
        add : bool
            Whether the target has terms already, to which these are added.
        shifted : str
            An array to take with its maximum over the last axis subtracted, so that its exp does
            not overflow; where the expression ignores that.

        Raises
        ------
        ValueError
            If it divides by what may be 0 and is no norm, or lacks one of the axes.
        """
        self._shifted = shifted
        name, axes = name_of(target), getattr(target, "indices", ())
        if axes and not expression.has(Indexed, KroneckerDelta):
            raise ValueError(f"{equation}: {name} = {expression} lacks the axes {axes}")
        terms = [self._term(x, name, axes, equation) for x in sp.Add.make_args(expression)]
        terms.sort(key=lambda text: text.startswith("-"))
        begin = f"{name} + " if add else ""
        if len(f"{name} = {begin}{' + '.join(terms)}  # {equation}") <= LONGEST:
            terms = [" + ".join(terms)]
        for term in terms:
            self.write(name, f"{begin}{term}".replace("+ -", "- "), equation)
            begin = f"{name} + "

    def _term(self, term: sp.Expr, target: str, axes: Axes, equation: str) -> str:
        """One product, or the sum of one, with the axes given."""
        number, product = term.as_independent(Indexed, KroneckerDelta, as_Add=False)
        self.sizes |= number.free_symbols & set(SIZES.values())
        if product == 1:  # no axes: NumPy adds it to every entry
            return _text(number)
        if isinstance(product, Sum):
            einsum = _einsum(self._operands(product.function, equation), axes)
            return _text(number * sp.Symbol(einsum))
        groups: dict[Axes, sp.Expr] = {}
        for factor in sp.Mul.make_args(product):
            key = free_indices(factor)
            groups[key] = groups.get(key, 1) * self._value(factor, equation)
        # What lacks the last axis is a coefficient, computed before it meets that axis.
        along = "_".join(sorted(str(x) for key, x in groups.items() if key[-1:] == axes[-1:]))
        for key, value in groups.items():
            if key[-1:] != axes[-1:] and not (value.is_Symbol or (1 / value).is_Symbol):
                sign = -1 if number.could_extract_minus_sign() else 1
                value, number = value * number * sign, sp.Integer(sign)
                groups[key] = self._name(value, value, f"{target}_along_{along}", equation)
        if any(key != axes[: len(key)] for key in groups) or axes not in groups:
            return _text(number * sp.Symbol(_einsum(list(groups.items()), axes)))
        spread = (_spread(value, len(axes) - len(key)) for key, value in groups.items())
        return _text(sp.Mul(number, *spread))

    def _operands(self, product: sp.Expr, equation: str) -> list[tuple[Axes, sp.Expr]]:
        """The arrays of a product that is summed, x twice for x², with their axes."""
        operands = []
        for factor in sp.Mul.make_args(product):
            axes, value = free_indices(factor), self._value(factor, equation)
            square = value.is_Pow and value.base.is_Symbol and value.exp == 2
            operands += [(axes, value.base), (axes, value.base)] if square else [(axes, value)]
        return sorted(operands, key=lambda operand: str(operand[1]))

    def _value(self, expression: sp.Expr, equation: str) -> sp.Expr:
        """The expression with the name of an array for every tensor, sum and function in it."""
        if isinstance(expression, Indexed):
            return self._array(name_of(expression), equation)
        if isinstance(expression, KroneckerDelta):
            size = SIZES[expression.args[0].name[0]]
            self.sizes.add(size)
            eye = sp.Symbol(f"np.eye({size}, dtype=bool)")
            return self._name(eye, eye, f"eye_{size}", equation)
        if isinstance(expression, Sum):
            return self._sum(expression, equation)
        if not expression.args:
            return expression
        if len({free_indices(x) for x in expression.args if x.has(Indexed)}) > 1:
            raise ValueError(f"{equation}: {expression} adds or takes entries of different axes")
        value = expression.func(*(self._value(x, equation) for x in expression.args))
        if isinstance(expression, sp.exp | sp.Max):
            label = "hinge" if isinstance(expression, sp.Max) else _label(expression)
            return self._name(expression, value, label, equation)
        if expression.is_Pow and expression.exp.is_negative and not value.is_positive:
            if root_of(expression.base) is None:
                raise ValueError(f"{equation}: divides by {expression.base}, which may be 0")
            (norm,) = value.free_symbols
            nonzero = sp.Symbol(f"np.where({norm} == 0, 1, {norm})", positive=True)
            comment = f"{equation}: at 0 it divides only 0"
            return value.xreplace({norm: self._name(nonzero, nonzero, f"{norm}_or_1", comment)})
        return value

    def _array(self, name: str, equation: str) -> sp.Expr:
        """The array of a tensor, less its maximum where that was asked for."""
        array = sp.Symbol(name, real=True)
        if name != self._shifted:
            return array
        largest = sp.Symbol(f"{name}.max(axis=-1, keepdims=True)", real=True)
        return array - self._name(
            largest, largest, f"max_{name}", f"{equation}: unchanged by this shift"
        )

    def _sum(self, sum_: Sum, equation: str) -> sp.Expr:
        """The array that holds a sum: ‖x‖² for one of squares."""
        operands = self._operands(sum_.function, equation)
        einsum = sp.Symbol(
            _einsum(operands, free_indices(sum_)), real=True, positive=sum_.function.is_positive
        )
        entry = root_of(sum_)
        if entry is not None:
            norm = sp.Symbol(f"np.sqrt({einsum})", nonnegative=True)
            return self._name(sum_, norm, f"norm_{name_of(entry)}", equation) ** 2
        labels = [_label(x) for x in sp.Mul.make_args(sum_.function)]
        label = "_dot_".join(labels) if len(labels) > 1 else f"sum_{labels[0]}"
        return self._name(sum_, einsum, label, equation)

    def _name(self, key: sp.Expr, value: sp.Expr, label: str, equation: str) -> sp.Symbol:
        """The name of an array that holds `value`, written on a line of its own the first time."""
        plain = {x: index(x.name[0]) for x in free_indices(key)}
        if len(set(plain.values())) == len(plain):  # exp(b[i, j']) is the array of exp(b[i, j])
            key = key.xreplace(plain)
        if key not in self._known:
            names = (label if n == 1 else f"{label}_{n}" for n in itertools.count(1))
            name = next(name for name in names if name not in self._taken)
            self._taken.add(name)
            self.write(name, _text(value), equation)
            signs = {"positive": value.is_positive, "nonnegative": value.is_nonnegative}
            self._known[key] = sp.Symbol(name, real=True, **signs)
        return self._known[key]


def _einsum(operands: list[tuple[Axes, sp.Expr]], axes: Axes) -> str:
    """Σ over every index of the operands that is not among the axes."""
    (key, value), *others = operands
    if not others and value.is_Symbol and key[:-1] == axes:
        return f"{value}.sum(axis=-1)"
    letters = _letters({x for key, _ in operands for x in key})
    subscripts = ",".join("".join(letters[x] for x in key) for key, _ in operands)
    if not set(axes) <= letters.keys():
        raise ValueError(f"{operands} lack one of the axes {axes}")
    arrays = ", ".join(_text(value) for _, value in operands)
    best_order = ", optimize=True" if len(operands) > 2 else ""
    return f'np.einsum("{subscripts}->{"".join(letters[x] for x in axes)}", {arrays}{best_order})'


def _letters(indices: set[sp.Symbol]) -> dict[sp.Symbol, str]:
    """i for i, and for i' too when there is no i; else I for i'."""
    letters: dict[sp.Symbol, str] = {}
    for x in sorted(indices, key=str):
        letter = x.name[0]
        letters[x] = letter.upper() if letter in letters.values() else letter
    return letters


def _spread(value: sp.Expr, axes: int) -> sp.Expr:
    """x[..., None] for each array x in `value`, to meet so many axes more."""
    if not axes:
        return value
    spread = f"[...{', None' * axes}]"
    return value.xreplace({x: sp.Symbol(f"{x}{spread}") for x in value.free_symbols})


def _label(expression: sp.Expr) -> str:
    """exp_minus_b_1 for exp(-b_1[a, i, j])."""
    entries = {x: sp.Symbol(name_of(x)) for x in expression.atoms(Indexed)}
    return re.sub(r"\W+", "_", str(expression.xreplace(entries)).replace("-", "minus_")).strip("_")


def _text(expression: sp.Expr) -> str:
    """SymPy's own NumPy text, with spaces around * and /."""
    text = _Printer().doprint(expression).replace("numpy.", "np.").replace(")**", ") ** ")
    return re.sub(r" ?(?<!\*)([*/])(?!\*) ?", r" \1 ", text)


class _Printer(NumPyPrinter):
    """SymPy's NumPy printer, but for two forms that it writes otherwise than people do."""

    def __init__(self) -> None:
        super().__init__({"order": "none"})

    def _print_Pow(self, power: sp.Pow, rational: bool = False) -> str:
        if power.exp == -1:
            return f"1/{self.parenthesize(power.base, PRECEDENCE['Pow'])}"
        return super()._print_Pow(power, rational)

    def _print_Max(self, expression: sp.Max) -> str:
        return f"numpy.maximum({', '.join(map(self._print, expression.args))})"
