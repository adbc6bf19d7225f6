"""Orders from windows of step sizes: least squares with correction terms, many rows at once.

The rows are sorted with the finest usable step first. Every *candidate* is one window (the k finest
usable points) with one basis for ``log|error|``: ``1, log h`` and up to two correction powers of h.
Its slope in ``log h`` is the order at h -> 0 under that model, and its half-width is the t quantile
times the standard error from the residuals. The residuals are mostly bias, not noise: for smooth
sequences the formula is used because it is larger than the bias the residuals betray, the idea of
the error estimators of Eca and Hoekstra, "A procedure for the estimation of the numerical
uncertainty of CFD calculations based on grid refinement studies" (2014).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# Powers of h beside 1 and log h. Half powers occur in front of transients and boundary layers.
MODELS: tuple[tuple[float, ...], ...] = ((), (0.5,), (1.0,), (2.0,), (1.0, 2.0))
# Bases in which a term of the next lower order, which grows like 1/h relative to the leading one,
# is bounded: alone and beside one correction that fades with h.
HIDDEN_MODELS: tuple[tuple[float, ...], ...] = ((), (0.5,), (1.0,), (2.0,))
SMALLEST_WINDOW = 4
# Candidates this much wider than the narrowest one still count as plausible.
PLAUSIBLE = 3.0
# One-sided probability with which a hidden term is bounded (see `hidden_slope`).
HIDDEN_LEVEL = 0.9
# Below this the logarithms are dominated by rounding of the data themselves.
ROUNDING = 4.0e-15
# Steps closer than this ratio are merged before local slopes are judged.
MERGE_RATIO = 1.45
# Fading like h^0.35 or faster counts as contraction, slower does not.
CONTRACTION_POWER = 0.35
# Local slopes this close together count as settled whatever their trend.
SETTLED_SPREAD = 0.04
# A last change of slope above this that does not contract is a runaway.
RUNAWAY = 0.2
# Scattered (alternating) slopes may spread this much.
SCATTER_SPREAD = 0.3


class Estimate(NamedTuple):
    """Per row: the order, its bound, and the window and model that gave it."""

    order: Floats
    lower: Floats
    upper: Floats
    hidden: Floats  # slope that a lower-order (+) term could take away at the finest step
    hidden_up: Floats  # slope that it could still add
    window: Ints
    model: Ints
    settled: Bools
    runaway: Bools


@lru_cache(maxsize=64)
def t_quantiles(probability: float, count: int) -> Floats:
    """Student's t quantiles for 1..count degrees of freedom; entry 0 is infinite."""
    from scipy.special import stdtrit

    out = np.full(count + 1, np.inf)
    out[1:] = stdtrit(np.arange(1, count + 1, dtype=float), probability)
    return out


class _Fit(NamedTuple):
    """Last coefficient of a masked least-squares fit, per (row, window)."""

    value: Floats
    error: Floats  # standard error from the residuals
    floor: Floats  # worst effect of the floors
    freedom: Ints


def _last_coefficient(
    columns: list[Floats], y: Floats, mask: Floats, points: Ints, floor: Floats
) -> _Fit:
    """Least squares by Gram-Schmidt with the wanted column last: its coefficient is q.y / r."""
    basis: list[Floats] = []
    inverse = np.zeros(mask.shape[:2])
    sound = np.ones(mask.shape[:2], dtype=bool)
    residual = y * mask
    for column in columns:
        v = column * mask
        before = np.sqrt(np.einsum("bwh,bwh->bw", v, v))
        for _ in range(2):  # the second pass restores orthogonality for nearly parallel columns
            for q in basis:
                v = v - np.einsum("bwh,bwh->bw", q, v)[..., None] * q
        norm = np.sqrt(np.einsum("bwh,bwh->bw", v, v))
        sound &= norm > 1e-9 * before
        inverse = 1.0 / np.where(norm > 0.0, norm, 1.0)
        basis.append(v * inverse[..., None])
    for q in basis[:-1]:
        residual = residual - np.einsum("bwh,bwh->bw", q, residual)[..., None] * q
    last = basis[-1]
    along = np.einsum("bwh,bwh->bw", last, residual)
    residual = residual - along[..., None] * last
    freedom = points - len(columns)
    sound &= freedom > 0
    variance = np.einsum("bwh,bwh->bw", residual, residual) / np.maximum(freedom, 1)
    error = (np.sqrt(variance) + ROUNDING) * inverse
    spread = np.einsum("bwh,bwh->bw", np.abs(last), floor * mask) * inverse
    infinite = np.where(sound, 0.0, np.inf)
    return _Fit(along * inverse, error + infinite, spread, np.maximum(freedom, 0))


