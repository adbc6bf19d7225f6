"""The two-parameter loss E(theta) = (y - theta_1 theta_2 x)^2 / 2: its derivatives as scalar formulas, compiled unchanged for every device."""

from __future__ import annotations


def value(x: float, y: float, s: float, t: float) -> float:
    """E at theta = (s, t)."""
    r = x * s * t - y
    return 0.5 * r * r


def gradient(x: float, y: float, s: float, t: float) -> tuple[float, float]:
    """Both components of the gradient at theta = (s, t)."""
    r = x * (x * s * t - y)
    return r * t, r * s


def product(x: float, y: float, s: float, t: float, u: float, v: float) -> tuple[float, float]:
    """Hessian at theta = (s, t) times (u, v)."""
    a, b = x * s, x * t
    mixed = 2.0 * a * b - x * y
    return b * b * u + mixed * v, mixed * u + a * a * v
