"""The field of a rule whose states are weighted sums over the past, for one lane; the recursion is that of :mod:`stepbias.kernels.grouped`.

A thread goes through the steps in memory with the states of a component in registers and the sums of its batches in local memory. The weight of a step in the
states at the end is built on the way: every step multiplies the sums by its decay.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import float64

from stepbias.kernels.gpu.bind import device
from stepbias.kernels.gpu.family import Family
from stepbias.kernels.gpu.local import device_function, thread
from stepbias.kernels.gpu.oracle import DeviceOracle
from stepbias.kernels.gpu.rule_lanes import RuleLanes
from stepbias.kernels.gpu.traced import ZEROED, common, common_scratch, flat, starts
from stepbias.kernels.rule_code import RuleCode
from stepbias.kernels.traced import GroupedRule
from stepbias.theory import adam, memoryless

_lag, _constant_lag = device(adam.lag), device(adam.constant_lag)
_rate, _fed_change = device(memoryless.rate), device(memoryless.fed_change)


class GroupedTables(NamedTuple):
    """Rules of a launch; see :class:`stepbias.kernels.traced.GroupedRule`.

    Rule r owns the rows from ``start[r]`` of what there is for every step, and from ``start[r] + r`` of what there is before and after every step.
    """

    window: Any
    settled: Any
    start: Any
    batch: Any
    columns: Any  # (S, C) flat
    recursion: Any  # (S, 3, R) flat
    weight: Any  # (S + 1, R, m) flat
    constant: Any  # (S + 1, R) flat
    ages: Any  # (S + 1, R) flat


def grouped_tables(rules: Sequence[GroupedRule]) -> GroupedTables:
    """Rules one behind the other, in the host's memory."""
    return GroupedTables(
        window=np.array([rule.window for rule in rules]),
        settled=np.array([rule.settled for rule in rules]),
        start=starts([len(rule.batch) for rule in rules]),
        batch=flat([rule.batch for rule in rules]),
        columns=flat([rule.columns for rule in rules]),
        recursion=flat([np.ascontiguousarray(rule.recursion.transpose(1, 0, 2)) for rule in rules]),
        weight=flat([rule.weight for rule in rules]),
        constant=flat([rule.constant for rule in rules]),
        ages=flat([rule.ages for rule in rules]),
    )


class GroupedState(NamedTuple):
    """Scratch of a launch, flat; R states, V = R + 1 rounded up to even. What is not said is (p, L)."""

    high: Any  # (3, p, L): iterate, flow, coarser flow
    low: Any  # (3, p, L)
    moments: Any  # (R + 1, p, L): the states and the gradient of the iterate
    stage: Any
    rate: Any
    total: Any
    root: Any  # F^(n)
    start_root: Any
    slope: Any
    peak: Any  # (L,)
    point: Any  # (R + 2, p, L)
    response: Any  # (R + 3, p, L)
    earlier: Any  # (R + 2, p, L)
    earlier_slopes: Any  # (R + 2, p, L)
    gradients: Any  # (m, p, L)
    feed: Any  # (3, R, m, p, L)
    lags: Any  # (V, m, p, L)
    products: Any  # (V, m, p, L)


def _history(count: int, batches: int) -> Any:
    """Device function: state k of entry i before a row of the weights, at a fixed theta."""

    @device_function
    def of_state(rules, row, k, i, stride, feed):
        at = row * count + k
        value = rules.constant[at]
        for b in range(batches):
            value += rules.weight[at * batches + b] * feed[(k * batches + b) * stride + i]
        return value

    return of_state


def _leading(code: RuleCode, made: RuleLanes, batches: int) -> Any:
    """Device function: F^(n), what it reads and its sensitivity, entry by entry, from the gradients of all batches at ``theta``."""
    linear = code.linear
    assert linear is not None
    count, after = code.states, int(linear.after)
    fill, respond, state_at = made.feed, made.response, _history(count, batches)

    @device_function
    def leading(rules, r, n, lane, lanes, dim, theta, state):
        part, first = dim * lanes, rules.start[r]
        row, states_row = first + n, first + r + n + after
        own = rules.batch[row]
        for j in range(dim):
            i = j * lanes + lane
            fill(first, i, part, batches, rules.columns, state.gradients, theta[i], state.feed)
            state.point[i] = state.gradients[own * part + i]
            state.point[part + i] = theta[i]
            for k in range(count):
                value = state_at(rules, states_row, k, i, part, state.feed)
                state.point[(2 + k) * part + i] = value
            respond(row, i, part, rules.columns, state.point, state.response)
            state.root[i] = state.response[i]
            slope = abs(state.response[part + i])
            for k in range(count):
                for b in range(batches):
                    w = abs(rules.weight[(states_row * count + k) * batches + b])
                    fed = state.feed[((count + k) * batches + b) * part + i]
                    slope += w * abs(state.response[(3 + k) * part + i] * fed)
            state.slope[i] = slope

    return leading


