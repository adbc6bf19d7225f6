"""The reported resolution is what a run with that error would see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepbias.theory.variants import STATEMENT, TERMS, Variant
from stepbias.verify.problems import Cell, draw
from stepbias.verify.resolution import RESPONSE_STEPS, pooled, resolution, responses
from stepbias.verify.sweep import Sweep, sweep
from tests.verify.campaign import a_cell

STEPS = (256, 512)


def arguments(cell: Cell) -> tuple[Any, Any, np.ndarray, float]:
    drawn = draw(cell)
    return cell.optimizer(), drawn.loss, drawn.theta0, cell.horizon


def run(cell: Cell, variant: Variant) -> Sweep:
    return sweep(*arguments(cell), STEPS, cell.schedule_object(), variant)


def slopes(found: Sweep) -> np.ndarray:
    ends = np.linalg.norm(found.difference, axis=-1)
    return np.log2(ends[:, 0] / ends[:, 1])


@pytest.mark.parametrize(
    "cell",
    [
        a_cell(dim=1, batches=1, schedule="cyclic", family="log-sum-exp", count=2),
        a_cell(dim=3, batches=2, schedule="cyclic", family="logistic", count=2),
        a_cell(dim=2, batches=1, schedule="cyclic", place="outside", count=2, rho=0.5),
        a_cell(kind="bilinear", family="bilinear", batches=1, schedule="cyclic", count=2, rho=0.9,
               algorithm="rmsprop", beta=0.0),
    ],
    ids=["log-sum-exp", "logistic", "outside", "bilinear"],
)  # fmt: skip
def test_an_error_of_the_reported_size_bends_the_slope_for_both_signs(cell: Cell) -> None:
    """Measured at the end point with the wrong variant itself, not linearised."""
    base = run(cell, STATEMENT)
    response = responses(*arguments(cell), cell.schedule_object())
    found = resolution(response, base.h, base.difference, cell.horizon, 2.0)
    caught = 0
    for term in TERMS:
        for k, delta in enumerate(found[term]):
            if not delta <= 0.05:  # nan, inf, or beyond linear response
                continue
            caught += 1
            for sign in (1.0, -1.0):
                changed: dict[str, Any] = {term: 1.0 + sign * float(delta)}
                bent = slopes(run(cell, replace(STATEMENT, **changed)))[k]
                assert bent < 2.0 - 0.1, (term, k, sign, delta, bent)
    assert caught >= 4


def test_a_response_is_the_move_of_the_end_point() -> None:
    cell = a_cell(count=3)
    response = responses(*arguments(cell), cell.schedule_object())
    ends = [
        sweep(*arguments(cell), (RESPONSE_STEPS,), cell.schedule_object(), v).difference[:, 0]
        for v in (Variant(), Variant(P=0.0), Variant(M=0.999))
    ]
    np.testing.assert_allclose(response["P"], ends[1] - ends[0], rtol=1e-12)
    np.testing.assert_allclose(response["M"], 1e3 * (ends[2] - ends[0]), rtol=1e-9)


def test_terms_without_effect_have_no_resolution() -> None:
    cell = a_cell(algorithm="rmsprop", beta=0.0, count=3)
    base = run(cell, STATEMENT)
    response = responses(*arguments(cell), cell.schedule_object())
    found = resolution(response, base.h, base.difference, cell.horizon, 2.0)
    assert np.all(response["L"] == 0.0)
    assert np.all(np.isnan(found["L"]))
    assert "L" not in pooled([found])
    assert set(pooled([found])) == set(TERMS) - {"L"}


def test_the_law_of_the_resolution_on_a_line() -> None:
    """d = h^2 and r = h: the slope of |h^2 + delta h| is 1.8 where both signs bend it by 0.2."""
    unit = 0.5 / RESPONSE_STEPS
    h = 2.0 ** -np.arange(7.0, 12.0)[None]
    difference = (h**2)[..., None]
    response = {term: np.array([[unit]]) for term in TERMS}
    found = resolution(response, h, difference, 0.5, 2.0)["P"][0]
    last = 2.0**-11
    # for a negative sign the error first falls below h^2 and its slope rises: that is not caught
    assert found > last
    for delta in (found, 2 * found):
        for sign in (1.0, -1.0):
            e = np.abs(np.array([2 * last, last]) ** 2 + sign * delta * np.array([2 * last, last]))
            assert np.log2(e[0] / e[1]) < 1.8
    nothing = resolution({term: np.zeros((1, 1)) for term in TERMS}, h, difference, 0.5, 2.0)
    assert np.isnan(nothing["P"][0])
    tiny = resolution({term: np.full((1, 1), 1e-12) for term in TERMS}, h, difference, 0.5, 2.0)
    assert np.isinf(tiny["P"][0])


def test_pooled_is_caught_on_nearly_all_problems_where_it_is_visible() -> None:
    values = np.concatenate([np.arange(1.0, 101.0), [np.nan] * 50])
    found = dict.fromkeys(TERMS, values)
    assert pooled([found])["P"] == 95.0
    halves = [dict.fromkeys(TERMS, part) for part in (values[:60], values[60:])]
    assert pooled(halves) == pooled([found])
    assert pooled([]) == {}
    assert pooled([dict.fromkeys(TERMS, np.array([1.0, np.inf]))])["P"] == np.inf
