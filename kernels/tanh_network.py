"""Regression losses of small tanh networks of one input: E_b = mean over d of (f(theta; x_bd) - y_bd)^2 / 2, f = sum_k o_k tanh(w_k x + b_k).

The parameters are the triples (w_k, b_k, o_k) in order. If p is no multiple of 3 the last triple is incomplete: o = 1, and b = 0 if it is missing
too. Gradients by
one reverse pass; Hessian-vector products by differentiating that pass along v (Pearlmutter, "Fast exact multiplication by the Hessian", 1994).

Packed data: ``ints`` = [points]; ``reals`` = inputs x (m, D, L), targets y (m, D, L).

Scratch: tanh values s (m, D, K, L), residuals r (m, D, L), two rows (L).
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.boxes import over_problems
from stepbias.kernels.draws import Draws
from stepbias.kernels.elementary import tanh
from stepbias.kernels.jit import inline, kernel
from stepbias.kernels.oracle import Oracle, compile_oracle
from stepbias.theory import majorant
from stepbias.theory.activations import TANH, supremum

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_u = np.uintp
_0, _1, _2, _3 = (np.uintp(i) for i in range(4))
_POINTS = 4


class Shape(NamedTuple):
    """Sizes of a block, unsigned."""

    dim: np.uintp
    lanes: np.uintp
    points: np.uintp
    hidden: np.uintp
    batches: np.uintp
    tanhs: np.uintp  # numbers per batch in the first part of work
    residuals: np.uintp  # start of the second part
    row: np.uintp  # start of the two single rows
    first: np.uintp  # loops over lanes: the whole block, or the lane of a thread of the GPU
    last: np.uintp


@inline
def shape_of(dim, lanes, first, last, ints, reals):
    """Sizes of a block whose lanes ``first`` .. ``last`` - 1 are computed."""
    points = _u(ints[0])
    hidden = (dim + _2) // _3
    batches = _u(reals.size) // (_2 * points * lanes)
    tanhs = points * hidden * lanes
    residuals = batches * tanhs
    row = residuals + batches * points * lanes
    return Shape(dim, lanes, points, hidden, batches, tanhs, residuals, row, first, last)


@inline
def _shape(theta, ints, reals):
    lanes = _u(theta.shape[1])
    return shape_of(_u(theta.shape[0]), lanes, _0, lanes, ints, reals)


@kernel()
def forward(b, shape, theta, reals, work):
    """Fill s and r of batch b."""
    dim, lanes = shape.dim, shape.lanes
    for d in range(shape.points):
        x = (b * shape.points + d) * lanes
        y = x + shape.batches * shape.points * lanes
        r = shape.residuals + x
        for i in range(shape.first, shape.last):
            work[r + i] = -reals[y + i]
        for k in range(shape.hidden):
            s = b * shape.tanhs + (d * shape.hidden + k) * lanes
            w = _3 * k * lanes
            if _3 * k + _1 < dim:
                for i in range(shape.first, shape.last):
                    work[s + i] = tanh(theta[w + i] * reals[x + i] + theta[w + lanes + i])
            else:
                for i in range(shape.first, shape.last):
                    work[s + i] = tanh(theta[w + i] * reals[x + i])
            if _3 * k + _2 < dim:
                for i in range(shape.first, shape.last):
                    work[r + i] += theta[w + _2 * lanes + i] * work[s + i]
            else:
                for i in range(shape.first, shape.last):
                    work[r + i] += work[s + i]


@kernel()
def back(b, shape, theta, reals, work, out, o):
    """After :func:`_forward`: the gradient of batch b at out[o ..]."""
    dim, lanes, q = shape.dim, shape.lanes, shape.row
    share = 1.0 / np.float64(shape.points)
    for j in range(dim):
        for i in range(shape.first, shape.last):
            out[o + j * lanes + i] = 0.0
    for d in range(shape.points):
        x = (b * shape.points + d) * lanes
        r = shape.residuals + x
        for k in range(shape.hidden):
            s = b * shape.tanhs + (d * shape.hidden + k) * lanes
            w = _3 * k * lanes
            for i in range(shape.first, shape.last):
                work[q + i] = share * work[r + i] * (1.0 - work[s + i] * work[s + i])
            if _3 * k + _2 < dim:
                for i in range(shape.first, shape.last):
                    out[o + w + _2 * lanes + i] += share * work[r + i] * work[s + i]
                for i in range(shape.first, shape.last):
                    work[q + i] *= theta[w + _2 * lanes + i]
            for i in range(shape.first, shape.last):
                out[o + w + i] += work[q + i] * reals[x + i]
            if _3 * k + _1 < dim:
                for i in range(shape.first, shape.last):
                    out[o + w + lanes + i] += work[q + i]


def _gradient(b, theta, ints, reals, work, out):
    shape, flat = _shape(theta, ints, reals), theta.reshape(theta.size)
    forward(_u(b), shape, flat, reals, work)
    back(_u(b), shape, flat, reals, work, out.reshape(out.size), _0)


def _gradients(theta, ints, reals, work, out):
    shape, flat = _shape(theta, ints, reals), theta.reshape(theta.size)
    target = out.reshape(out.size)
    for b in range(shape.batches):
        forward(b, shape, flat, reals, work)
        back(b, shape, flat, reals, work, target, b * _u(theta.size))


@inline
def _tangent(biased, shape, reals, work, vector, v, s, x, q):
    """work[q ..] = derivative of s along the vector."""
    for i in range(shape.first, shape.last):
        work[q + i] = vector[v + i] * reals[x + i]
    if biased:
        for i in range(shape.first, shape.last):
            work[q + i] += vector[v + shape.lanes + i]
    for i in range(shape.first, shape.last):
        work[q + i] *= 1.0 - work[s + i] * work[s + i]


@kernel()
def product(shape, theta, reals, work, vector, out):
    """out[b] = H_b vector[b] for all batches: the derivative of :func:`_back` along the vector."""
    dim, lanes, df, q = shape.dim, shape.lanes, shape.row, shape.row + shape.lanes
    share = 1.0 / np.float64(shape.points)
    for j in range(shape.batches * dim):
        for i in range(shape.first, shape.last):
            out[j * lanes + i] = 0.0
    for b in range(shape.batches):
        o = b * dim * lanes
        for d in range(shape.points):
            x = (b * shape.points + d) * lanes
            r = shape.residuals + x
            for i in range(shape.first, shape.last):
                work[df + i] = 0.0
            for k in range(shape.hidden):
                s, w = b * shape.tanhs + (d * shape.hidden + k) * lanes, _3 * k * lanes
                _tangent(_3 * k + _1 < dim, shape, reals, work, vector, o + w, s, x, q)
                if _3 * k + _2 < dim:
                    for i in range(shape.first, shape.last):
                        a = vector[o + w + _2 * lanes + i] * work[s + i]
                        work[df + i] += a + theta[w + _2 * lanes + i] * work[q + i]
                else:
                    for i in range(shape.first, shape.last):
                        work[df + i] += work[q + i]
            for k in range(shape.hidden):
                s, w = b * shape.tanhs + (d * shape.hidden + k) * lanes, _3 * k * lanes
                _tangent(_3 * k + _1 < dim, shape, reals, work, vector, o + w, s, x, q)
                if _3 * k + _2 < dim:
                    c = w + _2 * lanes
                    for i in range(shape.first, shape.last):
                        ds, t = work[q + i], work[s + i]
                        out[o + c + i] += share * (work[df + i] * t + work[r + i] * ds)
                        f = work[df + i] * theta[c + i] + work[r + i] * vector[o + c + i]
                        work[q + i] = share * (
                            f * (1.0 - t * t) - 2.0 * work[r + i] * theta[c + i] * t * ds
                        )
                else:
                    for i in range(shape.first, shape.last):
                        t = work[s + i]
                        f = work[df + i] * (1.0 - t * t) - 2.0 * work[r + i] * t * work[q + i]
                        work[q + i] = share * f
                for i in range(shape.first, shape.last):
                    out[o + w + i] += work[q + i] * reals[x + i]
                if _3 * k + _1 < dim:
                    for i in range(shape.first, shape.last):
                        out[o + w + lanes + i] += work[q + i]


def _products(theta, ints, reals, work, first, second, out_first, out_second):
    shape, flat, size = _shape(theta, ints, reals), theta.reshape(theta.size), first.size
    product(shape, flat, reals, work, first.reshape(size), out_first.reshape(size))
    product(shape, flat, reals, work, second.reshape(size), out_second.reshape(size))


def _value(b, theta, ints, reals, work, out):
    shape = _shape(theta, ints, reals)
    forward(_u(b), shape, theta.reshape(theta.size), reals, work)
    share = 0.5 / np.float64(shape.points)
    for i in range(out.size):
        out[i] = 0.0
    for d in range(shape.points):
        r = shape.residuals + (_u(b) * shape.points + d) * shape.lanes
        for i in range(shape.first, shape.last):
            out[i] += share * work[r + i] * work[r + i]


@cache
def oracle() -> Oracle:
    """Compiled functions of all tanh networks."""
    return compile_oracle(_gradient, _gradients, _products, _value)


class RandomTanhNetwork:
    """Random regression problems for a tanh network.

    Parameters
    ----------
    dim, batches : int
    problems : int or None
    seed : int
    """

    number = 6

    def __init__(self, dim: int, batches: int, problems: int | None, seed: int) -> None:
        self.dim, self.batches, self.problems, self.seed = dim, batches, problems, seed

    @property
    def oracle(self) -> Oracle:
        """Compiled functions, built at the first use."""
        return oracle()

    def work_size(self, lanes: int) -> int:
        """Tanh values, residuals, two rows."""
        return (self.batches * _POINTS * ((self.dim + 2) // 3 + 1) + 2) * lanes

    def draw(self, indices: Integers) -> tuple[Floats, Floats]:
        """Inputs and targets (m, D, L) of the problems ``indices``."""
        draws = Draws(self.seed, self.number, indices, 2 * _POINTS * (1 + self.batches))
        x = draws.signed(0.7, 1.6, _POINTS)[None] + draws.uniform(-0.3, 0.3, self.batches, _POINTS)
        y = draws.uniform(-1.5, 1.5, _POINTS)[None] + draws.uniform(
            -0.5, 0.5, self.batches, _POINTS
        )
        return x, y

    def pack(self, indices: Integers) -> tuple[Integers, Floats]:
        """See :class:`stepbias.kernels.oracle.Source`."""
        x, y = self.draw(np.asarray(indices, dtype=np.int64))
        return np.array([_POINTS], dtype=np.int64), np.concatenate([x.ravel(), y.ravel()])

    def bounds(
        self, lower: Floats, upper: Floats, indices: Integers | None = None
    ) -> tuple[Any, Any, Any, Any]:
        """M_1 .. M_4 by propagating bounds of orders 0 .. 4 through the network (:mod:`stepbias.theory.majorant`)."""
        return over_problems(self._bounds, self.problems, indices, lower, upper)

    def _bounds(self, indices: Integers, lower: Floats, upper: Floats) -> list[Floats]:
        x, y = self.draw(indices)
        zero, one = np.zeros_like(x), np.ones_like(x)
        low, high = -y, -y
        largest = [zero, zero, zero, zero]
        for first in range(0, self.dim, 3):
            w, b, o = (
                (lower[:, j], upper[:, j]) if j < self.dim else None
                for j in range(first, first + 3)
            )
            start, stop = majorant.interval_product(x, x, w[0] + zero, w[1] + zero)  # type: ignore[index]
            slope = np.abs(x)
            if b is not None:
                start, stop, slope = start + b[0], stop + b[1], np.maximum(slope, one)
            outer = tuple(supremum(TANH, order, start, stop) for order in range(5))
            unit = majorant.composition(outer, (zero, slope, zero, zero, zero))
            start, stop = np.tanh(start), np.tanh(stop)
            if o is not None:
                start, stop = majorant.interval_product(start, stop, o[0] + zero, o[1] + zero)
                scale = np.maximum(np.abs(o[0]), np.abs(o[1])) + zero
                unit = majorant.product(unit, (scale, one, zero, zero, zero))
            low, high = low + start, high + stop
            # a derivative that mixes two triples vanishes
            largest = [np.maximum(old, new) for old, new in zip(largest, unit[1:], strict=True)]
        residual = (np.maximum(np.abs(low), np.abs(high)), *largest)
        total = majorant.half_square(residual)
        return [entry.mean(axis=1).max(axis=0) * (1.0 + 1e-12) for entry in total[1:]]

    def describe(self) -> str:
        """The law and the seed."""
        return (
            f"tanh-network, seed {self.seed}: E_b = mean over {_POINTS} points of (f(x_bd) - y_bd)^2 / 2, "
            "f(x) = sum of o tanh(w x + b) over the triples (w, b, o) of theta (o = 1, b = 0 where missing); "
            "x_bd = X_d + A_bd, |X| uniform in (0.7, 1.6), signs fair, A in (-0.3, 0.3); "
            "y_bd = Y_d + B_bd, Y uniform in (-1.5, 1.5), B in (-0.5, 0.5)"
        )
