"""Experiments on the bilinear model: one-norms of the gradient at matched loss and the minima that are reached."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.trajectories import iterate
from stepbias.theory.bilinear_claims import REVERSED, SWAPPED
from stepbias.verify.matched_loss import (
    PAPER,
    Case,
    Model,
    Passage,
    draw,
    follow,
)
from stepbias.verify.samples import Samples, Setting, label

Floats = NDArray[np.float64]

_H, _EPSILON, _DEFAULT_EPSILON = 1e-3, 1e-6, 1e-8
_STEP_SIZES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)
# Decays for the pairs of the step-size statements that are drawn, besides the papers' own: memories h/(1 - beta) of up to 0.1, against paths of 0.5 and more.
_DECAYS = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99)
# Pairs whose memory at h = 0.001 is not short against the path, or whose first-order effects nearly cancel: there the rule holds for smaller h only.
_LONG_MEMORY = {1: ((0.995, 0.99), (0.999, 0.9)), -1: ((0.99, 0.995), (0.9, 0.9999))}


class Comparison(NamedTuple):
    """Of two trajectories the statement says which one has the smaller one-norm."""

    smaller: Case
    larger: Case
    what: str


def _case(beta: float, rho: float, h: float = _H, epsilon: float = _EPSILON) -> Case:
    return Case(beta, rho, epsilon, h)


_LARGER_BETA = (
    Comparison(_case(0.99, 0.999), _case(0.9, 0.999), "beta 0.9 -> 0.99"),
    Comparison(_case(0.999, 0.999), _case(0.99, 0.999), "beta 0.99 -> 0.999"),
    Comparison(
        _case(0.99, 0.999, epsilon=_DEFAULT_EPSILON),
        _case(0.9, 0.999, epsilon=_DEFAULT_EPSILON),
        "beta 0.9 -> 0.99, epsilon 1e-8",
    ),
)
_LARGER_RHO = (
    Comparison(_case(0.9, 0.9), _case(0.9, 0.99), "rho 0.9 -> 0.99"),
    Comparison(_case(0.9, 0.99), _case(0.9, 0.999), "rho 0.99 -> 0.999"),
    Comparison(
        _case(0.9, 0.99, epsilon=_DEFAULT_EPSILON),
        _case(0.9, 0.999, epsilon=_DEFAULT_EPSILON),
        "rho 0.99 -> 0.999, epsilon 1e-8",
    ),
)


def _steps(beta: float, rho: float, epsilon: float, sizes: Sequence[float]) -> list[Comparison]:
    """Neighbouring step sizes; which side is smaller is the sign of beta - rho."""
    pairs = []
    for small, large in pairwise(sizes):
        cases = _case(beta, rho, small, epsilon), _case(beta, rho, large, epsilon)
        what = f"h {small:g} -> {large:g}, beta {beta:g} rho {rho:g} eps {epsilon:g}"
        pairs.append(Comparison(*(cases[::-1] if beta > rho else cases), what))
    return pairs


def _exchanged(comparison: Comparison) -> Comparison:
    """The same comparison with the two decays in each other's place."""

    def swap(case: Case) -> Case:
        return case._replace(beta=case.rho, rho=case.beta)

    return comparison._replace(smaller=swap(comparison.smaller), larger=swap(comparison.larger))


def _model(setting: Setting, name: str, k: int) -> Model:
    """Draw number k; number 0 is the papers' model and start."""
    return PAPER if k == 0 else draw(setting.rng(name, k))


class _Row(NamedTuple):
    number: int
    group: int
    label: str
    stratum: str
    hardness: tuple[float, float, float, float]
    left: float
    right: float
    uncertainty: float


def _rows(rows: list[_Row], excluded: Counter[str]) -> Samples:
    """Samples of kind "inequality"."""

    def column(name: str) -> list[Any]:
        return [getattr(row, name) for row in rows]

    return Samples(
        numbers=np.array(column("number"), dtype=np.int64),
        labels=np.array(column("label"), dtype=np.str_),
        stratum=np.array(column("stratum"), dtype=np.str_),
        group=np.array(column("group"), dtype=np.int64),
        hardness=np.array(column("hardness"), dtype=np.float64).reshape(-1, 4),
        left=np.array(column("left"), dtype=np.float64),
        right=np.array(column("right"), dtype=np.float64),
        uncertainty=np.array(column("uncertainty"), dtype=np.float64),
        excluded=dict(excluded),
    )


