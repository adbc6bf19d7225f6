"""Synthetic expansions with a known limit, to calibrate the bound of `stepbias.verify.extrapolation`.

A law is ``d(h) = h^power (c + r(h))`` with r(h) -> 0. Its time scale kappa is drawn so that the finest step has h kappa between 1e-4 and 0.1: coarser
data are refused by the verdicts, because a transient exp(-1/(h kappa)) is then still of the size of everything else and no method can tell it
from a limit. The coarsest step may be far outside the asymptotic range.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KINDS = (
    "polynomial",
    "divergent series",
    "half-integer power",
    "logarithm",
    "transient",
    "pole",
    "saturating",
    "hidden zero",
)
RESOLVED = (1e-4, 0.1)


class Expansions(NamedTuple):
    """B expansions at H steps, p components."""

    kind: NDArray[np.int64]  # (B,)
    h: Floats  # (B, H)
    difference: Floats  # (B, H, p)
    floor: Floats  # (B, H)
    limit: Floats  # (B, p)
    scale: Floats  # (B,) norm of what a whole missing term would contribute
    memory: Floats  # (B,) kappa


def _remainder(kind: int, x: Floats, rng: np.random.Generator) -> Floats:
    """r at x = h kappa, (H, p), vanishing at 0."""
    from scipy.special import exp1

    p = x.shape[1]
    a = rng.normal(size=(9, p))
    smooth = sum((a[j] * x ** (j + 1) for j in range(6)), np.zeros_like(x))
    smooth *= rng.choice([0.0, 0.3, 1.0])
    name = KINDS[kind]
    if name == "divergent series":
        # integral of exp(-t) / (1 + x t): the coefficients of its expansion are (-1)^j j!
        y = 1.0 / x
        near = y < 500.0
        safe = np.where(near, y, 1.0)
        integral = np.where(near, safe * np.exp(safe) * exp1(safe), 1.0 - x + 2.0 * x**2)
        return smooth + a[6] * (integral - 1.0)
    if name == "half-integer power":
        return smooth + a[6] * x ** rng.choice([0.5, 1.5, 2.5])
    if name == "logarithm":
        return smooth + a[6] * x ** rng.integers(1, 4) * np.log(x)
    if name == "transient":
        power = rng.integers(0, 3)
        return smooth + a[6] * np.exp(-1.0 / x) * x ** -float(power)
    if name == "pole":
        # at -h0 anywhere, or at +h0 beyond the coarsest step
        left, right = rng.uniform(0.3, 3.0, p), -x.max() * rng.uniform(1.02, 10.0, p)
        return smooth + a[6] * x / (x + np.where(rng.random(p) < 0.5, left, right))
    if name == "saturating":
        return smooth + a[6] * np.tanh(x) + a[7] * x / np.sqrt(1.0 + x**2)
    if name == "hidden zero":
        # two terms that cancel somewhere on the ladder
        zero = np.exp(rng.uniform(np.log(x.min()), np.log(x.max())))
        low = rng.choice([0.5, 1.0, 1.0, 2.0])
        return a[6] * (x**low - x ** (low + 1.0) / zero)
    return smooth


def draw(count: int, seed: int, power: int = 1) -> Expansions:
    """Draw expansions: laws, ladders and floors at random.

    Parameters
    ----------
    count : int
        Number B; shapes are common: H = 10, of which the coarsest up to five are unusable (NaN), p = 3, of which some are copies.
    seed : int
    power : int

    Notes
    -----
    Six in ten ladders have the ratio 2, the others between 1.3 and 4, 3 in 10 are jittered by 10 %. The limit is 0 for half of them, else between 1e-6
    and 1 in the units of the terms. Half of them have floors, up to 1 % of the finest value, really added: at random or all with one sign.
    """
    rng = np.random.default_rng([seed, 77])
    size, p = 10, 3
    kind = rng.integers(0, len(KINDS), count)
    ratio = np.where(
        rng.random(count) < 0.6, 2.0, np.exp(rng.uniform(np.log(1.3), np.log(4.0), count))
    )
    jitter = 1.0 + rng.uniform(-0.1, 0.1, (count, size)) * (rng.random(count) < 0.3)[:, None]
    shape = ratio[:, None] ** np.arange(size) * jitter
    x = shape / shape.min(axis=1, keepdims=True)
    x = x * np.exp(rng.uniform(np.log(RESOLVED[0]), np.log(RESOLVED[1]), count))[:, None]
    kappa = np.exp(rng.uniform(-2.0, 7.0, count))
    limits = np.zeros((count, p))
    difference = np.empty((count, size, p))
    floor = np.zeros((count, size))
    for b in range(count):
        if rng.random() < 0.5:
            limits[b] = rng.normal(size=p) * 10.0 ** rng.uniform(-6.0, 0.0)
        # components share the time scale but not the size
        rest = _remainder(int(kind[b]), np.repeat(x[b][:, None], p, axis=1), rng)
        rest *= 10.0 ** rng.uniform(-3.0, 0.0, p) if rng.random() < 0.5 else 1.0
        step = (x[b] / kappa[b])[:, None] ** power
        difference[b] = step * (limits[b] + rest)
        if rng.random() < 0.5:
            floor[b] = 10.0 ** rng.uniform(-8.0, -2.0) * np.abs(difference[b]).max(axis=1)
            floor[b] *= x[b] ** rng.choice([0.0, 1.0, 2.0]) if rng.random() < 0.5 else 1.0
            noise = rng.uniform(-1.0, 1.0, (size, p)) if rng.random() < 0.5 else np.ones((size, p))
            difference[b] += floor[b][:, None] * noise / np.sqrt(p)
        lost = rng.integers(0, 6)
        difference[b, size - lost :] = np.nan
        if rng.random() < 0.3:
            difference[b, :, 1:] = difference[b, :, :1]
            limits[b, 1:] = limits[b, :1]
    return Expansions(kind, x / kappa[:, None], difference, floor, limits, np.ones(count), kappa)
