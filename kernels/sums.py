"""The memory sums in one pass over the steps: O(n p), nothing stored per step.

At a fixed theta let T_k be the sum of U^(l) over l < k. The sums that the printed L and P need, one vector per batch,

    A_b = sum over k < n with batch b of beta^(n-k) (1 - beta) (T_n - T_k),

are accumulated with the prefix sums T_k, so that step k touches only the accumulator of its own batch. The subtraction costs at most a factor
(window length) (1 - beta) in rounding, since the window is as long as the slowest memory and T starts at 0 at its beginning; the sums enter the field
multiplied by h.

Arrays are flat over (component, lane): every loop below is one contiguous range that LLVM vectorises.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.elementary import reciprocal_root
from stepbias.kernels.jit import (
    aligned,
    contracted,
    contracted_inline,
    inline,
    inlined_kernel,
    kernel,
    wide_vectors,
)
from stepbias.theory import adam

Floats = NDArray[np.float64]

_decayed = contracted_inline(adam.decayed)
_direction = inline(adam.direction)
_entering = inline(adam.entering)
_lag = inline(adam.lag)
_constant_lag = inline(adam.constant_lag)


# Stands for 0 under the root: its root, 1e-145, vanishes beside eps.
_TINY = 1e-290


@contracted_inline
def direction_inside(mean: float, square: float, eps_root: float) -> float:
    """:func:`stepbias.theory.adam.direction` for eps = 0."""
    return mean * reciprocal_root(square + eps_root)


@contracted_inline
def direction_outside(mean: float, square: float, eps: float, eps_root: float) -> float:
    """:func:`stepbias.theory.adam.direction` for eps > 0: the root by multiplication, one division."""
    total = max(square + eps_root, _TINY)
    return mean / (total * reciprocal_root(total) + eps)


# The running arrays are as long as a whole number of these, the tail zero: a vectorised loop handles what is left over one by one.
_CHUNK = 32


class SumState(NamedTuple):
    """Scratch and results of :func:`memory_sums` for P = p L flat entries and m batches; Q is P rounded up.

    After the call ``mean`` holds M, ``square`` V (both corrected), ``step`` U^(n), ``mean_lag[b]`` the vector that H_b multiplies to give 2 L + Lbar
    summed over b, and ``square_lag[b]`` the one for 2 P + Pbar.
    """

    mean: Floats  # (P,)
    square: Floats  # (P,)
    step: Floats  # (P,)
    mean_lag: Floats  # (m, P)
    square_lag: Floats  # (m, P)
    running: Floats  # (3, Q): uncorrected averages, prefix sum T
    fresh_mean: Floats  # (m, Q): (1 - beta) g
    fresh_square: Floats  # (m, Q): (1 - rho) g^2
    mean_total: Floats  # (m, Q): sum of beta-powers times T
    square_total: Floats  # (m, Q): sum of rho-powers times T


def make_sum_state(batches: int, size: int) -> SumState:
    """Allocate the arrays of a block once."""
    padded = -(-size // _CHUNK) * _CHUNK
    return SumState(
        mean=aligned(size),
        square=aligned(size),
        step=aligned(size),
        mean_lag=aligned((batches, size)),
        square_lag=aligned((batches, size)),
        running=aligned((3, padded)),
        fresh_mean=aligned((batches, padded)),
        fresh_square=aligned((batches, padded)),
        mean_total=aligned((batches, padded)),
        square_total=aligned((batches, padded)),
    )


@inlined_kernel
def averages(rule, n, gradients, mean, square):
    """M (corrected) and V (corrected) at step n from the class weights: O(m P)."""
    n = min(n, rule.last)
    for i in range(mean.shape[0]):
        mean[i] = 0.0
        square[i] = 0.0
    for b in range(gradients.shape[0]):
        w = rule.mean_weight[n, b] * rule.mean_correction[n]
        r = rule.square_weight[n, b] * rule.square_correction[n]
        g = gradients[b]
        for i in range(mean.shape[0]):
            mean[i] += w * g[i]
            square[i] += r * g[i] * g[i]


@contracted
def _steps(rule, first, n, state):
    """Steps first .. n - 1: moving averages, U, prefix sums, and the accumulators sum_k power * T_k of every batch.

    The test for eps does not depend on the loops; LLVM makes two loops of them.
    """
    wide_vectors()
    mean, square, prefix = state.running[0], state.running[1], state.running[2]
    beta, rho, eps, eps_root = rule.beta, rule.rho, rule.eps, rule.eps_root
    inside = eps == 0.0
    for k in range(first, n):
        b = rule.batch[k]
        g, gg, a, c = (
            state.fresh_mean[b],
            state.fresh_square[b],
            state.mean_total[b],
            state.square_total[b],
        )
        mc, sc = rule.mean_correction[k], rule.square_correction[k]
        w, r = rule.mean_power[n - k], rule.square_power[n - k]
        for i in range(mean.shape[0]):
            m = _decayed(mean[i], g[i], beta)
            v = _decayed(square[i], gg[i], rho)
            t = prefix[i]
            mean[i] = m
            square[i] = v
            a[i] += w * t
            c[i] += r * t
            if inside:
                prefix[i] = t + mc * direction_inside(m, v * sc, eps_root)
            else:
                prefix[i] = t + direction_outside(m * mc, v * sc, eps, eps_root)


@kernel()
def _begin(rule, first, gradients, state):
    """State before step ``first``: uncorrected averages by the class weights, the weighted new entries of every batch, everything else zero."""
    state.running[:, :] = 0.0
    state.mean_total[:, :] = 0.0
    state.square_total[:, :] = 0.0
    mean, square = state.running[0], state.running[1]
    for b in range(gradients.shape[0]):
        g, fm, fs = gradients[b], state.fresh_mean[b], state.fresh_square[b]
        for i in range(g.shape[0]):
            fm[i] = _entering(g[i], rule.beta)
            fs[i] = _entering(g[i] * g[i], rule.rho)
        if first > 0:
            w, r = rule.mean_weight[first - 1, b], rule.square_weight[first - 1, b]
            for i in range(g.shape[0]):
                mean[i] += w * g[i]
                square[i] += r * (g[i] * g[i])


@kernel()
def _finish(rule, n, short_memory, gradients, factors, state):
    """M, V, U at step n, then 2 L A_b + Lbar w_b U and its square counterpart, with the factors on the named terms."""
    prefix, size = state.running[2], state.step.shape[0]
    if short_memory and n > 0:
        # The prefix T_{n-1} in place of T_n: take back U^(n-1).
        averages(rule, n - 1, gradients, state.mean, state.square)
        for i in range(size):
            prefix[i] -= _direction(state.mean[i], state.square[i], rule.eps, rule.eps_root)
    averages(rule, n, gradients, state.mean, state.square)
    for i in range(size):
        state.step[i] = _direction(state.mean[i], state.square[i], rule.eps, rule.eps_root)
    mc, sc = rule.mean_correction[n], rule.square_correction[n]
    for b in range(gradients.shape[0]):
        past_w = rule.beta * rule.mean_weight[n - 1, b] if n > 0 else 0.0
        past_r = rule.rho * rule.square_weight[n - 1, b] if n > 0 else 0.0
        now_w, now_r = rule.mean_weight[n, b], rule.square_weight[n, b]
        a, c, total_a, total_c = (
            state.mean_lag[b],
            state.square_lag[b],
            state.mean_total[b],
            state.square_total[b],
        )
        for i in range(size):
            t, u = prefix[i], state.step[i]
            a[i] = mc * _lag(past_w, t, total_a[i], now_w, u, factors[2], factors[3])
            c[i] = sc * _lag(past_r, t, total_c[i], now_r, u, factors[4], factors[5])


@inlined_kernel
def _constant_direction(rule, n, gradients, factors, state):
    """Full batch, settled: U does not depend on the step, T_n - T_k = (n - k) U."""
    averages(rule, n, gradients, state.mean, state.square)
    w = rule.mean_correction[n] * rule.mean_weight[n, 0]
    r = rule.square_correction[n] * rule.square_weight[n, 0]
    lag_w = rule.mean_correction[n] * rule.mean_lag[n]
    lag_r = rule.square_correction[n] * rule.square_lag[n]
    for i in range(state.mean.shape[0]):
        u = _direction(state.mean[i], state.square[i], rule.eps, rule.eps_root)
        state.step[i] = u
        state.mean_lag[0, i] = _constant_lag(lag_w, w, u, factors[2], factors[3])
        state.square_lag[0, i] = _constant_lag(lag_r, r, u, factors[4], factors[5])


@kernel()
def _repeating(rule, n, gradients, factors, state):
    """Batches in an order that repeats, settled: the m directions in memory, each with the weight of all its steps."""
    size = state.step.shape[0]
    state.mean_total[:, :] = 0.0
    state.square_total[:, :] = 0.0
    for q in range(gradients.shape[0]):
        averages(rule, n - 1 - q, gradients, state.mean, state.square)
        for i in range(size):
            state.step[i] = _direction(state.mean[i], state.square[i], rule.eps, rule.eps_root)
        for s in range(gradients.shape[0]):
            b = rule.batch[n - 1 - s]
            w, r = rule.mean_cycle[s, q], rule.square_cycle[s, q]
            a, c = state.mean_total[b], state.square_total[b]
            for i in range(size):
                a[i] += w * state.step[i]
                c[i] += r * state.step[i]
    averages(rule, n, gradients, state.mean, state.square)
    for i in range(size):
        state.step[i] = _direction(state.mean[i], state.square[i], rule.eps, rule.eps_root)
    mc, sc = rule.mean_correction[n], rule.square_correction[n]
    for b in range(gradients.shape[0]):
        w, r = rule.mean_weight[n, b], rule.square_weight[n, b]
        for i in range(size):
            u, a, c = state.step[i], state.mean_total[b, i], state.square_total[b, i]
            state.mean_lag[b, i] = mc * _lag(1.0, a, 0.0, w, u, factors[2], factors[3])
            state.square_lag[b, i] = sc * _lag(1.0, c, 0.0, r, u, factors[4], factors[5])


@inlined_kernel
def memory_sums(rule, n, short_memory, gradients, factors, state):
    """All sums at step n from the batch gradients (m, P) at one theta.

    Parameters
    ----------
    rule : Rule
    n : int
        Step; past the end of the tables, their last row.
    short_memory : bool
        The wrong variant whose inner sums end at n - 2.
    gradients : (m, P) float64
        Gradient of every batch, flat over (component, lane).
    factors : (7,) float64
        Factors on M, R, L, Lbar, P, Pbar, bias; those of L .. Pbar are applied here.
    state : SumState
        Overwritten; see there for what it holds afterwards.
    """
    n = min(n, rule.last)
    if n >= rule.settled and not short_memory:
        _constant_direction(rule, n, gradients, factors, state)
        return
    if n >= rule.repeats and not short_memory:
        _repeating(rule, n, gradients, factors, state)
        return
    first = max(0, n - rule.window)
    _begin(rule, first, gradients, state)
    _steps(rule, first, n, state)
    _finish(rule, n, short_memory, gradients, factors, state)
