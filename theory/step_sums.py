r"""The sums of all steps at once, as arrays: what the lemmas about the memory sums are stated in.

Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", supplement, Definitions SA-2.1, SA-3.1, SA-4.1, SA-5.1, in the notation common to the four
algorithms: N the numerator (the last gradient, or its mean M), R = sqrt(V + eps_root), D = R + eps, F = N / D, and for the steps k <= l <= n

.. math:: T^{(k)} = \sum_{l=k}^{n-1} F^{(l)}, \qquad U_k = \nabla^2 E_k\, T^{(k)}, \qquad S_k = \nabla^2 E_k\, F^{(n)},

all at one and the same parameters. RMSProp is beta = 0 without bias correction: its L is 0 and its Lbar is S_n.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.memory import mean_weight

Floats = NDArray[np.float64]


class Averages(NamedTuple):
    """Numbers of B optimizers of the Adam family, and the weights of their averages.

    Attributes
    ----------
    eps, eps_root : (B,) float64
    first, second : (B, steps, steps) float64
        Weight of step k in the average of the gradients (of their squares) after step l, at [:, l, k]; 0 for k > l.
    """

    eps: Floats
    eps_root: Floats
    first: Floats
    second: Floats


def averages(
    beta: Floats, rho: Floats, eps: Floats, eps_root: Floats, corrected: Floats, steps: int
) -> Averages:
    """Weights of B optimizers for ``steps`` steps; ``corrected`` says which divide by 1 - beta^(n+1) and 1 - rho^(n+1)."""
    tables = np.zeros((2, len(beta), steps, steps))
    for table, decays in zip(tables, (beta, rho), strict=True):
        for b, (decay, correct) in enumerate(zip(decays, corrected, strict=True)):
            for step in range(steps):
                for k in range(step + 1):
                    table[b, step, k] = mean_weight(float(decay), step, k, bool(correct))
    return Averages(np.asarray(eps), np.asarray(eps_root), tables[0], tables[1])


class StepSums(NamedTuple):
    """The sums of steps 0 .. n at Q points of each of B problems.

    Attributes
    ----------
    N, V, R, D, F : (B, Q, n + 1, p)
        Numerator, mean square, root, denominator and direction of every step l <= n.
    U, S : (B, Q, n + 1, p)
        U_k (0 for k = n) and S_k of every step k <= n.
    P, Pbar, L, Lbar : (B, Q, p)
        Of step n.
    A, B : (B, Q, p)
        N (2 P + Pbar) / (2 D^2 R) and (2 L + Lbar) / (2 D) of step n: the modified field is -F + h (A - B).
    """

    N: Floats
    V: Floats
    R: Floats
    D: Floats
    F: Floats
    U: Floats
    S: Floats
    P: Floats
    Pbar: Floats
    L: Floats
    Lbar: Floats
    A: Floats
    B: Floats


def step_sums(given: Averages, gradients: Floats, hessians: Floats) -> StepSums:
    """Sums of steps 0 .. n from the gradients and Hessians of their losses.

    Parameters
    ----------
    given : Averages
        Of B problems, for at least n + 1 steps.
    gradients : (B, Q, n + 1, p) float64
        Gradient of the loss of every step, at Q points.
    hessians : (B, Q, n + 1, p, p) float64

    Returns
    -------
    StepSums
        R = 0 gives NaN in A: the theorems assume that it is not.
    """
    count = gradients.shape[2]
    first, second = (w[:, None, :count, :count] for w in (given.first, given.second))
    eps, eps_root = (e[:, None, None, None] for e in (given.eps, given.eps_root))
    N, V = first @ gradients, second @ gradients**2
    R = np.sqrt(V + eps_root)
    D = R + eps
    F = N / D
    T = np.zeros_like(F)
    T[:, :, :-1] = np.cumsum(F[:, :, -2::-1], axis=2)[:, :, ::-1]
    U = (hessians @ T[..., None])[..., 0]
    S = (hessians @ F[:, :, -1:, :, None])[..., 0]
    by_first, by_second = (w[:, :, -1, :, None] for w in (first, second))
    L, Lbar = (by_first * U).sum(axis=2), (by_first * S).sum(axis=2)
    P = (by_second * gradients * U).sum(axis=2)
    Pbar = (by_second * gradients * S).sum(axis=2)
    n, d, r = N[:, :, -1], D[:, :, -1], R[:, :, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        A = n * (2.0 * P + Pbar) / (2.0 * d**2 * r)
    return StepSums(N, V, R, D, F, U, S, P, Pbar, L, Lbar, A, (2.0 * L + Lbar) / (2.0 * d))
