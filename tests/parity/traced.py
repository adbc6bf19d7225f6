"""Optimizers given by their rule: the GPU against the CPU, both held to the bounds of :mod:`tests.memory_rules`, carried along trajectories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import stepbias as sb
from stepbias.kernels import drift
from stepbias.kernels.blocks import Ensemble, prepare
from stepbias.kernels.gpu import run
from stepbias.kernels.measure import Measurement, measure
from stepbias.theory.optimizer import Optimizer
from stepbias.theory.variants import STATEMENT, Variant
from tests.memory_rules import UNIT, scale, tolerance
from tests.parity.comparisons import agree

Floats = NDArray[np.float64]

_SHIFT = 2.0**-20
# States, gradients and slopes may change by this much between the places where they are looked at.
_BETWEEN = 1.25


@dataclass(frozen=True)
class TracedCase:
    """Arguments of a public function; one optimizer that all problems share."""

    optimizer: Optimizer
    loss: sb.Loss
    theta0: Floats
    h: float
    steps: int
    schedule: Any  # (longest,) int64

    def ensemble(self, steps: int, h: float, theta0: Floats | None = None) -> Ensemble:
        """Prepared for a number of steps."""
        start = self.theta0 if theta0 is None else theta0
        return prepare(self.optimizer, self.loss, start, h, steps, self.schedule, "cpu")

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Of ``iterate``, ``flow`` and ``global_error``."""
        return self.optimizer, self.loss, self.theta0, self.h, self.steps, self.schedule


def traced_case(
    optimizer: Optimizer, batches: int, problems: int = 3, steps: int = 3
) -> TracedCase:
    """Sinusoids with m batches in an order that is not cyclic."""
    loss = sb.Loss.random("sinusoid", 2, batches, problems=problems, seed=5)
    start = np.random.default_rng(3).uniform(0.2, 0.6, (problems, 2))
    order = np.array([0, 2, 1, 1, 0, 2, 2, 0, 1, 0, 1, 2, 0, 0, 1, 2, 1, 0, 2, 1]) % batches
    return TracedCase(optimizer, loss, start, 0.05, steps, order)


def _rate_bound(case: TracedCase, k: int, theta: Floats, n: int, h: float) -> float:
    """Rounding of the field of one problem; both sides err."""
    size = scale(case.optimizer, case.loss.select(k), theta, n, case.schedule, h)
    return 2.0 * tolerance(case.optimizer, n) * float(size.max())


def field(case: TracedCase, n: int) -> None:
    """``vector_field``, both orders."""
    bound = np.array(
        [_rate_bound(case, k, theta, n, case.h) for k, theta in enumerate(case.theta0)]
    )
    for order in (1, 2):
        given = (case.optimizer, case.loss, case.theta0, n, case.h, case.schedule, order)
        found = sb.vector_field(*given, device="cuda")
        agree(found, sb.vector_field(*given), bound[:, None], f"field of order {order}")


def _paths_bounds(case: TracedCase, steps: int, h: float) -> tuple[Floats, Floats]:
    """Bounds on a position after ``steps`` steps, and on a rate, (B,)."""
    given = (h, steps, case.schedule)
    base = {p: p(case.optimizer, case.loss, case.theta0, *given) for p in (sb.iterate, sb.flow)}
    grown = np.zeros(len(case.theta0))
    for path, expected in base.items():
        total = np.zeros(len(case.theta0))
        for unit in np.eye(case.loss.dim):
            moved = path(case.optimizer, case.loss, case.theta0 + _SHIFT * unit, *given)
            total += np.abs(moved - expected).max(axis=(1, 2)) / _SHIFT
        grown = np.maximum(grown, total)
    # the field has the larger errors: what a step reads is in its leading part, which is the same sum
    rate = np.array(
        [
            _BETWEEN * max(_rate_bound(case, k, theta, steps - 1, h) for theta in path)
            for k, path in enumerate(base[sb.flow])
        ]
    )
    # twice: errors made on the way have less of it before them, but may meet more curvature
    return 2.0 * grown * (steps * h * rate + 2.0 * steps * UNIT), rate


