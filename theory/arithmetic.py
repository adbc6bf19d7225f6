"""Arithmetics that a formula in plain NumPy can be evaluated in: doubles, the machine's wider numbers, and software floats.

What a formula needs of them is a conversion that keeps a double's value, five elementary functions, and Python's operators on arrays. Software floats are
entries of object arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

Array = Any  # arrays of float64, of longdouble, or of mpmath numbers

_DIGITS = 30  # of the software floats: twice those of a double


@dataclass(frozen=True)
class Arithmetic:
    """One arithmetic.

    Attributes
    ----------
    name : str
        For reports.
    unit : float
        Relative rounding unit.
    cost : float
        Time of one operation on an array entry, relative to longdouble; rough.
    real : callable
        Doubles, integers or their arrays as numbers of this arithmetic, values unchanged; strings are read to full precision.
    sqrt, exp, sin, cos, tanh : callable
        Entry by entry.
    function : callable
        Elementary function by its name in NumPy or mpmath ("log", "erf", ...); ``AttributeError`` where there is none.
    """

    name: str
    unit: float
    cost: float
    real: Callable[[Any], Array]
    sqrt: Callable[[Array], Array]
    exp: Callable[[Array], Array]
    sin: Callable[[Array], Array]
    cos: Callable[[Array], Array]
    tanh: Callable[[Array], Array]
    function: Callable[[str], Any]


def _machine(name: str, unit: float, kind: Any) -> Arithmetic:
    def real(value: Any) -> Array:
        return kind(value) if np.ndim(value) == 0 else np.asarray(value, dtype=kind)

    functions = (np.sqrt, np.exp, np.sin, np.cos, np.tanh)
    return Arithmetic(name, unit, 1.0, real, *functions, lambda key: getattr(np, key))


DOUBLE = _machine("float64", 2.0**-53, np.float64)
EXTENDED = _machine("longdouble, 64-bit significand", 2.0**-64, np.longdouble)


@cache
def software(digits: int = _DIGITS) -> Arithmetic:
    """Floats of ``digits`` decimal digits, computed by mpmath: about a hundred times slower, the same on every machine."""
    import mpmath

    context = (
        mpmath.MPContext()
    )  # its own: the precision that a user has set globally is left alone
    context.dps = digits
    convert = np.frompyfunc(context.mpf, 1, 1)

    def real(value: Any) -> Array:
        if isinstance(value, str) or np.ndim(value) == 0:
            return context.mpf(value.item() if isinstance(value, np.generic) else value)
        return convert(np.asarray(value).astype(object))

    names = ("sqrt", "exp", "sin", "cos", "tanh")
    sqrt, exp, sin, cos, tanh = (np.frompyfunc(getattr(context, n), 1, 1) for n in names)
    unit = 2.0**-context.prec
    return Arithmetic(
        f"{digits}-digit software floats (mpmath)",
        unit,
        100.0,
        real,
        sqrt,
        exp,
        sin,
        cos,
        tanh,
        lambda key: getattr(context, key),
    )


def longdouble_is_wider() -> bool:
    """Whether this machine's longdouble has more digits than a double, in its operations and in its elementary functions."""
    one, bit = np.longdouble(1.0), np.longdouble(2.0) ** -60
    s, c = np.sin(one), np.cos(one)
    t, e = np.tanh(one), np.exp(one + one)
    # 1e-18 is ten units of the 64-bit significand and a hundredth of a double's
    identities = (s * s + c * c - one, t - (e - one) / (e + one))
    return bool(one + bit != one and all(abs(gap) < 1e-18 for gap in identities))


def second() -> Arithmetic:
    """The arithmetic that checks the compiled kernels: longdouble where it is wider than a double, else software floats."""
    return EXTENDED if longdouble_is_wider() else software()
