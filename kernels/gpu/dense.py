"""The field of any rule, step by step, for one lane; the two passes are those of :mod:`stepbias.kernels.dense`.

At a fixed theta the components are independent but for the Hessian: the first pass follows one component from the first step to the last, the second goes
step by step through all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from stepbias.kernels.gpu.bind import device
from stepbias.kernels.gpu.family import Family
from stepbias.kernels.gpu.local import device_function
from stepbias.kernels.gpu.oracle import DeviceOracle
from stepbias.kernels.gpu.rule_lanes import RuleLanes
from stepbias.kernels.gpu.traced import ZEROED, common, common_scratch, flat, starts
from stepbias.kernels.rule_code import RuleCode
from stepbias.kernels.traced import DenseRule
from stepbias.theory import memoryless

_rate, _displacement = device(memoryless.rate), device(memoryless.displacement)


class DenseTables(NamedTuple):
    """Rules of a launch; see :class:`stepbias.kernels.traced.DenseRule`. Rule r owns the steps from ``start[r]``."""

    window: Any
    start: Any
    batch: Any
    columns: Any  # (S, C) flat


def dense_tables(rules: Sequence[DenseRule]) -> DenseTables:
    """Rules one behind the other, in the host's memory."""
    return DenseTables(
        window=np.array([rule.window for rule in rules]),
        start=starts([len(rule.batch) for rule in rules]),
        batch=flat([rule.batch for rule in rules]),
        columns=flat([rule.columns for rule in rules]),
    )


class DenseState(NamedTuple):
    """Scratch of a launch, flat; R states. What is not said is (p, L)."""

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
    hessian: Any  # (p rounded up to even, m, p, L): column j of every batch's Hessian
    units: Any  # (2, m, p, L)
    kept: Any  # (R, p, L): states at the beginning of the window
    states: Any  # (R, p, L)
    changes: Any  # (R, p, L)
    end: Any  # T_n
    prefix: Any  # T_k
    moved: Any  # W_k
    change: Any  # d F^(k)


def _first_pass(code: RuleCode, made: RuleLanes) -> Any:
    """Device function: states at the beginning of the window, T_n (T_{n-1} where ``short``), F^(n), what it reads and its sensitivity."""
    count = code.states
    initial = np.array(tuple(code.rule.start) or (0.0,))
    step, bound, respond = made.step, made.bound, made.response

    @device_function
    def of_entry(rules, r, n, short, i, stride, theta, state):
        row, columns, window = rules.start[r], rules.columns, rules.window[r]
        first = max(0, n - window)
        last = max(first, n - 1) if short else n
        for k in range(count):
            state.states[k * stride + i] = initial[k]
            state.changes[k * stride + i] = 0.0
        # A window before the first step whose direction counts, as on the CPU.
        for s in range(max(0, first - window), first):
            g = state.gradients[rules.batch[row + s] * stride + i]
            step(row + s, i, stride, columns, g, theta, state.states)
        for k in range(count):
            state.kept[k * stride + i] = state.states[k * stride + i]
        end = 0.0
        for s in range(first, n):
            g = state.gradients[rules.batch[row + s] * stride + i]
            found, _ = bound(row + s, i, stride, columns, g, theta, state.states, state.changes)
            if s < last:
                end += found
        g = state.gradients[rules.batch[row + n] * stride + i]
        state.point[i], state.point[stride + i] = g, theta
        for k in range(count):
            state.point[(2 + k) * stride + i] = state.states[k * stride + i]
        respond(row + n, i, stride, columns, state.point, state.response)
        found, slope = bound(row + n, i, stride, columns, g, theta, state.states, state.changes)
        state.root[i], state.slope[i], state.end[i] = found, slope, end

    return of_entry


def _direction(code: RuleCode, made: RuleLanes) -> Any:
    """Device function: F^(n) and what it reads, from the gradients of all batches at ``theta``."""
    first_pass = _first_pass(code, made)

    @device_function
    def of_lane(rules, r, n, lane, lanes, dim, theta, state):
        for j in range(dim):
            i = j * lanes + lane
            first_pass(rules, r, n, False, i, dim * lanes, theta[i], state)

    return of_lane


