"""Log-sum-exp losses E_b(theta) = a_b log sum_i exp(w_i . theta + c_bi), smooth maxima of affine functions.

Packed data: ``ints`` = [rows]; ``reals`` = weights W (p, rows, L), offsets c (m, rows, L), amplitudes a (m, L).

Scratch: w_i . theta, then w_i . v (rows, L); probabilities (m, rows, L); two rows (L).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.boxes import over_problems
from stepbias.kernels.draws import Draws
from stepbias.kernels.elementary import exp, log
from stepbias.kernels.jit import inline, kernel
from stepbias.kernels.oracle import Oracle, compile_oracle
from stepbias.kernels.ridge import Shape, gather, project

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_u = np.uintp
_0, _1 = np.uintp(0), np.uintp(1)
_ROWS = 8


@inline
def _shape(theta, ints):
    dim, lanes, rows = _u(theta.shape[0]), _u(theta.shape[1]), _u(ints[0])
    return Shape(dim, rows, lanes, rows * lanes, _0, False, _0, lanes)


@inline
def _ends(shape, batches):
    """Start of the amplitudes in reals, of the two single rows in work."""
    amplitudes = (shape.dim + batches) * shape.size
    return amplitudes, (_1 + batches) * shape.size


@kernel()
def rows_at(shape, vector, v, reals, work):
    """work[0 ..] = w_i . vector."""
    for r in range(shape.units):
        for i in range(shape.first, shape.last):
            work[r * shape.lanes + i] = 0.0
    project(shape, reals, _0, shape.units, vector, v, work, _0)


@kernel()
def _probabilities(b, batches, shape, reals, work):
    """Fill the probabilities of batch b; the two single rows become the largest exponent and the sum of the shifted exponentials."""
    lanes, rows = shape.lanes, shape.units
    c, pi = (shape.dim + b) * shape.size, (_1 + b) * shape.size
    _, top = _ends(shape, batches)
    total = top + lanes
    for i in range(shape.first, shape.last):
        work[top + i] = -np.inf
        work[total + i] = 0.0
    for r in range(rows):
        x, z = pi + r * lanes, r * lanes
        for i in range(shape.first, shape.last):
            work[x + i] = work[z + i] + reals[c + z + i]
            work[top + i] = work[x + i] if work[x + i] > work[top + i] else work[top + i]
    for r in range(rows):
        x = pi + r * lanes
        for i in range(shape.first, shape.last):
            work[x + i] = exp(work[x + i] - work[top + i])
        for i in range(shape.first, shape.last):
            work[total + i] += work[x + i]
    for r in range(rows):
        x = pi + r * lanes
        for i in range(shape.first, shape.last):
            work[x + i] /= work[total + i]


@kernel()
def batch_gradient(b, batches, shape, reals, work, out, o):
    """After :func:`rows_at`: out[o ..] = a_b sum_i pi_i w_i."""
    _probabilities(b, batches, shape, reals, work)
    a, _ = _ends(shape, batches)
    a += b * shape.lanes
    for j in range(shape.dim):
        for i in range(shape.first, shape.last):
            out[o + j * shape.lanes + i] = 0.0
    gather(shape, reals, _0, shape.units, work, (_1 + b) * shape.size, out, o)
    for j in range(shape.dim):
        for i in range(shape.first, shape.last):
            out[o + j * shape.lanes + i] *= reals[a + i]


@inline
def batches_of(reals, shape):
    """m, from the length of the data."""
    return (_u(reals.size) - shape.dim * shape.size) // (shape.size + shape.lanes)


def _gradient(b, theta, ints, reals, work, out):
    shape = _shape(theta, ints)
    batches = batches_of(reals, shape)
    rows_at(shape, theta.reshape(theta.size), _0, reals, work)
    batch_gradient(_u(b), batches, shape, reals, work, out.reshape(out.size), _0)


def _gradients(theta, ints, reals, work, out):
    shape = _shape(theta, ints)
    batches = _u(out.shape[0])
    rows_at(shape, theta.reshape(theta.size), _0, reals, work)
    target = out.reshape(out.size)
    for b in range(batches):
        batch_gradient(b, batches, shape, reals, work, target, b * _u(theta.size))


@kernel()
def product(batches, shape, reals, work, vector, out):
    """out[b] = a_b sum_i pi_i (t_i - mean of t) w_i with t_i = w_i . vector[b]."""
    lanes, rows, part = shape.lanes, shape.units, shape.dim * shape.lanes
    a, mean = _ends(shape, batches)
    for j in range(batches * shape.dim):
        for i in range(shape.first, shape.last):
            out[j * lanes + i] = 0.0
    for b in range(batches):
        pi = (_1 + b) * shape.size
        rows_at(shape, vector, b * part, reals, work)
        for i in range(shape.first, shape.last):
            work[mean + i] = 0.0
        for r in range(rows):
            for i in range(shape.first, shape.last):
                work[mean + i] += work[pi + r * lanes + i] * work[r * lanes + i]
        for r in range(rows):
            x = r * lanes
            for i in range(shape.first, shape.last):
                work[x + i] = (
                    reals[a + b * lanes + i] * work[pi + x + i] * (work[x + i] - work[mean + i])
                )
        gather(shape, reals, _0, rows, work, _0, out, b * part)


def _products(theta, ints, reals, work, first, second, out_first, out_second):
    shape = _shape(theta, ints)
    batches, size = _u(first.shape[0]), first.size
    product(batches, shape, reals, work, first.reshape(size), out_first.reshape(size))
    product(batches, shape, reals, work, second.reshape(size), out_second.reshape(size))


def _value(b, theta, ints, reals, work, out):
    shape = _shape(theta, ints)
    batches = batches_of(reals, shape)
    rows_at(shape, theta.reshape(theta.size), _0, reals, work)
    _probabilities(_u(b), batches, shape, reals, work)
    a, top = _ends(shape, batches)
    a += _u(b) * shape.lanes
    for i in range(shape.first, shape.last):
        out[i] = reals[a + i] * (work[top + i] + log(work[top + shape.lanes + i]))


@cache
def oracle() -> Oracle:
    """Compiled functions of all log-sum-exp losses."""
    return compile_oracle(_gradient, _gradients, _products, _value)


class RandomSoftmax:
    """Random log-sum-exp losses.

    Parameters
    ----------
    dim, batches : int
    problems : int or None
    seed : int
    """

    number = 5

    def __init__(self, dim: int, batches: int, problems: int | None, seed: int) -> None:
        self.dim, self.batches, self.problems, self.seed = dim, batches, problems, seed

    @property
    def oracle(self) -> Oracle:
        """Compiled functions, built at the first use."""
        return oracle()

    def work_size(self, lanes: int) -> int:
        """One projection, m sets of probabilities, two rows."""
        return ((1 + self.batches) * _ROWS + 2) * lanes

    def draw(self, indices: Integers) -> tuple[Floats, Floats, Floats]:
        """Weights (p, rows, L), offsets (m, rows, L), amplitudes (m, L) of the problems ``indices``."""
        count = _ROWS * (self.dim + 1 + self.batches) + 1 + self.batches
        draws = Draws(self.seed, self.number, indices, count)
        weight = draws.signed(0.5, 1.5, self.dim, _ROWS)
        offset = draws.uniform(-1.0, 1.0, _ROWS)[None] + draws.uniform(
            -0.8, 0.8, self.batches, _ROWS
        )
        amplitude = draws.uniform(1.0, 2.0) + draws.uniform(-0.5, 0.5, self.batches)
        return weight, offset, amplitude

    def pack(self, indices: Integers) -> tuple[Integers, Floats]:
        """See :class:`stepbias.kernels.oracle.Source`."""
        parts = self.draw(np.asarray(indices, dtype=np.int64))
        return np.array([_ROWS], dtype=np.int64), np.concatenate([part.ravel() for part in parts])

    def bounds(
        self, lower: Floats, upper: Floats, indices: Integers | None = None
    ) -> tuple[Any, Any, Any, Any]:
        """M_1 .. M_4, on any box.

        Derivatives of order k are a_b times joint cumulants of order k of the rows' entries under the probabilities. With r the largest half-range of
        the entries
        of a column: means are at most max |w_ij|, covariances r^2, third cumulants r^3 (third absolute central moments are largest for two points), fourth
        13/3 r^4 (a fourth central moment, at most 4/3 r^4, and three products of covariances).
        """
        return over_problems(self._bounds, self.problems, indices, lower, upper)

    def _bounds(self, indices: Integers, lower: Floats, upper: Floats) -> list[Floats]:
        weight, _, amplitude = self.draw(indices)
        largest = np.abs(amplitude).max(axis=0) * (1.0 + 1e-13)
        radius = 0.5 * (weight.max(axis=1) - weight.min(axis=1)).max(axis=0)
        mean = np.abs(weight).max(axis=(0, 1))
        return [largest * size for size in (mean, radius**2, radius**3, 13.0 / 3.0 * radius**4)]

    def describe(self) -> str:
        """The law and the seed."""
        return (
            f"log-sum-exp, seed {self.seed}: E_b = a_b log of the sum over i < {_ROWS} of exp(w_i . theta + c_bi); |w_ij| uniform in (0.5, 1.5), signs fair, "
            "common to all batches; c_bi = C_i + D_bi, C uniform in (-1, 1), D in (-0.8, 0.8); a_b = A + B_b, A uniform in (1, 2), B in (-0.5, 0.5)"
        )