def _described(model: Model, what: str) -> str:
    s, t = model.theta
    return f"{what}: " + label(x=model.x, y=model.y, start=f"({s:.4g}, {t:.4g})")


def _compared(
    comparison: Comparison, variant: str, model: Model, setting: Setting, *, one_sided: bool = True
) -> tuple[Passage, Passage] | str:
    """Passages of the side that is said to be smaller and of the other, or why there are none."""
    if variant == SWAPPED:
        comparison = _exchanged(comparison)
    found = []
    for case in comparison[:2]:
        place = follow(case, model, finer=setting.finer)
        if place is None:
            return "the loss level is not reached"
        if one_sided and not place.one_sided:
            return "a component of the gradient changes sign"
        found.append(place)
    return (found[1], found[0]) if variant == REVERSED else (found[0], found[1])


def _ordered(
    name: str,
    variant: str,
    setting: Setting,
    draws: tuple[int, int, int],
    of: Any,
    each: int,
    *,
    one_sided: bool = True,
) -> Samples:
    """One-norms at matched loss of ``each`` comparisons on every draw; ``of(k)`` gives those of draw k."""
    rows, excluded = [], Counter[str]()
    for number in setting.numbers(*(each * count for count in draws)):
        k, which = divmod(int(number), each)
        model = (
            _model(setting, name, k) if one_sided else draw(setting.rng(name, k), one_sided=False)
        )
        comparison: Comparison = of(k)[which]
        found = _compared(comparison, variant, model, setting, one_sided=one_sided)
        if isinstance(found, str):
            excluded[found] += 1
            continue
        smaller, larger = found
        rows.append(
            _Row(
                int(number),
                k,
                _described(model, comparison.what),
                comparison.what,
                comparison.larger,
                smaller.norm,
                larger.norm,
                smaller.uncertainty + larger.uncertainty,
            )
        )
    return _rows(rows, excluded)


def larger_beta(variant: str, setting: Setting) -> Samples:
    """One-norms at matched loss for neighbouring beta (Figure 2, left)."""
    return _ordered(
        "bilinear/larger-beta",
        variant,
        setting,
        (12, 60, 300),
        lambda k: _LARGER_BETA,
        len(_LARGER_BETA),
    )


def larger_rho(variant: str, setting: Setting) -> Samples:
    """One-norms at matched loss for neighbouring rho (Figure 2, right)."""
    return _ordered(
        "bilinear/larger-rho",
        variant,
        setting,
        (12, 60, 300),
        lambda k: _LARGER_RHO,
        len(_LARGER_RHO),
    )


def _larger_step(
    name: str, variant: str, setting: Setting, paper: tuple[float, float], sign: int
) -> Samples:
    """Neighbouring step sizes at the papers' decays, at PyTorch's epsilon, at decays that are drawn, and at long memories; beta - rho has the given sign."""
    small, middle, large = _STEP_SIZES[-3:]

    def of(k: int) -> list[Comparison]:
        drawn = setting.rng(f"{name}/decays", k).choice(_DECAYS, 2, replace=False)
        beta, rho = sorted(drawn.tolist(), reverse=sign > 0)
        (pair,) = _steps(beta, rho, _EPSILON, (middle, large))
        return [
            *_steps(*paper, _EPSILON, _STEP_SIZES),
            *_steps(*paper, _DEFAULT_EPSILON, (middle, large)),
            pair._replace(what=f"h {middle:g} -> {large:g}, drawn beta and rho"),
            *(c for long in _LONG_MEMORY[sign] for c in _steps(*long, _EPSILON, (small, middle))),
        ]

    return _ordered(name, variant, setting, (8, 40, 200), of, len(_STEP_SIZES) + 3)


def larger_step_beta_above_rho(variant: str, setting: Setting) -> Samples:
    """One-norms at matched loss for neighbouring step sizes, beta > rho (Figure 3, left)."""
    name = "bilinear/larger-step-beta-above-rho"
    return _larger_step(name, variant, setting, (0.995, 0.75), 1)


