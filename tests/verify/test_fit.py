"""The order fit: measured sequences, known laws, floors, signs, bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepbias.verify.fit import OrderFit, fit_order, fit_orders, pool_orders
from stepbias.verify.fit_input import Status
from stepbias.verify.fit_laws import draw, judge
from stepbias.verify.fit_slopes import falls_away
from stepbias.verify.testing import assert_order

H = 2.0 ** -np.arange(4, 12)


def from_slopes(*slopes: float) -> tuple[np.ndarray, np.ndarray]:
    """Errors with the given local slopes for halved h, coarse to fine."""
    error = np.exp(-np.log(2.0) * np.concatenate([[0.0], np.cumsum(slopes)]))
    return 2.0 ** -np.arange(4.0, 5.0 + len(slopes)), error


# Slopes measured for Adam on sinusoidal losses (p = 5, m = 3, T = 1).
RISING = (0.93, 0.59, 1.39, 1.76, 1.90, 1.95, 1.98)
DIPPING = (1.80, 1.38, 1.63, 1.86, 1.93, 1.97, 1.99)
EARLY = (1.2, 0.6, 0.4, 0.3, 0.24, 0.26, 0.37)


@pytest.mark.parametrize("slopes", [RISING, DIPPING])
def test_measured_sequences_of_order_two_are_confirmed(slopes: tuple[float, ...]) -> None:
    fit = fit_order(*from_slopes(*slopes), 2.0)
    assert fit.verdict == "confirmed"
    assert abs(fit.order - 2.0) < 0.05
    assert not fit.used[0]  # the head is not part of the window


@pytest.mark.parametrize("slopes", [RISING, DIPPING, EARLY])
@pytest.mark.parametrize("points", range(2, 9))
def test_no_prefix_of_a_measured_sequence_is_refuted(
    slopes: tuple[float, ...], points: int
) -> None:
    h, error = from_slopes(*slopes)
    assert fit_order(h[:points], error[:points], 2.0).verdict != "refuted"


def test_sequence_inside_the_memory_is_inconclusive() -> None:
    fit = fit_order(*from_slopes(*EARLY), 2.0)
    assert fit.verdict == "inconclusive"
    assert "not yet asymptotic" in fit.reason


@pytest.mark.parametrize("delta", [0.03, 0.1, 0.3, 1.0, 3.0])
def test_visible_lower_order_term_is_never_confirmed(delta: float) -> None:
    # delta is the share of the added term at the finest step: slope there 2 - delta/(1 + delta)
    error = H**2 + delta * H.min() * H
    fit = fit_order(H, error, 2.0)
    if delta / (1.0 + delta) > 0.1:
        assert fit.verdict != "confirmed"
    assert fit.interval[0] <= 2.0 - delta / (1.0 + delta) + 0.02


def test_lower_order_term_that_has_taken_over_is_refuted() -> None:
    fit = fit_order(H, H**2 + 0.05 * H, 2.0)
    assert fit.verdict == "refuted"
    assert abs(fit.order - 1.0) < 0.1


@pytest.mark.parametrize(("claim", "exact", "verdict"), [
    (2.0, False, "confirmed"), (1.0, False, "confirmed"), (3.0, False, "refuted"),
    (2.0, True, "confirmed"), (1.0, True, "refuted"), (3.0, True, "refuted"),
])  # fmt: skip
def test_one_and_two_sided_claims(claim: float, exact: bool, verdict: str) -> None:
    fit = assert_order(H, 7.0 * H**2 * (1.0 + 3.0 * H), claim, exact, verdict=verdict)
    assert fit.constant == pytest.approx(7.0, rel=1e-2)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_three_points_are_inconclusive(steps: int) -> None:
    assert fit_order(H[:steps], H[:steps] ** 2, 2.0).verdict == "inconclusive"


def test_small_span_is_inconclusive() -> None:
    h = 1.2 ** -np.arange(7.0)
    fit = fit_order(h, h**2, 2.0)
    assert fit.verdict == "inconclusive"
    assert "span" in fit.reason


def test_points_at_the_floor_are_dropped() -> None:
    rng = np.random.default_rng(0)
    h = 2.0 ** -np.arange(2.0, 16.0)
    floor = np.full(h.shape, 1e-8)
    fit = fit_order(h, h**2 + floor * rng.uniform(-1, 1, h.shape), 2.0, floor=floor)
    assert fit.verdict == "confirmed"
    assert (fit.status[h**2 < 0.9e-6] == Status.FLOOR).all()
    assert not fit.used[h**2 < 0.9e-6].any()


def test_floor_widens_the_interval() -> None:
    error = H**2
    bare = fit_order(H, error, 2.0)
    wide = fit_order(H, error, 2.0, floor=0.005 * error)
    assert wide.interval[0] < bare.interval[0] < 2.0 + 1e-9
    assert wide.interval[1] > bare.interval[1]


def test_everything_at_the_floor() -> None:
    fit = fit_order(H, 1e-15 * np.ones_like(H), 2.0, floor=1e-15)
    assert fit.verdict == "inconclusive"
    assert "floor" in fit.reason


def test_zero_error() -> None:
    zero = np.zeros_like(H)
    assert fit_order(H, zero, 2.0, floor=0.0).verdict == "confirmed"
    assert fit_order(H, zero, 2.0, floor=0.0).order == np.inf
    assert fit_order(H, zero, 2.0, exact=True, floor=0.0).verdict == "inconclusive"
    assert fit_order(H, zero, 2.0).verdict == "inconclusive"
    assert fit_order(H, zero, 2.0, floor=1e-16).verdict == "inconclusive"


def test_unstated_floor_is_not_a_refutation() -> None:
    h = 2.0 ** -np.arange(4.0, 14.0)
    rng = np.random.default_rng(1)
    error = np.abs(h**2 + 1e-6 * rng.uniform(-1, 1, h.shape))
    assert fit_order(h, error, 2.0).verdict == "inconclusive"


def test_steps_coarser_than_a_sign_change_are_dropped() -> None:
    error = H**2 * (1.0 - H / 0.02)  # changes sign between 1/32 and 1/64
    fit = fit_order(H, error, 2.0)
    assert (fit.status[H > 0.02] == Status.SIGN).all()
    assert fit.verdict != "refuted"
    late = fit_order(H, H**2 * (1.0 - H / (2.0 * H.min())), 2.0)
    assert late.verdict == "inconclusive"


def test_zero_just_below_the_finest_step_is_not_confirmed() -> None:
    # true order 1.5, slopes rise to 4 because the coefficient vanishes at 0.9 min(h)
    fit = fit_order(H, H**1.5 * (np.sqrt(H / (0.9 * H.min())) - 1.0), 2.0)
    assert fit.verdict == "inconclusive"
    assert "run away" in fit.reason


def test_memory_holds_a_refutation_back() -> None:
    h = 2.0 ** -np.arange(4.0, 10.0)
    tau = 1e-7
    error = h**2 / (h + tau)
    assert fit_order(h, error, 2.0).verdict == "refuted"
    held = fit_order(h, error, 2.0, memory=1.0 / tau)
    assert held.verdict == "inconclusive"
    assert "needs h <= 1e-08" in held.reason
    assert fit_order(h, error, 2.0, memory=0.05 / h.min()).verdict == "refuted"


@pytest.mark.parametrize("error", [1.0 / H, H**-0.2, np.full_like(H, 3e-3), H**0.3])
def test_errors_that_grow_or_stay_the_same_are_refuted(error: np.ndarray) -> None:
    assert fit_order(H, error, 2.0).verdict == "refuted"


@pytest.mark.parametrize("floor", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, -1e-1, -1e-2, -1e-4, -1e-6])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_error_at_an_unknown_floor_is_not_refuted(floor: float, power: float) -> None:
    h = 2.0 ** -np.arange(2.0, 12.0)
    for error in (h**power + floor, np.abs(h**power + floor)):
        assert fit_order(h, error, power).verdict != "refuted"


def test_rounding_that_grows_as_h_falls_is_not_refuted() -> None:
    # numerical differentiation: h^2 + u/h
    assert fit_order(H, H**2 + 1e-7 / H, 2.0).verdict == "inconclusive"


def test_falling_slopes_refute_only_where_memory_and_floor_are_known() -> None:
    error = H**2 + 4.0 * H.min() * H
    assert fit_order(H, error, 2.0).verdict == "inconclusive"
    assert fit_order(H, error, 2.0, floor=0.0, memory=1.0).verdict == "refuted"
    assert fit_order(H, error, 2.0, memory=1.0).verdict == "inconclusive"
    assert fit_order(H, error, 2.0, floor=0.0, memory=1.0 / H.min()).verdict == "inconclusive"


def test_falls_within_the_scatter_of_the_slopes_are_noise() -> None:
    assert not falls_away(np.array([1.94, 1.68, 2.06, 2.02, 1.94]))
    smooth = 2.0 - 1.0 / (1.0 + np.array([30.0, 15.0, 7.5, 3.75, 1.9]))
    assert falls_away(smooth)
    assert not falls_away(smooth[1:])
    assert not falls_away(np.array([1.9, 1.9, 1.9, 1.9, 1.9]))
    # a fall and a much smaller one, beside slopes that jump
    assert not falls_away(np.array([1.9, 2.2, 1.9, 2.2, 1.9, 1.89]))


def test_scattered_slopes_of_a_true_claim_are_not_refuted() -> None:
    """The slopes of one draw of an i.i.d. schedule, of order 2."""
    h = 0.5 / 2.0 ** np.arange(6.0, 12.0)
    slopes = np.array([1.9368, 1.6836, 2.0604, 2.0180, 1.9392])
    error = np.exp(np.concatenate([[0.0], -np.log(2.0) * np.cumsum(slopes)]))
    assert fit_order(h, error, 2.0, floor=0.0, memory=10.0).verdict != "refuted"


def test_vanishing_sampling_error_is_no_sampling_error() -> None:
    error = H**2 * (1.0 + 3.0 * H)
    plain = fit_order(H, error, 2.0)
    for sampling in (0.0, 1e-14 * np.sqrt(H)):
        fit = fit_order(H, error, 2.0, sampling=sampling)
        assert fit.verdict == plain.verdict == "confirmed"
        assert fit.interval == pytest.approx(plain.interval, abs=1e-3)


def test_no_width_is_below_what_sampling_implies() -> None:
    # exact data: residuals of zero must not hide the noise that is known to be there
    s = 0.05
    fit = fit_order(H, H**2, 2.0, sampling=s)
    x = np.log(H)
    # normal quantile at 99 %, straight line through all points
    least = 2.5758 * s / np.sqrt(((x - x.mean()) ** 2).sum())
    assert 2.0 - fit.interval[0] >= 0.999 * least
    assert fit.interval[1] - 2.0 >= 0.999 * least
    assert "Sampling errors of 5 to 5 %" in fit.explain()


def test_entries_lost_in_sampling_noise_are_dropped() -> None:
    sampling = np.where(H > 0.02, 0.6, 0.01)
    fit = fit_order(H, np.where(H > 0.02, 1.0, H**2), 2.0, sampling=sampling)
    assert (fit.status[H > 0.02] == Status.SAMPLING).all()
    assert fit.verdict == "confirmed"


def test_weights_follow_the_sampling_error() -> None:
    # one coarse entry is far off, and is known to be that uncertain
    error = H**2.0
    error[1] *= 1.5
    sampling = np.full_like(H, 0.01)
    assert fit_order(H, error, 2.0, sampling=sampling).interval[0] < 2.0
    sampling[1] = 0.45
    fit = fit_order(H, error, 2.0, sampling=sampling)
    assert fit.verdict == "confirmed"
    assert abs(fit.order - 2.0) < 0.01


def test_nan_entries_are_reported() -> None:
    error = H**2
    error[[1, 3]] = np.nan, np.inf
    fit = fit_order(H, error, 2.0)
    assert fit.verdict == "confirmed"
    assert list(np.flatnonzero(fit.status == Status.NOT_FINITE)) == [1, 3]
    assert "not finite" in fit.explain()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_order_scale_and_units_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    error = H**2 * (1.0 + rng.uniform(-3, 3) * H) * (1.0 + 0.01 * rng.normal(size=H.shape))
    shuffle = rng.permutation(len(H))
    one = fit_order(H, error, 2.0)
    other = fit_order(3.7 * H[shuffle], -1e-9 * error[shuffle], 2.0)
    assert other.order == pytest.approx(one.order, abs=1e-6)
    assert other.interval == pytest.approx(one.interval, abs=1e-6)
    assert (one.used[shuffle] == other.used).all()


def test_problems_do_not_disturb_each_other() -> None:
    data = draw(40, 9, seed=3)
    together = fit_orders(data.h, data.error, 2.0, floor=data.floor)
    for b, fit in enumerate(together):
        alone = fit_order(data.h[b], data.error[b], 2.0, floor=data.floor[b])
        assert alone.interval == fit.interval
        assert alone.verdict == fit.verdict
        np.testing.assert_equal(alone.order, fit.order)


def heun(field: Callable[[float], float], start: float, steps: int) -> float:
    y, h = start, 1.0 / steps
    for _ in range(steps):
        k = field(y)
        y += 0.5 * h * (k + field(y + h * k))
    return y


def test_textbook_integrators() -> None:
    def field(y: float) -> float:
        return y * (1.0 - y)

    steps = np.array([4, 7, 12, 20, 33, 60, 100])
    exact = 1.0 / (1.0 + 4.0 * np.exp(-1.0))
    error = np.array([heun(field, 0.2, int(n)) - exact for n in steps])
    assert_order(1.0 / steps, error, 2.0, exact=True)
    assert_order(1.0 / steps, error, 3.0, verdict="refuted")


def test_calibration_on_known_laws() -> None:
    outcomes = [o for steps in (5, 7, 9, 12) for o in judge(draw(250, steps, seed=11))]
    total = len(outcomes)
    yes = sum(o.visible and not o.true and o.fit.verdict == "confirmed" for o in outcomes)
    no = sum(o.visible and o.true and o.fit.verdict == "refuted" for o in outcomes)
    assert total == 1000
    assert yes <= 5
    assert no <= 5
    clean = [o.fit.verdict for o in outcomes if o.clean]
    assert clean.count("inconclusive") <= 0.05 * len(clean)


def test_pooling() -> None:
    good = H**2 * (1.0 + H)
    noisy = good * (1.0 + 0.3 * np.sin(np.arange(len(H)) * 2.5))
    bad = H**2 + 0.05 * H

    def pool(*rows: np.ndarray) -> Any:
        fits = fit_orders(H, np.stack(rows), 2.0)
        return pool_orders(fits, 2.0, False, 0.99)

    assert pool(good, good, good, noisy).verdict == "confirmed"
    assert pool(good, good, good, noisy).worst_index == 3
    assert pool(good, good, noisy).verdict == "inconclusive"
    refuted = pool(good, good, good, good, bad, noisy)
    assert refuted.verdict == "refuted"
    assert refuted.worst_index == 4
    assert refuted.order == pytest.approx(2.0, abs=0.1)
    with pytest.raises(ValueError, match="at least one"):
        pool_orders([], 2.0)
    with pytest.raises(ValueError, match="made for expected"):
        pool_orders(fit_orders(H, good[None], 2.0), 3.0)


def test_explain_and_plot() -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    fit = fit_order(H, H**2 * (1 + H), 2.0, floor=1e-12, memory=2.0)
    text = fit.explain()
    for part in ("8 of 8 points are usable", "Local slopes", "bound [", "Verdict: confirmed"):
        assert part in text
    ax = fit.plot()
    assert fit.plot(ax) is ax
    assert isinstance(fit, OrderFit)
    import matplotlib.pyplot as plt

    plt.close("all")


def test_assert_order_says_why() -> None:
    with pytest.raises(AssertionError, match="Verdict: refuted"):
        assert_order(H, H, 2.0)
    with pytest.raises(ValueError, match="verdict"):
        assert_order(H, H, 2.0, verdict="yes")
