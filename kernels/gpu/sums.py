"""The memory sums on the GPU: one thread, or one turn of a thread's loop, for each entry (component, lane).

The recursion is that of :mod:`stepbias.kernels.sums`; here the running numbers of an entry stay in registers, and the accumulators of its batches beside it.
Neighbouring threads follow the same rule at the same step, so that what they read of the tables is one number for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import float64

from stepbias.kernels import sums
from stepbias.kernels.gpu.bind import device
from stepbias.kernels.gpu.local import device_function, thread
from stepbias.kernels.rule import Rule
from stepbias.theory import adam

_decayed, _entering, _direction, _lag, _constant_lag = (
    device(f) for f in (adam.decayed, adam.entering, adam.direction, adam.lag, adam.constant_lag)
)
_inside, _outside = device(sums.direction_inside), device(sums.direction_outside)


class Tables(NamedTuple):
    """R rules of a launch; see :class:`stepbias.kernels.rule.Rule`. Rule r owns the entries from ``start[r]`` (per step) and ``power[r]`` (per age)."""

    beta: Any
    rho: Any
    eps: Any
    eps_root: Any
    window: Any
    settled: Any
    last: Any
    start: Any
    power: Any
    batch: Any
    mean_correction: Any
    square_correction: Any
    mean_weight: Any  # (steps, m) flat
    square_weight: Any
    mean_power: Any
    square_power: Any
    mean_lag: Any
    square_lag: Any


_PER_STEP = (
    "batch",
    "mean_correction",
    "square_correction",
    "mean_weight",
    "square_weight",
    "mean_lag",
    "square_lag",
)


def tables(rules: Sequence[Rule]) -> Tables:
    """Rules one behind the other, in the host's memory."""
    columns: dict[str, Any] = {
        name: np.array([getattr(rule, name) for rule in rules])
        for name in ("beta", "rho", "eps", "eps_root", "window", "settled", "last")
    }
    for name in _PER_STEP:
        columns[name] = np.concatenate([getattr(rule, name).reshape(-1) for rule in rules])
    for name in ("mean_power", "square_power"):
        columns[name] = np.concatenate([getattr(rule, name) for rule in rules])
    if len(columns["batch"]) >= 2**32:  # the kernel counts steps in 32 bits
        raise MemoryError(f"{len(columns['batch'])} steps of weights; accepted: fewer than 2^32")
    columns["start"] = _starts([len(rule.batch) for rule in rules])
    columns["power"] = _starts([len(rule.mean_power) for rule in rules])
    return Tables(**columns)


def _starts(lengths: Sequence[int]) -> Any:
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)


class Results(NamedTuple):
    """What the sums leave, flat: M and V (corrected) and R of every entry; the lag vectors of every batch and entry."""

    mean: Any
    square: Any
    mean_lag: Any
    square_lag: Any


@device_function
def table_step(rules, r, n):
    """Step n, or the last one that the tables of a full batch hold: nothing changes after it."""
    last = rules.last[r]
    return n if n < last else last


@cache
def averages(batches: int) -> Any:
    """Device function: M and V (corrected) of entry i at step n."""

    @device_function
    def of_entry(rules, r, n, i, stride, gradients):
        row = rules.start[r] + table_step(rules, r, n)
        mc, sc = rules.mean_correction[row], rules.square_correction[row]
        mean, square = 0.0, 0.0
        for b in range(batches):
            g = gradients[b * stride + i]
            mean += rules.mean_weight[row * batches + b] * mc * g
            square += rules.square_weight[row * batches + b] * sc * g * g
        return mean, square

    return of_entry


