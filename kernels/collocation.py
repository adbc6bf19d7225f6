"""The modified flow of small problems to rounding, with its derivatives in time: Chebyshev collocation on every piece [t_n, t_{n+1}].

The flow is followed by its increments: theta(t_n + x h) = theta(t_n) + h times the integral of the field, iterated (Picard) until it stands still. Whatever is
evaluated at the nodes is differentiated by the interpolating polynomial. Plain NumPy over (problems, nodes): a sweep over a piece is a few dozen array
operations for all problems together, a walk of 32 problems with p = 3 takes well below a second, so that nothing is compiled here and nothing runs on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.kernels.ridge_source import RidgeSource
from stepbias.kernels.selection import SelectedSource
from stepbias.theory import activations
from stepbias.theory.step_sums import Averages, StepSums, step_sums

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NODES = 10
_SWEEPS = 80
# An increment that changes by less than this from sweep to sweep stands still: a few roundings.
_STILL = 8.0 * 2.0**-53
_SMALL = 1e-10


class Rule(NamedTuple):
    """Chebyshev-Lobatto nodes on [0, 1] with the matrices of the interpolating polynomial.

    Attributes
    ----------
    x : (Q,) nodes, increasing, ends included
    integral : (Q, Q), value at x of the integral from 0
    derivative : (Q, Q)
    """

    x: Floats
    integral: Floats
    derivative: Floats


@cache
def rule(nodes: int = NODES) -> Rule:
    """Nodes and matrices; exact on polynomials of degree nodes - 1."""
    x = -np.cos(np.pi * np.arange(nodes) / (nodes - 1))
    values = chebyshev.chebvander(x, nodes - 1)
    integrals = np.stack(
        [chebyshev.chebval(x, chebyshev.chebint(row, lbnd=-1)) for row in np.eye(nodes)], axis=1
    )
    weight = np.where((np.arange(nodes) % (nodes - 1)) == 0, 0.5, 1.0) * (-1.0) ** np.arange(nodes)
    # barycentric: off the diagonal (w_k / w_q) / (x_q - x_k); rows sum to zero, which keeps derivatives of constants exact
    difference = x[:, None] - x[None, :] + np.eye(nodes)
    derivative = weight[None, :] / weight[:, None] / difference
    derivative -= np.diag(derivative.sum(axis=1))
    return Rule(0.5 * (x + 1.0), 0.5 * integrals @ np.linalg.inv(values), 2.0 * derivative)


class RidgePoints:
    """Gradients and Hessians of all batches of an ensemble of ridge losses, at many points of every problem.

    Parameters
    ----------
    loss : Loss
        An ensemble whose losses are sums of functions of one projection each (``Loss.sinusoids``, most of ``Loss.random``).

    Raises
    ------
    TypeError
        For another loss.
    """

    def __init__(self, loss: Loss) -> None:
        source = loss.source
        indices = np.arange(loss.problems or 0, dtype=np.int64)
        if isinstance(source, SelectedSource) and loss.problems is not None:
            source, indices = source.source, source.indices
        if not isinstance(source, RidgeSource) or loss.problems is None:
            raise TypeError(f"loss = {loss!r}; accepted: an ensemble of ridge losses")
        offset, amplitude, weight = source.draw(indices)
        self.dim, self.batches, self.problems = loss.dim, loss.batches, loss.problems
        self.segments, self.decay = source.segments, source.decay
        self.offset = np.moveaxis(offset, -1, 0)[:, None]  # (B, 1, units)
        self.amplitude = np.moveaxis(amplitude, -1, 0)[:, None]
        self.weight = np.ascontiguousarray(np.moveaxis(weight, -1, 0))  # (B, p, units)
        self.square = self.weight[:, :, None] * self.weight[:, None]  # (B, p, p, units)

    def __call__(self, theta: Floats) -> tuple[Floats, Floats]:
        """Gradients (B, Q, m, p) and Hessians (B, Q, m, p, p) at theta (B, Q, p)."""
        shape = (*theta.shape[:2], self.batches, self.dim)
        gradients = np.empty(shape)
        hessians = np.empty((*shape, self.dim))
        gradients[...] = self.decay * theta[:, :, None]
        hessians[...] = self.decay * np.eye(self.dim)
        z = theta @ self.weight + self.offset
        for kind, batch, start, stop in self.segments:
            run = slice(start, stop)
            slope, curvature = activations.SLOPES[kind](z[..., run])
            size = self.amplitude[..., run]
            gradients[:, :, batch] += (size * slope) @ self.weight[..., run].swapaxes(1, 2)
            flat = self.square[..., run].reshape(self.problems, self.dim**2, -1)
            product = (size * np.broadcast_to(curvature, slope.shape)) @ flat.swapaxes(1, 2)
            hessians[:, :, batch] += product.reshape(*shape[:2], self.dim, self.dim)
        return gradients, hessians


@dataclass(frozen=True, eq=False)
class Piece:
    """The flow on [t_n, t_{n+1}], at the nodes of :func:`rule`.

    Attributes
    ----------
    n : int
    theta, rate : (B, Q, p) float64
        The flow and its derivative in time.
    increment : (B, Q, p) float64
        theta - theta(t_n), with its own relative accuracy.
    gradients, hessians : (B, Q, m, p), (B, Q, m, p, p)
        Of every batch.
    own_gradients, own_hessians : (B, Q, n + 1, p), (B, Q, n + 1, p, p)
        Of the loss of every step up to n.
    sums : StepSums
    """

    n: int
    theta: Floats
    rate: Floats
    increment: Floats
    gradients: Floats
    hessians: Floats
    own_gradients: Floats
    own_hessians: Floats
    sums: StepSums


Field = Callable[[Floats], Piece]


def time_derivative(values: Floats, h: Floats, nodes: int, order: int = 1) -> Floats:
    """Derivative in time of values (B, Q, ...) at the nodes of pieces of lengths h (B,)."""
    matrix = np.linalg.matrix_power(rule(nodes).derivative, order)
    flat = matrix @ values.reshape(*values.shape[:2], -1)
    shape = (len(h),) + (1,) * (values.ndim - 1)
    return np.asarray(flat.reshape(values.shape) / h.reshape(shape) ** order)


def rounding_gain(nodes: int, order: int) -> float:
    """What a derivative of this order makes of a relative rounding of values of size one, for h = 1."""
    matrix = np.linalg.matrix_power(rule(nodes).derivative, order)
    return float(np.abs(matrix).sum(axis=1).max())


def flow_pieces(
    points: RidgePoints,
    given: Averages,
    theta0: Floats,
    h: Floats,
    schedule: Integers,
    nodes: int = NODES,
) -> Iterator[Piece]:
    """The pieces of the modified flow, one after the other.

    Parameters
    ----------
    points : RidgePoints
        B problems.
    given : Averages
        Their optimizers.
    theta0 : (B, p) float64
    h : (B,) float64
    schedule : (B, steps) int64
        Batch of every step.
    nodes : int

    Yields
    ------
    Piece
        For n = 0 .. steps - 1. A problem whose iteration does not stand still has NaN from there on.
    """
    start = theta0
    rows = np.arange(len(theta0))[:, None]
    for n in range(schedule.shape[1]):
        past = schedule[:, : n + 1]

        def field(increment: Floats, start: Floats = start, past: Integers = past) -> Piece:
            theta = start[:, None] + increment
            gradients, hessians = points(theta)
            own, own_hessians = (
                np.moveaxis(np.moveaxis(x, 2, 1)[rows, past], 1, 2) for x in (gradients, hessians)
            )
            sums = step_sums(given, own, own_hessians)
            rate = -sums.F[:, :, -1] + h[:, None, None] * (sums.A - sums.B)
            n = past.shape[1] - 1
            return Piece(n, theta, rate, increment, gradients, hessians, own, own_hessians, sums)

        piece = _picard(field, theta0.shape, h, nodes)
        yield piece
        start = piece.theta[:, -1]


def _picard(field: Field, shape: tuple[int, ...], h: Floats, nodes: int) -> Piece:
    """Iterate increment = h integral of the field; every problem on its own, whatever its neighbours do."""
    integral = h[:, None, None] * rule(nodes).integral
    piece = field(np.zeros((shape[0], nodes, shape[1])))
    running = np.ones(shape[0], dtype=np.bool_)
    before = np.full(shape[0], np.inf)
    for _ in range(_SWEEPS):
        increment = integral @ piece.rate
        change = np.abs(increment - piece.increment).max(axis=(1, 2))
        size = np.abs(increment).max(axis=(1, 2))
        # what no longer shrinks and is small is rounding of theta(t_n) + increment
        still = (change <= _STILL * size) | ((change >= before) & (change <= _SMALL * size))
        before = change
        piece = field(np.where(running[:, None, None], increment, piece.increment))
        running &= ~still
        if not running.any():
            return piece
    return field(np.where(running[:, None, None], np.nan, piece.increment))
