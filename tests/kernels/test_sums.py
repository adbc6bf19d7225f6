"""The one-pass sums on bare gradients: against the printed sums, any length, any company, both code paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepbias.kernels import rule as rule_module
from stepbias.kernels.rule import Rule, cycle_weights, make_rule
from stepbias.kernels.sums import SumState, make_sum_state, memory_sums
from tests.reference import UNIT, Floats, weights

ONES = np.ones(7)
PLACES = [(0.0, 1e-2), (1e-2, 0.0), (1e-2, 1e-3)]


def run(
    rule: Rule, n: int, gradients: Floats, factors: Floats = ONES, short_memory: bool = False
) -> SumState:
    state = make_sum_state(*gradients.shape)
    # Whatever an earlier call left behind must not matter.
    for array in state:
        array[...] = 7.0
    for array in (
        state.running,
        state.fresh_mean,
        state.fresh_square,
        state.mean_total,
        state.square_total,
    ):
        array[..., gradients.shape[1] :] = 0.0
    memory_sums(rule, n, short_memory, np.ascontiguousarray(gradients), factors, state)
    return state


def expected(
    rule: Rule, corrected: bool, n: int, gradients: Floats, factors: Floats, short_memory: bool
) -> tuple[list[Floats], list[Floats]]:
    """M, V, U and the two lag vectors by their definitions, and the absolute values of what is added in them."""
    batches = len(gradients)
    batch = rule.batch[np.minimum(np.arange(n + 1), rule.last)]
    g = gradients[batch]
    w, r = weights(rule.beta, n, corrected), weights(rule.rho, n, corrected)
    mean, square = w @ g, r @ g**2
    D = np.sqrt(square + rule.eps_root) + rule.eps
    U, size = mean / D, w @ np.abs(g) / D
    last = n - 1 if short_memory else n
    after = np.zeros_like(U)
    after[:last] = np.cumsum(U[:last][::-1], axis=0)[::-1]
    total = size[:n].sum(axis=0)
    lags, scales = [], []
    for table, past_factor, now_factor in (
        (w, factors[2], factors[3]),
        (r, factors[4], factors[5]),
    ):
        lag, scale = np.zeros_like(gradients), np.zeros_like(gradients)
        for b in range(batches):
            weight = np.where(batch == b, table[n], 0.0)
            lag[b] = 2.0 * past_factor * (weight @ after) + now_factor * weight.sum() * U[n]
            past, now = weight[:n].sum() * total, weight.sum() * size[n]
            # What the window drops, all weights below 2^-60 together, is no rounding: it is divided by the unit here.
            past = past + 2.0**-60 / (4.0 * UNIT) * total
            scale[b] = 2.0 * abs(past_factor) * past + abs(now_factor) * now
        lags.append(lag)
        scales.append(scale)
    return [mean[n], square[n], U[n], *lags], [size[n] * D[n], square[n], size[n], *scales]


def assert_state(
    rule: Rule,
    corrected: bool,
    n: int,
    gradients: Floats,
    factors: Floats = ONES,
    short_memory: bool = False,
) -> None:
    state = run(rule, n, gradients, factors, short_memory)
    found = (state.mean, state.square, state.step, state.mean_lag, state.square_lag)
    values, scales = expected(rule, corrected, n, gradients, factors, short_memory)
    tolerance = 4.0 * UNIT * (n + 1 + 1.0 / (1.0 - max(rule.beta, rule.rho)))
    for name, a, e, scale in zip(SumState._fields, found, values, scales, strict=False):
        assert np.all(np.abs(a - e) <= tolerance * scale + 1e-300), (name, n)


@settings(deadline=None, max_examples=100)
@given(
    st.floats(0.0, 0.9),
    st.floats(0.0, 0.95),
    st.sampled_from(PLACES),
    st.booleans(),
    st.integers(0, 80),
    st.integers(1, 4),
    st.integers(1, 70),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_sums_are_the_printed_ones(
    beta: float,
    rho: float,
    place: tuple[float, float],
    corrected: bool,
    n: int,
    batches: int,
    size: int,
    short_memory: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(batches, size)) * 10.0 ** rng.uniform(-3.0, 1.0, size)
    rule = make_rule(beta, rho, *place, corrected, rng.integers(0, batches, n + 3), batches)
    assert_state(rule, corrected, n, gradients, rng.uniform(-2.0, 2.0, 7), short_memory)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(PLACES),
    st.integers(0, 90),
    st.integers(1, 3),
    st.lists(st.integers(0, 99), min_size=1, max_size=40),
    st.integers(0, 2**31),
)
def test_entries_do_not_see_each_other(
    place: tuple[float, float], n: int, batches: int, chosen: list[int], seed: int
) -> None:
    # Any selection, in any order and length: vector bodies and remainders of the loops give the same bits.
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(batches, 100))
    gradients[:, 3] = np.nan
    gradients[:, 5] = np.inf
    gradients[:, 7] = 0.0
    rule = make_rule(0.8, 0.9, *place, True, rng.integers(0, batches, n + 1), batches)
    together, alone = run(rule, n, gradients), run(rule, n, gradients[:, chosen])
    for name in ("mean", "square", "step", "mean_lag", "square_lag"):
        np.testing.assert_array_equal(getattr(together, name)[..., chosen], getattr(alone, name))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("n", [0, 1, 2, 30, 700])
def test_closed_form_of_the_full_batch_is_the_loop(n: int, place: tuple[float, float]) -> None:
    gradients = np.random.default_rng(n).normal(size=(1, 33))
    rule = make_rule(0.9, 0.95, *place, True, np.zeros(n + 1, dtype=np.int64), 1)
    assert rule.settled == 0
    factors = np.array([1.0, 1.0, 0.3, -2.0, 1.7, 0.9, 1.0])
    for chosen in (rule, rule._replace(settled=n + 1)):
        assert_state(chosen, True, n, gradients, factors)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("n", [118, 119, 120, 121, 400])
def test_without_bias_correction_the_full_batch_settles_after_two_windows(
    n: int, place: tuple[float, float]
) -> None:
    gradients = np.random.default_rng(n).normal(size=(1, 33))
    rule = make_rule(0.3, 0.5, *place, False, np.zeros(500, dtype=np.int64), 1)
    assert rule.settled == 2 * rule.window == 120
    factors = np.array([1.0, 1.0, 0.3, -2.0, 1.7, 0.9, 1.0])
    for chosen in (rule, rule._replace(settled=500)):
        assert_state(chosen, False, n, gradients, factors)


ORDERS = ([0, 1], [2, 0, 1], [0, 0, 1], [1, 3, 0, 2, 4])


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_an_order_that_repeats_needs_one_cycle(
    place: tuple[float, float], corrected: bool, order: list[int]
) -> None:
    batches = len(order)
    rng = np.random.default_rng(batches)
    gradients = rng.normal(size=(batches, 33))
    rule = make_rule(0.3, 0.5, *place, corrected, np.resize(order, 500), batches)
    assert rule.repeats == 2 * rule.window + batches == 120 + batches
    factors = np.array([1.0, 1.0, 0.3, -2.0, 1.7, 0.9, 1.0])
    for n in range(rule.repeats - 1, rule.repeats + batches + 1):
        for chosen in (rule, rule._replace(repeats=500)):
            assert_state(chosen, corrected, n, gradients, factors)
            assert_state(chosen, corrected, n, gradients, factors, short_memory=True)


@pytest.mark.parametrize("changed", [5, 499])
def test_an_order_that_changes_once_does_not_repeat(changed: int) -> None:
    batch = np.resize([0, 1, 2], 500)
    batch[changed] = (batch[changed] + 1) % 3
    assert make_rule(0.3, 0.5, 0.0, 1e-2, True, batch, 3).repeats == 500


@pytest.mark.parametrize("batches", [2, 11, 12, 40])
def test_many_batches_are_summed_over_the_window(batches: int) -> None:
    """m averages of m batches cost more than a window of 60 steps: 8 m^2 + 50 m against 25 x 60."""
    rule = make_rule(0.3, 0.5, 0.0, 1e-2, True, np.resize(np.arange(batches), 500), batches)
    assert rule.window == 60
    assert (rule.repeats < 500) == (batches <= 10)
    assert rule.mean_cycle.size == (batches**2 if batches <= 10 else 1)


@pytest.mark.parametrize("batches", [1, 2, 5])
def test_weights_of_a_cycle_count_the_steps(batches: int) -> None:
    power = np.random.default_rng(batches).uniform(size=23)
    expected = np.zeros((batches, batches))
    for age in range(1, 24):
        for between in range(1, age + 1):
            expected[(age - 1) % batches, (between - 1) % batches] += power[age - 1]
    np.testing.assert_allclose(cycle_weights(power, batches), expected, rtol=1e-14)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("n", [60, 61, 62, 130, 1500])
def test_truncated_memory_is_exact_to_rounding(n: int, place: tuple[float, float]) -> None:
    rng = np.random.default_rng(n)
    rule = make_rule(0.3, 0.5, *place, True, rng.integers(0, 3, n + 1), 3)
    assert rule.window == 60
    assert_state(rule, True, n, rng.normal(size=(3, 5)))


@pytest.mark.parametrize("short_memory", [False, True])
@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_past_the_end_of_the_tables_nothing_changes(
    monkeypatch: pytest.MonkeyPatch, place: tuple[float, float], corrected: bool, short_memory: bool
) -> None:
    gradients = np.random.default_rng(1).normal(size=(1, 33))
    steps = 700
    batch = np.zeros(steps, dtype=np.int64)
    short = make_rule(0.7, 0.8, *place, corrected, batch, 1)
    monkeypatch.setattr(rule_module, "table_length", lambda batches, memory, steps: steps)
    full = make_rule(0.7, 0.8, *place, corrected, batch, 1)
    assert 500 < short.last < 600
    for n in (0, 3, 2 * short.window, short.last - 1, short.last, short.last + 1, steps - 1):
        ours, theirs = (run(rule, n, gradients, ONES, short_memory) for rule in (short, full))
        for name in ("mean", "square", "step", "mean_lag", "square_lag"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), name)


@pytest.mark.parametrize("eps", [1e-8, 1e-150, 1.0])
def test_vanishing_gradients_give_no_step(eps: float) -> None:
    gradients = np.zeros((2, 4))
    gradients[0, 1] = 1e-200  # its square underflows
    gradients[1, 2] = 1.0
    rule = make_rule(0.8, 0.9, eps, 0.0, True, np.array([0, 0, 1, 0]), 2)
    for n in range(4):
        state = run(rule, n, gradients)
        for array in (state.mean, state.square, state.step, state.mean_lag, state.square_lag):
            assert np.all(np.isfinite(array))
            assert np.all(array[..., [0, 3]] == 0.0)


def test_running_arrays_are_aligned_and_padded() -> None:
    for size in (1, 31, 32, 33, 250):
        state = make_sum_state(3, size)
        arrays: list[Any] = [state.running, state.fresh_mean, state.mean_total]
        for array in arrays:
            assert array.shape[-1] % 32 == 0
            assert size <= array.shape[-1] < size + 32
            assert array.ctypes.data % 64 == 0
