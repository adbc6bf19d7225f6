"""One problem by the printed formulas alone, in plain Python: derivatives, sums, field, trajectories, errors.

No code of the kernels is used: derivatives come from ``theory.plain_losses`` or from the user's own functions, sums from ``theory.memory``, and steps and
Runge-Kutta methods are written out here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.plain import loss_data
from stepbias.kernels.user_loss import UserSource
from stepbias.theory.arithmetic import EXTENDED
from stepbias.theory.memory import MemoryTerms, SmoothLoss, literal_field, literal_terms
from stepbias.theory.optimizers import AdamFamily
from stepbias.theory.plain_losses import plain_loss
from stepbias.theory.schedules import resolve
from stepbias.theory.variants import STATEMENT, Variant
from tests import reference
from tests.parity.cases import Case

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Method = tuple[tuple[Floats, Floats], int]  # (positions of the stages, weights), substeps

CLASSICAL = (np.array([0.0, 0.5, 0.5, 1.0]), np.array([1.0, 2.0, 2.0, 1.0]) / 6.0)
HEUN = (np.array([0.0, 1.0, 2.0]) / 3.0, np.array([1.0, 0.0, 3.0]) / 4.0)


class Derivatives:
    """Gradients and Hessians of all batches at the last point asked for: the literal sums ask for them many times."""

    def __init__(self, dim: int, evaluate: Callable[[Floats], tuple[Floats, Floats]]) -> None:
        self.dim = dim
        self._evaluate = evaluate
        self._point = b""
        self._values: tuple[Floats, Floats] = (np.zeros(0), np.zeros(0))

    def at(self, theta: Floats) -> tuple[Floats, Floats]:
        """(m, p) and (m, p, p)."""
        if theta.tobytes() != self._point:
            self._point, self._values = theta.tobytes(), self._evaluate(theta)
        return self._values

    def gradient(self, b: int, theta: Floats) -> Floats:
        """Of batch b."""
        return self.at(theta)[0][b]

    def hessian(self, b: int, theta: Floats) -> Floats:
        """Of batch b."""
        return self.at(theta)[1][b]


@cache
def derivatives(loss: Any, problem: int) -> Derivatives:
    """From the readable formula of a built-in loss, or from the user's own Python functions."""
    if isinstance(loss.source, UserSource):
        return _given(loss.source)
    data = loss_data(loss, problem)
    assert data is not None
    formula = plain_loss(data, EXTENDED)  # rounds derivatives once, where this machine can

    def evaluate(theta: Floats) -> tuple[Floats, Floats]:
        point = EXTENDED.real(theta)
        units = np.repeat(np.eye(loss.dim)[:, None], loss.batches, axis=1)
        columns = formula.products(point, EXTENDED.real(units))  # [j, b]: H_b e_j
        gradients = np.asarray(formula.gradients(point), dtype=np.float64)
        return gradients, np.moveaxis(np.asarray(columns, dtype=np.float64), 0, -1)

    return Derivatives(loss.dim, evaluate)


def _given(source: UserSource) -> Derivatives:
    functions, dim = source.functions, source.dim

    def evaluate(theta: Floats) -> tuple[Floats, Floats]:
        gradients = np.zeros((source.batches, dim))
        hessians = np.zeros((source.batches, dim, dim))
        for b in range(source.batches):
            functions.gradient(b, theta, source.data, gradients[b])
            if functions.hessian is not None:
                functions.hessian(b, theta, source.data, hessians[b])
                continue
            assert functions.hvp is not None
            for j, unit in enumerate(np.eye(dim)):
                column = np.zeros(dim)
                functions.hvp(b, theta, unit, source.data, column)
                hessians[b, :, j] = column
        return gradients, hessians

    return Derivatives(dim, evaluate)


@dataclass(frozen=True)
class Problem:
    """One problem of a case: everything that had a leading axis is a number or a row."""

    optimizer: AdamFamily
    loss: SmoothLoss
    theta0: Floats
    h: float
    schedule: Integers


def problem(case: Case, k: int, steps: int, h: Any = None) -> Problem:
    """Problem k of a case, for ``steps`` steps."""
    sizes = np.broadcast_to(np.asarray(case.h if h is None else h), case.problems)
    order = resolve(case.schedule, case.loss.batches, steps)
    changes: dict[str, Any] = {
        name: float(np.asarray(getattr(case.optimizer, name))[k])
        for name in ("beta", "rho", "eps", "eps_root")
        if np.ndim(getattr(case.optimizer, name))
    }
    return Problem(
        replace(case.optimizer, **changes),
        derivatives(case.loss, 0 if case.loss.problems is None else k),
        case.theta0[k],
        float(sizes[k]),
        order if order.ndim == 1 else order[k],
    )


def field_optimizer(optimizer: AdamFamily, variant: Variant) -> AdamFamily:
    """The optimizer whose sums a variant evaluates."""
    if variant.swap_eps:
        return replace(optimizer, eps=optimizer.eps_root, eps_root=optimizer.eps)
    return optimizer


def swapped(one: Problem) -> Problem:
    """With the constants inside and outside the root exchanged."""
    return replace(one, optimizer=field_optimizer(one.optimizer, Variant(swap_eps=True)))


