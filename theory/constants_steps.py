r"""Single steps of the proofs behind the explicit constants, as pairs of sides that exact arithmetic can compare.

Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", supplement, proofs of Lemma SA-7.4 and of Theorems SA-2.4, SA-3.4, SA-4.4, SA-5.4; and the
units that every constant must have. All functions take fractions and return fractions.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from stepbias.theory.constants import Constants, compute
from stepbias.theory.constants_formulas import Assumed, moments
from stepbias.theory.constants_right import altered, mean_square, second_form_13


class Sides(NamedTuple):
    """The two sides of a claim left <= right (or, where it says so, left = right)."""

    left: Fraction
    right: Fraction


def elementary(a: Fraction, b: Fraction, K: Fraction, h: Fraction, without: str = "") -> Sides:
    """|a^2 - b^2 - 2 b K h| <= 2 |b| |r| + 2 |K| h |r| + r^2 + K^2 h^2, r = a - b - K h (proof of (7.5)).

    Parameters
    ----------
    a, b, K, h : Fraction
    without : {"", "K^2 h^2", "2 |K| h |r|", "r^2", "2 |b| |r|"}
        A term left out; the print leaves out the first.
    """
    r = a - b - K * h
    terms = {
        "2 |b| |r|": 2 * abs(b * r),
        "2 |K| h |r|": 2 * abs(K * r) * h,
        "r^2": r**2,
        "K^2 h^2": (K * h) ** 2,
    }
    return Sides(
        abs(a**2 - b**2 - 2 * b * K * h), sum((v for k, v in terms.items() if k != without), Fraction(0))
    )  # fmt: skip


class WithRoot(NamedTuple):
    """plain + factor sqrt(dim)."""

    plain: Fraction
    factor: Fraction
    dim: int

    @property
    def is_negative(self) -> bool:
        """Whether the number is < 0, by squares alone."""
        x, y = self.plain, self.factor
        if x >= 0 and y >= 0:
            return False
        if x <= 0 and y <= 0:
            return x < 0 or y < 0
        # of opposite signs: the one with the larger square decides
        larger_plain = x**2 > y**2 * self.dim
        return x < 0 if larger_plain else y < 0 and x**2 != y**2 * self.dim


def induction(c: Constants, growth: str = "(1 + X) sqrt(p)") -> WithRoot:
    """Right less left of (C_1 + X d_1) sqrt(p) <= C_1 d_2, d_1 = C_1, divided by C_1 and sqrt(p): the last step of the induction over n.

    Parameters
    ----------
    c : Constants
        Of fractions.
    growth : str
        d_2: "(1 + X) sqrt(p)"; "(1 + X d_1) sqrt(p)" as printed; or a wrong one: "1 + X", "X sqrt(p)".

    Returns
    -------
    WithRoot
        Not negative where the step holds; X = spread sqrt(p).
    """
    p, X = c.assumed.dim, c.spread
    plain, factor = Fraction(-1), -X
    if growth == "1 + X":  # divided by sqrt(p): X / sqrt(p) = spread, 1 / sqrt(p) = sqrt(p) / p
        return WithRoot(plain + X, factor + Fraction(1, p), p)
    own = {
        "(1 + X) sqrt(p)": (Fraction(1), X),
        "(1 + X d_1) sqrt(p)": (Fraction(1), X * c.local),
        "X sqrt(p)": (Fraction(0), X),
    }[growth]
    return WithRoot(plain + own[0], factor + own[1], p)


def summed_square(c: Constants, h: Fraction, factor: str = "max(1, h^2)") -> Sides:
    """The mean of (7.5) over all ages, / h^2, against C_26 times a factor: the last step of (7.4).

    Parameters
    ----------
    c : Constants
        Of fractions, corrected.
    h : Fraction
    factor : {"max(1, h^2)", "1", "max(1, h)"}
        The second is the print's, which takes h <= 1; the third is wrong.
    """
    M1 = c.assumed.M[0]
    r1, r2, r3, r4 = moments(c.assumed.rho)
    s = c.C19 + 2 * c.C8 - c.C13  # B_k = (C_13 age^2 + s age) / 2
    first = M1 * (c.C13 * r2 + s * r1)
    second = c.C9 * (c.C13 * r3 + s * r2)
    third = (c.C13**2 * r4 + 2 * s * c.C13 * r3 + s**2 * r2) / 4
    left = first + second * h + third * h**2 + c.C9**2 * r2
    right = {"max(1, h^2)": mean_square(c, h), "1": c.C26, "max(1, h)": c.C26 * max(1, h)}
    return Sides(left, right[factor])


def second_form(c: Constants, change: str = "") -> Sides:
    """The two expressions for C_13, which must be equal; "printed" or "R^2 for R q" changes the second one."""
    if change == "R^2 for R q":
        a = c.assumed
        last = c.D1 * a.dim**2 / c.q * a.M[0] ** 2 * a.M[1] ** 2 / a.root
        return Sides(c.C13, second_form_13(c, False) + last * (1 / a.root - 1 / c.q))
    return Sides(c.C13, second_form_13(c, change == "printed"))


# Powers of a factor s on all losses, with epsilon and R (which are gradients) alike, that each constant must scale with.
LOSS_POWERS = {
    -3: ("C16", "C23"),
    -2: ("C21",),
    -1: ("C22",),
    0: ("C28", "D1", "C17", "C18", "C27", "D2", "leading_second", "A_second", "B_second", "D3", "C29", "local", "spread"),
    1: ("C7", "C8", "C9", "C11", "C12", "C13", "C19", "C20", "C24", "C30", "C31"),
    2: ("C5", "C6", "C10", "C14", "C15", "product_second", "C25", "C26"),
}  # fmt: skip


def wrong_units(a: Assumed, s: Fraction, corrected: bool = True, change: str = "") -> list[str]:
    """Names of the constants that do not scale as what they bound does when all losses are multiplied by s.

    Parameters
    ----------
    a : Assumed
        Of fractions.
    s : Fraction
    corrected : bool
        False: the constants as printed.
    change : str
        A change of one constant, see :func:`stepbias.theory.constants_right.altered`.
    """
    scaled = Assumed(
        a.dim, tuple(s * M for M in a.M), a.beta, a.rho, s * a.eps, s * a.root, a.horizon
    )  # fmt: skip
    here, there = (altered(compute(one, corrected), change) for one in (a, scaled))
    return [
        name
        for power, names in LOSS_POWERS.items()
        for name in names
        if getattr(there, name) != s**power * getattr(here, name)
    ]
