"""Pool the order fits of many problems under one claim "for all"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from stepbias.verify.fit import OrderFit, Verdict

# Share of individually confirmed problems that a pooled confirmation needs.
CONFIRMED_SHARE = 0.75


class Pooled(NamedTuple):
    """Many problems under one claim "for all"."""

    order: float
    interval: tuple[float, float]
    verdict: Verdict
    reason: str
    worst_index: int


def pool_orders(
    fits: Sequence[OrderFit], expected: float, exact: bool = False, level: float = 0.99
) -> Pooled:
    """Pool the fits of many problems under one claim that holds for all of them.

    Parameters
    ----------
    fits : sequence of OrderFit
        All fitted with the `expected` and `exact` given here, at this `level` or a higher one.

    Returns
    -------
    Pooled
        order: the median of the finite orders. interval: medians of the lower and of the upper
        ends (a typical problem's interval; the worst one is named, not averaged). verdict: refuted
        if any fit is refuted; confirmed if none is and at least 75 % are confirmed; else
        inconclusive with the tally of reasons. worst_index: the refuted fit farthest from the
        claim, else the unconfirmed one with the worst interval, else the one closest to the limit.
    """
    if not len(fits):
        raise ValueError("fits must hold at least one OrderFit, got none")
    for i, fit in enumerate(fits):
        if (fit.expected, fit.exact) != (expected, exact) or fit.level < level:
            raise ValueError(
                f"fits[{i}] was made for expected={fit.expected}, exact={fit.exact}, "
                f"level={fit.level}, not for {expected}, {exact}, {level}"
            )
    tally = Counter(f.verdict for f in fits)
    orders = np.array([f.order for f in fits])
    ends = np.array([f.interval for f in fits])
    known = np.isfinite(orders)
    order = float(np.median(orders[known])) if known.any() else float(orders.max())
    interval = (float(np.median(ends[:, 0])), float(np.median(ends[:, 1])))
    miss = expected - np.nan_to_num(orders, nan=-np.inf)
    slack = expected - ends[:, 0]
    if exact:
        miss, slack = np.abs(miss), np.maximum(slack, ends[:, 1] - expected)
    rank = np.array([{"confirmed": 0, "inconclusive": 1, "refuted": 2}[f.verdict] for f in fits])
    candidates = np.flatnonzero(rank == rank.max())
    key = miss if rank.max() == 2 else slack
    worst = int(candidates[np.argmax(key[candidates])])
    counts = ", ".join(f"{tally[v]} {v}" for v in ("confirmed", "refuted", "inconclusive"))
    if tally["refuted"]:
        return Pooled(order, interval, "refuted", f"{counts}; worst: problem {worst}", worst)
    if tally["confirmed"] >= CONFIRMED_SHARE * len(fits):
        return Pooled(order, interval, "confirmed", counts, worst)
    reasons = Counter(_kind(f.reason) for f in fits if f.verdict == "inconclusive")
    listed = "; ".join(f"{n} x {text}" for text, n in reasons.most_common())
    return Pooled(order, interval, "inconclusive", f"{counts}: {listed}", worst)


def _kind(reason: str) -> str:
    """Strip a reason of its numbers, so that equal ones can be counted."""
    if reason.startswith("interval"):
        return "interval too wide"
    if "span only" in reason:
        return "the usable steps span less than a factor 4"
    for mark in (";", " (", " needs", ":", ","):
        reason = reason.split(mark)[0]
    return reason
