"""Local slopes of log|error|: whether they have come to rest, run away, or only scatter.

Two kinds of evidence. Of *smooth* data the finest slopes themselves tell: they lie together or
contract. Of *noisy* data they tell nothing one by one; there a straight line plus white noise must
do: neither the quadratic nor the cubic term stands out of the residuals, and the drift of slope
that could hide in them is bounded (`scatter_drift`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stepbias.verify.fit_lines import Lines, chi_square_bound, orthonormal, t_quantiles

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

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
# An error with a slope below this at the finest step may be at a floor.
LEVEL_SLOPE = 0.5
# A slope at the coarser steps that exceeds the last one by this factor has fallen.
FELL = 1.25
# An interval that reaches below this does not exclude order 0.
SMALLEST_ORDER = 0.1
# Slopes this small are those of a constant.
FLAT = 1e-3
# Two falls in a row count among at least so many slopes.
FALLING_SLOPES = 5
# Unknown noise is believed up to this relative size (root mean square about a straight line).
NOISE_LIMIT = 0.1
# A term stands out of the residuals from this many standard errors on.
SIGNIFICANT = 2.0
# Fewest residual degrees of freedom beside the cubic, for noise that is not known.
NOISE_FREEDOM = 1
# Two-sided level at which the drift hidden by noise is bounded.
DRIFT_LEVEL = 0.95


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


def levels_off(slopes: Floats, low: float, turned: bool, noise: float) -> bool:
    """Whether the error may be at a floor at the finest steps, seen against what it did before.

    A floor shows when the error fell with h and stops falling, or, where the floor has the other
    sign, changed sign (`turned`) or grew and stops growing. An error that grows, or stays the same,
    at one pace from the coarsest step on shows no floor. Slopes are (S,), coarsest first; `low` is
    the lower end of the interval; `noise` is what sampling may have added to any slope.
    """
    last, most, least = float(slopes[-1]), float(slopes.max()), float(slopes.min())
    same = FLAT + noise
    if last >= LEVEL_SLOPE and low > SMALLEST_ORDER:
        return False
    if last <= -LEVEL_SLOPE:
        return most > same
    return turned or most > FELL * max(last, 0.0) + same or least < FELL * min(last, 0.0) - same


def falls_away(slopes: Floats) -> bool:
    """Whether at least five slopes, (S,) coarsest first, end with two falls beyond their scatter: a term of lower order takes over.

    Where the memory is resolved and the floor is known, nothing else makes smooth slopes fall: of 960
    records of true claims by the engine (240 problems, their finest 0 to 3 steps left out) one had
    an interval below its claim and two falls, with four slopes. Noise makes them fall as well. A
    smooth fall changes little from one slope to the next; white noise of log|error| gives the falls
    6 times its variance, and their differences 20 times.
    """
    if len(slopes) < FALLING_SLOPES:
        return False
    falls = -np.diff(slopes)
    scatter = np.sqrt(6.0 / 20.0 * np.mean(np.diff(falls) ** 2))
    return bool(falls[-2:].min() > SIGNIFICANT * scatter)


def scatter_drift(lines: Lines, x: Floats) -> Floats:
    """Bound on the drift of slope over a window that looks like a straight line plus white noise.

    Of all windows that look so, the smallest bound; infinite where none does.

    Parameters
    ----------
    lines : Lines
        The data and their windows.
    x : (B, H) float64
        log h, ascending.
    """
    freedom = lines.points - 4
    windows = np.minimum(lines.points - 1, x.shape[1] - 1)
    span = np.take_along_axis(x, windows, axis=1) - x[:, :1]
    unit = np.minimum((x - x[:, :1])[:, None, :] / span[:, :, None], 1.0)
    basis, inverse, sound = orthonormal([unit**k for k in range(4)], lines.weight)
    rest, along = lines.height * lines.weight, []
    for q in basis:
        along.append(np.einsum("bwh,bwh->bw", q, rest))
        rest = rest - along[-1][..., None] * q
    left = np.einsum("bwh,bwh->bw", rest, rest)
    degrees = np.maximum(freedom, 1)
    known = lines.known[:, None] > 0.0
    sigma = np.where(known, lines.known[:, None], np.sqrt(left / degrees))
    about_line = np.sqrt((left + along[2] ** 2 + along[3] ** 2) / (degrees + 2))
    fits = np.where(
        known,
        left <= chi_square_bound(0.99, x.shape[1])[degrees] * sigma**2,
        (freedom >= NOISE_FREEDOM) & (about_line <= NOISE_LIMIT),
    )
    fits &= (np.abs(along[2]) <= SIGNIFICANT * sigma) & (np.abs(along[3]) <= SIGNIFICANT * sigma)
    factor = t_quantiles(0.5 * (1.0 + DRIFT_LEVEL), x.shape[1] + 2)
    # the line is believed, so all that is left about it is noise
    noise = np.where(known, factor[-1] * sigma, factor[degrees + 2] * about_line)
    drift = 2.0 * (np.abs(along[2]) + noise) * inverse[2] / span
    usable = fits & sound & lines.allowed & (freedom > 0)
    return np.where(usable, drift, np.inf).min(axis=1)
