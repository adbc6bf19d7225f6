"""The package against the 40-digit transcription of the papers' formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import stepbias as sb
from stepbias.theory.memory import MemoryTerms, literal_field, literal_terms
from tests import oracle

ALGORITHMS = [
    oracle.Algorithm(name, epsilon, rho, eps, beta)
    for epsilon, eps in (("inside", 1e-2), ("inside", 1e-6), ("outside", 1e-3), ("outside", 1e-8))
    for name, beta, rho in (
        ("adam", 0.9, 0.999),
        ("adam", 0.5, 0.3),
        ("adam", 0.0, 0.9),
        ("rmsprop", 0.0, 0.9),
        ("rmsprop", 0.0, 0.0),
    )
]

# 1 - decay^(n+1) >= 1e-3 is known to 1e-16 absolutely, 1e-13 relative; it enters L and P through M,
# R and their own normalisation, besides some 40 ordinary roundings. Largest error seen: 2.3e-14.
TOLERANCE = 1e-12


def optimizer(algorithm: oracle.Algorithm) -> sb.Adam | sb.RMSProp:
    eps, eps_root = (0.0, algorithm.eps) if algorithm.epsilon == "inside" else (algorithm.eps, 0.0)
    if algorithm.name == "rmsprop":
        return sb.RMSProp(rho=algorithm.rho, eps=eps, eps_root=eps_root)
    return sb.Adam(beta=algorithm.beta, rho=algorithm.rho, eps=eps, eps_root=eps_root)


class Sample:
    """One random problem twice: for the package and for the oracle."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.m, self.p = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        units = self.p + 2
        data = (
            rng.normal(size=(self.m, units)),
            rng.normal(size=(units, self.p)),
            rng.uniform(0.0, 6.0, (self.m, units)),
        )
        self.exact = oracle.sinusoids(*data)
        self.loss = sb.Loss.sinusoids(*data)
        self.theta = rng.normal(size=self.p)
        self.n = int(rng.integers(0, 9))
        self.schedule = rng.integers(0, self.m, self.n + 1)


class Rounded:
    """The oracle's loss as float64 functions, for the literal sums: no loss code of the package."""

    def __init__(self, exact: oracle.MpLoss) -> None:
        self.dim, self.exact = exact.dim, exact

    def gradient(self, b: int, theta: Any) -> NDArray[np.float64]:
        return np.array(self.exact.gradient(b, oracle.vector(theta)), dtype=np.float64)

    def hessian(self, b: int, theta: Any) -> NDArray[np.float64]:
        return np.array(self.exact.hessian(b, oracle.vector(theta)), dtype=np.float64)


def assert_sums(actual: Any, exact: dict[str, list[Any]]) -> None:
    assert tuple(actual._fields) == tuple(exact)
    for name, value in zip(actual._fields, actual, strict=True):
        expected = np.array(exact[name], dtype=np.float64)
        scale = max(1.0, float(np.abs(expected).max()))
        assert np.abs(value - expected).max() <= TOLERANCE * scale, (name, value, expected)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_literal_sums(algorithm: oracle.Algorithm, seed: int) -> None:
    s = Sample(seed)
    exact = oracle.memory_sums(algorithm, s.exact, s.theta, s.n, s.schedule)
    rule = optimizer(algorithm)
    actual = literal_terms(rule, Rounded(s.exact), s.theta, s.n, s.schedule)
    assert_sums(actual, exact)
    field = oracle.field(algorithm, s.exact, s.theta, s.n, 0.05, s.schedule)
    # From the rounded exact sums: what is tested is the field's formula, not the sums again.
    rounded = MemoryTerms(*(np.array(exact[k], dtype=np.float64) for k in MemoryTerms._fields))
    np.testing.assert_allclose(
        literal_field(rounded, float(rule.eps), 0.05),
        np.array(field, dtype=np.float64),
        rtol=1e-13,
        atol=1e-13,
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_memory_terms(algorithm: oracle.Algorithm, seed: int) -> None:
    s = Sample(seed)
    exact = oracle.memory_sums(algorithm, s.exact, s.theta, s.n, s.schedule)
    actual = sb.memory_terms(optimizer(algorithm), s.loss, s.theta, s.n, schedule=s.schedule)
    assert_sums(actual, exact)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_vector_field(algorithm: oracle.Algorithm, seed: int, order: int) -> None:
    s = Sample(seed)
    h = 1e-3
    exact = oracle.field(algorithm, s.exact, s.theta, s.n, h, s.schedule, order=order)
    actual = sb.vector_field(
        optimizer(algorithm), s.loss, s.theta, s.n, h, schedule=s.schedule, order=order
    )
    expected = np.array(exact, dtype=np.float64)
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(actual - expected).max() <= TOLERANCE * scale


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_iterates(algorithm: oracle.Algorithm, seed: int) -> None:
    s = Sample(seed)
    steps, h = 8, 0.05
    schedule = np.random.default_rng(seed + 100).integers(0, s.m, steps)
    exact = oracle.iterates(algorithm, s.exact, s.theta, h, schedule)
    actual = sb.iterate(optimizer(algorithm), s.loss, s.theta, h, steps, schedule=schedule)
    np.testing.assert_allclose(actual, np.array(exact, dtype=np.float64), rtol=0, atol=TOLERANCE)


def test_bilinear_loss() -> None:
    algorithm = oracle.Algorithm("adam", "inside", 0.999, 1e-6, 0.9)
    exact = oracle.bilinear(2.0, 1.5)
    path = oracle.iterates(algorithm, exact, [2.8, 3.5], 1e-3, [0] * 10)
    actual = sb.iterate(optimizer(algorithm), sb.Loss.bilinear(), [2.8, 3.5], 1e-3, 10)
    np.testing.assert_allclose(actual, np.array(path, dtype=np.float64), rtol=0, atol=TOLERANCE)


def test_oracle_is_consistent_with_itself() -> None:
    # The field must turn the iterates' step into a local error of third order: halving h divides
    # |theta(h) - theta^(1)| by 8. The first step from rest needs no memory: n = 0.
    algorithm = oracle.Algorithm("adam", "inside", 0.9, 1e-2, 0.5)
    loss = oracle.sinusoids([[1.0, 0.5]], [[1.0, 2.0], [-0.5, 0.7]], [[0.3, 1.1]])
    start = oracle.vector([0.2, -0.4])
    defects = []
    for h in (1e-2, 5e-3):
        end = oracle.iterates(algorithm, loss, [0.2, -0.4], h, [0])[1]
        here, pieces = start, 8  # midpoint rule: error h^3 / pieces^2
        for _ in range(pieces):
            slope = oracle.field(algorithm, loss, here, 0, h, [0])
            middle = [x + h / pieces / 2 * v for x, v in zip(here, slope, strict=True)]
            slope = oracle.field(algorithm, loss, middle, 0, h, [0])
            here = [x + h / pieces * v for x, v in zip(here, slope, strict=True)]
        defects.append(max(abs(a - b) for a, b in zip(here, end, strict=True)))
    assert float(defects[0] / defects[1]) == pytest.approx(8.0, rel=0.1)
