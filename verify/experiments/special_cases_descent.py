"""Gradient descent and heavy ball on the full batch: iterates against their modified equations, one-step defects, and exact coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.descent import Lockstep, lockstep
from stepbias.theory import heavy_ball
from stepbias.verify.experiments.special_cases import UNIT, Group, groups, smallest_caught
from stepbias.verify.samples import Samples, Setting, label
from stepbias.verify.sweep import step_ladder

Floats = NDArray[np.float64]

_HORIZON = 0.25  # heavy ball moves 1 / (1 - beta) times as fast as gradient descent


@dataclass(frozen=True)
class _Path:
    """What is measured: the problems' name, the momenta taken in turn, the step counts, and which distance."""

    name: str
    betas: tuple[float, ...]
    steps: tuple[int, ...]
    local: bool = False  # the largest one-step defect
    settled: bool = False  # at the end, the flow started ahead by what the first steps lack
    statement: str = ""  # the field that the claim is about
    without: str = "no bias term"  # the same without its O(h) term


_BETAS = (0.9, 0.5, 0.7)
_LONG, _LONG_FINER = 0.9, 4  # where the memory is long the step counts are multiplied
_DESCENT = _Path("gradient descent", (0.0,), step_ladder(64, 1024, 0))
_BALL = _Path("heavy ball", _BETAS, step_ladder(64, 1024, 0))
_DEFECT = _Path("heavy ball, one step", _BETAS, step_ladder(64, 2048, 0), local=True)
# At the coarsest step the momentum of the first ones has decayed to 0.9^256 = 2e-12, 0.7^64 = 1e-10.
_SETTLED = _Path(
    "heavy ball, settled",
    _BETAS,
    step_ladder(64, 1024, 0),
    settled=True,
    statement="many steps",
    without="many steps, no bias term",
)


def gradient_descent(variant: str, setting: Setting) -> Samples:
    """Gradient descent against the flow of E + (h/4) |grad E|^2, or another field by name."""
    return _measured(_DESCENT, variant, setting)


def heavy_ball_steps(variant: str, setting: Setting) -> Samples:
    """Heavy ball against its piecewise equation with n-dependent coefficients, or another field by name."""
    return _measured(_BALL, variant, setting)


def heavy_ball_defect(variant: str, setting: Setting) -> Samples:
    """The largest one-step defect of heavy ball, its momentum made of gradients along the flow."""
    return _measured(_DEFECT, variant, setting)


def heavy_ball_settled(variant: str, setting: Setting) -> Samples:
    """Heavy ball at the end of the path, against the equation for many steps started ahead by what the first steps lack."""
    return _measured(_SETTLED, variant or _SETTLED.statement, setting)


@lru_cache(maxsize=32)  # claims, their wrong variants and misprints share measurements
def _measured(path: _Path, field: str, setting: Setting) -> Samples:
    numbers = setting.numbers(12, 48, 192)
    x, error, floor = np.zeros((3, len(numbers), len(path.steps)))
    betas, caught = np.zeros(len(numbers)), np.full(len(numbers), np.nan)
    labels = [""] * len(numbers)
    # every momentum with every dimension
    sizes = [(1 + i % 4, 1, i % len(path.betas)) for i in range(4 * len(path.betas))]
    for group in groups(setting, path.name, numbers, sizes):
        beta = path.betas[group.size[2]]
        finer = setting.finer * (_LONG_FINER if beta == _LONG else 1)
        counts = [n * finer for n in path.steps]
        h = _HORIZON / np.array(counts, dtype=np.float64)
        runs = [_run(path, group, field, n, beta) for n in counts]
        found = np.array([run.last if path.settled else run.largest for run in runs]).T
        solver = np.array([run.solver for run in runs]).T
        x[group.rows], error[group.rows] = h, found
        floor[group.rows] = solver + _rounding(path, group, h, beta)
        betas[group.rows] = beta
        if field == path.statement and not path.local:
            response = [_run(path, group, path.without, n, beta) for n in counts]
            caught[group.rows] = _caught(runs, response, h, beta)
        for row in group.rows:
            labels[row] = label(problem=numbers[row], loss=group.family, p=group.size[0], beta=beta)
    none = np.full(len(numbers), np.nan)
    return Samples(
        numbers,
        np.array(labels),
        stratum=np.array([f"beta = {beta:g}" for beta in betas]),
        hardness=np.column_stack([betas, none, none, x.min(axis=1, initial=1.0)]),
        x=x,
        error=error,
        floor=floor,
        memory=_memory(betas),
        caught={} if np.all(np.isnan(caught)) else {"bias": caught},
    )


