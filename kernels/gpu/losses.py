"""The device functions of every kind of loss but the ridge losses, which have a file of their own.

Log-sum-exp, the tanh network and the bilinear loss are the CPU's functions compiled again, with loops over one lane; generated and given functions are called
lane by lane.
"""

from __future__ import annotations

from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numba import float64

from stepbias.kernels import softmax_loss, symbolic_loss, tanh_network
from stepbias.kernels.bilinear import BilinearSource
from stepbias.kernels.fault import ScaledProducts
from stepbias.kernels.gpu import ridge as ridge_lanes
from stepbias.kernels.gpu.bind import build, device
from stepbias.kernels.gpu.local import device_function, thread
from stepbias.kernels.gpu.oracle import DeviceLoss, DeviceOracle
from stepbias.kernels.ridge import Shape
from stepbias.kernels.ridge_source import RidgeSource
from stepbias.kernels.selection import SelectedSource
from stepbias.kernels.softmax_loss import RandomSoftmax
from stepbias.kernels.symbolic_loss import SymbolicSource
from stepbias.kernels.tanh_network import RandomTanhNetwork
from stepbias.kernels.user_loss import UserSource
from stepbias.theory import bilinear

_u = np.uintp
_0 = np.uintp(0)
# Doubles of a given Hessian and of what lies beside it: a thread has 512 KiB of local memory.
_LOCAL = 2**16 - 2**9


def device_loss(source: Any) -> DeviceLoss:
    """The device functions of a loss.

    Raises
    ------
    ValueError
        For a source that has none: a loss broken on purpose is judged on the CPU; a given Hessian does not fit into the memory of a thread.
    """
    if isinstance(source, SelectedSource):
        return device_loss(source.source)
    if isinstance(source, RidgeSource):
        units = int(source.pack(np.zeros(1, dtype=np.int64))[0][0])
        return DeviceLoss(_RIDGE, lambda lanes: units * lanes)
    if isinstance(source, RandomSoftmax):
        return DeviceLoss(_softmax(), source.work_size)
    if isinstance(source, RandomTanhNetwork):
        return DeviceLoss(_tanh(), source.work_size)
    if isinstance(source, BilinearSource):
        return DeviceLoss(_bilinear(), _no_work)
    if isinstance(source, SymbolicSource):
        entries = len(source.code.entries)
        return DeviceLoss(_symbolic(source), lambda lanes: entries * lanes)
    if isinstance(source, UserSource):
        if source not in _GIVEN:
            _GIVEN[source] = _user(source)
        return DeviceLoss(_GIVEN[source], _no_work, source.data)
    what = "a fault" if isinstance(source, ScaledProducts) else type(source).__name__
    raise ValueError(
        f"loss = <{source.describe()}> has no CUDA functions ({what}); accepted: device 'cpu'"
    )


def _no_work(lanes: int) -> int:
    return 0


_RIDGE = DeviceOracle(ridge_lanes.gradient, ridge_lanes.gradients, ridge_lanes.products)
_GIVEN: WeakKeyDictionary[UserSource, DeviceOracle] = WeakKeyDictionary()


@cache
def _softmax() -> DeviceOracle:
    rows_at, batch_gradient, product = (
        device(f) for f in (softmax_loss.rows_at, softmax_loss.batch_gradient, softmax_loss.product)
    )
    batches_of = device(softmax_loss.batches_of)

    @device_function
    def shape_at(lane, lanes, dim, data):
        n, rows = _u(lanes), _u(data.ints[0])
        return Shape(_u(dim), rows, n, rows * n, _0, False, _u(lane), _u(lane) + _u(1))

    @device_function
    def gradient(b, lane, lanes, dim, theta, data, extra, out):
        shape = shape_at(lane, lanes, dim, data)
        rows_at(shape, theta, _0, data.reals, data.work)
        batch_gradient(_u(b), batches_of(data.reals, shape), shape, data.reals, data.work, out, _0)

    @device_function
    def gradients(lane, lanes, dim, theta, data, extra, out):
        shape = shape_at(lane, lanes, dim, data)
        batches = batches_of(data.reals, shape)
        rows_at(shape, theta, _0, data.reals, data.work)
        for b in range(batches):
            o = _u(b) * shape.dim * shape.lanes
            batch_gradient(_u(b), batches, shape, data.reals, data.work, out, o)

    @device_function
    def products(lane, lanes, dim, theta, data, extra, first, second, out_first, out_second):
        shape = shape_at(lane, lanes, dim, data)
        batches = batches_of(data.reals, shape)
        product(batches, shape, data.reals, data.work, first, out_first)
        product(batches, shape, data.reals, data.work, second, out_second)

    return DeviceOracle(gradient, gradients, products)


