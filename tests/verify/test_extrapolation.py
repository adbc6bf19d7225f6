"""Limits at h -> 0: exact where theory says so, and a bound that holds on laws of many kinds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BarycentricInterpolator

from stepbias.verify import extrapolation, extrapolation_laws
from stepbias.verify.extrapolation import RATIO, limit, weights
from stepbias.verify.extrapolation_laws import KINDS, draw

H = 2.0 ** -np.arange(3.0, 11.0)


def test_weights_are_those_of_the_interpolating_polynomial() -> None:
    rng = np.random.default_rng(0)
    h = np.sort(rng.uniform(0.1, 1.0, (5, 6)), axis=1)
    values = rng.normal(size=(5, 6))
    expected = [BarycentricInterpolator(h[b], values[b])(0.0) for b in range(5)]
    np.testing.assert_allclose(np.sum(weights(h) * values, axis=1), expected, rtol=1e-9)
    np.testing.assert_allclose(weights(h).sum(axis=1), 1.0, rtol=1e-9)
    # Richardson's rule
    np.testing.assert_allclose(weights(np.array([1.0, 2.0])), [2.0, -1.0])


def test_polynomial_is_exact_and_its_bound_says_so() -> None:
    coefficients = np.array([[3.0, -1.0, 2.0, 0.5], [0.0, 5.0, -7.0, 1.0]])
    values = (coefficients @ np.vander(H, 4, increasing=True).T).T[None]
    found = limit(H[None], values, np.zeros((1, len(H))))
    # 8 units of rounding, the sum of the absolute weights (8.3 for halvings) and values of order one
    np.testing.assert_allclose(found.value, [[3.0, 0.0]], atol=1e-13)
    assert np.all(found.bound < 1e-12)
    assert np.all(np.abs(found.value - [[3.0, 0.0]]) <= found.bound)
    assert found.points[0] == len(H)


def test_order_of_the_input_is_free_and_rows_are_independent() -> None:
    rng = np.random.default_rng(1)
    data = draw(40, 3)
    values = data.difference / data.h[:, :, None]
    floor = data.floor / data.h
    found = limit(data.h, values, floor)
    shuffle = np.argsort(rng.random(data.h.shape), axis=1)
    mixed = limit(
        np.take_along_axis(data.h, shuffle, 1),
        np.take_along_axis(values, shuffle[:, :, None], 1),
        np.take_along_axis(floor, shuffle, 1),
    )
    np.testing.assert_array_equal(found.value, mixed.value)
    np.testing.assert_array_equal(found.bound, mixed.bound)
    np.testing.assert_array_equal(np.take_along_axis(found.used, shuffle, 1), mixed.used)
    for b in range(0, 40, 7):
        kept = slice(b, b + 1)
        alone = limit(data.h[kept], values[kept], floor[kept])
        np.testing.assert_allclose(alone.value, found.value[kept], rtol=1e-12)
        np.testing.assert_allclose(alone.bound, found.bound[kept], rtol=1e-9)


def test_floor_enters_through_the_weights() -> None:
    floor = np.full((1, len(H)), 1e-3)
    found = limit(H[None], np.ones((1, len(H), 1)), floor)
    # at least the window of two points, with weights 2 and -1
    assert found.bound[0, 0] == pytest.approx(3e-3, rel=1e-9)
    assert found.used.sum() == 2


def test_points_that_are_not_finite_or_too_close_are_left_out() -> None:
    h = np.sort(np.concatenate([H, 1.2 * H]))[None]
    values = 1.0 + h[:, :, None]
    values[0, 3] = np.nan
    found = limit(h, values, np.zeros_like(h))
    used = h[0, found.used[0]]
    assert np.all(used[1:] >= RATIO * used[:-1])
    assert not found.used[0, 3]
    assert found.value[0, 0] == pytest.approx(1.0, rel=1e-12)


def test_rows_with_fewer_points_do_not_disturb_the_others() -> None:
    h = np.repeat(1024.0 * H[None], 3, axis=0)
    values = 1.0 + h[:, :, None]
    values[1, 2:] = np.nan
    values[2] = np.inf
    found = limit(h, values, np.zeros_like(h))
    assert found.points.tolist() == [len(H), 2, 0]
    alone = limit(h[:1], values[:1], np.zeros_like(h[:1]))
    assert found.bound[0, 0] == alone.bound[0, 0] < np.inf
    assert np.all(np.isinf(found.bound[1:]))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_than_four_points_say_nothing(count: int) -> None:
    found = limit(H[None, :count], np.ones((1, count, 2)), np.zeros((1, count)))
    assert np.all(np.isinf(found.bound))
    assert np.all(np.isnan(found.value))
    assert found.points[0] == count
    assert not found.used.any()


def test_a_window_begins_where_it_is_told_to() -> None:
    values = np.ones((1, len(H), 1)) + H[None, :, None]
    for coarsest, fits in ((H[-1], True), (0.9 * H[-1], False)):
        found = limit(H[None], values, np.zeros((1, len(H))), np.array([coarsest]))
        assert np.isfinite(found.bound).all() == fits


def test_a_plateau_at_coarse_steps_does_not_hide_the_finer_ones() -> None:
    """tanh(h / h0) is flat above h0: the flat part alone would have a tiny bound around 1, the limit is 0."""
    h = 2.0 ** -np.arange(3.0, 16.0)
    finest = np.arange(len(h)) >= len(h) - 4
    values = np.tanh(h / h[-3])[None, :, None]
    found = limit(h[None], values, np.where(finest, 1e-2, 1e-12)[None])
    assert abs(found.value[0, 0]) <= found.bound[0, 0]


def test_coverage_on_synthetic_expansions() -> None:
    """99.5 % of 10,000 expansions of every kind together, 99 % of each kind, all components at once."""
    data = draw(12_000, 5)
    found = limit(
        data.h, data.difference / data.h[:, :, None], data.floor / data.h, 0.1 / data.memory
    )
    judged = np.all(np.isfinite(found.bound), axis=1)
    assert judged.sum() >= 10_000
    wrong = np.abs(found.value - data.limit) > found.bound
    covered = ~np.any(wrong, axis=1)
    assert covered[judged].mean() >= 0.995
    for kind, name in enumerate(KINDS):
        assert covered[judged & (data.kind == kind)].mean() >= 0.99, name
    # and the bound is of use: most of them are far below the terms themselves
    assert np.median(found.bound[judged]) < 1e-3


def test_the_margin_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calibration can fail: a twentieth of the bound does not cover."""
    monkeypatch.setattr(extrapolation, "MARGIN", extrapolation.MARGIN / 20.0)
    data = draw(3_000, 5)
    found = limit(
        data.h, data.difference / data.h[:, :, None], data.floor / data.h, 0.1 / data.memory
    )
    judged = np.all(np.isfinite(found.bound), axis=1)
    wrong = np.any(np.abs(found.value - data.limit) > found.bound, axis=1)
    assert wrong[judged].mean() > 0.005


def test_laws_fade_at_their_finest_steps() -> None:
    """A law's remainder tends to zero: the generator's own truth is right."""
    rng = np.random.default_rng(2)
    for kind in range(len(KINDS)):
        for _ in range(20):
            x = np.repeat((10.0 ** -np.arange(0.0, 13.0))[:, None], 2, axis=1)
            rest = np.abs(extrapolation_laws._remainder(kind, x, rng))
            assert np.all(rest[-1] <= 1e-4), KINDS[kind]
