"""How far two computations of one quantity may be apart by rounding alone.

Unit: 2^-53, the largest relative error of one operation. CPU and GPU run the same formulas in the same order with the same elementary functions; they differ
where a product and a sum are fused (the GPU: wherever it can; the CPU: in the inner loops of sums and losses; the simulator: nowhere) and in the order of the
sums over units. Each difference is one rounding or a few. A bound is

    number of operations in a row  x  2^-53  x  sum of the absolute values of what is added,

carried through the formulas to first order. It covers every order of summation and every choice of fusing, so the simulator and a GPU are held to the same one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.parity.literal import Problem
from tests.reference import UNIT, slowest, weights

Floats = NDArray[np.float64]

# Of one entry of a gradient or Hessian, as a sum of terms: an elementary function (both sides err by less than 4 units, whatever is fused), products with
# amplitude and weight (4), the sum over at most 12 units.
OPERATIONS = 20
# Of its arguments w . theta + c, at most 6 terms that are together below 8: an error there acts as a shift of theta by as much over the smallest weight, 1/2.
ARGUMENT = 6 * 16


@dataclass(frozen=True)
class Roundings:
    """Error bounds at one point of one problem; both sides err, so twice the bound on one.

    Attributes
    ----------
    sizes : tuple
        Bounds on the derivatives of order 1, 2, 3.
    dim, steps : int
        p and n + 1.
    decay : float
        The larger of beta and rho.
    direction, denominator, root : float
        The largest |U|, the smallest D and the smallest R over the steps in memory.
    """

    sizes: tuple[float, float, float]
    dim: int
    steps: int
    decay: float
    direction: float
    denominator: float
    root: float

    @property
    def weight(self) -> float:
        """Relative error of a weight: powers of the decay, and 1 - decay^(n+1), which loses digits as 1 / (1 - decay)."""
        return 4.0 * UNIT * (self.steps + 1.0 / (1.0 - self.decay))

    @property
    def gradient(self) -> float:
        """Of a gradient, of M and of R: weights sum to at most 1, and R is a weighted 2-norm of gradients."""
        first, second, _ = self.sizes
        return 2.0 * UNIT * (OPERATIONS * first + ARGUMENT * second) + self.weight * first

    @property
    def hessian(self) -> float:
        """Of an entry."""
        _, second, third = self.sizes
        return 2.0 * UNIT * (OPERATIONS * second + ARGUMENT * third) + self.weight * second

    @property
    def step(self) -> float:
        """Of U = M / D: dM / D + |U| dR / D."""
        return (1.0 + self.direction) * self.gradient / self.denominator

    @property
    def along(self) -> float:
        """Size of 2 L + Lbar: a row of p entries, times U, times 2 (mean age) + 1. Of (2 P + Pbar) / R too, by Cauchy and Schwarz.

        Weights fall with the age, so the mean age is at most n / 2.
        """
        return self.dim * self.steps * self.sizes[1] * self.direction

    @property
    def lag(self) -> float:
        """Of 2 L + Lbar: errors of the Hessian, of U, and of prefix sums of n terms of which one is subtracted from another."""
        moved = self.hessian * self.direction + self.sizes[1] * self.step
        subtracted = 8.0 * self.steps * UNIT * self.sizes[1] * self.direction
        return self.dim * self.steps * (moved + subtracted)

    @property
    def square_lag(self) -> float:
        """Of 2 P + Pbar: one more gradient as a factor."""
        return self.sizes[0] * self.lag + self.gradient * self.along

    def field(self, h: float) -> float:
        """Of -M/D + h (M (2P + Pbar) / (2 D^2 R) - (2L + Lbar) / (2D)), factor by factor."""
        u, g, d = self.direction, self.gradient, self.denominator
        ratio = self.lag + 2.0 * self.along * g / self.root  # of (2 P + Pbar) / R
        bias = u * ratio + self.lag + self.along * (self.step + (1.0 + u) * g / d)
        return self.step + h * bias / (2.0 * d)


def at_point(
    one: Problem, sizes: tuple[float, float, float], theta: Floats, n: int, slack: float = 1.0
) -> Roundings:
    """Bounds at a point, step n; U may be larger, D and R smaller, by a factor ``slack``."""
    gradients = np.array([one.loss.gradient(int(b), theta) for b in one.schedule[: n + 1]])
    optimizer = one.optimizer
    corrected, decay = optimizer.bias_correction, slowest(optimizer)
    mean = weights(float(optimizer.beta), n, corrected) @ gradients
    square = weights(float(optimizer.rho), n, corrected) @ gradients**2
    root = np.sqrt(square + optimizer.eps_root)
    size = np.abs(mean / (root + optimizer.eps)).max()
    least = float(root.min()) / slack
    return Roundings(
        sizes,
        len(theta),
        n + 1,
        decay,
        float(size) * slack,
        least + float(optimizer.eps) / slack,
        least,
    )
