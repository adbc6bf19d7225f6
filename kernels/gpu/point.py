"""Kernels at one point: the field, and the three stages of the memory sums (gradients, sums, Hessian-vector products)."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cuda

from stepbias.kernels.gpu.adam import ADAM
from stepbias.kernels.gpu.family import Family
from stepbias.kernels.gpu.oracle import DeviceOracle
from stepbias.kernels.gpu.sums import entry


@cache
def field_kernel(oracle: DeviceOracle, batches: int, family: Family = ADAM) -> Any:
    """Kernel: the field at step n and ``theta0`` into ``state.rate``."""
    evaluate = family.field(oracle, batches)

    @cuda.jit
    def field_at(rules, groups, lane_data, dim, n, factors, theta0, data, extra, state):
        lane = cuda.grid(1)
        lanes = lane_data.h.size
        if lane < lanes:
            r = groups.rule[lane_data.group[lane]]
            evaluate(
                rules, r, n, False, factors, lane, lanes, dim, lane_data.h[lane],
                theta0, data, extra, state,
            )  # fmt: skip

    return field_at


@cache
def gradients_kernel(oracle: DeviceOracle) -> Any:
    """Kernel: the gradients of all batches at ``theta0``."""
    gradients_of = oracle.gradients

    @cuda.jit
    def gradients(rules, groups, lane_data, dim, theta0, data, extra, state):
        lane = cuda.grid(1)
        lanes = lane_data.h.size
        if lane < lanes:
            gradients_of(lane, lanes, dim, theta0, data, extra, state.gradients)

    return gradients


@cache
def sums_kernel(batches: int) -> Any:
    """Kernel: the sums of every entry at step n, one thread an entry (component, lane)."""
    sums_of = entry(batches)

    @cuda.jit
    def memory_sums(rules, groups, lane_data, dim, n, factors, state):
        i = cuda.grid(1)
        lanes = lane_data.h.size
        if i < dim * lanes:
            r = groups.rule[lane_data.group[i % lanes]]
            sums_of(rules, r, n, False, factors, i, dim * lanes, state.gradients, state)

    return memory_sums


@cache
def products_kernel(oracle: DeviceOracle) -> Any:
    """Kernel: the Hessian-vector products of the lag vectors, after the gradients at the same ``theta0``."""
    products_of = oracle.products

    @cuda.jit
    def products(rules, groups, lane_data, dim, theta0, data, extra, state):
        lane = cuda.grid(1)
        lanes = lane_data.h.size
        if lane < lanes:
            products_of(
                lane, lanes, dim, theta0, data, extra,
                state.mean_lag, state.square_lag, state.first, state.second,
            )  # fmt: skip

    return products
