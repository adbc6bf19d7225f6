"""Large and small epsilon on the full batch: heavy ball and gradient descent inside Adam and RMSProp, and the sign flow that both follow to first order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.trajectories import iterate
from stepbias.theory import heavy_ball, sign_descent
from stepbias.theory.arithmetic import software
from stepbias.theory.optimizers import Adam, RMSProp
from stepbias.theory.variants import STATEMENT, Variant
from stepbias.verify.experiments.special_cases import UNIT, Group, groups
from stepbias.verify.samples import Samples, Setting, label
from stepbias.verify.sweep import step_ladder, sweep

Floats = NDArray[np.float64]
Pair = Callable[[Group, float, float, Floats], Floats]

_LARGE = 1e3 * 4.0 ** np.arange(6)  # the square of a gradient component is of order 1 to 20
_DECAYS = ((0.5, 0.9), (0.9, 0.5), (0.9, 0.999), (0.8, 0.95))
_PATH = 0.5
# Adam's bias correction of the mean is below rounding from here on: 0.9^400 < 2^-60.
_SETTLED = 400
_HALF = 400


def adam_large_epsilon(variant: str, setting: Setting) -> Samples:
    """Distance of Adam and heavy ball over 1/epsilon, from two equal iterates on once the bias correction is over.

    Variants: heavy ball's step size by another rule (:data:`stepbias.theory.heavy_ball.STEPS`), or "from the first step".
    """
    early = variant == "from the first step"
    rule = heavy_ball.STEPS["" if early else variant]

    def pair(group: Group, beta: float, rho: float, eps: Floats) -> Floats:
        loss, theta0 = group.loss, group.theta0
        h = _PATH * np.sqrt(eps) / (_SETTLED + _HALF)
        adam = iterate(Adam(beta, rho, 0.0, eps), loss, theta0, h, _SETTLED + _HALF)
        step = np.array([rule(beta, root) for root in np.sqrt(eps)]) * h
        first = 0 if early else _SETTLED
        now = adam[:, first]
        before = now if early else adam[:, first - 1]
        return _apart(group, adam[:, first:], before, now, step, beta)

    return _large(setting, "adam, large epsilon", _DECAYS, pair)


def rmsprop_large_epsilon(variant: str, setting: Setting) -> Samples:
    """Distance of RMSProp and gradient descent with step size h / sqrt(epsilon), over 1/epsilon, from the first step on."""
    steps = {
        "": heavy_ball.STEPS[""],
        "step h / epsilon": heavy_ball.STEPS["step h (1 - beta) / epsilon"],
    }

    def pair(group: Group, beta: float, rho: float, eps: Floats) -> Floats:
        h = _PATH * np.sqrt(eps) / _HALF
        found = iterate(RMSProp(rho, 0.0, eps), group.loss, group.theta0, h, _HALF)
        if variant == "step h (1 - rho) / sqrt(epsilon)":
            factor = np.array([heavy_ball.STEPS[""](rho, root) for root in np.sqrt(eps)])
        else:
            factor = np.array([steps[variant](beta, root) for root in np.sqrt(eps)])
        return _apart(group, found, group.theta0, group.theta0, factor * h, 0.0)

    decays = ((0.0, 0.5), (0.0, 0.9), (0.0, 0.999))
    return _large(setting, "rmsprop, large epsilon", decays, pair)


def _apart(
    group: Group, path: Floats, before: Floats, now: Floats, step: Floats, beta: float
) -> Floats:
    """Largest distance of ``path`` (B, n + 1, p) from heavy ball that starts at its first point, coming from ``before``."""
    largest = np.zeros(len(now))
    for n in range(1, path.shape[1]):
        gradient = group.loss.gradient(0, now)
        now, before = now - step[:, None] * gradient + beta * (now - before), now
        largest = np.maximum(largest, np.linalg.norm(path[:, n] - now, axis=1))
    return largest


def _large(
    setting: Setting, name: str, decays: Sequence[tuple[float, float]], pair: Pair
) -> Samples:
    """Lines over 1/epsilon; ``pair`` gives the distance of every lane of a group at decays beta, rho and the lanes' epsilons."""
    numbers = setting.numbers(12, 48, 192)
    eps = _LARGE * 4.0 ** (setting.finer - 1)
    error = np.zeros((len(numbers), len(eps)))
    labels = [""] * len(numbers)
    hard = np.full((len(numbers), 4), np.nan)
    sizes = [(1 + i % 4, 1, i % len(decays)) for i in range(4 * len(decays))]
    for group in groups(setting, name, numbers, sizes):
        beta, rho = decays[group.size[2]]
        count = len(group.rows)
        lanes = Group(
            group.rows,
            group.family,
            group.size,
            group.loss.select(np.repeat(np.arange(count), len(eps))),
            np.repeat(group.theta0, len(eps), axis=0),
        )
        found = pair(lanes, beta, rho, np.tile(eps, count))
        error[group.rows] = found.reshape(count, len(eps))
        hard[group.rows] = beta, rho, eps.min(), np.nan
        for row in group.rows:
            labels[row] = label(
                problem=numbers[row],
                loss=group.family,
                p=group.size[0],
                beta=beta,
                rho=rho,
            )
    return Samples(
        numbers,
        np.array(labels),
        stratum=np.array([f"beta = {b:g}, rho = {r:g}" for b, r in hard[:, :2]]),
        hardness=hard,
        x=np.tile(1.0 / eps, (len(numbers), 1)),
        error=error,
        # some hundred steps, each rounded relative to a position of order one
        floor=np.full(error.shape, 4.0 * (_SETTLED + _HALF) * UNIT),
        # the square of the gradient against epsilon
        memory=np.full(len(numbers), 20.0),
    )


