"""What a launch carries: the lanes and what they share, scratch, and results. Arrays are flat, the lane innermost."""

from __future__ import annotations

from typing import Any, NamedTuple

STAGES = 4  # most stages of a Runge-Kutta method


class Groups(NamedTuple):
    """What lanes share, G entries each, all flat.

    Number of steps, rules of iterate and flow; for the reported and the coarser flow (G, 2) substeps and stages and (G, 2, 4) tableaux.
    """

    steps: Any
    rule: Any
    flow_rule: Any
    substeps: Any
    stages: Any
    scale: Any
    weight: Any


class Lanes(NamedTuple):
    """Step size and group of every lane, (L,)."""

    h: Any
    group: Any


class State(NamedTuple):
    """Scratch of a launch: (p, L) flat, or (m, p, L) where batches are meant."""

    high: Any  # (3, p, L): iterate, flow, coarser flow
    low: Any  # (3, p, L)
    moments: Any  # (3, p, L): mean, square, gradient of the iterate
    stage: Any
    rate: Any
    total: Any
    root: Any
    start_root: Any
    mean: Any
    square: Any
    gradients: Any  # (m, p, L)
    mean_lag: Any  # (m, p, L)
    square_lag: Any  # (m, p, L)
    first: Any  # (m, p, L)
    second: Any  # (m, p, L)


PER_COMPONENT = {"high": 3, "low": 3, "moments": 3}
PER_BATCH = ("gradients", "mean_lag", "square_lag", "first", "second")


class Watch(NamedTuple):
    """Results per lane, as :class:`stepbias.kernels.trajectory.Watch`."""

    error: Any
    solver: Any
    distance: Any
    root: Any
    drift: Any
    size: Any
    start: Any
    grain: Any
    difference: Any  # (p, L)
