"""How fast the denominator changes along the iterates: the clock that a step size is held against."""

from __future__ import annotations

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from stepbias.kernels.any_rule import advance_iterate, kind_of, make_moments, make_state
from stepbias.kernels.blocks import Ensemble, for_each_block
from stepbias.kernels.clock import moved, raise_peak, remember
from stepbias.kernels.dense import dense_direction
from stepbias.kernels.field import Data
from stepbias.kernels.grouped import grouped_direction
from stepbias.kernels.jit import inline, kernel
from stepbias.kernels.rule import Rule
from stepbias.kernels.sums import averages
from stepbias.kernels.traced import GroupedRule
from stepbias.kernels.trajectory import Position
from stepbias.kernels.views import borrowed, flat, rows
from stepbias.theory import adam

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_root = inline(adam.root)
_relative_rate = inline(adam.relative_rate)


@kernel()
def _roots(rule, n, gradients, state, out):
    """R^(n) of every entry."""
    sums = state.sums
    averages(rule, n, gradients, sums.mean, sums.square)
    for i in range(out.size):
        out[i] = _root(sums.square[i], rule.eps_root)


@kernel()
def _adam_drift(
    oracle_gradient, oracle_gradients, data, rule, h, steps, position, moments, state, drift
):
    """drift[lane] = max over n and components of |D^(n) at the next iterate - D^(n) at this one| / (h D^(n)).

    The weights of step n at both places: what is seen is the way, not the change of batches.
    """
    data, rule, position, moments, state = borrowed((data, rule, position, moments, state))
    gradients = state.gradients
    _, p, lanes = gradients.shape
    before, after = np.empty(p * lanes), np.empty(p * lanes)  # two contiguous arrays
    step = flat(h)
    oracle_gradients(position.high, data.ints, data.reals, data.work, gradients)
    for n in range(steps):
        _roots(rule, n, rows(gradients), state, before)
        advance_iterate(oracle_gradient, data, rule, n, h, position, moments)
        oracle_gradients(position.high, data.ints, data.reals, data.work, gradients)
        _roots(rule, n, rows(gradients), state, after)
        for i in range(p * lanes):
            rate = _relative_rate(after[i], before[i], rule.eps, step[i])
            lane = i % lanes
            if rate > drift[lane] or rate != rate:
                drift[lane] = rate


def direction_at(rule, n, theta, gradients, state, out):
    """F^(n) of a traced rule; what it reads is noted in ``state``."""
    raise NotImplementedError("compiled code only")


@overload(direction_at)
def _direction_at(rule, n, theta, gradients, state, out):
    chosen = grouped_direction if kind_of(rule) is GroupedRule else dense_direction

    def call(rule, n, theta, gradients, state, out):
        chosen(rule, n, theta, gradients, state, out)

    return call


@kernel()
def _traced_drift(
    oracle_gradient, oracle_gradients, data, rule, h, steps, position, moments, state, drift
):
    """As :func:`_adam_drift`, with what the direction reads in place of D^(n), relative to the largest direction on the way."""
    data, rule, position, moments, state = borrowed((data, rule, position, moments, state))
    gradients, theta = state.gradients, flat(position.high)
    direction, peak = np.empty(theta.size), np.zeros(drift.size)
    oracle_gradients(position.high, data.ints, data.reals, data.work, gradients)
    for n in range(steps):
        direction_at(rule, n, theta, rows(gradients), state, direction)
        raise_peak(direction, peak)
        remember(state)
        advance_iterate(oracle_gradient, data, rule, n, h, position, moments)
        oracle_gradients(position.high, data.ints, data.reals, data.work, gradients)
        direction_at(rule, n, theta, rows(gradients), state, direction)
        moved(state, 1.0, h, drift)
    for lane in range(drift.size):
        if drift[lane] > 0.0:
            drift[lane] /= peak[lane]


def iterate_drift(ensemble: Ensemble, steps: int) -> Floats:
    """The largest |D'/D| along the iterates, (B,): NaN where they overflow.

    Parameters
    ----------
    ensemble : Ensemble
    steps : int
    """
    loss = ensemble.loss
    found = np.empty(ensemble.problems)

    def work(piece: Integers) -> None:
        lanes = len(piece)
        ints, reals = loss.pack(piece)
        start = np.ascontiguousarray(ensemble.theta0[piece].T)
        drift = np.zeros(lanes)
        rule = ensemble.rule(ensemble.optimizer, int(piece[0]))
        run = _adam_drift if isinstance(rule, Rule) else _traced_drift
        run(
            loss.source.oracle.gradient,
            loss.source.oracle.gradients,
            Data(ints, reals, np.zeros(loss.source.work_size(lanes))),
            rule,
            ensemble.step_sizes(piece),
            steps,
            Position(start, np.zeros_like(start)),
            make_moments(rule, loss.dim, lanes),
            make_state(rule, loss.batches, loss.dim, lanes),
            drift,
        )
        found[piece] = drift

    for_each_block(ensemble, work)
    return found
