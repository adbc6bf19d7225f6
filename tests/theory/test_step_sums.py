"""Sums of all steps as arrays against the printed double sums; the limit of RMSProp."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.theory.memory import literal_field, literal_terms
from stepbias.theory.optimizers import Adam, RMSProp
from stepbias.theory.rmsprop_limit import limit_field, limit_field_first
from stepbias.theory.step_sums import averages, step_sums

Floats = NDArray[np.float64]

# Some hundred additions of numbers of order one, and divisions by R of order 1: 100 * 2^-53 * a few.
TOLERANCE = 1e-13

OPTIMIZERS: tuple[Adam | RMSProp, ...] = (
    Adam(0.8, 0.9, 1e-2, 0.0),
    Adam(0.6, 0.95, 0.0, 0.3),
    RMSProp(0.7, 0.2, 0.0),
    RMSProp(0.5, 0.0, 0.1),
)


def all_sums(loss: Loss, theta: Floats, schedule: NDArray[np.int64]) -> Any:
    """Sums of all four optimizers at one point."""
    names = ("beta", "rho", "eps", "eps_root", "bias_correction")
    beta, rho, eps, eps_root, corrected = (
        np.array([float(getattr(o, name)) for o in OPTIMIZERS]) for name in names
    )
    given = averages(beta, rho, eps, eps_root, corrected, len(schedule))
    gradients = np.stack([loss.gradient(int(b), theta) for b in schedule])
    hessians = np.stack([loss.hessian(int(b), theta) for b in schedule])
    shape = (len(OPTIMIZERS), 1)
    return step_sums(
        given,
        np.broadcast_to(gradients, (*shape, *gradients.shape)),
        np.broadcast_to(hessians, (*shape, *hessians.shape)),
    )


@pytest.mark.parametrize("n", [0, 1, 6])
def test_sums_are_the_printed_ones(n: int) -> None:
    loss = Loss.random("sinusoid", 3, 2, seed=5)
    theta = np.array([0.3, -0.2, 0.7])
    schedule = np.array([0, 1, 1, 0, 1, 0, 0])[: n + 1]
    found = all_sums(loss, theta, schedule)
    h = 0.1
    for row, optimizer in enumerate(OPTIMIZERS):
        terms = literal_terms(optimizer, loss, theta, n, schedule)
        for name, own in (("P", "P"), ("Pbar", "Pbar"), ("L", "L"), ("Lbar", "Lbar")):
            expected = getattr(terms, name)
            scale = 1.0 + np.abs(expected).max()
            assert np.abs(getattr(found, own)[row, 0] - expected).max() < TOLERANCE * scale
        assert np.allclose(found.R[row, 0, -1], terms.R, rtol=TOLERANCE, atol=0)
        assert np.allclose(found.N[row, 0, -1], terms.M, rtol=0, atol=TOLERANCE)
        field = literal_field(terms, float(optimizer.eps), h)
        own = -found.F[row, 0, -1] + h * (found.A - found.B)[row, 0]
        # 1 / R^3 enters, R >= 0.05 here
        assert np.abs(own - field).max() < TOLERANCE * np.abs(field).max() / terms.R.min() ** 2
        # every earlier step l alone, and the inner sums: U_k = Hessian times the steps k .. n - 1
        for step in range(n + 1):
            early = literal_terms(optimizer, loss, theta, step, schedule)
            direction = early.M / (early.R + optimizer.eps)
            assert np.allclose(found.F[row, 0, step], direction, rtol=TOLERANCE * 10, atol=0)
        for k in range(n + 1):
            inner = found.F[row, 0, k:n].sum(axis=0)
            hessian = loss.hessian(int(schedule[k]), theta)
            assert np.allclose(found.U[row, 0, k], hessian @ inner, rtol=0, atol=1e-11)
            last = hessian @ found.F[row, 0, n]
            assert np.allclose(found.S[row, 0, k], last, rtol=0, atol=1e-11)


def test_limit_has_two_equal_forms_and_a_wrong_one() -> None:
    rng = np.random.default_rng(3)
    g, half = rng.normal(size=3), rng.normal(size=(3, 3))
    hessian = half + half.T
    one = limit_field(g, hessian, 0.9, 0.01)
    # one division and a product apart: a few roundings of numbers of this size
    assert np.allclose(one, limit_field_first(g, hessian, 0.9, 0.01), rtol=1e-14, atol=1e-14)
    printed = limit_field(g, hessian, 0.9, 0.01, sign=1.0)
    assert np.allclose(one + printed, -2.0 * np.sign(g), rtol=1e-14)
    assert np.abs(one - printed).max() > 0.01
