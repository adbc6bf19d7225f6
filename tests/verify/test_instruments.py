"""No broken instrument confirms; a sound one does, on the same problems."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import stepbias as sb
from stepbias.kernels.fault import Fault
from stepbias.verify import instruments
from stepbias.verify.cells import Cell
from stepbias.verify.cli import app
from stepbias.verify.instruments import (
    FAULTS,
    FaultRow,
    cannot_show,
    measure_fault,
    quadratics,
    run_faults,
)
from stepbias.verify.integrity import claim_failure, failures
from stepbias.verify.observe import SCALES, observe
from stepbias.verify.orders import measure_order
from stepbias.verify.problems import Draw, cells_of, draw
from stepbias.verify.registry import find_trajectory_claim
from stepbias.verify.rows import Verdict
from stepbias.verify.summary import UnitResult, summarise
from stepbias.verify.sweep import sweep
from tests.verify.campaign import a_cell, use_claims, use_tiny

SOUND = Fault("none", "nothing")
CLAIM = "adam-inside/global-order"


@pytest.fixture(scope="module")
def rows() -> dict[str, FaultRow]:
    with pytest.MonkeyPatch.context() as patch:
        use_tiny(patch)
        found = run_faults(CLAIM, "quick", 0, faults=(SOUND, *FAULTS))
    return {row.name: row for row in found}


def test_a_sound_instrument_confirms(rows: dict[str, FaultRow]) -> None:
    row = rows["none"]
    assert (row.verdict, row.unchecked) == ("confirmed", "confirmed")
    assert row.visible == row.missed == 0
    assert row.order == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.name))
def test_a_broken_instrument_does_not(rows: dict[str, FaultRow], fault: Fault) -> None:
    row = rows[fault.name]
    assert row.verdict != "confirmed"
    assert not row.survived
    # it was broken on these problems: where nothing is seen there is nothing to notice
    assert row.visible > 0
    # the sampler's fault is not one of single measurements
    assert row.missed == 0 or fault.quadratic
    assert row.what == fault.what


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("euler, unchecked", "the two resolutions of the flow differ by 0"),
        ("float32", "float32 numbers"),
        ("products", "Hessian-vector products differ"),
        ("start", "apart before the first step"),
        ("quadratics", "on 0 of 18 problems only"),
    ],
)
def test_the_instrument_says_what_is_wrong_with_it(
    monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    use_tiny(monkeypatch)
    fault = next(fault for fault in FAULTS if fault.name == name)
    claim = find_trajectory_claim(CLAIM)
    cells = cells_of(claim, "quick", 0)[:6]
    units = [measure_fault(claim, c, draw(c), fault) for c in cells]
    reason = claim_failure([unit.arrays for unit in units])
    assert told in reason
    if not fault.quadratic:
        assert all(fit.verdict == "inconclusive" for u in units for fit in u.fits(claim))
        assert all(told in fit.reason for u in units for fit in u.fits(claim))


def test_one_failing_problem_keeps_a_claim_from_being_confirmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_tiny(monkeypatch)
    claim = find_trajectory_claim(CLAIM)
    cells = cells_of(claim, "quick", 0)
    units = [measure_fault(claim, c, draw(c), None) for c in cells]
    assert summarise(claim, units, 0).verdict == "confirmed"
    units[2].arrays["integrity"][1, 0] = 1e-9
    row = summarise(claim, units, 0)
    assert row.verdict == "inconclusive"
    assert "the instrument fails its own check on 1 of 18 problems" in row.reason
    assert row.counts["confirmed"] <= 17


def test_quadratics_have_the_sizes_of_the_cell_and_no_curvature_change() -> None:
    cell = a_cell(dim=3, batches=2)
    loss = quadratics(cell, [0, 4])
    assert (loss.dim, loss.batches, loss.problems) == (3, 2, 2)
    a, b = np.random.default_rng(0).normal(size=(2, 2, 3))
    np.testing.assert_allclose(loss.hessian(1, a), loss.hessian(1, b), rtol=1e-14)
    assert np.abs(loss.hessian(1, a)).max() > 0.1
    np.testing.assert_array_equal(
        loss.select(1).gradient(0, a[1]), quadratics(cell, [4]).select(0).gradient(0, a[1])
    )


def test_a_fault_that_keeps_the_order_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # full batch with bias correction: a late step number is felt through the memory of the first steps only, at order h^2
    use_tiny(monkeypatch, betas=(0.9,), rhos=(0.5,))
    chosen = [fault for fault in FAULTS if fault.late_step or fault.late_schedule]
    rows = run_faults("adam-inside/bilinear", "quick", 0, faults=chosen)
    for row in rows:
        assert (row.verdict, row.visible, row.missed) == ("confirmed", 0, 0)
        assert not row.survived
        assert not row.failure
    # and the row says why it proves nothing
    assert [row.silent for row in rows] == [
        "the full batch has no schedule",
        "what it adds is of order h^2, which the claim allows",
    ]
    # without it the same fault is one of order h
    (row,) = run_faults("rmsprop-inside/bilinear", "quick", 0, faults=chosen[1:])
    assert row.verdict == "refuted"
    assert row.visible == sum(row.counts.values())


def test_a_sweep_checks_itself_and_a_user_is_told() -> None:
    loss = sb.Loss.random("log-cosh", dim=2, batches=2, seed=4)
    optimizer, start_at, steps = sb.Adam(0.5, 0.6, 0.0, 1e-2), [0.4, -0.2], [64, 128, 256, 512]
    found = sweep(optimizer, loss, start_at, 0.5, steps).integrity
    assert found.shape == (1, 4)
    start, grain, products, solver = found[0]
    assert start == 0.0
    assert 0.5 < grain <= 1.0
    assert products < 1e-8
    assert 0.0 < solver < 1e-6
    assert measure_order(optimizer, loss, start_at, 0.5, steps).verdict == "confirmed"

    def wrong(b: int, theta: Any, v: Any, data: Any, out: Any) -> None:
        for j in range(2):
            out[j] = 1.01 * np.cos(theta[j] + b) * v[j]

    def gradient(b: int, theta: Any, data: Any, out: Any) -> None:
        for j in range(2):
            out[j] = np.sin(theta[j] + b)

    with pytest.warns(UserWarning, match="not the derivative"):
        own = sb.Loss.from_functions(gradient, hvp=wrong, dim=2, batches=2)
    fit = measure_order(optimizer, own, start_at, 0.5, steps)
    assert fit.verdict == "inconclusive"
    assert "Hessian-vector products differ" in fit.reason


def test_exact_steps_are_not_mistaken_for_single_precision() -> None:
    # signs of a linear loss times powers of two: every iterate is a float32, and the flow is the same
    loss = sb.Loss.from_sympy("3*x - 2*y", "x y")
    found = sweep(sb.RMSProp(0.0, 1e-300), loss, [1.0, 0.5], 0.5, [16, 32, 64, 128])
    np.testing.assert_array_less(found.error, 1e-15)
    assert failures(found.integrity) == [""]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("adam-inside", "quick", 0), "CLAIM"),
        ((CLAIM, "fast", 0), "profile"),
        ((CLAIM, "quick", -1), "seed"),
    ],
)
def test_unusable_arguments_are_named(arguments: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        run_faults(*arguments)


@pytest.fixture(scope="module")
def local_rows() -> dict[str, FaultRow]:
    with pytest.MonkeyPatch.context() as patch:
        use_tiny(patch, rhos=(0.5,))
        patch.setattr(
            instruments,
            "cells_of",
            lambda *given: [cell for cell in cells_of(*given) if cell.pooled][:5],
        )
        found = run_faults("adam-inside/local-defect", "quick", 0, faults=(SOUND, *FAULTS))
    return {row.name: row for row in found}


def test_local_defects_are_what_a_local_claim_is_judged_on(local_rows: dict[str, FaultRow]) -> None:
    # of the global error the order would be 2, and the sound instrument would not confirm
    assert local_rows["none"].verdict == "confirmed"
    assert local_rows["none"].order == pytest.approx(3.0, abs=0.1)
    assert local_rows["euler, unchecked"].order == pytest.approx(2.0, abs=0.1)
    for fault in FAULTS:
        row = local_rows[fault.name]
        assert row.verdict != "confirmed"
        assert not row.failure
        assert (row.visible > 0) is (not fault.start)
    assert local_rows["start"].silent == "every step starts on the flow"


@pytest.mark.parametrize("name", ["adam-inside/local-defect", "adam-outside/sign-change"])
@pytest.mark.parametrize("fault", [None, FAULTS[0]], ids=["sound", "euler"])
def test_faults_are_measured_as_the_claim_asks(name: str, fault: Fault | None) -> None:
    claim = find_trajectory_claim(name)
    cell = next(c for c in cells_of(claim, "quick", 0) if c.pooled)
    cell = replace(cell, count=1, steps=cell.steps[:3])
    drawn = draw(cell)
    found = measure_fault(claim, cell, drawn, fault).arrays
    sound = observe(claim, cell, drawn.loss, drawn.theta0, cell.steps)
    # the solver of a fault takes the place of the claim's
    assert (found["floor"] == sound.floor).all() == (fault is None)
    assert (found["difference"] == sound.difference).all() == (fault is None)


def test_a_resolving_step_is_measured_over_epsilon() -> None:
    claim = find_trajectory_claim("adam-inside/eps-to-zero")
    cell = replace(cells_of(claim, "quick", 0)[0], count=1)
    drawn = draw(cell)
    for fault in (None, FAULTS[0]):
        found = measure_fault(claim, cell, drawn, fault).arrays
        np.testing.assert_allclose(found["h"][0], cell.epsilon * np.array(SCALES))


def test_a_claim_that_the_sound_instrument_does_not_confirm_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_tiny(monkeypatch)
    claim = find_trajectory_claim("adam-inside/leading-field")
    use_claims(monkeypatch, replace(claim, expected_order=2.0, exact=False))
    result = CliRunner().invoke(app, ["instruments", claim.id])
    assert result.exit_code == 1
    assert "the sound instrument does not confirm it" in result.stderr
    assert "Traceback" not in result.output


def test_without_problems_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    use_tiny(monkeypatch)

    def none(cell: Cell) -> Draw:
        drawn = draw(cell)
        return Draw(drawn.loss, drawn.theta0[:0], [])

    monkeypatch.setattr(instruments, "draw", none)
    result = CliRunner().invoke(app, ["instruments", CLAIM])
    assert result.exit_code == 1
    assert "no admissible problem was drawn" in result.stderr


@pytest.mark.parametrize(
    ("name", "claim_id", "told"),
    [
        ("late schedule", "adam-inside/global-order", ""),
        ("late schedule", "adam-inside/leading-field", "order h^1"),
        ("euler", "adam-inside/local-defect", ""),
        ("euler", "adam-inside/local-defect-leading", "order h^2"),
        ("products", "adam-inside/leading-field", "no Hessian-vector products"),
        ("late step", "rmsprop-inside/bilinear", ""),
        ("late step", "adam-inside/bilinear", "order h^2"),
        ("start", "adam-inside/leading-field", "too little"),
        ("start", "adam-inside/global-order", ""),
        ("quadratics", "adam-inside/leading-field", ""),
        ("products", "adam-outside/no-sign-change", "the field is a sign"),
        ("euler", "adam-inside/eps-to-zero", "the same factor at every epsilon"),
    ],
)
def test_why_a_fault_is_not_seen(name: str, claim_id: str, told: str) -> None:
    claim = find_trajectory_claim(claim_id)
    fault = next(fault for fault in FAULTS if fault.name == name)
    cells = [c for c in cells_of(claim, "quick", 0) if c.pooled]
    cell = next((c for c in cells if c.batches > 1), cells[0])
    h = np.array([[2.0**-8, 2.0**-11]])
    error = h**claim.expected_order
    unit = UnitResult(cell, {"h": h, "error": error, "floor": 1e-12 * h})
    why = cannot_show(claim, unit, fault)
    assert told in why
    assert bool(why) is bool(told)


@pytest.mark.parametrize(
    ("verdict", "status", "changes"),
    [
        ("inconclusive", 0, {}),
        ("confirmed", 1, {}),
        ("inconclusive", 0, {"visible": 0}),  # the slopes alone refute: it was seen
        ("inconclusive", 1, {"visible": 0, "unchecked": "confirmed"}),
        ("confirmed", 1, {"visible": 0, "unchecked": "confirmed"}),
        ("confirmed", 0, {"visible": 0, "unchecked": "confirmed", "silent": "no schedule"}),
    ],
)
def test_the_command_fails_where_a_broken_instrument_confirms_or_is_not_tested(
    verdict: Verdict, status: int, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = FaultRow(
        name="start",
        what="the flow starts elsewhere",
        verdict=verdict,
        unchecked="refuted",
        counts={verdict: 3},
        visible=3,
        missed=0,
        reason="as given",
        order=2.0,
    )
    row = replace(row, **changes)
    asked: list[Any] = []

    def fake(*arguments: Any, **options: Any) -> list[FaultRow]:
        asked.append((arguments, options["workers"]))
        return [row]

    monkeypatch.setattr(instruments, "run_faults", fake)
    result = CliRunner().invoke(app, ["instruments", CLAIM, "--seed", "4"])
    assert result.exit_code == status
    assert asked == [((CLAIM, "quick", 4), None)]
    assert "the flow starts elsewhere" in result.output
    assert ("(!)" in result.output) is (status == 1)
    assert ("not as expected: start: " in result.output) is (status == 1)
    assert changes.get("silent", "") in result.output


def test_a_fault_of_the_largest_defect_is_seen_though_the_end_point_stays() -> None:
    # a wrong first step shows in the largest defect, and not in that of the last step, which is what ``difference`` holds
    claim = find_trajectory_claim("rmsprop-inside/local-defect")
    h = np.array([[2.0**-8, 2.0**-11]])
    arrays = {"h": h, "error": h**3, "floor": 1e-16 * h, "difference": np.zeros((1, 2, 2))}
    sound = UnitResult(a_cell(), arrays)
    broken = UnitResult(a_cell(), arrays | {"error": h**3 + 0.01 * h**2})
    fault = Fault("late step", "the flow counts late", late_step=True)
    assert instruments._visible(claim, fault, sound, broken).all()
    assert not instruments._visible(claim, fault, sound, sound).any()


def test_a_fault_of_the_claimed_order_is_visible_nowhere() -> None:
    # one batch late adds O(h) to an O(h) error: what a random schedule makes of it may look like less than O(h)
    leading = find_trajectory_claim("rmsprop-inside/leading-field")
    theorem = find_trajectory_claim("rmsprop-inside/global-order")
    fault = Fault("late schedule", "one batch late", late_schedule=True)
    h = np.array([[2.0**-8, 2.0**-11]])
    cell = a_cell(batches=3, schedule="iid")
    arrays = {"h": h, "error": h, "floor": 1e-16 * h, "difference": np.zeros((1, 2, 2))}
    moved = np.stack([0.1 * np.ones((1, 2)), np.zeros((1, 2))], axis=-1)
    sound, broken = UnitResult(cell, arrays), UnitResult(cell, arrays | {"difference": moved})
    assert instruments._visible(theorem, fault, sound, broken).all()
    assert not instruments._visible(leading, fault, sound, broken).any()
