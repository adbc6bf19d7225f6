"""The checks of the instrument on itself: what each lets pass and what it stops."""

from __future__ import annotations

import numpy as np
import pytest

from stepbias.verify.integrity import (
    CHECKS,
    claim_failure,
    collect,
    failures,
    sampler_failure,
    withhold,
    worst,
)
from tests.verify.campaign import a_fit

SOUND = np.array([[0.0, 0.9, 1e-10, 1e-9]])


def test_sound_measurements_fail_nothing() -> None:
    assert failures(SOUND) == [""]
    fit = a_fit("confirmed")
    assert withhold([fit], SOUND) == [fit]
    assert withhold([fit], None) == [fit]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("start", 1e-300, "1e-300 apart before the first step"),
        ("precision", 0.0, "float32"),
        ("products", 0.01, "differ from differences of the gradients by 0.01"),
        ("solver", 0.0, "nothing bounds the solver error"),
    ],
)
def test_each_check_stops_what_it_names(name: str, value: float, told: str) -> None:
    integrity = np.repeat(SOUND, 2, axis=0)
    integrity[1, [check.name for check in CHECKS].index(name)] = value
    reasons = failures(integrity)
    assert reasons[0] == ""
    assert told in reasons[1]
    for verdict in ("confirmed", "refuted", "inconclusive"):
        kept, stopped = withhold([a_fit(verdict), a_fit(verdict)], integrity)
        assert kept.verdict == verdict
        assert stopped.verdict == "inconclusive"
        assert stopped.reason.startswith("the instrument fails its own check")
    assert "1 of 2 problems" in claim_failure([{"integrity": integrity}])


def test_the_worst_step_decides_but_for_the_solver() -> None:
    start = np.array([[0.0, 2.0, 1.0]])
    grain, solver = np.array([[1.0, 0.5, 0.7]]), np.array([[1e-6, 0.0, np.nan]])
    np.testing.assert_array_equal(
        collect(start, grain, np.array([3.0]), solver), [[2.0, 0.5, 3.0, 1e-6]]
    )


def test_of_several_measurements_of_a_problem_the_worst_counts() -> None:
    several = np.array([[[0.0, 0.9, 1e-10, np.inf], [1e-9, 1e-7, 1e-3, 0.0]]])
    np.testing.assert_array_equal(worst(several), [[1e-9, 1e-7, 1e-3, 0.0]])
    np.testing.assert_array_equal(worst(several[:, ::-1]), worst(several))


def test_what_is_not_finite_fails_nothing() -> None:
    nothing = np.full((1, 2), np.nan)
    found = collect(nothing, nothing, np.array([np.nan]), nothing)
    assert failures(found) == [""]


def test_a_sampler_of_quadratics_is_told_from_one_that_curves_half_of_its_losses() -> None:
    assert sampler_failure(np.array([0.3, 0.0, 0.5, 1e-15])) == ""
    assert "on 1 of 4 problems only" in sampler_failure(np.array([0.3, 0.0, 1e-3, 1e-15]))
    assert sampler_failure(np.empty(0)) == ""
    curved, flat = {"curvature": np.full(3, 0.3)}, {"curvature": np.zeros(5)}
    assert claim_failure([curved]) == claim_failure([]) == ""
    assert "on 3 of 8 problems only" in claim_failure([curved, flat])
