"""Bounds on derivatives of orders 0 .. 4 of composed functions.

A *majorant* of a function on a box is a tuple (M_0, .., M_4): M_k bounds the absolute value of all its partial derivatives of order k there. Sums, products
(Leibniz) and compositions (Faa di Bruno) of functions have majorants computed from those of their parts. Entries are floats or arrays of one shape.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Majorant = tuple[Any, ...]  # five entries


def product(first: Majorant, second: Majorant) -> Majorant:
    """Majorant of f g: a mixed derivative of order n is a sum of C(n, i) terms with i derivatives on f."""
    return tuple(
        sum(math.comb(n, i) * first[i] * second[n - i] for i in range(n + 1)) for n in range(5)
    )


def composition(outer: Majorant, inner: Majorant) -> Majorant:
    """Majorant of F(g), F of one variable with its derivatives bounded over the range of g."""
    _, m1, m2, m3, m4 = inner
    return (
        outer[0],
        outer[1] * m1,
        outer[2] * m1**2 + outer[1] * m2,
        outer[3] * m1**3 + 3.0 * outer[2] * m1 * m2 + outer[1] * m3,
        outer[4] * m1**4
        + 6.0 * outer[3] * m1**2 * m2
        + outer[2] * (3.0 * m2**2 + 4.0 * m1 * m3)
        + outer[1] * m4,
    )


def half_square(inner: Majorant) -> Majorant:
    """Majorant of g^2 / 2."""
    return tuple(0.5 * entry for entry in product(inner, inner))


def interval_product(low_1: Any, high_1: Any, low_2: Any, high_2: Any) -> tuple[Any, Any]:
    """Ends of the set of products of two intervals."""
    ends = (low_1 * low_2, low_1 * high_2, high_1 * low_2, high_1 * high_2)
    low = np.minimum(np.minimum(ends[0], ends[1]), np.minimum(ends[2], ends[3]))
    high = np.maximum(np.maximum(ends[0], ends[1]), np.maximum(ends[2], ends[3]))
    return low, high
