"""Figure 1: the potential on one gradient component, integrated numerically as printed, against its closed form and its shape.

beta = 0.95; rho and epsilon run through the figure's lists and the values between; problem 0 has the usual defaults.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stepbias.theory import full_batch, modified_losses
from stepbias.verify.experiments.points import DEFAULTS, UNIT
from stepbias.verify.samples import Samples, Setting, label

Floats = NDArray[np.float64]

BETA = 0.95
RHOS = (0.995, 0.99, 0.951, 0.95, 0.9, 0.8, 0.75, 0.5, 0.1)
EPSILONS = (1e-5, 100.0, 1e-3, 0.1, 1.0, 10.0)
_FINE, _COARSE = (np.polynomial.legendre.leggauss(n) for n in (20, 14))
_OPERATIONS = 40.0  # of one value of the integrand and its weight


def _settings(k: int) -> tuple[float, float, float]:
    if k == 0:
        return DEFAULTS
    return BETA, RHOS[k % len(RHOS)], EPSILONS[k // len(RHOS) % len(EPSILONS)]


def integrated(
    start: float, stop: float, beta: float, rho: float, epsilon: float, measure: str = ""
) -> tuple[float, float]:
    """Integral of Figure 1 from ``start`` to ``stop`` >= ``start`` >= 0, and a bound on its error.

    Gauss-Legendre on intervals that grow with the distance from the poles at y = +-i sqrt(epsilon): each is at most half as long as they are away. The
    difference of 20 and 14 nodes bounds the quadrature, the sum of absolute values the rounding.
    """
    ends = [start]
    while ends[-1] < stop:
        ends.append(min(stop, ends[-1] + 0.5 * float(np.hypot(ends[-1], np.sqrt(epsilon)))))
    edges = np.array(ends)
    middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * np.diff(edges)
    values = []
    size = 0.0
    for nodes, weights in (_FINE, _COARSE):
        y = middle[:, None] + half[:, None] * nodes
        rate = modified_losses.potential_rate(y, beta, rho, epsilon)
        # d sqrt(epsilon + y^2) = y / sqrt(epsilon + y^2) dy
        slope = np.ones_like(y) if measure == "dy" else y / np.sqrt(epsilon + y**2)
        weighted = half[:, None] * weights * rate * slope
        values.append(float(weighted.sum()))
        # The two parts of the rate may cancel.
        fast, slow = (1.0 + beta) / (1.0 - beta), (1.0 + rho) / (1.0 - rho)
        size = float((half[:, None] * weights * (fast + slow) * slope).sum())
    return values[0], abs(values[0] - values[1]) + _OPERATIONS * UNIT * size


def closed_form(variant: str, setting: Setting) -> Samples:
    """The closed form is the integral."""
    numbers = setting.numbers(108, 540, 5400)
    labels, strata, left, right, scale, hardness = [], [], [], [], [], []
    for k in numbers:
        beta, rho, epsilon = _settings(int(k))
        x = float(10.0 ** setting.rng("potential", int(k)).uniform(-3.0, 1.5))
        value, error = integrated(
            0.0,
            x,
            beta,
            rho,
            epsilon,
            "dy" if variant == "dy in place of d sqrt(epsilon + y^2)" else "",
        )
        if variant == "beta and rho swapped":
            beta, rho = rho, beta
        closed = float(full_batch.bias_potential(x, beta, rho, epsilon))
        if variant == "no term with epsilon":
            rise = float(np.sqrt(x**2 + epsilon) - np.sqrt(epsilon))
            closed = full_batch.penalty_coefficient(beta, rho) * rise
        labels.append(label(beta=beta, rho=rho, epsilon=epsilon, x=x))
        strata.append(f"epsilon={epsilon:g}")
        left.append(abs(value - closed))
        right.append(error)
        scale.append(max(abs(value), abs(closed)))
        hardness.append((beta, rho, epsilon, np.nan))
    return Samples(
        numbers=numbers,
        labels=np.array(labels, dtype=np.str_),
        stratum=np.array(strata, dtype=np.str_),
        hardness=np.array(hardness).reshape(-1, 4),
        left=np.array(left),
        right=np.array(right),
        scale=np.array(scale),
    )


def shape(variant: str, setting: Setting) -> Samples:
    """The potential rises up to its turning point and falls beyond, and is positive up to its zero and negative beyond; for rho <= beta both are at infinity.

    left = the integral over an interval on one side of the point, minus where it should be positive.
    """
    numbers = setting.numbers(108, 540, 5400)
    labels, strata, left = [], [], []
    for k in numbers:
        beta, rho, epsilon = _settings(int(k))
        rng = setting.rng("potential-shape", int(k))
        turn = modified_losses.potential_turn(beta, rho, epsilon)
        zero = modified_losses.potential_zero(beta, rho, epsilon)
        if variant == "turning at sqrt(epsilon)":
            turn, zero = np.sqrt(epsilon), 2.0 * np.sqrt(epsilon)
        if variant == "beta and rho swapped":
            turn = modified_losses.potential_turn(rho, beta, epsilon)
            zero = modified_losses.potential_zero(rho, beta, epsilon)
        scale = float(10.0 ** rng.uniform(-3.0, 1.5))
        point = scale if np.isinf(turn) else turn
        near, far = sorted(rng.uniform(0.05, 0.95, 2))
        last = zero if np.isfinite(zero) else scale
        pieces = [
            ("rises", near * point, far * point, 1.0),
            ("positive", 0.0, far * last, 1.0),
        ]
        if np.isfinite(turn):
            pieces += [
                ("falls", point / far, point / near, -1.0),
                ("negative", 0.0, last / near, -1.0),
            ]
        for what, a, b, sign in pieces:
            value, error = integrated(a, b, beta, rho, epsilon)
            labels.append(label(beta=beta, rho=rho, epsilon=epsilon, what=what, start=a, stop=b))
            strata.append(f"{what}, {'rho > beta' if rho > beta else 'rho <= beta'}")
            left.append((int(k), -sign * value, error))
    table = np.array(left, dtype=np.float64).reshape(-1, 3)
    return Samples(
        numbers=table[:, 0].astype(np.int64),
        labels=np.array(labels, dtype=np.str_),
        stratum=np.array(strata, dtype=np.str_),
        left=table[:, 1],
        right=np.zeros(len(table)),
        uncertainty=table[:, 2],
    )
