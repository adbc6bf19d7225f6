"""The memoryless field of a rule whose states are weighted sums over the past: one pass over the steps, sums grouped by mini-batch.

As :mod:`stepbias.kernels.sums` does for Adam: the displacement W_k = 2 (T_n - T_k) + F^(n) enters state r with the weight w_k of step k and the Hessian of
its batch b, so that the sum over the steps of a batch, of w_k W_k, is taken before the Hessian. The rule itself comes as loops that are called by address.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.clock import note
from stepbias.kernels.copies import copy
from stepbias.kernels.jit import aligned, inline, inlined_kernel, kernel
from stepbias.kernels.traced import GroupedRule
from stepbias.kernels.views import flat, rows, shaped
from stepbias.theory import adam, memoryless

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_lag = inline(adam.lag)
_constant_lag = inline(adam.constant_lag)
_rate = inline(memoryless.rate)
_fed_change = inline(memoryless.fed_change)


# What the sweep reads and writes is as long as a whole number of these (a 512-bit vector), the tail zero: a vectorised loop handles what is left over one
# by one.
_CHUNK = 8


class GroupedState(NamedTuple):
    """Scratch of one field evaluation (m batches, p components, L lanes, P = p L, Q is P rounded up, R states, V = R + 1 rounded up to even)."""

    gradients: Floats  # (m, p, L)
    root: Floats  # (p, L): F^(n)
    slope: Floats  # (p, L): what a relative error of every gradient by one unit can change in F^(n)
    peak: Floats  # (L,): the largest |F| seen
    present: Floats  # (R + 2, P): gradient, theta and states that the direction reads; see :mod:`stepbias.kernels.clock`
    slopes: Floats  # (R + 2, P)
    earlier: Floats  # (R + 2, P)
    earlier_slopes: Floats  # (R + 2, P)
    feed: Floats  # (3, R, m, P)
    history: Floats  # (R, P)
    response: Floats  # (R + 3, P)
    before: Floats  # (R + 3, P)
    change: Floats  # (P,): of F^(n), by the memory
    point: Floats  # (Q,): theta
    fresh: Floats  # (m, Q): gradients
    fed: Floats  # (R, m, Q)
    running: Floats  # (R, Q): the states along the sweep
    prefix: Floats  # (Q,): T_k
    totals: Floats  # (R, m, Q)
    weights: Floats  # (R, window)
    weights_step: Integers  # (1,): the step whose weights these are
    lags: Floats  # (V, m, P)
    products: Floats  # (V, m, P)


def make_grouped_state(rule: GroupedRule, batches: int, dim: int, lanes: int) -> GroupedState:
    """Allocate the arrays of a block once."""
    count, size = rule.constant.shape[1], dim * lanes
    padded = -(-size // _CHUNK) * _CHUNK
    vectors = count + 1 + (count + 1) % 2
    return GroupedState(
        gradients=np.zeros((batches, dim, lanes)),
        root=np.zeros((dim, lanes)),
        slope=np.zeros((dim, lanes)),
        peak=np.zeros(lanes),
        present=aligned((count + 2, size)),
        slopes=aligned((count + 2, size)),
        earlier=aligned((count + 2, size)),
        earlier_slopes=aligned((count + 2, size)),
        feed=aligned((3, count, batches, size)),
        history=aligned((count, size)),
        response=aligned((count + 3, size)),
        before=aligned((count + 3, size)),
        change=aligned(size),
        point=aligned(padded),
        fresh=aligned((batches, padded)),
        fed=aligned((count, batches, padded)),
        running=aligned((count, padded)),
        prefix=aligned(padded),
        totals=aligned((count, batches, padded)),
        weights=np.zeros((count, rule.window)),
        weights_step=np.full(1, -1),
        lags=aligned((vectors, batches, size)),
        products=aligned((vectors, batches, size)),
    )


@inlined_kernel
def _history(rule, row, feed, out):
    """The states before step ``row`` at a fixed theta: O(R m P)."""
    for r in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[r, i] = rule.constant[row, r]
        for b in range(feed.shape[1]):
            w = rule.weight[row, r, b]
            for i in range(out.shape[1]):
                out[r, i] += w * feed[r, b, i]


@inlined_kernel
def _leading(rule, n, theta, gradients, feed, history, out):
    """F^(n) and its derivatives in g, theta and the states."""
    _history(rule, n + rule.after, feed, history)
    rule.response(n, rule.columns, theta, gradients[rule.batch[n]], history, out)


@inlined_kernel
def _slopes(rule, n, state):
    """|d F / d g| summed over the steps, by the absolute weights of the batches."""
    row = n + rule.after
    slope, response = flat(state.slope), state.response
    for i in range(slope.size):
        slope[i] = abs(response[1, i])
    for r in range(state.history.shape[0]):
        for b in range(state.feed.shape[2]):
            w = abs(rule.weight[row, r, b])
            for i in range(slope.size):
                slope[i] += w * abs(response[3 + r, i] * state.feed[1, r, b, i])


@inlined_kernel
def _weights_of_steps(rule, n, first, state):
    """Weight of the steps first .. n - 1 in the states that the direction of step n reads; the stages of one piece share them."""
    if state.weights_step[0] == n:
        return
    state.weights_step[0] = n
    out = state.weights
    for r in range(out.shape[0]):
        product = rule.recursion[0, n, r] if rule.after else 1.0
        for k in range(n - 1, first - 1, -1):
            out[r, k - first] = product * rule.recursion[1, k, r]
            product *= rule.recursion[0, k, r]


@inlined_kernel
def _lengthen(theta, gradients, state):
    """What the sweep reads into its longer rows."""
    copy(theta, state.point[: theta.size])
    for b in range(gradients.shape[0]):
        copy(gradients[b], state.fresh[b, : theta.size])
        for r in range(state.fed.shape[0]):
            copy(state.feed[0, r, b], state.fed[r, b, : theta.size])


@inlined_kernel
def _lags(rule, n, short_memory, factors, theta, gradients, state):
    """The sums of w_k W_k of every state and batch into ``state.lags``."""
    first = max(0, n - rule.window)
    prefix, step = state.prefix, state.response[0]
    prefix[:] = 0.0
    state.totals[:, :, :] = 0.0
    _lengthen(theta, gradients, state)
    _history(rule, first, state.fed, state.running)
    _weights_of_steps(rule, n, first, state)
    rule.sweep(
        first,
        n,
        rule.batch,
        rule.columns,
        rule.recursion,
        state.weights,
        state.point,
        state.fresh,
        state.fed,
        state.running,
        prefix,
        state.totals,
    )
    if short_memory and n > 0:
        # The prefix T_{n-1} in place of T_n: take back F^(n-1).
        _leading(rule, n - 1, theta, gradients, state.feed[0], state.history, state.before)
        for i in range(step.size):
            prefix[i] -= state.before[0, i]
    for r in range(state.totals.shape[0]):
        decay = rule.recursion[0, n, r] if rule.after else 1.0
        for b in range(state.totals.shape[1]):
            past, now = decay * rule.weight[n, r, b], rule.weight[n + rule.after, r, b]
            out, total = state.lags[r, b], state.totals[r, b]
            for i in range(step.size):
                out[i] = _lag(past, prefix[i], total[i], now, step[i], factors[7], factors[8])


@inlined_kernel
def _constant_lags(rule, n, factors, state):
    """Full batch, settled: F does not depend on the step, T_n - T_k = (n - k) F."""
    step = state.response[0]
    for r in range(state.totals.shape[0]):
        ages = rule.ages[n, r] * (rule.recursion[0, n, r] if rule.after else 1.0)
        now, out = rule.weight[n + rule.after, r, 0], state.lags[r, 0]
        for i in range(step.size):
            out[i] = _constant_lag(ages, now, step[i], factors[7], factors[8])


@inlined_kernel
def _repeating_lags(rule, n, factors, theta, gradients, state):
    """Batches in an order that repeats, settled: the m directions in memory, each with the weight of all its steps."""
    step, batches = state.response[0], gradients.shape[0]
    state.totals[:, :, :] = 0.0
    for q in range(batches):
        _leading(rule, n - 1 - q, theta, gradients, state.feed[0], state.history, state.before)
        for r in range(state.totals.shape[0]):
            for s in range(batches):
                w, total = rule.cycle[r, s, q], state.totals[r, rule.batch[n - 1 - s]]
                for i in range(step.size):
                    total[i] += w * state.before[0, i]
    for r in range(state.totals.shape[0]):
        for b in range(batches):
            now = rule.weight[n + rule.after, r, b]
            out, total = state.lags[r, b], state.totals[r, b]
            for i in range(step.size):
                out[i] = _lag(1.0, total[i], 0.0, now, step[i], factors[7], factors[8])


@inlined_kernel
def _products(oracle_products, data, rule, n, factors, theta, state):
    """Hessians times the sums of every state, and of the step's own batch times its displacement, two at a time."""
    count = state.totals.shape[0]
    own = rule.batch[n]
    state.lags[count, :, :] = 0.0
    if rule.direct:
        for i in range(state.change.size):
            state.lags[count, own, i] = factors[8] * state.response[0, i]
    vectors = count + (1 if rule.direct else 0)
    for v in range(0, vectors, 2):
        oracle_products(
            theta,
            data.ints,
            data.reals,
            data.work,
            shaped(state.lags[v], state.gradients),
            shaped(state.lags[v + 1], state.gradients),
            shaped(state.products[v], state.gradients),
            shaped(state.products[v + 1], state.gradients),
        )


