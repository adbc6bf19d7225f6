"""The two trajectories of a block of problems: the discrete iterates and the flow of the modified equation, in lockstep.

Both are accumulated in compensated form (high part + low part): N updates of size h would otherwise lose log10(N) digits, and the difference of the two is what is
measured. The low parts enter the difference.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.field import FieldState, evaluate_field, make_field_state
from stepbias.kernels.jit import inline, kernel
from stepbias.theory import adam

Floats = NDArray[np.float64]

_mean_of = inline(adam.running_mean)
_direction = inline(adam.direction)


class Position(NamedTuple):
    """Parameters of a block as an unevaluated sum high + low, each (p, L)."""

    high: Floats
    low: Floats


class FlowState(NamedTuple):
    """Scratch of the Runge-Kutta steps of a block."""

    field: FieldState
    stage: Floats  # (p, L)
    rate: Floats  # (p, L)
    total: Floats  # (p, L)
    start_root: Floats  # (p, L)


class Watch(NamedTuple):
    """What is observed along a run, per lane; maxima over the steps unless said otherwise.

    ``error`` is the 2-norm of iterate - flow; ``solver`` the 2-norm of the difference of the two resolutions of the flow; ``distance`` the 2-norm of flow - start at
    the end; ``difference`` the signed vector iterate - flow at the end, (p, L); ``root`` the smallest R on the flow; ``drift`` the largest |D'/D| on the flow;
    ``size`` the largest |theta_j| seen on the flow.
    """

    error: Floats
    solver: Floats
    distance: Floats
    difference: Floats
    root: Floats
    drift: Floats
    size: Floats


def make_flow_state(batches: int, dim: int, lanes: int) -> FlowState:
    """Allocate the arrays of a block once."""
    stage, rate, total, start_root = np.zeros((4, dim, lanes))
    return FlowState(make_field_state(batches, dim, lanes), stage, rate, total, start_root)


def make_watch(dim: int, lanes: int) -> Watch:
    """Results before the first step."""
    error, solver, distance, drift, size = np.zeros((5, lanes))
    return Watch(error, solver, distance, np.zeros((dim, lanes)), np.full(lanes, np.inf), drift, size)


@inline
def _add(high, low, change):  # type: ignore[no-untyped-def]
    """(high + low) + change as a new pair, exact up to the rounding of the low part (two-sum of Knuth)."""
    change += low
    total = high + change
    part = total - high
    return total, (high - (total - part)) + (change - part)


@kernel()
def advance_iterate(oracle_gradient, data, rule, n, h, position, mean, square, gradient):  # type: ignore[no-untyped-def]
    """Step n of the optimizer: updates ``position``, ``mean``, ``square`` (uncorrected), each (p, L)."""
    oracle_gradient(rule.batch[n], position.high, data.ints, data.reals, data.work, gradient)
    mc, sc = rule.mean_correction[n], rule.square_correction[n]
    p, lanes = gradient.shape
    for j in range(p):
        for lane in range(lanes):
            g = gradient[j, lane]
            m = _mean_of(mean[j, lane], g, rule.beta)
            v = _mean_of(square[j, lane], g * g, rule.rho)
            mean[j, lane] = m
            square[j, lane] = v
            change = -h[lane] * _direction(m * mc, v * sc, rule.eps, rule.eps_root)
            high, low = _add(position.high[j, lane], position.low[j, lane], change)
            position.high[j, lane] = high
            position.low[j, lane] = low


@kernel()
def _stage(position, rate, scale, h, out):  # type: ignore[no-untyped-def]
    for j in range(out.shape[0]):
        for lane in range(out.shape[1]):
            out[j, lane] = position.high[j, lane] + scale * h[lane] * rate[j, lane]


@kernel()
def _accumulate(rate, weight, total):  # type: ignore[no-untyped-def]
    for j in range(total.shape[0]):
        for lane in range(total.shape[1]):
            total[j, lane] += weight * rate[j, lane]


@kernel()
def advance_flow(  # type: ignore[no-untyped-def]
    oracle_gradients, oracle_products, data, rule, variant, n, h, substeps, position, state, watch
):
    """The flow over [n h, (n+1) h] by ``substeps`` classical Runge-Kutta steps of order 4.

    The field is smooth inside a piece and jumps at its ends, so a one-step method that never leaves the piece keeps its full order. ``watch`` collects the smallest R
    and the largest relative rate of change of D.
    """
    part = 1.0 / substeps
    p, lanes = state.stage.shape
    rate, total, field = state.rate, state.total, state.field
    for _ in range(substeps):
        total[:, :] = 0.0
        for index in range(4):
            if index == 0:
                _stage(position, rate, 0.0, h, state.stage)
            else:
                _stage(position, rate, part * (1.0 if index == 3 else 0.5), h, state.stage)
            evaluate_field(
                oracle_gradients, oracle_products, data, rule, variant, n, state.stage, h, field, rate
            )
            if index == 0:
                state.start_root[:, :] = field.root
            _accumulate(rate, 1.0 / 6.0 if index in (0, 3) else 1.0 / 3.0, total)
        for j in range(p):
            for lane in range(lanes):
                high, low = _add(
                    position.high[j, lane], position.low[j, lane], part * h[lane] * total[j, lane]
                )
                position.high[j, lane] = high
                position.low[j, lane] = low
                start = state.start_root[j, lane]
                drift = abs(field.root[j, lane] - start) / ((start + rule.eps) * part * h[lane])
                watch.root[lane] = min(watch.root[lane], start)
                watch.drift[lane] = max(watch.drift[lane], drift)
                watch.size[lane] = max(watch.size[lane], abs(high))


@kernel()
def _observe(first, second, out):  # type: ignore[no-untyped-def]
    """out[lane] = max(out[lane], 2-norm of first - second); a NaN stays."""
    p, lanes = first.high.shape
    for lane in range(lanes):
        square = 0.0
        for j in range(p):
            gap = (first.high[j, lane] - second.high[j, lane]) + (first.low[j, lane] - second.low[j, lane])
            square += gap * gap
        norm = np.sqrt(square)
        if norm > out[lane] or norm != norm:
            out[lane] = norm


@kernel()
def run_lockstep(  # type: ignore[no-untyped-def]
    oracle, data, iterate_rule, flow_rule, variant, h, steps, substeps, with_check, iterate, flow, check, moments, states, watch
):
    """All steps of both trajectories; only what ``watch`` holds leaves the kernel.

    Parameters
    ----------
    oracle : tuple of function pointers (gradient, gradients, products)
    data : Data
    iterate_rule, flow_rule : Rule
        Equal tables for a statement; they differ for some wrong variants.
    variant : tuple (factors, short_memory)
    h : (L,) float64
    steps : int
    substeps : int
        Runge-Kutta steps per piece of the reported flow.
    with_check : bool
        Integrate ``check``, the flow at half the resolution (``substeps`` must be even); ``watch.solver`` is 0 otherwise.
    iterate, flow, check : Position
        All at the start.
    moments : (3, p, L) float64
        Zeros; mean, square and gradient of the iterate.
    states : FlowState
    watch : Watch
    """
    oracle_gradient, oracle_gradients, oracle_products = oracle
    p, lanes = iterate.high.shape
    start = iterate.high.copy()
    for n in range(steps):
        advance_iterate(
            oracle_gradient, data, iterate_rule, n, h, iterate, moments[0], moments[1], moments[2]
        )
        advance_flow(
            oracle_gradients, oracle_products, data, flow_rule, variant, n, h, substeps, flow, states, watch
        )
        _observe(iterate, flow, watch.error)
        if with_check:
            advance_flow(
                oracle_gradients, oracle_products, data, flow_rule, variant, n, h, substeps // 2, check, states, watch
            )
            _observe(flow, check, watch.solver)
    for lane in range(lanes):
        square = 0.0
        for j in range(p):
            square += (flow.high[j, lane] - start[j, lane]) ** 2
            watch.difference[j, lane] = (iterate.high[j, lane] - flow.high[j, lane]) + (
                iterate.low[j, lane] - flow.low[j, lane]
            )
        watch.distance[lane] = np.sqrt(square)


@kernel()
def record_iterate(oracle_gradient, data, rule, h, steps, position, moments, out):  # type: ignore[no-untyped-def]
    """The discrete iterates theta^(0) .. theta^(steps) of a block, out (steps + 1, p, L)."""
    out[0] = position.high
    for n in range(steps):
        advance_iterate(oracle_gradient, data, rule, n, h, position, moments[0], moments[1], moments[2])
        out[n + 1] = position.high


@kernel()
def record_flow(  # type: ignore[no-untyped-def]
    oracle_gradients, oracle_products, data, rule, variant, h, steps, substeps, position, states, watch, out
):
    """The flow at t = 0, h, .., steps h of a block, out (steps + 1, p, L)."""
    out[0] = position.high
    for n in range(steps):
        advance_flow(
            oracle_gradients, oracle_products, data, rule, variant, n, h, substeps, position, states, watch
        )
        out[n + 1] = position.high
