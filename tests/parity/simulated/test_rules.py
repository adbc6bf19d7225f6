"""Every optimizer and every schedule in the simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.parity import cases, comparisons
from tests.parity.cases import full_batch_case, rule_case, short_window_case

PAIRS = [(optimizer, "explicit per problem") for optimizer in cases.OPTIMIZERS]
PAIRS += [("per problem", schedule) for schedule in cases.SCHEDULES][:-1]


@pytest.fixture(params=PAIRS, ids="; ".join)
def case(request: pytest.FixtureRequest) -> cases.Case:
    return rule_case(*request.param)


@pytest.mark.parametrize("n", [0, 1, 3, 7])
def test_at_a_point(case: cases.Case, n: int) -> None:
    comparisons.terms(case, n)
    comparisons.field(case, n)


def test_trajectories(case: cases.Case) -> None:
    comparisons.iterate(case)
    for order in (1, 2):
        comparisons.flow(case, order)


def test_global_error(case: cases.Case) -> None:
    comparisons.global_error(case)


def test_drift(case: cases.Case) -> None:
    comparisons.iterate_drift(case, cases.STEPS)


def test_steps_below_the_spacing_of_doubles() -> None:
    comparisons.small_steps()


def test_blocks_that_lanes_do_not_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    for threads in ("1", "3", "64"):
        monkeypatch.setenv("STEPBIAS_CUDA_BLOCK", threads)
        case = rule_case("per problem", "explicit per problem")
        comparisons.terms(case, 3)
        comparisons.iterate(case)


@pytest.mark.parametrize("n", [9, 10, 14])
def test_steps_that_have_forgotten_the_first_ones(n: int) -> None:
    # The window is 11 steps: the sums begin with averages from the tables from step 12 on.
    case = short_window_case()
    assert case.ensemble(15, case.h).rule(case.optimizer, 0).window == 11
    comparisons.terms(case, n)
    comparisons.field(case, n)


@pytest.mark.parametrize("optimizer", cases.OPTIMIZERS)
def test_full_batch(optimizer: str) -> None:
    case = full_batch_case(optimizer)
    comparisons.terms(case, 3)
    comparisons.flow(case, 2)


def test_full_batch_that_has_settled() -> None:
    # Without bias correction the directions are equal from twice the window on, 24 steps.
    case = cases.settled_case()
    assert case.ensemble(26, case.h).rule(case.optimizer, 0).settled == 24
    for n in (23, 24, 25):
        comparisons.terms(case, n)


def test_full_batch_past_the_end_of_its_tables() -> None:
    case = cases.settled_case()
    assert case.ensemble(46, case.h).rule(case.optimizer, 0).last == 37
    for n in (37, 38, 45):
        comparisons.terms(case, n)
        comparisons.field(case, n)
    slow = replace(
        case, h=np.asarray(case.h) / 64.0
    )  # 46 steps in a box where the derivatives are known
    comparisons.iterate(replace(slow, steps=46))
