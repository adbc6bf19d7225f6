"""A traced rule on one schedule, as the kernels read it: tables, and loops that are called by address."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class GroupedRule(NamedTuple):
    """A rule with R states that are weighted sums over the past, on one schedule of S steps with m batches, as the kernels read it.

    ``weight[n, r, b]`` is the sum of the weights of the steps k < n with batch b in state r before step n, ``constant[n, r]`` the part without gradients,
    ``ages[n, r]`` the sum of weight times n - k (full batch). ``recursion`` holds a, b and c of state' = a state + b phi + c. The direction reads the states
    before the step, or after it (``after`` = 1). From step ``settled`` on no direction in memory depends on its step (full batch); from step ``repeats`` on
    each is that of the step m later (m batches in an order that repeats), and ``cycle`` holds the weights of :func:`stepbias.kernels.rule.cycle_weights`.
    """

    window: int
    settled: int
    last: int
    after: int
    direct: bool
    batch: Integers
    columns: Floats  # (S, C)
    recursion: Floats  # (3, S, R)
    weight: Floats  # (S + 1, R, m)
    constant: Floats  # (S + 1, R)
    ages: Floats  # (S + 1, R)
    step: Any
    feed: Any
    sweep: Any
    response: Any
    repeats: int
    cycle: Floats  # (R, m, m)


class DenseRule(NamedTuple):
    """A rule whose states are followed step by step, with full Hessians."""

    window: int
    last: int
    batch: Integers
    columns: Floats  # (S, C)
    start: Floats  # (R,)
    step: Any
    response: Any
    bound: Any
    push: Any
