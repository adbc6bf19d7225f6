"""What the modified equation says of Adam on the bilinear model: the rate of the imbalance, and the one-norm of the gradient at matched loss."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.trajectories import flow, global_error, iterate, vector_field
from stepbias.theory import bilinear_path
from stepbias.theory.bilinear_claims import LEADING, SETTLED, SWAPPED
from stepbias.theory.optimizers import Adam
from stepbias.verify.matched_loss import LEVEL, PAPER, Model, Passage, draw, passage
from stepbias.verify.samples import Samples, Setting, label

Floats = NDArray[np.float64]

_ROUNDING = 2.0**-53
_EPSILON, _DEFAULT_EPSILON = 1e-6, 1e-8

_RATE_STEPS = (1, 3, 10, 100, 1000, 10000)
_RATE_DECAYS = (0.0, 0.5, 0.9, 0.99, 0.999)


def imbalance_rate(variant: str, setting: Setting) -> Samples:
    """The field's rate of abs(theta_1) - abs(theta_2) against its closed form.

    Number 0 and every eighth after it: PyTorch's (0.9, 0.999, 1e-8), epsilon inside; the others with an epsilon that is 0 but for the name.
    """
    name = "bilinear/imbalance-rate"
    numbers = setting.numbers(48, 400, 2000)
    labels, left, right, scale, hardness = ([] for _ in range(5))
    for number in numbers:
        rng = setting.rng(name, int(number))
        model = PAPER if number == 0 else draw(rng)
        beta, rho = rng.choice(_RATE_DECAYS, 2, replace=False)
        n, h, epsilon = int(rng.choice(_RATE_STEPS)), 10.0 ** rng.uniform(-5.0, -1.0), 1e-40
        if number % 8 == 0:
            beta, rho, n, epsilon = 0.9, 0.999, 1000, _DEFAULT_EPSILON
        elif number % 48 == 1:
            rho = beta  # no bias at all
        optimizer = Adam(beta=beta, rho=rho, eps=0.0, eps_root=epsilon)
        order = 1 if variant == LEADING else 2
        field = vector_field(optimizer, model.loss, model.theta, n, h, order=order)
        measured = float(np.sign(model.theta) @ (field * (1.0, -1.0)))
        pair = (rho, beta) if variant == SWAPPED else (beta, rho)
        steps = 10**6 if variant == SETTLED else n
        stated = bilinear_path.imbalance_rate(*model.theta, steps, h, *pair)
        memory = max(min(n + 1.0, 1.0 / (1.0 - decay)) for decay in (beta, rho))
        # a recursion of m steps rounds three times a step; some 24 operations around it
        relative = _ROUNDING * (3.0 * memory + 24.0)
        # |g| / sqrt(g^2 + epsilon) >= 1 - epsilon / (2 g^2), at most four such factors in a term
        relative += 2.0 * epsilon / _least_square(model)
        labels.append(label(beta=beta, rho=rho, eps=epsilon, n=n, h=h))
        hardness.append((beta, rho, epsilon, h))
        left.append(abs(measured - stated))
        right.append(relative * _rate_size(model, n, h, beta, rho))
        scale.append(abs(stated))
    return Samples(
        numbers=numbers,
        labels=np.array(labels, dtype=np.str_),
        left=np.array(left, dtype=np.float64),
        right=np.array(right, dtype=np.float64),
        scale=np.array(scale, dtype=np.float64),
        uncertainty=np.zeros(len(numbers)),
        hardness=np.array(hardness, dtype=np.float64).reshape(-1, 4),
    )


def _gradient(model: Model) -> Floats:
    return model.loss.gradient(0, np.array(model.theta))


def _least_square(model: Model) -> float:
    return float((_gradient(model) ** 2).min())


def _rate_size(model: Model, n: int, h: float, beta: float, rho: float) -> float:
    """Sum of the moduli of what the field adds up, with the conditioning of the residual: rounding is relative to it."""
    (s, t), x, y = model.theta, model.x, model.y
    entries = np.array([[(x * t) ** 2, abs(2 * x * x * s * t) + abs(x * y)], [0.0, (x * s) ** 2]])
    entries[1, 0] = entries[0, 1]
    ages = sum(min(float(n), decay / (1.0 - decay)) + 0.5 for decay in (beta, rho))
    condition = (abs(x * s * t) + abs(y)) / abs(x * s * t - y)
    terms = 1.0 + h * ages * entries.sum(axis=1) / np.abs(_gradient(model))
    return float(terms.sum() * (1.0 + condition))


# (beta, rho, epsilon), number of steps on the way to the level at the finest, pooled: 200 memories and more, and 16 of PyTorch's.
_SETTINGS = (
    (0.9, 0.95, _EPSILON, 4096, True),
    (0.5, 0.7, _EPSILON, 2048, True),
    (0.95, 0.8, _EPSILON, 4096, True),
    (0.9, 0.999, _DEFAULT_EPSILON, 16384, False),
)
_LADDER = 6
_SOLVER = 3  # the rung at which the solver's error is measured
# Polynomials of degree 5 against 3 through the steps: linear ones err by O(h^2) themselves.
_DEGREE = 2
_SUBSTEPS = 2  # Runge-Kutta steps of `flow` on a piece


def flow_at_matched_loss(variant: str, setting: Setting) -> Samples:
    """One-norm at matched loss, iterates against the modified equation, over step sizes.

    The model is the papers', the starts are drawn (number 0 to 3: the papers'): other x and y are other units of theta and of the loss, which epsilon
    alone can tell. PyTorch's settings are measured on one start, in "thorough" on eight.
    """
    each = len(_SETTINGS)
    numbers = setting.numbers(8 * each, 40 * each, 200 * each)
    kept = 8 if setting.profile == "thorough" else 1
    parts = []
    for which, (beta, rho, epsilon, finest, pooled) in enumerate(_SETTINGS):
        mine = [int(k) for k in numbers[numbers % each == which] if pooled or k < kept * each]
        if mine:
            adam = Adam(beta=beta, rho=rho, eps=0.0, eps_root=epsilon)
            models = [_start(setting, number // each) for number in mine]
            counts = finest * setting.finer // 2 ** np.arange(_LADDER)[::-1]
            error, floor = _ladder(variant, models, adam, counts)
            times = np.array([model.time() for model in models])
            memory = 1.0 / (1.0 - max(beta, rho)) / times
            parts.append(
                Samples(
                    numbers=np.array(mine),
                    labels=np.array([_settings(adam, model) for model in models]),
                    pooled=np.full(len(mine), pooled),
                    stratum=np.array([label(beta=beta, rho=rho, eps=epsilon)] * len(mine)),
                    group=np.array(mine) // each,
                    memory=memory,
                    x=times[:, None] / counts,
                    error=error,
                    floor=floor,
                    hardness=np.array([(beta, rho, epsilon, t / counts[-1]) for t in times]),
                )
            )
    return _joined(parts)


def _start(setting: Setting, k: int) -> Model:
    if k == 0:
        return PAPER
    return draw(setting.rng("bilinear/flow-at-matched-loss", k), like=PAPER)


def _settings(adam: Adam, model: Model) -> str:
    s, t = model.theta
    return label(beta=adam.beta, rho=adam.rho, eps=adam.eps_root, start=f"({s:.4g}, {t:.4g})")


def _ladder(
    variant: str, models: list[Model], adam: Adam, counts: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Differences of the two one-norms and what is known to be wrong with them, (B, H) each, one problem a lane."""
    stated = adam
    if variant == SWAPPED:
        stated = Adam(beta=adam.rho, rho=adam.beta, eps=0.0, eps_root=adam.eps_root)
    order = 1 if variant == LEADING else 2
    loss, starts = PAPER.loss, np.array([model.theta for model in models])
    times = np.array([model.time() for model in models])
    error, floor = np.full((2, len(models), len(counts)), np.nan)
    solver: dict[int, tuple[float, int]] = {}
    for j, count in enumerate(counts):
        h, steps = times / count, 2 * int(count)
        discrete = iterate(adam, loss, starts, h, steps)
        continuous = flow(stated, loss, starts, h, steps, order=order)
        for i, model in enumerate(models):
            pair = _passages(discrete[i], continuous[i], model)
            if pair is not None:
                one, other = pair
                error[i, j] = abs(one.norm - other.norm)
                floor[i, j] = one.uncertainty + other.uncertainty
                if j >= _SOLVER and i not in solver:
                    moved = _solver_error(stated, model, float(h[i]), int(one.steps), order)
                    solver[i] = moved, int(count)
    for i, (moved, count) in solver.items():
        ratio = count / counts
        # order 4, and towards finer steps no more than 3 is relied on
        floor[i] += moved * np.maximum(ratio**3, ratio**4)
    return error, floor


