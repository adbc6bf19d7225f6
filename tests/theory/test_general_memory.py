"""The literal memoryless equation: from derivatives taken by hand, and against the printed theorem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.theory import memory, memory_limits
from stepbias.theory.general_memory import literal_field, literal_terms
from stepbias.theory.optimizer import Optimizer
from stepbias.theory.variants import Variant
from tests.memory_rules import UNIT, adam_rule

LOSS = sb.Loss.random("log-cosh", dim=3, batches=3, seed=8)
THETA = np.array([0.6, -0.4, 0.9])
SCHEDULE = sb.Reshuffled(3, seed=2).indices(12)
H = 0.3


def test_two_steps_of_heavy_ball_by_hand() -> None:
    beta = 0.7
    g = [LOSS.gradient(int(b), THETA) for b in SCHEDULE[:2]]
    hessian = [LOSS.hessian(int(b), THETA) for b in SCHEDULE[:2]]
    first, second = g[0], beta * g[0] + g[1]
    found = literal_terms(sb.HeavyBall(beta), LOSS, THETA, 1, SCHEDULE)
    np.testing.assert_allclose(found.direction, second, rtol=8 * UNIT)
    np.testing.assert_allclose(found.memory, beta * hessian[0] @ first, rtol=32 * UNIT)
    expected = 0.5 * (beta * hessian[0] + hessian[1]) @ second
    np.testing.assert_allclose(found.discretization, expected, rtol=64 * UNIT)
    field = literal_field(found, H, Variant(memory=2.0, discretization=0.5, bias=0.25))
    bias = 2.0 * found.memory + 0.5 * found.discretization
    np.testing.assert_allclose(field, -(found.direction + 0.25 * H * bias), rtol=8 * UNIT)


@pytest.mark.parametrize(("eps", "eps_root"), [(0.0, 1e-2), (1e-2, 0.0)])
@pytest.mark.parametrize("n", [0, 1, 2, 11])
def test_adam_is_theorem_3_1(n: int, eps: float, eps_root: float) -> None:
    rule = Optimizer.define(adam_rule, (0.0, 0.0), beta=0.8, rho=0.9, eps=eps, eps_root=eps_root)
    printed = memory.literal_terms(sb.Adam(0.8, 0.9, eps, eps_root), LOSS, THETA, n, SCHEDULE)
    for variant in (Variant(), Variant(memory=0.0), Variant(discretization=0.0)):
        found = literal_field(literal_terms(rule, LOSS, THETA, n, SCHEDULE), H, variant)
        kinds = {"L": variant.memory, "P": variant.memory}
        kinds |= {"Lbar": variant.discretization, "Pbar": variant.discretization}
        expected = memory.literal_field(printed, eps, H, Variant(**kinds))  # type: ignore[arg-type]
        # sums of up to 12 steps, divided by R D^2 > 1e-3 at most
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_short_memory_ends_one_step_early() -> None:
    optimizer = sb.SmoothSignum(0.8, 0.1)
    whole = literal_terms(optimizer, LOSS, THETA, 5, SCHEDULE)
    short = literal_terms(optimizer, LOSS, THETA, 5, SCHEDULE, short_memory=True)
    assert np.abs(whole.memory - short.memory).max() > 1e-2
    np.testing.assert_array_equal(whole.discretization, short.discretization)
    alone = literal_terms(optimizer, LOSS, THETA, 0, SCHEDULE, short_memory=True)
    np.testing.assert_array_equal(alone.memory, np.zeros(3))


def test_parameters_of_one_problem() -> None:
    several = sb.HeavyBall(np.array([0.5, 0.9]))
    for k, beta in enumerate((0.5, 0.9)):
        for ours, alone in zip(
            literal_terms(several, LOSS, THETA, 4, SCHEDULE, problem=k),
            literal_terms(sb.HeavyBall(beta), LOSS, THETA, 4, SCHEDULE),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, alone)


@pytest.mark.parametrize("beta", [0.3, 0.8])
def test_gamma_starts_at_gradient_descent_and_tends_to_one(beta: float) -> None:
    # at n = 0 the heavy ball is gradient descent, whose term is H g / 2
    limit = (1.0 + beta) / (2.0 * (1.0 - beta) ** 3)
    assert memory_limits.heavy_ball_gamma(beta, 0) * limit == pytest.approx(0.5, rel=1e-12)
    assert memory_limits.heavy_ball_gamma(beta, 400) == 1.0


def test_limits_reduce_to_each_other() -> None:
    g = np.array([0.5, -0.2, 0.1])
    matrix = np.array([[1.0, 0.2, 0.0], [0.2, 2.0, -0.3], [0.0, -0.3, 0.7]])

    def product(v: Any) -> Any:
        return matrix @ v

    plain = memory_limits.gradient_descent(g, product)
    for other in (
        memory_limits.heavy_ball(g, product, 0.0),
        memory_limits.nesterov(g, product, 0.0),
    ):
        np.testing.assert_allclose(other.rate(0.3), plain.rate(0.3), rtol=8 * UNIT)
    signum = memory_limits.smooth_signum(g, product, 0.4, 0.1)
    # Lion with beta_1 = beta_2 = beta is Signum
    lion = memory_limits.smooth_lion(g, product, 0.4, 0.4, 0.1)
    np.testing.assert_allclose(lion.rate(0.3), signum.rate(0.3), rtol=32 * UNIT)
    adam = memory_limits.adamw(g, product, 0.0, 0.9, 1e-2)
    nadam = memory_limits.nadam(g, product, 0.0, 0.9, 1e-2)
    np.testing.assert_allclose(adam.rate(0.3), nadam.rate(0.3), rtol=8 * UNIT)