def _run(path: _Path, group: Group, field: str, steps: int, beta: float) -> Lockstep:
    h = _HORIZON / steps
    start = group.theta0
    if path.settled:
        start = start + h * heavy_ball.start_shift(beta) * group.loss.gradient(0, start)
    tables = heavy_ball.tables(field, steps, beta)
    return lockstep(group.loss, group.theta0, start, h, beta, *tables, local=path.local)


def _memory(betas: Floats) -> Floats:
    """1 / (T (1 - beta)): the memory is short against the path."""
    return np.asarray(1.0 / (_HORIZON * (1.0 - betas)))


def _rounding(path: _Path, group: Group, h: Floats, beta: float) -> Floats:
    """(len(rows), H): both trajectories are compensated, so what is left is about ten roundings of every rate, over the path or over one step."""
    size = 1.0 + np.linalg.norm(group.theta0, axis=1)
    size += np.linalg.norm(group.loss.gradient(0, group.theta0), axis=1)
    time = h if path.local else np.full(len(h), _HORIZON)
    return np.asarray(16.0 * UNIT / (1.0 - beta) * size[:, None] * time)


def _caught(runs: list[Lockstep], response: list[Lockstep], h: Floats, beta: float) -> Floats:
    """Smallest relative error of the O(h) term that a line of order 2 would have shown."""
    difference = np.array([run.difference for run in runs]).transpose(1, 0, 2)
    moved = np.array([run.difference for run in response]).transpose(1, 0, 2) - difference
    rates = _memory(np.full(len(difference), beta))
    return smallest_caught(h, difference, moved, 2.0, rates)


def heavy_ball_coefficients(variant: str, setting: Setting) -> Samples:
    """The sums of the derivation against the closed form, for n = 0 .. 12 and random rational beta, in exact arithmetic."""
    numbers = setting.numbers(16, 64, 256)
    truth, certificates, labels = [], [], []
    law = heavy_ball.FIELDS[variant]
    for k in numbers:
        rng = setting.rng("heavy ball, coefficients", int(k))
        below = int(rng.integers(2, 1000))
        beta = Fraction(int(rng.integers(1, below)), below) if k else Fraction(9, 10)
        wrong = [n for n in range(13) if law(n, beta) != heavy_ball.literal_coefficients(n, beta)]
        truth.append(not wrong)
        n = wrong[0] if wrong else 12
        sums, closed = heavy_ball.literal_coefficients(n, beta)[1], law(n, beta)[1]
        certificates.append(f"beta = {beta}, n = {n}: sums {sums}, closed form {closed}")
        labels.append(label(problem=k, beta=beta))
    return Samples(
        numbers, np.array(labels), truth=np.array(truth), certificate=np.array(certificates)
    )


def time_change(variant: str, setting: Setting) -> Samples:
    """Adam's equation for a large epsilon, in the time and step size of heavy ball, against heavy ball's for many steps, in exact arithmetic.

    Variants: other step sizes.
    """
    numbers = setting.numbers(16, 64, 256)
    truth, certificates, labels = [], [], []
    for k in numbers:
        rng = setting.rng("time change", int(k))
        below = int(rng.integers(2, 1000))
        # problem 0 is gradient descent
        beta = Fraction(int(rng.integers(1, below)), below) if k else Fraction(0)
        root = Fraction(int(rng.integers(2, 10**6)), int(rng.integers(1, 100)))
        found = heavy_ball.time_changed(beta, heavy_ball.STEPS[variant](beta, root), root)
        expected = heavy_ball.limit_coefficients(0, beta)
        truth.append(found == expected)
        certificates.append(
            f"beta = {beta}, sqrt(epsilon) = {root}: coefficients {found[0]} and {found[1]}, heavy ball's {expected[0]} and {expected[1]}"
        )
        labels.append(label(problem=k, beta=beta, root=root))
    return Samples(
        numbers, np.array(labels), truth=np.array(truth), certificate=np.array(certificates)
    )
