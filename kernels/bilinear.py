"""The two-parameter loss E(theta) = (y - theta_1 theta_2 x)^2 / 2, small enough to check by hand.

Packed data: ``reals`` = [x, y]. No scratch: the Hessian is computed from theta.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.jit import inline
from stepbias.kernels.oracle import Oracle, compile_oracle
from stepbias.theory import bilinear, checks

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


_value_of, _gradient_of, _product_of = (
    inline(f) for f in (bilinear.value, bilinear.gradient, bilinear.product)
)


def _gradient(b, theta, ints, reals, work, out):
    for i in range(theta.shape[1]):
        out[0, i], out[1, i] = _gradient_of(reals[0], reals[1], theta[0, i], theta[1, i])


def _gradients(theta, ints, reals, work, out):
    for i in range(theta.shape[1]):
        g, k = _gradient_of(reals[0], reals[1], theta[0, i], theta[1, i])
        out[0, 0, i] = g
        out[0, 1, i] = k


def _products(theta, ints, reals, work, first, second, out_first, out_second):
    x, y = reals[0], reals[1]
    for i in range(theta.shape[1]):
        s, t = theta[0, i], theta[1, i]
        g, k = _product_of(x, y, s, t, first[0, 0, i], first[0, 1, i])
        out_first[0, 0, i] = g
        out_first[0, 1, i] = k
        g, k = _product_of(x, y, s, t, second[0, 0, i], second[0, 1, i])
        out_second[0, 0, i] = g
        out_second[0, 1, i] = k


def _value(b, theta, ints, reals, work, out):
    for i in range(theta.shape[1]):
        out[i] = _value_of(reals[0], reals[1], theta[0, i], theta[1, i])


@cache
def oracle() -> Oracle:
    """Compiled functions of the bilinear loss."""
    return compile_oracle(_gradient, _gradients, _products, _value)


class BilinearSource:
    """The bilinear loss.

    Parameters
    ----------
    x, y : float
        Finite numbers.
    """

    dim, batches = 2, 1
    problems: int | None = None

    def __init__(self, x: Any, y: Any) -> None:
        numbers = {name: checks.real(name, value) for name, value in (("x", x), ("y", y))}
        for name, value in numbers.items():
            if value.ndim:
                raise ValueError(f"{name} has shape {value.shape}; accepted: one number")
        self.x, self.y = (float(value) for value in numbers.values())

    @property
    def oracle(self) -> Oracle:
        """Compiled functions, built at the first use."""
        return oracle()

    def work_size(self, lanes: int) -> int:
        """None needed."""
        return 0

    def pack(self, indices: Integers) -> tuple[Integers, Floats]:
        """See :class:`stepbias.kernels.oracle.Source`."""
        return np.zeros(1, dtype=np.int64), np.array([self.x, self.y])

    def bounds(self, lower: Floats, upper: Floats) -> tuple[float, float, float, float]:
        """Exact maxima over the box, up to a rounding allowance: every derivative is a polynomial whose extrema are at corners or on an edge."""
        x, y = self.x, self.y
        largest = np.maximum(np.abs(lower), np.abs(upper))
        first = 0.0
        for own, other in ((0, 1), (1, 0)):
            # x t (x s t - y) with s = theta[own], t = theta[other]: linear in s, quadratic in t with its vertex at y / (2 x s)
            for s in (lower[own], upper[own]):
                points = [lower[other], upper[other]]
                if x * s != 0.0:
                    points.append(min(max(y / (2.0 * x * s), lower[other]), upper[other]))
                first = max(first, *(abs(x * t * (x * s * t - y)) for t in points))
        corners = [
            2.0 * x * x * s * t - x * y for s in (lower[0], upper[0]) for t in (lower[1], upper[1])
        ]
        second = max(*(abs(c) for c in corners), *(x * x * largest**2))
        rounding = 1.0 + 1e-13
        third, fourth = 2.0 * x * x * float(largest.max()), 2.0 * x * x
        return tuple(float(bound) * rounding for bound in (first, second, third, fourth))  # type: ignore[return-value]

    def describe(self) -> str:
        """The formula."""
        return f"(y - theta_1 theta_2 x)^2 / 2 with x = {self.x:g}, y = {self.y:g}"
