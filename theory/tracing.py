"""One run of a user's update rule on symbols: what an optimizer does in a step, as SymPy expressions.

The arguments of the rule are replaced by objects that record arithmetic. Comparing them, or asking for a truth value, an absolute value, a maximum or a sign,
raises: the theory needs rules with two continuous derivatives, and a branch would be traced on one side only.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np
import sympy

NOT_SMOOTH = (
    "the theory needs rules with two continuous derivatives in every argument; abs, max, min and the true sign are not covered (use a smooth one, such as "
    "x / sqrt(x**2 + delta) or tanh(x / delta)), and a branch would be traced on one side only"
)

# Floats with at most this denominator become exact rationals (x ** 0.5 is a square root); others keep their 53 bits.
_DENOMINATOR = 2**12
_ROUGH = (
    sympy.Abs,
    sympy.sign,
    sympy.Max,
    sympy.Min,
    sympy.Piecewise,
    sympy.Heaviside,
    sympy.DiracDelta,
    sympy.floor,
    sympy.ceiling,
    sympy.Mod,
    sympy.re,
    sympy.im,
    sympy.arg,
)


def _number(value: Any) -> Any:
    """A number as SymPy's, value unchanged; ``NotImplemented`` for anything else."""
    if isinstance(value, Traced):
        return value.expression
    if isinstance(value, bool | np.bool_):
        return NotImplemented
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return _number(value.item())
    if isinstance(value, int | np.integer):
        return sympy.Integer(int(value))
    if isinstance(value, Fraction):
        return sympy.Rational(value.numerator, value.denominator)
    if isinstance(value, float | np.floating):
        number = float(value)
        if not np.isfinite(number):
            raise ValueError(f"update uses the number {number}; accepted: finite numbers")
        numerator, denominator = number.as_integer_ratio()
        if denominator <= _DENOMINATOR and abs(numerator) < 2**53:
            return sympy.Rational(numerator, denominator)
        return sympy.Float(number)
    return NotImplemented


def _binary(function: Callable[[Any, Any], Any], swap: bool = False) -> Any:
    def method(self: Traced, other: Any) -> Any:
        number = _number(other)
        if number is NotImplemented:
            return NotImplemented
        pair = (number, self.expression) if swap else (self.expression, number)
        return Traced(function(*pair))

    return method


def _refusal(what: str) -> Any:
    def method(self: Traced, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"update takes {what} of an argument: {NOT_SMOOTH}")

    return method


class Traced:
    """A number that is not known yet: arithmetic on it is recorded in ``expression``."""

    __slots__ = ("expression",)

    def __init__(self, expression: Any) -> None:
        self.expression = expression

    __add__ = _binary(operator.add)
    __radd__ = _binary(operator.add, True)
    __sub__ = _binary(operator.sub)
    __rsub__ = _binary(operator.sub, True)
    __mul__ = _binary(operator.mul)
    __rmul__ = _binary(operator.mul, True)
    __truediv__ = _binary(operator.truediv)
    __rtruediv__ = _binary(operator.truediv, True)
    __pow__ = _binary(operator.pow)
    __rpow__ = _binary(operator.pow, True)

    def __neg__(self) -> Traced:
        return Traced(-self.expression)

    def __pos__(self) -> Traced:
        return self

    __abs__ = _refusal("the absolute value")
    __bool__ = _refusal("the truth value (an if, or max and min)")
    __lt__ = __le__ = __gt__ = __ge__ = _refusal("a comparison")
    __eq__ = __ne__ = _refusal("a comparison")
    __hash__ = object.__hash__
    __float__ = __int__ = __complex__ = __index__ = _refusal(
        "the value (stepbias.sqrt, exp, log and tanh take symbols, those of the module math do not)"
    )
    __round__ = __floor__ = __ceil__ = __trunc__ = _refusal("a rounding")
    __mod__ = __rmod__ = __floordiv__ = __rfloordiv__ = _refusal("a remainder or integer quotient")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **_: Any) -> Any:
        """NumPy's functions of a traced number, where they are smooth."""
        known = _UFUNCS.get(ufunc.__name__)
        if method != "__call__" or known is None:
            raise TypeError(f"update takes numpy.{ufunc.__name__} of an argument: {NOT_SMOOTH}")
        numbers = [_number(x) for x in inputs]
        if any(x is NotImplemented for x in numbers):
            return NotImplemented
        return Traced(known(*numbers))

    def __repr__(self) -> str:
        return f"<traced {self.expression}>"


