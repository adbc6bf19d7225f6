"""A refutation is run again before it counts: finer, by a tighter solver, in a second arithmetic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepbias.kernels.measure import Method
from stepbias.kernels.trajectory import CLASSICAL
from stepbias.theory.adam_claims import CLAIMS
from stepbias.theory.arithmetic import EXTENDED, software
from stepbias.theory.claim import Claim
from stepbias.theory.variants import LEADING, Variant
from stepbias.verify import escalation, runner, second_look
from stepbias.verify.cells import Cell
from stepbias.verify.escalation import (
    Escalation,
    compare,
    compare_coefficient,
    escalate,
    tight_method,
)
from stepbias.verify.fit import Verdict
from stepbias.verify.problems import draw
from stepbias.verify.relabelling import sweep_cell
from stepbias.verify.second_arithmetic import Replica
from stepbias.verify.second_look import look_again
from stepbias.verify.summary import NOT_ZERO, UnitResult
from stepbias.verify.sweep import sweep
from tests.verify.campaign import a_cell, a_fit, use_claims, use_tiny

THEOREM = CLAIMS[0]
WRONG = replace(THEOREM, variant=LEADING, wrong=())


@pytest.fixture
def quick_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the second arithmetic take few steps."""
    monkeypatch.setattr(escalation, "_SECONDS", 0.3)


def unit(cell: Cell, claim: Claim) -> UnitResult:
    return UnitResult(cell, runner.run_unit(runner.Unit(claim, cell, claim.variant)))


def test_the_same_problem_is_measured_at_steps_four_times_finer() -> None:
    cell = a_cell(dim=3, count=4)
    drawn = draw(cell)
    outcome = escalate(THEOREM, cell, drawn.numbers[2])
    fit = outcome.fit
    np.testing.assert_array_equal(np.sort(fit.h), cell.horizon / (4.0 * np.array(cell.steps[::-1])))
    found = sweep(
        cell.optimizer(),
        drawn.loss,
        drawn.theta0,
        cell.horizon,
        [4 * n for n in cell.steps],
        cell.schedule_object(),
        method=tight_method,
    )
    np.testing.assert_array_equal(fit.error, found.error[2])
    assert fit.verdict == outcome.verdict == "confirmed"
    assert outcome.certificate is None


def test_the_solver_is_tighter_where_it_can_be_told_from_rounding() -> None:
    assert tight_method(4096) == Method(CLASSICAL, 2, CLASSICAL, 1)
    assert tight_method(4097) is None


@pytest.mark.parametrize("variant", [LEADING, Variant(L=0.5)], ids=lambda v: v.name)
def test_a_true_refutation_stays_one(variant: Variant, quick_replica: None) -> None:
    cell = a_cell(count=2)
    outcome = escalate(replace(WRONG, variant=variant), cell, draw(cell).numbers[1])
    assert outcome.verdict == "refuted"
    assert outcome.fit.order == pytest.approx(1.0, abs=0.05)
    assert outcome.certificate is not None
    other = outcome.certificate["second"]
    kernels = other["kernels"]
    # agreement to rounding, far below the 1 % that is allowed
    assert float(other["error"]) == pytest.approx(kernels["error"], rel=1e-9)
    assert kernels["floor"] < 1e-3 * kernels["error"]


def test_arithmetics_that_disagree_refute_nothing(
    monkeypatch: pytest.MonkeyPatch, quick_replica: None
) -> None:
    def off(*arguments: Any, **others: Any) -> Any:
        found = sweep(*arguments, **others)
        found.error[:] *= 1.02
        return found

    monkeypatch.setattr(escalation, "sweep", off)
    cell = a_cell(count=2)
    outcome = escalate(WRONG, cell, draw(cell).numbers[1])
    assert outcome.verdict == "inconclusive"
    assert outcome.fit.reason.startswith("two arithmetics disagree: error ")
    assert outcome.certificate is None


def test_agreement_needs_the_error_and_the_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = a_cell(count=1)
    drawn = draw(cell)
    found = sweep(
        cell.optimizer(), drawn.loss, drawn.theta0, cell.horizon, [64], cell.schedule_object()
    )
    error, vector = found.error[0, 0], found.difference[0, 0]

    def told(error: float, vector: Any) -> str:
        return compare(Replica(64, error, vector, 0.0 * vector), found, EXTENDED)

    assert not told(error, vector)
    assert not told(1.009 * error, vector)
    assert "disagree" in told(1.011 * error + found.floor[0, 0], vector)
    assert "disagree" in told(error, -vector)  # equal in size only
    assert "disagree" in told(np.nan, vector)


# A fault of the kernels in the O(h) term that the slope does not see, nor a comparison of errors within 1 %.
OFF = Variant(bias=0.9995)
# Many steps: the coefficient is known to less than a thousandth of the O(h) term.
SMOOTH = a_cell(batches=1, schedule="cyclic", count=1, steps=(32, 64, 128, 256, 512, 1024, 2048))