@cache
def entry(batches: int) -> Any:
    """Device function: all sums of entry i at step n.

    ``gradients[b * stride + i]`` is the gradient of batch b; ``factors`` (7,) are those on M, R, L, Lbar, P, Pbar, bias, of which L .. Pbar are applied.
    """
    averages_at = averages(batches)
    history = _history(batches)

    @device_function
    def of_entry(rules, r, n, short_memory, factors, i, stride, gradients, out):
        n = table_step(rules, r, n)
        mean, square = averages_at(rules, r, n, i, stride, gradients)
        eps, eps_root = rules.eps[r], rules.eps_root[r]
        u = _direction(mean, square, eps, eps_root)
        out.mean[i], out.square[i] = mean, square
        row = rules.start[r] + n
        mc, sc = rules.mean_correction[row], rules.square_correction[row]
        if n >= rules.settled[r] and not short_memory:
            w = mc * rules.mean_weight[row * batches]
            v = sc * rules.square_weight[row * batches]
            ages, square_ages = mc * rules.mean_lag[row], sc * rules.square_lag[row]
            out.mean_lag[i] = _constant_lag(ages, w, u, factors[2], factors[3])
            out.square_lag[i] = _constant_lag(square_ages, v, u, factors[4], factors[5])
            return
        total_a, total_c = (
            thread.local.array(batches, float64),
            thread.local.array(batches, float64),
        )
        prefix = history(rules, r, n, i, stride, gradients, total_a, total_c)
        if short_memory and n > 0:
            # The prefix T_{n-1} in place of T_n: take back U^(n-1).
            before, before_square = averages_at(rules, r, n - 1, i, stride, gradients)
            prefix -= _direction(before, before_square, eps, eps_root)
        for b in range(batches):
            at = row * batches + b
            past_w = rules.beta[r] * rules.mean_weight[at - batches] if n > 0 else 0.0
            past_r = rules.rho[r] * rules.square_weight[at - batches] if n > 0 else 0.0
            a = _lag(past_w, prefix, total_a[b], rules.mean_weight[at], u, factors[2], factors[3])
            c = _lag(past_r, prefix, total_c[b], rules.square_weight[at], u, factors[4], factors[5])
            out.mean_lag[b * stride + i] = mc * a
            out.square_lag[b * stride + i] = sc * c

    return of_entry


@cache
def _history(batches: int) -> Any:
    """Device function: the steps in memory of entry i; fills the accumulators of every batch and returns the prefix sum T_n."""

    @device_function
    def of_entry(rules, r, n, i, stride, gradients, total_a, total_c):
        beta, rho = rules.beta[r], rules.rho[r]
        eps, eps_root = rules.eps[r], rules.eps_root[r]
        fresh, fresh_square = (
            thread.local.array(batches, float64),
            thread.local.array(batches, float64),
        )
        first = max(0, n - rules.window[r])
        start, power = rules.start[r], rules.power[r] + n
        mean, square, prefix = 0.0, 0.0, 0.0
        for b in range(batches):
            g = gradients[b * stride + i]
            fresh[b], fresh_square[b] = _entering(g, beta), _entering(g * g, rho)
            total_a[b], total_c[b] = 0.0, 0.0
            if first > 0:
                before = (start + first - 1) * batches + b
                mean += rules.mean_weight[before] * g
                square += rules.square_weight[before] * (g * g)
        # Unsigned and short: a sign costs a test at every access, and a long index four instructions.
        row, age, end = np.uint32(start + first), np.uint32(power - first), np.uint32(start + n)
        while row < end:
            drawn = np.uint32(rules.batch[row])
            mean = _decayed(mean, fresh[drawn], beta)
            square = _decayed(square, fresh_square[drawn], rho)
            total_a[drawn] += rules.mean_power[age] * prefix
            total_c[drawn] += rules.square_power[age] * prefix
            mc = rules.mean_correction[row]
            corrected = square * rules.square_correction[row]
            if eps == 0.0:
                prefix += mc * _inside(mean, corrected, eps_root)
            else:
                prefix += _outside(mean * mc, corrected, eps, eps_root)
            row, age = np.uint32(row + np.uint32(1)), np.uint32(age - np.uint32(1))
        return prefix

    return of_entry
