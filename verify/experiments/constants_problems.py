"""Problems on which the explicit constants are measured: slow motion, where a constant can be nearly attained, and ordinary ones, where it never is.

Losses are sums of sinusoids, whose derivatives up to order 4 are bounded exactly over a box. Problem k is a function of the seed and k only.

Slow motion: one sinusoid in the direction (s_1, .., s_p), s_j = 1 or -1, so that all entries of a derivative have one size, and the denominator so large that
gradient and Hessian hardly change over the run: then M_1 .. M_4, taken over the box that the trajectories fill, are nearly the derivatives themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.theory.optimizers import Adam, RMSProp
from stepbias.verify.samples import Setting, label

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ALGORITHMS = ("rmsprop-outside", "rmsprop-inside", "adam-outside", "adam-inside")
SLOW, ORDINARY = "slow motion", "ordinary"
STEPS = 24
LONG = 90
_ROWS = 5  # sinusoids of a loss; a slow one uses the first
_BATCHES = 3
# How problems are dealt: of three blocks of four (one for each algorithm) the last is ordinary; of four ordinary blocks the first has the usual parameters.
_BLOCK, _PERIOD, _USUAL = 4, 3, 4
USUAL = (0.9, 0.999, 1e-8)


@dataclass(frozen=True, eq=False)
class Problem:
    """One problem.

    Attributes
    ----------
    number : int
    algorithm : str
        One of ``ALGORITHMS``.
    stratum : str
    beta, rho, eps, h : float
        eps where the algorithm has it, inside or outside the root.
    amplitude, phase : (3, 5) float64
        Of three batches.
    frequency : (5, p) float64
    schedule : (STEPS,) int64
    """

    number: int
    algorithm: str
    stratum: str
    beta: float
    rho: float
    eps: float
    h: float
    amplitude: Floats
    frequency: Floats
    phase: Floats
    schedule: Integers

    @property
    def dim(self) -> int:
        """Number of parameters, p."""
        return int(self.frequency.shape[1])

    @property
    def is_adam(self) -> bool:
        """Whether the means are bias-corrected and beta counts."""
        return self.algorithm.startswith("adam")

    @property
    def inside(self) -> bool:
        """Whether epsilon stands inside the root."""
        return self.algorithm.endswith("inside")

    @property
    def label(self) -> str:
        """Settings in one line."""
        shown = label(p=self.dim, beta=self.beta, rho=self.rho, eps=self.eps, h=self.h)
        return f"{self.algorithm} {shown} n={len(self.schedule)}"

    @property
    def optimizer(self) -> Adam | RMSProp:
        """The optimizer of the package."""
        eps, eps_root = (0.0, self.eps) if self.inside else (self.eps, 0.0)
        if self.is_adam:
            return Adam(self.beta, self.rho, eps, eps_root)
        return RMSProp(self.rho, eps, eps_root)


def problem(setting: Setting, number: int) -> Problem:
    """Problem ``number`` of the law above."""
    rng = setting.rng("constants", number)
    algorithm, block = ALGORITHMS[number % _BLOCK], number // _BLOCK
    dim = 1 + (block + block // _PERIOD) % 3
    schedule = rng.integers(0, rng.integers(1, _BATCHES + 1), STEPS)
    if block % _PERIOD == _PERIOD - 1:
        usual = (block // _PERIOD) % _USUAL == 0
        return _ordinary(rng, number, algorithm, dim, schedule, usual)
    return _slow(rng, number, algorithm, dim, schedule)


@dataclass(frozen=True)
class Motion:
    """Numbers of a slow motion.

    Attributes
    ----------
    slope : float
        M_1.
    pace : float
        M_1 over the denominator.
    balance : float
        M_2 / sqrt(M_1 M_3): large where a loss is nearly quadratic; it decides which term of a constant leads.
    change : float
        By how much the gradient changes over the run, relative to itself.
    """

    slope: float
    pace: float
    balance: float
    change: float


def _slow(
    rng: np.random.Generator, number: int, algorithm: str, dim: int, schedule: Integers
) -> Problem:
    """Slow motion; what decides which term of a constant leads is drawn over decades."""
    balance = 10.0 ** rng.uniform(-1.0, 1.5)
    motion = Motion(
        slope=10.0 ** rng.uniform(-1.0, 1.0),
        pace=10.0 ** rng.uniform(-3.0, -1.3),
        balance=balance,
        # of a loss far from quadratic the Hessian changes 1 / balance^2 times as much as the gradient
        change=10.0 ** rng.uniform(-2.0, -1.2) * min(1.0, balance**2),
    )
    beta = float(rng.uniform(0.05, 0.6)) if algorithm.startswith("adam") else 0.0
    rho = float(rng.uniform(0.02, 0.6))
    return _moving(rng, motion, number, algorithm, dim, schedule, (beta, rho))


def _moving(
    rng: np.random.Generator,
    motion: Motion,
    number: int,
    algorithm: str,
    dim: int,
    schedule: Integers,
    decays: tuple[float, float],
) -> Problem:
    """One sinusoid per batch with the given motion; h below 1, as the proof of (7.4) asks."""
    h = float(rng.uniform(0.2, 0.99))
    slope = motion.slope
    curvature = motion.change * slope / (motion.pace * len(schedule) * h * dim)
    wave = curvature / (motion.balance * slope)
    phase = np.arctan(motion.balance) * rng.choice([-1.0, 1.0])
    signs = rng.choice([-1.0, 1.0], dim)
    amplitude = np.zeros((_BATCHES, _ROWS))
    amplitude[:, 0] = slope / (wave * np.cos(phase)) * rng.uniform(0.98, 1.0, _BATCHES)
    denominator = slope / motion.pace
    return Problem(
        number,
        algorithm,
        SLOW,
        *decays,
        eps=denominator**2 if algorithm.endswith("inside") else denominator,
        h=h,
        amplitude=amplitude,
        frequency=np.outer(np.eye(_ROWS)[0], wave * signs),
        phase=np.full((_BATCHES, _ROWS), phase),
        schedule=schedule,
    )


def _ordinary(
    rng: np.random.Generator,
    number: int,
    algorithm: str,
    dim: int,
    schedule: Integers,
    usual: bool,
) -> Problem:
    """Several sinusoids over a slope that keeps every component of the gradient away from 0, as the assumption on R asks."""
    beta, rho, eps = USUAL
    if not usual:
        beta, rho = rng.uniform(0.0, 0.95), rng.uniform(0.1, 0.99)
        eps = 10.0 ** rng.uniform(-6.0, -1.0)
    amplitude = 0.1 * rng.uniform(-1.0, 1.0, (_BATCHES, _ROWS))
    frequency = rng.uniform(0.5, 1.5, (_ROWS, dim)) * rng.choice([-1.0, 1.0], (_ROWS, dim))
    phase = rng.uniform(-np.pi, np.pi, (_BATCHES, _ROWS))
    # a long wave near its steepest point is nearly linear: slope 2 in every component
    amplitude[:, 0] = 20.0
    frequency[0] = 0.1 * rng.choice([-1.0, 1.0], dim)
    phase[:, 0] = rng.uniform(-0.3, 0.3)
    # RMSProp's first steps are longer by the missing bias correction
    first = 1.0 if algorithm.startswith("adam") else np.sqrt(1.0 - rho)
    return Problem(
        number,
        algorithm,
        ORDINARY,
        beta=float(beta) if algorithm.startswith("adam") else 0.0,
        rho=float(rho),
        eps=float(eps),
        h=float(first * 10.0 ** rng.uniform(-2.5, -1.0)),
        amplitude=amplitude,
        frequency=frequency,
        phase=phase,
        schedule=schedule,
    )


def with_large_steps(setting: Setting, number: int) -> Problem:
    """A slow motion with a step size between 1 and 3, which the theorems allow (h < T) and the proof of (7.4) does not."""
    rng = setting.rng("constants, large steps", number)
    algorithm = ALGORITHMS[number % _BLOCK]
    schedule = rng.integers(0, rng.integers(1, _BATCHES + 1), STEPS)
    one = _slow(rng, number, algorithm, 1 + number // _BLOCK % 3, schedule)
    return replace(one, h=float(rng.uniform(1.0, 3.0)))


def long_memory(setting: Setting, number: int) -> Problem:
    """A slow motion with epsilon inside and a memory of 15 to 60 steps, so that the mean square leads the local error; losses and sqrt(epsilon) times 10^8.

    The factor changes no trajectory, no left side and no right side with the units of what it bounds.
    """
    rng = setting.rng("constants, long memory", number)
    algorithm = ("rmsprop-inside", "adam-inside")[number % 2]
    motion = Motion(
        slope=1.0, pace=10.0 ** rng.uniform(-1.2, -0.4), balance=30.0, change=10.0 ** rng.uniform(-1.5, -0.8)
    )  # fmt: skip
    beta = float(rng.uniform(0.05, 0.6)) if algorithm.startswith("adam") else 0.0
    decays = (beta, float(rng.uniform(0.93, 0.985)))
    schedule = np.zeros(LONG, dtype=np.int64)
    return scaled(_moving(rng, motion, number, algorithm, 1, schedule, decays), 1e8)


def scaled(one: Problem, factor: float) -> Problem:
    """The same motion: losses times ``factor``, epsilon with them."""
    eps = one.eps * (factor**2 if one.inside else factor)
    return replace(one, amplitude=factor * one.amplitude, eps=eps)


def ensemble(problems: list[Problem]) -> Loss:
    """The losses of problems of one dimension."""
    stacked: Any = [np.stack([getattr(one, name) for one in problems]) for name in ("amplitude", "frequency", "phase")]  # fmt: skip
    return Loss.sinusoids(*stacked)
