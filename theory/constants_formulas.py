"""The formulas of the explicit constants of the error bounds for RMSProp and Adam, each a sum of named terms.

Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", supplement, Lemmas SA-6.1 to SA-7.5 and Theorem SA-2.3; what each bounds is said by
:class:`stepbias.theory.constants.Constants`. The formulas hold for floats and for fractions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Number = Any  # float or Fraction


@dataclass(frozen=True)
class Assumed:
    """What the theorems assume, as numbers.

    Attributes
    ----------
    dim : int
        p, the number of parameters.
    M : tuple of four numbers
        M_1 .. M_4: bounds on all partial derivatives of order 1 .. 4, loss per parameter^k.
    beta, rho, eps : number
        Of the optimizer; eps is what stands outside the root, in units of the gradient.
    root : number
        R: what no sqrt(V + eps_root) of a step comes below, in units of the gradient.
    horizon : number
        T, in units of the step size; at least h.
    """

    dim: int
    M: tuple[Number, Number, Number, Number]
    beta: Number
    rho: Number
    eps: Number
    root: Number
    horizon: Number


def moments(rho: Number) -> tuple[Number, Number, Number, Number]:
    """r_1 .. r_4, the moments of the ages under the weights (1 - rho) rho^k (proof of Lemma SA-7.4)."""
    a, b = rho, 1 - rho
    return (
        a / b,
        a * (1 + a) / b**2,
        a * (1 + 4 * a + a**2) / b**3,
        a * (1 + 11 * a + 11 * a**2 + a**3) / b**4,
    )


class Ledger:
    """Constants in the order in which they are computed, each with its terms."""

    def __init__(self) -> None:
        self.values: dict[str, Number] = {}
        self.terms: dict[str, dict[str, Number]] = {}

    def put(self, name: str, terms: Mapping[str, Number]) -> Number:
        """Note a sum of named terms and return it."""
        self.terms[name] = dict(terms)
        self.values[name] = sum(terms.values())
        return self.values[name]


def ledger(a: Assumed, corrected: bool) -> Ledger:
    """Every constant with its terms, in an order in which each needs only earlier ones."""
    c = Ledger()
    _sizes(a, c)
    _slopes(a, c)
    _curvatures(a, c)
    _third(a, c)
    _past(a, c, corrected)
    _local(a, c, corrected)
    return c


def _sizes(a: Assumed, c: Ledger) -> None:
    """Lemmas SA-6.1 and SA-6.4: the sums and the speed."""
    p, (M1, M2, _, _), R, q = a.dim, a.M, a.root, a.root + a.eps
    r1, b1 = moments(a.rho)[0], a.beta / (1 - a.beta)
    C9 = c.put("C9", {"sum": p * M1 * M2 / q})
    C5 = c.put("C5", {"sum": p * M1**2 * M2 / q * r1})
    C6 = c.put("C6", {"sum": p * M1**2 * M2 / q})
    C28 = c.put(
        "C28",
        {
            "2P + Pbar": M1 * (2 * C5 + C6) / (2 * q**2 * R),
            "2L + Lbar": (2 * b1 + 1) * C9 / (2 * q),
        },
    )
    D1 = c.put("D1", {"leading field": M1 / q, "bias": a.horizon * C28})
    c.put("C7", {"sum": p * M2 * D1})
    c.put("C8", {"sum": p * M2 * C28})
    c.put("spread", {"P": M2 / q * M1**2 / (R * q), "L": M2 / q})


def _slopes(a: Assumed, c: Ledger) -> None:
    """Lemmas SA-6.5 and SA-6.14: first derivatives in time, and the acceleration."""
    p, (M1, M2, M3, _), R, q = a.dim, a.M, a.root, a.root + a.eps
    r1, b1 = moments(a.rho)[0], a.beta / (1 - a.beta)
    D1, C5, C6, C7, C9 = (c.values[name] for name in ("D1", "C5", "C6", "C7", "C9"))
    C11 = c.put("C11", {"sum": D1 * p * M1 * M2 / R})
    C12 = c.put("C12", {"sum": D1 * p**2 * M1 * M3 / q})
    C13 = c.put(
        "C13",
        {
            "C12": C12,
            "numerator": p * M2 * D1 * p * M2 / q,
            "denominator": p * M2 * M1 * C11 / q**2,
        },
    )
    C10 = c.put("C10", {"sum": r1 * C7 * C9})
    C14 = c.put("C14", {"sum": M1 * C13 * r1})
    C15 = c.put(
        "C15",
        {
            "M2^2": 2 * D1 * p**2 * M1 * M2**2 / q,
            "M3": D1 * p**2 * M1**2 * M3 / q,
            "denominator": p * M1**2 * M2 * C11 / q**2,
        },
    )
    C16 = c.put("C16", {"D": 2 * C11 / (R * q**3), "R": C11 / (q**2 * R**2)})
    C17 = c.put(
        "C17",
        {
            "numerator": D1 * p * M2 * (2 * C5 + C6) / (2 * q**2 * R),
            "2P + Pbar": M1 * (2 * (C10 + C14) + C15) / (2 * q**2 * R),
            "denominator": M1 * (2 * C5 + C6) * C16 / 2,
        },
    )
    C18 = c.put(
        "C18",
        {
            "2L + Lbar": (2 * b1 + 1) * C13 / (2 * q),
            "denominator": (2 * b1 + 1) * C9 * C11 / (2 * q**2),
        },
    )
    c.put("C27", {"C17": C17, "C18": C18})
    c.put(
        "D2",
        {
            "numerator": D1 * p * M2 / q,
            "denominator": M1 * C11 / q**2,
            "bias": a.horizon * (C17 + C18),
        },
    )


def _curvatures(a: Assumed, c: Ledger) -> None:
    """Lemma SA-6.15: second derivatives in time."""
    p, (M1, M2, M3, M4), R, q = a.dim, a.M, a.root, a.root + a.eps
    D1, D2, C11 = (c.values[name] for name in ("D1", "D2", "C11"))
    c.put("C19", {"M3": p**2 * M3 * D1**2, "M2": p * M2 * D2})
    C20 = c.put(
        "C20",
        {
            "R'": C11 * p * M1 * M2 * D1 / R**2,
            "M2^2": p**2 * M2**2 * D1**2 / R,
            "M3": p**2 * M1 * M3 * D1**2 / R,
            "D2": p * M1 * M2 * D2 / R,
        },
    )
    C21 = c.put("C21", {"R'^2": 6 * C11**2 / q**4, "R''": 2 * C20 / q**3})
    C22 = c.put("C22", {"R'^2": 2 * C11**2 / R**3, "R''": C20 / R**2})
    c.put(
        "C23", {"(D^-2)''": C21 / R, "product": 4 * C11**2 / (R**2 * q**3), "(R^-1)''": C22 / q**2}
    )
    c.put(
        "C24",
        {
            "D'": p * 2 * C11 * (D1 * M2**2 * p + D1 * M1 * M3 * p) / q**2,
            "D''": p * M1 * M2 * (2 * C11**2 / q**3 + C20 / q**2),
            "M2 M3": p * 3 * D1**2 * M2 * M3 * p**2 / q,
            "M2^2": p * M2 * D2 * M2 * p / q,
            "M1 M4": p * M1 * D1**2 * M4 * p**2 / q,
            "M1 M3": p * M1 * D2 * M3 * p / q,
        },
    )


def _third(a: Assumed, c: Ledger) -> None:
    """Lemma SA-6.22: the third derivative; the supplement says that D_3 exists, and how."""
    M1, R, q = a.M[0], a.root, a.root + a.eps
    r1, b1 = moments(a.rho)[0], a.beta / (1 - a.beta)
    v = c.values
    C5, C6, C7, C9, C11, C13 = (v[name] for name in ("C5", "C6", "C7", "C9", "C11", "C13"))
    C16, C19, C20, C23, C24 = (v[name] for name in ("C16", "C19", "C20", "C23", "C24"))
    sums = 2 * C5 + C6  # 2 |P| + |Pbar|, and its derivatives
    sums_first = 2 * (v["C10"] + v["C14"]) + v["C15"]
    second = c.put("product_second", {"gradient": C19 * C9, "cross": 2 * C7 * C13, "U''": M1 * C24})
    sums_second = (2 * r1 + 1) * second
    weight = 1 / (q**2 * R)
    denominator_second = C20 / q**2 + 2 * C11**2 / q**3
    leading = c.put(
        "leading_second",
        {
            "numerator": C19 / q,
            "cross": 2 * C7 * C11 / q**2,
            "denominator": M1 * denominator_second,
        },
    )
    A = c.put(
        "A_second",
        {
            "numerator": C19 * sums * weight / 2,
            "2P + Pbar": M1 * sums_second * weight / 2,
            "denominator": M1 * sums * C23 / 2,
            "cross": C7 * sums_first * weight + (C7 * sums + M1 * sums_first) * C16,
        },
    )
    B = c.put(
        "B_second",
        {
            "2L + Lbar": (2 * b1 + 1) * C24 / (2 * q),
            "cross": (2 * b1 + 1) * C13 * C11 / q**2,
            "denominator": (2 * b1 + 1) * C9 * denominator_second / 2,
        },
    )
    c.put("D3", {"leading field": leading, "bias": a.horizon * (A + B)})


def _past(a: Assumed, c: Ledger, corrected: bool) -> None:
    """Lemma SA-7.4 and its counterpart for Adam's numerator: gradients at past times against gradients of the past at one point."""
    M1 = a.M[0]
    r1, r2, r3, r4 = moments(a.rho)
    b1 = a.beta / (1 - a.beta)
    C7, C8, C9, C13, C19 = (c.values[name] for name in ("C7", "C8", "C9", "C13", "C19"))
    s = abs(C19 + 2 * C8 - C13)
    c.put("C25", {"sum": 2 * M1 * C7 * r1})
    terms = {
        "M1 s r_1": M1 * s * r1,
        "M1 C13 r_2": M1 * C13 * r2,
        "s C9 r_2": s * C9 * r2,
        "s^2 r_2": s**2 / 4 * r2,
        "C9 C13 r_3": C13 * C9 * r3,
        "s C13 r_3": C13 / 2 * s * r3,
        "C13^2 r_4": C13**2 / 4 * r4,
    }
    if corrected:
        # (a - b)(a + b) with a - b = K h + r leaves K^2 h^2, which (7.5) drops
        terms["C9^2 r_2"] = C9**2 * r2
    c.put("C26", terms)
    c.put("C31", {"sum": b1 * C7})
    c.put("C30", {"b_1": b1 * (C19 / 2 + C8), "b_1^2": b1**2 * C13})


def _local(a: Assumed, c: Ledger, corrected: bool) -> None:
    """Theorems SA-2.3, SA-3.3, SA-4.3, SA-5.3."""
    p, (M1, M2, _, _), R, q = a.dim, a.M, a.root, a.root + a.eps
    v = c.values
    C29 = c.put(
        "C29",
        {
            "numerator": p * M2 / q * v["C28"],
            "denominator": p * M1**2 * M2 / (q**2 * R) * v["C28"],
        },
    )
    # Lemma SA-7.5 bounds a difference of 1/D, which the numerator, at most M_1, multiplies; the factor is not in the print
    numerator = M1 if corrected else 1
    c.put(
        "local",
        {
            "D3": v["D3"] / 6,
            "C27": v["C27"] / 2,
            "C29": C29 / 2,
            "C25^2": numerator * v["C25"] ** 2 / (2 * R**3 * q**2),
            "C26": numerator * v["C26"] / (2 * R * q**2),
            "C30": v["C30"] / q,
            "C31": v["C5"] * v["C31"] / (q**2 * R),
        },
    )
