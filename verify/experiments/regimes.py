"""Regimes of Adam's late phase: runs labelled from their loss alone, and the share of each label at pairs (beta, rho)."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from stepbias.kernels.loss import Loss
from stepbias.kernels.trajectories import iterate
from stepbias.theory.optimizers import Adam
from stepbias.theory.regimes_claims import (
    ALLOWED,
    APART,
    EXCHANGED,
    LARGE,
    SPIKES,
    STABLE,
    label_of,
)
from stepbias.verify.samples import Samples, Setting, label

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Pair = tuple[float, float]

NO_MINIMUM = "no minimum near the lowest point of the run"
FAMILIES = ("perturbed-quadratic", "log-cosh", "sinusoid")
DEFAULTS: Pair = (0.9, 0.999)
# rho closer to 1 than beta: memories in the ratio 100 and more; exchanged, they are the pairs of the large oscillation
_APART: tuple[Pair, ...] = (DEFAULTS, (0.8, 0.998), (0.7, 0.997), (0.5, 0.995), (0.5, 0.999), (0.95, 0.9995))  # fmt: skip
_LARGE: tuple[Pair, ...] = tuple((rho, beta) for beta, rho in _APART)
_EQUAL: tuple[Pair, ...] = tuple((d, d) for d in (0.9, 0.5, 0.99, 0.8, 0.95, 0.98))
# reported, not judged: no momentum, and memories in the ratio 10
_REPORTED: tuple[Pair, ...] = ((0.0, 0.99), (0.9, 0.99))
_PAIRS = (3, 5, 6)
_RUNS = {"quick": 24, "standard": 64, "thorough": 256}  # of every family
_DIM, _H, _EPSILON = 4, 0.01, 1e-8
_DESCENT, _MEMORIES = 2000, 30
_EVERY = 3  # the loss is read at every third step: no period of the oscillations that were seen
_LEVEL = 0.999
_NEWTON, _NEAR, _CONVEX, _FLAT = 10, 1.0, 1e-6, 1e-9
# A loss is a sum of some dozens of terms of order one: what rounding leaves of its excess, with a wide margin.
_ROUNDING = 2.0**-40


class Minimum(NamedTuple):
    """Minima near given points."""

    place: Floats  # (B, p)
    value: Floats  # (B,)
    found: Bools  # (B,)


def minimum_near(loss: Loss, points: Floats) -> Minimum:
    """Newton's method from every point; found where it ends near, at a vanishing gradient and a positive definite Hessian."""
    place = points.copy()
    for _ in range(_NEWTON):
        step = np.linalg.pinv(loss.hessian(0, place)) @ loss.gradient(0, place)[..., None]
        # a step beyond this is no refinement of a point near a minimum
        place = place - np.clip(step[..., 0], -_NEAR, _NEAR)
    lowest = np.linalg.eigvalsh(loss.hessian(0, place))[:, 0]
    near = np.linalg.norm(place - points, axis=1) < _NEAR
    flat = np.linalg.norm(loss.gradient(0, place), axis=1) < _FLAT
    return Minimum(place, loss.value(0, place), near & flat & (lowest > _CONVEX))


class Trace(NamedTuple):
    """Excess loss over the second half of runs, those with a minimum only."""

    excess: Floats  # (B, K)
    start: Floats  # (B,)
    size: Floats  # (B,): of the losses
    lost: int  # runs without a minimum