def _hessians(oracle: DeviceOracle, batches: int) -> Any:
    """Device function: columns of all Hessians, two at a time, by products with unit vectors."""
    products_of = oracle.products

    @device_function
    def columns_of(lane, lanes, dim, theta, data, extra, state):
        part, block = dim * lanes, batches * dim * lanes
        first, second = state.units[:block], state.units[block : 2 * block]
        for j in range(0, dim, 2):
            for b in range(batches):
                for k in range(dim):
                    i = b * part + k * lanes + lane
                    first[i] = 1.0 if k == j else 0.0
                    second[i] = 1.0 if k == j + 1 else 0.0
            begin, middle, end = j * block, (j + 1) * block, (j + 2) * block
            products_of(
                lane, lanes, dim, theta, data, extra, first, second,
                state.hessian[begin:middle], state.hessian[middle:end],
            )  # fmt: skip

    return columns_of


def _second_pass(code: RuleCode, made: RuleLanes, batches: int) -> Any:
    """Device function: change of F^(n) into ``state.change``."""
    count, push = code.states, made.push

    @device_function
    def of_lane(rules, r, n, factors, lane, lanes, dim, theta, state):
        part, row, columns = dim * lanes, rules.start[r], rules.columns
        for j in range(dim):
            i = j * lanes + lane
            state.prefix[i] = 0.0
            for k in range(count):
                state.states[k * part + i] = state.kept[k * part + i]
                state.changes[k * part + i] = 0.0
        for s in range(max(0, n - rules.window[r]), n + 1):
            drawn = rules.batch[row + s]
            for j in range(dim):
                i = j * lanes + lane
                if s == n:
                    state.prefix[i] = state.end[i]  # its own step has no past
                state.moved[i] = _displacement(
                    state.end[i], state.prefix[i], state.root[i], factors[7], factors[8]
                )
            for j in range(dim):
                i = j * lanes + lane
                bent = 0.0
                for k in range(dim):
                    column = state.hessian[(k * batches + drawn) * part + i]
                    bent += column * state.moved[k * lanes + lane]
                found, change = push(
                    row + s, i, part, columns, state.gradients[drawn * part + i], theta[i],
                    bent, state.moved[i], state.states, state.changes,
                )  # fmt: skip
                state.change[i] = change
                state.prefix[i] += found

    return of_lane


def dense_family(code: RuleCode, made: RuleLanes) -> Family:
    """The family of one rule."""
    count = code.states
    shared = common(code, made)
    first_pass = _first_pass(code, made)

    def sizes(dim: int, batches: int) -> dict[str, int]:
        own = {
            "gradients": batches * dim,
            "hessian": (dim + dim % 2) * batches * dim,
            "units": 2 * batches * dim,
        }
        own |= {name: max(1, count) * dim for name in ("kept", "states", "changes")}
        own |= dict.fromkeys(("end", "prefix", "moved", "change"), dim)
        return common_scratch(count, dim) | own

    @cache
    def field(oracle: DeviceOracle, batches: int) -> Any:
        gradients_of, hessians_of = oracle.gradients, _hessians(oracle, batches)
        second_pass = _second_pass(code, made, batches)

        @device_function
        def evaluate(rules, r, n, short, factors, lane, lanes, dim, h, theta, data, extra, state):
            gradients_of(lane, lanes, dim, theta, data, extra, state.gradients)
            for j in range(dim):
                i = j * lanes + lane
                first_pass(rules, r, n, short, i, dim * lanes, theta[i], state)
            if factors[6] != 0.0:
                hessians_of(lane, lanes, dim, theta, data, extra, state)
                second_pass(rules, r, n, factors, lane, lanes, dim, theta, state)
            for j in range(dim):
                i = j * lanes + lane
                change = factors[6] * state.change[i] if factors[6] != 0.0 else 0.0
                state.rate[i] = _rate(state.root[i], change, h)

        return evaluate

    @cache
    def before(batches: int) -> Any:
        return shared.before(_direction(code, made))

    @cache
    def after(batches: int) -> Any:
        return shared.after(_direction(code, made))

    return Family(
        state=DenseState,
        sizes=sizes,
        zeroed=ZEROED,
        tables=dense_tables,
        start=shared.start,
        step=shared.step,
        field=field,
        begin=shared.begin,
        observe=shared.observe,
        before=before,
        after=after,
        settle=shared.settle,
    )
