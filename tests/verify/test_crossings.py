"""Draws of the dropped assumptions: the crossing happens once, in the middle, cleanly; and the step from which on an order shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepbias.kernels.loss import Loss
from stepbias.theory import dropped_claims
from stepbias.verify import crossings
from stepbias.verify import observe as observe_module
from stepbias.verify.cells import Cell
from stepbias.verify.dropped_problems import CROSSING, KINKED, crossing_violations, ensemble
from stepbias.verify.observe import resolving_step
from stepbias.verify.problems import cells_of, draw, losses_of, starts
from stepbias.verify.registry import find_trajectory_claim
from stepbias.verify.sweep import Sweep

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
    "claim", [c for c in dropped_claims.CLAIMS if c.problems in CROSSING], ids=lambda c: str(c.id)
)
def test_admissible_draws_cross_and_keep_their_numbers(claim: object) -> None:
    chosen = find_trajectory_claim(claim.id)  # type: ignore[attr-defined]
    cell = cells_of(chosen, "quick", 0)[0]
    drawn = draw(cell)
    # clean layers are rare: a cell may run out of draws
    assert cell.count // 2 <= len(drawn.numbers) <= cell.count
    assert drawn.drawn == len(drawn.numbers) + sum(drawn.excluded.values())
    assert drawn.excluded["no change of sign"] > 0
    again = losses_of(cell, drawn.numbers)
    np.testing.assert_array_equal(
        again.gradient(0, drawn.theta0), drawn.loss.gradient(0, drawn.theta0)
    )
    # 512 looks, twice as many as the survey: still one crossing
    found = crossings.survey_crossings(
        cell.survey_optimizer(), drawn.loss, drawn.theta0, cell.horizon, 512, cell.kind in KINKED
    )
    assert not any("change of sign" in reason for reason in found)


def test_a_kinked_loss_is_its_smooth_family_and_one_unit() -> None:
    claim = find_trajectory_claim("adam-inside/kink-abs")
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


def test_own_curvature_is_that_of_the_component_that_changes_sign() -> None:
    # E = sin(2 x + 1) + 0.5 sin(x - 3 y): Hessian by hand; y's derivative changes sign at x - 3 y = -pi/2, between the two looks
    loss = Loss.sinusoids(
        amplitude=np.array([[1.0, 0.5]]),
        frequency=np.array([[2.0, 0.0], [1.0, -3.0]]),
        phase=np.array([[1.0, 0.0]]),
    )
    path = np.array([[[0.0, 0.5], [0.0, 0.6]], [[0.0, 0.6], [0.0, 0.7]]])
    signal = crossings.gradient_signal(loss, path)
    found = crossings.own_curvature(loss, path, signal)
    np.testing.assert_allclose(found, [-0.5 * 9.0 * np.sin(-1.5), np.nan], rtol=1e-13)


def test_crossings_with_a_negative_second_derivative_are_excluded_on_request() -> None:
    claim = find_trajectory_claim("adam-inside/eps-to-zero")
    cell = cells_of(claim, "quick", 0)[0]
    loss, theta0 = ensemble(cell, 512), starts(cell.key, 0, 512, cell.dim)
    given = (cell.survey_optimizer(), loss, theta0, cell.horizon, 256, False)
    free, convex = (crossings.survey_crossings(*given, convex=c) for c in (False, True))
    changed = [b for a, b in zip(free, convex, strict=True) if a != b]
    assert set(changed) == {crossings.HELD}
    assert 0 < len(changed) < free.count("")
    # it is what a cell of this claim asks for
    asked = crossing_violations(cell, loss, theta0, 256)
    assert crossings.HELD in asked


def test_the_survey_of_a_full_batch_has_no_memory() -> None:
    # a memory of 33 of the survey's 256 steps would put the crossings elsewhere, or nowhere
    claim = find_trajectory_claim("adam-inside/kink-abs")
    cell = cells_of(claim, "quick", 0)[3]
    loss, theta0 = ensemble(cell, 512).select(np.arange(512)), starts(cell.key, 0, 512, cell.dim)
    short = crossing_violations(cell, loss, theta0, 256)
    again = crossing_violations(replace(cell, beta=0.0, rho=0.0), loss, theta0, 256)
    assert short == again


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_the_resolving_step_scales_with_the_step_where_the_orders_meet(scale: float) -> None:
    h = scale * 2.0 ** -np.arange(-4.0, 8.0)
    # error / h = h / (h + scale): at half its supremum h is scale, where a grid point lies
    step, place = resolving_step(h, h**2 / (h + scale), 0.5)
    assert step == pytest.approx(scale, rel=1e-12)
    assert place in (3, 4)
    # between points, at 0.6, it is 1.5 scale, read off a chord: log F = log(x / (x + 1)) has a curvature of at most 1/4 in log x, which the chord of an
    # octave misses by (log 2)^2 / 32 = 0.015, over the slope 0.4
    assert resolving_step(h, h**2 / (h + scale), 0.6)[0] == pytest.approx(1.5 * scale, rel=0.04)


def test_a_step_above_the_level_again_moves_the_resolving_step() -> None:
    h = 2.0 ** -np.arange(6.0)
    rate = np.array([1.0, 0.4, 1.0, 0.5, 0.25, 0.1])
    step, place = resolving_step(h, rate * h, 0.5)
    assert place == 3
    assert step == pytest.approx(h[3])


def test_no_resolving_step_where_the_rate_stays_on_one_side() -> None:
    h = 2.0 ** -np.arange(8.0)
    assert np.isnan(resolving_step(h, h**2, 2.0)[0])
    assert np.isnan(resolving_step(h, h, 0.5)[0])
    assert np.isnan(resolving_step(h, np.where(h < 1.0, np.nan, h), 0.5)[0])


def test_observed_resolving_steps_are_those_of_the_distances(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # distances h F(h / sqrt(epsilon)), F(x) = x / (x + c), with a known relative error of 1e-4: the engine is replaced, the observable is not
    claim = find_trajectory_claim("adam-inside/eps-to-zero")
    cell = cells_of(claim, "quick", 0)[0]
    centre = np.array([[0.05], [0.1]])

    def distances(
        here: Cell,
        loss: object,
        theta0: np.ndarray,
        steps: tuple[int, ...],
        *_: object,
        **options: object,
    ) -> Sweep:
        h = np.broadcast_to(here.horizon / np.array(steps), (2, len(steps)))
        x = h / np.sqrt(here.epsilon)
        error = h * x / (x + centre)
        none = np.zeros((2, len(steps), here.dim))
        return Sweep(h, error, 1e-4 * error, none, np.ones(2), np.ones(2), np.zeros((2, 4)))

    monkeypatch.setattr(observe_module, "sweep_cell", distances)
    found = observe_module.observe(claim, cell, None, np.zeros((2, cell.dim)), cell.steps)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.h, cell.epsilon * np.array([observe_module.SCALES] * 2))
    # F = level at x = c level / (1 - level), the level two thirds of F at the coarsest step; chords in octaves as above
    coarsest = cell.horizon / min(cell.steps) / np.sqrt(cell.epsilon)
    level = 2.0 / 3.0 * coarsest / (coarsest + centre)
    expected = centre * level / (1.0 - level) * np.sqrt(found.h)
    np.testing.assert_allclose(found.error, expected, rtol=0.04)
    # equal ratios h / sqrt(epsilon) up to the rounding of step counts: the order is free of the chords
    slope = np.diff(np.log(found.error)) / np.diff(np.log(found.h))
    np.testing.assert_allclose(slope, 0.5, atol=0.01)
    # 1e-4 over the slope of log F, 0 to 1
    assert np.all((found.floor > 1e-4 * found.error) & (found.floor < 1e-3 * found.error))


def test_kinks_and_changes_of_sign_are_integrated_by_their_own_methods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = {}

    def record(here: Cell, *_: object, method: Any = None, **options: object) -> None:
        seen[here.kind] = None if method is None else method(512)

    monkeypatch.setattr(observe_module, "sweep_cell", record)
    for name in ("adam-inside/kink-abs", "adam-outside/sign-change", "adam-outside/no-sign-change"):
        claim = find_trajectory_claim(name)
        cell = cells_of(claim, "quick", 0)[0]
        observe_module.observe(claim, cell, None, np.zeros((1, 3)), (512,))  # type: ignore[arg-type]
    assert seen["kink-abs"] == observe_module.kink_method(512)
    assert seen["sign-change"] == observe_module.crossing_method(512)
    assert seen["no-sign-change"] is None


def test_a_layer_is_cut_finer_on_the_coarser_steps() -> None:
    ladder = (100, 200, 400, 800, 1600)
    pieces = [observe_module.layer_method(ladder, n).substeps for n in ladder]
    assert pieces == [4, 4, 4, 1, 1]
