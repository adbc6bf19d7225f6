"""The closed forms on the bilinear model against its gradient, a numerical minimum and the memory sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from stepbias.theory import bilinear, bilinear_path, full_batch

moduli = st.floats(0.3, 4.0)
signs = st.sampled_from((-1.0, 1.0))
decays = st.sampled_from((0.0, 0.5, 0.9, 0.99, 0.999))
ROOMY = settings(deadline=None, max_examples=60)


@ROOMY
@given(moduli, moduli, moduli, moduli, signs, signs, signs)
def test_one_norm_is_that_of_the_gradient_and_a_function_of_loss_and_moduli(
    x: float, y: float, s: float, t: float, a: float, b: float, c: float
) -> None:
    x, s, t = a * x, b * s, c * t
    g = bilinear.gradient(x, y, s, t)
    expected = abs(g[0]) + abs(g[1])
    # the residual is the difference of numbers of size |x s t| + |y|: it keeps that many roundings, and so does the square root of the loss
    rounding = 8 * 2**-53 * abs(x) * (abs(x * s * t) + y) * (abs(s) + abs(t))
    assert bilinear_path.one_norm(x, y, s, t) == pytest.approx(expected, rel=1e-14, abs=rounding)
    loss = bilinear.value(x, y, s, t)
    by_loss = bilinear_path.one_norm_at(x, loss, abs(s) + abs(t))
    assert by_loss == pytest.approx(expected, rel=1e-14, abs=rounding)


@ROOMY
@given(moduli, moduli, moduli, moduli, st.floats(0.0, 1.0))
def test_product_at_has_the_share_of_the_loss(
    x: float, y: float, s: float, t: float, share: float
) -> None:
    product = bilinear_path.product_at(x, y, s, t, share)
    found = bilinear.value(x, y, product, 1.0)
    size = (abs(x * s * t) + y) ** 2
    assert found == pytest.approx(share * bilinear.value(x, y, s, t), abs=16 * 2**-53 * size)
    assert (y - x * product) * (y - x * s * t) >= -16 * 2**-53 * size  # the same side


@pytest.mark.parametrize(("x", "y"), [(2.0, 1.5), (0.7, 1.9), (-2.0, -0.4)])
def test_least_norm_minimum_is_the_limit_of_the_least_norm_on_level_sets(
    x: float, y: float
) -> None:
    cross = bilinear_path.least_norm_minimum(x, y)
    distances = []
    for loss in (1e-2, 1e-4, 1e-6):
        product = (y + math.copysign(math.sqrt(2.0 * loss), y)) / x
        found = minimize_scalar(
            lambda s, c=product: bilinear_path.one_norm(x, y, s, c / s),
            bounds=(0.2 * cross[0], 5.0 * cross[0]),
            method="bounded",
            options={"xatol": 1e-9},
        )
        place = np.array([found.x, product / found.x])
        distances.append(float(np.abs(place - cross).max()))
    # the product at the level is y/x + sqrt(2 loss)/x: ten times nearer for a loss that is a hundredth
    assert distances[1] < 0.11 * distances[0]
    assert distances[2] < 0.11 * distances[1]
    with pytest.raises(ValueError, match="x y = -3"):
        bilinear_path.least_norm_minimum(2.0, -1.5)


@ROOMY
@given(moduli, moduli, signs, signs, st.floats(0.05, 9.0))
def test_sign_flow_time_and_total(s: float, t: float, a: float, b: float, product: float) -> None:
    s, t, product = a * s, b * t, a * b * product
    time = bilinear_path.sign_flow_time(s, t, product)
    rate = -1.0 if abs(s * t) > abs(product) else 1.0
    left, right = abs(s) + rate * time, abs(t) + rate * time
    assert time >= 0.0
    assert min(left, right) > 0.0
    size = abs(s * t) + abs(product)
    assert left * right == pytest.approx(abs(product), abs=32 * 2**-53 * size)
    total = bilinear_path.sign_flow_total(s, t, product)
    assert total == pytest.approx(left + right, rel=1e-12)


def test_sign_flow_time_needs_one_side() -> None:
    with pytest.raises(ValueError, match=r"s t \* product = -2"):
        bilinear_path.sign_flow_time(1.0, -2.0, 1.0)


@ROOMY
@given(moduli, moduli, moduli, moduli, signs, signs, decays, decays, st.integers(0, 400))
def test_imbalance_rate_is_that_of_the_field_with_a_vanishing_epsilon(
    x: float, y: float, s: float, t: float, a: float, b: float, beta: float, rho: float, n: int
) -> None:
    if abs(x * s * t - y) < 0.1:
        return  # epsilon is small against the gradient elsewhere
    x, s, t = a * b * x, a * s, b * t
    g, h, eps = np.array(bilinear.gradient(x, y, s, t)), 0.01, 1e-30

    def hvp(v: np.ndarray) -> np.ndarray:
        return np.array(bilinear.product(x, y, s, t, *v))

    terms = full_batch.adam_terms(g, hvp, n, beta, rho, 0.0, eps)
    field = -terms.M / terms.R + h * (
        terms.M * (2 * terms.P + terms.Pbar) / (2 * terms.R**3)
        - (2 * terms.L + terms.Lbar) / (2 * terms.R)
    )
    measured = float(np.sign([s, t]) @ (field * (1.0, -1.0)))
    stated = bilinear_path.imbalance_rate(s, t, n, h, beta, rho)
    # the large parts of the two components cancel: what they add up to, with the cancellation in the residual, keeps its roundings
    moduli = np.array([(x * t) ** 2, (x * s) ** 2]) + 2 * x * x * abs(s * t) + abs(x * y)
    lags = 2 * (full_batch.mean_lag(beta, n) + full_batch.mean_lag(rho, n) + 1.0)
    size = float((1.0 + h * lags * moduli / np.abs(g)).sum())
    condition = (abs(x * s * t) + y) / abs(x * s * t - y)
    assert measured == pytest.approx(stated, abs=32 * 2**-53 * size * (1.0 + condition))


@ROOMY
@given(moduli, moduli, st.integers(1, 5000))
def test_the_imbalance_shrinks_exactly_for_beta_above_rho(s: float, t: float, n: int) -> None:
    if s == t:
        return
    for beta, rho in ((0.9, 0.5), (0.999, 0.99), (0.5, 0.0)):
        shrinks = bilinear_path.imbalance_rate(s, t, n, 0.01, beta, rho) * (s - t)
        grows = bilinear_path.imbalance_rate(s, t, n, 0.01, rho, beta) * (s - t)
        assert shrinks < 0.0 < grows
        assert bilinear_path.imbalance_rate(s, t, n, 0.01, beta, beta) == 0.0


def test_imbalance_rate_refuses_the_axes() -> None:
    with pytest.raises(ValueError, match=r"s t = 0\.0"):
        bilinear_path.imbalance_rate(0.0, 1.0, 3, 0.1, 0.9, 0.99)
