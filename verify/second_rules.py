"""The second arithmetic for optimizers that are given by their rule: the rule's own function on complex longdoubles, nothing shared with the kernels.

The derivative along the past displacements is the imaginary part of one more run of the rule (a complex step), so that no derivative of the rule is written
down anywhere; the weights of nothing are dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.arithmetic import EXTENDED, Arithmetic, Array
from stepbias.theory.optimizer import Optimizer, at
from stepbias.theory.plain_losses import PlainLoss
from stepbias.theory.tracing import Parameters, outputs
from stepbias.theory.variants import Variant

Integers = NDArray[np.int64]

_DELTA = np.longdouble(1e-60)


def covers(numbers: Arithmetic) -> bool:
    """Whether a rule can be run in this arithmetic: it needs complex numbers and NumPy's functions of them."""
    return numbers is EXTENDED


class _Rule:
    """One optimizer with scalar parameters."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.update = optimizer.update
        self.initial = optimizer.initial
        values = {k: np.longdouble(v) for k, v in at(optimizer.values, 0).items()}
        self.parameters = Parameters(values)

    def start(self, like: Array) -> tuple[Array, ...]:
        return tuple(np.full(like.shape, value, dtype=like.dtype) for value in self.initial)

    def step(self, g: Array, state: tuple[Array, ...], n: int, theta: Array) -> Any:
        direction, *new = outputs(
            self.update, (g, state, n, theta, self.parameters), len(self.initial)
        )
        return np.broadcast_to(direction, g.shape), tuple(new)


class RuleIterate:
    """The discrete iterates."""

    def __init__(self, optimizer: Optimizer, loss: PlainLoss, h: Any) -> None:
        self.rule, self.loss, self.h = _Rule(optimizer), loss, h
        self.state: tuple[Array, ...] | None = None
        self.n = 0

    def __call__(self, theta: Array, b: int) -> Array:
        """One step from theta (p,) with the gradient of batch b."""
        g = self.loss.gradients(theta)[b]
        state = self.rule.start(g) if self.state is None else self.state
        direction, self.state = self.rule.step(g, state, self.n, theta)
        self.n += 1
        return theta - self.h * direction


class RuleField:
    """The memoryless equation of one problem.

    Parameters
    ----------
    optimizer : Optimizer
    loss : PlainLoss
    h : longdouble
    batch : (N,) int64
    variant : Variant
        Factors on the bias, the memory and the discretization term; a short memory.
    """

    def __init__(
        self, optimizer: Optimizer, loss: PlainLoss, h: Any, batch: Integers, variant: Variant
    ) -> None:
        self.rule, self.loss, self.h, self.batch = _Rule(optimizer), loss, h, batch
        self.variant = variant

    def __call__(self, theta: Array, n: int) -> Array:
        """Right-hand side in the piece n at theta (p,)."""
        v = self.variant
        g = self.loss.gradients(theta)[self.batch[: n + 1]]
        forward = self._run(g, np.broadcast_to(theta, g.shape))
        if v.bias == 0.0:
            return -forward[n]
        last = max(n - 1, 0) if v.short_memory else n
        # row k: the sum of F^(s) over k <= s < last
        past = np.zeros_like(forward)
        past[:last] = np.cumsum(forward[:last][::-1], axis=0)[::-1]
        moves = np.longdouble(v.memory) * past + np.longdouble(v.discretization) * forward[n] / 2
        tangent = self._products(theta, moves)
        shifted = self._run(g + 1j * _DELTA * tangent, theta + 1j * _DELTA * moves)[n]
        return -(forward[n] + np.longdouble(v.bias) * self.h * np.imag(shifted) / _DELTA)

    def _run(self, gradients: Array, positions: Array) -> Array:
        """F^(0) .. F^(n) of the recursion fed with given gradients and positions, (n + 1, p)."""
        state = self.rule.start(gradients[0])
        found = np.empty_like(gradients)
        for k in range(len(gradients)):
            found[k], state = self.rule.step(gradients[k], state, k, positions[k])
        return found

    def _products(self, theta: Array, moves: Array) -> Array:
        """H_{b(k)} moves[k], (n + 1, p)."""
        count = len(moves)
        vectors = np.zeros((count, self.loss.batches, moves.shape[1]), dtype=moves.dtype)
        row = np.arange(count)
        vectors[row, self.batch[:count]] = moves
        return self.loss.products(theta, vectors)[row, self.batch[:count]]
