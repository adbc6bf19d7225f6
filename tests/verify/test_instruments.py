"""No broken instrument confirms; a sound one does, on the same problems."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import stepbias as sb
from stepbias.kernels.fault import Fault
from stepbias.verify import instruments
from stepbias.verify.cli import app
from stepbias.verify.instruments import FAULTS, FaultRow, measure_fault, quadratics, run_faults
from stepbias.verify.integrity import claim_failure, failures
from stepbias.verify.orders import measure_order
from stepbias.verify.problems import cells_of, draw
from stepbias.verify.registry import find
from stepbias.verify.rows import Verdict
from stepbias.verify.summary import summarise
from stepbias.verify.sweep import sweep
from tests.verify.campaign import a_cell, use_tiny

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
    claim = find(CLAIM)[0]
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
    claim = find(CLAIM)[0]
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
    for row in run_faults("adam-inside/bilinear", "quick", 0, faults=chosen):
        assert (row.verdict, row.visible, row.missed) == ("confirmed", 0, 0)
        assert not row.survived
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
        (("adam-inside", "quick", 0), "claim_id"),
        ((CLAIM, "fast", 0), "profile"),
        ((CLAIM, "quick", -1), "seed"),
    ],
)
def test_unusable_arguments_are_named(arguments: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        run_faults(*arguments)


@pytest.mark.parametrize(("verdict", "status"), [("inconclusive", 0), ("confirmed", 1)])
def test_the_command_fails_where_a_broken_instrument_confirms(
    verdict: Verdict, status: int, monkeypatch: pytest.MonkeyPatch
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
    asked: list[Any] = []

    def fake(*arguments: Any, **options: Any) -> list[FaultRow]:
        asked.append((arguments, options["workers"]))
        return [row]

    monkeypatch.setattr(instruments, "run_faults", fake)
    result = CliRunner().invoke(app, ["instruments", "adam-inside", "--seed", "4"])
    assert result.exit_code == status
    assert asked == [(("adam-inside", "quick", 4), None)]
    assert "the flow starts elsewhere" in result.output
    assert ("(!)" in result.output) is (status == 1)
