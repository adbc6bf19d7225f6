"""Weight tables against the powers they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepbias.kernels.rule import make_rule, memory_window
from tests.reference import weights

UNIT = 2.0**-53
ROOMY = settings(deadline=None, max_examples=60)
DECAYS = st.one_of(st.just(0.0), st.floats(0.0, 0.999))


@given(st.floats(1e-6, 0.9999), st.floats(0.0, 0.9999))
def test_window_keeps_every_weight_above_two_to_minus_sixty(beta: float, rho: float) -> None:
    window, slow = memory_window(beta, rho), max(beta, rho)
    # One unit of slack for the logarithms.
    assert slow**window <= 2.0**-60 * (1.0 + 1e-12)
    assert window == 1 or slow ** (window - 1) >= 2.0**-60 * (1.0 - 1e-12)
    assert memory_window(rho, beta) == window


def test_without_memory_the_window_is_one_step() -> None:
    assert memory_window(0.0, 0.0) == 1


@ROOMY
@given(DECAYS, DECAYS, st.booleans(), st.integers(1, 80), st.integers(1, 4), st.integers(0, 1000))
def test_tables_are_the_printed_weights(
    beta: float, rho: float, corrected: bool, steps: int, batches: int, seed: int
) -> None:
    batch = np.random.default_rng(seed).integers(0, batches, steps)
    rule = make_rule(beta, rho, 1e-3, 1e-4, corrected, batch, batches)
    member = (batch[:, None] == np.arange(batches)).astype(float)
    age = np.arange(steps)
    assert (rule.eps, rule.eps_root, rule.beta, rule.rho) == (1e-3, 1e-4, beta, rho)
    assert rule.window == min(memory_window(beta, rho), steps)
    assert rule.settled == (
        steps if batches > 1 else 0 if corrected else min(2 * rule.window, steps)
    )
    for decay, table, correction, power, lag in (
        (beta, rule.mean_weight, rule.mean_correction, rule.mean_power, rule.mean_lag),
        (rho, rule.square_weight, rule.square_correction, rule.square_power, rule.square_lag),
    ):
        plain = weights(decay, steps - 1, False)
        # The table is a recursion (three roundings a step), the reference a sum of powers; the absolute part is underflow.
        tolerance = 8.0 * UNIT * steps
        np.testing.assert_allclose(table, plain @ member, rtol=tolerance, atol=1e-300)
        divided = weights(decay, steps - 1, corrected) @ member
        np.testing.assert_allclose(
            table * correction[:, None],
            divided,
            rtol=tolerance + 4.0 * UNIT / (1.0 - decay),
            atol=1e-300,
        )
        np.testing.assert_allclose(
            power,
            float(decay) ** np.arange(rule.window + 1) * (1.0 - decay),
            rtol=tolerance,
            atol=1e-300,
        )
        ages = [np.sum(plain[n] * (n - age)) for n in range(steps)]
        np.testing.assert_allclose(lag, ages, rtol=tolerance, atol=1e-300)


def test_class_weights_add_up_to_what_the_correction_divides_by() -> None:
    batch = np.array([0, 2, 1, 1, 0, 2, 2])
    rule = make_rule(0.9, 0.99, 0.0, 1.0, True, batch, 3)
    np.testing.assert_allclose(rule.mean_weight.sum(1) * rule.mean_correction, 1.0, rtol=1e-14)
    np.testing.assert_allclose(rule.square_weight.sum(1) * rule.square_correction, 1.0, rtol=1e-13)


@pytest.mark.parametrize("steps", [0, 1])
def test_shortest_tables(steps: int) -> None:
    rule = make_rule(0.5, 0.9, 1.0, 0.0, True, np.zeros(steps, dtype=np.int64), 1)
    assert rule.mean_weight.shape == (steps, 1)
    assert rule.mean_lag.tolist() == [0.0] * steps
