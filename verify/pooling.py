"""From the fits of many problems to the verdict on a claim that holds for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stepbias.verify.fit import DELTA, OrderFit
from stepbias.verify.fit_pool import Pooled, pool_orders

# A confirmed claim has at most this share of problems that could not be judged.
INCONCLUSIVE_SHARE = 0.25
# From here on the sign test (2^(1 - cells) at best) can reach the level 0.01 / n of the strictest of n = 300 claims; fewer cells are judged by Student's test
# for their mean.
SIGN_TEST_CELLS = 16


def cell_medians(fits: Sequence[OrderFit], cells: Sequence[int]) -> NDArray[np.float64]:
    """Median order of every cell that has one."""
    groups: dict[int, list[float]] = {}
    for fit, cell in zip(fits, cells, strict=True):
        if np.isfinite(fit.order):
            groups.setdefault(cell, []).append(fit.order)
    return np.array([np.median(orders) for orders in groups.values()])


def pool_cells(
    fits: Sequence[OrderFit],
    cells: Sequence[int],
    expected: float,
    exact: bool,
    level: float,
) -> Pooled:
    """Pool problems that share settings within cells.

    Parameters
    ----------
    fits : sequence of OrderFit
    cells : sequence of int
        Cell of every fit. Problems of a cell share the schedule and so its luck: the cell, not the problem, is the independent unit.
    expected, exact, level
        Of the claim.

    Returns
    -------
    Pooled
        order: the median over the problems. interval: for the median over the cells of their median orders, free of assumptions on their law (order
        statistics; with fewer than 16 cells Student's for the mean). verdict: refuted if any problem is (the
        caller has escalated those); confirmed if none is, at most a quarter of the problems is inconclusive, and the interval lies on the right
        side of expected - 0.1 (both sides if ``exact``); else inconclusive.
    """
    from scipy import stats

    base = pool_orders(fits, expected, exact=exact, level=level)
    tally = Counter(f.verdict for f in fits)
    medians = cell_medians(fits, cells)
    if len(medians) < 2:
        return base
    if len(medians) >= SIGN_TEST_CELLS:
        low, high = stats.quantile_test(medians, q=expected, p=0.5).confidence_interval(level)
    else:
        half = stats.t.ppf(0.5 + level / 2.0, len(medians) - 1) * stats.sem(medians)
        low, high = medians.mean() - half, medians.mean() + half
    interval = (float(low), float(high))
    counts = ", ".join(f"{tally[v]} {v}" for v in ("confirmed", "refuted", "inconclusive"))
    place = f"order over {len(medians)} cells in [{interval[0]:.3f}, {interval[1]:.3f}]"
    if tally["refuted"]:
        return Pooled(base.order, interval, "refuted", f"{counts}; {place}", base.worst_index)
    inside = interval[0] >= expected - DELTA and (not exact or interval[1] <= expected + DELTA)
    if not inside:
        return Pooled(
            base.order,
            interval,
            "inconclusive",
            f"{counts}; {place} reaches beyond {DELTA}",
            base.worst_index,
        )
    if tally["inconclusive"] > INCONCLUSIVE_SHARE * len(fits):
        return Pooled(
            base.order,
            interval,
            "inconclusive",
            f"more than a quarter could not be judged: {base.reason}",
            base.worst_index,
        )
    return Pooled(base.order, interval, "confirmed", f"{counts}; {place}", base.worst_index)
