"""Tables of an optimizer's weights along one schedule: what the memory sums read instead of computing powers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.jit import kernel

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Weights below this are under the rounding unit of a double (2^-53) by a factor 128, and are dropped.
_NEGLIGIBLE = 2.0**-60


class Rule(NamedTuple):
    """An optimizer of the Adam family on one schedule, as the kernels read it.

    ``mean_weight[n, b]`` is w_b^(n), the sum of beta^(n-k) (1 - beta) over the steps k <= n with batch b, before bias correction; ``square_weight`` the
    same with rho. ``mean_power[i]`` is beta^i (1 - beta). ``mean_correction[n]`` is 1 / (1 - beta^(n+1)), or 1. From step ``settled`` on no U in memory
    depends on its step (full batch); from step ``repeats`` on every U in memory is that of the step m later (few batches in an order that repeats), and
    ``mean_cycle`` holds the weights of :func:`cycle_weights`.

    Per-step tables end at ``last``: a reader takes row ``min(n, last)``. For several batches that is the last step. For one batch the rows that a step
    reads (its own and those of its window) are equal to the last bit from there on, so that a run of any length needs tables of three windows; see
    :func:`table_length`.
    """

    beta: float
    rho: float
    eps: float
    eps_root: float
    window: int
    settled: int
    last: int
    batch: Integers
    mean_correction: Floats
    square_correction: Floats
    mean_weight: Floats
    square_weight: Floats
    mean_power: Floats
    square_power: Floats
    mean_lag: Floats
    square_lag: Floats
    repeats: int
    mean_cycle: Floats  # (m, m); (1, 1) where it is not used
    square_cycle: Floats


def memory_window(beta: float, rho: float) -> int:
    """Number of past steps whose weight is not negligible for beta or rho."""
    decay = max(beta, rho)
    return 1 if decay == 0.0 else math.ceil(math.log(_NEGLIGIBLE) / math.log(decay))


def _corrections(decay: float, steps: int, corrected: bool) -> Floats:
    if not corrected:
        return np.ones(steps)
    return 1.0 / (1.0 - decay ** np.arange(1, steps + 1, dtype=np.float64))


def _lags(decay: float, steps: int) -> Floats:
    """Sum over k < n of decay^(n-k) (1 - decay) (n - k), for n = 0 .. steps - 1."""
    age = np.arange(steps, dtype=np.float64)
    return np.cumsum(age * decay**age * (1.0 - decay))


def _settled(batches: int, bias_correction: bool, window: int, steps: int) -> int:
    """First step from which M, V and so U are the same at every step in memory, so that the sums collapse (Remark 3.2); ``steps`` if none is.

    Full batch only: at once with bias correction; without it when the weight of the start is negligible even at the oldest step in memory.
    """
    if batches > 1:
        return steps
    return 0 if bias_correction else min(2 * window, steps)


def table_length(batches: int, memory: int, steps: int) -> int:
    """Rows of the per-step tables, at most ``steps``.

    One batch, memory W = :func:`memory_window`: from row 2 W on all tables are constant. Corrections are 1 / (1 - x) with x < 2^-60; a further age adds
    less than 2^-54 of the sum of ages; and the recursion w <- fl(d w + (1 - d)) never falls, is within 2 u / (1 - d) of its limit after W steps
    (u = 2^-53, half-ulp roundings of two operations, damped by d), and a step that does not raise w by one u leaves it fixed for good: at most
    4 / (1 - d) < W / 10 rows later. A step reads one row before its window of W, so that rows 3 W + 1 and later give the same bits.
    """
    return steps if batches > 1 else min(steps, 3 * memory + 2)


def one_cycle_pays(batch: Integers, batches: int, window: int) -> bool:
    """Whether several batches come in an order that repeats after as many steps, and few enough for their number.

    For every entry a cycle takes about 4 m^2 + 25 m operations (m averages of m batches, m roots, m^2 weights), a window 25 W; half of that is asked for.
    """
    if batches == 1 or 8 * batches * batches + 50 * batches > 25 * window:
        return False
    return bool(np.array_equal(batch[batches:], batch[:-batches]))


def cycle_weights(power: Floats, batches: int) -> Floats:
    """Weights that sum the lags of a memory whose directions repeat after m steps.

    Let U^(n-a) depend on the age a through (a - 1) mod m alone. The sum over the ages a = 1 .. W of power[a - 1] (T_n - T_{n-a}), of those with
    (a - 1) mod m = s, is then the sum over q of out[s, q] U^(n-1-q): of the steps n - a .. n - 1 those with the direction of step n - 1 - q are counted.

    Parameters
    ----------
    power : (W,) float64
        Weight of the ages 1 .. W.
    batches : int
        m.

    Returns
    -------
    (m, m) float64
    """
    before = np.arange(len(power))
    out = np.zeros((batches, batches))
    for q in range(batches):
        counted = np.maximum((before - q) // batches + 1, 0) * power
        out[:, q] = np.bincount(before % batches, weights=counted, minlength=batches)
    return out


@kernel()
def _class_weights(batch, decay, out):
    for n in range(out.shape[0]):
        for b in range(out.shape[1]):
            out[n, b] = decay * out[n - 1, b] if n > 0 else 0.0
        out[n, batch[n]] += 1.0 - decay


def make_rule(
    beta: float,
    rho: float,
    eps: float,
    eps_root: float,
    bias_correction: bool,
    batch: Integers,
    batches: int,
) -> Rule:
    """Tables for the steps 0 .. len(batch) - 1.

    ``batch`` may be a view of one repeated number; for one batch only its beginning is read.
    """
    steps, memory = len(batch), memory_window(beta, rho)
    window = min(memory, steps)
    rows = table_length(batches, memory, steps)
    batch = np.ascontiguousarray(batch[:rows])
    mean_weight, square_weight = np.empty((2, rows, batches))
    _class_weights(batch, beta, mean_weight)
    _class_weights(batch, rho, square_weight)
    age = np.arange(window + 1, dtype=np.float64)
    mean_power, square_power = beta**age * (1.0 - beta), rho**age * (1.0 - rho)
    # every average in memory has to have forgotten its beginning
    repeats, cycles = steps, np.zeros((2, 1, 1))
    if 2 * window + batches < steps and one_cycle_pays(batch, batches, window):
        repeats = 2 * window + batches
        cycles = np.array(
            [cycle_weights(power[1:], batches) for power in (mean_power, square_power)]
        )
    return Rule(
        beta=float(beta),
        rho=float(rho),
        eps=float(eps),
        eps_root=float(eps_root),
        window=window,
        settled=_settled(batches, bias_correction, window, steps),
        last=rows - 1,
        batch=batch,
        mean_correction=_corrections(beta, rows, bias_correction),
        square_correction=_corrections(rho, rows, bias_correction),
        mean_weight=mean_weight,
        square_weight=square_weight,
        mean_power=mean_power,
        square_power=square_power,
        mean_lag=_lags(beta, rows),
        square_lag=_lags(rho, rows),
        repeats=repeats,
        mean_cycle=cycles[0],
        square_cycle=cycles[1],
    )
