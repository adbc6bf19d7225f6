"""Many fits, one verdict: synthetic fits with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from stepbias.verify.fit import OrderFit
from stepbias.verify.fit_pool import Pooled
from stepbias.verify.pooling import INCONCLUSIVE_SHARE, pool_cells
from stepbias.verify.together import wrong_side
from tests.verify.campaign import a_fit

LEVEL = 0.99


def confirmed(count: int, order: float = 2.0) -> list[OrderFit]:
    return [a_fit("confirmed", order) for _ in range(count)]


def pooled(fits: list[OrderFit], cells: list[int], exact: bool = False) -> Pooled:
    return pool_cells(fits, cells, 2.0, exact, LEVEL)


def spread(orders: list[float], per_cell: int = 3, exact: bool = False) -> Pooled:
    """One cell an order; the problems of a cell scatter around it."""
    fits, cells = [], []
    for cell, order in enumerate(orders):
        for k in range(per_cell):
            fits.append(a_fit("confirmed", order + 5.0 * (k - per_cell // 2), exact=exact))
            cells.append(cell)
    return pooled(fits, cells, exact)


def test_all_confirmed_is_confirmed() -> None:
    result = spread([2.0 + 0.001 * k for k in range(9)])
    assert result.verdict == "confirmed"
    assert "27 confirmed, 0 refuted, 0 inconclusive" in result.reason
    assert "9 cells" in result.reason
    assert result.order == pytest.approx(2.004)


@pytest.mark.parametrize("others", [1, 40])
def test_one_refuted_problem_refutes(others: int) -> None:
    orders = 2.0 + 0.001 * np.arange(others)
    fits = [a_fit("confirmed", order) for order in orders] + [a_fit("refuted", 1.0)]
    result = pooled(fits, list(range(len(fits))))
    assert result.verdict == "refuted"
    assert result.worst_index == others
    assert f"{others} confirmed, 1 refuted" in result.reason


def test_a_quarter_of_the_problems_may_be_inconclusive() -> None:
    assert INCONCLUSIVE_SHARE == 0.25
    for count, verdict in ((15, "confirmed"), (14, "inconclusive")):
        fits = confirmed(count) + [a_fit("inconclusive", 2.0, (1.0, 3.0))] * (20 - count)
        for k, fit in enumerate(fits):
            object.__setattr__(fit, "order", 2.0 + 0.001 * (k % 7))
        result = pooled(fits, [k % 10 for k in range(20)])
        assert result.verdict == verdict
    assert "more than a quarter" in result.reason


def test_many_cells_have_the_interval_of_order_statistics() -> None:
    orders = [
        1.6,
        1.7,
        1.95,
        1.98,
        1.99,
        2.0,
        2.01,
        2.02,
        2.03,
        2.04,
        2.05,
        2.06,
        2.07,
        2.3,
        2.4,
        4.0,
    ]
    result = spread(orders)
    # of 16 values the third and the last but two hold the median but for 274 * 2^-16, the next ones but for 1394 * 2^-16 > 1 %
    assert result.interval == (1.95, 2.3)
    # one cell fewer, and the rule of the few says what the p-value of `together` says
    fewer = spread(orders[:-1])
    assert fewer.interval[0] < 1.9
    assert wrong_side(np.array(orders[:-1]), 2.0, exact=False) > 0.01


def test_few_cells_have_the_interval_of_student() -> None:
    orders = [1.99, 2.0, 2.03, 1.98, 2.01, 2.02, 2.0]
    result = spread(orders)
    half = stats.t.ppf(0.995, 6) * np.std(orders, ddof=1) / np.sqrt(7)
    assert result.interval == pytest.approx((np.mean(orders) - half, np.mean(orders) + half))
    assert result.verdict == "confirmed"


def test_the_cell_is_the_unit_not_the_problem() -> None:
    # one deviating cell, however many problems it has, is one cell
    fits = [a_fit("confirmed", 2.0 + 0.001 * k) for k in range(16)] + confirmed(50, 2.5)
    result = pooled(fits, [*range(16), *([16] * 50)])
    assert result.interval == (2.002, 2.014)
    assert "17 cells" in result.reason
    assert result.order == 2.5  # the median over the problems


def test_an_interval_beyond_the_limit_decides_nothing() -> None:
    low = spread([1.7, 1.71, 1.72, *(2.0 + 0.001 * k for k in range(13))])
    assert low.interval[0] == 1.72
    assert low.verdict == "inconclusive"
    assert "reaches beyond" in low.reason
    high = [2.4, 2.41, 2.42, *(2.0 + 0.001 * k for k in range(13))]
    assert spread(high).verdict == "confirmed"  # a higher order confirms a one-sided claim
    assert spread(high, exact=True).verdict == "inconclusive"


def test_cells_without_any_order_do_not_count() -> None:
    unknown = a_fit("inconclusive", np.nan, (-np.inf, np.inf))
    fits = [a_fit("confirmed", 2.0 + 0.001 * k) for k in (0, 1, 2, 0, 1, 2)]
    result = pooled([*fits, unknown, unknown], [0, 1, 2, 0, 1, 2, 2, 3])
    assert "3 cells" in result.reason
    assert result.verdict == "confirmed"
    alone = pooled([fits[0], unknown], [0, 1])
    assert alone.verdict == "inconclusive"


def test_cells_that_agree_to_the_last_bit_have_an_interval() -> None:
    result = pooled(confirmed(3), [0, 1, 2])
    assert result.interval == (2.0, 2.0)
    assert result.verdict == "confirmed"


def test_fits_of_another_claim_are_refused() -> None:
    with pytest.raises(ValueError, match="was made for"):
        pooled([a_fit("confirmed", exact=True)], [0])
