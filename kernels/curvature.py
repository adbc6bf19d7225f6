"""Hessian-vector products along a few fixed directions: how much they change along a path, and whether they are the derivative of the gradients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels import evaluate
from stepbias.kernels.blocks import Ensemble, for_each_block
from stepbias.kernels.field import Data
from stepbias.kernels.oracle import Oracle

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# An even number: the oracle takes two vectors at a time.
_DIRECTIONS = 4
# Central differences: the truncation error (step^2 / 6 times the third derivative along the direction) and the rounding error (2^-53 / step) are equal
# for this step where all derivatives are of order one, about 1e-11 each.
_STEP = 2.0 ** (-53 / 3)


def directions(dim: int) -> Floats:
    """Fixed unit vectors, (4, dim): cosines at incommensurable frequencies, so that no coordinate is left out."""
    j, k = np.arange(1.0, dim + 1.0), np.arange(1.0, _DIRECTIONS + 1.0)
    raw = np.cos(np.outer(k, j))
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True))


def _gradients(oracle: Oracle, data: Data, theta: Floats, batches: int) -> Floats:
    out = np.zeros((batches, *theta.shape))
    evaluate.gradients(
        oracle.gradients, np.ascontiguousarray(theta), data.ints, data.reals, data.work, out
    )
    return out


def products(oracle: Oracle, data: Data, theta: Floats, batches: int) -> Floats:
    """H_b(theta) v for every direction v and batch b, (4, m, p, L)."""
    dim, lanes = theta.shape
    point = np.ascontiguousarray(theta)
    _gradients(oracle, data, point, batches)  # leaves in data.work what the products read
    out = np.zeros((_DIRECTIONS, batches, dim, lanes))
    vectors = np.zeros((_DIRECTIONS, batches, dim, lanes))
    vectors[:] = directions(dim)[:, None, :, None]
    for k in range(0, _DIRECTIONS, 2):
        evaluate.products(
            oracle.products,
            point,
            data.ints,
            data.reals,
            data.work,
            vectors[k],
            vectors[k + 1],
            out[k],
            out[k + 1],
        )
    return out


def _size(vectors: Floats) -> Floats:
    """Sum of the 2-norms over directions and batches, (L,)."""
    return np.asarray(np.linalg.norm(vectors, axis=2).sum(axis=(0, 1)))


def relative_change(
    oracle: Oracle, data: Data, first: Floats, last: Floats, batches: int
) -> Floats:
    """Change of the Hessians between two points relative to their mean size there, (L,); between 0 and 2.

    A loss that is quadratic gives rounding errors only, and tests nothing of a theorem that speaks of third derivatives.
    """
    before, after = (products(oracle, data, theta, batches) for theta in (first, last))
    with np.errstate(invalid="ignore", over="ignore"):
        change, size = _size(after - before), 0.5 * (_size(before) + _size(after))
    return np.divide(change, size, out=np.zeros_like(change), where=size != 0.0)


def product_mismatch(ensemble: Ensemble) -> Floats:
    """How far the Hessian-vector products are from central differences of the gradients, at the start, (B,).

    Returns
    -------
    (B,) float64
        The sum over directions and batches of the 2-norms of the differences, relative to the products and a hundredth of the gradients: where the
        Hessian is that small, its error is not seen in the flow either, and rounding of the gradients would dominate.
    """
    loss = ensemble.loss
    oracle: Oracle = loss.source.oracle
    result = np.empty(ensemble.problems)

    def work(piece: Integers) -> None:
        ints, reals = loss.pack(piece)
        data = Data(ints, reals, np.zeros(loss.source.work_size(len(piece))))
        theta = np.ascontiguousarray(ensemble.theta0[piece].T)
        found = products(oracle, data, theta, loss.batches)
        step = _STEP * (1.0 + np.abs(theta).max(axis=0))
        quotients = np.empty_like(found)
        for k, v in enumerate(directions(loss.dim)):
            change = step * v[:, None]
            above, below = (
                _gradients(oracle, data, theta + s * change, loss.batches) for s in (1.0, -1.0)
            )
            quotients[k] = (above - below) / (2.0 * step)
        gradients = _gradients(oracle, data, theta, loss.batches)
        scale = _size(found) + 0.01 * _DIRECTIONS * _size(gradients[None])
        with np.errstate(invalid="ignore"):
            result[piece] = np.divide(
                _size(found - quotients), scale, out=np.zeros(len(piece)), where=scale != 0.0
            )

    for_each_block(ensemble, work)
    return result
