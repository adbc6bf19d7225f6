"""Heavy-ball iterates and the flow of a field that is linear in gradients and Hessian-vector products, in lockstep; gradient descent is beta = 0.

The flow's field is -sum_a lead[a] g_a - h sum_a H_a sum_b bias[a, b] g_b with weights that may change from step to step: the modified equations of heavy
ball on the full batch, and of one epoch of SGD in the mean over its orders.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.compensated import add, gap
from stepbias.kernels.jit import kernel
from stepbias.kernels.measure import Method, resolution
from stepbias.kernels.trajectory import CLASSICAL, Position

Floats = NDArray[np.float64]


class Scratch(NamedTuple):
    """Arrays of a block, allocated once."""

    gradients: Floats  # (m, p, L)
    vectors: Floats  # (m, p, L)
    zeros: Floats  # (m, p, L)
    products: Floats  # (m, p, L)
    unused: Floats  # (m, p, L)
    stage: Floats  # (p, L)
    rate: Floats  # (p, L)
    total: Floats  # (p, L)


def make_scratch(batches: int, dim: int, lanes: int) -> Scratch:
    """Zeros."""
    cubes = np.zeros((5, batches, dim, lanes))
    return Scratch(*cubes, *np.zeros((3, dim, lanes)))


@kernel()
def _field(gradients, products, data, lead, bias, h, theta, s, out):
    """``out`` = the field at ``theta``; ``lead`` (m,), ``bias`` (m, m)."""
    ints, reals, work = data
    gradients(theta, ints, reals, work, s.gradients)
    m, p, lanes = s.gradients.shape
    for a in range(m):
        s.vectors[a] = 0.0
        for b in range(m):
            if bias[a, b] != 0.0:
                s.vectors[a] += bias[a, b] * s.gradients[b]
    products(theta, ints, reals, work, s.vectors, s.zeros, s.products, s.unused)
    for j in range(p):
        for lane in range(lanes):
            rate = 0.0
            for a in range(m):
                rate -= lead[a] * s.gradients[a, j, lane] + h[j, lane] * s.products[a, j, lane]
            out[j, lane] = rate


@kernel()
def _advance_flow(
    gradients, products, data, lead, bias, h, time, tableau, substeps, position, scratch
):
    """The flow over ``time`` by ``substeps`` steps of the classical Runge-Kutta method, compensated."""
    part = 1.0 / substeps
    p, lanes = time.shape
    rate, total, stage = scratch.rate, scratch.total, scratch.stage
    for _ in range(substeps):
        total[:, :] = 0.0
        rate[:, :] = 0.0
        for k in range(tableau.scale.shape[0]):
            for j in range(p):
                for lane in range(lanes):
                    move = part * tableau.scale[k] * time[j, lane] * rate[j, lane]
                    stage[j, lane] = position.high[j, lane] + (position.low[j, lane] + move)
            _field(gradients, products, data, lead, bias, h, stage, scratch, rate)
            total += tableau.weight[k] * rate
        for j in range(p):
            for lane in range(lanes):
                high, low = position.high[j, lane], position.low[j, lane]
                change = part * time[j, lane] * total[j, lane]
                position.high[j, lane], position.low[j, lane] = add(high, low, change)


@kernel()
def _distance(first, second, out):
    """out[lane] = 2-norm of first - second."""
    p, lanes = first.high.shape
    for lane in range(lanes):
        square = 0.0
        for j in range(p):
            change = gap(
                first.high[j, lane], first.low[j, lane], second.high[j, lane], second.low[j, lane]
            )
            square += change * change
        out[lane] = np.sqrt(square)


@kernel()
def _run(
    oracle,
    data,
    beta,
    lead,
    bias,
    h,
    method,
    local,
    iterate,
    flow,
    check,
    velocity,
    gradient,
    scratch,
    largest,
    solver,
    last,
):
    gradient_of, gradients, products = oracle
    ints, reals, work = data
    tableau, substeps, coarse, coarse_substeps, _ = method
    p, lanes = h.shape
    now = np.zeros(lanes)
    for n in range(lead.shape[0]):
        if local:
            for target in (iterate, check):
                target.high[:, :] = flow.high
                target.low[:, :] = flow.low
        gradient_of(0, iterate.high, ints, reals, work, gradient)
        for j in range(p):
            for lane in range(lanes):
                velocity[j, lane] = beta * velocity[j, lane] + gradient[j, lane]
                high, low = iterate.high[j, lane], iterate.low[j, lane]
                change = -h[j, lane] * velocity[j, lane]
                iterate.high[j, lane], iterate.low[j, lane] = add(high, low, change)
        for target, table, parts in ((flow, tableau, substeps), (check, coarse, coarse_substeps)):
            _advance_flow(
                gradients, products, data, lead[n], bias[n], h, h, table, parts, target, scratch
            )
        _distance(iterate, flow, last)
        _distance(flow, check, now)
        for lane in range(lanes):
            # a NaN stays
            if not last[lane] <= largest[lane]:
                largest[lane] = last[lane]
            if not now[lane] <= solver[lane]:
                solver[lane] = now[lane]


class Lockstep(NamedTuple):
    """Per problem: 2-norm of iterate - flow, largest over the steps and after the last one; difference of two resolutions of the flow; iterate - flow."""

    largest: Floats  # (B,)
    last: Floats  # (B,)
    solver: Floats  # (B,)
    difference: Floats  # (B, p)


def lockstep(
    loss: Any,
    theta0: Floats,
    flow0: Floats,
    h: float,
    beta: float,
    lead: Any,
    drag: Any,
    method: Method | None = None,
    local: bool = False,
) -> Lockstep:
    """Heavy ball on the full batch against theta' = -lead[n] g - h drag[n] H g on [n h, (n + 1) h).

    Parameters
    ----------
    loss : Loss
        One batch; B problems.
    theta0, flow0 : (B, p) float64
        Starts of the iterates and of the flow.
    h : float
    beta : float
    lead, drag : (steps,) array
    method : Method, optional
        How the reported flow and the coarser one are integrated; None: :func:`stepbias.kernels.measure.resolution` of the number of steps.
    local : bool
        Put the iterate back on the flow before every step, and the coarser flow too: ``largest`` is then the largest one-step defect, the momentum made of
        gradients along the flow.
    """
    count, dim = theta0.shape
    lead = np.asarray(lead, dtype=np.float64)[:, None]
    bias = np.asarray(drag, dtype=np.float64)[:, None, None]
    oracle = loss.source.oracle
    data = _data(loss, count)
    largest, solver, last = np.zeros((3, count))
    iterate, flow = _position(theta0), _position(flow0)
    _run(
        (oracle.gradient, oracle.gradients, oracle.products),
        data,
        beta,
        lead,
        bias,
        np.full((dim, count), h),
        resolution(len(lead)) if method is None else method,
        local,
        iterate,
        flow,
        _position(flow0),
        np.zeros((dim, count)),
        np.zeros((dim, count)),
        make_scratch(1, dim, count),
        largest,
        solver,
        last,
    )
    difference = (iterate.high - flow.high) + (iterate.low - flow.low)
    return Lockstep(largest, last, solver, np.ascontiguousarray(difference.T))


def displacement(
    loss: Any, theta0: Floats, h: float, time: float, lead: Floats, bias: Floats, substeps: int
) -> Floats:
    """Flow of -sum_a lead[a] g_a - h sum_a H_a sum_b bias[a, b] g_b over ``time``, minus its start.

    Parameters
    ----------
    loss : Loss
        m batches; B problems.
    theta0 : (B, p) float64
    h, time : float
    lead : (m,) float64
    bias : (m, m) float64
    substeps : int
        Classical Runge-Kutta steps.

    Returns
    -------
    (B, p) float64
    """
    count, dim = theta0.shape
    oracle = loss.source.oracle
    place = _position(theta0)
    size = np.full((dim, count), h)
    _advance_flow(
        oracle.gradients,
        oracle.products,
        _data(loss, count),
        np.ascontiguousarray(lead),
        np.ascontiguousarray(bias),
        size,
        np.full((dim, count), time),
        CLASSICAL,
        substeps,
        place,
        make_scratch(loss.batches, dim, count),
    )
    return np.asarray(((place.high - theta0.T) + place.low).T)


def _position(theta: Floats) -> Position:
    high = np.ascontiguousarray(theta.T)
    return Position(high.copy(), np.zeros_like(high))


def _data(loss: Any, count: int) -> tuple[Any, Any, Floats]:
    """Packed data of all problems as one block, and fresh scratch."""
    ints, reals = loss.pack(np.arange(count, dtype=np.int64))
    return ints, reals, np.zeros(max(1, loss.source.work_size(count)))