def iterate(case: TracedCase) -> None:
    """``iterate``."""
    bound, _ = _paths_bounds(case, case.steps, case.h)
    found = sb.iterate(*case.arguments, device="cuda")
    agree(found, sb.iterate(*case.arguments), bound[:, None, None], "iterates")


def flow(case: TracedCase, order: int) -> None:
    """``flow``."""
    bound, _ = _paths_bounds(case, case.steps, case.h)
    given = (*case.arguments, order)
    agree(sb.flow(*given, device="cuda"), sb.flow(*given), bound[:, None, None], "flow")


def ladder(case: TracedCase, counts: tuple[int, ...], variant: Variant, local: bool) -> None:
    """All results of a lockstep run at several numbers of steps in one launch, and the drift along iterates."""
    horizon = case.h * case.steps
    ensembles = [case.ensemble(n, horizon / n) for n in counts]
    found = run.measure_ladder(
        ensembles, counts, variant, methods=[None] * len(counts), local=local
    )
    for ensemble, steps, one in zip(ensembles, counts, found, strict=True):
        expected = measure(ensemble, steps, variant, local=local)
        _compare(case, steps, horizon / steps, one, expected, variant, local)


def _compare(
    case: TracedCase,
    steps: int,
    h: float,
    found: Measurement,
    expected: Measurement,
    variant: Variant,
    local: bool,
) -> None:
    position, rate = _paths_bounds(case, steps, h)
    gap = 2.0 * np.sqrt(case.loss.dim) * position
    paths = sb.iterate(case.optimizer, case.loss, case.theta0, h, steps, case.schedule)
    moved = _moved(case, steps, h, variant, local, expected)
    # a difference of what the direction reads, over half a piece, relative to the largest direction
    direction = expected.distance / (h * steps) / np.sqrt(case.loss.dim)
    bounds = {
        "error": gap,
        "solver": gap,
        "distance": gap,
        "difference": 2.0 * position,
        "size": position,
        "root": 2.0 * tolerance(case.optimizer, steps) * expected.root + moved["root"] * position,
        "drift": (2.0 / h * 2.0 * rate + expected.drift * rate) / direction
        + moved["drift"] * position,
        "start": np.full(len(case.theta0), UNIT),
        "grain": 2.0**24 * 4.0 * position / np.abs(paths).min(axis=(1, 2)),
    }
    for name, bound in bounds.items():
        one, other = getattr(found, name), getattr(expected, name)
        unit = {"drift": 1.0 / h, "grain": 2.0**24}.get(name, 1.0)
        limit = bound.reshape(-1, *[1] * (one.ndim - 1))
        agree(one, other, limit, f"{name} in {steps} steps", unit)


def _moved(
    case: TracedCase, steps: int, h: float, variant: Variant, local: bool, expected: Measurement
) -> dict[str, Floats]:
    """How smallest roots and largest rates move with the start, (B,)."""
    found = {"root": np.zeros(len(case.theta0)), "drift": np.zeros(len(case.theta0))}
    for unit in np.eye(case.loss.dim):
        ensemble = case.ensemble(steps, h, case.theta0 + _SHIFT * unit)
        other = measure(ensemble, steps, variant, local=local)
        for name, total in found.items():
            total += 2.0 * np.abs(getattr(other, name) - getattr(expected, name)) / _SHIFT
    return found


def clock(case: TracedCase) -> None:
    """How fast what the direction reads changes along the iterates."""
    ensemble = case.ensemble(case.steps, case.h)
    found, expected = (where.iterate_drift(ensemble, case.steps) for where in (run, drift))
    position, rate = _paths_bounds(case, case.steps, case.h)
    travelled = measure(ensemble, case.steps, STATEMENT).distance
    direction = travelled / (case.h * case.steps) / np.sqrt(case.loss.dim)
    moved = np.zeros(len(case.theta0))
    for unit in np.eye(case.loss.dim):
        other = case.ensemble(case.steps, case.h, case.theta0 + _SHIFT * unit)
        moved += 2.0 * np.abs(drift.iterate_drift(other, case.steps) - expected) / _SHIFT
    bound = (2.0 / case.h * rate + expected * rate) / direction + moved * position
    agree(found, expected, bound, "drift", 1.0 / case.h)
