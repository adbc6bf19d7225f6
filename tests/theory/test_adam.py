"""The scalar formulas of the family: averages, direction, modified rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbias.theory import adam

REALS = st.floats(-10.0, 10.0)
POSITIVE = st.floats(1e-3, 10.0)
DECAYS = st.floats(0.0, 0.99)
UNIT = 2.0**-53


@given(REALS, REALS, DECAYS)
def test_running_mean_is_the_weighted_mean(mean: float, new: float, decay: float) -> None:
    exact = decay * mean + (1.0 - decay) * new
    assert adam.running_mean(mean, new, decay) == exact
    assert adam.decayed(mean, (1.0 - decay) * new, decay) == exact


@given(st.lists(REALS, min_size=1, max_size=20), DECAYS)
def test_running_mean_has_the_printed_weights(values: list[float], decay: float) -> None:
    mean = 0.0
    for value in values:
        mean = adam.running_mean(mean, value, decay)
    last = len(values) - 1
    terms = [decay ** (last - k) * (1.0 - decay) * value for k, value in enumerate(values)]
    # Every step rounds three times; the powers of the reference lose a unit each.
    assert abs(mean - math.fsum(terms)) <= 8.0 * len(values) * UNIT * 10.0


@given(REALS, st.floats(0.0, 10.0), POSITIVE, POSITIVE)
def test_direction_is_mean_over_denominator(m: float, v: float, eps: float, inner: float) -> None:
    assert adam.direction(m, v, eps, inner) == m / (adam.root(v, inner) + eps)
    assert adam.direction(m, v, 0.0, inner) == m / math.sqrt(v + inner)  # inside
    assert adam.direction(m, v, eps, 0.0) == m / (math.sqrt(v) + eps)  # outside
    assert adam.direction(0.0, 0.0, eps, 0.0) == 0.0


@given(REALS, POSITIVE, st.floats(0.0, 1.0), REALS, REALS, st.floats(0.0, 1.0))
def test_modified_rate_is_the_printed_field(
    m: float, r: float, eps: float, numerator: float, square: float, h: float
) -> None:
    D = r + eps
    printed = -m / D + h * (m * square / (2.0 * D**2 * r) - numerator / (2.0 * D))
    size = abs(m) / D + h * (abs(m * square) / (2.0 * D**2 * r) + abs(numerator) / (2.0 * D))
    actual = adam.modified_rate(m, r, eps, numerator, square, h)
    assert abs(actual - printed) <= 12.0 * UNIT * size  # a dozen operations, each rounded once


def test_modified_rate_by_hand() -> None:
    # M = 3, R = 2, D = 2 + 2, 2L + Lbar = 5, 2P + Pbar = 7: -3/4 + 0.1 (21/64 - 5/8)
    assert adam.modified_rate(3.0, 2.0, 2.0, 5.0, 7.0, 0.1) == pytest.approx(-0.75 - 0.1 * 19 / 64)
    # inside: D = R = 2: -3/2 + 0.1 (21/16 - 5/4)
    assert adam.modified_rate(3.0, 2.0, 0.0, 5.0, 7.0, 0.1) == pytest.approx(-1.5 + 0.1 / 16)


@given(REALS, POSITIVE, REALS, REALS)
def test_without_step_size_the_leading_field_remains(
    m: float, r: float, a: float, b: float
) -> None:
    assert adam.modified_rate(m, r, 0.1, a, b, 0.0) == -m / (r + 0.1)


def test_where_every_gradient_vanishes_no_nan_appears() -> None:
    assert adam.modified_rate(0.0, 0.0, 1e-8, 0.0, 0.0, 0.1) == 0.0
    assert np.isfinite(adam.modified_rate(0.0, 0.0, 1e-8, 1.0, 0.0, 0.1))