def late_excess(
    optimizer: Adam, loss: Loss, theta0: Floats, h: float, steps: int, every: int
) -> Trace:
    """Excess of the loss of every run over the minimum near its lowest point."""
    path = iterate(optimizer, loss, theta0, h, steps)[:, steps // 2 :: every]
    count = len(theta0)
    # a run that overflows counts, with an infinite excess
    over = ~np.isfinite(path).all(axis=(1, 2))
    path[over] = theta0[over, None, :]
    losses = np.stack([loss.select(k).value(0, path[k]) for k in range(count)])
    lowest = minimum_near(loss, path[np.arange(count), losses.argmin(axis=1)])
    kept = lowest.found | over
    start = loss.value(0, theta0) - lowest.value
    excess = losses - lowest.value[:, None]
    excess[over], start[over] = np.inf, 1.0
    size = np.abs(lowest.value) + np.abs(start)
    return Trace(
        np.maximum(excess, _ROUNDING * size[:, None])[kept],
        start[kept],
        size[kept],
        int((~kept).sum()),
    )


class _Counts(NamedTuple):
    labels: Counter[str]
    grown: int  # runs whose median excess is not below that at the start
    runs: int
    lost: int


@lru_cache(maxsize=256)
def _counted(seed: int, each: int, pair: Pair) -> _Counts:
    """Labels of the runs of a pair: a function of the seed, the pair and how many."""
    beta, rho = pair
    steps = _DESCENT + round(_MEMORIES / (1.0 - max(pair)))
    labels, grown, lost = Counter[str](), 0, 0
    for family in FAMILIES:
        # other losses for another number of them: a second look is not to see the first ones again
        rng = Setting(seed=seed).rng(f"regimes/{family}/{beta:g}/{rho:g}/{each}", 0)
        loss = Loss.random(family, _DIM, problems=each, seed=int(rng.integers(2**62)))
        trace = late_excess(
            Adam(beta, rho, _EPSILON), loss, rng.normal(size=(each, _DIM)), _H, steps, _EVERY
        )
        medians = np.median(trace.excess, axis=1)
        labels.update(map(label_of, medians, trace.excess.max(axis=1), trace.start))
        grown += int(np.count_nonzero(medians >= trace.start))
        lost += trace.lost
    return _Counts(labels, grown, sum(labels.values()), lost)


class _Share(NamedTuple):
    other: float
    doubt: float
    pvalue: float


def share_of(count: int, runs: int) -> _Share:
    """Share of runs with another label.

    With the side of its Clopper-Pearson interval that is towards the allowed share, and the chance of so few if the share is the allowed one.
    """
    share = count / runs
    interval = stats.binomtest(count, runs).proportion_ci(_LEVEL, method="exact")
    doubt = interval.high - share if share <= ALLOWED else share - interval.low
    chance = stats.binomtest(count, runs, ALLOWED, alternative="less").pvalue
    return _Share(share, doubt, float(chance))


def _other(pair: Pair, variant: str) -> Pair:
    """The pair that a wrong variant runs in its place."""
    if variant == EXCHANGED:
        return pair[::-1]
    return _APART[_EQUAL.index(pair)] if variant == APART else pair


def _shares(name: str, variant: str, setting: Setting, pairs: tuple[Pair, ...]) -> Samples:
    """Runs that are not labelled ``name``, pair by pair, and PyTorch's defaults as a row that is not judged where they are not among the pairs."""
    numbers = setting.numbers(*_PAIRS)
    chosen = [pairs[k] for k in numbers]
    others = {SPIKES: _REPORTED, STABLE: ()}.get(name, tuple(pair[::-1] for pair in _REPORTED))
    extra = [] if DEFAULTS in chosen else [DEFAULTS]
    extra = [] if setting.only is not None else [*extra, *others]
    each = _RUNS[setting.profile] * setting.finer
    shares, lost = [], 0
    rows = [_other(pair, variant) for pair in chosen] + extra
    for k, at in enumerate(rows):
        found = _counted(setting.seed, each, at)
        hits = (
            found.grown
            if name == _GROWN
            else found.labels[variant if variant in (SPIKES, STABLE, LARGE) else name]
        )
        none = _Share(1.0, np.inf, 1.0)
        shares.append(share_of(found.runs - hits, found.runs) if found.runs else none)
        lost += found.lost if k < len(chosen) else 0
    return Samples(
        numbers=np.append(numbers, np.full(len(extra), -1)),
        labels=np.array([label(beta=b, rho=r, eps=_EPSILON, h=_H) for b, r in rows]),
        pooled=np.array([True] * len(chosen) + [False] * len(extra)),
        stratum=np.array([f"beta {b:g}, rho {r:g}" for b, r in rows]),
        hardness=np.array([[b, r, _EPSILON, _H] for b, r in rows]),
        excluded={NO_MINIMUM: lost} if lost else {},
        left=np.array([share.other for share in shares]),
        right=np.full(len(rows), ALLOWED),
        uncertainty=np.array([share.doubt for share in shares]),
        pvalue=np.array([share.pvalue for share in shares]),
    )


_GROWN = "grown"


def spikes(variant: str, setting: Setting) -> Samples:
    """Share of runs without spikes where rho is much closer to 1 than beta."""
    return _shares(SPIKES, variant, setting, _APART)


def stable(variant: str, setting: Setting) -> Samples:
    """Share of runs without a stable small oscillation where rho = beta."""
    return _shares(STABLE, variant, setting, _EQUAL)


def large(variant: str, setting: Setting) -> Samples:
    """Share of runs without a large oscillation where beta is much closer to 1 than rho."""
    return _shares(LARGE, variant, setting, _LARGE)


def divergence(variant: str, setting: Setting) -> Samples:
    """Share of runs whose median excess comes below that at the start where beta is much closer to 1 than rho."""
    return _shares(_GROWN, variant, setting, tuple(sorted(_LARGE)))
