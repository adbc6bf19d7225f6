"""The literal sums and the field built from them (the 40-digit comparison is in tests/test_oracle.py)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepbias.kernels.loss import Loss
from stepbias.theory.memory import MemoryTerms, literal_field, literal_terms, mean_weight
from stepbias.theory.optimizers import Adam, RMSProp
from stepbias.theory.variants import LEADING, Variant
from tests.reference import scaled

LOSS = Loss.random("sinusoid", dim=3, batches=2, seed=4)
THETA = np.array([0.3, -0.8, 0.5])
SCHEDULE = np.array([0, 1, 1, 0, 0, 1])


@given(st.floats(0.0, 0.99), st.integers(0, 200))
def test_weights_sum_to_one_or_to_what_bias_correction_divides_by(decay: float, n: int) -> None:
    corrected = sum(mean_weight(decay, n, k, True) for k in range(n + 1))
    plain = sum(mean_weight(decay, n, k, False) for k in range(n + 1))
    # n + 1 additions, and the unit that 1 - decay^(n+1) >= 0.01 loses by cancellation
    tolerance = 2.0**-53 * (4 * (n + 1) + 200)
    assert abs(corrected - 1.0) <= tolerance
    assert abs(plain - (1.0 - decay ** (n + 1))) <= tolerance


@settings(deadline=None, max_examples=30)
@given(st.floats(0.0, 0.95), st.integers(0, 5), st.sampled_from([(0.0, 1e-2), (1e-2, 0.0)]))
def test_rmsprop_is_adam_without_beta_and_correction(
    rho: float, n: int, place: tuple[float, float]
) -> None:
    first = literal_terms(RMSProp(rho, *place), LOSS, THETA, n, SCHEDULE)
    second = literal_terms(Adam(0.0, rho, *place, False), LOSS, THETA, n, SCHEDULE)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(first.M, LOSS.gradient(int(SCHEDULE[n]), THETA))
    assert np.all(first.L == 0.0)


def test_first_step_has_no_past() -> None:
    terms = literal_terms(Adam(0.9, 0.99, eps=1e-3), LOSS, THETA, 0, SCHEDULE)
    gradient = LOSS.gradient(0, THETA)
    assert np.all(terms.L == 0.0)
    assert np.all(terms.P == 0.0)
    np.testing.assert_allclose(terms.R, np.abs(gradient), rtol=1e-14)
    np.testing.assert_allclose(terms.M, gradient, rtol=1e-14)


def test_later_batches_do_not_matter() -> None:
    optimizer = Adam(0.9, 0.99, eps_root=1e-3)
    longer = literal_terms(optimizer, LOSS, THETA, 3, SCHEDULE)
    other = np.array([0, 1, 1, 0, 1, 0])
    for a, b in zip(longer, literal_terms(optimizer, LOSS, THETA, 3, other), strict=True):
        np.testing.assert_array_equal(a, b)


def random_terms(seed: int) -> MemoryTerms:
    rng = np.random.default_rng(seed)
    return MemoryTerms(rng.uniform(0.5, 2.0, 4), *rng.normal(size=(5, 4)))


def printed(t: MemoryTerms, eps: float, h: float) -> np.ndarray:
    D = t.R + eps
    bias = t.M * (2.0 * t.P + t.Pbar) / (2.0 * D**2 * t.R) - (2.0 * t.L + t.Lbar) / (2.0 * D)
    return np.asarray(-t.M / D + h * bias)


@pytest.mark.parametrize("eps", [0.0, 0.3])
@pytest.mark.parametrize("name", MemoryTerms._fields)
@pytest.mark.parametrize("factor", [0.0, 0.5, -1.0, 3.0])
def test_factor_acts_on_its_term_alone(name: str, factor: float, eps: float) -> None:
    if name == "R" and factor <= 0.0:
        factor = 2.0
    terms = random_terms(1)
    changed = terms._replace(**{name: factor * getattr(terms, name)})
    actual = literal_field(terms, eps, 0.2, scaled(name, factor))
    np.testing.assert_allclose(actual, printed(changed, eps, 0.2), rtol=1e-13, atol=1e-14)
    assert not np.allclose(actual, printed(terms, eps, 0.2), rtol=1e-3)


@pytest.mark.parametrize("factor", [0.0, 0.5, -1.0])
def test_bias_factor_acts_on_the_whole_correction(factor: float) -> None:
    terms = random_terms(2)
    actual = literal_field(terms, 0.1, 0.2, Variant(bias=factor))
    np.testing.assert_allclose(actual, printed(terms, 0.1, factor * 0.2), rtol=1e-13, atol=1e-14)


def test_leading_field_is_minus_the_direction() -> None:
    terms = random_terms(3)
    np.testing.assert_array_equal(
        literal_field(terms, 0.1, 0.2, LEADING), -terms.M / (terms.R + 0.1)
    )
