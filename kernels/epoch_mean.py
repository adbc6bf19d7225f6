"""Mean over given orders of one epoch of SGD, all problems in the lanes of one block.

Consecutive orders share what they begin with: in lexicographic order all m! of them cost about e m! gradients, not m m!.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.compensated import add
from stepbias.kernels.jit import kernel

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@kernel()
def _epochs(gradient_of, data, orders, both_ways, h, theta0, moved, gradient, high, low, squares):
    """Sums over the orders: displacements (compensated: high + low) and squared distances from the first one.

    ``moved`` (m + 1, p, L) holds the displacement after every step of the current order.
    """
    ints, reals, work = data
    count, m = orders.shape
    p, lanes = theta0.shape
    theta = np.empty((p, lanes))
    first = np.empty((p, lanes))
    sample = np.empty((p, lanes))
    passes = 2 if both_ways else 1
    for s in range(count):
        sample[:, :] = 0.0
        for way in range(passes):
            kept = 0
            if s > 0 and not both_ways:
                while kept < m and orders[s, kept] == orders[s - 1, kept]:
                    kept += 1
            for k in range(kept, m):
                batch = orders[s, m - 1 - k] if way == 1 else orders[s, k]
                theta[:, :] = theta0 + moved[k]
                gradient_of(batch, theta, ints, reals, work, gradient)
                moved[k + 1] = moved[k] - h * gradient
            sample += moved[m] / passes
        if s == 0:
            first[:, :] = sample
        for j in range(p):
            for lane in range(lanes):
                high[j, lane], low[j, lane] = add(high[j, lane], low[j, lane], sample[j, lane])
                squares[j, lane] += (sample[j, lane] - first[j, lane]) ** 2
    return first


class EpochMean(NamedTuple):
    """Displacement over one epoch: its mean over the orders, and the standard error of that mean were the orders random; each (B, p)."""

    mean: Floats
    error: Floats


def epoch_mean(
    loss: Any, theta0: Floats, h: float, orders: Integers, both_ways: bool = False
) -> EpochMean:
    """Mean over ``orders`` of the displacement of one epoch of SGD, theta <- theta - h g_b for the batches b of an order.

    Parameters
    ----------
    loss : Loss
        m batches; B problems.
    theta0 : (B, p) float64
    h : float
    orders : (S, m) int64
    both_ways : bool
        Every order is also walked backwards, and the two ends averaged into one sample: the term of order h^2 of the two does not depend on the order.

    Returns
    -------
    EpochMean

    Raises
    ------
    ValueError
        If a row of ``orders`` is no order of the m batches.
    """
    count, dim = theta0.shape
    m = loss.batches
    if orders.ndim != 2 or not np.array_equal(
        np.sort(orders, axis=1), np.tile(np.arange(m), (len(orders), 1))
    ):
        raise ValueError(f"orders has rows that are no order of {m} batches; accepted: (S, {m})")
    ints, reals = loss.pack(np.arange(count, dtype=np.int64))
    high, low, squares, gradient = np.zeros((4, dim, count))
    first = _epochs(
        loss.source.oracle.gradient,
        (ints, reals, np.zeros(max(1, loss.source.work_size(count)))),
        np.ascontiguousarray(orders, dtype=np.int64),
        both_ways,
        h,
        np.ascontiguousarray(theta0.T),
        np.zeros((m + 1, dim, count)),
        gradient,
        high,
        low,
        squares,
    )
    size = len(orders)
    mean = (high + low) / size
    spread = np.maximum(squares / size - (mean - first) ** 2, 0.0)
    return EpochMean(np.asarray(mean.T), np.asarray(np.sqrt(spread / max(size - 1, 1)).T))
