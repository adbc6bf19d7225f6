"""Draws of the dropped assumptions: the crossing happens once, in the middle, cleanly; and the step from which on an order shows."""

from __future__ import annotations

import numpy as np
import pytest

from stepbias.verify import crossings
from stepbias.verify.dropped_problems import CROSSING, KINKED, ensemble
from stepbias.verify.observe import half_order_step
from stepbias.verify.problems import cells_of, draw, losses_of
from stepbias.verify.registry import find

T = 0.5
T_LOOKS = np.linspace(0.0, T, 257)


def line(zero: float, slope: float = 2.0) -> np.ndarray:
    return slope * (T_LOOKS - zero)


@pytest.mark.parametrize(
    ("signals", "reason"),
    [
        ((line(0.2), np.ones(257)), ""),
        ((line(0.2), line(0.9)), ""),
        ((line(0.9), np.ones(257)), "no change of sign"),
        ((line(0.2), line(0.3)), "more than one change of sign"),
        ((np.cos(20.0 * T_LOOKS), np.ones(257)), "more than one change of sign"),
        ((line(0.05), np.ones(257)), "changes sign too near an end of the path"),
        ((line(0.4), np.ones(257)), "changes sign too near an end of the path"),
        ((line(0.2, 0.4), np.ones(257)), "changes sign more slowly than 0.5"),
        ((line(0.2), 0.01 * np.ones(257)), "comes below 0.05 elsewhere"),
        ((np.minimum(line(0.2), 0.02), np.ones(257)), "comes below 0.05 elsewhere"),
    ],
)  # fmt: skip
def test_every_reason(signals: tuple[np.ndarray, ...], reason: str) -> None:
    assert crossings.reasons(np.stack(signals, axis=-1)[None], T) == [reason]


@pytest.mark.parametrize(
    "claim", [c for c in find(None) if c.problems in CROSSING], ids=lambda c: str(c.id)
)
def test_admissible_draws_cross_and_keep_their_numbers(claim: object) -> None:
    (chosen,) = find(claim.id)  # type: ignore[attr-defined]
    cell = cells_of(chosen, "quick", 0)[0]
    drawn = draw(cell)
    # clean layers are rare: a cell may run out of draws
    assert cell.count // 2 < len(drawn.numbers) <= cell.count
    assert drawn.drawn == len(drawn.numbers) + sum(drawn.excluded.values())
    assert drawn.excluded["no change of sign"] > 0
    again = losses_of(cell, drawn.numbers)
    np.testing.assert_array_equal(
        again.gradient(0, drawn.theta0), drawn.loss.gradient(0, drawn.theta0)
    )
    # 512 looks, twice as many as the survey: still one crossing
    found = crossings.survey_crossings(
        cell.optimizer(), drawn.loss, drawn.theta0, cell.horizon, 512, cell.kind in KINKED
    )
    assert not any("change of sign" in reason for reason in found)


def test_a_kinked_loss_is_its_smooth_family_and_one_unit() -> None:
    (claim,) = find("adam-inside/kink-abs")
    cell = cells_of(claim, "quick", 0)[0]
    loss = ensemble(cell, 3)
    offset, amplitude, weight = loss.source.draw(np.arange(3))  # type: ignore[attr-defined]
    theta = np.random.default_rng(0).normal(size=(3, cell.dim))
    z = np.einsum("kp,puk->uk", theta, weight) + offset
    expected = np.sum(amplitude[:-1] * np.sin(z[:-1]), axis=0) + amplitude[-1] * np.abs(z[-1])
    np.testing.assert_allclose(loss.value(0, theta), expected, rtol=0.0, atol=1e-14)
    slope = amplitude * np.vstack([np.cos(z[:-1]), np.sign(z[-1:])])
    gradient = np.einsum("uk,puk->kp", slope, weight)
    np.testing.assert_allclose(loss.gradient(0, theta), gradient, rtol=0.0, atol=1e-13)


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_the_half_order_step_scales_with_the_step_where_the_orders_meet(scale: float) -> None:
    h = scale * 2.0 ** -np.arange(-4.0, 8.0)
    # h^2 / (h + scale): slope 2 - h / (h + scale) over an infinitesimal width, 1.5 at h = scale, and symmetric about it
    step, _ = half_order_step(h, h**2 / (h + scale))
    assert step == pytest.approx(scale, rel=0.01)


def test_no_half_order_step_where_the_slope_stays_on_one_side() -> None:
    h = 2.0 ** -np.arange(8.0)
    assert np.isnan(half_order_step(h, h**2)[0])
    assert np.isnan(half_order_step(h, h)[0])
