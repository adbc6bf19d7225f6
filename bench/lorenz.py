"""The Lorenz system with its third parameter drawn: the ensemble by which solvers of small differential equations on GPUs are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGMA, BETA = 10.0, 8.0 / 3.0
START = (1.0, 0.0, 0.0)
T_END, STEPS = 1.0, 1000


def field(t: Any, state: Any, parameters: Any) -> Any:
    """Rates of (x, y, z); the one parameter is rho."""
    x, y, z = state
    (rho,) = parameters
    return SIGMA * (y - x), x * (rho - z) - y, x * y - BETA * z


def ensemble(trajectories: int, seed: int = 3) -> NDArray[np.float64]:
    """Parameters (B, 1): rho uniform in (0, 21)."""
    return np.random.default_rng(seed).uniform(0.0, 21.0, size=(trajectories, 1))
