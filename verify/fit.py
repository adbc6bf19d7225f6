"""Measure an order: judge error = O(h^p) from a handful of step sizes.

The data look like ``C h^p (1 + a h^q + ...) + floor``. What separates a local slope from p is bias
(corrections, transients, rounding), so the interval is a stated bound, no regression interval:
several windows from the finest usable step upwards, several correction powers, extrapolation to
h -> 0, and the hull of what is plausible, widened by the known floors and by the local slope at the
finest step if a lower-order term hides below the residuals. In the spirit of Roache's grid convergence index
("Quantification of uncertainty in computational fluid dynamics", 1997) and of Eca and Hoekstra
(2014), see `stepbias.verify.fit_windows`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepbias.verify.fit_input import Points, Status, check_input, choose_points, floats
from stepbias.verify.fit_pool import Pooled, pool_orders
from stepbias.verify.fit_slopes import SMALLEST_ORDER, falls_away, levels_off, local_slopes
from stepbias.verify.fit_windows import MODELS, SMALLEST_WINDOW, Estimate, constant, estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DELTA", "OrderFit", "Pooled", "Verdict", "fit_order", "fit_orders", "pool_orders"]

Verdict = Literal["confirmed", "refuted", "inconclusive"]

# Orders closer than this are not told apart.
DELTA = 0.1
# The usable steps must span at least this ratio.
SMALLEST_SPAN = 4.0
# Refutations need min(h) * memory at most this: the finest step resolves the memory.
MEMORY_LIMIT = 0.1
# Noisy slopes have settled if the drift that their noise could hide is at most this share of the distance between interval and claim.
DRIFT_SHARE = 0.7
# A runaway is none if it is noise and the drift that this noise could hide is at most this.
LARGEST_DRIFT = 0.5


@dataclass(frozen=True, eq=False)
class OrderFit:
    """A measured order with its verdict.

    Attributes
    ----------
    order : float
        Estimate of p at h -> 0; the finest local slope where there are too few usable points, NaN
        where there is none, inf for an error that is identically zero.
    interval : (float, float)
        Bound on the order; (-inf, inf) where the data say nothing.
    level : float
        Level of the t quantile in the interval.
    verdict : "confirmed" | "refuted" | "inconclusive"
    h, error : (H,) float64
        As given.
    used : (H,) bool
        The points of the window that gave `order`, in the input's order.
    reason : str
        Why the verdict is what it is, one line.
    constant : float
        The C of ``|error| ~ C h^order`` under the chosen model; NaN without a fit.
    expected, exact : float, bool
        The claim.
    floor : (H,) float64
        Known floor per entry (0 where none was given).
    status : (H,) int
        What became of each point, see `stepbias.verify.fit_input.Status`.
    slopes : (S,) float64
        Local slopes of the usable points, coarsest first (close neighbours merged).
    powers : tuple of float
        Correction powers q of the chosen model ``C h^p (1 + sum a_q h^q)``.
    hidden : (float, float)
        How far below and above `order` the local slope at the finest step may lie if a term of
        neighbouring order hides in the residuals; part of `interval`.
    memory : float | None
        Memory rate given by the caller, in units of 1/h.
    sampling : (H,) float64 | None
        Relative standard error of each entry given by the caller.
    """

    order: float
    interval: tuple[float, float]
    level: float
    verdict: Verdict
    h: NDArray[np.float64]
    error: NDArray[np.float64]
    used: NDArray[np.bool_]
    reason: str
    constant: float
    expected: float
    exact: bool
    floor: NDArray[np.float64] = field(repr=False)
    status: NDArray[np.int64] = field(repr=False)
    slopes: NDArray[np.float64] = field(repr=False)
    powers: tuple[float, ...] = ()
    hidden: tuple[float, float] = (0.0, 0.0)
    memory: float | None = None
    sampling: NDArray[np.float64] | None = field(default=None, repr=False)

    def explain(self) -> str:
        """Say it in a paragraph: points used and dropped, slopes, model, interval, verdict."""
        from stepbias.verify.fit_text import explain

        return explain(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw |error| against h with the fit and the floor; returns the axes.

        Matplotlib is imported on the first call. Without `ax` a new figure is made.
        """
        from stepbias.verify.fit_text import plot

        return plot(self, ax)