@cache
def _tanh() -> DeviceOracle:
    forward, back, product, shape_of = (
        device(f)
        for f in (
            tanh_network.forward,
            tanh_network.back,
            tanh_network.product,
            tanh_network.shape_of,
        )
    )

    @device_function
    def shape_at(lane, lanes, dim, data):
        return shape_of(_u(dim), _u(lanes), _u(lane), _u(lane) + _u(1), data.ints, data.reals)

    @device_function
    def gradient(b, lane, lanes, dim, theta, data, extra, out):
        shape = shape_at(lane, lanes, dim, data)
        forward(_u(b), shape, theta, data.reals, data.work)
        back(_u(b), shape, theta, data.reals, data.work, out, _0)

    @device_function
    def gradients(lane, lanes, dim, theta, data, extra, out):
        shape = shape_at(lane, lanes, dim, data)
        for b in range(shape.batches):
            o = _u(b) * shape.dim * shape.lanes
            forward(_u(b), shape, theta, data.reals, data.work)
            back(_u(b), shape, theta, data.reals, data.work, out, o)

    @device_function
    def products(lane, lanes, dim, theta, data, extra, first, second, out_first, out_second):
        shape = shape_at(lane, lanes, dim, data)
        product(shape, theta, data.reals, data.work, first, out_first)
        product(shape, theta, data.reals, data.work, second, out_second)

    return DeviceOracle(gradient, gradients, products)


@cache
def _bilinear() -> DeviceOracle:
    gradient_of, product_of = device(bilinear.gradient), device(bilinear.product)

    @device_function
    def gradients(lane, lanes, dim, theta, data, extra, out):
        g, k = gradient_of(data.reals[0], data.reals[1], theta[lane], theta[lanes + lane])
        out[lane] = g
        out[lanes + lane] = k

    @device_function
    def gradient(b, lane, lanes, dim, theta, data, extra, out):
        gradients(lane, lanes, dim, theta, data, extra, out)

    @device_function
    def products(lane, lanes, dim, theta, data, extra, first, second, out_first, out_second):
        i, k = lane, lanes + lane
        x, y, s, t = data.reals[0], data.reals[1], theta[i], theta[k]
        out_first[i], out_first[k] = product_of(x, y, s, t, first[i], first[k])
        out_second[i], out_second[k] = product_of(x, y, s, t, second[i], second[k])

    return DeviceOracle(gradient, gradients, products)


# generated ----------------------------------------------------------------------------------------


_GENERATED: dict[tuple[str, int], DeviceOracle] = {}


def _symbolic(source: SymbolicSource) -> DeviceOracle:
    """Built once per distinct set of expressions in a process."""
    key = (source.code.scalars, source.batches)
    if key not in _GENERATED:
        _GENERATED[key] = _build_symbolic(source)
    return _GENERATED[key]


def _stores(name: str, dim: int, targets: list[str], indent: str) -> list[str]:
    """Lines that call a scalar function of theta's components and store what it returns."""
    arguments = ", ".join(f"theta[{j} * lanes + lane]" for j in range(dim))
    results = "".join(f"r{k}, " for k in range(len(targets)))
    lines = [f"{indent}{results}= {name}({arguments})"]
    return lines + [f"{indent}{target} = r{k}" for k, target in enumerate(targets)]


def _lane_source(source: SymbolicSource) -> str:
    """Source of the gradient of one batch, and of all gradients and Hessian entries, for one lane."""
    dim, batches, entries = source.dim, source.batches, len(source.code.entries)
    one = [f"out[{j} * lanes + lane]" for j in range(dim)]
    lines = ["def lane_gradient(b, lane, lanes, theta, out):"]
    for b in range(batches):
        lines.append(f"    {'if' if b == 0 else 'elif'} b == {b}:")
        lines += _stores(f"gradient_{b}", dim, one, " " * 8)
    everything = [f"out[{k} * lanes + lane]" for k in range(batches * dim)]
    everything += [f"work[{e} * lanes + lane]" for e in range(entries)]
    lines.append("def lane_gradients(lane, lanes, theta, work, out):")
    lines += _stores("everything", dim, everything, "    ")
    return "\n".join([*lines, ""])


