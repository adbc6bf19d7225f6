"""The claims of a run judged together: Holm's procedure keeps the probability of any false confirmation at 1 %."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.verify.fit import DELTA
from stepbias.verify.pooling import SIGN_TEST_CELLS
from stepbias.verify.rows import Row

# No order is read more finely than this from a handful of steps.
FINEST = 1e-3


def wrong_side(medians: NDArray[np.floating[Any]], expected: float, exact: bool) -> float:
    """p-value of the hypothesis that the order lies on the wrong side of expected - 0.1 (or, if ``exact``, of expected + 0.1).

    Parameters
    ----------
    medians : (C,) float64
        One order for each independent unit: the cells of a claim, or the problems where there is one cell.
    expected, exact
        Of the claim.

    Returns
    -------
    float
        Of the sign test for their median, and of Student's for the mean where there are fewer than 16, their scatter taken to be at least `FINEST` (equal
        orders would leave no chance at all); twice the one-sided value, as for the ends of a two-sided interval. 1 for fewer than two.
    """
    from scipy import stats

    limits = [(expected - DELTA, "greater"), (expected + DELTA, "less")][: 2 if exact else 1]
    if len(medians) < 2:
        return 1.0
    if len(medians) >= SIGN_TEST_CELLS:
        found = [
            float(stats.quantile_test(medians, q=limit, p=0.5, alternative=side).pvalue)
            for limit, side in limits
        ]
        return min(1.0, 2.0 * max(found))
    error = max(float(np.std(medians, ddof=1)), FINEST) / np.sqrt(len(medians))
    signs = {"greater": 1.0, "less": -1.0}
    away = [signs[side] * (float(np.mean(medians)) - limit) / error for limit, side in limits]
    found = [float(stats.t.sf(one, len(medians) - 1)) for one in away]
    return min(1.0, 2.0 * max(found))


def judge_together(rows: Sequence[Row], error: float = 0.01) -> None:
    """Withdraw confirmations that do not stand together: Holm (1979), step-down over all rows of the run, in place.

    With n claims in the run, the k-th smallest of the p-values of the confirmed ones has to be at most ``error / (n - k + 1)``; from the first that is not,
    all become inconclusive. Claims that are not confirmed count in n: they were tried as well.
    """
    confirmed = sorted((row for row in rows if row.verdict == "confirmed"), key=lambda r: r.pvalue)
    stands = True
    for k, row in enumerate(confirmed):
        limit = error / (len(rows) - k)
        stands = stands and row.pvalue <= limit
        if not stands:
            row.verdict = "inconclusive"
            row.reason = f"p = {row.pvalue:.2g} if the claim were just false, needs {limit:.2g} among {len(rows)} claims; {row.reason}"
