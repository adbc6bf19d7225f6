r"""The memoryless equation of any optimizer, literally: slow, from the rule's own function, the reference for the kernels.

For theta^(n+1) = theta^(n) - h F^(n)(theta^(n), ..., theta^(0)) with \partial_k F the Jacobian in the slot of theta^(n-k), everything at one theta,

.. math::

    \dot\theta = -\Big[F^{(n)} + h \sum_{k=1}^n \partial_k F^{(n)} \sum_{s=n-k}^{n-1} F^{(s)} + \frac h2 J^{(n)} F^{(n)}\Big],
    \qquad J^{(n)} = \sum_{k=0}^n \partial_k F^{(n)}.

The first sum is the memory term of M. D. Cattaneo and B. Shigida, "How Memory in Optimization Algorithms Implicitly Modifies the Loss"; the second the
discretization term of backward error analysis. The rule's function is run on complex numbers, theta^(k) = theta + i delta W_k: the imaginary part over delta is
the derivative along W, without subtraction (W. Squire and G. Trapp, "Using Complex Variables to Estimate Derivatives of Real Functions").
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.memory import SmoothLoss
from stepbias.theory.optimizer import Optimizer, at
from stepbias.theory.tracing import Parameters, outputs
from stepbias.theory.variants import STATEMENT, Variant

Floats = NDArray[np.float64]

_DELTA = 1e-40  # its square vanishes beside anything


class Terms(NamedTuple):
    """F^(n), the memory term and the discretization term J F / 2, each (p,); the field is -(F + h (memory + discretization))."""

    direction: Floats
    memory: Floats
    discretization: Floats


def _directions(
    optimizer: Optimizer, gradients: list[Any], positions: list[Any], problem: int
) -> list[Any]:
    """F^(0) .. F^(n) of the recursion, fed with given gradients and positions, (p,) each."""
    q = Parameters(dict(at(optimizer.values, problem)))
    state = tuple(
        np.full(np.shape(gradients[0]), value, dtype=np.complex128) for value in optimizer.initial
    )
    found = []
    for n, (g, theta) in enumerate(zip(gradients, positions, strict=True)):
        direction, *new = outputs(optimizer.update, (g, state, n, theta, q), len(state))
        state = tuple(new)
        found.append(np.broadcast_to(direction, np.shape(g)))
    return found


def literal_terms(
    optimizer: Optimizer,
    loss: SmoothLoss,
    theta: Floats,
    n: int,
    schedule: NDArray[np.int64],
    *,
    problem: int = 0,
    short_memory: bool = False,
) -> Terms:
    """The three terms at step n: O(n p^2), for reference only.

    Parameters
    ----------
    optimizer : Optimizer
    loss : object with ``gradient(b, theta)`` and ``hessian(b, theta)``
    theta : (p,) float64
    n : int
        Step, >= 0.
    schedule : (>= n + 1,) int64
        Batch of every step.
    problem : int
        Whose parameters, where they are given per problem.
    short_memory : bool
        The wrong variant whose inner sums end at n - 2.
    """
    batches = [int(b) for b in schedule[: n + 1]]
    gradients = [loss.gradient(b, theta) for b in batches]
    hessians = [loss.hessian(b, theta) for b in batches]
    real = [np.real(f) for f in _directions(optimizer, gradients, [theta] * (n + 1), problem)]
    last = max(n - 1, 0) if short_memory else n
    past = [sum(real[k:last], np.zeros(len(theta))) for k in range(n + 1)]

    def derivative(moves: list[Floats]) -> Floats:
        """Of F^(n) when theta^(k) moves by moves[k]."""
        step = 1j * _DELTA
        moved = [g + step * (H @ W) for g, H, W in zip(gradients, hessians, moves, strict=True)]
        positions = [theta + step * W for W in moves]
        return np.imag(_directions(optimizer, moved, positions, problem)[-1]) / _DELTA

    return Terms(real[n], derivative(past), derivative([real[n] / 2.0] * (n + 1)))


def literal_field(terms: Terms, h: float, variant: Variant = STATEMENT) -> Floats:
    """The modified field from its terms, (p,)."""
    bias = variant.memory * terms.memory + variant.discretization * terms.discretization
    return -(terms.direction + h * variant.bias * bias)
