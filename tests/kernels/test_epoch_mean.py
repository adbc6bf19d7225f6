"""The mean of one epoch over given orders: compiled against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stepbias.kernels.epoch_mean import epoch_mean
from stepbias.kernels.loss import Loss
from stepbias.theory import shuffling

Floats = NDArray[np.float64]


def walked(loss: Loss, theta: Floats, h: float, order: NDArray[np.int64]) -> Floats:
    point = theta
    for b in order:
        point = point - h * loss.gradient(int(b), point)
    return point - theta


def problems(family: str, batches: int) -> tuple[Loss, Floats]:
    loss = Loss.random(family, 2, batches, problems=3, seed=4)
    return loss, np.random.default_rng(3).normal(size=(3, 2))


@pytest.mark.parametrize("family", ["sinusoid", "log-sum-exp", "perturbed-quadratic"])
def test_all_orders_against_plain_loops(family: str) -> None:
    loss, theta = problems(family, 4)
    orders = shuffling.all_orders(4)
    found = epoch_mean(loss, theta, 0.1, orders)
    samples = np.array([walked(loss, theta, 0.1, order) for order in orders])
    # positions of order 1 are rounded at each of four steps in the plain loop
    np.testing.assert_allclose(found.mean, samples.mean(axis=0), rtol=0, atol=1e-14)
    spread = samples.std(axis=0) / np.sqrt(len(orders) - 1)
    np.testing.assert_allclose(found.error, spread, rtol=1e-9)
    assert np.ptp(samples, axis=0).min() > 1e-4  # the order matters


def test_orders_need_not_be_sorted() -> None:
    loss, theta = problems("sinusoid", 5)
    orders = shuffling.all_orders(5)
    shuffled = orders[np.random.default_rng(0).permutation(len(orders))]
    one, other = (epoch_mean(loss, theta, 0.1, given).mean for given in (orders, shuffled))
    np.testing.assert_allclose(one, other, rtol=1e-13)  # sums in another order


def test_both_ways_averages_an_order_and_its_reverse() -> None:
    loss, theta = problems("logistic", 6)
    orders = shuffling.random_orders(6, 40, np.random.default_rng(5))
    found = epoch_mean(loss, theta, 0.1, orders, both_ways=True)
    samples = np.array(
        [
            0.5 * (walked(loss, theta, 0.1, order) + walked(loss, theta, 0.1, order[::-1]))
            for order in orders
        ]
    )
    np.testing.assert_allclose(found.mean, samples.mean(axis=0), rtol=0, atol=1e-14)
    spread = samples.std(axis=0) / np.sqrt(len(orders) - 1)
    np.testing.assert_allclose(found.error, spread, rtol=1e-6)
    single = epoch_mean(loss, theta, 0.1, orders)
    # what differs between the orders is O(h^3) in pairs, O(h^2) without
    assert np.all(found.error < 0.5 * single.error)


def test_monte_carlo_interval_covers_the_exact_mean() -> None:
    loss, theta = problems("sinusoid", 6)
    exact = epoch_mean(loss, theta, 0.05, shuffling.all_orders(6)).mean
    for seed in range(20):
        orders = shuffling.random_orders(6, 64, np.random.default_rng(seed))
        found = epoch_mean(loss, theta, 0.05, orders, both_ways=True)
        # 120 nearly normal numbers with 63 degrees of freedom: one beyond 5.5 in a thousand runs
        assert np.all(np.abs(found.mean - exact) < 5.5 * found.error)


@pytest.mark.parametrize("rows", [[[0, 0, 1]], [[0, 1]], [0, 1, 2], [[0, 1, 3]]])
def test_what_is_no_order_is_refused(rows: list[list[int]]) -> None:
    loss, theta = problems("sinusoid", 3)
    with pytest.raises(ValueError, match="no order of 3 batches"):
        epoch_mean(loss, theta, 0.1, np.array(rows, dtype=np.int64))
