"""Claims judged together: known p-values, and Holm's procedure by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from stepbias.verify.rows import Row
from stepbias.verify.together import judge_together, wrong_side

MakeRow = Callable[..., Row]


def test_many_cells_have_the_sign_test() -> None:
    orders = 2.0 + 0.001 * np.arange(13)
    assert wrong_side(orders, 2.0, exact=False) == pytest.approx(2.0 * 2.0**-13)
    orders[:2] = 1.5  # two of thirteen on the wrong side
    assert wrong_side(orders, 2.0, exact=False) == pytest.approx(2.0 * (1 + 13 + 78) / 2.0**13)
    # above the upper limit: fine for a one-sided claim only
    high = 2.5 + 0.001 * np.arange(13)
    assert wrong_side(high, 2.0, exact=False) < 1e-3
    assert wrong_side(high, 2.0, exact=True) == 1.0


def test_few_cells_have_student_s_test() -> None:
    orders = np.array([1.99, 2.0, 2.03, 1.98])
    t = (orders.mean() - 1.9) / stats.sem(orders)
    assert wrong_side(orders, 2.0, exact=False) == pytest.approx(2.0 * stats.t.sf(t, 3))
    assert wrong_side(orders[:1], 2.0, exact=False) == 1.0


def test_equal_orders_are_on_one_side() -> None:
    assert wrong_side(np.full(3, 1.95), 2.0, exact=True) == 0.0
    assert wrong_side(np.full(3, 1.85), 2.0, exact=False) == 1.0
    assert wrong_side(np.full(3, 2.2), 2.0, exact=False) == 0.0
    assert wrong_side(np.full(3, 2.2), 2.0, exact=True) == 1.0


def test_holm_steps_down_and_stops(make_row: MakeRow) -> None:
    values = [0.004, 1e-5, 0.006, 0.0009]
    rows = [make_row(verdict="confirmed", pvalue=p, reason="r") for p in values]
    rows.append(make_row(verdict="refuted", pvalue=0.5, reason="r"))
    judge_together(rows)
    # sorted: 1e-5 <= .0025, .0009 <= .0033, .004 <= .005, .006 <= .01
    assert [row.verdict for row in rows] == ["confirmed"] * 4 + ["refuted"]
    rows = [make_row(verdict="confirmed", pvalue=p, reason="r") for p in (0.006, 1e-5, 0.0055)]
    judge_together(rows)
    # .0055 > .005: it and all above fall, .006 <= .01 or not
    assert [row.verdict for row in rows] == ["inconclusive", "confirmed", "inconclusive"]
    assert "needs 0.005 among 3 claims; r" in rows[2].reason


def test_one_claim_alone_is_judged_at_one_percent(make_row: MakeRow) -> None:
    for p, verdict in ((0.0099, "confirmed"), (0.0101, "inconclusive")):
        row = make_row(verdict="confirmed", pvalue=p)
        judge_together([row])
        assert row.verdict == verdict
