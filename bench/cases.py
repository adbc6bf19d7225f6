"""The two computations that are timed, as data: sizes, random inputs, and weight tables.

Nothing here comes from stepbias: the tables are computed from their definitions, so that a mistake in the package
cannot hide in its peers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]

BETA, RHO, EPS_ROOT = 0.9, 0.95, 1e-2  # Adam with epsilon inside the root, eps = 0


@dataclass(frozen=True)
class Tables:
    """Weights of Adam (bias correction on) along one schedule, for the steps l = 0 .. N - 1.

    ``mean_weight[l, b]`` is the sum of beta^(l-k) (1 - beta) over the steps k <= l with batch b; ``square_weight`` the
    same with rho; the corrections are 1 / (1 - beta^(l+1)) and 1 / (1 - rho^(l+1)).
    """

    batch: Integers  # (N,)
    mean_weight: Floats  # (N, m)
    square_weight: Floats  # (N, m)
    mean_correction: Floats  # (N,)
    square_correction: Floats  # (N,)
    beta: np.floating
    rho: np.floating

    @property
    def batches(self) -> int:
        """m."""
        return self.mean_weight.shape[1]

    @property
    def mean_matrix(self) -> Floats:
        """(N, m): M^(l) = mean_matrix[l] @ g."""
        return self.mean_weight * self.mean_correction[:, None]

    @property
    def square_matrix(self) -> Floats:
        """(N, m): V^(l) = square_matrix[l] @ g^2."""
        return self.square_weight * self.square_correction[:, None]

    def lag_matrix(self, n: int) -> Floats:
        """(2 m, n + 1): the lag vectors of step n are lag_matrix(n) @ U[:n + 1]."""
        last = np.arange(n + 1) == n
        rows = []
        for weight, decay, correction in (
            (self.mean_weight, self.beta, self.mean_correction),
            (self.square_weight, self.rho, self.square_correction),
        ):
            factor = np.where(last, 1, 2 * decay ** (n - np.arange(n + 1)))
            rows.append(weight[: n + 1].T * factor * correction[n])
        return np.concatenate(rows)

    def lag_matrices(self) -> Floats:
        """(N, 2 m, N): ``lag_matrix`` of every step, padded with zeros."""
        steps = len(self.batch)
        out = np.zeros((steps, 2 * self.batches, steps))
        for n in range(steps):
            out[n, :, : n + 1] = self.lag_matrix(n)
        return out


def make_tables(batch: Integers, batches: int, dtype: type = np.float64) -> Tables:
    """Tables of a schedule by the defining recursion, in the precision ``dtype``."""
    beta, rho = dtype(BETA), dtype(RHO)
    weights = np.zeros((2, len(batch), batches), dtype)
    for decay, table in zip((beta, rho), weights, strict=True):
        for n, b in enumerate(batch):
            if n > 0:
                table[n] = decay * table[n - 1]
            table[n, b] += 1 - decay
    age = np.arange(1, len(batch) + 1)
    return Tables(batch, *weights, 1 / (1 - beta**age), 1 / (1 - rho**age), beta, rho)


@dataclass(frozen=True)
class SumsCase:
    """Memory sums at one theta and one step n, from the gradients of m batches in P components.

    The result is M^(n), R^(n) (P,), and the vectors that the Hessians multiply (Cattaneo, Klusowski, Shigida, "On the
    Implicit Bias of Adam", Theorem 3.1): (2 A_b + w_b U) / (1 - beta^(n+1)) and the same with rho, together (2 m, P).
    """

    gradients: Floats  # (m, P)
    step: int
    tables: Tables


def sums_case(batches: int = 4, size: int = 4096, step: int = 512) -> SumsCase:
    """Standard normal gradients, cyclic schedule."""
    gradients = np.random.default_rng(1).normal(size=(batches, size))
    return SumsCase(gradients, step, make_tables(np.arange(step + 1) % batches, batches))


@dataclass(frozen=True)
class EnsembleCase:
    """B problems E_b(theta) = sum_i amplitude[b, i] sin(frequency[i] . theta + phase[b, i]), one step size.

    The result is, per problem, the largest 2-norm over n of iterate - flow, with one classical Runge-Kutta step on
    every piece [n h, (n + 1) h] of the modified equation.
    """

    amplitude: Floats  # (B, m, q)
    frequency: Floats  # (B, q, p)
    phase: Floats  # (B, m, q)
    theta0: Floats  # (B, p)
    h: float
    tables: Tables

    @property
    def steps(self) -> int:
        """N."""
        return len(self.tables.batch)

    @property
    def lanes_last(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Amplitude (m, q, B), frequency (q, p, B), phase (m, q, B), theta0 (p, B)."""
        arrays = (self.amplitude, self.frequency, self.phase, self.theta0)
        amplitude, frequency, phase, theta0 = (
            np.ascontiguousarray(np.moveaxis(a, 0, -1)) for a in arrays
        )
        return amplitude, frequency, phase, theta0

    @property
    def work(self) -> int:
        """Pairs (step l of a sum, component), over all Runge-Kutta stages."""
        return 4 * (self.steps * (self.steps + 1) // 2) * self.theta0.size

    def first(self, problems: int, dtype: type = np.float64) -> EnsembleCase:
        """The first ``problems`` problems, in the precision ``dtype``."""
        cut = (
            a[:problems].astype(dtype)
            for a in (self.amplitude, self.frequency, self.phase, self.theta0)
        )
        return EnsembleCase(
            *cut, self.h, make_tables(self.tables.batch, self.tables.batches, dtype)
        )


def ensemble_case(
    problems: int = 256,
    dim: int = 4,
    waves: int = 8,
    batches: int = 3,
    steps: int = 256,
    horizon: float = 1.0,
) -> EnsembleCase:
    """Normal amplitudes (variance 1/q), frequencies and starts, uniform phases, cyclic schedule."""
    rng = np.random.default_rng(2)
    return EnsembleCase(
        rng.normal(size=(problems, batches, waves)) / np.sqrt(waves),
        rng.normal(size=(problems, waves, dim)),
        rng.uniform(0.0, 2.0 * np.pi, size=(problems, batches, waves)),
        rng.normal(size=(problems, dim)),
        horizon / steps,
        make_tables(np.arange(steps) % batches, batches),
    )