# the sign flow --------------------------------------------------------------------------------------

_HORIZON = 0.5
_STEPS = step_ladder(128, 2048, 0)
_SHARED = _STEPS[0]  # distances are taken at the times that all step sizes share
_SOLVER_STEPS = 512
_FAMILIES = ("sinusoid", "logistic", "log-cosh")
_SIGN_DECAYS = {
    "adam": ((0.5, 0.9), (0.9, 0.5), (0.5, 0.8), (0.0, 0.9)),
    "rmsprop": ((0.0, 0.5), (0.0, 0.8), (0.0, 0.9)),
}
_EPSILONS = (1.0, 0.1)
_DEFAULTS = (0.9, 0.999, 1e-8)


def adam_sign_flow(variant: str, setting: Setting) -> Samples:
    """Distance of Adam, epsilon outside the root, and the sign flow, over h."""
    return _sign("adam", variant, setting)


def rmsprop_sign_flow(variant: str, setting: Setting) -> Samples:
    """Distance of RMSProp, epsilon outside the root, and the sign flow, over h."""
    return _sign("rmsprop", variant, setting)


class _Flow(NamedTuple):
    """The sign flow at the shared times, its solver error, and the largest |D'/D| on it."""

    path: Floats  # (B, _SHARED + 1, p)
    solver: Floats  # (B,)
    drift: Floats  # (B,)


def _settings(algorithm: str) -> list[tuple[float, float, float]]:
    decays = _SIGN_DECAYS[algorithm]
    found = [(beta, rho, eps) for eps in _EPSILONS for beta, rho in decays]
    last = _DEFAULTS if algorithm == "adam" else (0.0, *_DEFAULTS[1:])
    return [*found, last]


