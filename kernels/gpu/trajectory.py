"""The two trajectories on the GPU: one thread runs a lane, that is a problem at one step size, from the first step to the last.

The formulas and the order of the operations are those of :mod:`stepbias.kernels.trajectory` and :mod:`stepbias.kernels.field`. State lies in global memory
with the lane innermost: neighbouring threads, which take the same steps, read neighbouring numbers.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from numba import cuda

from stepbias.kernels import compensated, trajectory
from stepbias.kernels.gpu.adam import ADAM
from stepbias.kernels.gpu.bind import device
from stepbias.kernels.gpu.family import Family
from stepbias.kernels.gpu.local import device_function
from stepbias.kernels.gpu.oracle import DeviceOracle
from stepbias.kernels.gpu.state import STAGES

_add, _gap_of, _grain = (device(f) for f in (compensated.add, compensated.gap, trajectory.grain))


@cache
def _flow(oracle: DeviceOracle, batches: int, family: Family) -> Any:
    """Device function: a flow over one piece, :func:`stepbias.kernels.trajectory.advance_flow`; ``which`` is 1 for the reported flow, 2 for the coarser."""
    evaluate, begin, observe = family.field(oracle, batches), family.begin, family.observe

    @device_function
    def advance(
        rules, r, n, short, factors, lane, lanes, dim, h, data, extra, state,
        groups, group, which, watch,
    ):  # fmt: skip
        method = 2 * group + which - 1
        position = which * dim * lanes
        part = 1.0 / groups.substeps[method]
        for _ in range(groups.substeps[method]):
            for j in range(dim):
                i = j * lanes + lane
                state.total[i], state.rate[i] = 0.0, 0.0
            for s in range(groups.stages[method]):
                scale = part * groups.scale[method * STAGES + s]
                for j in range(dim):
                    i = j * lanes + lane
                    state.stage[i] = state.high[position + i] + scale * h * state.rate[i]
                evaluate(
                    rules, r, n, short, factors, lane, lanes, dim, h,
                    state.stage, data, extra, state,
                )  # fmt: skip
                if s == 0:
                    begin(lane, lanes, dim, state)
                weight = groups.weight[method * STAGES + s]
                for j in range(dim):
                    i = j * lanes + lane
                    state.total[i] += weight * state.rate[i]
            for j in range(dim):
                i = j * lanes + lane
                k = position + i
                change = part * h * state.total[i]
                state.high[k], state.low[k] = _add(state.high[k], state.low[k], change)
            observe(rules, r, lane, lanes, dim, part * h, position, state, watch)

    return advance


@device_function
def _copy(lane, lanes, dim, state, to):
    """Put a trajectory on the flow."""
    for j in range(dim):
        source, target = (dim + j) * lanes + lane, (to * dim + j) * lanes + lane
        state.high[target], state.low[target] = state.high[source], state.low[source]


@device_function
def _gap(lane, lanes, dim, state, first, second):
    """2-norm of the difference of two trajectories."""
    square = 0.0
    for j in range(dim):
        i, k = (first * dim + j) * lanes + lane, (second * dim + j) * lanes + lane
        change = _gap_of(state.high[i], state.low[i], state.high[k], state.low[k])
        square += change * change
    return math.sqrt(square)


@device_function
def _observe(norm, lane, out):
    """out[lane] = max(out[lane], norm); a NaN stays."""
    if norm > out[lane] or norm != norm:
        out[lane] = norm


@device_function
def _finish(lane, lanes, dim, theta0, state, watch):
    """What is read at the end of a run."""
    square = 0.0
    for j in range(dim):
        i, k = j * lanes + lane, (dim + j) * lanes + lane
        square += (state.high[k] - theta0[i]) ** 2
        watch.difference[i] = _gap_of(state.high[i], state.low[i], state.high[k], state.low[k])
    watch.distance[lane] = math.sqrt(square)


@cache
def lockstep_kernel(oracle: DeviceOracle, batches: int, family: Family = ADAM) -> Any:
    """Kernel: :func:`stepbias.kernels.trajectory.run_lockstep` for every lane; many step sizes in one launch."""
    step, advance = family.step(oracle), _flow(oracle, batches, family)
    begin, settle = family.start, family.settle

    @cuda.jit
    def lockstep(
        rules, groups, lane_data, dim, short, local, check, factors, theta0, data, extra,
        state, watch,
    ):  # fmt: skip
        lane = cuda.grid(1)
        lanes = lane_data.h.size
        if lane >= lanes:
            return
        h, group = lane_data.h[lane], lane_data.group[lane]
        r, flow_r = groups.rule[group], groups.flow_rule[group]
        for j in range(3 * dim):
            state.high[j * lanes + lane] = theta0[j % dim * lanes + lane]
        begin(lane, lanes, dim, state)
        watch.start[lane] = _gap(lane, lanes, dim, state, 0, 1)
        for n in range(groups.steps[group]):
            if local:
                _copy(lane, lanes, dim, state, 0)
                _copy(lane, lanes, dim, state, 2)
            step(rules, r, n, lane, lanes, dim, h, data, extra, state)
            for j in range(dim):
                i = j * lanes + lane
                found = _grain(state.high[i], state.low[i])
                watch.grain[lane] = max(watch.grain[lane], found)
            advance(
                rules, flow_r, n, short, factors, lane, lanes, dim, h, data, extra, state,
                groups, group, 1, watch,
            )  # fmt: skip
            _observe(_gap(lane, lanes, dim, state, 0, 1), lane, watch.error)
            if check:
                advance(
                    rules, flow_r, n, short, factors, lane, lanes, dim, h, data, extra, state,
                    groups, group, 2, watch,
                )  # fmt: skip
                _observe(_gap(lane, lanes, dim, state, 1, 2), lane, watch.solver)
        settle(lane, state, watch.drift)
        _finish(lane, lanes, dim, theta0, state, watch)

    return lockstep


@cache
def record_kernel(oracle: DeviceOracle, batches: int, flow: bool, family: Family = ADAM) -> Any:
    """Kernel: the iterates, or the flow, at every step; out (steps + 1, p, L). All lanes take ``groups.steps[0]`` steps."""
    step, advance, begin = family.step(oracle), _flow(oracle, batches, family), family.start
    which = 1 if flow else 0

    @cuda.jit
    def record(rules, groups, lane_data, dim, factors, theta0, data, extra, state, watch, out):
        lane = cuda.grid(1)
        lanes = lane_data.h.size
        if lane >= lanes:
            return
        h, group = lane_data.h[lane], lane_data.group[lane]
        r, part = groups.rule[group], dim * lanes
        begin(lane, lanes, dim, state)
        for j in range(dim):
            i = j * lanes + lane
            state.high[which * part + i] = theta0[i]
            out[i] = theta0[i]
        for n in range(groups.steps[group]):
            if which == 1:
                advance(
                    rules, r, n, False, factors, lane, lanes, dim, h, data, extra, state,
                    groups, group, 1, watch,
                )  # fmt: skip
            else:
                step(rules, r, n, lane, lanes, dim, h, data, extra, state)
            for j in range(dim):
                i = j * lanes + lane
                out[(n + 1) * part + i] = state.high[which * part + i]

    return record


@cache
def drift_kernel(oracle: DeviceOracle, batches: int, family: Family = ADAM) -> Any:
    """Kernel: how fast the clock runs along the iterates, as :func:`stepbias.kernels.drift.iterate_drift`; (L,) into ``out``."""
    step, gradients_of, begin = family.step(oracle), oracle.gradients, family.start
    before, after, settle = family.before(batches), family.after(batches), family.settle

    @cuda.jit
    def drift(rules, groups, lane_data, dim, theta0, data, extra, state, out):
        lane = cuda.grid(1)
        lanes = lane_data.h.size
        if lane >= lanes:
            return
        h, group = lane_data.h[lane], lane_data.group[lane]
        r = groups.rule[group]
        begin(lane, lanes, dim, state)
        for j in range(dim):
            state.high[j * lanes + lane] = theta0[j * lanes + lane]
        gradients_of(lane, lanes, dim, state.high, data, extra, state.gradients)
        for n in range(groups.steps[group]):
            before(rules, r, n, lane, lanes, dim, state)
            step(rules, r, n, lane, lanes, dim, h, data, extra, state)
            gradients_of(lane, lanes, dim, state.high, data, extra, state.gradients)
            after(rules, r, n, lane, lanes, dim, h, state, out)
        settle(lane, state, out)

    return drift
