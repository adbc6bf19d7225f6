"""A cheap look at a problem before it is measured: whether it moves, and whether the theorem's assumptions hold along its path."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from stepbias.kernels.any_rule import advance_iterate, kind_of, make_moments
from stepbias.kernels.blocks import Ensemble, for_each_block
from stepbias.kernels.curvature import relative_change
from stepbias.kernels.field import Data
from stepbias.kernels.jit import inline, kernel
from stepbias.kernels.rule import Rule
from stepbias.kernels.trajectory import Position
from stepbias.theory import adam

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_mean_of = inline(adam.running_mean)

# Steps whose weight is below the rounding unit of a double do not count as part of the memory.
_ROUNDING = 2.0**-53


class Survey(NamedTuple):
    """Per problem: how far the iterates moved, the smallest R of any step still in memory (on the gradient's scale), the relative change of the Hessians.

    ``root`` is inf for optimizers other than Adam and RMSProp.
    """

    distance: Floats  # (B,)
    root: Floats  # (B,)
    curvature: Floats  # (B,)


@kernel()
def _smallest_root(rule, n, gradients, square, smallest):
    """Lower ``smallest`` (L,) to the least R^(l) over the components and the steps l <= n whose weight counts.

    Gradients (m, p, L) at one theta. The mean square is divided by the sum of its weights whether or not the optimizer does so: the assumption is
    about gradients.
    """
    _, p, lanes = gradients.shape
    square[:, :] = 0.0
    remaining = 1.0
    for step in range(n + 1):
        g = gradients[rule.batch[min(step, rule.last)]]
        remaining *= rule.rho
        weight = 1.0 / (1.0 - remaining)
        counts = rule.rho ** (n - step) > _ROUNDING
        for j in range(p):
            for lane in range(lanes):
                v = _mean_of(square[j, lane], g[j, lane] * g[j, lane], rule.rho)
                square[j, lane] = v
                if counts:
                    smallest[lane] = min(smallest[lane], np.sqrt(v * weight))


def smallest_root(rule, n, gradients, square, smallest):
    """As :func:`_smallest_root`; nothing for a traced rule, which has no R to speak of."""
    raise NotImplementedError("compiled code only")


@overload(smallest_root)
def _smallest(rule, n, gradients, square, smallest):
    if kind_of(rule) is Rule:

        def call(rule, n, gradients, square, smallest):
            _smallest_root(rule, n, gradients, square, smallest)

    else:

        def call(rule, n, gradients, square, smallest):
            pass

    return call


@kernel()
def _survey_block(
    oracle_gradient,
    oracle_gradients,
    data,
    rule,
    h,
    steps,
    position,
    moments,
    square,
    gradients,
    smallest,
    distance,
):
    start = position.high.copy()
    p, lanes = start.shape
    for n in range(steps):
        oracle_gradients(position.high, data.ints, data.reals, data.work, gradients)
        smallest_root(rule, n, gradients, square, smallest)
        advance_iterate(oracle_gradient, data, rule, n, h, position, moments)
    for lane in range(lanes):
        square = 0.0
        for j in range(p):
            square += (position.high[j, lane] - start[j, lane]) ** 2
        distance[lane] = np.sqrt(square)


def survey(ensemble: Ensemble, steps: int) -> Survey:
    """Iterate every problem ``steps`` steps and look.

    Parameters
    ----------
    ensemble : Ensemble
    steps : int
        Coarse: a zero of a gradient component is noticed within h times its rate of change.

    Returns
    -------
    Survey
        Non-finite entries for problems that overflowed.
    """
    loss = ensemble.loss
    result = Survey(*np.empty((3, ensemble.problems)))

    def work(piece: Integers) -> None:
        lanes = len(piece)
        ints, reals = loss.pack(piece)
        start = np.ascontiguousarray(ensemble.theta0[piece].T)
        smallest, distance = np.full(lanes, np.inf), np.empty(lanes)
        data = Data(ints, reals, np.zeros(loss.source.work_size(lanes)))
        position = Position(start.copy(), np.zeros_like(start))
        oracle = loss.source.oracle
        rule = ensemble.rule(ensemble.optimizer, int(piece[0]))
        _survey_block(
            oracle.gradient,
            oracle.gradients,
            data,
            rule,
            ensemble.step_sizes(piece),
            steps,
            position,
            make_moments(rule, loss.dim, lanes),
            np.zeros((loss.dim, lanes)),
            np.empty((loss.batches, loss.dim, lanes)),
            smallest,
            distance,
        )
        result.root[piece] = smallest
        result.distance[piece] = distance
        result.curvature[piece] = relative_change(oracle, data, start, position.high, loss.batches)

    for_each_block(ensemble, work)
    return result
