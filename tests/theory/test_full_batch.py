"""The full-batch closed forms against the printed double sums and against their own limits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate

from stepbias.theory import full_batch
from stepbias.theory.memory import MemoryTerms, literal_field, literal_terms
from stepbias.theory.optimizers import Adam, RMSProp

Floats = NDArray[np.float64]


class Fixed:
    """A loss known at one point: one batch with given gradient and Hessian."""

    def __init__(self, dim: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.dim = dim
        self.g = rng.normal(size=dim)
        half = rng.normal(size=(dim, dim))
        self.H = half + half.T

    def gradient(self, b: int, theta: Floats) -> Floats:
        return self.g

    def hessian(self, b: int, theta: Floats) -> Floats:
        return self.H

    def hvp(self, v: Floats) -> Floats:
        return self.H @ v


def assert_close(actual: MemoryTerms, expected: MemoryTerms, tolerance: float) -> None:
    for name, a, e in zip(MemoryTerms._fields, actual, expected, strict=True):
        scale = max(1.0, float(np.abs(e).max()))
        assert np.abs(a - e).max() <= tolerance * scale, (name, a, e)


CONVENTIONS = [(0.0, 1e-2), (1e-2, 0.0), (1e-3, 1e-1), (1e-8, 0.0)]
STEPS = [0, 1, 2, 7, 40]
# The reference divides a double sum over n + 1 <= 41 steps, each term rounded a few times, by
# 1 - decay^(n+1) >= 1e-3: 41 * 4 * 1.1e-16 / 1e-3 at worst.
TOLERANCE = 2e-11


@pytest.mark.parametrize("decay", [0.0, 1e-9, 0.5, 0.9, 0.97, 0.999, 0.9999, 1 - 2**-30])
@pytest.mark.parametrize("n", [0, 1, 2, 5, 9, 50, 99, 100, 3000])
def test_mean_lag_keeps_its_digits(decay: float, n: int) -> None:
    with mp.workdps(50):
        d = mp.mpf(decay)
        exact = mp.fsum(j * d**j for j in range(n + 1)) / mp.fsum(d**j for j in range(n + 1))
        # The switch of formula is where the parts cancel to 1/20: 20 times a few roundings.
        assert abs(full_batch.mean_lag(decay, n) - exact) <= 2e-14 * exact


@pytest.mark.parametrize(("eps", "eps_root"), CONVENTIONS)
@pytest.mark.parametrize(("beta", "rho"), [(0.9, 0.999), (0.0, 0.5), (0.7, 0.0), (0.95, 0.9)])
@pytest.mark.parametrize("n", STEPS)
def test_adam_equals_the_printed_sums(
    n: int, beta: float, rho: float, eps: float, eps_root: float
) -> None:
    loss = Fixed(4, n)
    optimizer = Adam(beta, rho, eps, eps_root)
    expected = literal_terms(optimizer, loss, np.zeros(4), n, np.zeros(n + 1, dtype=np.int64))
    actual = full_batch.adam_terms(loss.g, loss.hvp, n, beta, rho, eps, eps_root)
    assert_close(actual, expected, TOLERANCE)


@pytest.mark.parametrize(("eps", "eps_root"), CONVENTIONS)
@pytest.mark.parametrize("rho", [0.0, 0.9, 0.999])
@pytest.mark.parametrize("n", STEPS)
def test_rmsprop_equals_the_printed_sums(n: int, rho: float, eps: float, eps_root: float) -> None:
    loss = Fixed(4, n)
    optimizer = RMSProp(rho, eps, eps_root)
    expected = literal_terms(optimizer, loss, np.zeros(4), n, np.zeros(n + 1, dtype=np.int64))
    actual = full_batch.rmsprop_terms(loss.g, loss.hvp, n, rho, eps, eps_root)
    assert_close(actual, expected, TOLERANCE)
    assert (actual.L == 0.0).all()


@pytest.mark.parametrize(("eps", "eps_root"), CONVENTIONS)
@pytest.mark.parametrize("n", STEPS)
def test_uncorrected_adam_equals_the_printed_sums(n: int, eps: float, eps_root: float) -> None:
    loss = Fixed(3, n)
    optimizer = Adam(0.8, 0.95, eps, eps_root, bias_correction=False)
    expected = literal_terms(optimizer, loss, np.zeros(3), n, np.zeros(n + 1, dtype=np.int64))
    actual = full_batch.uncorrected_terms(loss.g, loss.hvp, n, 0.8, 0.95, eps, eps_root)
    assert_close(actual, expected, TOLERANCE)


@pytest.mark.parametrize(("eps", "eps_root"), CONVENTIONS)
def test_limit_of_many_steps(eps: float, eps_root: float) -> None:
    loss = Fixed(4, 1)
    beta, rho, n = 0.9, 0.95, 900  # 900 * 0.95^900 = 8e-18
    limit = full_batch.limit_terms(loss.g, loss.hvp, beta, rho, eps, eps_root)
    adam = full_batch.adam_terms(loss.g, loss.hvp, n, beta, rho, eps, eps_root)
    assert_close(adam, limit, 1e-14)
    # Without correction the two limits agree too, and RMSProp is beta = 0.
    slow = full_batch.uncorrected_terms(loss.g, loss.hvp, n, beta, rho, eps, eps_root)
    assert_close(slow, limit, TOLERANCE)
    rmsprop = full_batch.rmsprop_terms(loss.g, loss.hvp, n, rho, eps, eps_root)
    assert_close(
        rmsprop, full_batch.limit_terms(loss.g, loss.hvp, 0.0, rho, eps, eps_root), TOLERANCE
    )


@pytest.mark.parametrize(("eps", "eps_root"), CONVENTIONS)
def test_limit_field_is_the_theorems_field(eps: float, eps_root: float) -> None:
    loss = Fixed(4, 2)
    beta, rho, h = 0.9, 0.95, 1e-2
    limit = full_batch.limit_terms(loss.g, loss.hvp, beta, rho, eps, eps_root)
    field = full_batch.limit_field(loss.g, loss.hvp, h, beta, rho, eps, eps_root)
    np.testing.assert_allclose(field, literal_field(limit, eps, h), rtol=1e-13)


def test_bias_as_printed_inside() -> None:
    loss = Fixed(5, 3)
    beta, rho, h, eps = 0.9, 0.99, 1e-2, 0.3
    square = loss.g**2 + eps
    norm_gradient = loss.H @ (loss.g / np.sqrt(square))
    slow, fast = (1 + rho) / (1 - rho), (1 + beta) / (1 - beta)
    printed = h / 2 * (fast - slow + slow * eps / square) * norm_gradient
    actual = full_batch.limit_bias(loss.g, loss.hvp, h, beta, rho, 0.0, eps)
    np.testing.assert_allclose(actual, printed, rtol=1e-12)
    # The earlier version's RMSProp term, added to -gradient instead of to gradient.
    earlier = h * (rho / (1 - rho) * loss.g**2 - eps / 2) / square * norm_gradient
    rmsprop = full_batch.limit_bias(loss.g, loss.hvp, h, 0.0, rho, 0.0, eps)
    np.testing.assert_allclose(-rmsprop, earlier, rtol=1e-12)


def test_small_and_large_epsilon() -> None:
    loss = Fixed(3, 4)
    beta, rho, h = 0.9, 0.99, 1e-2
    # The corrections are eps / g^2 times 2 / (1 - rho), respectively g^2 / eps times the same.
    small = full_batch.limit_bias(loss.g, loss.hvp, h, beta, rho, 0.0, 1e-14)
    one_norm = loss.H @ np.sign(loss.g)
    coefficient = full_batch.penalty_coefficient(beta, rho)
    np.testing.assert_allclose(small, h / 2 * coefficient * one_norm, rtol=1e-9)
    eps = 1e14
    large = full_batch.limit_bias(loss.g, loss.hvp, h, beta, rho, 0.0, eps)
    squared_norm = 2.0 * loss.H @ loss.g
    expected = h * full_batch.squared_norm_coefficient(beta, eps) * squared_norm
    np.testing.assert_allclose(large, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("beta", "rho", "sign"), [(0.9, 0.99, -1), (0.99, 0.9, 1), (0.9, 0.9, 0), (0.0, 0.0, 0)]
)
def test_sign_of_the_penalty(beta: float, rho: float, sign: int) -> None:
    assert np.sign(full_batch.penalty_coefficient(beta, rho)) == sign


@pytest.mark.parametrize(("eps", "eps_root"), CONVENTIONS[:3])
def test_one_norm_gradient_is_the_gradient_of_the_norm(eps: float, eps_root: float) -> None:
    loss = Fixed(4, 5)
    step = 1e-5  # central difference on a quadratic loss: error step^2 + 1e-16 / step
    exact = full_batch.one_norm_gradient(loss.g, loss.hvp, eps, eps_root)
    for j in range(4):
        shift = step * loss.H[:, j]
        up = full_batch.perturbed_one_norm(loss.g + shift, eps, eps_root)
        down = full_batch.perturbed_one_norm(loss.g - shift, eps, eps_root)
        assert (up - down) / (2 * step) == pytest.approx(exact[j], abs=1e-6)


def test_perturbed_one_norm_inside_is_as_printed() -> None:
    g = np.array([3.0, -4.0, 0.0])
    expected = np.sqrt(9.25) + np.sqrt(16.25) + np.sqrt(0.25)
    assert full_batch.perturbed_one_norm(g, 0.0, 0.25) == pytest.approx(expected, rel=1e-15)
    assert full_batch.perturbed_one_norm(g, 1e-300, 0.0) == pytest.approx(7.0, rel=1e-15)


def test_vanishing_component_with_epsilon_outside() -> None:
    g, H = np.array([0.0, 1.0]), np.array([[2.0, 1.0], [1.0, 3.0]])
    bias = full_batch.limit_bias(g, lambda v: H @ v, 0.1, 0.9, 0.99, 1e-8, 0.0)
    assert np.isfinite(bias).all()


@pytest.mark.parametrize("eps", [1e-5, 1.0, 100.0])
@pytest.mark.parametrize("rho", [0.995, 0.95, 0.1])
def test_bias_potential_is_its_integral(rho: float, eps: float) -> None:
    beta = 0.95
    slow, fast = (1 + rho) / (1 - rho), (1 + beta) / (1 - beta)

    def integrand(s: float) -> float:  # in s = sqrt(eps + y^2)
        return fast - slow + slow * eps / s**2

    x = np.array([0.0, 0.3, -2.0])
    actual = full_batch.bias_potential(x, beta, rho, eps)
    for value, result in zip(x, actual, strict=True):
        points = np.geomspace(np.sqrt(eps), np.sqrt(eps + value**2), 9)
        pieces = [integrate.quad(integrand, a, b)[0] for a, b in pairwise(points)]
        # Pieces of size up to 400 that may cancel.
        assert result == pytest.approx(sum(pieces), abs=1e-10)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"gradient": np.ones((2, 2))}, "gradient"),
        ({"gradient": np.array([np.nan])}, "gradient"),
        ({"n": -1}, "n"),
        ({"beta": 1.0}, "beta"),
        ({"rho": -0.1}, "rho"),
        ({"eps": -1.0}, "eps"),
        ({"eps": 0.0, "eps_root": 0.0}, "eps_root"),
    ],
)
def test_bad_input_names_the_argument(change: dict[str, object], name: str) -> None:
    arguments: dict[str, Any] = {"gradient": np.ones(2), "n": 3, "beta": 0.9, "rho": 0.99}
    arguments |= {"hvp": lambda v: v, "eps": 1e-8, "eps_root": 0.0, **change}
    with pytest.raises((ValueError, TypeError), match=name):
        full_batch.adam_terms(**arguments)
