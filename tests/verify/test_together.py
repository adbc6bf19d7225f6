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
    orders = 2.0 + 0.001 * np.arange(16)
    assert wrong_side(orders, 2.0, exact=False) == pytest.approx(2.0 * 2.0**-16)
    orders[:2] = 1.5  # two of sixteen on the wrong side
    assert wrong_side(orders, 2.0, exact=False) == pytest.approx(2.0 * (1 + 16 + 120) / 2.0**16)
    # above the upper limit: fine for a one-sided claim only
    high = 2.5 + 0.001 * np.arange(16)
    assert wrong_side(high, 2.0, exact=False) < 1e-3
    assert wrong_side(high, 2.0, exact=True) == 1.0


def test_few_cells_have_student_s_test() -> None:
    orders = np.array([1.99, 2.0, 2.03, 1.98])
    t = (orders.mean() - 1.9) / stats.sem(orders)
    assert wrong_side(orders, 2.0, exact=False) == pytest.approx(2.0 * stats.t.sf(t, 3))
    assert wrong_side(orders[:1], 2.0, exact=False) == 1.0


def test_equal_orders_leave_some_chance() -> None:
    """As if they scattered by 1e-3: the p-value falls with their number and does not vanish."""
    from scipy import stats

    for order, exact in ((1.95, True), (2.2, False)):
        distance = min(order - 1.9, abs(2.1 - order)) if exact else order - 1.9
        found = [wrong_side(np.full(n, order), 2.0, exact=exact) for n in (2, 3, 6)]
        expected = [2.0 * stats.t.sf(distance / 1e-3 * n**0.5, n - 1) for n in (2, 3, 6)]
        assert found == pytest.approx(expected, rel=1e-6)
        assert found[0] > found[1] > found[2] > 0.0
    assert wrong_side(np.full(3, 1.85), 2.0, exact=False) == 1.0
    assert wrong_side(np.full(3, 2.2), 2.0, exact=True) == 1.0
    nearly = 2.0 + 1e-12 * np.arange(3)
    assert wrong_side(nearly, 2.0, exact=True) == pytest.approx(
        wrong_side(np.full(3, 2.0), 2.0, exact=True), rel=1e-6
    )


def test_holm_steps_down_and_stops(make_row: MakeRow) -> None:
    values = [0.003, 1e-5, 0.0049, 0.0009]
    rows = [make_row(verdict="confirmed", pvalue=p, reason="r") for p in values]
    rows.append(make_row(verdict="refuted", pvalue=0.5, reason="r"))
    judge_together(rows)
    # sorted: 1e-5 <= .002, .0009 <= .0025, .003 <= .0033, .0049 <= .005
    assert [row.verdict for row in rows] == ["confirmed"] * 4 + ["refuted"]
    rows = [make_row(verdict="confirmed", pvalue=p, reason="r") for p in (0.006, 1e-5, 0.0055)]
    judge_together(rows)
    # .0055 > .005: it and all above fall, .006 <= .01 or not
    assert [row.verdict for row in rows] == ["inconclusive", "confirmed", "inconclusive"]
    assert "needs 0.005 among 3 claims; r" in rows[2].reason


def test_claims_that_are_not_confirmed_were_tried_as_well(make_row: MakeRow) -> None:
    alone = make_row(verdict="confirmed", pvalue=0.006)
    others = [make_row(verdict="inconclusive", pvalue=0.3) for _ in range(9)]
    judge_together([alone, *others])
    assert alone.verdict == "inconclusive"


def test_the_family_of_true_boundary_cases_is_kept_below_its_level(make_row: MakeRow) -> None:
    """29 claims at the limit, whose own 99 % intervals decide first: the share of runs with any confirmation."""
    rng = np.random.Generator(np.random.Philox(key=3))
    false = 0
    for _ in range(100):
        rows = []
        for medians in rng.normal(1.9, 0.05, (29, 18)):
            low = stats.quantile_test(medians, q=2.0, p=0.5).confidence_interval(0.99).low
            pvalue = wrong_side(medians, 2.0, exact=False)
            rows.append(
                make_row(verdict="confirmed" if low >= 1.9 else "inconclusive", pvalue=pvalue)
            )
        judge_together(rows)
        false += any(row.verdict == "confirmed" for row in rows)
    # at a probability of 1 %, five of 100 have one of 0.3 %
    assert false <= 4


def test_one_claim_alone_is_judged_at_one_percent(make_row: MakeRow) -> None:
    for p, verdict in ((0.0099, "confirmed"), (0.0101, "inconclusive")):
        row = make_row(verdict="confirmed", pvalue=p)
        judge_together([row])
        assert row.verdict == verdict
