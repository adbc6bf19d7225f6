"""Weight tables against the powers they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepbias.kernels import rule as module
from stepbias.kernels.rule import Rule, make_rule, memory_window
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
    row = np.minimum(age, rule.last)
    assert rule.last == (
        steps - 1 if batches > 1 else min(steps - 1, 3 * memory_window(beta, rho) + 1)
    )
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
        np.testing.assert_allclose(table[row], plain @ member, rtol=tolerance, atol=1e-300)
        divided = weights(decay, steps - 1, corrected) @ member
        np.testing.assert_allclose(
            (table * correction[:, None])[row],
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
        np.testing.assert_allclose(lag[row], ages, rtol=tolerance, atol=1e-300)


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


PER_STEP = ("mean_correction", "square_correction", "mean_weight", "square_weight", "mean_lag", "square_lag")  # fmt: skip


def whole_tables(
    monkeypatch: pytest.MonkeyPatch, beta: float, rho: float, corrected: bool, steps: int
) -> tuple[Rule, Rule]:
    """One batch: the tables of a run, and the same with a row for every step."""
    batch = np.zeros(steps, dtype=np.int64)
    short = make_rule(beta, rho, 1e-3, 0.0, corrected, batch, 1)
    with monkeypatch.context() as patch:
        patch.setattr(module, "table_length", lambda batches, memory, steps: steps)
        return short, make_rule(beta, rho, 1e-3, 0.0, corrected, batch, 1)


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_tables_of_one_batch_are_constant_to_the_last_bit_where_they_end(
    monkeypatch: pytest.MonkeyPatch, seed: int, corrected: bool
) -> None:
    rng = np.random.default_rng(seed)
    beta, rho = 1.0 - 10.0 ** rng.uniform(-3.5, 0.0, 2)
    window = memory_window(beta, rho)
    short, full = whole_tables(monkeypatch, beta, rho, corrected, 5 * window + 7)
    assert len(full.batch) == 5 * window + 7
    assert len(short.batch) == short.last + 1 == 3 * window + 2
    assert (short.window, short.settled) == (full.window, full.settled)
    row = np.minimum(np.arange(len(full.batch)), short.last)
    for name in PER_STEP:
        table = getattr(full, name)
        assert np.array_equal(getattr(short, name)[row], table), name
        # Every row that the last step reads, the one before its window included.
        assert np.all(table[2 * window :] == table[2 * window]), name
    for name in ("mean_power", "square_power"):
        assert np.array_equal(getattr(short, name), getattr(full, name))


def test_tables_of_one_batch_do_not_grow_with_the_run() -> None:
    batch = np.broadcast_to(np.int64(0), 10**12)
    rule = make_rule(0.9, 0.99, 1e-3, 0.0, False, batch, 1)
    assert len(rule.batch) == len(rule.mean_weight) == 3 * memory_window(0.9, 0.99) + 2
    assert rule.settled == 2 * rule.window <= rule.last
