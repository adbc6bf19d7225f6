"""Sums in two parts, high + low: a number and what its rounding lost."""

from __future__ import annotations

from stepbias.kernels.jit import inline


@inline
def add(high: float, low: float, change: float) -> tuple[float, float]:
    """(high + low) + change as a new pair, exact up to the rounding of the low part (two-sum of Knuth)."""
    change += low
    total = high + change
    part = total - high
    return total, (high - (total - part)) + (change - part)


@inline
def gap(high: float, low: float, other_high: float, other_low: float) -> float:
    """Difference of two numbers, each a pair high + low."""
    return (high - other_high) + (low - other_low)
