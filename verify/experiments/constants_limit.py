"""The limit of the full-batch field of RMSProp, epsilon outside, against the sums as printed after many steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.rmsprop_limit import limit_field, limit_field_first
from stepbias.theory.step_sums import averages, step_sums
from stepbias.verify.samples import Samples, Setting, label

Floats = NDArray[np.float64]

# rho^n of the largest rho is below rounding after so many steps.
_STEPS, _LARGEST_RHO = 120, 0.7
_EXPONENTS = np.arange(6, 16)
_ROUNDING = 1e-13  # some hundred additions of numbers of one size


def rmsprop_limit(variant: str, setting: Setting) -> Samples:
    """|field of the sums - limit| against epsilon / min |gradient|: "" the second expression, "first", "printed" or a factor on its O(h) term."""
    numbers = setting.numbers(12, 60, 240)
    x = np.tile(2.0**-_EXPONENTS, (len(numbers), 1))
    error, floor = np.empty_like(x), np.empty_like(x)
    labels = []
    for row, k in enumerate(numbers):
        rng = setting.rng("constants, limit", int(k))
        dim = int(rng.integers(1, 4))
        rho, h = float(rng.uniform(0.1, _LARGEST_RHO)), float(rng.uniform(0.05, 0.2))
        g = rng.uniform(0.5, 1.5, dim) * rng.choice([-1.0, 1.0], dim)
        half = rng.normal(size=(dim, dim))
        hessian = half + half.T
        eps = x[row] * np.abs(g).min()
        limit = _limit(variant, g, hessian, rho, h)
        fields = _fields(g, hessian, rho, eps, h)
        error[row] = np.linalg.norm(fields - limit, axis=1)
        floor[row] = _ROUNDING * (1.0 + np.linalg.norm(limit))
        labels.append(label(p=dim, rho=rho, h=h, n=_STEPS))
    return Samples(
        numbers=numbers,
        labels=np.array(labels, dtype=np.str_),
        x=x,
        error=error,
        floor=floor,
        memory=np.ones(len(numbers)),
    )


def _limit(variant: str, g: Floats, hessian: Floats, rho: float, h: float) -> Floats:
    if variant == "first":
        return limit_field_first(g, hessian, rho, h)
    signs = {"": -1.0, "printed": 1.0, "without the O(h) term": 0.0, "O(h) term x 0.5": -0.5}
    return limit_field(g, hessian, rho, h, signs[variant])


def _fields(g: Floats, hessian: Floats, rho: float, eps: Floats, h: float) -> Floats:
    """The field of the printed sums at step n, (E, p), for every eps (E,)."""
    count = len(eps)
    given = averages(
        np.zeros(1), np.array([rho]), np.zeros(1), np.zeros(1), np.array([False]), _STEPS
    )
    given = given._replace(
        eps=eps,
        eps_root=np.zeros(count),
        first=np.repeat(given.first, count, axis=0),
        second=np.repeat(given.second, count, axis=0),
    )
    gradients = np.broadcast_to(g, (count, 1, _STEPS, len(g)))
    hessians = np.broadcast_to(hessian, (count, 1, _STEPS, len(g), len(g)))
    sums = step_sums(given, gradients, hessians)
    fields: Floats = -sums.F[:, :, -1] + h * (sums.A - sums.B)
    return fields[:, 0]
