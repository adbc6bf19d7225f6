"""The reported resolution is what a run with that error would see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepbias.theory.variants import STATEMENT, TERMS, Variant
from stepbias.verify.cells import Cell
from stepbias.verify.coefficient import judge_coefficient
from stepbias.verify.fit import MEMORY_LIMIT
from stepbias.verify.problems import draw
from stepbias.verify.resolution import (
    RESPONSE_STEPS,
    by_instrument,
    coefficient_resolution,
    pooled,
    pooled_table,
    resolution,
    responses,
)
from stepbias.verify.sweep import Sweep, sweep
from tests.verify.campaign import a_cell

STEPS = (64, 128, 256, 512)


def arguments(cell: Cell) -> tuple[Any, Any, np.ndarray, float]:
    drawn = draw(cell)
    return cell.optimizer(), drawn.loss, drawn.theta0, cell.horizon


def run(cell: Cell, variant: Variant) -> Sweep:
    return sweep(*arguments(cell), STEPS, cell.schedule_object(), variant)


def slopes(found: Sweep) -> np.ndarray:
    ends = np.linalg.norm(found.difference, axis=-1)
    return np.log2(ends[:, -2] / ends[:, -1])


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
    found = resolution(response, base.h, base.difference, base.memory, cell.horizon, 2.0)
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
    found = resolution(response, base.h, base.difference, base.memory, cell.horizon, 2.0)
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
    found = resolution(response, h, difference, np.ones(1), 0.5, 2.0)["P"][0]
    last = 2.0**-11
    # for a negative sign the error first falls below h^2 and its slope rises: that is not caught
    assert found > last
    for delta in (found, 2 * found):
        for sign in (1.0, -1.0):
            steps = last * np.array([4.0, 2.0, 1.0])
            e = np.abs(steps**2 + sign * delta * steps)
            assert np.all(np.log2(e[:-1] / e[1:]) < 1.8)
    # an error of order h^0 has to show over three factors of 2
    leading = resolution(response, h, difference, np.ones(1), 0.5, 2.0)["M"][0]
    steps = last * np.array([8.0, 4.0, 2.0, 1.0])
    for sign in (1.0, -1.0):
        e = np.abs(steps**2 + sign * leading * unit)
        assert np.all(np.log2(e[:-1] / e[1:]) < 1.8)
    # nothing is refuted, and so nothing caught, while the step is long against the memory
    slow = np.full(1, 1.01 * MEMORY_LIMIT / last)
    assert np.isinf(resolution(response, h, difference, slow, 0.5, 2.0)["P"][0])
    nothing = resolution(
        {term: np.zeros((1, 1)) for term in TERMS}, h, difference, np.ones(1), 0.5, 2.0
    )
    assert np.isnan(nothing["P"][0])
    tiny = resolution(
        {term: np.full((1, 1), 1e-12) for term in TERMS}, h, difference, np.ones(1), 0.5, 2.0
    )
    assert np.isinf(tiny["P"][0])


def test_pooled_is_caught_on_nearly_all_problems_where_it_is_visible() -> None:
    values = np.concatenate([np.arange(1.0, 101.0), [np.nan] * 50])
    found = dict.fromkeys(TERMS, values)
    assert pooled([found])["P"] == 95.0
    halves = [dict.fromkeys(TERMS, part) for part in (values[:60], values[60:])]
    assert pooled(halves) == pooled([found])
    assert pooled([]) == {}
    assert pooled([dict.fromkeys(TERMS, np.array([1.0, np.inf]))])["P"] == np.inf


# the coefficient ---------------------------------------------------------------------------------

LADDER = (48, 96, 192, 384, 768, 1536)


def verdicts(cell: Cell, variant: Variant) -> tuple[str, ...]:
    found = sweep(*arguments(cell), LADDER, cell.schedule_object(), variant)
    judged = judge_coefficient(found.h, found.difference, found.floor, memory=found.memory)
    return tuple(judged.verdict)


@pytest.mark.parametrize(
    "cell",
    [
        a_cell(dim=2, batches=1, schedule="cyclic", family="log-sum-exp", count=2, beta=0.7, rho=0.8),
        a_cell(dim=3, batches=3, schedule="cyclic", family="logistic", count=2, beta=0.7, rho=0.8),
        a_cell(dim=2, batches=2, schedule="cyclic", place="outside", count=2, algorithm="rmsprop", beta=0.0),
    ],
    ids=["log-sum-exp", "logistic", "rmsprop, outside"],
)  # fmt: skip
def test_an_error_of_the_reported_size_is_refuted_by_the_coefficient_and_a_fifth_of_it_is_not(
    cell: Cell,
) -> None:
    """Run with the wrong variant itself. A fifth moves |v| <= b by a quarter of |v| + 3 b: to 2 b, below the 3 b that refute."""
    base = sweep(*arguments(cell), LADDER, cell.schedule_object())
    response = responses(*arguments(cell), cell.schedule_object())
    found = coefficient_resolution(
        response, base.h, base.difference, base.floor, base.memory, cell.horizon
    )
    caught = 0
    for term in TERMS:
        for k, delta in enumerate(found[term]):
            if not delta <= 0.05:  # nan, inf, or beyond linear response
                continue
            caught += 1
            for sign in (1.0, -1.0):
                changed: dict[str, Any] = {term: 1.0 + sign * float(delta)}
                assert verdicts(cell, replace(STATEMENT, **changed))[k] == "refuted", (term, k)
            small: dict[str, Any] = {term: 1.0 + 0.2 * float(delta)}
            assert verdicts(cell, replace(STATEMENT, **small))[k] != "refuted", (term, k)
    assert caught >= 8


def line(floor: float) -> dict[str, Any]:
    """d = 3 h^2 in one component, and r = 2 h (M and R: 2) at the steps of the response."""
    h = 0.5 / 2.0 ** np.arange(5.0, 12.0)[None]
    unit = 0.5 / RESPONSE_STEPS
    response = {t: np.array([[2.0 if t in ("M", "R") else 2.0 * unit]]) for t in TERMS}
    return {
        "response": response,
        "h": h,
        "difference": 3.0 * (h**2)[..., None],
        "floor": np.full_like(h, floor),
        "memory": np.ones(1),
        "horizon": 0.5,
    }


def test_the_law_of_the_coefficient_s_resolution() -> None:
    plain = coefficient_resolution(**line(1e-9))
    judged = judge_coefficient(*(line(1e-9)[name] for name in ("h", "difference", "floor")))
    v, b = abs(judged.value[0, 0]), judged.bound[0, 0]
    assert plain["P"][0] == pytest.approx(1.25 * (v + 3.0 * b) / 2.0, rel=1e-12)
    v, b = abs(judged.lower[0].value[0, 0]), judged.lower[0].bound[0, 0]
    assert plain["M"][0] == pytest.approx(1.25 * (v + 3.0 * b) / 2.0, rel=1e-12)
    assert np.isinf(coefficient_resolution(**line(1.0))["P"][0])
    unresolved = line(1e-9) | {"memory": np.array([1e4])}
    assert np.isinf(coefficient_resolution(**unresolved)["P"][0])
    none = line(1e-9) | {"response": {t: np.zeros((1, 1)) for t in TERMS}}
    assert np.isnan(coefficient_resolution(**none)["P"][0])


def test_the_finer_instrument_counts_where_there_are_two() -> None:
    smooth = by_instrument(**line(1e-9), expected=2.0, smooth=True)
    rough = by_instrument(**line(1e-9), expected=2.0, smooth=False)
    assert smooth["coefficient"]["P"][0] < smooth["slope"]["P"][0]
    assert smooth["either"]["P"][0] == smooth["coefficient"]["P"][0]
    assert np.isnan(rough["coefficient"]["P"][0])
    assert rough["either"]["P"][0] == rough["slope"]["P"][0] == smooth["slope"]["P"][0]
    table = pooled_table([smooth] * 19 + [rough])
    assert set(table) == {"slope", "coefficient", "either"}
    # 19 of 20 are 95 %
    assert table["either"]["P"] == smooth["either"]["P"][0]
    assert table["slope"]["P"] == smooth["slope"]["P"][0]
    assert pooled_table([smooth] * 9 + [rough])["either"]["P"] == rough["slope"]["P"][0]
    assert pooled_table([rough])["coefficient"] == {}
