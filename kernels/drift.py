"""How fast the denominator changes along the iterates: the clock that a step size is held against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import Ensemble, for_each_block
from stepbias.kernels.field import Data
from stepbias.kernels.jit import inline, kernel
from stepbias.kernels.sums import averages
from stepbias.kernels.trajectory import Position, advance_iterate
from stepbias.theory import adam

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_root = inline(adam.root)
_relative_rate = inline(adam.relative_rate)


@kernel()
def _drift_block(
    oracle_gradient, oracle_gradients, data, rule, h, steps, position, moments, gradients, drift
):
    """drift[lane] = max over n and components of |D^(n) at the next iterate - D^(n) at this one| / (h D^(n)).

    The weights of step n at both places: what is seen is the way, not the change of batches.
    """
    m, p, lanes = gradients.shape
    size = p * lanes
    mean, square = np.empty((2, size))
    before = np.empty(size)
    step = h.reshape(size)
    oracle_gradients(position.high, data.ints, data.reals, data.work, gradients)
    for n in range(steps):
        averages(rule, n, gradients.reshape((m, size)), mean, square)
        for i in range(size):
            before[i] = _root(square[i], rule.eps_root)
        advance_iterate(
            oracle_gradient, data, rule, n, h, position, moments[0], moments[1], moments[2]
        )
        oracle_gradients(position.high, data.ints, data.reals, data.work, gradients)
        averages(rule, n, gradients.reshape((m, size)), mean, square)
        for i in range(size):
            after = _root(square[i], rule.eps_root)
            rate = _relative_rate(after, before[i], rule.eps, step[i])
            lane = i % lanes
            if rate > drift[lane] or rate != rate:
                drift[lane] = rate


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
        _drift_block(
            loss.source.oracle.gradient,
            loss.source.oracle.gradients,
            Data(ints, reals, np.zeros(loss.source.work_size(lanes))),
            ensemble.rule(ensemble.optimizer, int(piece[0])),
            ensemble.step_sizes(piece),
            steps,
            Position(start, np.zeros_like(start)),
            np.zeros((3, loss.dim, lanes)),
            np.empty((loss.batches, loss.dim, lanes)),
            drift,
        )
        found[piece] = drift

    for_each_block(ensemble, work)
    return found
