"""The memoryless equation has order 2 for every rule, its leading part order 1, and wrong variants are told apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels.blocks import prepare
from stepbias.kernels.measure import measure
from stepbias.theory.optimizer import Optimizer
from stepbias.theory.variants import STATEMENT, Variant
from stepbias.verify.sweep import sweep
from tests.memory_rules import adabelief

# Short memories: 1/(1 - decay) <= 3, so that 64 to 512 steps are asymptotic.
SHORT: dict[str, Callable[[], Optimizer]] = {
    "gradient descent": sb.GradientDescent,
    "heavy ball": lambda: sb.HeavyBall(0.5),
    "Nesterov": lambda: sb.Nesterov(0.5),
    "AdamW": lambda: sb.AdamW(0.5, 0.6, 0.0, 0.1, 0.3),
    "NAdam": lambda: sb.NAdam(0.5, 0.6, 0.0, 0.1),
    "NAdam warming": lambda: sb.NAdam(0.5, 0.6, 0.0, 0.1, psi=5.0),
    "Lion soft": lambda: sb.SmoothLion(0.5, 0.6, 0.3, 0.5),
    "Lion tanh": lambda: sb.SmoothLion(0.5, 0.6, 0.5, 0.5, "tanh"),
    "Signum soft": lambda: sb.SmoothSignum(0.5, 0.3),
    "Signum tanh": lambda: sb.SmoothSignum(0.5, 0.5, "tanh"),
    "AdaBelief": lambda: Optimizer.define(
        adabelief, (0.0, 0.0), beta=0.5, rho=0.6, eps=0.1, weight_decay=0.3
    ),
}
STEPS = (64, 128, 256, 362, 512)
START = np.array([0.6, -0.4, 0.9])


def loss_of(batches: int) -> sb.Loss:
    return sb.Loss.random("log-cosh", dim=3, batches=batches, seed=8)


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("name", SHORT)
def test_order_two_and_one(name: str, batches: int) -> None:
    optimizer, loss = SHORT[name](), loss_of(batches)
    for order in (2, 1):
        fit = sb.measure_order(optimizer, loss, START, 0.25, STEPS, order=order)
        assert fit.verdict == "confirmed", fit.explain()


@pytest.mark.parametrize("name", ["heavy ball", "Lion soft"])
def test_wrong_variants_have_order_one(name: str) -> None:
    optimizer, loss = SHORT[name](), loss_of(2)
    finest = {}
    for variant in (
        STATEMENT,
        Variant(memory=0.0),
        Variant(discretization=0.0),
        Variant(short_memory=True),
        Variant(limit=True),
    ):
        found = sweep(optimizer, loss, START, 0.25, [1024, 2048], None, variant)
        finest[variant.name] = found.error[0, 1]
        slope = float(np.log2(found.error[0, 0] / found.error[0, 1]))
        # a wrong O(h) term leaves c h + O(h^2), with c of the size of the O(h^2) coefficient or larger
        assert abs(slope - (2.0 if variant == STATEMENT else 1.0)) < 0.2, (variant.name, slope)
    assert min(v for k, v in finest.items() if k != "statement") > 20.0 * finest["statement"]


def test_the_coefficient_of_h_vanishes() -> None:
    found = sb.leading_coefficient(sb.SmoothSignum(0.5, 0.3), loss_of(1), START, 0.25)
    assert found.verdict == "confirmed", found.explain()


def test_random_schedules_are_measured_on_copies() -> None:
    optimizer = sb.HeavyBall(np.array([0.3, 0.5]))
    losses = sb.Loss.random("log-cosh", dim=2, batches=2, problems=2, seed=3)
    fit = sb.measure_order(
        optimizer, losses, np.array([[0.5, -0.4], [1.0, 0.3]]), 0.25, STEPS, sb.IID(2, 5)
    )
    assert fit.orders.shape == (2,)
    assert fit.verdict != "refuted"


def test_full_batch_adam_settles_to_its_limit_at_order_two() -> None:
    """Without a start-up deficit limiting coefficients keep the order; with one they lose it."""
    for optimizer, expected in ((sb.Adam(0.3, 0.4, 0.0, 0.1), 2.0), (sb.HeavyBall(0.5), 1.0)):
        found = sweep(optimizer, loss_of(1), START, 0.25, [1024, 2048], None, Variant(limit=True))
        assert abs(np.log2(found.error[0, 0] / found.error[0, 1]) - expected) < 0.1


def test_a_limit_needs_a_past() -> None:
    ensemble = prepare(
        sb.HeavyBall(0.5), loss_of(2), START, 0.1, 8, [0, 1, 1, 0, 0, 1, 0, 1], "cpu"
    )
    with pytest.raises(ValueError, match="limit = True with a schedule that does not repeat"):
        measure(ensemble, 8, Variant(limit=True))
    slow = prepare(sb.NAdam(0.5, 0.6, psi=0.004), loss_of(2), START, 0.1, 8, None, "cpu")
    with pytest.raises(ValueError, match="coefficients still change"):
        measure(slow, 8, Variant(limit=True))


def test_a_belief_optimizer_takes_less_than_twenty_lines() -> None:
    def update(g, state, n, theta, q):  # type: ignore[no-untyped-def]
        m = q.beta * state[0] + (1 - q.beta) * g
        s = q.rho * state[1] + (1 - q.rho) * (g - m) ** 2 + q.eps
        m_hat, s_hat = m / (1 - q.beta ** (n + 1)), s / (1 - q.rho ** (n + 1))
        return m_hat / (sb.sqrt(s_hat) + q.eps), (m, s)

    adabelief = sb.Optimizer.define(update, state=(0.0, 0.0), beta=0.5, rho=0.6, eps=0.1)
    loss = sb.Loss.from_sympy(["sin(x)*y + y**2/2", "log(1 + exp(x - y)) + x**2/4"], "x y")
    assert sb.measure_order(adabelief, loss, [0.7, -0.4], 0.25, STEPS).verdict == "confirmed"
