"""The modified field of a block of problems at one step: gradients, memory sums, Hessian-vector products, combination."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.jit import inline, inlined_kernel, kernel
from stepbias.kernels.sums import SumState, averages, make_sum_state, memory_sums
from stepbias.kernels.views import flat, rows, shaped
from stepbias.theory import adam

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_root = inline(adam.root)
_rate = inline(adam.modified_rate)


class Data(NamedTuple):
    """A block's packed loss data and the scratch of its oracle."""

    ints: Integers
    reals: Floats
    work: Floats


class FieldState(NamedTuple):
    """Scratch of one field evaluation for a block (m batches, p components, L lanes)."""

    gradients: Floats  # (m, p, L)
    first: Floats  # (m, p, L): H_b mean_lag[b]
    second: Floats  # (m, p, L): H_b square_lag[b]
    sums: SumState
    root: Floats  # (p, L): R at the last evaluation


def make_field_state(batches: int, dim: int, lanes: int) -> FieldState:
    """Allocate the arrays of a block once."""
    gradients, first, second = np.zeros((3, batches, dim, lanes))
    return FieldState(
        gradients, first, second, make_sum_state(batches, dim * lanes), np.zeros((dim, lanes))
    )


@inlined_kernel
def lagged_products(oracle_products, data, theta, state):
    """Hessian-vector products of the lag vectors, summed over batches into ``first[0]`` (2 L + Lbar) and ``second[0]`` (2 P + Pbar)."""
    m, p, lanes = state.gradients.shape
    oracle_products(
        theta,
        data.ints,
        data.reals,
        data.work,
        shaped(state.sums.mean_lag, state.gradients),
        shaped(state.sums.square_lag, state.gradients),
        state.first,
        state.second,
    )
    size = p * lanes
    gradients, first, second = rows(state.gradients), rows(state.first), rows(state.second)
    for i in range(size):
        second[0, i] *= gradients[0, i]
    for b in range(1, m):
        for i in range(size):
            first[0, i] += first[b, i]
            second[0, i] += gradients[b, i] * second[b, i]


@inlined_kernel
def evaluate_sums(oracle_gradients, oracle_products, data, rule, variant, n, theta, state):
    """Gradients, memory sums and products at step n: M and V in ``state.sums``, 2 L + Lbar and 2 P + Pbar in ``state.first[0]``, ``state.second[0]``."""
    oracle_gradients(theta, data.ints, data.reals, data.work, state.gradients)
    memory_sums(rule, n, variant[1], rows(state.gradients), variant[0], state.sums)
    lagged_products(oracle_products, data, theta, state)


@inlined_kernel
def _combine(rule, factors, second_order, h, state, out):
    """R and the right-hand side from M, V and the two lag sums; all arrays flat over (component, lane)."""
    root = flat(state.root)
    sums = state.sums
    if second_order:
        first, second = flat(state.first), flat(state.second)  # the first row holds the sums
        for i in range(out.shape[0]):
            r = _root(sums.square[i], rule.eps_root)
            root[i] = r
            out[i] = _rate(
                factors[0] * sums.mean[i],
                factors[1] * r,
                rule.eps,
                factors[6] * first[i],
                factors[6] * second[i],
                h[i],
            )
    else:
        for i in range(out.shape[0]):
            r = _root(sums.square[i], rule.eps_root)
            root[i] = r
            out[i] = _rate(factors[0] * sums.mean[i], factors[1] * r, rule.eps, 0.0, 0.0, h[i])


@kernel()
def evaluate_field(oracle_gradients, oracle_products, data, rule, variant, n, theta, h, state, out):
    """The modified field at step n.

    Parameters
    ----------
    oracle_gradients, oracle_products : function pointers
        See :mod:`stepbias.kernels.oracle`.
    data : Data
    rule : Rule
    variant : tuple (factors (7,) float64, short_memory bool)
    n : int
    theta : (p, L) float64
    h : (p, L) float64
        Step size of every lane, repeated for every component.
    state : FieldState
        Overwritten; ``state.root`` holds R afterwards.
    out : (p, L) float64
        d theta / dt.
    """
    factors, _ = variant
    second_order = factors[6] != 0.0
    if second_order:
        evaluate_sums(oracle_gradients, oracle_products, data, rule, variant, n, theta, state)
    else:
        oracle_gradients(theta, data.ints, data.reals, data.work, state.gradients)
        averages(rule, n, rows(state.gradients), state.sums.mean, state.sums.square)
    _combine(rule, factors, second_order, flat(h), state, flat(out))