_UFUNCS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
    "float_power": operator.pow,
    "negative": operator.neg,
    "positive": operator.pos,
    "square": lambda x: x**2,
    "sqrt": sympy.sqrt,
    "exp": sympy.exp,
    "log": sympy.log,
    "tanh": sympy.tanh,
}


def sqrt(x: Any) -> Any:
    """Square root of a number, an array, or a traced argument of an update rule."""
    return np.sqrt(x)


def exp(x: Any) -> Any:
    """Exponential of a number, an array, or a traced argument of an update rule."""
    return np.exp(x)


def log(x: Any) -> Any:
    """Natural logarithm of a number, an array, or a traced argument of an update rule."""
    return np.log(x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent of a number, an array, or a traced argument of an update rule."""
    return np.tanh(x)


class Parameters:
    """The ``q`` of an update rule: parameters as attributes, and nothing else."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"q.{name} is no parameter; accepted: {', '.join(self.__dict__) or 'none (define was given no parameters)'}"
        )


GRADIENT = sympy.Symbol("g", real=True)
POSITION = sympy.Symbol("theta", real=True)
STEP = sympy.Symbol("n", real=True, nonnegative=True)


def state_symbol(index: int) -> Any:
    """State number ``index`` before the step."""
    return sympy.Symbol(f"s{index}", real=True)


def parameter_symbol(name: str) -> Any:
    """A parameter."""
    return sympy.Symbol(f"q.{name}", real=True)


@dataclass(frozen=True)
class Trace:
    """What one step does, in the symbols above.

    Attributes
    ----------
    direction : sympy expression
        theta <- theta - h direction.
    states : tuple of sympy expressions
        The new states.
    """

    direction: Any
    states: tuple[Any, ...]


def outputs(update: Callable[..., Any], arguments: tuple[Any, ...], states: int) -> list[Any]:
    """Direction and new states of one call, checked for their number."""
    result = update(*arguments)
    accepted = (
        f"update returns (direction, new_state) with new_state a tuple of {states} as state is"
    )
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(f"update returned {result!r}; accepted: {accepted}")
    direction, new = result
    if not isinstance(new, Sequence) or len(new) != states:
        raise ValueError(f"update returned new_state = {new!r}; accepted: {accepted}")
    return [direction, *new]


def trace(update: Callable[..., Any], states: int, names: tuple[str, ...]) -> Trace:
    """Run ``update`` once on symbols.

    Parameters
    ----------
    update : function (g, state, n, theta, q) -> (direction, new_state)
    states : int
        Length of ``state``.
    names : tuple of str
        Parameters, the attributes of q.

    Raises
    ------
    TypeError
        Where the rule compares an argument, or takes its absolute value, maximum or sign.
    ValueError
        Where it returns something else, or an expression that is not smooth or not real.
    """
    q = Parameters({name: Traced(parameter_symbol(name)) for name in names})
    state = tuple(Traced(state_symbol(i)) for i in range(states))
    arguments = (Traced(GRADIENT), state, Traced(STEP), Traced(POSITION), q)
    found = [_expression(x) for x in outputs(update, arguments, states)]
    again = [_expression(x) for x in outputs(update, arguments, states)]
    if found != again:
        raise ValueError(
            "update gives another result when it is called again; accepted: a function of its arguments alone"
        )
    return Trace(found[0], tuple(found[1:]))


def _expression(value: Any) -> Any:
    number = _number(value)
    if number is NotImplemented:
        raise ValueError(
            f"update returned {value!r} of type {type(value).__name__}; accepted: numbers made of its arguments"
        )
    rough = sorted({f.func.__name__ for f in number.atoms(*_ROUGH)})
    if rough:
        raise ValueError(f"update contains {', '.join(rough)} ({number}): {NOT_SMOOTH}")
    if number.has(sympy.I, sympy.zoo, sympy.oo, -sympy.oo, sympy.nan):
        raise ValueError(
            f"update contains {number}, which is not real and finite; accepted: real expressions"
        )
    return number