def terms(
    one: Problem, theta: Floats, n: int, variant: Variant = STATEMENT, *, drop_last: bool = False
) -> MemoryTerms:
    """The printed sums at step n; ``drop_last``: with the inner sums one step shorter."""
    optimizer = field_optimizer(one.optimizer, variant)
    if drop_last:
        batches = range(int(one.schedule.max()) + 1)
        gradients = np.array([one.loss.gradient(b, theta) for b in batches])
        hessians = np.array([one.loss.hessian(b, theta) for b in batches])
        return reference.printed(
            optimizer, gradients, hessians, n, one.schedule, short_memory=True
        ).terms
    return literal_terms(optimizer, one.loss, theta, n, one.schedule)


def field(
    one: Problem, theta: Floats, n: int, variant: Variant = STATEMENT
) -> tuple[Floats, Floats]:
    """The modified field at step n, and R."""
    sums = terms(one, theta, n, variant, drop_last=variant.short_memory)
    eps = float(field_optimizer(one.optimizer, variant).eps)
    return literal_field(sums, eps, one.h, variant), sums.R


class Watched(NamedTuple):
    """What is seen along a flow."""

    root: float
    drift: float
    size: float


def piece(
    one: Problem, theta: Floats, n: int, variant: Variant, method: Method
) -> tuple[Floats, Watched]:
    """The flow over [n h, (n + 1) h]."""
    (positions, weights), substeps = method
    time = one.h / substeps
    eps = float(field_optimizer(one.optimizer, variant).eps)
    root, drift, size = np.inf, 0.0, 0.0
    for _ in range(substeps):
        rate, total = np.zeros_like(theta), np.zeros_like(theta)
        roots = []
        for position, weight in zip(positions, weights, strict=True):
            rate, R = field(one, theta + position * time * rate, n, variant)
            total = total + weight * rate
            roots.append(R)
        theta = theta + time * total
        change = np.abs(roots[-1] - roots[0]) / ((roots[0] + eps) * time)
        root, drift = min(root, roots[0].min()), max(drift, change.max())
        size = max(size, np.abs(theta).max())
    return theta, Watched(float(root), float(drift), float(size))


def iterates(one: Problem, steps: int) -> Floats:
    """The discrete iterates."""
    return reference.iterates(one.optimizer, one.loss, one.theta0, one.h, one.schedule[:steps])  # type: ignore[arg-type]


def flow(one: Problem, steps: int, variant: Variant, method: Method) -> Floats:
    """The flow at every step, (steps + 1, p)."""
    path = [one.theta0]
    for n in range(steps):
        path.append(piece(one, path[-1], n, variant, method)[0])
    return np.array(path)


def measure(
    one: Problem, steps: int, variant: Variant, methods: tuple[Method, Method], local: bool
) -> dict[str, Any]:
    """What a lockstep run reports; see :class:`stepbias.kernels.trajectory.Watch`."""
    walk = _walk(one)
    iterate = flow_at = coarse = one.theta0
    found: dict[str, Any] = {"error": 0.0, "solver": 0.0, "start": 0.0, "grain": 0.0}
    root, drift, size = np.inf, 0.0, 0.0
    for n in range(steps):
        if local:
            iterate = coarse = flow_at
        iterate = iterate - one.h * walk(iterate, n)
        flow_at, seen = piece(one, flow_at, n, variant, methods[0])
        coarse, also = piece(one, coarse, n, variant, methods[1])
        found["error"] = max(found["error"], float(np.linalg.norm(iterate - flow_at)))
        found["solver"] = max(found["solver"], float(np.linalg.norm(flow_at - coarse)))
        single = np.abs(iterate - iterate.astype(np.float32)) / np.abs(iterate)
        found["grain"] = max(found["grain"], float(single.max()) * 2.0**24)
        root, drift = min(root, seen.root, also.root), max(drift, seen.drift, also.drift)
        size = max(size, seen.size, also.size)
    found |= {"root": root, "drift": drift, "size": size, "difference": iterate - flow_at}
    return found | {"distance": float(np.linalg.norm(flow_at - one.theta0))}


def _walk(one: Problem) -> Callable[[Floats, int], Floats]:
    """Step direction U^(n) of the optimizer, with its two averages."""
    beta, rho = float(one.optimizer.beta), float(one.optimizer.rho)
    averages = [np.zeros_like(one.theta0), np.zeros_like(one.theta0)]

    def direction(theta: Floats, n: int) -> Floats:
        g = one.loss.gradient(int(one.schedule[n]), theta)
        averages[0] = beta * averages[0] + (1.0 - beta) * g
        averages[1] = rho * averages[1] + (1.0 - rho) * g**2
        mean, square = averages
        if one.optimizer.bias_correction:
            mean, square = mean / (1.0 - beta ** (n + 1)), square / (1.0 - rho ** (n + 1))
        return np.asarray(
            mean / (np.sqrt(square + one.optimizer.eps_root) + one.optimizer.eps), dtype=np.float64
        )

    return direction


def iterate_drift(one: Problem, steps: int) -> float:
    """The largest |D'/D| along the iterates, with the weights of step n at both its ends."""
    path, eps, found = iterates(one, steps), float(one.optimizer.eps), 0.0
    for n in range(steps):
        before, after = (terms(one, path[n + k], n).R for k in (0, 1))
        found = max(found, float((np.abs(after - before) / ((before + eps) * one.h)).max()))
    return found
