"""Heavy ball and the flow of a field linear in gradients: compiled against plain loops and against SciPy's integrator."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from stepbias.kernels.descent import displacement, lockstep
from stepbias.kernels.loss import Loss
from stepbias.kernels.measure import Method
from stepbias.kernels.trajectory import CLASSICAL
from stepbias.theory import heavy_ball, shuffling

Floats = NDArray[np.float64]

STEPS, H, BETA = 12, 0.02, 0.7


def problems(batches: int, family: str = "sinusoid", dim: int = 3) -> tuple[Loss, Floats]:
    loss = Loss.random(family, dim, batches, problems=4, seed=11)
    return loss, np.random.default_rng(2).normal(size=(4, dim))


def classical(substeps: int) -> Method:
    """Classical Runge-Kutta steps on every piece of the coarser flow; the reported one takes twice as many."""
    return Method(CLASSICAL, 2 * substeps, CLASSICAL, substeps)


def iterates(loss: Loss, theta: Floats, h: float, beta: float, steps: int) -> list[Floats]:
    """The iteration as it is printed."""
    before, now = theta, theta
    path = [theta]
    for _ in range(steps):
        now, before = now - h * loss.gradient(0, now) + beta * (now - before), now
        path.append(now)
    return path


def pieces(loss: Loss, theta: Floats, h: float, lead: list[float], drag: list[float]) -> list[Floats]:  # fmt: skip
    """The piecewise flow of one problem after another, by an integrator of order 8 at its tightest."""
    path = [theta]
    for s, d in zip(lead, drag, strict=True):

        def field(_t: float, flat: Floats, s: float = s, d: float = d) -> Floats:
            point = flat.reshape(theta.shape)
            g = loss.gradient(0, point)
            return (-s * g - h * d * loss.hvp(0, point, g)).ravel()

        found = solve_ivp(field, (0.0, h), path[-1].ravel(), "DOP853", rtol=1e-13, atol=1e-15)
        path.append(found.y[:, -1].reshape(theta.shape))
    return path


@pytest.mark.parametrize("family", ["sinusoid", "log-sum-exp"])
def test_lockstep_against_plain_loops(family: str) -> None:
    loss, theta = problems(1, family)
    lead, drag = heavy_ball.tables("", STEPS, BETA)
    found = lockstep(loss, theta, theta, H, BETA, lead, drag, method=classical(64))
    walk, flow = iterates(loss, theta, H, BETA, STEPS), pieces(loss, theta, H, lead, drag)
    gaps = np.array([np.linalg.norm(a - b, axis=1) for a, b in zip(walk, flow, strict=True)])
    # the integrator's 1e-13 a piece on positions of order 1, and its own roundings
    np.testing.assert_allclose(found.largest, gaps.max(axis=0), rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.last, gaps[-1], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.difference, walk[-1] - flow[-1], rtol=0, atol=1e-11)
    assert found.largest.min() > 1e-6  # there is something to compare
    assert found.solver.max() < 1e-9


def test_starts_of_iterates_and_flow_may_differ() -> None:
    loss, theta = problems(1)
    lead, drag = heavy_ball.tables("", 1, BETA)
    moved = lockstep(loss, theta, theta + 1e-3, H, BETA, lead, drag)
    # one step changes a start's offset of 1e-3 sqrt(3) by about h |H| of it
    assert np.all(np.abs(moved.last / (1e-3 * np.sqrt(3.0)) - 1.0) < 0.5)


def test_local_defect_is_the_literal_one() -> None:
    loss, theta = problems(1)
    lead, drag = heavy_ball.tables("gamma = 1", STEPS, BETA)
    found = lockstep(loss, theta, theta, H, BETA, lead, drag, method=classical(32), local=True)
    flow = pieces(loss, theta, H, lead, drag)
    g = [loss.gradient(0, point) for point in flow]
    defects = []
    for n in range(STEPS):
        momentum = sum((BETA ** (n - k) * g[k] for k in range(n + 1)), np.zeros_like(theta))
        defects.append(np.linalg.norm(flow[n + 1] - flow[n] + H * momentum, axis=1))
    np.testing.assert_allclose(found.largest, np.max(defects, axis=0), rtol=0, atol=1e-12)


def test_solver_difference_shows_a_coarse_integration() -> None:
    loss, theta = problems(1)
    lead, drag = heavy_ball.tables("", 4, BETA)
    coarse, fine = (
        lockstep(loss, theta, theta, 0.2, BETA, lead, drag, method=classical(s)).solver
        for s in (1, 4)
    )
    assert np.all(coarse > 30.0 * fine)  # order 4: a factor 256 in the limit


def test_overflow_stays_visible() -> None:
    loss, theta = problems(1, "perturbed-quadratic")
    # a quadratic part and steps far beyond its stability: a factor of hundreds a step
    found = lockstep(loss, theta, theta, 1e3, 0.0, [1.0] * 200, [0.5] * 200)
    assert not np.any(np.isfinite(found.largest))


@pytest.mark.parametrize("name", ["", "without the index k", "h/4 without 1/m"])
def test_displacement_against_an_integrator(name: str) -> None:
    loss, theta = problems(3, dim=2)
    lead, bias = shuffling.mean_field(name, 3)
    h, time = 0.05, 0.15

    def field(_t: float, flat: Floats) -> Floats:
        point = flat.reshape(theta.shape)
        g = [loss.gradient(b, point) for b in range(3)]
        rate = np.zeros_like(theta)
        for a in range(3):
            mixed = sum((bias[a, b] * g[b] for b in range(3)), np.zeros_like(theta))
            rate -= lead[a] * g[a] + h * loss.hvp(a, point, mixed)
        return rate.ravel()

    found = displacement(loss, theta, h, time, lead, bias, 32)
    flow = solve_ivp(field, (0.0, time), theta.ravel(), "DOP853", rtol=1e-13, atol=1e-15)
    expected = flow.y[:, -1].reshape(theta.shape) - theta
    # 32 steps of order 4 over 0.15: (0.005)^4 of a fifth derivative of order 100, times the time
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert np.abs(found).max() > 0.01


def test_a_problem_does_not_depend_on_its_neighbours() -> None:
    loss, theta = problems(1)
    tables = heavy_ball.tables("", STEPS, BETA)
    every = lockstep(loss, theta, theta, H, BETA, *tables)
    alone = lockstep(loss.select([2]), theta[2:3], theta[2:3], H, BETA, *tables)
    assert alone.difference[0].tobytes() == every.difference[2].tobytes()
