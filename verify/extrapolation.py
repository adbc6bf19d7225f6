"""Limits at h -> 0 of smooth sequences, with a bound: Richardson extrapolation over several windows.

The data are ``G(h) = c + a_1 h + a_2 h^2 + ...`` at a handful of steps, each with a known floor. The polynomial in h through n neighbouring
points, evaluated at 0, removes n - 1 powers (Neville's table). V(s, n) is the value from the n points that begin with the s-th finest.

*Bound.* Let e(s, n) be the error of V(s, n). If it fades like h^q, two windows that are shifted by one point, a ratio r of steps, differ by
|e(s, n)| (r^q - 1), so that |e| <= |V(s, n) - V(s + 1, n)| / (r^q - 1). For n points and integer powers q = n, and the quotient overstates
the error by far; the bound is made for the slowest case that occurs, q = 1/2 (a boundary layer, a power that the polynomial does not remove),
with a margin of 2 for the next term and for windows whose ratios are not alike. A difference may vanish by chance, where two terms cancel. So the
larger of two is taken: this difference, and the one of the next two windows, reduced by what n integer powers promise. A window that leaves finer
points out must also agree with them within their floors. The known floors enter through the weights, sum |w_i| floor_i. For every component the
window with the smallest bound is taken: one component may be rough where the others are smooth.

The coverage of the bound is calibrated on synthetic laws, see `stepbias.verify.extrapolation_laws`. The idea of several columns and windows is that of
Roache, "Quantification of uncertainty in computational fluid dynamics" (1997), and of Eca and Hoekstra, "A procedure for the estimation of the
numerical uncertainty of CFD calculations based on grid refinement studies" (2014).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

# Neighbouring points have at least this ratio: closer ones amplify floors and tell windows apart by too little.
RATIO = 1.9
# A window of two points and two shifts of it.
FEWEST = 4
# Columns beyond this remove powers that are below every floor.
LARGEST_WINDOW = 8
# The slowest power with which an error is assumed to fade, and the margin for the term after it.
SLOWEST = 0.5
MARGIN = 2.0
# Relative rounding of a datum and of its share in the sum.
_UNITS = 8.0 * 2.0**-53
# Beyond this a run is about to overflow.
_HUGE = 1e150


class Limit(NamedTuple):
    """Per problem: the limit, its bound and the points that gave it."""

    value: Floats  # (B, p), NaN without an estimate
    bound: Floats  # (B, p), infinite without an estimate
    used: Bools  # (B, H): in the window of some component, in the order of the input
    points: Ints  # (B,) points that could be used

    def rows(self, which: slice) -> Limit:
        """Some of the problems."""
        return Limit(self.value[which], self.bound[which], self.used[which], self.points[which])


def weights(h: Floats) -> Floats:
    """Weights w of the polynomial through the points at its value in 0: ``sum w_i G(h_i)``.

    Parameters
    ----------
    h : (..., n) float64
        Distinct along the last axis.

    Returns
    -------
    (..., n) float64
        w_i = prod over j != i of h_j / (h_j - h_i); they sum to 1.
    """
    gap = h[..., None, :] - h[..., :, None]  # h_j - h_i at [i, j]
    same = np.eye(h.shape[-1], dtype=bool)
    factors = np.where(same, 1.0, h[..., None, :] / np.where(same, 1.0, gap))
    return np.prod(factors, axis=-1)


def limit(h: Floats, values: Floats, floor: Floats, coarsest: Floats | None = None) -> Limit:
    """Extrapolate every problem to h = 0.

    Parameters
    ----------
    h : (B, H) float64
        Step sizes, positive, in any order.
    values : (B, H, p) float64
        G(h); entries that are not finite make a point unusable.
    floor : (B, H) float64
        Known size (2-norm) of the error in each point, not finite: unusable.
    coarsest : (B,) float64, optional
        A window must begin at a step of at most this size, so that its finest point is asymptotic; None: anywhere.

    Returns
    -------
    Limit
    """
    problems, count, dim = values.shape
    place, points = _places(h, values, floor)
    width = max(int(points.max(initial=0)), 1)
    h, floor = (np.take_along_axis(x, place, 1)[:, :width] for x in (h, floor))
    values = np.take_along_axis(values, place[:, :, None], 1)[:, :width]
    beyond = np.arange(width) >= points[:, None]
    # Finite stand-ins where a row has fewer points; windows that reach them are not valid.
    top = np.where(beyond, np.finfo(np.float64).tiny, h).max(axis=1, keepdims=True)
    h = np.where(beyond, top * 2.0 ** (1.0 + np.arange(width)), h)
    first = np.full((problems, 1), np.inf) if coarsest is None else coarsest[:, None]
    asymptotic = h <= first * (1.0 + 1e-9)
    h = h / h[:, :1]
    values, floor = np.where(beyond[:, :, None], 0.0, values), np.where(beyond, 0.0, floor)
    value, bound = np.full((problems, dim), np.nan), np.full((problems, dim), np.inf)
    used = np.zeros((problems, count), dtype=bool)
    rank = np.arange(count)
    window = np.zeros((2, problems, dim), dtype=np.int64)
    table = {
        (s, n): _window(h[:, s : s + n], values[:, s : s + n], floor[:, s : s + n])
        for n in range(2, LARGEST_WINDOW + 1)
        for s in range(width - n + 1)
    }
    for n in range(2, LARGEST_WINDOW + 1):
        for s in range(width - n - 1):
            found = _bound(table, h, s, n)
            valid = (points >= s + n + 2) & asymptotic[:, s]
            better = valid[:, None] & (found < bound)
            value = np.where(better, table[s, n][0], value)
            bound = np.where(better, found, bound)
            window[:, better] = [[s], [n]]
    inside = (rank >= window[0][:, :, None]) & (rank < window.sum(axis=0)[:, :, None])
    np.put_along_axis(used, place, inside.any(axis=1), 1)
    return Limit(value, bound, used, points)


def _window(h: Floats, values: Floats, floor: Floats) -> tuple[Floats, Floats]:
    """Value at 0, (B, p), and propagated floor, (B,), of one window."""
    w = weights(h)
    rounding = _UNITS * np.abs(values).max(axis=2)
    return np.einsum("bi,bip->bp", w, values), np.einsum("bi,bi->b", np.abs(w), floor + rounding)


def _bound(
    table: dict[tuple[int, int], tuple[Floats, Floats]], h: Floats, s: int, n: int
) -> Floats:
    """Bound on the error of V(s, n), (B, p)."""
    value, floor = table[s, n]
    (shifted, _), (again, _) = table[s + 1, n], table[s + 2, n]
    ratio = h[:, s + 1] / h[:, s]
    promised = h[:, s + 1] / h[:, s + n + 1]
    change = np.maximum(np.abs(value - shifted), np.abs(shifted - again) * promised[:, None])
    for finer in range(s):
        # a window that left finer points out, because of their floors, still has to agree with them
        other, other_floor = table[finer, n]
        change = np.maximum(change, np.abs(value - other) - other_floor[:, None])
    return (MARGIN / (ratio**SLOWEST - 1.0))[:, None] * change + floor[:, None]


def _places(h: Floats, values: Floats, floor: Floats) -> tuple[Ints, Ints]:
    """Order that puts the usable points first, finest first and at least `RATIO` apart, and how many there are: (B, H), (B,)."""
    usable = np.isfinite(floor) & np.all(np.abs(values) < _HUGE, axis=2)  # false for NaN
    order = np.argsort(np.where(usable, h, np.inf), axis=1, kind="stable")
    sizes, kept = np.take_along_axis(h, order, 1), np.take_along_axis(usable, order, 1)
    last = np.zeros(len(h))
    for k in range(h.shape[1]):
        kept[:, k] &= sizes[:, k] >= RATIO * last
        last = np.where(kept[:, k], sizes[:, k], last)
    front = np.argsort(~kept, axis=1, kind="stable")
    return np.take_along_axis(order, front, 1), kept.sum(axis=1)
