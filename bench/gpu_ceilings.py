"""What the device can do, measured: the rates that the kernels' times are compared with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from bench.gpu_clock import timed
from stepbias.kernels import elementary
from stepbias.kernels.gpu import device
from stepbias.kernels.gpu.bind import device as compiled

_CHAINS = 8  # of one thread, independent: enough to hide the latency of an operation together with the other warps
_UNROLLED = 16
_reciprocal_root = compiled(elementary.reciprocal_root)


@cuda.jit
def _multiply_add(out: Any, x: Any, y: Any, rounds: Any) -> None:
    i = cuda.grid(1)
    a, b, c, d = out[i], out[i] + x, out[i] + y, out[i] - x
    e, f, g, h = a - y, b - y, c - x, d - y
    for _ in range(rounds):
        # unrolled: the counter of a short loop takes issue slots that single precision needs
        for _ in range(_UNROLLED):
            a, b, c, d = a * x + y, b * x + y, c * x + y, d * x + y
            e, f, g, h = e * x + y, f * x + y, g * x + y, h * x + y
    out[i] = ((a + b) + (c + d)) + ((e + f) + (g + h))


def _chain_kernel(step: Any) -> Any:
    """Kernel of eight chains a <- step(a + x)."""

    @cuda.jit
    def chains(out: Any, x: Any, y: Any, rounds: Any) -> None:
        i = cuda.grid(1)
        a, b, c, d = out[i], out[i] + x, out[i] + y, out[i] + 2.0 * x
        e, f, g, h = a + y, b + y, c + x, d + y
        for _ in range(rounds):
            a, b, c, d = step(a + x), step(b + x), step(c + x), step(d + x)
            e, f, g, h = step(e + x), step(f + x), step(g + x), step(h + x)
        out[i] = ((a + b) + (c + d)) + ((e + f) + (g + h))

    return chains


@cuda.jit(device=True)
def _root_and_divide(x: Any) -> Any:
    return 1.0 / math.sqrt(x)


def _rate(
    kernel: Any, grid: tuple[int, int], rounds: int, real: Any, unrolled: int = 1
) -> dict[str, Any]:
    """Operations per second of a kernel that does ``_CHAINS * unrolled * rounds`` of them in every thread of ``grid`` (blocks, threads)."""
    threads = grid[0] * grid[1]
    out = device.upload(np.ones(threads, dtype=real))
    x, y = real(0.75), real(0.25)  # the fixed point of x a + y is 1: no overflow, no subnormals

    def run() -> None:
        kernel[grid](out, x, y, np.int32(rounds))
        device.synchronize()

    found = timed(run, 0.3)
    values = device.download(out)
    if not np.isfinite(values).all():
        raise FloatingPointError("a chain of the rate measurement left the finite numbers")
    return {"per_second": threads * _CHAINS * unrolled * rounds / found["seconds"], **found}


def _copy(size: int) -> dict[str, Any]:
    """Bytes per second, read and written, of a copy of ``size`` doubles."""
    if device.simulated():
        return {"absent": "needs CuPy; the simulator has no memory of its own"}
    import cupy

    source = cupy.ones(size)
    target = cupy.empty_like(source)

    def run() -> None:
        cupy.copyto(target, source)
        device.synchronize()

    found = timed(run, 0.3)
    return {"bytes_per_second": 2 * source.nbytes / found["seconds"], "doubles": size, **found}


def ceilings(toy: bool) -> dict[str, Any]:
    """Section (a): copy bandwidth, and operations per second.

    The chains of root and reciprocal root contain the addition under the root.
    """
    # 128 blocks on each of 132 multiprocessors; some 10 ms at 10^13 operations a second
    grid, rounds, slow = ((1, 2), 2, 2) if toy else ((128 * 132, 256), 200, 200)
    divide = _chain_kernel(_root_and_divide)
    multiply = _chain_kernel(_reciprocal_root)
    return {
        "copy": _copy(2**28),
        "multiply_add_fp64": _rate(_multiply_add, grid, rounds, np.float64, _UNROLLED),
        "multiply_add_fp32": _rate(_multiply_add, grid, rounds, np.float32, _UNROLLED),
        "root_and_divide_fp64": _rate(divide, grid, slow, np.float64),
        "reciprocal_root_fp64": _rate(multiply, grid, slow, np.float64),
    }
