"""Wrong variants of a statement: where they are visible, and what refutes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stepbias.theory.adam_claims import CLAIMS
from stepbias.theory.variants import Variant
from stepbias.verify import mutants
from stepbias.verify.escalation import measure_finer
from stepbias.verify.mutants import mutant_row, visible
from stepbias.verify.problems import draw
from stepbias.verify.summary import UnitResult
from tests.verify.campaign import H, a_fit, measured, nothing, some_cells

THEOREM = CLAIMS[0]


@pytest.mark.parametrize(
    ("orders", "shift", "verdict", "visible"),
    [
        ([1.0, 1.0, 1.0], 1e-3, "refuted", 3),
        ([2.0, 2.0, 2.0], 1e-3, "confirmed", 3),
        ([1.0, 2.0, 1.0], 1e-3, "inconclusive", 3),
        ([2.0, 2.0, 2.0], 0.0, "inconclusive", 0),
        # problem k has the error (k + 1) h^2: a move that leaves the size e of the error takes (move / e)^2 / 2 off the slope, and must exceed 0.63 e
        ([2.0, 2.0, 2.0], 0.63 * H[-1] ** 2, "inconclusive", 0),
        ([2.0, 2.0, 2.0], 1.26 * H[-1] ** 2, "confirmed", 1),
        ([2.0, 2.0, 2.0], 1.90 * H[-1] ** 2, "confirmed", 3),
    ],
)
def test_a_wrong_variant_is_judged_where_it_is_visible(
    orders: list[float], shift: float, verdict: str, visible: int
) -> None:
    base, wrong = measured([2.0] * 3), measured(orders, shift=shift)
    row = mutant_row(THEOREM, Variant(P=0.5), [base], [wrong])
    assert (row.name, row.verdict, row.visible, row.problems) == ("P x 0.5", verdict, visible, 3)
    assert row.refuted + row.confirmed <= visible
    if visible == 0:
        assert row.refuted == row.confirmed == 0
        assert np.isnan(row.measured)


@pytest.mark.parametrize(("shift", "visible"), [(0.99e-4, 0), (1.01e-4, 3)])
def test_a_move_below_ten_times_the_floor_is_not_visible(shift: float, visible: int) -> None:
    base = measured([2.0] * 3, floor=np.full((3, len(H)), 1e-5))
    row = mutant_row(THEOREM, Variant(P=0.5), [base], [measured([2.0] * 3, shift=shift)])
    assert row.visible == visible


@pytest.mark.parametrize(
    ("moved", "error", "visible"),
    [(0.5, 0.7, 0), (0.7, 1.0, 3), (0.5, 1.3, 3), (1.9, 0.9, 0), (2.1, 0.9, 3)],
    ids=["cancels a part", "beside it", "adds", "nearly all", "outgrows it"],
)
def test_a_term_that_cancels_a_part_of_the_error_is_not_visible_yet(
    moved: float, error: float, visible: int
) -> None:
    base, wrong = measured([2.0] * 3), measured([2.0] * 3)
    own = base.arrays["error"]
    wrong.arrays["error"] = error * own
    wrong.arrays["difference"] = np.stack([own, moved * own], axis=-1)
    assert mutant_row(THEOREM, Variant(P=0.5), [base], [wrong]).visible == visible


def _added(share: float, across: bool) -> tuple[UnitResult, UnitResult]:
    """Statement of order 2, and with a term of order 1 along its error or across it, ``share`` of it at the finest step."""
    base = measured([2.0] * 3)
    own = base.arrays["error"]
    term = share * own * H[-1] / H
    ends = np.stack([own, term] if across else [own + term, 0.0 * own], axis=-1)
    return base, measured([2.0] * 3, error=np.linalg.norm(ends, axis=-1), difference=ends)


@pytest.mark.parametrize(
    ("share", "across", "shown"),
    [(0.24, False, 0), (0.26, False, 3), (0.35, True, 0), (0.49, True, 0), (0.51, True, 3)],
)
def test_a_variant_is_visible_by_what_it_takes_off_the_slope(
    share: float, across: bool, shown: int
) -> None:
    base, wrong = _added(share, across)
    assert visible(THEOREM, base, wrong).sum() == shown


def test_a_move_across_the_error_that_the_slope_cannot_show_does_not_save_the_variant() -> None:
    base, wrong = _added(0.35, across=True)
    # the judge is right to confirm: the slopes are those of the claim
    assert {fit.verdict for fit in wrong.fits(THEOREM)} == {"confirmed"}
    row = mutant_row(THEOREM, Variant(P=0.5), [base], [wrong])
    assert (row.visible, row.confirmed) == (0, 0)


@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_problem_that_refutes_the_statement_does_not_count(withdrawn: bool) -> None:
    """What makes the statement look refuted makes every variant look refuted."""
    base, wrong = measured([1.0, 2.0, 2.0]), measured([1.0, 2.0, 2.0], shift=1.0)
    if withdrawn:  # by the second look
        base.escalated[0] = a_fit("inconclusive")
    row = mutant_row(THEOREM, Variant(P=0.5), [base], [wrong])
    assert (row.verdict, row.visible, row.refuted, row.confirmed) == ("confirmed", 2, 0, 2)
    assert row.problems == 3


def test_problems_on_which_a_variant_is_invisible_do_not_save_it() -> None:
    first, second, third = some_cells(3)
    base = [measured([2.0] * 3, first), measured([2.0] * 3, second), nothing(third)]
    wrong = [measured([1.0] * 3, first), measured([2.0] * 3, second), nothing(third)]
    row = mutant_row(THEOREM, Variant(P=0.5), base, wrong)
    assert (row.verdict, row.visible, row.refuted, row.problems) == ("refuted", 3, 3, 6)
    assert row.measured == pytest.approx(1.0, abs=0.01)


def test_a_local_defect_is_seen_where_it_is_largest() -> None:
    """The defect at the end point says nothing of the largest one."""
    local = replace(THEOREM, kind="local", expected_order=3.0)
    base, wrong = measured([3.0] * 3), measured([2.0] * 3)
    wrong.arrays["difference"] = base.arrays["difference"]
    assert mutant_row(THEOREM, Variant(P=0.5), [base], [wrong]).visible == 0
    row = mutant_row(local, Variant(P=0.5), [base], [wrong])
    assert (row.verdict, row.visible, row.refuted) == ("refuted", 3, 3)
    moved = measured([3.0] * 3, shift=1.0)
    assert mutant_row(local, Variant(P=0.5), [base], [moved]).visible == 0


@pytest.mark.parametrize(
    ("again", "verdict", "looks"), [(1.0, "refuted", 1), (1.5, "inconclusive", 2)]
)
def test_a_variant_that_nothing_decides_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, again: float, verdict: str, looks: int
) -> None:
    base = measured([2.0] * 3)
    drifting = base.arrays["error"] * (
        1.0 + 1e-3 * (H[-1] / H) * np.array([[1.0], [3.0], [2.0]]) * 300.0
    )
    wrong = measured([2.0] * 3, shift=1e-3, error=drifting)
    assert {fit.verdict for fit in wrong.fits(THEOREM)} == {"inconclusive"}
    asked = []

    def finer(claim: object, cell: object, number: int) -> object:
        asked.append((claim.variant, number))  # type: ignore[attr-defined]
        result = measured([again], some_cells(1)[0])
        if again == 1.5:
            result.arrays["error"] = drifting[:1]
        return result

    monkeypatch.setattr(mutants, "measure_finer", finer)
    row = mutant_row(THEOREM, Variant(P=0.5), [base], [wrong])
    assert (row.verdict, len(asked)) == (verdict, looks)
    # the problem farthest below the claim comes first
    assert asked[0] == (Variant(P=0.5), 12)


def test_problems_that_finer_steps_resolve_are_measured_again_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = measured([2.0] * 3)
    # the second is farthest below the claim, and far from asymptotic
    drifting = base.arrays["error"] * (1.0 + 0.3 * (H[-1] / H) * np.array([[1.0], [3.0], [2.0]]))
    wrong = measured([2.0] * 3, shift=1e-3, error=drifting, memory=np.array([3.0, 1e5, 3.0]))
    asked: list[int] = []

    def finer(claim: object, cell: object, number: int) -> UnitResult:
        asked.append(number)
        return measured([1.0], some_cells(1)[0])

    monkeypatch.setattr(mutants, "measure_finer", finer)
    assert mutant_row(THEOREM, Variant(P=0.5), [base], [wrong]).verdict == "refuted"
    assert asked == [14]


def test_steps_are_as_much_finer_as_assumed() -> None:
    cell = some_cells(1, steps=(16, 32, 64))[0]
    again = measure_finer(THEOREM, cell, draw(cell).numbers[0])
    assert again.cell.steps == tuple(mutants.FINER * n for n in cell.steps)
