"""Rules with memory for tests: every shipped optimizer, rules of a user, and how far rounding may take two computations of a field apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import stepbias as sb
from stepbias.theory.general_memory import Terms, literal_terms
from stepbias.theory.optimizer import Optimizer, at
from stepbias.theory.tracing import Parameters

Floats = NDArray[np.float64]

UNIT = 2.0**-53


def adabelief(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    m = q.beta * state[0] + (1 - q.beta) * g
    s = q.rho * state[1] + (1 - q.rho) * (g - m) ** 2 + q.eps
    direction = m / (1 - q.beta ** (n + 1)) / (sb.sqrt(s / (1 - q.rho ** (n + 1))) + q.eps)
    return direction + q.weight_decay * theta, (m, s)


def adam_rule(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    m = q.beta * state[0] + (1 - q.beta) * g
    v = q.rho * state[1] + (1 - q.rho) * g**2
    root = sb.sqrt(v / (1 - q.rho ** (n + 1)) + q.eps_root)
    return m / (1 - q.beta ** (n + 1)) / (root + q.eps), (m, v)


def quasi_hyperbolic(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    m = q.beta * state[0] + (1 - q.beta) * g
    return sb.tanh(((1 - q.nu) * g + q.nu * m) / q.delta), (m,)


def coupled_decay(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """Weight decay that passes through the momentum, and a decay that depends on the step."""
    m = q.beta * (n + 1) / (n + 2) * state[0] + g + q.weight_decay * theta
    return m, (m,)


def annealed(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """A step that shrinks like 1 / sqrt(n + 1): a root of what is known before the run."""
    m = q.beta * state[0] + g / sb.sqrt(n + 1)
    return m * sb.exp(-q.rate * n), (m,)


OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "gradient descent": sb.GradientDescent,
    "heavy ball": lambda: sb.HeavyBall(0.8),
    "Nesterov": lambda: sb.Nesterov(0.7),
    "AdamW inside": lambda: sb.AdamW(0.8, 0.9, 0.0, 1e-2, 0.3),
    "AdamW outside": lambda: sb.AdamW(0.8, 0.9, 1e-2, 0.0, 0.3),
    "NAdam": lambda: sb.NAdam(0.8, 0.9, 0.0, 1e-2),
    "NAdam warming": lambda: sb.NAdam(0.8, 0.9, 0.0, 1e-2, psi=0.5),
    "Lion soft": lambda: sb.SmoothLion(0.8, 0.9, 0.1, 0.5),
    "Lion tanh": lambda: sb.SmoothLion(0.8, 0.9, 0.3, 0.5, "tanh"),
    "Signum soft": lambda: sb.SmoothSignum(0.8, 0.1),
    "Signum tanh": lambda: sb.SmoothSignum(0.8, 0.3, "tanh"),
    "AdaBelief": lambda: Optimizer.define(
        adabelief, (0.0, 0.0), beta=0.8, rho=0.9, eps=1e-2, weight_decay=0.3
    ),
    "quasi-hyperbolic": lambda: Optimizer.define(
        quasi_hyperbolic, (0.0,), beta=0.8, nu=0.6, delta=0.5
    ),
    "annealed": lambda: Optimizer.define(annealed, (0.0,), beta=0.8, rate=0.01),
    "coupled decay": lambda: Optimizer.define(coupled_decay, (0.5,), beta=0.8, weight_decay=0.2),
}


def scale(
    optimizer: Optimizer, loss: sb.Loss, theta: Floats, n: int, schedule: Any, h: float
) -> Floats:
    """The field with every term of its sums replaced by its absolute value, (p,).

    Component j of the bias is a sum over k and i of (dF_j / dg_k) H_ji W_i; the derivatives are taken one k at a time, by complex steps.
    """
    batches = [int(b) for b in schedule[: n + 1]]
    gradients = [loss.gradient(b, theta).astype(complex) for b in batches]
    q = Parameters(dict(at(optimizer.values, 0)))
    step = 1e-40j

    def last(fed: list[Any], positions: list[Any]) -> list[Any]:
        state: tuple[Any, ...] = tuple(np.full(len(theta), x, complex) for x in optimizer.initial)
        found = []
        for k, (g, t) in enumerate(zip(fed, positions, strict=True)):
            direction, state = optimizer.update(g, state, k, t, q)
            found.append(direction + 0 * g)
        return found

    at_rest = [theta.astype(complex)] * (n + 1)
    directions = np.abs(last(gradients, at_rest))
    total = directions[n].copy()
    for k, b in enumerate(batches):
        moved = [g + step * (i == k) for i, g in enumerate(gradients)]
        slope = np.abs(np.imag(last(moved, at_rest)[n])) / 1e-40
        shifted = [t + step * (i == k) for i, t in enumerate(at_rest)]
        slope_theta = np.abs(np.imag(last(gradients, shifted)[n])) / 1e-40
        W = directions[k:].sum(axis=0) + 0.5 * directions[n]
        total += slope * np.abs(gradients[k]) + slope_theta * np.abs(theta)
        total += h * (slope * (np.abs(loss.hessian(b, theta)) @ W) + slope_theta * W)
    return total


def tolerance(optimizer: Optimizer, n: int) -> float:
    """Rounding of a field relative to :func:`scale`.

    A few operations for every step in the sums, the digits that 1 - decay^(n+1) loses, and a factor 32 for what 1/(R D^2) and the slopes of the smooth signs
    (widths above 0.1) make of a relative error of their argument.
    """
    slowest = float(np.max(optimizer.decay))
    return 32.0 * UNIT * (n + 8 + 1.0 / (1.0 - slowest))


def terms(
    optimizer: Optimizer, loss: sb.Loss, theta: Floats, n: int, schedule: Any, **options: Any
) -> Terms:
    return literal_terms(optimizer, loss, theta, n, np.asarray(schedule), **options)
