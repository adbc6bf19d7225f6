"""How fast the field of the full batch comes to its limit for many steps: Adam like n beta^n and n rho^n, RMSProp also like rho^n.

Remarks 3.2 and 4.3 say "rapidly". Their closed forms say how: the mean ages lack (n + 1) decay^(n+1) / (1 - decay^(n+1)) of their limits, and RMSProp's mean
square lacks a share rho^(n+1) of its own. The compiled field is compared with the limit that theory states, at steps n chosen so that the expected difference
falls from 3e-2 to 1e-8.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.trajectories import iterate, vector_field
from stepbias.theory import full_batch, modified_losses
from stepbias.theory.optimizers import Adam, RMSProp
from stepbias.verify.experiments.closed_forms import field_rounding
from stepbias.verify.experiments.points import DEFAULTS, UNIT, Point, Rows, decay, points
from stepbias.verify.samples import Samples, Setting

Floats = NDArray[np.float64]

_TARGETS = np.logspace(-1.5, -8.0, 9)
_H = 1.0  # the bias is exactly proportional to h


def _step_of(size: float, rate: float, aged: bool) -> int:
    """The n with n rate^n (or rate^n) = size, on the falling side."""
    slope = -math.log(rate)
    n = -math.log(size) / slope
    for _ in range(50 if aged else 0):  # n = (log n - log size) / slope contracts for n slope > 1
        n = (math.log(n) - math.log(size)) / slope
    return round(n)


def _ladder(rate: float, aged: bool) -> tuple[list[int], Floats]:
    """Steps and the small quantity at each."""
    steps = sorted({_step_of(size, rate, aged) for size in _TARGETS})
    n = np.array(steps, dtype=np.float64)
    return steps, (n if aged else 1.0) * rate**n


def _add(
    rows: Rows, point: Point, x: Floats, found: list[Floats], limit: Floats, floor: Floats
) -> None:
    """One line; an error of the limit that is three times the last distance from it would have been seen."""
    error = np.array([np.linalg.norm(one - limit) for one in found])
    size = max(float(np.linalg.norm(limit)), 1e-300)
    rows.add(
        point,
        stratum=point.place,
        x=x,
        error=error,
        floor=np.full(len(x), np.linalg.norm(floor)),
        memory=1.0,
        caught={"limit": min(3.0 * float(error[-1]) / size, np.inf)},
    )


def _limit(variant: str, p: Point) -> Floats:
    """The limit field, or one with a wrong mean age."""
    field = full_batch.limit_field(p.gradient, p.product, _H, p.beta, p.rho, p.eps, p.eps_root)
    R = np.sqrt(p.gradient**2 + p.eps_root)
    D = R + p.eps
    G = p.product(p.gradient / D)
    if variant == "beta/(1 - beta) + 1/1000":
        return field - 1e-3 * _H * G / D
    if variant == "rho/(1 - rho) + 1/1000":
        return field + 1e-3 * _H * p.gradient**2 * G / (D**2 * R)
    if variant == "no Lbar":
        return field + 0.5 * _H * G / D
    if variant == "no Pbar":
        return field - 0.5 * _H * p.gradient**2 * G / (D**2 * R)
    return field


def _adam(variant: str, setting: Setting, name: str) -> Samples:
    """Only the mean has a memory (approach-mean), or that of the mean square is the longer one (approach-square)."""
    rows = Rows()
    numbers = setting.numbers(18, 60, 300)
    for point, rng in points(setting, name, numbers, smallest=1e-2, excluded=rows.excluded):
        slow = decay(rng, 3.0, 50.0)
        if name == "approach-mean":
            slow = DEFAULTS[0] if point.number == 0 else slow
            p = replace(point, beta=slow, rho=0.0)
        elif point.number == 0:
            p = point
        else:
            p = replace(point, beta=slow ** float(rng.uniform(3.0, 10.0)), rho=slow)
        steps, x = _ladder(p.slowest, aged=True)
        found = [vector_field(p.adam, p.loss, p.theta, n, _H) for n in steps]
        _add(rows, p, x, found, _limit(variant, p), field_rounding(p, _H))
    return rows.samples()


def mean(variant: str, setting: Setting) -> Samples:
    """Adam with rho = 0: like n beta^n."""
    return _adam(variant, setting, "approach-mean")


def square(variant: str, setting: Setting) -> Samples:
    """Adam with beta below rho^3: like n rho^n."""
    return _adam(variant, setting, "approach-square")


def _rmsprop(variant: str, setting: Setting, leading: bool) -> Samples:
    rows = Rows()
    numbers = setting.numbers(18, 60, 300)
    name = "approach-rmsprop"
    for point, rng in points(setting, name, numbers, smallest=1e-2, excluded=rows.excluded):
        slow = decay(rng, 3.0, 50.0)
        p = replace(point, beta=0.0, rho=point.rho if point.number == 0 else slow)
        optimizer = RMSProp(p.rho, p.eps, p.eps_root)
        steps, x = _ladder(p.rho, aged=not leading)
        first = [vector_field(optimizer, p.loss, p.theta, n, _H, order=1) for n in steps]
        D = np.sqrt(p.gradient**2 + p.eps_root) + p.eps
        limit = -p.gradient / D
        floor = 40.0 * UNIT * np.abs(p.gradient) / D
        if not leading:
            both = [vector_field(optimizer, p.loss, p.theta, n, _H) for n in steps]
            first = [b - a for a, b in zip(first, both, strict=True)]
            limit = _limit(variant, p) - limit
            floor = field_rounding(p, _H)
        if variant == "a thousandth less":
            limit = (1.0 - 1e-3) * limit
        if variant == "epsilon on the other side":
            limit = -p.gradient / (np.sqrt(p.gradient**2 + p.eps) + p.eps_root)
        _add(rows, p, x, first, limit, floor)
    return rows.samples()


def rmsprop_leading(variant: str, setting: Setting) -> Samples:
    """RMSProp's leading field: like rho^n."""
    return _rmsprop(variant, setting, leading=True)


