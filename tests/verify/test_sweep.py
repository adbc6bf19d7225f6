"""A sweep is one measurement per step size: the same numbers, floors that bound what they claim, arguments checked first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels import measure as measure_module
from stepbias.kernels.trajectory import CLASSICAL
from stepbias.theory.variants import LEADING, Variant
from stepbias.verify.sweep import ladder, rounding, step_ladder, sweep
from tests import reference

LOSS = sb.Loss.random("sinusoid", dim=3, batches=2, problems=4, seed=2)
THETA = np.random.default_rng(0).normal(size=(4, 3))
ADAM = sb.Adam(0.5, 0.7, eps=0.0, eps_root=1e-2)
COUNTS = [40, 10, 20]
SCHEDULE = sb.IID(2, seed=3)


def test_entries_are_those_of_single_runs() -> None:
    found = sweep(ADAM, LOSS, THETA, 0.4, COUNTS, SCHEDULE)
    assert found.h.shape == found.error.shape == found.floor.shape == (4, 3)
    assert found.difference.shape == (4, 3, 3)
    for column, n in enumerate(COUNTS):
        assert np.all(found.h[:, column] == 0.4 / n)
        errors = sb.global_error(ADAM, LOSS, THETA, 0.4 / n, n, SCHEDULE)
        np.testing.assert_array_equal(found.error[:, column], errors)
        last = (
            sb.iterate(ADAM, LOSS, THETA, 0.4 / n, n, SCHEDULE)[:, -1]
            - sb.flow(ADAM, LOSS, THETA, 0.4 / n, n, SCHEDULE)[:, -1]
        )
        np.testing.assert_allclose(found.difference[:, column], last, rtol=1e-11, atol=2e-15)
    finest = sb.flow(ADAM, LOSS, THETA, 0.01, 40, SCHEDULE)
    np.testing.assert_allclose(
        found.distance, np.linalg.norm(finest[:, -1] - THETA, axis=1), rtol=1e-12
    )


def test_variant_and_kind_reach_the_runs() -> None:
    leading = sweep(ADAM, LOSS, THETA, 0.4, COUNTS, SCHEDULE, LEADING)
    np.testing.assert_array_equal(
        leading.error[:, 1], sb.global_error(ADAM, LOSS, THETA, 0.04, 10, SCHEDULE, order=1)
    )
    local = sweep(ADAM, LOSS, THETA, 0.4, COUNTS, SCHEDULE, kind="local")
    # The defect of the first step, from the common start, is part of both.
    plain = sweep(ADAM, LOSS, THETA, 0.4, COUNTS, SCHEDULE)
    first = sb.global_error(ADAM, LOSS, THETA, 0.04, 1, SCHEDULE)
    assert np.all(local.error[:, 1] >= first)
    assert np.all(plain.error[:, 1] >= first)
    assert np.all(local.error[:, 0] < plain.error[:, 0])


@pytest.mark.parametrize("kind", ["global", "local"])
def test_floor_bounds_the_solver_s_error(kind: str) -> None:
    found = sweep(ADAM, LOSS, THETA, 0.4, COUNTS, SCHEDULE, kind=kind)
    assert np.all(found.floor > 0.0)
    for k in range(4):
        loss = LOSS.select(k)
        for column, n in enumerate(COUNTS):
            two, sixteen = (
                reference.flow(ADAM, loss, THETA[k], 0.4 / n, n, CLASSICAL, parts, SCHEDULE)
                for parts in (2, 16)
            )
            # The first piece is in both kinds; the whole path in the global one.
            wrong = np.linalg.norm(two - sixteen, axis=1)
            assert (wrong.max() if kind == "global" else wrong[1]) <= found.floor[k, column]


def test_memory_is_the_slowest_of_three_clocks() -> None:
    for optimizer, least in (
        (sb.Adam(0.9, 0.7, eps_root=1e3), 10.0),
        (sb.Adam(0.5, 0.95, eps_root=1e3), 20.0),
        (sb.RMSProp(0.75, eps_root=1e3), 4.0),
    ):
        # A large epsilon: D hardly changes, the averages' memory decides.
        np.testing.assert_allclose(
            sweep(optimizer, LOSS, THETA, 0.4, [8], None).memory, least / 0.4
        )
    fast = sweep(sb.Adam(0.0, 0.0, eps=0.0, eps_root=1e-6), LOSS, THETA, 0.4, [64], None)
    assert np.all(fast.memory > 1.0)


def test_each_problem_has_its_own_memory() -> None:
    optimizer = sb.Adam(np.array([0.0, 0.5, 0.9, 0.95]), 0.5, eps_root=1e3)
    found = sweep(optimizer, LOSS, THETA, 0.4, [8])
    np.testing.assert_allclose(found.memory, np.array([2.0, 2.0, 10.0, 20.0]) / 0.4)


def test_overflow_stays_with_its_problem() -> None:
    theta = THETA.copy()
    theta[1] = 1e308
    found = sweep(ADAM, LOSS, theta, 0.4, [8, 16])
    clean = sweep(ADAM, LOSS, THETA, 0.4, [8, 16])
    np.testing.assert_array_equal(found.error[[0, 2, 3]], clean.error[[0, 2, 3]])


def test_rounding_grows_with_size_time_and_steepness() -> None:
    one = np.ones(1)
    plain = rounding(one, 1.0, one, 0.0 * one)[0]
    assert 2.0**-53 < plain < 100 * 2.0**-53
    assert rounding(10 * one, 1.0, one, 0.0 * one)[0] > plain
    assert rounding(one, 2.0, one, 0.0 * one)[0] > plain
    assert rounding(one, 1.0, 0.1 * one, 0.0 * one)[0] > plain
    assert rounding(one, 1.0, 0.1 * one, 0.9 * one)[0] == pytest.approx(plain)
    assert np.isfinite(rounding(one, 1.0, 0.0 * one, 0.0 * one)[0])


def test_rounding_bounds_the_rounding_of_a_fine_run() -> None:
    # The same path in two orders of the problems' components: equal but for rounding.
    rng = np.random.default_rng(5)
    amplitude, phase = rng.normal(size=(2, 6)), rng.uniform(0.0, 6.0, (2, 6))
    frequency, theta = rng.normal(size=(6, 3)), rng.normal(size=3)
    order = rng.permutation(6)
    results = [
        sweep(
            ADAM,
            sb.Loss.sinusoids(amplitude[:, rows], frequency[rows], phase[:, rows]),
            theta,
            0.5,
            [1024],
        )
        for rows in (np.arange(6), order)
    ]
    gap = abs(results[0].error[0, 0] - results[1].error[0, 0])
    assert 0.0 < gap <= results[0].floor[0, 0]


# the ladder --------------------------------------------------------------------------------------


def test_step_ladder_halves_and_is_denser_at_the_fine_end() -> None:
    assert step_ladder(8, 128) == (8, 16, 32, 45, 64, 91, 128)


@pytest.mark.parametrize("steps", [[8, 16], (8, 16), np.array([8, 16]), range(8, 17, 8)])
def test_any_sequence_of_counts_will_do(steps: Any) -> None:
    assert ladder(steps) == [8, 16]


@pytest.mark.parametrize(
    ("steps", "error", "words"),
    [
        (8, TypeError, "steps = 8; accepted: a sequence of step counts"),
        (np.int64(8), TypeError, "accepted: a sequence of step counts"),
        (None, TypeError, "steps = None; accepted: a sequence"),
        ({8, 16}, TypeError, "accepted: a sequence of step counts"),
        ([8.0, 16], TypeError, "steps = 8.0 has type float; accepted: an integer >= 1"),
        (np.array([8.0]), TypeError, "has type float64; accepted: an integer >= 1"),
        ([8, True], TypeError, "steps = True is a bool; accepted: an integer >= 1"),
        ("48", TypeError, "steps = '4' has type str; accepted: an integer >= 1"),
        ([8, 0], ValueError, "steps = 0; accepted: an integer >= 1"),
        ([8, -4], ValueError, "steps = -4; accepted: an integer >= 1"),
        ([8, 8], ValueError, "steps = [8, 8] repeats a count; accepted: distinct integers >= 1"),
        ([], ValueError, "steps = [] is empty; accepted: distinct integers >= 1"),
    ],
)
def test_bad_ladders_are_refused(steps: Any, error: type, words: str) -> None:
    with pytest.raises(error) as caught:
        ladder(steps)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": [0, 1] * 10},  # long enough for 10 and 20 steps, not for 40
        {"steps": [10, 10**15]},
        {"theta0": np.zeros((3, 3))},
        {"horizon": 0.0},
    ],
)
def test_everything_is_checked_before_the_first_run(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any) -> None:
        raise AssertionError("work was begun before the arguments were checked")

    monkeypatch.setattr(measure_module, "for_each_block", work)
    plain: dict[str, Any] = {"theta0": THETA, "horizon": 0.4, "steps": COUNTS, "schedule": None}
    with pytest.raises(ValueError, match="accepted"):
        sweep(ADAM, LOSS, variant=Variant(), **(plain | changes))