def _pick(values: Floats, index: Ints) -> Floats:
    return np.take_along_axis(values, index[:, None], axis=1)[:, 0]


def local_slopes(x: Floats, y: Floats, count: Ints) -> tuple[Floats, Floats]:
    """Slopes between merged neighbours, finest first, NaN beyond the last; and their widths.

    Parameters
    ----------
    x, y : (B, H) arrays
        log h ascending and log|error|; entries from ``count`` on are ignored.
    count : (B,) integers

    Returns
    -------
    slopes, widths : (B, H - 1) arrays
        widths[i] is the distance in log h that slope i spans.
    """
    rows, width = x.shape
    slopes = np.full((rows, max(width - 1, 1)), np.nan)
    widths = np.full_like(slopes, np.nan)
    last_x, last_y = x[:, 0].copy(), y[:, 0].copy()
    filled = np.zeros(rows, dtype=np.int64)
    for i in range(1, width):
        take = np.flatnonzero((i < count) & (x[:, i] - last_x >= np.log(MERGE_RATIO) - 1e-12))
        step = x[take, i] - last_x[take]
        slopes[take, filled[take]] = (y[take, i] - last_y[take]) / step
        widths[take, filled[take]] = step
        last_x[take], last_y[take] = x[take, i], y[take, i]
        filled[take] += 1
    return slopes, widths


def settled_slopes(slopes: Floats, widths: Floats) -> Bools:
    """Whether the finest local slopes have come to rest, contract to a limit, or only scatter.

    A refutation needs this: in front of the asymptotic range slopes may take any value, and they
    give themselves away by drifting without contraction or by turning. Slopes are (B, S), finest
    first; fewer than three never count as settled.
    """
    four = np.full((len(slopes), 4), np.nan)
    four[:, : min(4, slopes.shape[1])] = slopes[:, :4]
    enough = np.isfinite(four[:, 2])
    fourth = np.isfinite(four[:, 3])
    four[:, 3] = np.where(fourth, four[:, 3], four[:, 2])
    four[~enough] = 0.0
    spread = np.ptp(four, axis=1)
    first, second, third = -np.diff(four, axis=1).T
    gap = np.zeros(len(slopes))
    if slopes.shape[1] > 1:
        gap = np.where(enough, 0.5 * (widths[:, 0] + widths[:, 1]), 0.0)
    flat = spread <= SETTLED_SPREAD
    fading = np.abs(first) <= np.exp(-CONTRACTION_POWER * gap) * np.abs(second)
    turned = (second * third < 0.0) & (np.abs(second) > SETTLED_SPREAD)
    contracting = (first * second > 0.0) & fading & ~turned
    scatter = (first * second < 0.0) & (second * third < 0.0) & (spread <= SCATTER_SPREAD)
    return np.asarray(enough & (flat | contracting | scatter))


def runaway_slopes(slopes: Floats, widths: Floats) -> Bools:
    """Whether the finest slopes run away in one direction: a zero of the error just below the data.

    Nothing can be confirmed there, however steep the slopes are. Slopes are (B, S), finest first.
    """
    if slopes.shape[1] < 3:
        return np.zeros(len(slopes), dtype=bool)
    first, second = slopes[:, 0] - slopes[:, 1], slopes[:, 1] - slopes[:, 2]
    fading = np.exp(-0.5 * CONTRACTION_POWER * (widths[:, 0] + widths[:, 1])) * np.abs(second)
    # rows with fewer slopes compare NaN: False
    return (first * second > 0.0) & (np.abs(first) > RUNAWAY) & (np.abs(first) > fading)


