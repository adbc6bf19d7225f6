"""One epoch of SGD in the mean over its orders, against the flow of the modified loss at time m h.

All m! orders are walked up to m = 7; beyond, random orders, each forwards and backwards, with a statistical interval. On one-dimensional quadratics the mean
over all orders is known exactly for any m, and is evaluated in 60 digits.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.descent import displacement
from stepbias.kernels.epoch_mean import EpochMean, epoch_mean
from stepbias.theory import shuffling
from stepbias.theory.arithmetic import software
from stepbias.verify.experiments.special_cases import UNIT, Group, groups, smallest_caught
from stepbias.verify.samples import Samples, Setting, label

Floats = NDArray[np.float64]

_BATCHES = (2, 3, 4, 5, 7)
_TIMES = 0.2 / 2.0 ** np.arange(7)  # of one epoch, m h
_SUBSTEPS = 16
_MORE_BATCHES = (12, 24)
_ORDERS = 256
# Of a normal variable, beyond which less than one in a million lies; the mean of 256 samples or more is close to one.
_SIGMAS = 5.0
_BOX = 0.1
_SHARE = 0.01
_DIGITS = 60
_COPIES = (4, 8, 16, 32, 64, 128, 256)
_TERMS = 20  # (m h max|a|)^20 / 20! < 1e-87
# With k copies the distance is k^2 double - k single: draws where the ratio of the two is larger show their power only beyond m = 1024.
_LARGEST_CORRECTION = 4.0
_SMALL_STEP = "1e-7"  # over an epoch of 1024 steps the terms beyond h^3 are 1e-4 of it
# Central differences of order 4 for third derivatives: truncation step^4, rounding 10 UNIT / step.
_DIFFERENCE = 1e-3


def epoch_order(variant: str, setting: Setting) -> Samples:
    """Distance of mean and flow over h, at fixed m."""
    return _orders(variant, "", setting, third_order=False)


def epoch_coefficient(variant: str, setting: Setting) -> Samples:
    """What is left of the distance when h^3 times the derived coefficient is taken off, over h."""
    return _orders("", variant, setting, third_order=True)


@lru_cache(maxsize=16)  # the misprint and its correction are among the variants of the claim
def _orders(field: str, defect: str, setting: Setting, third_order: bool) -> Samples:
    numbers = setting.numbers(12, 60, 240)
    times = _TIMES / setting.finer
    x, error, floor = np.zeros((3, len(numbers), len(times)))
    batches = np.zeros(len(numbers), dtype=np.int64)
    labels = [""] * len(numbers)
    parts = ("double sum", "single sum") if third_order else ("bias",)
    caught = {part: np.full(len(numbers), np.nan) for part in parts}
    sizes = [(1 + i % 4, _BATCHES[i % len(_BATCHES)]) for i in range(20)]
    for group in groups(setting, "epoch", numbers, sizes):
        dim, m = group.size
        h = times / m
        orders = shuffling.all_orders(m)
        mean = [epoch_mean(group.loss, group.theta0, step, orders).mean for step in h]
        gap = _gaps(group, field, mean, h)
        x[group.rows], batches[group.rows] = h, m
        moved: dict[str, Floats] = {}
        if third_order:
            found = _third_order(group)
            double, single = shuffling.DEFECTS[defect]
            cubes = h[:, None] ** 3
            gap -= cubes * (double * found.double + single * found.single)[:, None]
            if not defect:
                moved = {
                    "double sum": cubes * found.double[:, None],
                    "single sum": -cubes * found.single[:, None],
                }
        elif not field:
            moved = {"bias": _gaps(group, "no bias term", mean, h) - gap}
        for part, response in moved.items():
            expected, memory = 4.0 if third_order else 3.0, np.full(len(gap), float(m))
            caught[part][group.rows] = smallest_caught(h, gap, response, expected, memory)
        error[group.rows] = np.linalg.norm(gap, axis=2)
        floor[group.rows] = _rounding(group, h)
        for row in group.rows:
            labels[row] = label(problem=numbers[row], loss=group.family, p=dim, m=m)
    none = np.full((len(numbers), 3), np.nan)
    return Samples(
        numbers,
        np.array(labels),
        stratum=np.array([f"m = {m}" for m in batches]),
        hardness=np.column_stack([none, x.min(axis=1, initial=np.inf)]),
        x=x,
        error=error,
        floor=floor,
        # an epoch of length one is the time scale
        memory=batches.astype(np.float64),
        caught={part: v for part, v in caught.items() if not np.all(np.isnan(v))},
    )


def _gaps(group: Group, field: str, mean: list[Floats], h: Floats) -> Floats:
    """Mean minus flow, (len(rows), H, p)."""
    m = group.size[1]
    weights = shuffling.mean_field(field, m)
    flows = [
        displacement(group.loss, group.theta0, step, m * step, *weights, _SUBSTEPS) for step in h
    ]
    return np.stack([a - b for a, b in zip(mean, flows, strict=True)], axis=1)


def _rounding(group: Group, h: Floats) -> Floats:
    """(len(rows), H): solver and rounding error of mean and flow.

    The solver: 16 classical Runge-Kutta steps against 8. Rounding: about ten roundings of every gradient over the time m h; displacements, not positions, are
    averaged and compared.
    """
    m = group.size[1]
    weights = shuffling.mean_field("", m)
    out = np.zeros((len(group.rows), len(h)))
    size = 1.0 + np.linalg.norm(group.theta0, axis=1)
    size += sum(np.linalg.norm(group.loss.gradient(b, group.theta0), axis=1) for b in range(m)) / m
    for k, step in enumerate(h):
        fine, coarse = (
            displacement(group.loss, group.theta0, step, m * step, *weights, substeps)
            for substeps in (_SUBSTEPS, _SUBSTEPS // 2)
        )
        out[:, k] = np.linalg.norm(fine - coarse, axis=1) + 16.0 * UNIT * size * m * step
    return out


def _third_order(group: Group) -> shuffling.Defect:
    loss, theta0, m = group.loss, group.theta0, group.size[1]
    g = np.stack([loss.gradient(b, theta0) for b in range(m)])
    hessians = np.stack([loss.hessian(b, theta0) for b in range(m)])

    def third(a: int, u: Floats, v: Floats) -> Floats:
        def near(side: float) -> Floats:
            step = side * _DIFFERENCE
            change = loss.hvp(a, theta0 + step * v, u) - loss.hvp(a, theta0 - step * v, u)
            return np.asarray(change / (2.0 * step))

        return (4.0 * near(1.0) - near(2.0)) / 3.0

    return shuffling.third_order(g, hessians, third)


def epoch_growth(variant: str, setting: Setting) -> Samples:
    """Distance of mean and flow over (m h)^3, against 1/m at one small h: one-dimensional quadratics, k = 4, 8, .., 256 copies of four batches."""
    numbers = setting.numbers(12, 36, 144)
    digits = software(_DIGITS)
    h = digits.real(_SMALL_STEP)
    rows, labels, kept = [], [], []
    for k in numbers:
        rng = setting.rng("epoch growth", int(k))
        # doubles as exact numbers: the whole of the rest is in 60 digits
        a = [digits.real(float(v)) for v in rng.uniform(-2.0, 2.0, 4)]
        c = [digits.real(float(v)) for v in rng.normal(size=4)]
        theta = digits.real(float(rng.normal()))
        double, single = shuffling.quadratic_defect(shuffling.Quadratics(a, c, 1), theta)
        if abs(single) > _LARGEST_CORRECTION * abs(double):
            continue
        row = []
        for copies in _COPIES:
            losses = shuffling.Quadratics(a, c, copies)
            time = losses.batches * h
            rate, drift = shuffling.quadratic_rates(variant, losses, h)
            decayed = digits.exp(-rate * time)
            flow = theta * decayed - drift / rate * (1 - decayed)
            gap = shuffling.quadratic_mean(losses, theta, h, _TERMS) - flow
            row.append(float(abs(gap) / time**3))
        kept.append(k)
        rows.append(row)
        labels.append(label(problem=k, m="16..1024", h=float(h)))
    error = np.array(rows).reshape(len(kept), len(_COPIES))
    x = np.tile(1.0 / (4.0 * np.array(_COPIES)), (len(kept), 1))
    dropped = len(numbers) - len(kept)
    return Samples(
        np.array(kept, dtype=np.int64),
        np.array(labels, dtype=np.str_),
        excluded={"the double sum nearly vanishes": dropped} if dropped else {},
        x=x,
        error=error,
        # the numbers leave 60 digits as doubles
        floor=4.0 * UNIT * error,
        # the correction to the power is single / (double k), at most 16/m
        memory=np.full(len(kept), 4.0 * _LARGEST_CORRECTION),
    )


def epoch_bound(variant: str, setting: Setting) -> Samples:
    """Distance of mean and flow against the proved bound C (m h)^3; m up to 6 by all orders, m = 12 and 24 by random ones.

    The step is h = 0.01 / (C m^2): a field that is wrong at O(h) is then off by m h^2 times its error, 100 times this error in units of the bound.
    """
    numbers = setting.numbers(14, 56, 224)
    left, right, doubt = np.zeros((3, len(numbers)))
    labels = [""] * len(numbers)
    strata = [""] * len(numbers)
    excluded = 0
    kept = np.ones(len(numbers), dtype=np.bool_)
    every = (2, 3, 4, 5, 6, *_MORE_BATCHES)
    sizes = [(1 + i % 4, every[i % len(every)]) for i in range(28)]
    for group in groups(setting, "epoch bound", numbers, sizes):
        dim, m = group.size
        for place, row in enumerate(group.rows):
            one = Group(
                group.rows[place : place + 1],
                group.family,
                group.size,
                group.loss.select([place]),
                group.theta0[place : place + 1],
            )
            norms = _norms(one)
            constant = float(shuffling.remainder_constant(m, 0.0, norms))
            h = _SHARE / (constant * m * m)
            labels[row] = label(
                problem=numbers[row], loss=group.family, p=dim, m=m, h=float(f"{h:.3g}")
            )
            strata[row] = f"m = {m}, {'random orders' if m in _MORE_BATCHES else 'all orders'}"
            kept[row] = m * h * norms[0] * (1.0 + 0.5 * h * norms[1]) <= _BOX
            excluded += not kept[row]
            mean = _mean(one, m, h, setting, int(numbers[row]))
            flow = displacement(
                one.loss, one.theta0, h, m * h, *shuffling.mean_field(variant, m), 4
            )
            left[row] = np.linalg.norm(mean.mean - flow)
            right[row] = shuffling.remainder_constant(m, h, norms) * (m * h) ** 3
            doubt[row] = 16.0 * UNIT * (1.0 + np.linalg.norm(one.theta0) + norms[0]) * m * h
            if m in _MORE_BATCHES:
                doubt[row] += _SIGMAS * np.linalg.norm(mean.error)
    hard = np.full((len(numbers), 4), np.nan)
    return Samples(
        numbers[kept],
        np.array(labels)[kept],
        stratum=np.array(strata)[kept],
        hardness=hard[kept],
        excluded={"leaves the box of its bounds": excluded} if excluded else {},
        left=left[kept],
        right=right[kept],
        uncertainty=doubt[kept],
    )


def _mean(group: Group, m: int, h: float, setting: Setting, number: int) -> EpochMean:
    if m not in _MORE_BATCHES:
        return epoch_mean(group.loss, group.theta0, h, shuffling.all_orders(m))
    rng = setting.rng("epoch bound/orders", number)
    orders = shuffling.random_orders(m, _ORDERS * setting.finer**2, rng)
    return epoch_mean(group.loss, group.theta0, h, orders, both_ways=True)


def _norms(group: Group) -> tuple[float, float, float, float]:
    """Bounds on the norms of the first four derivatives in a box about the start: p^(k/2) times the bound on the partial derivatives of order k."""
    dim = group.size[0]
    found = group.loss.bounds(group.theta0 - _BOX, group.theta0 + _BOX)
    if found is None:
        raise ValueError(f"family {group.family!r} has no bounds on its derivatives")
    first, second, third, fourth = (float(np.max(entry)) for entry in found)
    return dim**0.5 * first, dim * second, dim**1.5 * third, dim**2 * fourth
