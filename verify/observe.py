"""What a claim measures on the problems of a cell: errors over step sizes, or the step from which on the order shows over epsilon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.kernels.measure import Method
from stepbias.kernels.trajectory import CLASSICAL, HEUN
from stepbias.theory.claim import Claim
from stepbias.theory.variants import Variant
from stepbias.verify.dropped_problems import CROSSING, KINKED
from stepbias.verify.problems import Cell
from stepbias.verify.relabelling import sweep_cell
from stepbias.verify.sweep import Sweep

Floats = NDArray[np.float64]

# Epsilons of a resolving-step claim, relative to the cell's: a decade in quarters.
SCALES = tuple(10.0 ** (-k / 4) for k in range(5))
_PIECES = (4, 4, 4, 2, 1)
# Half-way between the orders 1 and 2.
_HALF = 1.5
# Neighbouring step counts whose errors are averaged where a kink is crossed.
_NEIGHBOURS = 2


def crossing_method(steps: int) -> Method:
    """Eight classical Runge-Kutta steps a piece against four.

    The field jumps inside the piece of the crossing, and a method that steps over a jump is wrong by about a third of its step: 1/24 of h against
    distances of (1/(1-beta) + 1/(1-rho)) h, about ten times h or more.
    """
    return Method(CLASSICAL, 8, CLASSICAL, 4)


def _layer_method(ladder: list[int]) -> Callable[[int], Method]:
    """Finer pieces on the coarser of the ladder's step counts."""
    pieces = dict(zip(sorted(ladder), _PIECES, strict=True))

    def method(steps: int) -> Method:
        fine = pieces[steps]
        return Method(CLASSICAL, fine, CLASSICAL, fine // 2) if fine > 1 else Method(CLASSICAL, 1, HEUN, 1)

    return method


def observe(
    claim: Claim,
    cell: Cell,
    loss: Loss,
    theta0: Floats,
    steps: tuple[int, ...],
    variant: Variant | None = None,
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

    Returns
    -------
    Sweep
        For a resolving-step claim ``h`` holds the epsilons and ``error`` the steps from which on the order shows.
    """
    field = claim.variant if variant is None else variant
    if claim.kind == "resolving-step":
        return _resolving_steps(cell, loss, theta0, steps, field)
    if cell.kind in KINKED:
        return _averaged_sweep(cell, loss, theta0, steps, field)
    if cell.kind in CROSSING:
        return sweep_cell(cell, loss, theta0, steps, field, method=crossing_method)
    return sweep_cell(cell, loss, theta0, steps, field, kind=claim.kind)


def _averaged_sweep(
    cell: Cell, loss: Loss, theta0: Floats, steps: tuple[int, ...], variant: Variant
) -> Sweep:
    """Root mean square over the step counts N and N + 1 in the place of N.

    The distance depends on the offset between the kink and the nearest step, t N / T modulo 1 for a crossing at t. One step more moves it by t / T,
    between 0.2 and 0.7, so that the mean is far smoother in h than each error; both errors obey the claim, hence so does their mean.
    """
    found = [
        sweep_cell(cell, loss, theta0, tuple(n + k for n in steps), variant, method=crossing_method)
        for k in range(_NEIGHBOURS)
    ]

    def mean(name: str) -> Floats:
        return np.sqrt(np.mean([getattr(one, name) ** 2 for one in found], axis=0))

    return replace(
        found[0],
        h=np.mean([one.h for one in found], axis=0),
        error=mean("error"),
        floor=mean("floor"),
    )


def half_order_step(h: Floats, error: Floats) -> tuple[float, int]:
    """The step below which every local slope of log error is at least 1.5, and the index of the first step that counts as finer.

    Parameters
    ----------
    h : (H,) float64
        Descending, geometric.
    error : (H,) float64

    Returns
    -------
    float, int
        Interpolated linearly in log h between the last slope below 1.5 and the next; NaN where all slopes, or the finest, are on one side.
    """
    x, y = np.log(h), np.log(error)
    slope = np.diff(y) / np.diff(x)
    centre = (x[1:] + x[:-1]) / 2.0
    below = np.flatnonzero(~(slope >= _HALF))
    if len(below) == 0 or below[-1] == len(slope) - 1:
        return np.nan, 0
    i = int(below[-1])
    share = (_HALF - slope[i]) / (slope[i + 1] - slope[i])
    return float(np.exp(centre[i] + share * (centre[i + 1] - centre[i]))), i


def _resolving_steps(
    cell: Cell, loss: Loss, theta0: Floats, steps: tuple[int, ...], variant: Variant
) -> Sweep:
    """h_half for every epsilon, at equal ratios h / sqrt(epsilon).

    The floor is the known error of the distances around h_half, twice, since the slope that is compared with 1.5 divides two of them.
    """
    epsilons = cell.epsilon * np.array(SCALES)
    found = []
    for epsilon in epsilons:
        counts = [round(n * np.sqrt(cell.epsilon / epsilon)) for n in steps]
        here = replace(cell, epsilon=float(epsilon))
        found.append(sweep_cell(here, loss, theta0, tuple(counts), variant, method=_layer_method(counts)))
    shape = (len(theta0), len(epsilons))
    half, floor = np.full(shape, np.nan), np.zeros(shape)
    for e, one in enumerate(found):
        for b in range(len(theta0)):
            half[b, e], i = half_order_step(one.h[b], one.error[b])
            known = one.floor[b, i : i + 3] / one.error[b, i : i + 3]
            floor[b, e] = 2.0 * half[b, e] * np.max(known) if np.isfinite(half[b, e]) else 0.0
    last = found[-1]
    return replace(
        last,
        h=np.ascontiguousarray(np.broadcast_to(epsilons, shape)),
        error=half,
        floor=floor,
        difference=np.zeros((*shape, theta0.shape[1])),
        # epsilon -> 0 has no memory: what has to be small is epsilon itself
        memory=np.ones(len(theta0)),
    )
