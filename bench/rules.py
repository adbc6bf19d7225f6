"""Optimizers given by their rule, for the GPU benchmarks: grouped sums with and without the step's own gradient in the direction, and one without sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import stepbias as sb


def _adabelief(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    m = q.beta * state[0] + (1 - q.beta) * g
    s = q.rho * state[1] + (1 - q.rho) * (g - m) ** 2 + q.eps
    mean, spread = m / (1 - q.beta ** (n + 1)), s / (1 - q.rho ** (n + 1))
    return mean / (sb.sqrt(spread) + q.eps), (m, s)


RULES: dict[str, Callable[[], sb.Optimizer]] = {
    "AdamW": lambda: sb.AdamW(0.9, 0.95, 0.0, 1e-2, 0.1),
    "Lion": lambda: sb.SmoothLion(0.8, 0.9, 0.3, 0.1, "tanh"),
    "AdaBelief": lambda: sb.Optimizer.define(
        _adabelief, state=(0.0, 0.0), beta=0.9, rho=0.95, eps=1e-2
    ),
}