def rmsprop_bias(variant: str, setting: Setting) -> Samples:
    """RMSProp's bias: like n rho^n."""
    return _rmsprop(variant, setting, leading=False)


# RMSProp and Adam with beta = 0, step by step ------------------------------------------------------

_HORIZON = 1.0
_COUNTS = tuple(2**k for k in range(7, 14))
_LONG = tuple(2**k for k in range(13, 18))  # for a memory of 1000 steps


def trajectories(variant: str, setting: Setting) -> Samples:
    """The iterates of RMSProp and of Adam with beta = 0 over a fixed time are as far apart as h, because of the first steps.

    Epsilon inside, 1e-2 to 1; the defaults' epsilon is reported, not judged.
    """
    return _apart(variant, setting, moved=variant == "start moved")


def moved_start(variant: str, setting: Setting) -> Samples:
    """With the start of Adam moved by the sum of the first steps' difference they agree to the second order in the second half of the time."""
    return _apart(variant, setting, moved=variant != "start not moved")


def _apart(variant: str, setting: Setting, moved: bool) -> Samples:
    rows = Rows()
    for point, rng in points(setting, "rmsprop-adam", setting.numbers(13, 60, 300), place="inside"):
        if point.number == 0:
            p, counts = point, _LONG
        else:
            p = replace(point, rho=decay(rng, 1.5, 10.0)).at(float(10.0 ** rng.uniform(-2.0, 0.0)))
            counts = tuple(setting.finer * n for n in _COUNTS)
        p = replace(p, beta=0.5 if variant == "beta = 1/2" else 0.0)
        other = 0.9 * p.rho if variant == "another rho" else p.rho
        adam = Adam(p.beta, p.rho, p.eps, p.eps_root)
        rmsprop = RMSProp(other, p.eps, p.eps_root)
        early = modified_losses.late_start(p.gradient, other, p.eps, p.eps_root)
        early = (-1.0 if variant == "the other sign" else 1.0) * early
        h = _HORIZON / np.array(counts, dtype=np.float64)
        error = []
        for n, step in zip(counts, h, strict=True):
            ours = iterate(rmsprop, p.loss, p.theta, step, n)
            start = p.theta - (step * early if moved else 0.0)
            theirs = iterate(adam, p.loss, start, step, n)
            half = n // 2
            error.append(np.linalg.norm(ours[half:] - theirs[half:], axis=1).max())
        rows.add(
            p,
            x=h,
            error=np.array(error),
            # Stored positions are rounded once; a step h U has the rounding of a mean of 1 / (1 - rho) numbers, and |U| <= |g| / sqrt(epsilon) <= 100.
            floor=np.full(
                len(h), 4.0 * UNIT * (1.0 + np.abs(p.theta).max() + 8.0 * _HORIZON / (1.0 - p.rho))
            ),
            memory=1.0 / (_HORIZON * (1.0 - p.rho)),
            pooled=point.number != 0,
        )
    return rows.samples()