def fit_order(
    h: ArrayLike,
    error: ArrayLike,
    expected: float,
    exact: bool = False,
    floor: ArrayLike | None = None,
    level: float = 0.99,
    memory: float | None = None,
    sampling: ArrayLike | None = None,
) -> OrderFit:
    """Judge the claim error = O(h^expected) from 3 to about 20 step sizes.

    Parameters
    ----------
    h : (H,) array
        Step sizes, positive, distinct, of any ratios and in any order.
    error : (H,) array
        Errors at these steps. If they are signed the sign is kept in mind: steps coarser than the
        last change of sign say nothing about h -> 0. NaN and inf mark unusable points.
    expected : float
        The claimed order, positive. A higher order confirms too, unless `exact`.
    exact : bool
        Two-sided claim: the order is `expected`. Nothing but True and False is accepted.
    floor : (H,) array or float, optional
        Known absolute size of the solver and rounding error in each entry. Points where it
        exceeds 1 % of the error are not usable; below, it widens the interval. None: not known.
    level : float
        Level of the t quantile used for the half-width, in (0, 1).
    memory : float, optional
        Memory rate kappa (1/h units): the asymptotic range starts where ``h * kappa`` is small. A
        refutation then also needs ``min(h) * kappa <= 0.1``.
    sampling : (H,) array or float, optional
        Known relative standard error of each entry from sampling, independent between entries
        (Monte Carlo over schedules, say). It weights the fit, is the least noise that every bound
        allows for, and scatter within it is no drift. Points where it exceeds 0.5 are not usable.
        None: not known; noise is then read from the residuals alone.

    Returns
    -------
    OrderFit
        "confirmed" if the lower end of the interval is at least ``expected - 0.1`` (and, if
        `exact`, the upper end at most ``expected + 0.1``); "refuted" if the whole interval lies on
        the wrong side of these limits and the local slopes have settled (or fall away from the
        claim although memory and floor are known to be resolved); else "inconclusive".
        Slopes that run away at the finest steps (a zero of the error just below) confirm nothing.
        An error that levels off, or starts to grow, after it fell is no refutation unless both its
        floor and `memory` are given; one that grows or stays the same from the coarsest step on is.
        Fewer than four usable points, or usable steps spanning less than a factor of 4, are always
        inconclusive. An error that is exactly zero at four steps or more, spanning that factor, with
        a floor *given* as zero is O(h^p) for every p and confirms a one-sided claim.

    Raises
    ------
    ValueError, TypeError
        For shapes that differ, masked entries, h not positive or with duplicates, negative floors or
        sampling errors, a level outside (0, 1), `expected` or `memory` not positive, `exact` no bool.
    """
    given = floats("h", h)
    if given.ndim != 1:
        raise ValueError(f"h must be one-dimensional, got shape {given.shape}")
    values = floats("error", error)
    if values.shape != given.shape:
        raise ValueError(f"error must have the shape of h, {given.shape}, got {values.shape}")
    return fit_orders(given, values[None], expected, exact, floor, level, memory, sampling)[0]