def _kernels_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernels, and nothing else, integrate the field of `OFF`."""

    def cell_off(*arguments: Any, **others: Any) -> Any:
        cell, loss, theta0, steps, _ = arguments
        return sweep_cell(cell, loss, theta0, steps, OFF, **others)

    def off(*arguments: Any, method: Any) -> Any:
        optimizer, loss, theta0, horizon, steps, schedule, _, kind = arguments
        return sweep(optimizer, loss, theta0, horizon, steps, schedule, OFF, kind, method=method)

    monkeypatch.setattr(escalation, "sweep_cell", cell_off)
    monkeypatch.setattr(escalation, "sweep", off)


def test_a_coefficient_that_the_kernels_alone_see_refutes_nothing(
    monkeypatch: pytest.MonkeyPatch, quick_replica: None
) -> None:
    _kernels_off(monkeypatch)
    outcome = escalate(THEOREM, SMOOTH, draw(SMOOTH).numbers[0])
    assert outcome.verdict == "inconclusive", outcome.fit.reason
    assert outcome.fit.reason.startswith("two arithmetics disagree: coefficient of h^1, component ")
    assert outcome.certificate is None
    # the errors agree: nothing but the coefficient tells
    monkeypatch.setattr(escalation, "compare_coefficient", lambda *_: "")
    assert escalate(THEOREM, SMOOTH, draw(SMOOTH).numbers[0]).certificate is not None


def test_a_coefficient_that_both_arithmetics_see_refutes(quick_replica: None) -> None:
    outcome = escalate(replace(THEOREM, variant=OFF, wrong=()), SMOOTH, draw(SMOOTH).numbers[0])
    assert outcome.verdict == "refuted", outcome.fit.reason
    assert outcome.fit.reason.startswith(NOT_ZERO)
    assert outcome.certificate is not None
    second = outcome.certificate["second"]
    (other,) = second["others"]
    assert 2 * other["steps"] == second["steps"]
    part = outcome.certificate["coefficient"]
    assert abs(part["value"][part["component"]]) > 3.0 * part["bound"][part["component"]]


def test_the_coefficient_is_compared_component_by_component() -> None:
    cell = a_cell(count=1)
    drawn = draw(cell)
    found = sweep(
        cell.optimizer(), drawn.loss, drawn.theta0, cell.horizon, [64], cell.schedule_object()
    )
    vector, h = found.difference[0, 0], found.h[0, 0]
    value, bound = np.array([0.01, -0.002]), np.array([0.002, 0.001])

    def told(shift: tuple[float, float], power: int = 1) -> str:
        moved = vector + np.array(shift) * h**power
        data = {"power": power, "factor": 3.0, "value": value, "bound": bound}
        return compare_coefficient(Replica(64, 0.0, moved, 0.0 * vector), found, data, EXTENDED)

    for power in (0, 1):
        assert not told((0.0019, 0.0), power)
        assert "component 0" in told((0.0021, 0.0), power)
        assert "component 0" in told((-0.0021, 0.0), power)
        assert "component 0" in told((np.nan, 0.0), power)
        # a component that refutes nothing may differ by more
        assert not told((0.0, 0.1), power)


def test_software_floats_do_where_longdouble_is_a_double(
    monkeypatch: pytest.MonkeyPatch, quick_replica: None
) -> None:
    monkeypatch.setattr(escalation, "second", software)
    cell = a_cell(count=1, dim=1, batches=1, schedule="cyclic")
    outcome = escalate(WRONG, cell, draw(cell).numbers[0])
    assert outcome.certificate is not None
    assert "mpmath" in outcome.certificate["second"]["arithmetic"]
    # what it can afford: fewer than the escalation's coarsest, 4 * 32
    assert outcome.certificate["second"]["steps"] < 128


def test_the_fit_survives_numbers_that_are_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **others: Any) -> Any:
        found = sweep_cell(*arguments, **others)
        found.error[0, 0] = np.inf
        found.floor[0, 1] = np.nan
        found.memory[0] = np.inf
        return found

    monkeypatch.setattr(escalation, "sweep_cell", broken)
    fit = escalate(THEOREM, a_cell(), 0).fit
    assert not fit.used[0]
    assert not fit.used[1]
    assert fit.verdict != "refuted"


def test_only_refuted_problems_are_escalated_and_their_verdict_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[Cell, int]] = []

    def fake(claim: Claim, cell: Cell, number: int, command: str, **_: Any) -> Escalation:
        assert command.startswith(claim.id)
        calls.append((cell, number))
        return Escalation(a_fit("inconclusive", 1.5))

    monkeypatch.setattr(second_look, "escalate", fake)
    good, bad = unit(a_cell(count=4), THEOREM), unit(a_cell(count=4, key=3), WRONG)
    first = [fit.verdict for fit in bad.fits(THEOREM)]
    assert "refuted" in first
    assert "refuted" not in [fit.verdict for fit in good.fits(THEOREM)]
    assert look_again([(THEOREM, [good, bad])], "{claim} {problem}", 1) == {}
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
    monkeypatch.setattr(second_look, "escalate", lambda *_, **__: Escalation(a_fit(verdict, 1.0)))
    (row,) = runner.run_claims(workers=1).rows
    assert (row.counts["refuted"] > 0) is (verdict == "refuted")
    assert row.verdict == verdict
    assert len(row.h) == row.problems
