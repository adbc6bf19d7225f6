"""Ridge losses E_b(theta) = sum_u a_u phi(w_u . theta + c_u): one compiled traversal for every activation.

Units are grouped by batch, and within a batch by activation; a *segment* is a run of units with one batch and one activation. The switch on the
activation stands
outside the loop over units and lanes, which is one flat contiguous range.

Packed data: ``ints`` = [units, shared, segments, then (kind, batch, start, stop) per segment]; ``reals`` = offsets c (units, L), amplitudes a (units,
L), weights
W (p, units, L), or (p, units) if ``shared`` is 1 (rows of real data), and a weight decay d, which adds d/2 |theta|^2 to every batch.

Scratch: four arrays (units, L): z, then a phi'(z); a phi''(z); two projections w_u . v.

Every array is addressed flat, with unsigned offsets: a slice inside a loop costs two atomic operations on its reference count, and a signed index of
unknown sign
costs a wrap-around that keeps the loop scalar.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from stepbias.kernels.bind import bind
from stepbias.kernels.jit import contracted, inline, kernel, wide_vectors
from stepbias.kernels.oracle import Oracle, compile_oracle
from stepbias.kernels.views import flat
from stepbias.theory import activations
from stepbias.theory.activations import ABS, GAUSSIAN, LOG_COSH, RELU, SINE, SOFTPLUS, SQUARE, TANH

_sine, _softplus, _log_cosh, _gaussian, _square, _tanh, _abs, _relu = (
    bind(f) for f in activations.VALUES
)
_sine_slopes, _softplus_slopes, _log_cosh_slopes, _gaussian_slopes, *_more_slopes = (
    bind(f) for f in activations.SLOPES
)
_square_slopes, _tanh_slopes, _abs_slopes, _relu_slopes = _more_slopes

HEADER = 3  # entries of ints before the segments
_u = np.uintp
_0, _1, _2, _3, _4 = (np.uintp(i) for i in range(5))


class Shape(NamedTuple):
    """Sizes of a block, unsigned: ``size`` = units * lanes; the weights start at ``weight`` in ``reals``.

    Loops over lanes run from ``first`` to ``last`` - 1: a thread of the CPU does the whole block, one of the GPU its own lane.
    """

    dim: np.uintp
    units: np.uintp
    lanes: np.uintp
    size: np.uintp
    weight: np.uintp
    shared: bool
    first: np.uintp
    last: np.uintp


@inline
def _shape(theta, ints):
    dim, lanes, units = _u(theta.shape[0]), _u(theta.shape[1]), _u(ints[0])
    return Shape(dim, units, lanes, units * lanes, _2 * units * lanes, ints[1] == 1, _0, lanes)


@contracted
def project(shape, reals, start, stop, vector, v, out, o):
    """out[o + (u, i)] += w_u . vector[v + (:, i)] for the units start .. stop - 1, summed over components in their order."""
    wide_vectors()
    dim, units, lanes = shape.dim, shape.units, shape.lanes
    w = shape.weight
    if lanes == _1:  # one problem, many rows: the units are the contiguous axis
        for k in range(dim):
            x, row, t = vector[v + k], w + k * units + start, o + start
            for u in range(stop - start):
                out[t + u] += reals[row + u] * x
        return
    for u in range(start, stop):
        t = o + u * lanes
        j = _0
        while j + _3 < dim:  # four at a time: t is loaded and stored once
            v0 = v + j * lanes
            v1, v2, v3 = v0 + lanes, v0 + _2 * lanes, v0 + _3 * lanes
            if shape.shared:
                r = w + j * units + u
                c0, c1, c2, c3 = (
                    reals[r],
                    reals[r + units],
                    reals[r + _2 * units],
                    reals[r + _3 * units],
                )
                for i in range(lanes):
                    x = out[t + i] + c0 * vector[v0 + i] + c1 * vector[v1 + i]
                    out[t + i] = x + c2 * vector[v2 + i] + c3 * vector[v3 + i]
            else:
                r0 = w + (j * units + u) * lanes
                r1, r2, r3 = r0 + shape.size, r0 + _2 * shape.size, r0 + _3 * shape.size
                for i in range(lanes):
                    x = out[t + i] + reals[r0 + i] * vector[v0 + i] + reals[r1 + i] * vector[v1 + i]
                    out[t + i] = x + reals[r2 + i] * vector[v2 + i] + reals[r3 + i] * vector[v3 + i]
            j += _4
        while j < dim:
            v0 = v + j * lanes
            if shape.shared:
                c0 = reals[w + j * units + u]
                for i in range(lanes):
                    out[t + i] += c0 * vector[v0 + i]
            else:
                r0 = w + (j * units + u) * lanes
                for i in range(lanes):
                    out[t + i] += reals[r0 + i] * vector[v0 + i]
            j += _1


@contracted
def gather(shape, reals, start, stop, coefficient, s, out, o):
    """out[o + (:, i)] += sum over u of coefficient[s + (u, i)] w_u, in the order of the units."""
    wide_vectors()
    dim, units, lanes = shape.dim, shape.units, shape.lanes
    w = shape.weight
    if lanes == _1:
        _gather_one(shape, reals, start, stop, coefficient, s, out, o)
        return
    for j in range(dim):
        t, u = o + j * lanes, start
        while u + _3 < stop:
            s0 = s + u * lanes
            s1, s2, s3 = s0 + lanes, s0 + _2 * lanes, s0 + _3 * lanes
            r = w + j * units + u
            if shape.shared:
                c0, c1, c2, c3 = reals[r], reals[r + _1], reals[r + _2], reals[r + _3]
                for i in range(lanes):
                    x = out[t + i] + coefficient[s0 + i] * c0 + coefficient[s1 + i] * c1
                    out[t + i] = x + coefficient[s2 + i] * c2 + coefficient[s3 + i] * c3
            else:
                r0 = w + (j * units + u) * lanes
                r1, r2, r3 = r0 + lanes, r0 + _2 * lanes, r0 + _3 * lanes
                for i in range(lanes):
                    x = (
                        out[t + i]
                        + coefficient[s0 + i] * reals[r0 + i]
                        + coefficient[s1 + i] * reals[r1 + i]
                    )
                    out[t + i] = (
                        x
                        + coefficient[s2 + i] * reals[r2 + i]
                        + coefficient[s3 + i] * reals[r3 + i]
                    )
            u += _4
        while u < stop:
            s0 = s + u * lanes
            if shape.shared:
                c0 = reals[w + j * units + u]
                for i in range(lanes):
                    out[t + i] += coefficient[s0 + i] * c0
            else:
                r0 = w + (j * units + u) * lanes
                for i in range(lanes):
                    out[t + i] += coefficient[s0 + i] * reals[r0 + i]
            u += _1


@contracted
def _gather_one(shape, reals, start, stop, coefficient, s, out, o):
    """One lane: four components at a time, so that four chains of additions run side by side."""
    dim, units = shape.dim, shape.units
    r0 = shape.weight
    j = _0
    while j + _3 < dim:
        r1, r2, r3 = r0 + units, r0 + _2 * units, r0 + _3 * units
        t = o + j
        t0, t1, t2, t3 = out[t], out[t + _1], out[t + _2], out[t + _3]
        for u in range(start, stop):
            c = coefficient[s + u]
            t0 += c * reals[r0 + u]
            t1 += c * reals[r1 + u]
            t2 += c * reals[r2 + u]
            t3 += c * reals[r3 + u]
        out[t], out[t + _1], out[t + _2], out[t + _3] = t0, t1, t2, t3
        r0 += _4 * units
        j += _4
    while j < dim:
        t0 = out[o + j]
        for u in range(start, stop):
            t0 += coefficient[s + u] * reals[r0 + u]
        out[o + j] = t0
        r0 += units
        j += _1


@kernel()
def _scale(factor, vector, v, out, o, size):
    """out = factor vector, and exactly 0 for factor 0."""
    if factor == 0.0:
        for i in range(size):
            out[o + i] = 0.0
    else:
        for i in range(size):
            out[o + i] = factor * vector[v + i]


@kernel()
def _offsets(shape, theta, reals, work, start, stop):
    """z_u = c_u + w_u . theta."""
    first = start * shape.lanes
    for i in range((stop - start) * shape.lanes):
        work[first + i] = reals[first + i]
    project(shape, reals, start, stop, theta, _0, work, _0)


@contracted
def _slopes(kind, shape, reals, work, start, stop):
    """Replace z by a phi'(z) and fill the curvatures a phi''(z), over one flat range."""
    wide_vectors()
    count, z = (stop - start) * shape.lanes, start * shape.lanes
    a, c = (
        z + shape.size,
        z + shape.size,
    )  # amplitudes are the second part of reals, curvatures of work
    if kind == SINE:
        for i in range(count):
            d, e = _sine_slopes(work[z + i])
            work[z + i] = reals[a + i] * d
            work[c + i] = reals[a + i] * e
    elif kind == SOFTPLUS:
        for i in range(count):
            d, e = _softplus_slopes(work[z + i])
            work[z + i] = reals[a + i] * d
            work[c + i] = reals[a + i] * e
    elif kind == LOG_COSH:
        for i in range(count):
            d, e = _log_cosh_slopes(work[z + i])
            work[z + i] = reals[a + i] * d
            work[c + i] = reals[a + i] * e
    elif kind == GAUSSIAN:
        for i in range(count):
            d, e = _gaussian_slopes(work[z + i])
            work[z + i] = reals[a + i] * d
            work[c + i] = reals[a + i] * e
    elif kind == SQUARE:
        for i in range(count):
            d, e = _square_slopes(work[z + i])
            work[z + i] = reals[a + i] * d
            work[c + i] = reals[a + i] * e
    elif kind == TANH:
        for i in range(count):
            d, e = _tanh_slopes(work[z + i])
            work[z + i] = reals[a + i] * d
            work[c + i] = reals[a + i] * e
    elif kind == ABS:
        for i in range(count):
            d, e = _abs_slopes(work[z + i])
            work[z + i] = reals[a + i] * d
            work[c + i] = reals[a + i] * e
    elif kind == RELU:
        for i in range(count):
            d, e = _relu_slopes(work[z + i])
            work[z + i] = reals[a + i] * d
            work[c + i] = reals[a + i] * e


