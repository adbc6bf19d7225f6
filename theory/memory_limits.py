r"""Full batch, n to infinity: the memoryless equation in closed form, theta' = -(v + h c).

With g the gradient, H the Hessian, S the smooth sign; the sums of the weights, and of weight times age, that the derivation leaves are geometric series. Adam
and NAdam: Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Remark 3.2 and the same computation with Nesterov's weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Product = Callable[[Floats], Floats]


class LimitField(NamedTuple):
    """v and c, each (p,): theta' = -(v + h c)."""

    leading: Floats
    correction: Floats

    def rate(self, h: float) -> Floats:
        """The field."""
        return -(self.leading + h * self.correction)


def gradient_descent(g: Floats, product: Product) -> LimitField:
    """v = g, c = H g / 2.

    Parameters
    ----------
    g : (p,) float64
        Gradient.
    product : function (p,) -> (p,)
        v -> H v.
    """
    return LimitField(g, product(g) / 2.0)


def heavy_ball(g: Floats, product: Product, beta: float) -> LimitField:
    """v = g / (1 - beta), c = (1 + beta) / (2 (1 - beta)^3) H g."""
    return LimitField(g / (1.0 - beta), (1.0 + beta) / (2.0 * (1.0 - beta) ** 3) * product(g))


def heavy_ball_gamma(beta: float, n: int) -> float:
    """gamma_n of the heavy ball: its O(h) term at step n is gamma_n times that of the limit, (1 + beta) / (2 (1 - beta)^3) H g."""
    start = 4.0 * (n + 1) * beta ** (n + 1) * (1.0 - beta) / (1.0 + beta)
    return 1.0 - beta ** (2 * n + 2) - start


def nesterov(g: Floats, product: Product, beta: float) -> LimitField:
    """v = g / (1 - beta), c = (1 - beta + 2 beta^2) / (2 (1 - beta)^3) H g."""
    factor = (1.0 - beta + 2.0 * beta**2) / (2.0 * (1.0 - beta) ** 3)
    return LimitField(g / (1.0 - beta), factor * product(g))


def _scaled(
    g: Floats,
    product: Product,
    rho: float,
    eps: float,
    eps_root: float,
    weight_decay: float,
    theta: Floats,
    momentum: float,
) -> LimitField:
    """Adam and its kin; ``momentum`` is 1 + 2 times the mean age of the numerator's weights."""
    R = np.sqrt(g**2 + eps_root)
    D = R + eps
    v = g / D + weight_decay * theta
    bracket = momentum - (1.0 + rho) / (1.0 - rho) * g**2 / (R * D)
    return LimitField(v, product(v) / (2.0 * D) * bracket + weight_decay / 2.0 * v)


def adamw(
    g: Floats,
    product: Product,
    beta: float,
    rho: float,
    eps: float,
    eps_root: float = 0.0,
    weight_decay: float = 0.0,
    theta: Floats | float = 0.0,
) -> LimitField:
    """v = g / D + lambda theta, c = (H v) / (2 D) [(1 + beta)/(1 - beta) - (1 + rho)/(1 - rho) g^2 / (R D)] + lambda v / 2; Adam: lambda = 0."""
    momentum = (1.0 + beta) / (1.0 - beta)
    position = np.broadcast_to(np.asarray(theta, dtype=np.float64), g.shape)
    return _scaled(g, product, rho, eps, eps_root, weight_decay, position, momentum)


def nadam(
    g: Floats, product: Product, beta: float, rho: float, eps: float, eps_root: float = 0.0
) -> LimitField:
    """As Adam with 1 + 2 beta^2 / (1 - beta) in place of (1 + beta) / (1 - beta)."""
    momentum = 1.0 + 2.0 * beta**2 / (1.0 - beta)
    return _scaled(g, product, rho, eps, eps_root, 0.0, np.zeros_like(g), momentum)


def smooth_sign(x: Floats, delta: float, shape: str) -> tuple[Floats, Floats]:
    """S and S': x / sqrt(x^2 + delta) for "soft", tanh(x / delta) for "tanh"."""
    if shape == "soft":
        return x / np.sqrt(x**2 + delta), delta / (x**2 + delta) ** 1.5
    found = np.tanh(x / delta)
    return found, (1.0 - found**2) / delta


def smooth_lion(
    g: Floats,
    product: Product,
    beta_1: float,
    beta_2: float,
    delta: float,
    weight_decay: float = 0.0,
    shape: str = "soft",
    theta: Floats | float = 0.0,
) -> LimitField:
    """v = S(g) + lambda theta, c = (1/2 + beta_1 / (1 - beta_2)) S'(g) (H v) + lambda v / 2."""
    sign, slope = smooth_sign(g, delta, shape)
    v = sign + weight_decay * np.broadcast_to(np.asarray(theta, dtype=np.float64), g.shape)
    factor = 0.5 + beta_1 / (1.0 - beta_2)
    return LimitField(v, factor * slope * product(v) + weight_decay / 2.0 * v)


def smooth_signum(
    g: Floats, product: Product, beta: float, delta: float, shape: str = "soft"
) -> LimitField:
    """v = S(g), c = (1 + beta) / (2 (1 - beta)) S'(g) (H v)."""
    sign, slope = smooth_sign(g, delta, shape)
    return LimitField(sign, (1.0 + beta) / (2.0 * (1.0 - beta)) * slope * product(sign))
