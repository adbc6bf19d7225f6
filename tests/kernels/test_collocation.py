"""Collocation: its matrices, its derivatives, and the flow it follows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stepbias.kernels.collocation import (
    NODES,
    RidgePoints,
    flow_pieces,
    rounding_gain,
    rule,
    time_derivative,
)
from stepbias.kernels.loss import Loss
from stepbias.kernels.trajectories import flow, vector_field
from stepbias.theory.optimizers import Adam
from stepbias.theory.step_sums import Averages, averages

Floats = NDArray[np.float64]

STEPS = 5
SCHEDULE = np.array([0, 1, 1, 0, 1])
OPTIMIZER = Adam(0.6, 0.8, 0.0, 0.3)


def numbers(problems: int) -> Averages:
    beta, rho, eps, eps_root, corrected = np.tile([[0.6], [0.8], [0.0], [0.3], [1.0]], problems)
    return averages(beta, rho, eps, eps_root, corrected, STEPS)


def starts(problems: int) -> Floats:
    return np.random.default_rng(1).normal(size=(problems, 2))


@pytest.mark.parametrize("nodes", [4, NODES, 14])
def test_matrices_are_exact_on_polynomials(nodes: int) -> None:
    r = rule(nodes)
    assert (r.x[0], r.x[-1]) == (0.0, 1.0)
    for power in range(nodes):
        values = r.x**power
        # entries up to nodes^2, nodes additions
        assert np.allclose(r.integral @ values, r.x ** (power + 1) / (power + 1), atol=1e-14)
        slope = power * r.x ** max(power - 1, 0)
        assert np.allclose(r.derivative @ values, slope, atol=2e-13 * nodes**2)


def test_derivatives_in_time_and_their_rounding() -> None:
    h = np.array([0.5, 2.0])
    t = h[:, None] * rule().x
    values = np.stack([np.sin(t), np.cos(t)], axis=2)
    first, second = (time_derivative(values, h, NODES, order) for order in (1, 2))
    exact_first = np.stack([np.cos(t), -np.sin(t)], axis=2)
    for found, exact, order in ((first, exact_first, 1), (second, -values, 2)):
        # truncation of a degree-9 polynomial over h = 2 is below 1e-8; rounding below its stated gain
        assert np.abs(found[1] - exact[1]).max() < 2e-6
        limit = 1e-9 + 2.2e-16 * rounding_gain(NODES, order) / h[0] ** order
        assert np.abs(found[0] - exact[0]).max() < limit
    noise = 1e-9 * (-1.0) ** np.arange(NODES)
    gain = np.abs(time_derivative((values + noise[:, None]), h, NODES, 2) - second).max(axis=(1, 2))
    assert np.all(gain <= 1e-9 * rounding_gain(NODES, 2) / h**2 * 1.01)
    assert gain[0] > 0.1e-9 * rounding_gain(NODES, 2) / h[0] ** 2  # and it is no idle bound


@pytest.mark.parametrize("family", ["sinusoid", "logistic", "log-cosh", "perturbed-quadratic"])
def test_points_are_the_loss(family: str) -> None:
    loss = Loss.random(family, 2, 2, problems=3, seed=7)
    theta = np.random.default_rng(2).normal(size=(3, 4, 2))
    gradients, hessians = RidgePoints(loss)(theta)
    for q in range(4):
        for b in range(2):
            # eight rows with amplitudes of order one, elementary functions to a few units in the last place
            expected = loss.gradient(b, theta[:, q])
            assert np.abs(gradients[:, q, b] - expected).max() < 3e-14
            assert np.abs(hessians[:, q, b] - loss.hessian(b, theta[:, q])).max() < 3e-14


@pytest.mark.parametrize(
    "loss", [Loss.random("sinusoid", 2), Loss.random("log-sum-exp", 2, problems=2)]
)
def test_other_losses_are_refused(loss: Loss) -> None:
    with pytest.raises(TypeError, match="accepted: an ensemble of ridge losses"):
        RidgePoints(loss)


def test_pieces_follow_the_modified_equation() -> None:
    loss = Loss.random("sinusoid", 2, 2, problems=3, seed=4)
    theta0, h = starts(3), np.array([0.02, 0.05, 0.1])
    schedule = np.tile(SCHEDULE, (3, 1))
    pieces = list(flow_pieces(RidgePoints(loss), numbers(3), theta0, h, schedule))
    end = theta0
    for piece in pieces:
        # continuous, and its increments are those of theta
        assert np.array_equal(piece.theta[:, 0], end)
        assert np.allclose(piece.theta - end[:, None], piece.increment, atol=4e-16)
        end = piece.theta[:, -1]
        for q in (0, 4, NODES - 1):
            field = vector_field(OPTIMIZER, loss, piece.theta[:, q], piece.n, h, SCHEDULE)
            # the compiled field against the array formulas: some dozens of roundings over R^2 >= 0.3
            assert np.abs(piece.rate[:, q] - field).max() < 1e-13
        slope = time_derivative(piece.increment, h, NODES)
        limit = 1e-9 + 1e-15 * rounding_gain(NODES, 1) / h.min()
        assert np.abs(slope - piece.rate).max() < limit


def test_end_point_is_that_of_the_integrator() -> None:
    loss = Loss.random("sinusoid", 2, 2, problems=2, seed=4)
    theta0, h = starts(2), np.array([0.02, 0.04])
    schedule = np.tile(SCHEDULE, (2, 1))
    pieces = list(flow_pieces(RidgePoints(loss), numbers(2), theta0, h, schedule))
    found = flow(OPTIMIZER, loss, theta0, h, STEPS, SCHEDULE)
    for piece in pieces:
        # two classical Runge-Kutta steps on each piece: (h/2)^5 / 120 times derivatives of some ten
        assert np.abs(piece.theta[:, -1] - found[:, piece.n + 1]).max() < 1e-8


def test_a_problem_does_not_depend_on_its_neighbours() -> None:
    loss = Loss.random("sinusoid", 2, 2, problems=24, seed=9)
    theta0, h = starts(24), np.geomspace(0.01, 0.5, 24)
    schedule = np.tile(SCHEDULE, (24, 1))
    *_, together = flow_pieces(RidgePoints(loss), numbers(24), theta0, h, schedule)
    for k in range(0, 24, 3):  # each stands still after a number of sweeps of its own
        alone = RidgePoints(loss.select([k]))
        *_, last = flow_pieces(alone, numbers(1), theta0[[k]], h[[k]], schedule[[k]])
        assert np.array_equal(last.theta[0], together.theta[k])


def test_what_does_not_stand_still_is_nan() -> None:
    loss = Loss.random("sinusoid", 2, 2, problems=2, seed=9)
    h = np.array([0.01, 300.0])
    schedule = np.tile(SCHEDULE, (2, 1))
    with np.errstate(invalid="ignore"):
        first = next(flow_pieces(RidgePoints(loss), numbers(2), starts(2), h, schedule))
    assert np.isfinite(first.theta[0]).all()
    assert np.isnan(first.theta[1]).all()