@lru_cache(maxsize=16)  # the misprint and its correction are among the variants of the claim
def _sign(algorithm: str, variant: str, setting: Setting) -> Samples:
    settings = _settings(algorithm)
    # twice round the settings, so that each meets several families
    numbers = setting.numbers(2 * len(settings), 6 * len(settings), 24 * len(settings))
    counts = [n * setting.finer for n in _STEPS]
    h = _HORIZON / np.array(counts, dtype=np.float64)
    error, floor = np.zeros((2, len(numbers), len(counts)))
    hard = np.array([(*settings[k % len(settings)], h.min()) for k in numbers]).reshape(-1, 4)
    memory = np.zeros(len(numbers))
    labels = [""] * len(numbers)
    name = f"{algorithm}, sign flow"
    for group in groups(setting, name, numbers, [(3, 1)], _FAMILIES):
        rows = group.rows
        beta, rho, eps = hard[rows, :3].T
        flow = _sign_flow(group, variant, eps, _SOLVER_STEPS * setting.finer)
        optimizer = Adam(beta, rho, eps, 0.0) if algorithm == "adam" else RMSProp(rho, eps, 0.0)
        for k, count in enumerate(counts):
            path = iterate(optimizer, group.loss, group.theta0, h[k], count)
            gap = path[:, :: count // _SHARED] - flow.path
            error[rows, k] = np.linalg.norm(gap, axis=2).max(axis=1)
        size = 1.0 + np.linalg.norm(group.theta0, axis=1)
        floor[rows] = (flow.solver + 2.0 * UNIT * counts[-1] * size)[:, None]
        memory[rows] = np.maximum(1.0 / _HORIZON, flow.drift) / (1.0 - np.maximum(beta, rho))
        for place, row in enumerate(rows):
            labels[row] = label(
                problem=numbers[row], loss=group.family, p=group.size[0], beta=beta[place], rho=rho[place], eps=eps[place]
            )  # fmt: skip
    return Samples(
        numbers,
        np.array(labels),
        pooled=hard[:, 2] > _DEFAULTS[2],
        stratum=np.array([f"beta = {b:g}, rho = {r:g}, epsilon = {e:g}" for b, r, e, _ in hard]),
        hardness=hard,
        x=np.tile(h, (len(numbers), 1)),
        error=error,
        floor=floor,
        memory=memory,
    )


def _sign_flow(group: Group, variant: str, eps: Floats, steps: int) -> _Flow:
    """By the classical Runge-Kutta method with ``steps`` steps; half as many bound the error."""
    fine, coarse = (_solve(group, variant, eps, n) for n in (steps, steps // 2))
    solver = np.linalg.norm(fine - coarse, axis=2).max(axis=1)
    slopes = np.stack([group.loss.gradient(0, point) for point in fine.swapaxes(0, 1)], axis=1)
    change = np.abs(np.diff(np.abs(slopes), axis=1)) * _SHARED / _HORIZON
    drift = (change / (np.abs(slopes[:, 1:]) + eps[:, None, None])).max(axis=(1, 2))
    return _Flow(fine, solver, drift)


def _solve(group: Group, variant: str, eps: Floats, steps: int) -> Floats:
    field = sign_descent.FIELDS[variant]
    size = eps[:, None]

    def rate(theta: Floats) -> Floats:
        return field(group.loss.gradient(0, theta), size)

    h, theta = _HORIZON / steps, group.theta0
    path = [theta]
    for n in range(1, steps + 1):
        a = rate(theta)
        b = rate(theta + 0.5 * h * a)
        c = rate(theta + 0.5 * h * b)
        d = rate(theta + h * c)
        theta = theta + h / 6.0 * (a + 2.0 * b + 2.0 * c + d)
        if n % (steps // _SHARED) == 0:
            path.append(theta)
    return np.stack(path, axis=1)


# steps without memory -------------------------------------------------------------------------------

_MEMORYLESS = {
    "": STATEMENT,
    "no bias term": Variant(bias=0.0),
    "bias term with the other sign": Variant(bias=-1.0),
    "half of the bias term": Variant(bias=0.5),
}


def sign_descent_without_memory(variant: str, setting: Setting) -> Samples:
    """Sign descent without memory (RMSProp with rho = 0, epsilon inside) against its modified equation, over h."""
    numbers = setting.numbers(12, 48, 192)
    counts = [n * setting.finer for n in step_ladder(64, 2048, 0)]
    shape = (len(numbers), len(counts))
    x, error, floor = np.zeros((3, *shape))
    memory = np.zeros(len(numbers))
    labels = [""] * len(numbers)
    eps = np.array([0.1, 0.01])[numbers % 2]
    for group in groups(setting, "sign descent", numbers, [(1, 1), (2, 1), (3, 1)]):
        rows = group.rows
        found = sweep(
            RMSProp(0.0, 0.0, eps[rows]), group.loss, group.theta0, _HORIZON, counts, variant=_MEMORYLESS[variant]
        )  # fmt: skip
        x[rows], error[rows], floor[rows] = found.h, found.error, found.floor
        memory[rows] = found.memory
        for row in rows:
            labels[row] = label(
                problem=numbers[row], loss=group.family, p=group.size[0], rho=0, eps=eps[row]
            )
    none = np.full(len(numbers), np.nan)
    return Samples(
        numbers,
        np.array(labels),
        stratum=np.array([f"epsilon = {e:g}" for e in eps]),
        hardness=np.column_stack([none, np.zeros(len(numbers)), eps, x.min(axis=1, initial=1.0)]),
        x=x,
        error=error,
        floor=floor,
        memory=memory,
    )


def bounded_derivative(variant: str, setting: Setting) -> Samples:
    """Difference quotients of 1 / sqrt(x + epsilon) over x from 1e-40 to 1e6, in 100 digits, against epsilon^(-3/2) / 2."""
    numbers = setting.numbers(16, 64, 256)
    digits = software(100)  # 40 for the smallest x against 1, 40 for the quotient
    x = [digits.real(0), *(digits.real(f"1e{k}") for k in range(-40, 7))]
    left, right, labels = [], [], []
    for k in numbers:
        rng = setting.rng("bounded derivative", int(k))
        eps = 1e-8 if k == 0 else float(10.0 ** rng.uniform(-12.0, 2.0))
        exact = digits.real(eps)
        f = [sign_descent.reciprocal(one, exact, variant or "inside", digits.sqrt) for one in x]
        quotients = [(f[i] - f[i + 1]) / (x[i + 1] - x[i]) for i in range(len(x) - 1)]
        left.append(float(max(quotients)))
        right.append(float(1 / (2 * exact * digits.sqrt(exact))))
        labels.append(label(problem=k, eps=eps))
    return Samples(
        numbers,
        np.array(labels),
        left=np.array(left),
        right=np.array(right),
        # none: the quotient at 0 is below the bound by 1e-40 / epsilon, far above 100 digits, and rounding to doubles is monotone
        uncertainty=np.zeros(len(numbers)),
    )
