"""Optimizers given by their rule on the GPU: what grouped sums and the step-by-step pass have in common, for one lane.

The traversals are :mod:`stepbias.kernels.gpu.grouped` and :mod:`stepbias.kernels.gpu.dense`; their ``point`` has the rows gradient, theta and states that
the direction reads, their ``response`` F and its derivatives in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels import compensated
from stepbias.kernels.gpu.bind import device
from stepbias.kernels.gpu.family import Family
from stepbias.kernels.gpu.local import device_function
from stepbias.kernels.gpu.oracle import DeviceOracle
from stepbias.kernels.gpu.rule_lanes import RuleLanes, rule_lanes
from stepbias.kernels.rule_code import RuleCode, rule_code
from stepbias.theory import memoryless
from stepbias.theory.rule import UpdateRule

_add, _change_by = device(compensated.add), device(memoryless.change_by)


def flat(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Tables one behind the other; one number where there is none, since a device has no empty arrays."""
    joined = np.concatenate([part.reshape(-1) for part in parts])
    return joined if joined.size else np.zeros(1, dtype=joined.dtype)


def starts(lengths: Sequence[int]) -> NDArray[np.int64]:
    """Where each of several parts begins."""
    if sum(lengths) >= 2**32:
        raise MemoryError(f"{sum(lengths)} steps of coefficients; accepted: fewer than 2^32")
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)


class Common(NamedTuple):
    """Device functions that do not depend on how the field is evaluated."""

    start: Any
    step: Callable[[DeviceOracle], Any]
    begin: Any
    observe: Any
    before: Callable[[Any], Any]
    after: Callable[[Any], Any]
    settle: Any


def common_scratch(states: int, dim: int) -> dict[str, int]:
    """Doubles per lane of the arrays that :func:`common` uses."""
    rows = states + 2
    return {
        "high": 3 * dim,
        "low": 3 * dim,
        "moments": (states + 1) * dim,
        "stage": dim,
        "rate": dim,
        "total": dim,
        "root": dim,
        "start_root": dim,
        "slope": dim,
        "peak": 1,
        "point": rows * dim,
        "response": (rows + 1) * dim,
        "earlier": rows * dim,
        "earlier_slopes": rows * dim,
    }


ZEROED = ("high", "low", "moments", "peak")


def common(code: RuleCode, lanes_of: RuleLanes) -> Common:
    """One step of the rule, and the clock of what its direction reads (:mod:`stepbias.kernels.clock`)."""
    count, take_step = code.states, lanes_of.step
    initial = tuple(code.rule.start)
    filled = np.array(initial or (0.0,))
    width = count + 2

    @device_function
    def start(lane, lanes, dim, state):
        for j in range(dim):
            for k in range(count):
                state.moments[(k * dim + j) * lanes + lane] = filled[k]

    def step(oracle: DeviceOracle) -> Any:
        gradient_of = oracle.gradient

        @device_function
        def advance(rules, r, n, lane, lanes, dim, h, data, extra, state):
            part, row = dim * lanes, rules.start[r] + n
            gradient = state.moments[count * part :]
            gradient_of(rules.batch[row], lane, lanes, dim, state.high, data, extra, gradient)
            for j in range(dim):
                i = j * lanes + lane
                direction = take_step(
                    row, i, part, rules.columns, gradient[i], state.high[i], state.moments
                )
                state.high[i], state.low[i] = _add(state.high[i], state.low[i], -h * direction)

        return advance

    @device_function
    def remember(lane, lanes, dim, state):
        part = dim * lanes
        for k in range(width):
            for j in range(dim):
                i = k * part + j * lanes + lane
                state.earlier[i] = state.point[i]
                state.earlier_slopes[i] = state.response[part + i]

    @device_function
    def begin(lane, lanes, dim, state):
        for j in range(dim):
            i = j * lanes + lane
            state.start_root[i] = state.root[i]
        remember(lane, lanes, dim, state)

    @device_function
    def moved(lane, lanes, dim, h, state, drift):
        for j in range(dim):
            total = 0.0
            for k in range(width):
                i = (k * dim + j) * lanes + lane
                total += _change_by(state.earlier_slopes[i], state.point[i], state.earlier[i])
            rate = total / h
            if rate > drift[lane] or rate != rate:
                drift[lane] = rate

    @device_function
    def raise_peak(lane, lanes, dim, values, peak):
        for j in range(dim):
            peak[lane] = max(peak[lane], abs(values[j * lanes + lane]))

    @device_function
    def observe(rules, r, lane, lanes, dim, h, position, state, watch):
        for j in range(dim):
            i = j * lanes + lane
            watch.root[lane] = min(watch.root[lane], 1.0 / state.slope[i])
            watch.size[lane] = max(watch.size[lane], abs(state.high[position + i]))
        moved(lane, lanes, dim, h, state, watch.drift)
        raise_peak(lane, lanes, dim, state.start_root, state.peak)

    def before(direction_of: Any) -> Any:
        @device_function
        def looked(rules, r, n, lane, lanes, dim, state):
            direction_of(rules, r, n, lane, lanes, dim, state.high, state)
            raise_peak(lane, lanes, dim, state.root, state.peak)
            remember(lane, lanes, dim, state)

        return looked

    def after(direction_of: Any) -> Any:
        @device_function
        def looked(rules, r, n, lane, lanes, dim, h, state, out):
            direction_of(rules, r, n, lane, lanes, dim, state.high, state)
            moved(lane, lanes, dim, h, state, out)

        return looked

    @device_function
    def settle(lane, state, drift):
        if drift[lane] > 0.0:
            drift[lane] /= state.peak[lane]

    return Common(start, step, begin, observe, before, after, settle)


_FAMILIES: dict[tuple[Any, ...], Family] = {}


@lru_cache(maxsize=256)
def traced_family(rule: UpdateRule) -> Family:
    """The family of a rule; built once for each distinct code in a process."""
    from stepbias.kernels.gpu.dense import dense_family
    from stepbias.kernels.gpu.grouped import grouped_family

    code = rule_code(rule)
    # what the kernels read of a rule beside its tables
    key = (code.scalars, code.loops, code.states, code.direct, tuple(code.rule.start))
    if key not in _FAMILIES:
        build = dense_family if code.linear is None else grouped_family
        _FAMILIES[key] = build(code, rule_lanes(code))
    return _FAMILIES[key]
