"""One straight line of the second order over four decades of h: full batch, random losses of all families, compensated sums.

Two settings of Adam with epsilon inside: (beta, rho, epsilon) = (0.5, 0.7, 1) over the time 2, and (0.9, 0.95, 0.01) over the time 1. The coarsest steps
resolve the memory, h / (1 - rho) = 1/15 and 1/50, with terms of order h^3 that still bend the line; the finest are 10^4 times finer, where the rounding of
the fields is about a hundredth of the error. Beyond the transients the flow is integrated in strides.

Problem 0 has the usual defaults, which no step of its ladder resolves; problem k > 0 the setting k mod 2, the families in turn, each with a size of its own,
and a loss and a normal start that are functions of (seed, k).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import prepare
from stepbias.kernels.drift import iterate_drift
from stepbias.kernels.loss import Loss
from stepbias.kernels.measure import Method, measure
from stepbias.kernels.trajectory import CLASSICAL
from stepbias.theory.optimizers import Adam
from stepbias.theory.variants import LEADING, STATEMENT, Variant
from stepbias.verify.cells import cell_key
from stepbias.verify.experiments.points import DEFAULTS, FAMILIES
from stepbias.verify.samples import Samples, Setting, label
from stepbias.verify.sweep import memory_rate, rounding

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Line(NamedTuple):
    """A setting, its time and its coarsest number of steps."""

    beta: float
    rho: float
    epsilon: float
    horizon: float
    coarsest: int


LINES = (Line(0.5, 0.7, 1.0, 2.0, 100), Line(0.9, 0.95, 1e-2, 1.0, 1000))
REPORTED = Line(*DEFAULTS, 1.0, 1000)
DIMS = (2, 3, 5)
PER_DECADE = 3
_SHORT = 2  # decades of the wrong variants, of the defaults, and of the quick profile
_DECADES = {"quick": _SHORT, "standard": 4, "thorough": 4}
_DRIFT_STEPS = 10_000  # |D'/D| along the iterates does not change with finer ones

WRONG = {
    "no bias": LEADING,
    "the other sign": Variant(bias=-1.0),
    "no L": Variant(L=0.0),
    "no Lbar": Variant(Lbar=0.0),
    "no P": Variant(P=0.0),
    "no Pbar": Variant(Pbar=0.0),
}


def ladder(coarsest: int, decades: int) -> tuple[int, ...]:
    """Step counts, equally spaced in log h."""
    count = decades * PER_DECADE + 1
    return tuple(round(coarsest * 10.0 ** (k / PER_DECADE)) for k in range(count))


def strided(steps: int) -> Method:
    """Two classical steps against one, on every piece or, once the field no longer depends on the step, on some 8 sqrt(steps) parts of the time.

    The solver's error, of order 4, is then the same share of the error that is measured, of order 2, at every h.
    """
    return Method(CLASSICAL, 2, CLASSICAL, 1, max(1, math.isqrt(steps) // 8))


class Group(NamedTuple):
    """Problems with the same setting, family and size."""

    rows: Integers
    line: Line
    family: str
    dim: int
    loss: Loss
    theta0: Floats


def _groups(setting: Setting, numbers: Integers) -> list[Group]:
    keys = [_key(int(k)) for k in numbers]
    found = []
    for key in dict.fromkeys(keys):
        rows = np.array([i for i, other in enumerate(keys) if other == key], dtype=np.int64)
        line, family, dim = key
        every = Loss.random(
            family, dim, problems=int(numbers[rows].max()) + 1,
            seed=cell_key(setting.seed, "four-decades", 0),
        )  # fmt: skip
        theta0 = [setting.rng("four-decades/start", int(k)).normal(size=dim) for k in numbers[rows]]
        found.append(Group(rows, line, family, dim, every.select(numbers[rows]), np.array(theta0)))
    return found


def _key(k: int) -> tuple[Line, str, int]:
    if k == 0:
        return REPORTED, FAMILIES[0], DIMS[0]
    turn = (k - 1) // len(LINES) % len(FAMILIES)
    return LINES[k % len(LINES)], FAMILIES[turn], DIMS[turn % len(DIMS)]


class Measured(NamedTuple):
    """A group's errors and their floors, (B, H), and its memory rate (B,)."""

    error: Floats
    floor: Floats
    memory: Floats


def _measured(group: Group, counts: tuple[int, ...], variant: Variant) -> Measured:
    line = group.line
    optimizer = Adam(line.beta, line.rho, 0.0, line.epsilon)
    errors, floors = [], []
    for n in counts:
        h = line.horizon / n
        ensemble = prepare(optimizer, group.loss, group.theta0, h, n, None, "cpu")
        found = measure(ensemble, n, variant, method=strided(n))
        errors.append(found.error)
        floors.append(found.solver + rounding(found.size, line.horizon, found.root, np.zeros(1)))
    n = max(m for m in counts if m <= _DRIFT_STEPS)
    ensemble = prepare(optimizer, group.loss, group.theta0, line.horizon / n, n, None, "cpu")
    drift = np.maximum(iterate_drift(ensemble, n), found.drift)
    decay = np.full(len(drift), max(line.beta, line.rho))
    return Measured(
        np.stack(errors, axis=1), np.stack(floors, axis=1), memory_rate(drift, decay, line.horizon)
    )


def line(variant: str, setting: Setting) -> Samples:
    """Error of the statement against h; wrong variants on two decades, of the cheaper setting and of one problem of the other."""
    numbers = setting.numbers(7, 49, 97)
    if variant:
        numbers = numbers[(numbers % len(LINES) == 0) & (numbers > 0) | (numbers == 1)]
    columns = ladder(1, _DECADES[setting.profile])
    total = len(numbers)
    x, error, floor = np.full((3, total, len(columns)), np.nan)
    memory = np.empty(total)
    labels, strata, hardness = [""] * total, [""] * total, np.empty((total, 4))
    for group in _groups(setting, numbers):
        short = bool(variant) or group.line == REPORTED
        counts = ladder(group.line.coarsest, _SHORT if short else _DECADES[setting.profile])
        found = _measured(group, counts, WRONG.get(variant, STATEMENT))
        given, used = group.line, len(counts)
        x[group.rows, :used] = given.horizon / np.array(counts, dtype=np.float64)
        error[group.rows, :used], floor[group.rows, :used] = found.error, found.floor
        memory[group.rows] = found.memory
        settings = label(beta=given.beta, rho=given.rho, epsilon=given.epsilon)
        for i in group.rows:
            labels[i] = f"{settings} {label(family=group.family, p=group.dim)}"
            strata[i] = settings
            hardness[i] = (given.beta, given.rho, given.epsilon, np.nanmin(x[i]))
    return Samples(
        numbers=numbers,
        labels=np.array(labels, dtype=np.str_),
        stratum=np.array(strata, dtype=np.str_),
        hardness=hardness,
        pooled=numbers != 0,
        x=x,
        error=error,
        floor=floor,
        memory=memory,
    )