def _lags(code: RuleCode, made: RuleLanes, batches: int) -> Any:
    """Device function: the sums of w_k W_k of every state and batch, entry i."""
    linear = code.linear
    assert linear is not None
    count, after = code.states, int(linear.after)
    size, room = max(1, count * batches), max(1, count)
    sweep, direction, state_at = made.sweep, made.direction, _history(count, batches)

    @device_function
    def of_entry(rules, r, n, short, factors, i, stride, theta, state):
        first = rules.start[r]
        rows = first + r  # of what there is before and after every step
        u = state.response[i]
        if n >= rules.settled[r] and not short:
            for k in range(count):
                decay = rules.recursion[(first + n) * 3 * count + k] if after else 1.0
                ages = rules.ages[(rows + n) * count + k] * decay
                now = rules.weight[(rows + n + after) * count + k]
                lag = _constant_lag(ages, now, u, factors[7], factors[8])
                state.lags[k * stride + i] = lag
            return
        begin = max(0, n - rules.window[r])
        states, totals = thread.local.array(room, float64), thread.local.array(size, float64)
        for k in range(count):
            states[k] = state_at(rules, rows + begin, k, i, stride, state.feed)
        prefix = sweep(
            first + begin, first + n, i, stride, batches, rules, theta, state.gradients,
            state.feed, states, totals,
        )  # fmt: skip
        if short and n > 0:
            # The prefix T_{n-1} in place of T_n: take back F^(n-1).
            for k in range(count):
                states[k] = state_at(rules, rows + n - 1 + after, k, i, stride, state.feed)
            g = state.gradients[rules.batch[first + n - 1] * stride + i]
            prefix -= direction(first + n - 1, rules.columns, g, theta, states)
        for k in range(count):
            decay = rules.recursion[(first + n) * 3 * count + k] if after else 1.0
            for b in range(batches):
                past = decay * rules.weight[((rows + n) * count + k) * batches + b]
                now = rules.weight[((rows + n + after) * count + k) * batches + b]
                total = decay * totals[k * batches + b]
                lag = _lag(past, prefix, total, now, u, factors[7], factors[8])
                state.lags[(k * batches + b) * stride + i] = lag

    return of_entry


def _combine(code: RuleCode, batches: int) -> Any:
    """Device function: h/2 times what comes of the products, entry i."""
    count, direct = code.states, code.direct

    @device_function
    def change_of(own, factors, i, stride, state):
        change = state.response[2 * stride + i] * factors[8] * state.response[i]
        if direct:
            bent = state.products[(count * batches + own) * stride + i]
            change += state.response[stride + i] * bent
        for k in range(count):
            for b in range(batches):
                o = (k * batches + b) * stride + i
                change += _fed_change(
                    state.response[(3 + k) * stride + i],
                    state.feed[count * batches * stride + o],
                    state.products[o],
                    state.feed[2 * count * batches * stride + o],
                    state.lags[o],
                )
        return change

    return change_of


def grouped_family(code: RuleCode, made: RuleLanes) -> Family:
    """The family of one rule."""
    count, direct = code.states, code.direct
    vectors = count + 1 + (count + 1) % 2
    used = count + int(direct)
    shared = common(code, made)

    def sizes(dim: int, batches: int) -> dict[str, int]:
        own = {
            "gradients": batches * dim,
            "feed": max(1, 3 * count * batches * dim),
            "lags": vectors * batches * dim,
            "products": vectors * batches * dim,
        }
        return common_scratch(count, dim) | own

    @cache
    def field(oracle: DeviceOracle, batches: int) -> Any:
        gradients_of, products_of = oracle.gradients, oracle.products
        leading, lags_of = _leading(code, made, batches), _lags(code, made, batches)
        change_of = _combine(code, batches)

        @device_function
        def evaluate(rules, r, n, short, factors, lane, lanes, dim, h, theta, data, extra, state):
            part = dim * lanes
            gradients_of(lane, lanes, dim, theta, data, extra, state.gradients)
            leading(rules, r, n, lane, lanes, dim, theta, state)
            if factors[6] == 0.0:
                for j in range(dim):
                    i = j * lanes + lane
                    state.rate[i] = _rate(state.response[i], 0.0, h)
                return
            own, block = rules.batch[rules.start[r] + n], batches * part
            for j in range(dim):
                i = j * lanes + lane
                lags_of(rules, r, n, short, factors, i, part, theta[i], state)
                if direct:
                    o = count * block + own * part + i
                    for b in range(batches):
                        state.lags[count * block + b * part + i] = 0.0
                    state.lags[o] = factors[8] * state.response[i]
            for v in range(0, used, 2):
                begin, middle, end = v * block, (v + 1) * block, (v + 2) * block
                products_of(
                    lane, lanes, dim, theta, data, extra,
                    state.lags[begin:middle], state.lags[middle:end],
                    state.products[begin:middle], state.products[middle:end],
                )  # fmt: skip
            for j in range(dim):
                i = j * lanes + lane
                change = change_of(own, factors, i, part, state)
                state.rate[i] = _rate(state.response[i], factors[6] * change, h)

        return evaluate

    @cache
    def before(batches: int) -> Any:
        return shared.before(_leading(code, made, batches))

    @cache
    def after(batches: int) -> Any:
        return shared.after(_leading(code, made, batches))

    return Family(
        state=GroupedState,
        sizes=sizes,
        zeroed=(*ZEROED, "lags"),
        tables=grouped_tables,
        start=shared.start,
        step=shared.step,
        field=field,
        begin=shared.begin,
        observe=shared.observe,
        before=before,
        after=after,
        settle=shared.settle,
    )
