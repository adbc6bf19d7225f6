"""Problems on which errors grow like e^(X n h) while the gradients stay bounded, so that X in the growth rate d_2 = (1 + X) sqrt(p) shows.

On one loss an error grows no faster than the gradient, and the bound, which rests on the largest gradient, hides it. Two batches can part them: both curve
downward, their slopes oppose each other, and the schedule takes at every step the one that leads back. The point stays where the slopes hardly change, while
neighbouring points part at the rate of the curvature. The second batch curves less: with equal curvatures the defects, which are as the slopes, would cancel
where the steps do.
"""

from __future__ import annotations

import numpy as np

from stepbias.verify.experiments.constants_problems import ALGORITHMS, Problem
from stepbias.verify.samples import Setting

GROWTH = "errors grow"
# The growth of an error over the path, X n h: as much as leaves the error small against the waves of the loss. With the theorem's own T its second
# half as printed is missed by a factor that grows as the square of the number of steps.
_STEPS, _GROWN = 360, (10.3, 10.9)
_ROWS, _BATCHES = 5, 3


def growing(setting: Setting, number: int) -> Problem:
    """Problem ``number``: p = 1, a denominator 10^6 times the slope, n h between 1 and 2."""
    rng = setting.rng("constants, growth", number)
    algorithm = ALGORITHMS[number % len(ALGORITHMS)]
    beta = float(rng.uniform(0.01, 0.03)) if algorithm.startswith("adam") else 0.0
    rho = float(rng.uniform(0.01, 0.1))
    h = float(rng.uniform(1.0, 2.0)) / _STEPS
    slope = 10.0 ** rng.uniform(-1.0, 1.0)
    denominator = 1e6 * slope
    balance = 10.0 ** rng.uniform(1.0, 1.5)
    curvature = float(rng.uniform(*_GROWN)) / (_STEPS * h) * denominator
    wave = curvature / (balance * slope)
    tangents = balance * np.array([1.0, *([rng.uniform(0.55, 0.65)] * (_BATCHES - 1))])
    angle = np.arctan(tangents)
    phase = np.where(np.arange(_BATCHES) == 0, angle, np.pi - angle)
    amplitude = np.zeros((_BATCHES, _ROWS))
    amplitude[:, 0] = slope / (wave * np.cos(angle))
    slopes = (amplitude[:2, 0] * wave, wave, phase[:2])
    return Problem(
        number,
        algorithm,
        GROWTH,
        beta,
        rho,
        eps=denominator**2 if algorithm.endswith("inside") else denominator,
        h=h,
        amplitude=amplitude,
        frequency=np.outer(np.eye(_ROWS)[0], [wave]),
        phase=np.repeat(phase[:, None], _ROWS, axis=1),
        schedule=_leading_back(slopes, h / denominator, beta),
    )


def _leading_back(
    slopes: tuple[np.ndarray, float, np.ndarray], step: float, beta: float
) -> np.ndarray:
    """At every step the batch after which the point is nearest to 0, the denominator taken to be constant."""
    amplitude, wave, phase = slopes
    chosen = np.zeros(_STEPS, dtype=np.int64)
    theta = mean = 0.0
    for n in range(_STEPS):
        means = beta * mean + (1.0 - beta) * amplitude * np.cos(wave * theta + phase)
        after = theta - step * means / (1.0 - beta ** (n + 1))
        chosen[n] = np.argmin(np.abs(after))
        theta, mean = float(after[chosen[n]]), float(means[chosen[n]])
    return chosen
