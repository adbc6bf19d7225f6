"""What is watched along the runs of a traced rule: sensitivity to rounding, the clock, overflow, iterates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels import rule_code
from stepbias.kernels.blocks import prepare
from stepbias.kernels.drift import iterate_drift
from stepbias.kernels.measure import measure
from stepbias.kernels.survey import survey
from tests.memory_rules import OPTIMIZERS, UNIT

SQUARE = sb.Loss.from_sympy(["x**2/2"], "x")
STEPS, H = 8, 0.01


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_root_is_the_inverse_sensitivity(
    beta: float, grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit change of every gradient changes the momentum by the sum of beta^k."""
    original = rule_code.rule_code
    monkeypatch.setattr(rule_code, "rule_code", lambda rule: original(rule, grouped))
    ensemble = prepare(sb.HeavyBall(beta), SQUARE, [1.0], H, STEPS, None, "cpu")
    found = measure(ensemble, STEPS)
    assert found.root[0] == pytest.approx((1.0 - beta) / (1.0 - beta**STEPS), rel=8 * UNIT * STEPS)


def _optimistic(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """The mean of the past is subtracted."""
    return 2 * g - state[0], (q.beta * state[0] + (1 - q.beta) * g,)


@pytest.mark.parametrize("grouped", [True, False])
def test_sensitivities_do_not_cancel(grouped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    original = rule_code.rule_code
    monkeypatch.setattr(rule_code, "rule_code", lambda rule: original(rule, grouped))
    optimizer = sb.Optimizer.define(_optimistic, (0.0,), beta=0.7)
    found = measure(prepare(optimizer, SQUARE, [1.0], H, STEPS, None, "cpu"), STEPS)
    expected = 1.0 / (2.0 + 1.0 - 0.7 ** (STEPS - 1))
    assert found.root[0] == pytest.approx(expected, rel=8 * UNIT * STEPS)


def test_clock_adds_what_a_direction_reads() -> None:
    """Adam on the full batch is a sign: its numerator and denominator change, it hardly does."""
    decays = {"beta": 0.5, "rho": 0.6, "eps": 1e-4, "eps_root": 0.0, "weight_decay": 0.25}
    optimizer = sb.AdamW(**decays)
    ensemble = prepare(optimizer, SQUARE, [1.0], H, STEPS, None, "cpu")
    path = sb.iterate(optimizer, SQUARE, [1.0], H, STEPS)[:, 0]
    # F = theta / (|theta| + eps) + 0.25 theta; |dM| / D + |dV| M / (2 R D^2) + 0.25 |d theta|, with D taken before the step and V = theta^2
    before, change = path[:-1], np.abs(np.diff(path))
    squares = np.abs(np.diff(path**2))
    D = before + 1e-4
    clock = change / D + before * squares / (2.0 * before * D**2) + 0.25 * change
    peak = np.max(before / D + 0.25 * before)
    found = iterate_drift(ensemble, STEPS)[0]
    # a difference of neighbours over H loses 1/H
    assert found == pytest.approx(np.max(clock) / H / peak, rel=64 * UNIT * STEPS / H)
    along = measure(ensemble, STEPS).drift[0]
    # the flow is within O(H) of the iterates, and half a step is taken at a time
    assert along == pytest.approx(found, rel=10 * H)


@pytest.mark.parametrize("name", ["coupled decay", "Lion soft", "heavy ball"])
def test_clocks_of_both_paths_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = OPTIMIZERS[name]()
    loss = sb.Loss.random("log-cosh", dim=3, batches=2, seed=8)

    def clocks() -> tuple[float, float]:
        ensemble = prepare(optimizer, loss, [0.6, -0.4, 0.9], H, STEPS, None, "cpu")
        return float(iterate_drift(ensemble, STEPS)[0]), float(measure(ensemble, STEPS).drift[0])

    grouped = clocks()
    original = rule_code.rule_code
    monkeypatch.setattr(rule_code, "rule_code", lambda rule: original(rule, False))
    dense = clocks()
    assert min(grouped) > 0.0
    if optimizer.rule.linear is not None and not optimizer.rule.linear.after:
        # the states are read before the step by both: the same numbers
        np.testing.assert_allclose(grouped, dense, rtol=64 * UNIT * STEPS / H)
    else:
        # the step by step path counts the own gradient beside the states before the step, the grouped one the states after it: at most their sum
        assert np.all(np.array(grouped) <= np.array(dense) * (1.0 + 1e-9))


def test_gradient_descent_on_a_parabola_has_rate_one() -> None:
    ensemble = prepare(sb.GradientDescent(), SQUARE, [1.0], H, STEPS, None, "cpu")
    assert iterate_drift(ensemble, STEPS)[0] == pytest.approx(1.0, rel=1e-12)


def test_a_start_at_rest_has_no_clock() -> None:
    ensemble = prepare(sb.HeavyBall(0.5), SQUARE, [0.0], H, STEPS, None, "cpu")
    assert iterate_drift(ensemble, STEPS)[0] == 0.0
    assert measure(ensemble, STEPS).drift[0] == 0.0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_iterates_are_those_of_the_function(name: str) -> None:
    optimizer = OPTIMIZERS[name]()
    loss = sb.Loss.random("log-cosh", dim=3, batches=2, seed=8)
    schedule = sb.IID(2, seed=1).indices(30)
    theta = np.array([0.6, -0.4, 0.9])
    found = sb.iterate(optimizer, loss, theta, 0.05, 30, schedule)
    state: Any = tuple(np.full(3, x) for x in optimizer.initial)
    for n, b in enumerate(schedule):
        direction, state = optimizer.update(
            loss.gradient(int(b), theta), state, n, theta, optimizer
        )
        theta = theta - 0.05 * direction
        # a few roundings of order one a step, amplified by at most e^(30 * 0.05 * |H| / width) < 100
        np.testing.assert_allclose(found[n + 1], theta, rtol=0.0, atol=100.0 * 8.0 * UNIT * (n + 1))


def test_survey_and_overflow() -> None:
    loss = sb.Loss.from_sympy(["x**4"], "x")
    ensemble = prepare(sb.HeavyBall(0.5), loss, [[1.0], [30.0]], 0.1, 64, None, "cpu")
    with np.errstate(all="ignore"):
        found = measure(ensemble, 64)
        seen = survey(ensemble, 64)
    assert np.isfinite(found.error[0])
    assert not np.isfinite(found.error[1])
    assert np.isfinite(seen.distance[0])
    assert not np.isfinite(seen.distance[1])
    assert np.all(np.isinf(seen.root))