def _build_symbolic(source: SymbolicSource) -> DeviceOracle:
    names = {
        name: device(f) if hasattr(f, "py_func") else f for name, f in symbolic_loss.NAMES.items()
    }
    scalars = symbolic_loss.functions_of(source.code.scalars, names)
    built = {name: device_function(f) for name, f in scalars.items()}
    loops = symbolic_loss.functions_of(_lane_source(source), built)
    lane_gradient, lane_gradients = (
        device_function(loops[name]) for name in ("lane_gradient", "lane_gradients")
    )

    @device_function
    def gradient(b, lane, lanes, dim, theta, data, extra, out):
        lane_gradient(b, lane, lanes, theta, out)

    @device_function
    def gradients(lane, lanes, dim, theta, data, extra, out):
        lane_gradients(lane, lanes, theta, data.work, out)

    @device_function
    def products(lane, lanes, dim, theta, data, extra, first, second, out_first, out_second):
        for i in range(lane, first.size, lanes):
            out_first[i] = 0.0
            out_second[i] = 0.0
        for e in range(data.ints[0]):
            b, j, k = data.ints[1 + 3 * e], data.ints[2 + 3 * e], data.ints[3 + 3 * e]
            value = data.work[e * lanes + lane]
            row, column = (b * dim + j) * lanes + lane, (b * dim + k) * lanes + lane
            out_first[row] += value * first[column]
            out_second[row] += value * second[column]
            if j != k:
                out_first[column] += value * first[row]
                out_second[column] += value * second[row]

    return DeviceOracle(gradient, gradients, products)


# given --------------------------------------------------------------------------------------------


def _user(source: UserSource) -> DeviceOracle:
    """The user's functions on local copies of a lane's numbers."""
    dim_of, batches = source.dim, source.batches
    functions = source.functions
    if functions.hvp is None and dim_of * (dim_of + 4) > _LOCAL:
        raise ValueError(
            f"loss = <{source.describe()}> has no CUDA functions (a Hessian of dim = {dim_of} is too large for a thread); accepted: hvp, or device 'cpu'"
        )
    user_gradient = build(functions.gradient)
    tensors_of = _tensors if source.data else _no_tensors

    @device_function
    def gradient_at(b, lane, lanes, theta, extra, out, o):
        point = thread.local.array(dim_of, float64)
        result = thread.local.array(dim_of, float64)
        for j in range(dim_of):
            point[j] = theta[j * lanes + lane]
            result[j] = 0.0
        user_gradient(b, point, tensors_of(extra), result)
        for j in range(dim_of):
            out[o + j * lanes + lane] = result[j]

    @device_function
    def gradient(b, lane, lanes, dim, theta, data, extra, out):
        gradient_at(b, lane, lanes, theta, extra, out, 0)

    @device_function
    def gradients(lane, lanes, dim, theta, data, extra, out):
        for b in range(batches):
            gradient_at(b, lane, lanes, theta, extra, out, b * dim * lanes)

    if functions.hvp is not None:
        products = _products_by_hvp(build(functions.hvp), dim_of, batches, tensors_of)
    else:
        products = _products_by_hessian(build(functions.hessian), dim_of, batches, tensors_of)
    return DeviceOracle(gradient, gradients, products)


@device_function
def _tensors(extra):
    return extra


@device_function
def _no_tensors(extra):
    return ()


def _products_by_hvp(hvp: Any, dim_of: int, batches: int, tensors_of: Any) -> Any:
    @device_function
    def one(b, lane, lanes, theta, extra, vectors, out):
        point = thread.local.array(dim_of, float64)
        vector = thread.local.array(dim_of, float64)
        result = thread.local.array(dim_of, float64)
        for j in range(dim_of):
            point[j] = theta[j * lanes + lane]
            vector[j] = vectors[(b * dim_of + j) * lanes + lane]
            result[j] = 0.0
        hvp(b, point, vector, tensors_of(extra), result)
        for j in range(dim_of):
            out[(b * dim_of + j) * lanes + lane] = result[j]

    @device_function
    def products(lane, lanes, dim, theta, data, extra, first, second, out_first, out_second):
        for b in range(batches):
            one(b, lane, lanes, theta, extra, first, out_first)
            one(b, lane, lanes, theta, extra, second, out_second)

    return products


def _products_by_hessian(hessian: Any, dim_of: int, batches: int, tensors_of: Any) -> Any:
    shape = (dim_of, dim_of)

    @device_function
    def products(lane, lanes, dim, theta, data, extra, first, second, out_first, out_second):
        point = thread.local.array(dim_of, float64)
        matrix = thread.local.array(shape, float64)
        for b in range(batches):
            for j in range(dim_of):
                point[j] = theta[j * lanes + lane]
                for k in range(dim_of):
                    matrix[j, k] = 0.0
            hessian(b, point, tensors_of(extra), matrix)
            for j in range(dim_of):
                x, y = 0.0, 0.0
                for k in range(dim_of):
                    i = (b * dim_of + k) * lanes + lane
                    x += matrix[j, k] * first[i]
                    y += matrix[j, k] * second[i]
                out_first[(b * dim_of + j) * lanes + lane] = x
                out_second[(b * dim_of + j) * lanes + lane] = y

    return products
