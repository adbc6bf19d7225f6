"""The printed formulas once more, in 40 digits, sharing no code with the package.

Transcribed from Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", sum by sum:
Definition 2.1 and Theorem 3.1 (Adam), Definition 4.1 and Theorem 4.2 (RMSProp), and their variants
with epsilon outside the square root. A mistake common to the literal sums of the package and its
kernels would show here. Nothing is made fast: n <= 10 steps, a few parameters.

Vectors are lists of mpf, Hessians lists of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
from numpy.typing import NDArray

mp = mpmath.mp.clone()
mp.dps = 40

Numbers = Sequence[Any] | NDArray[Any]
Vector = list[Any]
Matrix = list[list[Any]]


@dataclass(frozen=True)
class Algorithm:
    """One of the four: name "adam" or "rmsprop", epsilon "inside" or "outside" the root."""

    name: str
    epsilon: str
    rho: float
    eps: float
    beta: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in ("adam", "rmsprop") or self.epsilon not in ("inside", "outside"):
            raise ValueError(f"unknown algorithm {self}")
        if self.name == "rmsprop" and self.beta != 0.0:
            raise ValueError("RMSProp has no beta")


@dataclass(frozen=True)
class MpLoss:
    """Mini-batch losses given by their derivatives: theta (list of mpf) to lists of mpf."""

    dim: int
    gradient: Callable[[int, Vector], Vector]
    hessian: Callable[[int, Vector], Matrix]


def vector(values: Numbers) -> Vector:
    """The same numbers as exact mpf."""
    return [mp.mpf(float(v)) for v in values]


def sinusoids(
    amplitude: Numbers,
    frequency: Numbers,
    phase: Numbers,
) -> MpLoss:
    """E_b(theta) = sum_i amplitude[b][i] sin(frequency[i] . theta + phase[b][i])."""
    a = [vector(row) for row in amplitude]
    w = [vector(row) for row in frequency]
    c = [vector(row) for row in phase]
    units, dim = range(len(w)), len(w[0])

    def argument(b: int, i: int, theta: Vector) -> Any:
        return mp.fsum(w[i][j] * theta[j] for j in range(dim)) + c[b][i]

    def gradient(b: int, theta: Vector) -> Vector:
        return [
            mp.fsum(a[b][i] * mp.cos(argument(b, i, theta)) * w[i][j] for i in units)
            for j in range(dim)
        ]

    def hessian(b: int, theta: Vector) -> Matrix:
        return [
            [
                mp.fsum(-a[b][i] * mp.sin(argument(b, i, theta)) * w[i][j] * w[i][k] for i in units)
                for k in range(dim)
            ]
            for j in range(dim)
        ]

    return MpLoss(dim, gradient, hessian)


def bilinear(x: float, y: float) -> MpLoss:
    """E(theta) = (y - theta_1 theta_2 x)^2 / 2."""
    x_, y_ = mp.mpf(x), mp.mpf(y)

    def gradient(b: int, theta: Vector) -> Vector:
        residual = y_ - theta[0] * theta[1] * x_
        return [-residual * x_ * theta[1], -residual * x_ * theta[0]]

    def hessian(b: int, theta: Vector) -> Matrix:
        mixed = 2 * x_**2 * theta[0] * theta[1] - x_ * y_
        return [[(x_ * theta[1]) ** 2, mixed], [mixed, (x_ * theta[0]) ** 2]]

    return MpLoss(2, gradient, hessian)


def iterates(
    algorithm: Algorithm, loss: MpLoss, theta0: Numbers, h: float, schedule: Numbers
) -> list[Vector]:
    """theta^(0), theta^(1), ...: one step for every entry of the schedule, from nu = m = 0."""
    beta, rho = mp.mpf(algorithm.beta), mp.mpf(algorithm.rho)
    eps, step_size = mp.mpf(algorithm.eps), mp.mpf(h)
    theta = vector(theta0)
    nu = [mp.mpf(0)] * loss.dim
    m = [mp.mpf(0)] * loss.dim
    path = [theta]
    for n, b in enumerate(schedule):
        g = loss.gradient(int(b), theta)
        nu = [rho * nu[j] + (1 - rho) * g[j] ** 2 for j in range(loss.dim)]
        m = [beta * m[j] + (1 - beta) * g[j] for j in range(loss.dim)]
        new = []
        for j in range(loss.dim):
            if algorithm.name == "rmsprop" and algorithm.epsilon == "inside":
                step = g[j] / mp.sqrt(nu[j] + eps)
            elif algorithm.name == "rmsprop":
                step = g[j] / (mp.sqrt(nu[j]) + eps)
            elif algorithm.epsilon == "inside":
                step = (m[j] / (1 - beta ** (n + 1))) / mp.sqrt(nu[j] / (1 - rho ** (n + 1)) + eps)
            else:
                step = (m[j] / (1 - beta ** (n + 1))) / (
                    mp.sqrt(nu[j] / (1 - rho ** (n + 1))) + eps
                )
            new.append(theta[j] - step_size * step)
        theta = new
        path.append(theta)
    return path


def memory_sums(
    algorithm: Algorithm, loss: MpLoss, theta: Numbers, n: int, schedule: Numbers
) -> dict[str, Vector]:
    """R, M, L, Lbar, P, Pbar of step n, all gradients and Hessians at the same theta."""
    at = vector(theta)
    p = range(loss.dim)
    grad = [loss.gradient(int(schedule[k]), at) for k in range(n + 1)]
    hess = [loss.hessian(int(schedule[k]), at) for k in range(n + 1)]
    beta, rho, eps = mp.mpf(algorithm.beta), mp.mpf(algorithm.rho), mp.mpf(algorithm.eps)
    adam = algorithm.name == "adam"
    inside = algorithm.epsilon == "inside"

    def correction(decay: Any, step: int) -> Any:
        return 1 - decay ** (step + 1) if adam else mp.mpf(1)

    def R(j: int, step: int) -> Any:
        mean_square = mp.fsum(
            rho ** (step - k) * (1 - rho) * grad[k][j] ** 2 for k in range(step + 1)
        ) / correction(rho, step)
        return mp.sqrt(mean_square + eps) if inside else mp.sqrt(mean_square)

    def M(j: int, step: int) -> Any:
        if not adam:
            return grad[step][j]
        return mp.fsum(
            beta ** (step - k) * (1 - beta) * grad[k][j] for k in range(step + 1)
        ) / correction(beta, step)

    # U[l][i] = M_i^(l) / N_i^(l), the leading step at iteration l
    U = [[M(i, l) / (R(i, l) if inside else R(i, l) + eps) for i in p] for l in range(n + 1)]

    def lag(j: int, k: int) -> Any:
        return mp.fsum(hess[k][i][j] * mp.fsum(U[l][i] for l in range(k, n)) for i in p)

    def current(j: int, k: int) -> Any:
        return mp.fsum(hess[k][i][j] * U[n][i] for i in p)

    def over_mean(term: Callable[[int, int], Any], j: int) -> Any:
        if not adam:
            return term(j, n)
        return mp.fsum(
            beta ** (n - k) * (1 - beta) * term(j, k) for k in range(n + 1)
        ) / correction(beta, n)

    def over_square(term: Callable[[int, int], Any], j: int) -> Any:
        return mp.fsum(
            rho ** (n - k) * (1 - rho) * grad[k][j] * term(j, k) for k in range(n + 1)
        ) / correction(rho, n)

    return {
        "R": [R(j, n) for j in p],
        "M": [M(j, n) for j in p],
        "L": [over_mean(lag, j) for j in p],
        "Lbar": [over_mean(current, j) for j in p],
        "P": [over_square(lag, j) for j in p],
        "Pbar": [over_square(current, j) for j in p],
    }


def field(
    algorithm: Algorithm,
    loss: MpLoss,
    theta: Numbers,
    n: int,
    h: float,
    schedule: Numbers,
    order: int = 2,
) -> Vector:
    """Right-hand side of the modified equation in [nh, (n+1)h]; order 1: without the h term."""
    sums = memory_sums(algorithm, loss, theta, n, schedule)
    eps, step_size = mp.mpf(algorithm.eps), mp.mpf(h if order == 2 else 0.0)
    result = []
    for R, M, L, Lbar, P, Pbar in zip(*sums.values(), strict=True):
        if algorithm.epsilon == "inside":
            bias = M * (2 * P + Pbar) / (2 * R**3) - (2 * L + Lbar) / (2 * R)
            result.append(-M / R + step_size * bias)
        else:
            bias = M * (2 * P + Pbar) / (2 * (R + eps) ** 2 * R) - (2 * L + Lbar) / (2 * (R + eps))
            result.append(-M / (R + eps) + step_size * bias)
    return result