def larger_step_rho_above_beta(variant: str, setting: Setting) -> Samples:
    """One-norms at matched loss for neighbouring step sizes, rho > beta (Figure 3, right)."""
    name = "bilinear/larger-step-rho-above-beta"
    return _larger_step(name, variant, setting, (0.9, 0.999), -1)


def other_quadrants(variant: str, setting: Setting) -> Samples:
    """The comparisons of Figure 2 at a tenth of its step size, from starts where a component of the gradient changes sign on the way."""
    h = 0.1 * _H
    comparisons = [
        Comparison(c.smaller._replace(h=h), c.larger._replace(h=h), f"{c.what}, h {h:g}")
        for c in (*_LARGER_BETA, *_LARGER_RHO)
    ]
    return _ordered(
        "bilinear/other-quadrants",
        variant,
        setting,
        (8, 40, 200),
        lambda k: comparisons,
        len(comparisons),
        one_sided=False,
    )


def other_quadrants_large_step(variant: str, setting: Setting) -> Samples:
    """The comparisons of :func:`larger_rho` from starts where a component of the gradient changes sign on the way."""
    return _ordered(
        "bilinear/other-quadrants-large-step",
        variant,
        setting,
        (12, 60, 300),
        lambda k: _LARGER_RHO,
        len(_LARGER_RHO),
        one_sided=False,
    )


def long_memory(variant: str, setting: Setting) -> Samples:
    """The rule of Figure 3 at h = 0.001 for memories that are not short against the path."""
    sizes = _STEP_SIZES[-2:]
    comparisons = [
        c for sign in (1, -1) for pair in _LONG_MEMORY[sign] for c in _steps(*pair, _EPSILON, sizes)
    ]
    return _ordered(
        "bilinear/long-memory",
        variant,
        setting,
        (12, 60, 300),
        lambda k: comparisons,
        len(comparisons),
    )


_REACHED = (
    *_LARGER_BETA,
    *_LARGER_RHO[:2],
    *_steps(0.9, 0.999, _EPSILON, (1e-4, 1e-3)),
    *_steps(0.995, 0.75, _EPSILON, (1e-4, 3e-4)),
)
_LONGEST = 80.0
_SETTLED = 1e-6


def _settle(case: Case, model: Model, finer: int) -> tuple[float, float] | None:
    """Difference of the moduli at the minimum that is reached, and how much it changed over the second half of the run; None if it does not settle."""
    time = 10.0 * finer
    while time <= _LONGEST * finer:
        path = iterate(case.optimizer, model.loss, model.theta, case.h, math.ceil(time / case.h))
        (half_s, half_t), (s, t) = path[len(path) // 2], path[-1]
        reached, before = abs(abs(s) - abs(t)), abs(abs(half_s) - abs(half_t))
        change = abs(reached - before)
        residual = abs(model.y - model.x * s * t)
        if residual <= _SETTLED * abs(model.y) and change <= _SETTLED:
            return reached, change
        time *= 2.0
    return None


def minimum_reached(variant: str, setting: Setting) -> Samples:
    """Difference of the moduli of theta_1 and theta_2 at the minimum that is reached: 0 at the papers' cross."""
    name = "bilinear/minimum-reached"
    each = len(_REACHED)
    rows, excluded = [], Counter[str]()
    for number in setting.numbers(4 * each, 20 * each, 60 * each):
        k, which = divmod(int(number), each)
        model, comparison = _model(setting, name, k), _REACHED[which]
        if variant == SWAPPED:
            comparison = _exchanged(comparison)
        ends = [_settle(case, model, setting.finer) for case in comparison[:2]]
        if ends[0] is None or ends[1] is None:
            excluded["does not settle"] += 1
            continue
        (left, one), (right, other) = ends if variant != REVERSED else ends[::-1]  # type: ignore[misc]
        text = _described(model, comparison.what)
        rows.append(
            _Row(
                int(number),
                k,
                text,
                comparison.what,
                comparison.larger,
                left,
                right,
                one + other,
            )
        )
    return _rows(rows, excluded)
