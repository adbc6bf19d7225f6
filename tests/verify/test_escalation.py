"""A refutation is run again, finer, before it counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepbias.theory.adam_claims import CLAIMS
from stepbias.theory.claim import Claim
from stepbias.theory.variants import LEADING
from stepbias.verify import escalation, runner
from stepbias.verify.escalation import escalate
from stepbias.verify.fit import OrderFit, Verdict
from stepbias.verify.problems import Cell, draw
from stepbias.verify.summary import UnitResult
from stepbias.verify.sweep import sweep
from tests.verify.campaign import a_cell, a_fit, use_claims, use_tiny

THEOREM = CLAIMS[0]
WRONG = replace(THEOREM, variant=LEADING, wrong=())


def unit(cell: Cell, claim: Claim) -> UnitResult:
    return UnitResult(cell, runner.run_unit(runner.Unit(claim, cell, claim.variant)))


def test_the_same_problem_is_measured_at_steps_four_times_finer() -> None:
    cell = a_cell(dim=3, count=4)
    drawn = draw(cell)
    fit = escalate(THEOREM, cell, drawn.numbers[2])
    np.testing.assert_array_equal(np.sort(fit.h), cell.horizon / (4.0 * np.array(cell.steps[::-1])))
    found = sweep(
        cell.optimizer(),
        drawn.loss,
        drawn.theta0,
        cell.horizon,
        [4 * n for n in cell.steps],
        cell.schedule_object(),
    )
    np.testing.assert_array_equal(fit.error, found.error[2])
    assert fit.verdict == "confirmed"


def test_a_true_refutation_stays_one() -> None:
    cell = a_cell(count=2)
    fit = escalate(WRONG, cell, draw(cell).numbers[1])
    assert fit.verdict == "refuted"
    assert fit.order == pytest.approx(1.0, abs=0.05)


def test_the_fit_survives_numbers_that_are_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **others: Any) -> Any:
        found = sweep(*arguments, **others)
        found.error[0, 0] = np.inf
        found.floor[0, 1] = np.nan
        found.memory[0] = np.inf
        return found

    monkeypatch.setattr(escalation, "sweep", broken)
    fit = escalate(THEOREM, a_cell(), 0)
    assert not fit.used[0]
    assert not fit.used[1]
    assert fit.verdict != "refuted"


def test_only_refuted_problems_are_escalated_and_their_verdict_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[Cell, int]] = []

    def fake(claim: Claim, cell: Cell, number: int) -> OrderFit:
        calls.append((cell, number))
        return a_fit("inconclusive", 1.5)

    monkeypatch.setattr(runner, "escalate", fake)
    good, bad = unit(a_cell(count=4), THEOREM), unit(a_cell(count=4, key=3), WRONG)
    first = [fit.verdict for fit in bad.fits(THEOREM)]
    assert "refuted" in first
    assert "refuted" not in [fit.verdict for fit in good.fits(THEOREM)]
    runner._escalate_refuted(THEOREM, [good, bad])
    wanted = [int(bad.arrays["numbers"][k]) for k, v in enumerate(first) if v == "refuted"]
    assert sorted(number for _, number in calls) == sorted(wanted)
    assert all(cell == bad.cell for cell, _ in calls)
    after = bad.fits(THEOREM)
    assert [fit.order for fit, v in zip(after, first, strict=True) if v == "refuted"] == [
        1.5
    ] * len(wanted)
    assert [fit.verdict for fit in after] == [
        v if v != "refuted" else "inconclusive" for v in first
    ]


@pytest.mark.parametrize("verdict", ["refuted", "inconclusive"])
def test_the_last_word_on_a_claim_is_the_escalated_one(
    verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_tiny(monkeypatch)
    use_claims(monkeypatch, WRONG)
    monkeypatch.setattr(runner, "escalate", lambda *_: a_fit(verdict, 1.0))
    (row,) = runner.run_claims(workers=1).rows
    assert (row.counts["refuted"] > 0) is (verdict == "refuted")
    assert row.verdict == verdict
    assert len(row.h) == row.problems
