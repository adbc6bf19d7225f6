r"""The right sides of the lemmas and theorems, and wrong variants of single constants.

Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", supplement, Lemmas SA-6.1 to SA-7.5 and the theorems. A right side is a function of the constants,
the step size h and the age n - k (for sums over the past; the number of the step for the global error).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from stepbias.theory.constants import Constants
from stepbias.theory.constants_formulas import Number, moments


class Right(NamedTuple):
    """A right side.

    Attributes
    ----------
    constant : str
        Name of the constant that it is, up to a factor of h, of the age or of r_1; empty: a combination of several.
    value : function (constants, h, age) -> number
    """

    constant: str
    value: Callable[[Constants, Number, int], Number]


def past_gradient(c: Constants, age: Number) -> Number:
    """B_k of Lemma SA-7.3: |grad E_k(theta(t_k)) - grad E_k(theta(t_n)) - h U_k| is at most B_k h^2."""
    return age * (c.C19 / 2 + c.C8) + age * (age - 1) * c.C13 / 2


def past_square(c: Constants, h: Number, age: Number) -> Number:
    """(7.5) / h^2: the square of a past gradient against its expansion.

    From a^2 - b^2 - 2 b K h = 2 b r + 2 K h r + r^2 + K^2 h^2 with r = a - b - K h; the print drops K^2 h^2.
    """
    defect, slope = past_gradient(c, age), age * c.C9
    printed = 2 * c.assumed.M[0] * defect + 2 * slope * defect * h + defect**2 * h**2
    return printed + slope**2 if c.corrected else printed


def reciprocal(c: Constants) -> Number:
    """Lemma SA-7.5, for 1 / (sqrt(V of the past) + eps), / h^2."""
    R = c.assumed.root
    return (c.C25**2 + R**2 * c.C26) / (2 * R**3 * c.q**2)


def mean_square(c: Constants, h: Number) -> Number:
    """(7.4) / h^2, with the factor max(1, h^2) that the print lacks: its proof bounds h^3 and h^4 by h^2, which needs h <= 1."""
    return c.C26 * max(1, h**2) if c.corrected else c.C26


def second_form_13(c: Constants, printed: bool) -> Number:
    """The second expression for C_13; the print has (R + eps)^2 R under the last term where the first one needs (R + eps) R."""
    a = c.assumed
    M1, M2, M3, _ = a.M
    power = 2 if printed else 1
    return c.D1 * a.dim**2 / c.q * (M1 * M3 + M2**2 + M1**2 * M2**2 / (c.q**power * a.root))


def _fixed(name: str) -> Right:
    return Right(name, lambda c, h, age: getattr(c, name))


def _aged(name: str) -> Right:
    return Right(name, lambda c, h, age: age * getattr(c, name))


def _several(value: Callable[[Constants, Number, int], Number]) -> Right:
    return Right("", value)


def _growth(c: Constants, time: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(c.growth * time))


RIGHT: dict[str, Right] = {
    "P": _fixed("C5"),
    "Pbar": _fixed("C6"),
    "bias": _fixed("C28"),
    "rate": _fixed("D1"),
    "gradient'": _fixed("C7"),
    "gradient' + Hessian F": _fixed("C8"),
    "U": _aged("C9"),
    "P'": _several(lambda c, h, age: c.C10 + c.C14),
    "Pbar'": _fixed("C15"),
    "R'": _fixed("C11"),
    "U'": _aged("C13"),
    "(Hessian F)'": _fixed("C13"),
    "(D^-2 R^-1)'": _fixed("C16"),
    "A'": _fixed("C17"),
    "B'": _fixed("C18"),
    "bias'": _fixed("C27"),
    "rate'": _fixed("D2"),
    "gradient''": _fixed("C19"),
    "R''": _fixed("C20"),
    "(D^-2)''": _fixed("C21"),
    "(R^-1)''": _fixed("C22"),
    "(D^-2 R^-1)''": _fixed("C23"),
    "U''": _aged("C24"),
    "F''": _fixed("leading_second"),
    "Pbar''": _fixed("product_second"),
    "P''": Right("product_second", lambda c, h, age: moments(c.assumed.rho)[0] * c.product_second),
    "A''": _fixed("A_second"),
    "B''": _fixed("B_second"),
    "rate''": _fixed("D3"),
    "(7.1)": _aged("C7"),
    "(7.2)": _several(lambda c, h, age: c.C19 / 2 + c.C8 + (age - 1) * c.C13),
    "(7.3)": _several(lambda c, h, age: past_gradient(c, age)),
    "(7.5)": _several(lambda c, h, age: past_square(c, h, age)),
    "V of the past": _fixed("C25"),
    "V of the past - 2hP": Right("C26", lambda c, h, age: mean_square(c, h)),
    "D^-1 of the past": _several(lambda c, h, age: reciprocal(c)),
    "(7.6)": _several(lambda c, h, age: c.D3 / 6 + c.C27 / 2),
    "(7.7)": _fixed("C29"),
    "N of the past": _fixed("C31"),
    "N of the past - hL": _fixed("C30"),
    "local": _fixed("local"),
    "error": _several(lambda c, h, age: c.level * _growth(c, age * h) * h**2),
    "change of the error": _several(
        lambda c, h, age: c.difference * _growth(c, (age - 1) * h) * h**3
    ),
}
"""Right side of every left side that is measured, by its name."""


# Changes that are neither a factor nor a term left out: constant -> changed value.
_FORMULAS: dict[str, Callable[[Constants], dict[str, Number]]] = {
    "C26 with r_1 for r_2": lambda c: {"C26": _other_moment(c)},
    "C13 with p for p^2": lambda c: {"C13": c.C13 / c.assumed.dim},
    "C9 without p": lambda c: {"C9": c.C9 / c.assumed.dim},
    "C5 with rho for r_1": lambda c: {"C5": c.C6 * c.assumed.rho},
    "C18 without 2L": lambda c: {"C18": c.C18 / (2 * _b1(c) + 1)},
    "C26 with C9 for C9^2": lambda c: {"C26": _without_square(c)},
    "d_2 without X": lambda c: {"spread": 0.0},
    "C25 without M1": lambda c: {"C25": c.C25 / c.assumed.M[0]},
}


def _b1(c: Constants) -> Number:
    return c.assumed.beta / (1 - c.assumed.beta)


def _other_moment(c: Constants) -> Number:
    r1, r2, *_ = moments(c.assumed.rho)
    return sum(
        value * (r1 / r2 if name.endswith("r_2") else 1) for name, value in c.terms["C26"].items()
    )


def _without_square(c: Constants) -> Number:
    last = c.terms["C26"]["C9^2 r_2"]
    return c.C26 - last + last / c.C9


def altered(c: Constants, change: str) -> Constants:
    """The constants with one of them changed by itself; what is computed from it stays.

    Parameters
    ----------
    c : Constants
    change : str
        "" for none, "C9 x 0.9" for a factor, "C28 without bias" for a term left out (``c.terms`` names them), or a key of the table above.

    Raises
    ------
    ValueError
        For another change.
    """
    if not change:
        return c
    if change in _FORMULAS:
        return replace(c, **_FORMULAS[change](c))
    factor = re.fullmatch(r"(\w+) x ([\d.]+)", change)
    if factor and hasattr(c, factor[1]):
        return replace(c, **{factor[1]: getattr(c, factor[1]) * float(factor[2])})
    name, _, term = change.partition(" without ")
    if term in c.terms.get(name, {}):
        return replace(c, **{name: getattr(c, name) - c.terms[name][term]})
    raise ValueError(
        f"change = {change!r}; accepted: 'NAME x FACTOR', 'NAME without TERM', {', '.join(_FORMULAS)}"
    )
