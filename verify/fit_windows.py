"""Orders from windows of step sizes: least squares with correction terms, many rows at once.

The rows are sorted with the finest usable step first. Every *candidate* is one window (the k finest
usable points) with one basis for ``log|error|``: ``1, log h`` and up to two correction powers of h.
Its slope in ``log h`` is the order at h -> 0 under that model, and its half-width is the t quantile
times the standard error from the residuals. The residuals are mostly bias, not noise: for smooth
sequences the formula is used because it is larger than the bias the residuals betray, the idea of
the error estimators of Eca and Hoekstra, "A procedure for the estimation of the numerical
uncertainty of CFD calculations based on grid refinement studies" (2014). Known sampling errors are
noise: they set the weights and a least width.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.verify.fit_lines import (
    LEAST_SAMPLING,
    ROUNDING,
    Lines,
    half_width,
    last_coefficient,
    make_lines,
)
from stepbias.verify.fit_slopes import local_slopes, runaway_slopes, scatter_drift, settled_slopes

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
PLAUSIBLE = 2.0
# One-sided probability with which a hidden term is bounded, and the share of its half-width that is
# kept where the estimate has the other sign.
HIDDEN_LEVEL = 0.8
HIDDEN_SHARE = 0.25
HIDDEN_SELECT = 0.95


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
    drift: Floats  # bound on the drift of slope if the rest is noise, see `scatter_drift`


def _pick(values: Floats, index: Ints) -> Floats:
    return np.take_along_axis(values, index[:, None], axis=1)[:, 0]


def estimate(
    x: Floats, y: Floats, floor: Floats, sampling: Floats, count: Ints, level: float
) -> Estimate:
    """Order at h -> 0 with its bound for every row that has at least four usable points.

    Parameters
    ----------
    x, y : (B, H) float64
        log h (ascending) and log|error|, usable points first; later entries finite but ignored.
    floor : (B, H) float64
        relative size of the known floor in each entry.
    sampling : (B, H) float64
        known relative standard error of each entry; 0 where there is none.
    count : (B,) int
        usable points; every entry at least `SMALLEST_WINDOW`.
    level : float
        two-sided level of the quantiles.
    """
    lines = make_lines(x, y, floor, sampling, count, SMALLEST_WINDOW)
    width = x.shape[1]
    centred = (x - x[:, :1])[:, None, :]
    one = np.ones((1, 1, width))
    span = np.where(np.arange(width) < count[:, None], x - x[:, :1], 0.0).max(axis=1)
    scaled = np.minimum(centred - span[:, None, None], 0.0)  # log(h / coarsest usable h)
    powers = {q: np.exp(q * scaled) for q in (0.5, 1.0, 2.0)}

    orders, halves = [], []
    for model in MODELS:
        fit = last_coefficient([one, *(powers[q] for q in model), centred], lines)
        orders.append(fit.value)
        halves.append(half_width(fit, lines.known, 0.5 * (1.0 + level)))
    order = np.concatenate(orders, axis=1)
    half = np.concatenate(halves, axis=1)
    best = np.argmin(half, axis=1)
    bound, centre = _pick(half, best), _pick(order, best)
    plausible = half <= PLAUSIBLE * bound[:, None] + ROUNDING
    lower = np.minimum(centre - bound, np.where(plausible, order, np.inf).min(axis=1))
    upper = np.maximum(centre + bound, np.where(plausible, order, -np.inf).max(axis=1))

    finest, half = _finest_slope(one, centred, powers, lines)
    least = HIDDEN_SHARE * half
    hidden = np.maximum(centre - finest + half, least)
    hidden_up = np.maximum(finest + half - centre, least)
    sizes = lines.points.shape[1]
    slopes, widths = local_slopes(x, y, count)
    return Estimate(
        order=centre,
        lower=np.minimum(lower, centre - hidden),
        upper=np.maximum(upper, centre + hidden_up),
        hidden=hidden,
        hidden_up=hidden_up,
        window=SMALLEST_WINDOW + best % sizes,
        model=best // sizes,
        settled=settled_slopes(slopes, widths),
        runaway=runaway_slopes(slopes, widths),
        drift=scatter_drift(lines, x),
    )


def _finest_slope(
    one: Floats, centred: Floats, powers: dict[float, Floats], lines: Lines
) -> tuple[Floats, Floats]:
    """Local slope at the finest step with a term of the next lower order allowed for, and its half-width.

    With ``log|error| = a + s log(h/h_0) + b (log(h/h_0) + h_0/h) + ...`` the slope at the finest
    step h_0 is s, whatever b is (corrections that fade with h left aside). The basis and window
    with the smallest half-width at `HIDDEN_SELECT` decide (at a lower level the smallest would
    often be a chance: few degrees of freedom, residuals that happen to be tiny); s is bounded at
    the one-sided level `HIDDEN_LEVEL`.
    """
    inverse = centred + np.exp(-np.maximum(centred, 0.0))
    values, wide, narrow = [], [], []
    for model in HIDDEN_MODELS:
        fit = last_coefficient([one, *(powers[q] for q in model), inverse, centred], lines)
        values.append(fit.value)
        wide.append(half_width(fit, lines.known, HIDDEN_SELECT))
        narrow.append(half_width(fit, lines.known, HIDDEN_LEVEL))
    best = np.argmin(np.concatenate(wide, axis=1), axis=1)
    return _pick(np.concatenate(values, axis=1), best), _pick(np.concatenate(narrow, axis=1), best)


def constant(x: Floats, y: Floats, sampling: Floats, powers: tuple[float, ...]) -> float:
    """Return the C of ``C h^p (1 + ...)`` for one window, (k,) arrays, from the same least squares."""
    columns = [np.ones_like(x), x, *(np.exp(q * (x - x[-1])) for q in powers)]
    weight = np.ones_like(x)
    if sampling.any():
        weight = 1.0 / np.hypot(sampling, LEAST_SAMPLING * sampling.max())
    design = np.stack(columns, axis=1) * weight[:, None]
    solution = np.linalg.lstsq(design, y * weight, rcond=None)[0]
    with np.errstate(over="ignore", under="ignore"):
        return float(np.exp(solution[0]))