@kernel()
def _values(kind, shape, reals, work, start, stop):
    """Replace z by a phi(z) over one flat range."""
    count, z = (stop - start) * shape.lanes, start * shape.lanes
    a = z + shape.size
    if kind == SINE:
        for i in range(count):
            work[z + i] = reals[a + i] * _sine(work[z + i])
    elif kind == SOFTPLUS:
        for i in range(count):
            work[z + i] = reals[a + i] * _softplus(work[z + i])
    elif kind == LOG_COSH:
        for i in range(count):
            work[z + i] = reals[a + i] * _log_cosh(work[z + i])
    elif kind == GAUSSIAN:
        for i in range(count):
            work[z + i] = reals[a + i] * _gaussian(work[z + i])
    elif kind == SQUARE:
        for i in range(count):
            work[z + i] = reals[a + i] * _square(work[z + i])
    elif kind == TANH:
        for i in range(count):
            work[z + i] = reals[a + i] * _tanh(work[z + i])
    elif kind == ABS:
        for i in range(count):
            work[z + i] = reals[a + i] * _abs(work[z + i])
    elif kind == RELU:
        for i in range(count):
            work[z + i] = reals[a + i] * _relu(work[z + i])


@kernel()
def _batch_gradient(batch, shape, theta, ints, reals, work, out, o):
    _scale(reals[reals.size - 1], theta, _0, out, o, shape.dim * shape.lanes)
    for s in range(HEADER, HEADER + 4 * ints[2], 4):
        if ints[s + 1] == batch:
            start, stop = _u(ints[s + 2]), _u(ints[s + 3])
            _offsets(shape, theta, reals, work, start, stop)
            _slopes(ints[s], shape, reals, work, start, stop)
            gather(shape, reals, start, stop, work, _0, out, o)


