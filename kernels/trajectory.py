"""The two trajectories of a block of problems: the discrete iterates and the flow of the modified equation, in lockstep.

Both are accumulated in compensated form (high part + low part): N updates of size h would otherwise lose log10(N) digits, and the difference of the
two is what is measured. The low parts enter the difference.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.any_rule import (
    AnyRule,
    advance_iterate,
    begin,
    field_at,
    make_state,
    observe,
    settle,
)
from stepbias.kernels.compensated import add, gap
from stepbias.kernels.copies import copy
from stepbias.kernels.jit import inline, kernel
from stepbias.kernels.views import borrowed, flat

Floats = NDArray[np.float64]


class Tableau(NamedTuple):
    """An explicit Runge-Kutta method whose stages each use the stage before: stage k starts at position + scale[k] h rate[k - 1]."""

    scale: Floats
    weight: Floats


CLASSICAL = Tableau(np.array([0.0, 0.5, 0.5, 1.0]), np.array([1.0, 2.0, 2.0, 1.0]) / 6.0)  # order 4
HEUN = Tableau(np.array([0.0, 1.0, 2.0]) / 3.0, np.array([0.25, 0.0, 0.75]))  # order 3

_SINGLE = 2.0**-24  # half the spacing of float32 relative to the number, at its largest


class Position(NamedTuple):
    """Parameters of a block as an unevaluated sum high + low, each (p, L)."""

    high: Floats
    low: Floats


class FlowState(NamedTuple):
    """Scratch of the Runge-Kutta steps of a block."""

    field: Any  # of the kind of rule
    stage: Floats  # (p, L)
    rate: Floats  # (p, L)
    total: Floats  # (p, L)
    start_root: Floats  # (p, L)


class Watch(NamedTuple):
    """What is observed along a run, per lane; maxima over the steps unless said otherwise.

    ``error`` is the 2-norm of iterate - flow; ``solver`` the 2-norm of the difference of the two resolutions of the flow; ``distance`` the 2-norm of
    flow - start at the end; ``difference`` the signed vector iterate - flow at the end, (p, L); ``root`` the smallest R on the flow; ``drift`` the
    largest |D'/D| on the flow; ``size`` the largest |theta_j| seen on the flow.

    Two tell whether the instrument is sound: ``start`` is the 2-norm of iterate - flow before the first step; ``grain`` the largest distance of an
    iterate's component from the nearest float32, in units of 2^-24 of its size: close to 1 for any walk in double precision, 0 for one in single.
    """

    error: Floats
    solver: Floats
    distance: Floats
    difference: Floats
    root: Floats
    drift: Floats
    size: Floats
    start: Floats
    grain: Floats


def make_flow_state(rule: AnyRule, batches: int, dim: int, lanes: int) -> FlowState:
    """Allocate the arrays of a block once."""
    stage, rate, total, start_root = np.zeros((4, dim, lanes))
    return FlowState(make_state(rule, batches, dim, lanes), stage, rate, total, start_root)


def make_watch(dim: int, lanes: int) -> Watch:
    """Results before the first step."""
    error, solver, distance, drift, size, start, grain = np.zeros((7, lanes))
    root = np.full(lanes, np.inf)
    return Watch(error, solver, distance, np.zeros((dim, lanes)), root, drift, size, start, grain)


@kernel()
def _stage(position, rate, scale, h, out):
    size = out.size
    base, step, slope, target = (
        flat(position.high),
        flat(h),
        flat(rate),
        flat(out),
    )
    for i in range(size):
        target[i] = base[i] + scale * step[i] * slope[i]


@kernel()
def _accumulate(rate, weight, total):
    size = total.size
    target, slope = flat(total), flat(rate)
    for i in range(size):
        target[i] += weight * slope[i]


@kernel()
def _land(part, h, total, position):
    """position += part h total, compensated."""
    size = total.size
    step, slope = flat(h), flat(total)
    high, low = flat(position.high), flat(position.low)
    for i in range(size):
        high[i], low[i] = add(high[i], low[i], part * step[i] * slope[i])


@kernel()
def advance_flow(
    oracle_gradients,
    oracle_products,
    data,
    rule,
    variant,
    n,
    span,
    h,
    tableau,
    substeps,
    position,
    state,
    watch,
):
    """The flow over [n h, (n + span) h] by ``substeps`` steps of a Runge-Kutta method.

    The field is smooth inside a piece and jumps at its ends, so a one-step method that never leaves the piece keeps its full order; ``span`` is 1 unless
    the field is the same on all pieces from n on. ``watch`` collects the smallest R and the largest relative rate of change of D.
    """
    part = span / substeps
    rate, total, field = state.rate, state.total, state.field
    for _ in range(substeps):
        total[:, :] = 0.0
        rate[:, :] = 0.0
        for index in range(tableau.scale.shape[0]):
            _stage(position, rate, part * tableau.scale[index], h, state.stage)
            field_at(
                oracle_gradients,
                oracle_products,
                data,
                rule,
                variant,
                n,
                state.stage,
                h,
                field,
                rate,
            )
            if index == 0:
                begin(rule, field, state.start_root)
            _accumulate(rate, tableau.weight[index], total)
        _land(part, h, total, position)
        observe(rule, part, h, state.start_root, field, position, watch)


@kernel()
def _observe(first, second, out):
    """out[lane] = max(out[lane], 2-norm of first - second); a NaN stays."""
    p, lanes = first.high.shape
    for lane in range(lanes):
        square = 0.0
        for j in range(p):
            change = gap(
                first.high[j, lane], first.low[j, lane], second.high[j, lane], second.low[j, lane]
            )
            square += change * change
        norm = np.sqrt(square)
        if norm > out[lane] or norm != norm:
            out[lane] = norm


@kernel()
def _round_to_single(position):
    position.low[:, :] = 0.0
    p, lanes = position.high.shape
    for j in range(p):
        for lane in range(lanes):
            position.high[j, lane] = np.float64(np.float32(position.high[j, lane]))


@inline
def grain(high, low):
    """Distance of high + low from the nearest float32, in units of 2^-24 of its size; 0 for 0."""
    rest = (high - np.float64(np.float32(high))) + low
    return abs(rest / (_SINGLE * high)) if high != 0.0 else 0.0


@kernel()
def _observe_grain(position, out):
    """out[lane] = max(out[lane], |x - nearest float32| / (2^-24 |x|)) over the components x = high + low."""
    p, lanes = position.high.shape
    for j in range(p):
        for lane in range(lanes):
            found = grain(position.high[j, lane], position.low[j, lane])
            out[lane] = max(out[lane], found)


@kernel()
def run_lockstep(
    oracle,
    data,
    iterate_rule,
    flow_rule,
    variant,
    h,
    steps,
    method,
    with_check,
    local,
    broken,
    iterate,
    flow,
    check,
    moments,
    states,
    watch,
):
    """All steps of both trajectories; only what ``watch`` holds leaves the kernel.

    Parameters
    ----------
    oracle : tuple of function pointers (gradient, gradients, products)
    data : Data
    iterate_rule, flow_rule : Rule
        Equal tables for a statement; they differ for some wrong variants.
    variant : tuple (factors, short_memory)
    h : (p, L) float64
        Step size of every lane, repeated for every component.
    steps : int
    method : tuple (tableau, substeps, tableau of the check, substeps of the check, stride)
        How the reported flow and the coarser one are integrated. From the step on whose row all later steps read (full batch only), ``stride`` pieces are
        one, and what is watched is watched at their ends.
    with_check : bool
        Integrate ``check``, the coarser flow; ``watch.solver`` is 0 otherwise.
    local : bool
        Put the iterate back on the flow before every step (one-step defects).
    broken : tuple (single, late)
        (False, 0), or a broken instrument: round the iterate to float32 after every step; let the flow read its tables ``late`` steps too late. A
        negative number is no fault: the flow's tables begin so many steps before the iterate's.
    iterate, flow, check : Position
        All at the start.
    moments : (states + 1 or 2, p, L) float64
        What the iterate carries, see :func:`stepbias.kernels.any_rule.make_moments`.
    states : FlowState
    watch : Watch
    """
    oracle_gradient, oracle_gradients, oracle_products = oracle
    data, iterate_rule, flow_rule, variant, h, method = borrowed(
        (data, iterate_rule, flow_rule, variant, h, method)
    )
    iterate, flow, check, moments, states, watch = borrowed(
        (iterate, flow, check, moments, states, watch)
    )
    tableau, substeps, coarse, coarse_substeps, stride = method
    single, late = broken
    p, lanes = iterate.high.shape
    start = iterate.high.copy()
    _observe(iterate, flow, watch.start)
    steady = max(iterate_rule.last, flow_rule.last)
    n = 0
    while n < steps:
        span = min(stride, steps - n) if n >= steady and not local else 1
        piece = max(n - late, 0)
        if local:
            # The coarse flow too: the solver difference is then that of one piece, as the defect is.
            copy(flow.high, iterate.high)
            copy(flow.low, iterate.low)
            copy(flow.high, check.high)
            copy(flow.low, check.low)
        for k in range(n, n + span):
            advance_iterate(oracle_gradient, data, iterate_rule, k, h, iterate, moments)
            if single:
                _round_to_single(iterate)
        _observe_grain(iterate, watch.grain)
        advance_flow(
            oracle_gradients,
            oracle_products,
            data,
            flow_rule,
            variant,
            piece,
            span,
            h,
            tableau,
            substeps,
            flow,
            states,
            watch,
        )
        _observe(iterate, flow, watch.error)
        if with_check:
            advance_flow(
                oracle_gradients,
                oracle_products,
                data,
                flow_rule,
                variant,
                piece,
                span,
                h,
                coarse,
                coarse_substeps,
                check,
                states,
                watch,
            )
            _observe(flow, check, watch.solver)
        n += span
    settle(flow_rule, states.field, watch)
    for lane in range(lanes):
        square = 0.0
        for j in range(p):
            square += (flow.high[j, lane] - start[j, lane]) ** 2
            watch.difference[j, lane] = gap(
                iterate.high[j, lane], iterate.low[j, lane], flow.high[j, lane], flow.low[j, lane]
            )
        watch.distance[lane] = np.sqrt(square)


@kernel()
def record_iterate(oracle_gradient, data, rule, h, steps, position, moments, out):
    """The discrete iterates theta^(0) .. theta^(steps) of a block, out (steps + 1, p, L)."""
    data, rule, h, position, moments = borrowed((data, rule, h, position, moments))
    copy(position.high, out[0])
    for n in range(steps):
        advance_iterate(oracle_gradient, data, rule, n, h, position, moments)
        copy(position.high, out[n + 1])


@kernel()
def record_flow(
    oracle_gradients,
    oracle_products,
    data,
    rule,
    variant,
    h,
    steps,
    tableau,
    substeps,
    position,
    states,
    watch,
    out,
):
    """The flow at t = 0, h, .., steps h of a block, out (steps + 1, p, L)."""
    data, rule, variant, h, tableau = borrowed((data, rule, variant, h, tableau))
    position, states, watch = borrowed((position, states, watch))
    copy(position.high, out[0])
    for n in range(steps):
        advance_flow(
            oracle_gradients,
            oracle_products,
            data,
            rule,
            variant,
            n,
            1,
            h,
            tableau,
            substeps,
            position,
            states,
            watch,
        )
        copy(position.high, out[n + 1])
