"""Amplitude of Adam's stable oscillation: over the step size on random losses, over 1 - beta against its closed form."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.kernels.trajectories import iterate
from stepbias.theory import late_phase
from stepbias.theory.optimizers import Adam
from stepbias.theory.regimes_claims import (
    AMPLITUDE_FACTOR,
    HIGHER_ORDER,
    LOWER_ORDER,
    OTHER_SIGN,
    WITHOUT_MODULATION,
)
from stepbias.verify.experiments.regimes import FAMILIES, NO_MINIMUM, minimum_near
from stepbias.verify.samples import Samples, Setting, label

Floats = NDArray[np.float64]

_UNIT = 2.0**-53
_DEFAULTS = "(beta, rho, eps) = (0.9, 0.999, 1e-08)"

# excess over h ----------------------------------------------------------------------------------------

_EQUAL = (0.9, 0.95, 0.5)
_STEP_SIZES = tuple(0.02 * 2.0**-k for k in range(5))
# Late phases that start h z from a minimum, z the same for all h: there are several states of oscillation, and which one is reached depends on the start.
_FAR, _STEPS, _DIM = 10.0, 40_000, 4
_SEARCH = (Adam(0.9, 0.9, 1e-12), 0.01, 3000)  # the run near whose end the minimum is looked for
_TINY = 1e-12  # epsilon
_COUNTS = (9, 45, 180)


def _weights(count: int) -> Floats:
    """Hann window with sum 1: frequencies that do not fit the window leave next to nothing in a mean."""
    weight = np.hanning(count)
    return np.asarray(weight / weight.sum())


def _draws(
    setting: Setting, name: str, numbers: list[int], family: str, dim: int
) -> tuple[Loss, Floats]:
    """Losses and starts of the problems ``numbers``, each a function of the seed, the name and its number only."""
    seed = int(setting.rng(f"{name}/{family}", 0).integers(2**62))
    every = Loss.random(family, dim, problems=max(numbers) + 1, seed=seed)
    starts = [setting.rng(f"{name}/{family}/start", k).normal(size=dim) for k in numbers]
    return every.select(np.array(numbers, dtype=np.int64)), np.array(starts)


@lru_cache(maxsize=1024)
def _ladder(seed: int, k: int, finer: int) -> tuple[Floats, Floats]:
    """Mean excess of problem k at every step size, and its error, (H,) each: a function of the arguments.

    The error is half of the difference of the means over the two halves of the late phase, and rounding.
    """
    decay, family = _setting_of(k)
    loss, theta0 = _draws(Setting(seed=seed), "regimes/excess", [k], family, _DIM)
    search, step, steps = _SEARCH
    lowest = minimum_near(loss, iterate(search, loss, theta0, step, steps)[:, -1])
    if not lowest.found[0]:
        nothing = np.full(len(_STEP_SIZES), np.nan)
        return nothing, nothing
    offset = _FAR * Setting(seed=seed).rng("regimes/excess/offset", k).normal(size=_DIM)
    h = np.array(_STEP_SIZES) / finer
    starts = lowest.place + h[:, None] * offset
    copies = loss.select(np.zeros(len(h), dtype=np.int64))
    path = iterate(Adam(decay, decay, _TINY), copies, starts, h, _STEPS)[:, _STEPS // 2 :]
    distance = path - lowest.place
    # the loss itself would round: it is as large as one, its excess as h^2
    hessian = loss.hessian(0, lowest.place)[0]
    excess = 0.5 * np.sum((distance @ hessian) * distance, axis=-1)
    whole, first, second = (
        part @ _weights(part.shape[1]) for part in (excess, *np.array_split(excess, 2, axis=1))
    )
    rounded = 8.0 * _UNIT * np.abs(path).max() / np.abs(distance).max(axis=(1, 2))
    return whole, 0.5 * np.abs(first - second) + rounded * whole


def _setting_of(k: int) -> tuple[float, str]:
    """Decay and family of problem k."""
    return _EQUAL[k % len(_EQUAL)], FAMILIES[k // len(_EQUAL) % len(FAMILIES)]


def excess(variant: str, setting: Setting) -> Samples:
    """Mean excess loss of the late oscillation over h, rho = beta."""
    power = {"": 0.0, "proportional to h": 1.0, "proportional to h^3": -1.0}[variant]
    numbers = setting.numbers(*_COUNTS)
    sizes = np.array(_STEP_SIZES) / setting.finer
    nothing = np.full((1, len(sizes)), np.nan)
    found = [_ladder(setting.seed, int(k), setting.finer) for k in numbers]
    error = np.concatenate([*(mean[None] for mean, _ in found), nothing]) * sizes**power
    floor = np.concatenate([*(doubt[None] for _, doubt in found), nothing]) * sizes**power
    cases = [_setting_of(int(k)) for k in numbers]
    lost = np.isnan(error[:-1]).any(axis=1)
    kept = np.append(~lost, True)
    words = f"{_DEFAULTS}: has spikes, no oscillation of a fixed amplitude"
    labels = [
        label(problem=k, loss=f, beta=d, rho=d) for k, (d, f) in zip(numbers, cases, strict=True)
    ]
    hardness = [[d, d, _TINY, sizes[-1]] for d, _ in cases]
    return Samples(
        numbers=np.append(numbers, -1)[kept],
        labels=np.array([*labels, "PyTorch's defaults"])[kept],
        pooled=np.array([True] * len(numbers) + [False])[kept],
        stratum=np.array([f"beta = rho = {d:g}" for d, _ in cases] + [words])[kept],
        hardness=np.array([*hardness, [0.9, 0.999, 1e-8, np.nan]])[kept],
        excluded={NO_MINIMUM: int(lost.sum())} if lost.any() else {},
        x=np.tile(sizes, (int(kept.sum()), 1)),
        error=error[kept],
        floor=floor[kept],
    )


# amplitude over 1 - beta ------------------------------------------------------------------------------

_RATIOS = (1.0, 0.5, 1.5, 3.0)
_REST = tuple(0.1 * 2.0**-k for k in range(5))
_STEP, _EPSILON = 0.01, 1e-16
_NUMBERS = (8, 36, 144)
# Steps: of the descent, and in units of 1/(1 - beta): until a disturbance has died out, at the rate min(r, 1) (1 - beta)/2 or more, and of the window.
_DESCENT, _SETTLE, _WINDOW = 4000, 60, 80


def _rms(x: Floats) -> Floats:
    """Root mean square about the mean, in a Hann window."""
    weight = _weights(x.shape[-1])
    centre = x @ weight
    return np.asarray(np.sqrt((x - centre[..., None]) ** 2 @ weight))


class _Ladder(NamedTuple):
    """Of one problem at every 1 - beta, (H,) each."""

    rest: Floats
    rms: Floats
    doubt: Floats


@lru_cache(maxsize=1024)
def _measured(seed: int, k: int, finer: int) -> _Ladder:
    """Root mean squares of the late oscillation of problem k: a function of the seed and k."""
    r, family = _case(k)
    loss, theta0 = _draws(Setting(seed=seed), "regimes/amplitude", [k], family, 1)
    rest = np.array(_REST) / finer
    rms, doubt = np.empty((2, len(rest)))
    for column, one in enumerate(rest):
        window = round(_WINDOW / one)
        steps = _DESCENT + round(_SETTLE / (one * min(r, 1.0))) + window
        optimizer = Adam(1.0 - one, 1.0 - r * one, _EPSILON)
        path = iterate(optimizer, loss, theta0, _STEP, steps)[0, -window:, 0]
        halves = [float(_rms(half)) for half in np.array_split(path, 2)]
        rms[column] = _rms(path)
        # a position is rounded to its own size
        doubt[column] = abs(halves[0] - halves[1]) + _UNIT * np.abs(path).max()
    return _Ladder(rest, rms, doubt)


def _case(k: int) -> tuple[float, str]:
    """r and family of problem k."""
    return _RATIOS[k % len(_RATIOS)], FAMILIES[k // len(_RATIOS) % len(FAMILIES)]


def _law(r: float, rest: Floats, variant: str) -> Floats:
    law = np.array([late_phase.oscillation_rms(_STEP, 1.0 - one, 1.0 - r * one) for one in rest])
    wrong = {WITHOUT_MODULATION: 1.0 - r / 8.0, OTHER_SIGN: (8.0 - r) / (8.0 + r)}
    return np.asarray(law * wrong.get(variant, 1.0))


def amplitude(variant: str, setting: Setting) -> Samples:
    """Relative difference of the measured and the derived root mean square at the smallest 1 - beta, against 2 (1 - beta)."""
    return _against_law(variant, setting, 0.0)


def amplitude_error(variant: str, setting: Setting) -> Samples:
    """Relative difference of the measured and the derived root mean square, over 1 - beta at fixed r."""
    return _against_law("", setting, {"": 0.0, LOWER_ORDER: 0.5, HIGHER_ORDER: -0.5}[variant])


def _against_law(variant: str, setting: Setting, power: float) -> Samples:
    numbers = setting.numbers(*_NUMBERS)
    cases = [_case(int(k)) for k in numbers]
    found = [_measured(setting.seed, int(k), setting.finer) for k in numbers]
    laws = [_law(r, one.rest, variant) for (r, _), one in zip(cases, found, strict=True)]
    x = np.tile(np.array(_REST) / setting.finer, (len(numbers) + 1, 1))
    error, floor = np.full((2, *x.shape), np.nan)
    for row, (one, law) in enumerate(zip(found, laws, strict=True)):
        error[row] = np.abs(one.rms / law - 1.0)
        floor[row] = one.doubt / law
    words = (
        f"{_DEFAULTS}: r = 0.01, where the oscillation is hardly damped and spikes take its place"
    )
    last = x[0, -1]
    return Samples(
        numbers=np.append(numbers, -1),
        labels=np.array(
            [label(problem=k, loss=f, r=r) for k, (r, f) in zip(numbers, cases, strict=True)]
            + ["PyTorch's defaults"]
        ),
        pooled=np.array([True] * len(numbers) + [False]),
        stratum=np.array([f"r = {r:g}" for r, _ in cases] + [words]),
        hardness=np.array(
            [[1.0 - last, 1.0 - r * last, _EPSILON, _STEP] for r, _ in cases]
            + [[0.9, 0.999, 1e-8, np.nan]]
        ),
        x=x,
        error=error * x**power,
        floor=floor * x**power,
        left=error[:, -1],
        right=AMPLITUDE_FACTOR * x[:, -1],
        uncertainty=floor[:, -1],
    )
