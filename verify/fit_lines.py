"""Masked, weighted least squares for many rows and windows at once, and the widths of its answers."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# Below this the logarithms are dominated by rounding of the data themselves.
ROUNDING = 4.0e-15
# Weights are 1/(s^2 + (this times the row's largest s)^2): no entry, however well it is known, fixes a line alone, for what the model lacks is not in s.
LEAST_SAMPLING = 0.03
# The residuals exceed known noise where their square sum is above its quantile of this level.
EXCESS_LEVEL = 0.95


class Lines(NamedTuple):
    """Rows of data with their nested windows.

    Attributes
    ----------
    height : (B, 1, H) float64
        log|error| less its value at the finest step.
    weight : (B, W, H) float64
        Square roots of the weights, at most 1; zero outside the window.
    floor : (B, 1, H) float64
        Relative size of the known floor.
    known : (B,) float64
        Known standard deviation of ``weight * height``; 0 where no sampling error is known.
    points : (B, W) int64
        Size of every window.
    allowed : (B, W) bool
        Whether the row has so many points.
    """

    height: Floats
    weight: Floats
    floor: Floats
    known: Floats
    points: Ints
    allowed: Bools


class Coefficient(NamedTuple):
    """Last coefficient of a least-squares fit, each (B, W)."""

    value: Floats
    inverse: Floats  # standard error per unit of noise in the weighted data
    variance: Floats  # residual variance of the weighted data
    floor: Floats  # worst effect of the floors
    freedom: Ints  # 0 where the fit is not determined


@lru_cache(maxsize=64)
def t_quantiles(probability: float, count: int) -> Floats:
    """Student's t quantiles for 1..count degrees of freedom, then the normal one; entry 0 is infinite, shape (count + 2,)."""
    from scipy.special import ndtri, stdtrit

    out = np.full(count + 2, np.inf)
    out[1:-1] = stdtrit(np.arange(1, count + 1, dtype=float), probability)
    out[-1] = ndtri(probability)
    return out


@lru_cache(maxsize=64)
def chi_square_bound(probability: float, count: int) -> Floats:
    """Chi-square quantiles for 0..count degrees of freedom, (count + 1,)."""
    from scipy.special import chdtri

    freedom = np.arange(1, count + 1, dtype=float)
    return np.concatenate([[0.0], chdtri(freedom, 1.0 - probability)])


def make_lines(
    x: Floats, y: Floats, floor: Floats, sampling: Floats, count: Ints, smallest: int
) -> Lines:
    """Windows of the ``smallest`` and more finest points of every row; arguments as in `fit_windows.estimate`."""
    sizes = np.arange(smallest, int(count.max()) + 1)
    index = np.arange(x.shape[1])
    allowed = sizes[None, :] <= count[:, None]
    mask = (index[None, None, :] < sizes[None, :, None]) & allowed[:, :, None]
    within = index < count[:, None]
    worst = np.where(within, sampling, 0.0).max(axis=1, keepdims=True)
    size = np.sqrt(sampling**2 + (LEAST_SAMPLING * worst) ** 2)
    known = np.where(within, size, np.inf).min(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(worst > 0.0, known[:, None] / size, 1.0)
    return Lines(
        height=(y - y[:, :1])[:, None, :],
        weight=np.where(mask, scale[:, None, :], 0.0),
        floor=floor[:, None, :],
        known=known,
        points=np.broadcast_to(sizes, allowed.shape),
        allowed=allowed,
    )


def orthonormal(columns: list[Floats], weight: Floats) -> tuple[list[Floats], list[Floats], Bools]:
    """Orthonormal basis of the weighted columns by Gram-Schmidt, inverse norms, and whether all are independent."""
    basis: list[Floats] = []
    inverses: list[Floats] = []
    sound = np.ones(weight.shape[:2], dtype=bool)
    for column in columns:
        v = column * weight
        before = np.sqrt(np.einsum("bwh,bwh->bw", v, v))
        for _ in range(2):  # the second pass restores orthogonality for nearly parallel columns
            for q in basis:
                v = v - np.einsum("bwh,bwh->bw", q, v)[..., None] * q
        norm = np.sqrt(np.einsum("bwh,bwh->bw", v, v))
        sound &= norm > 1e-9 * before
        inverses.append(1.0 / np.where(norm > 0.0, norm, 1.0))
        basis.append(v * inverses[-1][..., None])
    return basis, inverses, sound


def last_coefficient(columns: list[Floats], lines: Lines) -> Coefficient:
    """Least squares with the wanted column last: its coefficient is q.y / r."""
    basis, inverses, sound = orthonormal(columns, lines.weight)
    residual = lines.height * lines.weight
    for q in basis[:-1]:
        residual = residual - np.einsum("bwh,bwh->bw", q, residual)[..., None] * q
    last, inverse = basis[-1], inverses[-1]
    along = np.einsum("bwh,bwh->bw", last, residual)
    residual = residual - along[..., None] * last
    freedom = lines.points - len(columns)
    freedom = np.where(sound & lines.allowed & (freedom > 0), freedom, 0)
    variance = np.einsum("bwh,bwh->bw", residual, residual) / np.maximum(freedom, 1)
    spread = np.einsum("bwh,bwh->bw", np.abs(last), lines.floor * lines.weight) * inverse
    return Coefficient(along * inverse, inverse, variance, spread, freedom)


def half_width(fit: Coefficient, known: Floats, probability: float) -> Floats:
    """Half-width of the coefficient at a one-sided probability, (B, W); infinite where the fit is not determined.

    The known noise counts with the normal quantile; what the residuals show beyond it, with Student's t; the floors in full.
    """
    count = int(fit.freedom.max(initial=1))
    quantiles = t_quantiles(probability, count)
    degrees = np.maximum(fit.freedom, 1)
    noise = known[:, None] ** 2
    excess = fit.variance - noise * (chi_square_bound(EXCESS_LEVEL, count)[degrees] / degrees)
    beyond = quantiles[degrees] * (np.sqrt(np.maximum(excess, 0.0)) + ROUNDING)
    half = np.hypot(quantiles[-1] * known[:, None], beyond) * fit.inverse + fit.floor
    return np.where(fit.freedom > 0, half, np.inf)
