"""Modified losses, the split of RMSProp's bias, the shape of Figure 1, and the sum of RMSProp's first steps."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbias.theory import full_batch, modified_losses
from stepbias.theory.modified_losses import (
    earlier_adam_bias,
    exact_bracket,
    large_epsilon_loss,
    late_start,
    memory_factor,
    nonzero_steps_factor,
    potential_rate,
    potential_turn,
    potential_zero,
    small_epsilon_loss,
)

DECAYS = st.fractions(0, Fraction(999, 1000), max_denominator=1000)
UNIT = 2.0**-53


@given(DECAYS, DECAYS)
def test_bracket_has_the_sign_of_the_difference(beta: Fraction, rho: Fraction) -> None:
    exact = exact_bracket(beta, rho)
    assert exact * (1 - beta) * (1 - rho) == 2 * (beta - rho)
    assert exact_bracket(beta, beta) == 0
    size = 1 / (1 - beta) + 1 / (1 - rho)
    # The decays are rounded before they are subtracted from 1.
    tolerance = 8.0 * UNIT * float(size * (1 + 1 / (1 - max(beta, rho))))
    assert abs(full_batch.penalty_coefficient(float(beta), float(rho)) - float(exact)) <= tolerance


@pytest.mark.parametrize("bad", [Fraction(1), Fraction(-1, 2)])
def test_bracket_names_a_bad_decay(bad: Fraction) -> None:
    with pytest.raises(ValueError, match="rho"):
        exact_bracket(Fraction(1, 2), bad)


def test_losses_are_the_printed_ones() -> None:
    g = np.array([[3.0, -4.0], [0.5, 0.25]])
    value = np.array([2.0, -1.0])
    # beta = 1/2: 3; rho = 3/4: 7
    small = small_epsilon_loss(value, g, 0.1, 0.5, 0.75)
    np.testing.assert_allclose(
        small, value + 0.05 * (3.0 - 7.0) * np.array([7.0, 0.75]), rtol=1e-15
    )
    large = large_epsilon_loss(value, g, 0.1, 0.5, 10.0)
    np.testing.assert_allclose(
        large, value + 0.1 / 40.0 * 3.0 * np.array([25.0, 0.3125]), rtol=1e-15
    )


@pytest.mark.parametrize(("name", "arguments"), [("beta", (1.0, 1.0)), ("scale", (0.5, 0.0))])
def test_large_epsilon_names_bad_arguments(name: str, arguments: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=name):
        large_epsilon_loss(0.0, np.ones(2), 0.1, *arguments)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.999])
def test_two_parts_are_the_bias_of_rmsprop(rho: float) -> None:
    rng = np.random.default_rng(1)
    g, h, eps = rng.normal(size=5), 0.01, 0.3
    H = rng.normal(size=(5, 5))
    G = full_batch.one_norm_gradient(g, lambda v: H @ v, 0.0, eps)
    nonzero, memory = nonzero_steps_factor(g, h, eps), memory_factor(g, h, rho, eps)
    bias = full_batch.limit_bias(g, lambda v: H @ v, h, 0.0, rho, 0.0, eps)
    np.testing.assert_allclose((nonzero + memory) * G, -bias, rtol=1e-12, atol=1e-18)
    assert np.all(nonzero < 0.0)
    assert np.all(memory > 0.0) if rho > 0.0 else np.all(memory == 0.0)


def test_adam_of_the_earlier_version() -> None:
    rng = np.random.default_rng(2)
    g, h, eps = rng.normal(size=5), 0.01, 0.3
    H = rng.normal(size=(5, 5))
    G = full_batch.one_norm_gradient(g, lambda v: H @ v, 0.0, eps)
    bias = full_batch.limit_bias(g, lambda v: H @ v, h, 0.9, 0.95, 0.0, eps)
    found = earlier_adam_bias(g, G, h, 0.9, 0.95, eps)
    np.testing.assert_allclose(found, -bias / np.sqrt(g**2 + eps), rtol=1e-12)


@pytest.mark.parametrize("rho", [0.96, 0.99, 0.999])
@pytest.mark.parametrize("eps", [1e-5, 1.0, 100.0])
def test_turn_and_zero_of_the_potential(rho: float, eps: float) -> None:
    beta = 0.95
    turn, zero = potential_turn(beta, rho, eps), potential_zero(beta, rho, eps)
    slow = (1.0 + rho) / (1.0 - rho)
    # The parts of the rate cancel: it is 0 up to the rounding of the larger one.
    assert abs(float(potential_rate(turn, beta, rho, eps))) <= 16.0 * UNIT * slow / (1.0 - rho)
    assert (
        potential_rate(0.9 * turn, beta, rho, eps)
        > 0.0
        > potential_rate(1.1 * turn, beta, rho, eps)
    )
    values = full_batch.bias_potential(
        [0.5 * turn, turn, 2.0 * turn, 0.99 * zero, 1.01 * zero], beta, rho, eps
    )
    assert values[1] > max(values[0], values[2])
    assert values[3] > 0.0 > values[4]


@pytest.mark.parametrize("rho", [0.95, 0.5, 0.0])
def test_without_a_longer_memory_of_squares_the_potential_rises_for_ever(rho: float) -> None:
    assert potential_turn(0.95, rho, 1e-5) == potential_zero(0.95, rho, 1e-5) == math.inf
    values = full_batch.bias_potential(np.linspace(0.0, 5.0, 50), 0.95, rho, 1e-5)
    assert np.all(np.diff(values) > 0.0)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
@pytest.mark.parametrize(("eps", "eps_root"), [(0.0, 1e-2), (0.1, 0.0), (0.3, 0.5)])
def test_late_start_is_the_sum(rho: float, eps: float, eps_root: float) -> None:
    g = np.array([0.7, -2.0, 1e-3])
    with mp.workdps(30):

        def term(value: float, l: int) -> Any:
            early = mp.sqrt((1 - mp.mpf(rho) ** (l + 1)) * mp.mpf(value) ** 2 + eps_root) + eps
            return value / early - value / (mp.sqrt(mp.mpf(value) ** 2 + eps_root) + eps)

        count = 1 if rho == 0.0 else math.ceil(-80.0 / math.log(rho))
        exact = [float(mp.fsum(term(value, l) for l in range(count))) for value in g]
    # Terms of one sign; each is a difference of roots, D - early, with an absolute rounding of two units of D, times g / (early D): 42 / (1 - rho) terms.
    found = late_start(g, rho, eps, eps_root)
    D = np.sqrt(g**2 + eps_root) + eps
    early = np.sqrt((1.0 - rho) * g**2 + eps_root) + eps
    tolerance = 42.0 / (1.0 - rho) * 4.0 * UNIT * np.abs(g) / early + 50.0 * UNIT * np.abs(exact)
    assert np.all(np.abs(found - exact) <= tolerance * np.maximum(1.0, D / early))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: memory_factor(np.ones(2), 0.1, 1.0, 0.1), "rho"),
        (lambda: nonzero_steps_factor([np.nan], 0.1, 0.1), "gradient"),
        (lambda: late_start([1.0], -0.5, 0.1, 0.0), "rho"),
        (lambda: potential_rate([np.inf], 0.5, 0.5, 0.1), "x"),
        (lambda: earlier_adam_bias([1.0], [1.0], 0.1, 1.5, 0.5, 0.1), "beta"),
        (lambda: small_epsilon_loss(0.0, np.ones(2), 0.1, 0.5, 1.0), "rho"),
    ],
)
def test_bad_input_names_the_argument(call: Any, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        call()


def test_module_lists_what_figure_1_integrates() -> None:
    # d/dx of the closed form is the rate times d sqrt(eps + x^2) / dx
    x, step = np.array([0.01, 0.3, 2.0]), 1e-6
    for beta, rho, eps in ((0.95, 0.99, 1e-2), (0.95, 0.5, 1.0)):
        up, down = (full_batch.bias_potential(x + s, beta, rho, eps) for s in (step, -step))
        rate = modified_losses.potential_rate(x, beta, rho, eps) * x / np.sqrt(eps + x**2)
        # rounding 400 * 1e-16 / 1e-6, and step^2 times a third derivative of about 400 / eps
        np.testing.assert_allclose((up - down) / (2.0 * step), rate, atol=1e-6, rtol=1e-6)
