"""From measured cells to a row: numbers, strata, the worst problem, wrong variants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepbias.theory.adam_claims import CLAIMS
from stepbias.verify.summary import UnitResult, summarise
from tests.verify.campaign import H, a_cell, a_fit, measured, nothing, some_cells

THEOREM, CONTROL = CLAIMS[0], CLAIMS[3]


def test_a_row_counts_problems_verdicts_and_exclusions() -> None:
    units = [measured([2.0, 2.001 + i / 1000, 2.0], cell) for i, cell in enumerate(some_cells(8))]
    row = summarise(THEOREM, units, 4)
    assert row.verdict == row.expected_verdict == "confirmed"
    assert row.measured == pytest.approx(2.0, abs=0.01)
    assert row.interval[0] <= row.measured <= row.interval[1]
    assert row.problems == 24
    assert row.counts == {"confirmed": 24, "refuted": 0, "inconclusive": 0}
    assert row.reasons == {"excluded: moves less than 0.2": 24}
    assert row.seconds == 2.0
    assert (row.id, row.source, row.expected) == (THEOREM.id, THEOREM.source, THEOREM.expected)
    assert "seed 4" in row.law
    assert len(row.h) == len(row.error) == len(row.floor) == len(row.used) == len(row.orders) == 24
    np.testing.assert_array_equal(row.error[4], units[1].arrays["error"][1])


def test_a_refuted_problem_refutes_the_row_and_is_the_worst() -> None:
    first, second, third = some_cells(3)
    # the first cell found fewer problems than its count: numbers in the run still go by the count
    units = [
        measured([2.0, 2.0], first),
        measured([2.0, 1.0, 2.0], second),
        measured([2.0] * 3, third),
    ]
    row = summarise(THEOREM, units, 0)
    assert row.verdict == "refuted"
    assert row.worst["problem"] == 3 + 1
    assert row.worst["draw"] == 12
    assert row.worst["verdict"] == "refuted"
    assert row.worst["order"] == pytest.approx(1.0, abs=0.01)
    assert row.worst["rho"] == second.rho
    assert any(name.startswith("refuted: interval") for name in row.reasons)


def test_an_escalated_fit_takes_the_place_of_the_first() -> None:
    units = [measured([2.0, 1.0, 2.001], cell) for cell in some_cells(3)]
    for k, unit in enumerate(units):
        assert [f.verdict for f in unit.fits(THEOREM)] == ["confirmed", "refuted", "confirmed"]
        unit.escalated[1] = a_fit("confirmed", 2.0 + k / 100)
    row = summarise(THEOREM, units, 0)
    assert row.counts["confirmed"] == 9
    assert row.verdict == "confirmed"
    assert row.orders[4] == 2.01


def test_cells_that_are_not_pooled_only_fill_a_stratum() -> None:
    pooled = [measured([2.0, 2.0 + i / 1000, 2.0], cell) for i, cell in enumerate(some_cells(3))]
    apart = measured([1.0, 1.0], a_cell(index=3, pooled=False, beta=0.9, rho=0.999, epsilon=1e-8))
    row = summarise(THEOREM, [*pooled, apart], 0)
    assert row.verdict == "confirmed"
    assert row.problems == 9
    assert row.strata[-1].name.startswith("not pooled: (beta, rho, eps) = (0.9, 0.999, 1e-08)")
    assert (row.strata[-1].problems, row.strata[-1].refuted) == (2, 2)


def test_strata_split_the_problems_by_every_setting() -> None:
    settings: list[dict[str, Any]] = [
        {"epsilon": 1e-4, "rho": 0.5}, {"epsilon": 1e-2, "rho": 0.9}, {"epsilon": 1e-2, "rho": 0.5},
    ]  # fmt: skip
    units = [
        measured([2.0, 2.0, 1.0 if i == 0 else 2.0], replace(cell, **settings[i]))
        for i, cell in enumerate(some_cells(3))
    ]
    strata = {s.name: s for s in summarise(THEOREM, units, 0).strata}
    assert (strata["eps = 0.0001"].problems, strata["eps = 0.0001"].refuted) == (3, 1)
    assert (strata["eps = 0.01"].problems, strata["eps = 0.01"].confirmed) == (6, 6)
    assert strata["rho = 0.5"].problems == 6
    for name in ("beta = 0.5", "m = 2", "reshuffled", "sinusoid"):
        assert strata[name].problems == 9
    assert strata["eps = 0.01"].median_order == pytest.approx(2.0, abs=0.01)


def test_the_hardest_problem_is_a_confirmed_one() -> None:
    easy, hard, refuted, close = some_cells(4)
    units = [
        measured([2.0] * 3, replace(easy, rho=0.5)),
        measured([2.0] * 3, replace(hard, rho=0.9, epsilon=1e-4)),
        measured([1.0] * 3, replace(refuted, rho=0.99)),
        measured([2.0] * 3, replace(close, rho=0.9, epsilon=1e-2)),
    ]
    row = summarise(THEOREM, units, 0)
    assert row.hardest == {"beta": 0.5, "rho": 0.9, "eps": 1e-4, "h": H.min()}
    assert summarise(THEOREM, units[2:3], 0).hardest == {}


def test_errors_that_are_not_finite_are_no_points_and_refute_nothing() -> None:
    unit = measured([2.0, 1.0])
    unit.arrays["error"][1, 2:] = np.inf
    unit.arrays["floor"][1, :] = np.nan
    unit.arrays["memory"][1] = np.inf
    good, bad = unit.fits(THEOREM)
    assert good.verdict == "confirmed"
    assert bad.verdict == "inconclusive"
    assert not bad.used.any()


def test_missing_data_and_empty_cells_say_so() -> None:
    one, two = some_cells(2)
    row = summarise(
        THEOREM,
        [measured([2.0] * 3, one), UnitResult(two, {"missing": np.array(["scikit-learn"])})],
        0,
    )
    assert (row.verdict, row.reason) == ("inconclusive", "scikit-learn is not installed")
    assert row.problems == 0
    row = summarise(THEOREM, [nothing(one), nothing(two)], 0)
    assert (row.verdict, row.problems, row.seconds) == ("inconclusive", 0, 1.0)
    assert "no draw" in row.reason
    assert row.reasons == {"excluded: moves less than 0.2": 256}
    mixed = summarise(THEOREM, [nothing(one), measured([2.0] * 3, two)], 0)
    assert mixed.verdict == "confirmed"
    assert mixed.worst["problem"] >= 3


def test_a_control_is_judged_on_both_sides_and_has_no_resolution() -> None:
    responses: dict[str, Any] = {
        f"response_{t}": np.full((3, 2), 1e-3) for t in ("M", "R", "L", "Lbar", "P", "Pbar", "bias")
    }
    ones = [
        measured([1.0, 1.001 + i / 1000, 1.0], cell, **responses)
        for i, cell in enumerate(some_cells(3))
    ]
    row = summarise(CONTROL, ones, 0)
    assert (row.verdict, row.resolution) == ("confirmed", {})
    twos = [
        measured([2.0, 2.001 + i / 1000, 2.0], cell, **responses)
        for i, cell in enumerate(some_cells(3))
    ]
    assert summarise(CONTROL, twos, 0).verdict == "refuted"
    found = summarise(THEOREM, twos, 0).resolution
    assert set(found) == {"M", "R", "L", "Lbar", "P", "Pbar", "bias"}
    # |h^2 + delta 1e-3 (h / h_512)| has the slope 1.8 over the second finest factor of 2, 256 to 512 steps, for the negative sign at a larger delta than this
    assert 0.25 * 0.5 / 512 * 1e3 * 0.5 / 256 < found["P"] < 1.0
    assert 0.0 < found["M"] < 1.0