def fit_orders(
    h: ArrayLike,
    error: ArrayLike,
    expected: float,
    exact: bool = False,
    floor: ArrayLike | None = None,
    level: float = 0.99,
    memory: ArrayLike | None = None,
    sampling: ArrayLike | None = None,
) -> list[OrderFit]:
    """`fit_order` for many problems at once, each independent of the others.

    Parameters
    ----------
    h : (H,) or (B, H) array
    error : (B, H) array
    floor : scalar, (H,) or (B, H) array, optional
    memory : scalar or (B,) array, optional
    sampling : scalar, (H,) or (B, H) array, optional
    expected, exact, level
        As in `fit_order`, common to all problems.

    Returns
    -------
    list of B `OrderFit`
    """
    data = check_input(h, error, expected, floor, level, memory, sampling, exact)
    points = choose_points(data)
    count = points.usable
    span = np.exp(np.take_along_axis(points.x, np.maximum(count - 1, 0)[:, None], 1)[:, 0])
    span /= np.exp(points.x[:, 0])
    slopes, _ = local_slopes(points.x, points.y, count)
    enough = np.flatnonzero(count >= SMALLEST_WINDOW)
    found: Estimate | None = None
    if len(enough):
        x, y, floors, noise = (
            a[enough] for a in (points.x, points.y, points.floor, points.sampling)
        )
        found = estimate(x, y, floors, noise, count[enough], level)
    place = {int(b): i for i, b in enumerate(enough)}
    claim = _Claim(float(expected), bool(exact), data.floor_known)
    fits = []
    for b in range(len(data.error)):
        kappa = None if data.memory is None else float(data.memory[b])
        common: dict[str, Any] = {
            "level": float(level),
            "h": data.h[b],
            "error": data.error[b],
            "expected": claim.expected,
            "exact": claim.exact,
            "floor": data.floor[b],
            "slopes": slopes[b][np.isfinite(slopes[b])][::-1],
            "memory": kappa,
            "sampling": None if sampling is None else data.sampling[b],
        }
        if b in place and found is not None:
            fits.append(_judge(found, place[b], points, b, float(span[b]), claim, common))
        else:
            fits.append(_too_few(points, b, claim, common))
    return fits


class _Claim(NamedTuple):
    expected: float
    exact: bool
    floor_known: bool


class _Trend(NamedTuple):
    """What the local slopes do, see `stepbias.verify.fit_slopes`."""

    settled: bool
    runaway: bool
    drift: float
    turned: bool  # coarser points of the other sign were dropped
    noise: float  # what the known sampling errors may add to a local slope


def _judge(
    found: Estimate,
    i: int,
    points: Points,
    b: int,
    span: float,
    claim: _Claim,
    common: dict[str, Any],
) -> OrderFit:
    """Verdict of one row that has an estimate."""
    low, high = float(found.lower[i]), float(found.upper[i])
    window, count = int(found.window[i]), int(points.usable[b])
    powers = MODELS[int(found.model[i])]
    finest = float(np.exp(points.x[b, 0]))
    trend = _Trend(
        settled=bool(found.settled[i]),
        runaway=bool(found.runaway[i]),
        drift=float(found.drift[i]),
        turned=bool((points.status[b] == Status.SIGN).any()),
        noise=3.0 * np.sqrt(2.0) * float(points.sampling[b].max()) * (count - 1) / np.log(span),
    )
    verdict, reason = _verdict(low, high, span, trend, finest, claim, common)
    status = points.status[b].copy()
    status[points.place[b, window : points.usable[b]]] = Status.COARSE
    return OrderFit(
        order=float(found.order[i]),
        interval=(low, high),
        verdict=verdict,
        reason=reason,
        used=status == Status.USED,
        status=status,
        constant=constant(
            points.x[b, :window], points.y[b, :window], points.sampling[b, :window], powers
        ),
        powers=powers,
        hidden=(float(found.hidden[i]), float(found.hidden_up[i])),
        **common,
    )


def _verdict(
    low: float,
    high: float,
    span: float,
    trend: _Trend,
    finest: float,
    claim: _Claim,
    common: dict[str, Any],
) -> tuple[Verdict, str]:
    least, most = claim.expected - DELTA, claim.expected + DELTA
    bounds = f"interval [{low:.3f}, {high:.3f}]"
    if span < SMALLEST_SPAN * (1.0 - 1e-9):
        return "inconclusive", f"the usable steps span only a factor {span:.3g}, needs 4"
    if low >= least and (not claim.exact or high <= most):
        if trend.runaway and trend.drift > LARGEST_DRIFT:
            return "inconclusive", "not yet asymptotic: the slopes run away at the finest steps"
        side = f"within {DELTA} of {claim.expected:g}" if claim.exact else f"above {least:g}"
        return "confirmed", f"{bounds} lies {side}"
    below, above = high < least, claim.exact and low > most
    if not (below or above):
        limit = f"{least:g} or {most:g}" if claim.exact else f"{least:g}"
        if not trend.settled and not np.isfinite(trend.drift):
            return "inconclusive", f"not yet asymptotic: the slopes still drift; {bounds}"
        return "inconclusive", f"{bounds} does not separate the order from {limit}"
    return _refute(low, high, trend, finest, claim, common)