def _passages(discrete: Floats, continuous: Floats, model: Model) -> tuple[Passage, Passage] | None:
    """Both passages, or None where a trajectory overflows, does not come down to the level, or a component of the gradient changes sign on the way."""
    if not (np.isfinite(discrete).all() and np.isfinite(continuous).all()):
        return None
    one, other = (passage(path, model, finer=_DEGREE) for path in (discrete, continuous))
    if one is None or other is None or not (one.one_sided and other.one_sided):
        return None
    return one, other


def _solver_error(adam: Adam, model: Model, h: float, steps: int, order: int) -> float:
    """Estimate of what the flow's solver adds to the one-norm: what twice as many Runge-Kutta steps change in the distance to the iterates."""
    rough, fine = (
        float(global_error(adam, model.loss, model.theta, h, steps, order=order, substeps=k))
        for k in (_SUBSTEPS, 2 * _SUBSTEPS)
    )
    # at a given product the sum of the moduli moves at most as their difference does: sqrt(2) times a distance in the plane
    moved = math.sqrt(2.0) * abs(rough - fine)
    return bilinear_path.one_norm_at(model.x, model.level(LEVEL), moved)


def _joined(parts: list[Samples]) -> Samples:
    """One record, in the order of the numbers."""
    if not parts:  # a replay of a number that is not measured
        return Samples(numbers=np.empty(0, dtype=np.int64), labels=np.empty(0, dtype=np.str_))
    order = np.argsort(np.concatenate([part.numbers for part in parts]))
    names = ("numbers", "labels", "pooled", "stratum", "group", "memory", "x", "error", "floor", "hardness")  # fmt: skip
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])[order] for name in names
    }
    return Samples(**columns)
