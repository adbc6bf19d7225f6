"""What a claim measures on the problems of a cell: errors over step sizes, or the step from which on the order shows over epsilon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.fault import Fault
from stepbias.kernels.loss import Loss
from stepbias.kernels.measure import Method
from stepbias.kernels.trajectory import CLASSICAL, HEUN
from stepbias.theory.claim import Claim
from stepbias.theory.variants import Variant
from stepbias.verify.cells import Cell
from stepbias.verify.dropped_problems import CROSSING, KINKED
from stepbias.verify.relabelling import sweep_cell
from stepbias.verify.sweep import Sweep

Floats = NDArray[np.float64]

# Epsilons of a resolving-step claim, relative to the cell's: four of the five span more than the factor of 4 that a fit needs.
SCALES = tuple(1.6**-k for k in range(5))
# What error / h has to fall to, as a share of its largest value: below the plateau of the first order, in reach of the ladder.
_SHARE = 2.0 / 3.0


def crossing_method(steps: int) -> Method:
    """Eight classical Runge-Kutta steps a piece against four.

    The field jumps inside the piece of the crossing, and a method that steps over a jump is wrong by about a third of its step: 1/24 of h against
    distances of (1/(1-beta) + 1/(1-rho)) h, about ten times h or more.
    """
    return Method(CLASSICAL, 8, CLASSICAL, 4)


def kink_method(steps: int) -> Method:
    """Four classical steps a piece against two: wrong by h/12, and h/6, times the jump, against distances of about the memory, 33 h, times the jump."""
    return Method(CLASSICAL, 4, CLASSICAL, 2)


def layer_method(ladder: tuple[int, ...], steps: int) -> Method:
    """Pieces by the place in the ladder of an epsilon: the same h / sqrt(epsilon) for every epsilon.

    In the coarser half a layer takes a few steps, and a piece is cut into four; in the finer half the field changes little over a piece, and the
    method of the long runs does. The difference says how well that holds.
    """
    if steps <= sorted(ladder)[len(ladder) // 2]:
        return Method(CLASSICAL, 4, CLASSICAL, 2)
    return Method(CLASSICAL, 1, HEUN, 1)


def observe(
    claim: Claim,
    cell: Cell,
    loss: Loss,
    theta0: Floats,
    steps: tuple[int, ...],
    variant: Variant | None = None,
    fault: Fault | None = None,
    device: str = "cpu",
) -> Sweep:
    """Measure problems of a cell as their claim asks.

    Parameters
    ----------
    claim, cell
    loss, theta0
        B problems.
    steps : tuple of int
        Step counts; for a resolving-step claim those of the largest epsilon.
    variant : Variant, optional
        The field of the flow; None: the claim's.
    fault : Fault, optional
        Break the measurement on purpose. A method of the fault's own takes the place of the claim's.
    device : {"cpu", "cuda"}

    Returns
    -------
    Sweep
        For a resolving-step claim ``h`` holds the epsilons and ``error`` the steps from which on the order shows.
    """
    field = claim.variant if variant is None else variant
    if claim.kind == "resolving-step":
        return _resolving_steps(cell, loss, theta0, steps, field, fault, device)
    options: dict[str, Any] = {"fault": fault, "device": device}
    if cell.kind in CROSSING:
        method = _method(kink_method if cell.kind in KINKED else crossing_method, fault)
        return sweep_cell(cell, loss, theta0, steps, field, method=method, **options)
    return sweep_cell(cell, loss, theta0, steps, field, kind=claim.kind, **options)


def _method(own: Callable[[int], Method], fault: Fault | None) -> Callable[[int], Method]:
    """The claim's method, or that of a fault which replaces the solver."""
    broken = None if fault is None else fault.method
    return own if broken is None else lambda steps: broken


def resolving_step(h: Floats, error: Floats, level: float) -> tuple[float, int]:
    """The step below which error / h stays below a level, and the index of the last step above it.

    Parameters
    ----------
    h : (H,) float64
        Descending.
    error : (H,) float64
    level : float

    Returns
    -------
    float, int
        Interpolated linearly in the logarithms; NaN where all of error / h, or its value at the finest step, is on one side.
    """
    rate = np.log(error / h) - np.log(level)
    above = np.flatnonzero(~(rate < 0.0))
    if len(above) == 0 or above[-1] == len(h) - 1:
        return np.nan, 0
    i = int(above[-1])
    share = rate[i] / (rate[i] - rate[i + 1])
    return float(h[i] * (h[i + 1] / h[i]) ** share), i


def _resolving_steps(
    cell: Cell,
    loss: Loss,
    theta0: Floats,
    steps: tuple[int, ...],
    variant: Variant,
    fault: Fault | None,
    device: str,
) -> Sweep:
    """The resolving step of every epsilon, at equal ratios h / sqrt(epsilon) and for one level of error / h.

    The floor is the known relative error of the two distances that it is interpolated between, over the slope of log(error / h) there. The level is
    the same for all epsilons: an error in it moves all steps by one factor, up to O(sqrt(epsilon)), and not their order.
    """
    epsilons = cell.epsilon * np.array(SCALES)
    found = []
    for epsilon in epsilons:
        counts = tuple(round(n * np.sqrt(cell.epsilon / epsilon)) for n in steps)
        here = replace(cell, epsilon=float(epsilon))
        method = _method(partial(layer_method, counts), fault)
        options: dict[str, Any] = {"method": method, "fault": fault, "device": device}
        found.append(sweep_cell(here, loss, theta0, counts, variant, **options))
    shape = (len(theta0), len(epsilons))
    step, floor = np.full(shape, np.nan), np.zeros(shape)
    levels = _SHARE * np.max(found[0].error / found[0].h, axis=1)
    for e, one in enumerate(found):
        for b in range(len(theta0)):
            step[b, e], i = resolving_step(one.h[b], one.error[b], levels[b])
            if np.isfinite(step[b, e]):
                h, error, known = (a[b, i : i + 2] for a in (one.h, one.error, one.floor))
                slope = np.log(error[0] * h[1] / (error[1] * h[0])) / np.log(h[0] / h[1])
                floor[b, e] = step[b, e] * np.max(known / error) / slope
    return replace(
        found[-1],
        h=np.ascontiguousarray(np.broadcast_to(epsilons, shape)),
        error=step,
        floor=floor,
        difference=np.zeros((*shape, theta0.shape[1])),
        # epsilon -> 0 has no memory: what has to be small is epsilon itself
        memory=np.ones(len(theta0)),
    )
