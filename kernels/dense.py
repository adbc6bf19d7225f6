"""The memoryless field of any rule, step by step: the states and their change run along, with the full Hessian of every batch.

Two passes over the steps at a fixed theta. The first sums the directions; the second carries the change of the states when theta^(k) moves by
W_k = 2 (T_n - T_k) + F^(n), by the partial derivatives of the rule (dual numbers with the dual part written out).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.clock import note
from stepbias.kernels.copies import copy
from stepbias.kernels.jit import aligned, inline, kernel
from stepbias.kernels.traced import DenseRule
from stepbias.kernels.views import flat, rows, shaped
from stepbias.theory import memoryless

Floats = NDArray[np.float64]

_rate = inline(memoryless.rate)
_displacement = inline(memoryless.displacement)


class DenseState(NamedTuple):
    """Scratch of one field evaluation (m batches, p components, L lanes, P = p L, R states)."""

    gradients: Floats  # (m, p, L)
    root: Floats  # (p, L): F^(n)
    slope: Floats  # (p, L)
    peak: Floats  # (L,)
    present: Floats  # (R + 2, P): as in :class:`stepbias.kernels.grouped.GroupedState`
    slopes: Floats  # (R + 2, P)
    earlier: Floats  # (R + 2, P)
    earlier_slopes: Floats  # (R + 2, P)
    hessian: Floats  # (p rounded up to even, m, P): column j of every batch's Hessian
    units: Floats  # (2, m, P)
    kept: Floats  # (R, P): states at the beginning of the window
    states: Floats  # (R, P)
    changes: Floats  # (R, P)
    bounds: Floats  # (R, P): absolute changes by a unit change of every gradient
    response: Floats  # ((R + 1) (R + 3), P)
    end: Floats  # (P,): T_n
    prefix: Floats  # (P,): T_k
    moved: Floats  # (P,): W_k
    bent: Floats  # (P,): the Hessian times W_k
    direction: Floats  # (P,): F^(k)
    change: Floats  # (P,): d F^(k)


def make_dense_state(rule: DenseRule, batches: int, dim: int, lanes: int) -> DenseState:
    """Allocate the arrays of a block once."""
    count, size = len(rule.start), dim * lanes
    return DenseState(
        gradients=np.zeros((batches, dim, lanes)),
        root=np.zeros((dim, lanes)),
        slope=np.zeros((dim, lanes)),
        peak=np.zeros(lanes),
        present=aligned((count + 2, size)),
        slopes=aligned((count + 2, size)),
        earlier=aligned((count + 2, size)),
        earlier_slopes=aligned((count + 2, size)),
        hessian=aligned((dim + dim % 2, batches, size)),
        units=aligned((2, batches, size)),
        kept=aligned((count, size)),
        states=aligned((count, size)),
        changes=aligned((count, size)),
        bounds=aligned((count, size)),
        response=aligned(((count + 1) * (count + 3), size)),
        end=aligned(size),
        prefix=aligned(size),
        moved=aligned(size),
        bent=aligned(size),
        direction=aligned(size),
        change=aligned(size),
    )


@kernel()
def _hessians(oracle_products, data, theta, state):
    """Columns of all Hessians, two at a time, by products with unit vectors."""
    p, lanes = theta.shape
    like = state.gradients
    for j in range(0, p, 2):
        for which in range(2):
            state.units[which, :, :] = 0.0
            if j + which < p:
                begin = (j + which) * lanes
                state.units[which, :, begin : begin + lanes] = 1.0
        oracle_products(
            theta,
            data.ints,
            data.reals,
            data.work,
            shaped(state.units[0], like),
            shaped(state.units[1], like),
            shaped(state.hessian[j], like),
            shaped(state.hessian[j + 1], like),
        )


@kernel()
def _product(hessian, batch, lanes, vector, out):
    """Out = H_batch vector, from columns; flat over (component, lane)."""
    p = vector.size // lanes
    out[:] = 0.0
    for j in range(p):
        column = hessian[j, batch]
        for k in range(p):
            for lane in range(lanes):
                out[k * lanes + lane] += column[k * lanes + lane] * vector[j * lanes + lane]


@kernel()
def _first_pass(rule, n, first, last, theta, gradients, state):
    """States at ``first`` into ``kept``, T_last into ``end``, F^(n) into ``root``, its sensitivity into ``slope``."""
    step, slope = flat(state.root), flat(state.slope)
    for r in range(state.states.shape[0]):
        state.states[r, :] = rule.start[r]
    state.end[:] = 0.0
    state.bounds[:, :] = 0.0
    # A state forgets where it began within the window. One more window before the first step whose direction counts: what a wrong beginning changes has no
    # weight either, but a rule may amplify what is left of it.
    for k in range(max(0, first - rule.window), first):
        rule.step(k, rule.columns, gradients[rule.batch[k]], theta, state.states, state.change)
    copy(state.states, state.kept)
    for k in range(first, n + 1):
        g = gradients[rule.batch[k]]
        if k == n:
            rule.response(k, rule.columns, theta, g, state.states, state.response)
            note(theta, g, state.states, state.response, state)
        rule.bound(k, rule.columns, theta, g, state.states, state.bounds, step, slope)
        if k < last:
            for i in range(step.size):
                state.end[i] += step[i]


@kernel()
def _second_pass(rule, n, first, factors, theta, gradients, state):
    """Change of F^(n) into ``state.change``."""
    step, lanes = flat(state.root), state.peak.size
    copy(state.kept, state.states)
    state.changes[:, :] = 0.0
    state.prefix[:] = 0.0
    for k in range(first, n + 1):
        g = gradients[rule.batch[k]]
        if k == n:
            copy(state.end, state.prefix)  # its own step has no past
        for i in range(step.size):
            state.moved[i] = _displacement(
                state.end[i], state.prefix[i], step[i], factors[7], factors[8]
            )
        _product(state.hessian, rule.batch[k], lanes, state.moved, state.bent)
        rule.push(
            k, rule.columns, theta, g, state.bent, state.moved,
            state.states, state.changes, state.direction, state.change,
        )  # fmt: skip
        for i in range(step.size):
            state.prefix[i] += state.direction[i]


@kernel()
def dense_field(oracle_gradients, oracle_products, data, rule, variant, n, theta, h, state, out):
    """The modified field at step n; arguments as :func:`stepbias.kernels.field.evaluate_field`, F^(n) in ``state.root``."""
    factors, short_memory = variant
    oracle_gradients(theta, data.ints, data.reals, data.work, state.gradients)
    point, gradients = flat(theta), rows(state.gradients)
    first = max(0, n - rule.window)
    # T_{n-1} in place of T_n for the wrong variant
    last = max(first, n - 1) if short_memory else n
    _first_pass(rule, n, first, last, point, gradients, state)
    rate, step, direction = flat(out), flat(h), flat(state.root)
    if factors[6] == 0.0:
        for i in range(rate.size):
            rate[i] = _rate(direction[i], 0.0, step[i])
        return
    _hessians(oracle_products, data, theta, state)
    _second_pass(rule, n, first, factors, point, gradients, state)
    for i in range(rate.size):
        rate[i] = _rate(direction[i], factors[6] * state.change[i], step[i])


@kernel()
def dense_direction(rule, n, theta, gradients, state, out):
    """F^(n) at a point whose gradients are given; flat arrays."""
    first = max(0, n - rule.window)
    _first_pass(rule, n, first, n, theta, gradients, state)
    copy(flat(state.root), out)