def _refute(
    low: float,
    high: float,
    trend: _Trend,
    finest: float,
    claim: _Claim,
    common: dict[str, Any],
) -> tuple[Verdict, str]:
    """Whether an interval on the wrong side is a refutation: only if the slopes will not come back."""
    least, most = claim.expected - DELTA, claim.expected + DELTA
    bounds, slopes, kappa = f"interval [{low:.3f}, {high:.3f}]", common["slopes"], common["memory"]
    gap = least - high if high < least else low - most
    scatter = trend.drift <= DRIFT_SHARE * gap
    if len(slopes) < 3:
        return "inconclusive", "too few separate slopes to see whether they have settled"
    resolved = kappa is not None and finest * kappa <= MEMORY_LIMIT and claim.floor_known
    falling = resolved and high < least and falls_away(slopes)
    if not trend.settled and not scatter and not falling:
        return "inconclusive", f"not yet asymptotic: the slopes have not settled; {bounds}"
    unsure = kappa is None or not claim.floor_known
    if (
        unsure
        and levels_off(slopes, low, trend.turned, trend.noise)
        and not (scatter and low > SMALLEST_ORDER)
    ):
        return "inconclusive", "the error levels off at the finest steps: a transient or a floor?"
    if kappa is not None and finest * kappa > MEMORY_LIMIT:
        return "inconclusive", f"not yet asymptotic: needs h <= {MEMORY_LIMIT / kappa:.3g}"
    side = f"below {least:g}" if high < least else f"above {most:g}"
    return "refuted", f"{bounds} lies {side}"


def _too_few(points: Points, b: int, claim: _Claim, common: dict[str, Any]) -> OrderFit:
    """Verdict of one row with fewer than four usable points."""
    status, count = points.status[b], int(points.usable[b])
    slopes = common["slopes"]
    verdict: Verdict = "inconclusive"
    order, interval, size = float(slopes[-1]) if len(slopes) else np.nan, (-np.inf, np.inf), np.nan
    dropped = Counter(int(s) for s in status)
    zero = dropped[Status.ZERO] == len(status)
    span = float(common["h"].max() / common["h"].min())
    if zero and len(status) >= SMALLEST_WINDOW and span < SMALLEST_SPAN * (1.0 - 1e-9):
        reason = f"the error is exactly zero, but the steps span only a factor {span:.3g}, needs 4"
    elif zero and len(status) < SMALLEST_WINDOW:
        reason = f"only {len(status)} points, all exactly zero, needs {SMALLEST_WINDOW}"
    elif zero and claim.floor_known and not common["floor"].any() and not claim.exact:
        verdict, order, interval, size = "confirmed", np.inf, (np.inf, np.inf), 0.0
        reason = "the error is identically zero with a floor stated as zero: O(h^p) for every p"
    elif dropped[Status.FLOOR] + dropped[Status.ZERO] == len(status):
        reason = "error is at the rounding/solver floor"
    else:
        why = ", ".join(f"{n} {Status.TEXT[s]}" for s, n in sorted(dropped.items()) if s)
        reason = f"only {count} usable points, needs {SMALLEST_WINDOW}"
        reason += f" ({why})" if why else ""
    return OrderFit(
        order=order,
        interval=interval,
        verdict=verdict,
        reason=reason,
        used=status == Status.USED,
        status=status,
        constant=size,
        **common,
    )
