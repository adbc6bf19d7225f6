"""I.i.d. schedules, measured on relabelled copies: the luck of one draw is most of what bends their error lines.

The coefficient of an i.i.d. schedule's error is a time average over N = T/h random steps, so it fluctuates by a few to a few tens of percent, like
sqrt(h). Let b(k) be one i.i.d. sequence; then b(k) + s mod m is i.i.d. for every shift s, and over the m shifts every step sees every batch once: what is
linear in the counts of the batches cancels. The error of a problem is then the root mean square over the m copies. The statement bounds each of them,
and so their mean square; the same copies serve every step size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import prepare
from stepbias.theory.optimizers import AnyOptimizer, take_optimizer
from stepbias.theory.schedules import IID
from stepbias.theory.variants import Variant
from stepbias.verify.integrity import worst
from stepbias.verify.sweep import Sweep, sweep

if TYPE_CHECKING:
    from stepbias.kernels.loss import Loss
    from stepbias.verify.cells import Cell

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Copies(NamedTuple):
    """B problems on ``each`` schedules, copies of a problem side by side; one copy: as given."""

    each: int
    optimizer: AnyOptimizer
    loss: Loss
    theta0: Any
    schedule: Any


def shifts(cell: Cell) -> int:
    """Copies of every problem of a cell: m for an i.i.d. schedule, else 1."""
    return cell.batches if cell.schedule == "iid" else 1


def copies(cell: Cell, loss: Loss, theta0: Floats, steps: int) -> Copies:
    """The problems of a cell on all their schedules, for runs of up to ``steps`` steps."""
    return relabelled(cell.optimizer(), loss, theta0, cell.schedule_object(), steps)


def relabelled(
    optimizer: AnyOptimizer, loss: Loss, theta0: Any, schedule: Any, steps: int
) -> Copies:
    """Problems on all the copies of their schedule, for runs of up to ``steps`` steps.

    Parameters
    ----------
    optimizer, loss, theta0, schedule
        One problem or B; checked arguments, as :func:`stepbias.kernels.blocks.prepare` accepts them. Only an :class:`IID` schedule has copies.
    steps : int
    """
    if not isinstance(schedule, IID) or schedule.m == 1:
        return Copies(1, optimizer, loss, theta0, schedule)
    count = schedule.m
    ensemble = prepare(optimizer, loss, theta0, 1.0, 0, schedule, "cpu")
    repeated = np.repeat(np.arange(ensemble.problems), count)
    rows = (schedule.indices(steps) + np.arange(count)[:, None]) % count
    return Copies(
        count,
        take_optimizer(optimizer, repeated),
        loss if loss.problems is None else loss.select(repeated),
        ensemble.theta0[repeated],
        np.tile(rows, (ensemble.problems, 1)),
    )


def sweep_cell(
    cell: Cell,
    loss: Loss,
    theta0: Floats,
    steps: tuple[int, ...],
    variant: Variant,
    **options: Any,
) -> Sweep:
    """Measure problems of a cell with its optimizer, horizon and schedule: :func:`sweep_copies`."""
    schedule = cell.schedule_object()
    return sweep_copies(
        cell.optimizer(), loss, theta0, cell.horizon, steps, schedule, variant, **options
    )


def sweep_copies(
    optimizer: AnyOptimizer,
    loss: Loss,
    theta0: Any,
    horizon: float,
    steps: Sequence[int],
    schedule: Any,
    variant: Variant,
    **options: Any,
) -> Sweep:
    """Measure problems: :func:`stepbias.verify.sweep.sweep`, one row a problem whatever its copies.

    Parameters
    ----------
    optimizer, loss, theta0, horizon, steps, schedule, variant, options
        As for ``sweep``.

    Returns
    -------
    Sweep
        Over copies: ``error`` and ``floor`` root mean squares, ``difference`` the mean, ``distance`` the least, ``memory`` the largest. The floor of a
        root mean square is at most the root mean square of the floors (triangle inequality).
    """
    given = relabelled(optimizer, loss, theta0, schedule, max(steps))
    found = sweep(
        given.optimizer,
        given.loss,
        given.theta0,
        horizon,
        steps,
        given.schedule,
        variant,
        **options,
    )
    if given.each == 1:
        return found

    def grouped(values: Floats) -> Floats:
        return values.reshape(-1, given.each, *values.shape[1:])

    return replace(
        found,
        h=np.ascontiguousarray(grouped(found.h)[:, 0]),
        error=np.sqrt(np.mean(grouped(found.error) ** 2, axis=1)),
        floor=np.sqrt(np.mean(grouped(found.floor) ** 2, axis=1)),
        difference=np.mean(grouped(found.difference), axis=1),
        distance=np.min(grouped(found.distance), axis=1),
        memory=np.max(grouped(found.memory), axis=1),
        integrity=worst(grouped(found.integrity)),
    )
