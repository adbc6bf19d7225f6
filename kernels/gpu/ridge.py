"""Ridge losses on the GPU: one thread visits the units of its lane; data as in :mod:`stepbias.kernels.ridge`.

Scratch: a phi''(z), (units, L).
"""

from __future__ import annotations

import numpy as np

from stepbias.kernels import ridge
from stepbias.kernels.gpu.bind import REPLACED, formula
from stepbias.kernels.gpu.local import device_function
from stepbias.theory import activations
from stepbias.theory.activations import (
    ABS,
    GAUSSIAN,
    LOG_COSH,
    RELU,
    SINE,
    SOFTPLUS,
    SQUARE,
    TANH,
)

_HEADER = ridge.HEADER
_u = np.uintp
_sine, _softplus, _log_cosh, _gaussian, _square, _tanh, _abs, _relu = (
    formula(f) for f in activations.SLOPES
)


@device_function
def _slopes(kind, z):
    """phi'(z), phi''(z)."""
    if kind == SINE:
        d, e = _sine(z)
    elif kind == SOFTPLUS:
        d, e = _softplus(z)
    elif kind == LOG_COSH:
        d, e = _log_cosh(z)
    elif kind == GAUSSIAN:
        d, e = _gaussian(z)
    elif kind == SQUARE:
        d, e = _square(z)
    elif kind == TANH:
        d, e = _tanh(z)
    elif kind == ABS:
        d, e = _abs(z)
    elif kind == RELU:
        d, e = _relu(z)
    else:
        d, e = np.nan, np.nan
    return d, e


@device_function
def _weights(ints, lane, lanes):
    """Start of the first unit's weight, and the distances to the next unit and the next component."""
    units = ints[0]
    if ints[1] == 1:
        return 2 * units * lanes, 1, units
    return 2 * units * lanes + lane, lanes, units * lanes


@device_function
def _decayed(factor, size, lane, lanes, vector, out):
    """out = factor vector, exactly 0 for factor 0; ``size`` components."""
    for j in range(size):
        i = j * lanes + lane
        out[i] = factor * vector[i] if factor != 0.0 else 0.0


@device_function
def _add_gradient(b, lane, lanes, dim, theta, data, out, o):
    """out[o ..] += the units' part of the gradient of batch b; leaves the curvatures in work."""
    ints, reals = data.ints, data.reals
    start, unit, component = _weights(ints, lane, lanes)
    size = ints[0] * lanes
    for s in range(_HEADER, _HEADER + 4 * ints[2], 4):
        if ints[s + 1] == b:
            for u in range(ints[s + 2], ints[s + 3]):
                i, w = u * lanes + lane, start + u * unit
                z = reals[i]
                for j in range(dim):
                    z += reals[w + j * component] * theta[j * lanes + lane]
                d, e = _slopes(ints[s], z)
                amplitude = reals[size + i]
                data.work[i] = amplitude * e
                d *= amplitude
                for j in range(dim):
                    out[o + j * lanes + lane] += d * reals[w + j * component]


@device_function
def gradient(b, lane, lanes, dim, theta, data, extra, out):
    """See :class:`stepbias.kernels.gpu.oracle.DeviceOracle`."""
    _decayed(data.reals[data.reals.size - 1], dim, lane, lanes, theta, out)
    _add_gradient(b, lane, lanes, dim, theta, data, out, 0)


@device_function
def gradients(lane, lanes, dim, theta, data, extra, out):
    """See :class:`stepbias.kernels.gpu.oracle.DeviceOracle`."""
    decay = data.reals[data.reals.size - 1]
    part = dim * lanes
    for b in range(out.size // part):
        for j in range(dim):
            i = j * lanes + lane
            out[b * part + i] = decay * theta[i] if decay != 0.0 else 0.0
        _add_gradient(b, lane, lanes, dim, theta, data, out, b * part)


@device_function
def products(lane, lanes, dim, theta, data, extra, first, second, out_first, out_second):
    """See :class:`stepbias.kernels.gpu.oracle.DeviceOracle`."""
    ints, reals = data.ints, data.reals
    decay = reals[reals.size - 1]
    _decayed(decay, first.size // lanes, lane, lanes, first, out_first)
    _decayed(decay, second.size // lanes, lane, lanes, second, out_second)
    start, unit, component = _weights(ints, lane, lanes)
    for s in range(_HEADER, _HEADER + 4 * ints[2], 4):
        o = ints[s + 1] * dim * lanes + lane
        for u in range(ints[s + 2], ints[s + 3]):
            w = start + u * unit
            x, y = 0.0, 0.0
            for j in range(dim):
                x += reals[w + j * component] * first[o + j * lanes]
                y += reals[w + j * component] * second[o + j * lanes]
            curvature = data.work[u * lanes + lane]
            x *= curvature
            y *= curvature
            for j in range(dim):
                out_first[o + j * lanes] += x * reals[w + j * component]
                out_second[o + j * lanes] += y * reals[w + j * component]


def _project(shape, reals, start, stop, vector, v, out, o):
    """:func:`stepbias.kernels.ridge.project` for the lane of a thread."""
    for u in range(start, stop):
        t = o + u * shape.lanes + shape.first
        x = out[t]
        for j in range(shape.dim):
            w = shape.weight + (_u(j) * shape.units + u) * shape.lanes + shape.first
            x += reals[w] * vector[v + _u(j) * shape.lanes + shape.first]
        out[t] = x


def _gather(shape, reals, start, stop, coefficient, s, out, o):
    """:func:`stepbias.kernels.ridge.gather` for the lane of a thread."""
    for j in range(shape.dim):
        t = o + _u(j) * shape.lanes + shape.first
        x = out[t]
        for u in range(start, stop):
            w = shape.weight + (_u(j) * shape.units + u) * shape.lanes + shape.first
            x += coefficient[s + u * shape.lanes + shape.first] * reals[w]
        out[t] = x


REPLACED[ridge.project] = _project
REPLACED[ridge.gather] = _gather
