"""One epoch of SGD in the mean over its orders: the closed forms against all orders, walked in exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import permutations

import mpmath as mp
import numpy as np
import pytest
from numpy.typing import NDArray

from stepbias.theory import shuffling
from stepbias.theory.shuffling import Quadratics

Floats = NDArray[np.float64]


def walked(losses: Quadratics, theta: Fraction, h: Fraction) -> Fraction:
    """Mean over all orders, by walking every one."""
    batches = list(zip(losses.a, losses.c, strict=True)) * losses.copies
    total, count = Fraction(0), 0
    for order in permutations(batches):
        point = theta
        for a, c in order:
            point -= h * (a * point + c)
        total += point
        count += 1
    return total / count


QUADRATICS = [
    Quadratics([Fraction(3, 2)], [Fraction(-1, 3)], 1),
    Quadratics([Fraction(3, 2), Fraction(-1, 2)], [Fraction(-1, 3), Fraction(2)], 1),
    Quadratics([Fraction(3, 2), Fraction(-1, 2)], [Fraction(-1, 3), Fraction(2)], 3),
    Quadratics([Fraction(k, 7) for k in range(1, 6)], [Fraction(5 - k**2) for k in range(5)], 1),
]


@pytest.mark.parametrize("losses", QUADRATICS)
def test_quadratic_mean_is_the_mean_over_all_orders(losses: Quadratics) -> None:
    theta, h = Fraction(7, 5), Fraction(1, 10)
    assert shuffling.quadratic_mean(losses, theta, h) == walked(losses, theta, h)


def test_quadratic_mean_with_few_terms_is_as_near_as_it_says() -> None:
    losses, theta, h = QUADRATICS[3], Fraction(7, 5), Fraction(1, 100)
    exact = shuffling.quadratic_mean(losses, theta, h)
    for terms in (2, 3, 4):
        # the first coefficient left out, times theta and the sum of h c
        size = float(losses.batches * h * max(losses.a)) ** terms / math.factorial(terms)
        gap = abs(shuffling.quadratic_mean(losses, theta, h, terms) - exact)
        assert 0 < gap <= 2.0 * size


def expansion(losses: Quadratics, theta: Fraction) -> float:
    """Coefficient of h^3 of mean - flow, from the exact mean and flow at a tiny h."""
    with mp.workdps(80):
        h = Fraction(1, 10**20)
        rate, drift = (
            mp.mpf(v.numerator) / v.denominator
            for v in map(Fraction, shuffling.quadratic_rates("", losses, h))
        )
        time = losses.batches * mp.mpf(h.numerator) / h.denominator
        start = mp.mpf(theta.numerator) / theta.denominator
        mean = shuffling.quadratic_mean(losses, theta, h)
        flow = start * mp.exp(-rate * time) - drift / rate * -mp.expm1(-rate * time)
        gap = mp.mpf(mean.numerator) / mean.denominator - flow
        return float(gap * mp.mpf(10) ** 60)


@pytest.mark.parametrize("losses", QUADRATICS)
def test_defect_of_quadratics(losses: Quadratics) -> None:
    theta = Fraction(7, 5)
    double, single = shuffling.quadratic_defect(losses, theta)
    k = losses.copies
    found = expansion(losses, theta)
    # the next term is h = 1e-20 of this one; the conversion to doubles rounds once
    assert found == pytest.approx(float(k * k * double - k * single), rel=1e-14, abs=1e-17)
    # the general coefficient, batch by batch
    a, c = (np.array([float(v) for v in part] * k) for part in (losses.a, losses.c))
    g = (a * float(theta) + c)[:, None, None]
    D = shuffling.third_order(g, a[:, None, None, None], lambda a, u, v: np.zeros((1, 1)))
    assert (D.double - D.single).item() == pytest.approx(found, rel=1e-12)  # some dozens of sums


def test_one_batch_is_gradient_descent() -> None:
    rng = np.random.default_rng(0)
    g, half, T = rng.normal(size=3), rng.normal(size=(3, 3)), rng.normal(size=(3, 3, 3))
    H = half + half.T

    def third(a: int, u: Floats, v: Floats) -> Floats:
        return np.einsum("ijk,bj,bk->bi", T, u, v)

    D = shuffling.third_order(g[None, None], H[None, None], third)
    expected = -(H @ H @ g) / 3.0 - np.einsum("ijk,j,k->i", T, g, g) / 12.0
    # of the double sum nothing is left: its terms cancel to rounding
    np.testing.assert_allclose((D.double - D.single)[0], expected, rtol=0, atol=1e-14 * 50)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_statement_is_the_gradient_of_the_modified_loss(m: int) -> None:
    rng = np.random.default_rng(m)
    a, c, theta, h = rng.normal(size=m), rng.normal(size=m), 0.7, 0.3

    def modified(x: complex) -> complex:
        own = a * x * x / 2 + c * x
        return own.mean() + h / (4 * m) * ((a * x + c) ** 2).sum()

    lead, bias = shuffling.mean_field("", m)
    g = a * theta + c
    slope = lead @ g + h * a @ (bias @ g)
    step = 1e-20  # complex step: no cancellation
    assert slope == pytest.approx(modified(theta + 1j * step).imag / step, rel=1e-13)


def test_wrong_fields_differ_and_rates_agree_with_the_field() -> None:
    a, c, h, theta = [0.5, 2.0, -1.0], [1.0, -0.3, 0.2], 0.1, 0.4
    for name in shuffling.FIELDS:
        for copies in (1, 2):
            losses = Quadratics(a, c, copies)
            lead, bias = shuffling.mean_field(name, losses.batches)
            slopes, g = np.array(a * copies), np.array(a * copies) * theta + np.array(c * copies)
            rate, drift = shuffling.quadratic_rates(name, losses, h)
            field = lead @ g + h * slopes @ (bias @ g)
            assert rate * theta + drift == pytest.approx(field, rel=1e-12), name
    fields = [shuffling.mean_field(name, 3).bias.tobytes() for name in shuffling.FIELDS]
    assert len(set(fields)) == len(fields)
    with pytest.raises(ValueError, match="field = 'none'"):
        shuffling.mean_field("none", 3)


def test_orders() -> None:
    orders = shuffling.all_orders(4)
    assert orders.shape == (24, 4)
    assert len({tuple(row) for row in orders}) == 24
    drawn = shuffling.random_orders(5, 4000, np.random.default_rng(1))
    assert np.array_equal(np.sort(drawn, axis=1), np.tile(np.arange(5), (4000, 1)))
    # each batch is first in a fifth of the orders: 6 standard errors of a share of 4000
    shares = np.bincount(drawn[:, 0], minlength=5) / 4000
    assert np.abs(shares - 0.2).max() < 6 * math.sqrt(0.2 * 0.8 / 4000)
    with pytest.raises(ValueError, match="batches = 9; accepted: an integer from 1 to 8"):
        shuffling.all_orders(9)


def test_remainder_constant_bounds_the_defect_of_quadratics() -> None:
    # on a path of length 0 the bound of the first derivative is |g|; L = max |a|, no higher ones
    for losses in QUADRATICS:
        theta = Fraction(7, 5)
        g = max(abs(a * theta + c) for a, c in zip(losses.a, losses.c, strict=True))
        bounds = (float(g), float(max(map(abs, losses.a))), 0.0, 0.0)
        bound = shuffling.remainder_constant(losses.batches, 0.0, bounds) * losses.batches**3
        assert abs(expansion(losses, theta)) <= bound