def estimate(x: Floats, y: Floats, floor: Floats, count: Ints, level: float) -> Estimate:
    """Order at h -> 0 with its bound for every row that has at least four usable points.

    Parameters
    ----------
    x, y : (B, H) float64
        log h (ascending) and log|error|, usable points first; later entries finite but ignored.
    floor : (B, H) float64
        relative size of the known floor in each entry.
    count : (B,) int
        usable points; every entry at least `SMALLEST_WINDOW`.
    level : float
        two-sided level of the t quantile.
    """
    rows, width = x.shape
    sizes = np.arange(SMALLEST_WINDOW, int(count.max()) + 1)
    index = np.arange(width)
    allowed = sizes[None, :] <= count[:, None]
    mask = (index[None, None, :] < sizes[None, :, None]) & allowed[:, :, None]
    weight = mask.astype(float)
    points = np.broadcast_to(sizes, (rows, len(sizes)))
    centred = (x - x[:, :1])[:, None, :]
    height = (y - y[:, :1])[:, None, :]
    relative = floor[:, None, :]
    one = np.ones((1, 1, width))
    span = np.where(index < count[:, None], x - x[:, :1], 0.0).max(axis=1)
    scaled = np.minimum(centred - span[:, None, None], 0.0)  # log(h / coarsest usable h)
    powers = {q: np.exp(q * scaled) for q in (0.5, 1.0, 2.0)}

    quantile = t_quantiles(0.5 * (1.0 + level), width)
    orders, halves = [], []
    for model in MODELS:
        columns = [one, *(powers[q] for q in model), centred]
        fit = _last_coefficient(columns, height, weight, points, relative)
        factor = quantile[fit.freedom]
        half = np.where(fit.freedom > 0, factor * fit.error, np.inf) + fit.floor
        orders.append(fit.value)
        halves.append(np.where(allowed, half, np.inf))
    order = np.concatenate(orders, axis=1)
    half = np.concatenate(halves, axis=1)
    best = np.argmin(half, axis=1)
    bound = _pick(half, best)
    centre = _pick(order, best)
    plausible = half <= PLAUSIBLE * bound[:, None] + ROUNDING
    lower = np.minimum(centre - bound, np.where(plausible, order, np.inf).min(axis=1))
    upper = np.maximum(centre + bound, np.where(plausible, order, -np.inf).max(axis=1))

    hidden, hidden_up = _hidden_slope(
        [one, centred], powers, centred, height, weight, points, relative, allowed, width
    )
    lower = np.minimum(lower, centre - hidden)
    upper = np.maximum(upper, centre + hidden_up)
    window = sizes[best % len(sizes)]
    slopes, widths = local_slopes(x, y, count)
    return Estimate(
        order=centre,
        lower=lower,
        upper=upper,
        hidden=hidden,
        hidden_up=hidden_up,
        window=window,
        model=best // len(sizes),
        settled=settled_slopes(slopes, widths),
        runaway=runaway_slopes(slopes, widths),
    )


def _hidden_slope(
    base: list[Floats],
    powers: dict[float, Floats],
    centred: Floats,
    height: Floats,
    weight: Floats,
    points: Ints,
    relative: Floats,
    allowed: Bools,
    width: int,
) -> tuple[Floats, Floats]:
    """Change of the local slope at the finest step that a term b/h in log|error| could make.

    With ``log|error| = ... + b (h_0 / h)`` the term takes b off the slope at the finest step h_0.
    The basis and window with the smallest standard error decide; b is bounded above and below at
    the one-sided level `HIDDEN_LEVEL`.
    """
    inverse = np.exp(-np.maximum(centred, 0.0))
    quantile = t_quantiles(HIDDEN_LEVEL, width)
    values, errors = [], []
    for model in HIDDEN_MODELS:
        columns = [*base, *(powers[q] for q in model), inverse]
        fit = _last_coefficient(columns, height, weight, points, relative)
        half = np.where(fit.freedom > 0, quantile[fit.freedom] * fit.error, np.inf) + fit.floor
        values.append(fit.value)
        errors.append(np.where(allowed, half, np.inf))
    value = np.concatenate(values, axis=1)
    error = np.concatenate(errors, axis=1)
    best = np.argmin(error, axis=1)
    b, half = _pick(value, best), _pick(error, best)
    return np.maximum(b, 0.0) + half, np.maximum(-b, 0.0) + half