@inlined_kernel
def _combine(rule, n, factors, h, state, out):
    """The rate from F, its derivatives and the products; flat arrays."""
    count, batches = state.totals.shape[:2]
    own, response, feed = rule.batch[n], state.response, state.feed
    change = state.change
    for i in range(out.size):
        change[i] = response[2, i] * factors[8] * response[0, i]
    if rule.direct:
        for i in range(out.size):
            change[i] += response[1, i] * state.products[count, own, i]
    for r in range(count):
        for b in range(batches):
            moved, lag = state.products[r, b], state.lags[r, b]
            for i in range(out.size):
                change[i] += _fed_change(
                    response[3 + r, i], feed[1, r, b, i], moved[i], feed[2, r, b, i], lag[i]
                )
    for i in range(out.size):
        out[i] = _rate(response[0, i], factors[6] * change[i], h[i])


@kernel()
def grouped_field(oracle_gradients, oracle_products, data, rule, variant, n, theta, h, state, out):
    """The modified field at step n; arguments as :func:`stepbias.kernels.field.evaluate_field`, F^(n) in ``state.root``."""
    factors, short_memory = variant
    oracle_gradients(theta, data.ints, data.reals, data.work, state.gradients)
    point, gradients = flat(theta), rows(state.gradients)
    rule.feed(rule.columns, point, gradients, state.feed)
    _leading(rule, n, point, gradients, state.feed[0], state.history, state.response)
    note(point, gradients[rule.batch[n]], state.history, state.response, state)
    _slopes(rule, n, state)
    copy(state.response[0], flat(state.root))
    rate, step = flat(out), flat(h)
    if factors[6] == 0.0:
        for i in range(rate.size):
            rate[i] = _rate(state.response[0, i], 0.0, step[i])
        return
    if n >= rule.settled and not short_memory:
        _constant_lags(rule, n, factors, state)
    elif n >= rule.repeats and not short_memory:
        _repeating_lags(rule, n, factors, point, gradients, state)
    else:
        _lags(rule, n, short_memory, factors, point, gradients, state)
    _products(oracle_products, data, rule, n, factors, theta, state)
    _combine(rule, n, factors, step, state, rate)


@kernel()
def grouped_direction(rule, n, theta, gradients, state, out):
    """F^(n) at a point whose gradients are given; flat arrays."""
    rule.feed(rule.columns, theta, gradients, state.feed)
    _leading(rule, n, theta, gradients, state.feed[0], state.history, state.response)
    note(theta, gradients[rule.batch[n]], state.history, state.response, state)
    copy(state.response[0], out)
