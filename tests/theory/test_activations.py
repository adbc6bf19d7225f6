"""Activations: slopes are derivatives, suprema are attained."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from stepbias.theory import activations as act

EXACT = [
    mpmath.sin,
    lambda z: mpmath.log(1 + mpmath.exp(z)),
    lambda z: mpmath.log(mpmath.cosh(z)),
    lambda z: mpmath.exp(-z * z / 2),
    lambda z: z * z / 2,
    mpmath.tanh,
]


def derivative(kind: int, z: float, order: int) -> float:
    with mpmath.workdps(60):
        return float(mpmath.diff(EXACT[kind], mpmath.mpf(z), order))


@pytest.mark.parametrize("kind", range(6), ids=act.NAMES[:6])
def test_value_and_slopes(kind: int) -> None:
    for z in np.random.default_rng(kind).uniform(-6, 6, 40):
        slope, curvature = act.SLOPES[kind](z)
        # a few rounding units; log cosh near 0 subtracts log 2, so absolute
        assert abs(act.VALUES[kind](z) - derivative(kind, z, 0)) <= 1e-15 * (
            1 + abs(derivative(kind, z, 0))
        )
        assert abs(slope - derivative(kind, z, 1)) <= 1e-15 * (1 + abs(z))
        assert abs(curvature - derivative(kind, z, 2)) <= 1e-15 * (1 + z * z)


@pytest.mark.parametrize("kind", range(6), ids=act.NAMES[:6])
def test_suprema_are_the_maxima_of_dense_samples(kind: int) -> None:
    rng = np.random.default_rng(kind)
    for _ in range(4):
        low = rng.uniform(-4, 3)
        high = low + rng.uniform(0, 4)
        points = np.linspace(low, high, 101)
        for order in range(5):
            largest = max(abs(derivative(kind, z, order)) for z in points)
            bound = float(act.supremum(kind, order, np.array(low), np.array(high)))
            assert bound >= largest * (1 - 1e-15)
            # between two sample points, 0.04 apart, a maximum is missed by at most f'' 0.02^2 / 2 with f'' < 25
            assert bound <= largest + 0.005 + 1e-12


def test_suprema_of_points_and_wide_intervals() -> None:
    z = np.array([0.3, -1.2])
    for kind in range(6):
        for order in range(5):
            exact = [abs(derivative(kind, v, order)) for v in z]
            assert np.allclose(act.supremum(kind, order, z, z), exact, rtol=1e-12, atol=1e-12)
    wide = np.array(-50.0), np.array(50.0)
    assert act.supremum(act.SINE, 3, *wide) == pytest.approx(1.0)
    assert act.supremum(act.SOFTPLUS, 2, *wide) == pytest.approx(0.25)
    assert act.supremum(act.SOFTPLUS, 4, *wide) == pytest.approx(0.125)
    assert act.supremum(act.GAUSSIAN, 4, *wide) == pytest.approx(3.0)
    assert act.supremum(act.TANH, 2, *wide) == pytest.approx(4 / (3 * np.sqrt(3)))


def test_supremum_rejects() -> None:
    with pytest.raises(ValueError, match="order = 5"):
        act.supremum(act.SINE, 5, np.zeros(1), np.ones(1))
    with pytest.raises(ValueError, match="kind = 8"):
        act.supremum(8, 1, np.zeros(1), np.ones(1))


@pytest.mark.parametrize(
    ("kind", "exact", "slope"),
    [(act.ABS, abs, np.sign), (act.RELU, lambda z: max(z, 0.0), lambda z: float(z > 0.0))],
)
def test_kinked_activations_off_the_kink(kind: int, exact: Any, slope: Any) -> None:
    for z in np.random.default_rng(kind).uniform(-6, 6, 40):
        assert act.VALUES[kind](z) == exact(z)
        assert act.SLOPES[kind](z) == (slope(z), 0.0)
    left, right = np.array([-2.0, 0.5]), np.array([1.0, 3.0])
    assert act.supremum(kind, 0, left, right) == pytest.approx(
        [max(abs(exact(-2.0)), 1.0), 3.0], rel=1e-12
    )
    assert act.supremum(kind, 1, left, right) == pytest.approx([1.0, 1.0], rel=1e-12)
    for order in (2, 3, 4):  # the kink has no second derivative; off it there is none to bound
        assert act.supremum(kind, order, left, right).tolist() == [np.inf, 0.0]