def _gradient(b, theta, ints, reals, work, out):
    shape = _shape(theta, ints)
    _batch_gradient(b, shape, flat(theta), ints, reals, work, flat(out), _0)


def _gradients(theta, ints, reals, work, out):
    shape = _shape(theta, ints)
    point, target = flat(theta), flat(out)
    for b in range(out.shape[0]):
        _batch_gradient(b, shape, point, ints, reals, work, target, _u(b) * _u(theta.size))


@kernel()
def _product(shape, ints, reals, work, t, vector, out):
    """out[b] = H_b vector[b] for all batches; projections at t in work."""
    part = shape.dim * shape.lanes
    _scale(reals[reals.size - 1], vector, _0, out, _0, _u(out.size))
    for s in range(HEADER, HEADER + 4 * ints[2], 4):
        b, start, stop = _u(ints[s + 1]), _u(ints[s + 2]), _u(ints[s + 3])
        first, count = start * shape.lanes, (stop - start) * shape.lanes
        for i in range(count):
            work[t + first + i] = 0.0
        project(shape, reals, start, stop, vector, b * part, work, t)
        for i in range(count):
            work[t + first + i] *= work[shape.size + first + i]
        gather(shape, reals, start, stop, work, t, out, b * part)


def _products(theta, ints, reals, work, first, second, out_first, out_second):
    shape = _shape(theta, ints)
    _product(shape, ints, reals, work, _2 * shape.size, flat(first), flat(out_first))
    _product(shape, ints, reals, work, _3 * shape.size, flat(second), flat(out_second))


def _value(b, theta, ints, reals, work, out):
    shape = _shape(theta, ints)
    point, half_decay = flat(theta), 0.5 * reals[reals.size - 1]
    for i in range(out.size):
        out[i] = 0.0
    if half_decay != 0.0:
        for j in range(theta.shape[0]):
            for i in range(out.size):
                out[i] += half_decay * theta[j, i] * theta[j, i]
    for s in range(HEADER, HEADER + 4 * ints[2], 4):
        if ints[s + 1] == b:
            start, stop = _u(ints[s + 2]), _u(ints[s + 3])
            _offsets(shape, point, reals, work, start, stop)
            _values(ints[s], shape, reals, work, start, stop)
            for u in range(start, stop):
                for i in range(shape.lanes):
                    out[i] += work[u * shape.lanes + i]


@cache
def oracle() -> Oracle:
    """Compiled functions of all ridge losses."""
    return compile_oracle(_gradient, _gradients, _products, _value)
