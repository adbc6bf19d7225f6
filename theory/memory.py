"""The memory sums R, M, L, Lbar, P, Pbar and the modified field, exactly as printed: slow, literal, the reference for the kernels.

Source: Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", equations of Theorem 3.1 (Adam) and Theorem 4.2 (RMSProp), and their variants with epsilon
outside the square root. All gradients and Hessians are taken at one and the same theta.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stepbias.theory import adam
from stepbias.theory.optimizers import AdamFamily
from stepbias.theory.variants import STATEMENT, Variant

Floats = NDArray[np.float64]


class MemoryTerms(NamedTuple):
    """The six sums, each ``(p,)`` (or ``(B, p)``), in units of the gradient (L, Lbar: gradient per parameter; P, Pbar: its square per parameter)."""

    R: Floats
    M: Floats
    L: Floats
    Lbar: Floats
    P: Floats
    Pbar: Floats


class SmoothLoss(Protocol):
    """What the literal sums need of a loss."""

    dim: int

    def gradient(self, b: int, theta: Any) -> Floats:
        """Gradient of batch b, ``(p,)``."""
        ...

    def hessian(self, b: int, theta: Any) -> Floats:
        """Hessian of batch b, ``(p, p)``."""
        ...


def mean_weight(decay: float, n: int, k: int, corrected: bool) -> float:
    """Weight of step k in the moving average after step n."""
    weight = decay ** (n - k) * (1.0 - decay)
    return weight / (1.0 - decay ** (n + 1)) if corrected else weight


def literal_terms(
    optimizer: AdamFamily, loss: SmoothLoss, theta: Floats, n: int, schedule: NDArray[np.int64]
) -> MemoryTerms:
    """The printed sums at step n, by double loops: O(n^2 p^2), for reference only.

    Parameters
    ----------
    optimizer : Adam or RMSProp
        With scalar parameters.
    loss : object with ``gradient(b, theta)`` and ``hessian(b, theta)``
    theta : (p,) float64
    n : int
        Step, >= 0.
    schedule : (>= n + 1,) int64
        Batch of every step.

    Returns
    -------
    MemoryTerms
    """
    gradients = [loss.gradient(int(schedule[k]), theta) for k in range(n + 1)]
    hessians = [loss.hessian(int(schedule[k]), theta) for k in range(n + 1)]
    beta, rho = float(optimizer.beta), float(optimizer.rho)
    corrected = optimizer.bias_correction

    def mean(step: int) -> Floats:
        weights = [mean_weight(beta, step, k, corrected) for k in range(step + 1)]
        return sum((w * g for w, g in zip(weights, gradients, strict=False)), np.zeros(loss.dim))

    def root(step: int) -> Floats:
        weights = [mean_weight(rho, step, k, corrected) for k in range(step + 1)]
        square = sum(
            (w * g**2 for w, g in zip(weights, gradients, strict=False)), np.zeros(loss.dim)
        )
        return np.sqrt(square + optimizer.eps_root)

    direction = [mean(step) / (root(step) + optimizer.eps) for step in range(n + 1)]
    L, Lbar, P, Pbar = np.zeros((4, loss.dim))
    for k in range(n + 1):
        displacement = sum(direction[k:n], np.zeros(loss.dim))
        w = mean_weight(beta, n, k, corrected)
        r = mean_weight(rho, n, k, corrected)
        L += w * (hessians[k] @ displacement)
        Lbar += w * (hessians[k] @ direction[n])
        P += r * gradients[k] * (hessians[k] @ displacement)
        Pbar += r * gradients[k] * (hessians[k] @ direction[n])
    return MemoryTerms(root(n), mean(n), L, Lbar, P, Pbar)


def literal_field(terms: MemoryTerms, eps: float, h: float, variant: Variant = STATEMENT) -> Floats:
    """The modified field from the six sums.

    Parameters
    ----------
    terms : MemoryTerms
        With eps_root already inside R.
    eps : float
        The constant outside the root.
    h : float
        Step size.
    variant : Variant
        Factors on the named terms (substitutions act on the sums and are ignored here).

    Returns
    -------
    (p,) float64
    """
    v = variant
    numerator_lag = v.bias * (2.0 * v.L * terms.L + v.Lbar * terms.Lbar)
    square_lag = v.bias * (2.0 * v.P * terms.P + v.Pbar * terms.Pbar)
    return np.array(
        [
            adam.modified_rate(m, r, eps, nl, sl, h)
            for m, r, nl, sl in zip(
                v.M * terms.M, v.R * terms.R, numerator_lag, square_lag, strict=True
            )
        ]
    )
