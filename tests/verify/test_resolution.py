"""The reported resolution is what a run with that error would see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepbias.theory.variants import STATEMENT, TERMS, Variant
from stepbias.verify.fit import DELTA
from stepbias.verify.problems import Cell, draw
from stepbias.verify.resolution import RESPONSE_STEPS, SHARE, pooled, resolution, responses
from stepbias.verify.sweep import Sweep, sweep
from tests.verify.campaign import a_cell

STEPS = (256, 512)


def arguments(cell: Cell) -> tuple[Any, Any, np.ndarray, float]:
    drawn = draw(cell)
    return cell.optimizer(), drawn.loss, drawn.theta0, cell.horizon


def run(cell: Cell, variant: Variant) -> Sweep:
    return sweep(*arguments(cell), STEPS, cell.schedule_object(), variant)


def slopes(found: Sweep) -> np.ndarray:
    return np.log2(found.error[:, 0] / found.error[:, 1])


# In one dimension the response to a term and the error lie on one line, so the linear estimate is about the slope itself.
@pytest.mark.parametrize(
    "cell",
    [
        a_cell(dim=1, batches=1, schedule="cyclic", family="log-sum-exp", count=2),
        a_cell(dim=1, batches=1, schedule="cyclic", place="outside", count=2, rho=0.9),
        a_cell(kind="bilinear", family="bilinear", batches=1, schedule="cyclic", count=2, rho=0.9,
               algorithm="rmsprop", beta=0.0),
    ],
    ids=["log-sum-exp", "outside", "bilinear"],
)  # fmt: skip
def test_an_error_of_the_reported_size_bends_the_slope_by_twice_the_tolerance(cell: Cell) -> None:
    base = run(cell, STATEMENT)
    response = responses(*arguments(cell), cell.schedule_object())
    found = resolution(response, base.h, base.error, cell.horizon)
    for term in TERMS:
        if term == "L" and cell.algorithm == "rmsprop":
            continue
        delta = found[term]
        assert np.all((delta > 0.0) & (delta < 1.0)), term
        for k, sign in ((0, 1.0), (1, -1.0)):
            changed: dict[str, Any] = {term: 1.0 + sign * float(delta[k])}
            bent = run(cell, replace(STATEMENT, **changed))
            bend = abs(slopes(bent)[k] - slopes(base)[k])
            assert DELTA <= bend <= 4 * DELTA, (term, sign, bend)


def test_a_response_is_the_move_of_the_end_point() -> None:
    cell = a_cell(count=3)
    response = responses(*arguments(cell), cell.schedule_object())
    ends = [
        sweep(*arguments(cell), (RESPONSE_STEPS,), cell.schedule_object(), v).difference[:, 0]
        for v in (Variant(), Variant(P=0.0), Variant(M=0.999))
    ]
    np.testing.assert_allclose(response["P"], np.linalg.norm(ends[1] - ends[0], axis=1), rtol=1e-12)
    np.testing.assert_allclose(
        response["M"], 1e3 * np.linalg.norm(ends[2] - ends[0], axis=1), rtol=1e-9
    )


def test_terms_without_effect_have_no_resolution() -> None:
    cell = a_cell(algorithm="rmsprop", beta=0.0, count=3)
    base = run(cell, STATEMENT)
    response = responses(*arguments(cell), cell.schedule_object())
    found = resolution(response, base.h, base.error, cell.horizon)
    assert np.all(np.isnan(found["L"]))
    assert np.all(response["L"] == 0.0)
    for term in set(TERMS) - {"L"}:
        assert np.all(np.isfinite(found[term])), term
    assert "L" not in pooled([found])
    assert set(pooled([found])) == set(TERMS) - {"L"}


def test_the_law_of_the_resolution_in_h_error_and_response() -> None:
    ones = {term: np.array([0.5]) for term in TERMS} | {"floor": np.array([1e-9])}
    h = 2.0 ** -np.arange(7.0, 12.0)[None]
    error = 3.0 * h**2
    found = resolution(ones, h, error, 0.5)
    last = 2.0**-11
    assert found["M"] == pytest.approx(2 * DELTA * 3.0 * last**2 / 0.5)
    assert found["P"] == pytest.approx(
        2 * DELTA * 3.0 * last**2 / (0.5 * last * RESPONSE_STEPS / 0.5)
    )
    order = np.argsort(np.sin(np.arange(5.0)))
    shuffled = resolution(ones, h[:, order], error[:, order], 0.5)
    assert shuffled == found
    hidden = resolution({**ones, "P": np.array([9e-9])}, h, error, 0.5)
    assert np.isnan(hidden["P"])
    assert np.isfinite(hidden["L"])


def test_pooled_is_caught_on_nearly_all_problems_where_it_is_visible() -> None:
    values = np.concatenate([np.arange(1.0, 102.0), [np.nan] * 50])
    found = dict.fromkeys(TERMS, values)
    assert pooled([found])["P"] == pytest.approx(1.0 + 100.0 * SHARE)
    halves = [dict.fromkeys(TERMS, part) for part in (values[:60], values[60:])]
    assert pooled(halves) == pooled([found])
    assert pooled([]) == {}
