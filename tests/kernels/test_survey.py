"""The survey: how far a path goes, and the smallest R of a step still in memory."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import stepbias as sb
from stepbias.kernels.blocks import prepare
from stepbias.kernels.survey import survey
from stepbias.theory.optimizers import AdamFamily
from tests import reference
from tests.reference import weights

LOSS = sb.Loss.random("sinusoid", dim=3, batches=2, problems=4, seed=2)
THETA = np.random.default_rng(0).normal(size=(4, 3))
STEPS = 25
SCHEDULE = sb.Reshuffled(2, seed=4).indices(STEPS)


def smallest(
    optimizer: AdamFamily, loss: sb.Loss, path: NDArray[np.float64], schedule: NDArray[np.int64]
) -> float:
    """By its definition: the least R^(l), without epsilon, all gradients at theta^(n), l <= n, rho^(n-l) above 2^-53."""
    least = np.inf
    for n, theta in enumerate(path[:-1]):
        g = np.array([loss.gradient(int(b), theta) for b in schedule[: n + 1]])
        roots = np.sqrt(weights(float(optimizer.rho), n, True) @ g**2)
        counts = float(optimizer.rho) ** np.arange(n, -1, -1.0) > 2.0**-53
        least = min(least, roots[counts].min())
    return float(least)


@pytest.mark.parametrize(
    "optimizer",
    [
        sb.Adam(0.8, 0.9, 1e-3),
        sb.Adam(0.8, 0.3, 0.0, 1e-2),
        sb.Adam(0.8, 0.9, 1e-3, 0.0, False),
        sb.RMSProp(0.2, 1e-3),
        sb.RMSProp(0.0, 1e-3),
    ],
)
def test_survey_sees_what_its_definition_says(optimizer: AdamFamily) -> None:
    found = survey(prepare(optimizer, LOSS, THETA, 0.05, STEPS, SCHEDULE, "cpu"), STEPS)
    for k in range(4):
        loss = LOSS.select(k)
        path = reference.iterates(optimizer, loss, THETA[k], 0.05, SCHEDULE)
        np.testing.assert_allclose(
            found.distance[k], np.linalg.norm(path[-1] - path[0]), rtol=1e-11
        )
        np.testing.assert_allclose(
            found.root[k], smallest(optimizer, loss, path, SCHEDULE), rtol=1e-9
        )


def test_zero_of_a_gradient_component_is_noticed() -> None:
    # cos(theta_0) vanishes at pi/2, where the path starts; the other component is of order one.
    loss = sb.Loss.sinusoids([[1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0]])
    optimizer = sb.Adam(0.9, 0.99, 1e-3)
    near, far = (
        survey(prepare(optimizer, loss, [start, 0.3], 1e-4, 5, None, "cpu"), 5)
        for start in (np.pi / 2, 0.5)
    )
    assert near.root[0] < 1e-15
    assert far.root[0] > 0.5


def test_zero_of_one_batch_at_its_only_visit_is_noticed() -> None:
    # Batch 0, whose gradient vanishes, is visited at the first step alone: R^(0) = 0 while that step is in memory.
    loss = sb.Loss.sinusoids([[0.0], [1.0]], [[1.0]], [[0.0], [0.3]])
    schedule = np.ones(60, dtype=np.int64)
    optimizer = sb.Adam(0.5, 0.3, 1e-3)
    clean = survey(prepare(optimizer, loss, [0.1], 1e-3, 60, schedule, "cpu"), 60)
    schedule[0] = 0
    marked = survey(prepare(optimizer, loss, [0.1], 1e-3, 60, schedule, "cpu"), 60)
    assert marked.root[0] == 0.0
    assert clean.root[0] > 0.9


def test_overflowing_problem_is_reported_alone() -> None:
    theta = THETA.copy()
    theta[2] = 1e308
    optimizer = sb.Adam(0.8, 0.9, 1e-3)
    h = np.array([0.05, 0.05, 1e308, 0.05])
    found = survey(prepare(optimizer, LOSS, theta, h, STEPS, SCHEDULE, "cpu"), STEPS)
    plain = survey(prepare(optimizer, LOSS, THETA, 0.05, STEPS, SCHEDULE, "cpu"), STEPS)
    others = [0, 1, 3]
    assert not np.isfinite(found.distance[2])
    np.testing.assert_array_equal(found.distance[others], plain.distance[others])
    np.testing.assert_array_equal(found.root[others], plain.root[others])
    np.testing.assert_array_equal(found.curvature[others], plain.curvature[others])
