"""The constant C(epsilon, beta, rho, T) of the distance between iterates and flow, measured, and how it grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.optimizers import Adam
from stepbias.theory.validity_claims import GROWTH
from stepbias.verify.cells import Cell, cell_key
from stepbias.verify.problems import draw
from stepbias.verify.samples import Samples, Setting, label
from stepbias.verify.sweep import sweep

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_HORIZON = 0.5
_COUNTS = (20, 32, 64)
_DEFAULTS = "(beta, rho, eps) = (0.9, 0.999, 1e-08)"
# Steps of the coarsest of three runs: of the layer sqrt(epsilon), counted in memories; of the path, counted in memories; of the path.
_LAYER, _MEMORIES, _STEPS = 24.0, 64, 2000


class _Problems(NamedTuple):
    numbers: Integers
    loss: Any
    theta0: Floats
    excluded: dict[str, int]


def _problems(setting: Setting, kind: str, beta: float, rho: float, epsilon: float) -> _Problems:
    """Draws of random sinusoid losses, full batch, that cross (kind "resolving-step") or stay away from (kind "no-sign-change") gradient components 0."""
    numbers, wanted = setting.numbers(*_COUNTS), setting.count(*_COUNTS)
    place = "inside" if kind == "resolving-step" else "outside"
    key = cell_key(setting.seed, f"validity/{kind}", 0)
    cell = Cell(
        0, kind, "sinusoid", 3, 1, "cyclic", beta, rho, epsilon, place, "adam", _HORIZON, wanted, key, (1,), True
    )  # fmt: skip
    drawn = draw(cell)
    found = min(len(drawn.numbers), wanted)
    kept = numbers[numbers < found]
    loss = drawn.loss.select(kept) if len(kept) else drawn.loss
    return _Problems(kept, loss, drawn.theta0[kept], dict(drawn.excluded))


def constant(
    optimizer: Any, loss: Any, theta0: Floats, horizon: float, steps: int
) -> tuple[Floats, Floats]:
    """C and a bound on its error, (B,) each: Richardson's extrapolation of error / h^2 at ``steps`` and 2 and 4 times as many.

    The bound is the change that the finest step made to the extrapolated value, three times the error that is left if the next term is O(h^2), plus what
    solver and rounding leave.
    """
    found = sweep(optimizer, loss, theta0, horizon, (steps, 2 * steps, 4 * steps))
    ratio = found.error / found.h**2
    doubt = found.floor / found.h**2
    last, before = 2.0 * ratio[:, 2] - ratio[:, 1], 2.0 * ratio[:, 1] - ratio[:, 0]
    return last, np.abs(last - before) + 2.0 * doubt[:, 2] + doubt[:, 1]


def _constants(
    problems: _Problems, settings: Sequence[tuple[Adam, float, int]]
) -> tuple[Floats, Floats]:
    """C and its doubt at every (optimizer, horizon, steps), (B, S) each."""
    if not len(problems.numbers):
        return np.empty((0, len(settings))), np.empty((0, len(settings)))
    pairs = [constant(o, problems.loss, problems.theta0, T, n) for o, T, n in settings]
    return np.stack([c for c, _ in pairs], axis=1), np.stack([d for _, d in pairs], axis=1)


def _samples(
    problems: _Problems,
    x: Sequence[float],
    error: Floats,
    floor: Floats,
    words: str,
    **fixed: float,
) -> Samples:
    """Samples of kind "order", and the defaults as a row that is not judged, with the reason."""
    count = len(problems.numbers)
    labels = [label(problem=int(k), **fixed) for k in problems.numbers]
    rows = np.tile(np.asarray(x, dtype=np.float64), (count + 1, 1))
    nothing = np.full((1, len(x)), np.nan)
    hardness = [fixed.get(n, np.nan) for n in ("beta", "rho", "eps")]
    return Samples(
        numbers=np.append(problems.numbers, -1),
        labels=np.array([*labels, "PyTorch's defaults"]),
        pooled=np.array([True] * count + [False]),
        stratum=np.array([""] * count + [f"{_DEFAULTS}: {words}"]),
        hardness=np.tile([*hardness, np.nan], (count + 1, 1)),
        excluded=problems.excluded,
        x=rows,
        error=np.concatenate([error, nothing]),
        floor=np.concatenate([floor, nothing]),
    )


def _layer_steps(epsilon: float, decay: float, finer: int) -> int:
    return round(finer * _HORIZON * _LAYER / ((1.0 - decay) * np.sqrt(epsilon)))


def constant_with_sign_change(variant: str, setting: Setting) -> Samples:
    """1/C over epsilon, beta = rho = 0.8, on paths where a component changes sign."""
    decay = 0.8
    epsilons = [4e-3 * 2.0**-k for k in range(5)]
    problems = _problems(setting, "resolving-step", decay, decay, 2e-4)
    settings = [
        (Adam(decay, decay, 0.0, e), _HORIZON, _layer_steps(e, decay, setting.finer))
        for e in epsilons
    ]
    C, doubt = _constants(problems, settings)
    power = {"": 0.0, "C epsilon^(1/4)": 0.25, "C epsilon^(-1/4)": -0.25}[variant]
    C, doubt = (a * np.array(epsilons) ** power for a in (C, doubt))
    needed = 4 * _layer_steps(1e-8, 0.999, 1)
    words = f"needs {needed:.0e} steps for one value of C, and was not run"
    return _samples(
        problems, epsilons, 1.0 / C, doubt / C**2, words, beta=decay, rho=decay, eps=epsilons[-1]
    )


def constant_without_sign_change(variant: str, setting: Setting) -> Samples:
    """The exponent log(C(epsilon) / C(epsilon')) / log(epsilon' / epsilon), on paths away from components 0."""
    decay, (large, small) = 0.8, (2.5e-5, 6.25e-6)
    kind = "resolving-step" if variant else "no-sign-change"
    problems = _problems(setting, kind, decay, decay, 2e-4)
    steps = setting.finer * (_layer_steps(small, decay, 1) if variant else _STEPS)
    C, doubt = _constants(
        problems, [(Adam(decay, decay, 0.0, e), _HORIZON, steps) for e in (large, small)]
    )
    ratio = np.log(large / small)
    return Samples(
        numbers=problems.numbers,
        labels=np.array(
            [label(problem=int(k), kind=kind, beta=decay, rho=decay) for k in problems.numbers]
        ),
        hardness=np.tile([decay, decay, small, np.nan], (len(problems.numbers), 1)),
        excluded=problems.excluded,
        left=np.abs(np.log(C[:, 1] / C[:, 0])) / ratio,
        right=np.full(len(C), GROWTH),
        uncertainty=np.sum(doubt / C, axis=1) / ratio,
    )


def constant_in_memory(variant: str, setting: Setting) -> Samples:
    """1/C over 1 - rho, on paths away from components 0."""
    beta, epsilon = 0.5, 1e-2
    rests = [2.0**-k for k in range(3, 8)]
    problems = _problems(setting, "no-sign-change", beta, 0.9, epsilon)
    settings = [
        (Adam(beta, 1.0 - r, 0.0, epsilon), _HORIZON, round(_MEMORIES * setting.finer / r))
        for r in rests
    ]
    C, doubt = _constants(problems, settings)
    power = {"": 0.0, "C (1 - rho)": 1.0, "C / sqrt(1 - rho)": -0.5}[variant]
    C, doubt = (a * np.array(rests) ** power for a in (C, doubt))
    words = f"rho is varied up to {1.0 - rests[-1]:.4g} here, at beta = {beta:g} and epsilon = {epsilon:g}"
    return _samples(
        problems, rests, 1.0 / C, doubt / C**2, words, beta=beta, rho=1.0 - rests[-1], eps=epsilon
    )


def constant_in_horizon(variant: str, setting: Setting) -> Samples:
    """C over the horizon, on paths away from components 0."""
    beta, rho, epsilon = 0.5, 0.9, 1e-2
    horizons = [_HORIZON * 2.0**-k for k in range(4, 11)]
    # few steps: a short path meets rounding
    steps = _STEPS // 4
    problems = _problems(setting, "no-sign-change", beta, rho, epsilon)
    settings = [(Adam(beta, rho, 0.0, epsilon), T, steps * setting.finer) for T in horizons]
    C, doubt = _constants(problems, settings)
    factor = {"": 0.0, "C T": 1.0, "C / sqrt(T)": -0.5}[variant]
    C, doubt = (a * np.array(horizons) ** factor for a in (C, doubt))
    words = f"a horizon has to be long against the memory of 1000 steps: {400 * steps:.0e} steps, not run"
    return _samples(problems, horizons, C, doubt, words, beta=beta, rho=rho, eps=epsilon)
