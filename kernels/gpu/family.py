"""What differs between kinds of optimizers on the GPU: tables, scratch, one step, the field, and what is watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Family:
    """One kind of optimizer for the GPU; kernels are compiled once for each and each kind of loss.

    Attributes
    ----------
    state : type
        Named tuple of scratch arrays, all flat.
    sizes : callable
        (p, m) -> doubles per lane of every array of ``state``.
    zeroed : tuple of str
        Arrays that a run starts from at zero; the others begin as NaN.
    tables : callable
        Rules of a launch one behind the other, in the host's memory.
    start : device function
        ``(lane, lanes, dim, state)``: what an iterate carries before step 0.
    step : callable
        Oracle -> device function ``(rules, r, n, lane, lanes, dim, h, data, extra, state)``: step n of the optimizer, on the first third of ``state.high``.
    field : callable
        Oracle, m -> device function ``(rules, r, n, short, factors, lane, lanes, dim, h, theta, data, extra, state)``: the field into ``state.rate``.
    begin, observe : device functions
        :func:`stepbias.kernels.any_rule.begin` and ``observe`` of one lane: ``(lane, lanes, dim, state)`` and
        ``(rules, r, lane, lanes, dim, h, position, state, watch)``, h the length of the piece.
    before, after : callables
        m -> device functions ``(rules, r, n, lane, lanes, dim, state)`` and ``(rules, r, n, lane, lanes, dim, h, state, out)``: what the drift along iterates
        is counted from, and the change since, from ``state.gradients``.
    settle : device function
        ``(lane, state, drift)``: make the observed rates relative.
    """

    state: type
    sizes: Callable[[int, int], dict[str, int]]
    zeroed: tuple[str, ...]
    tables: Callable[[Sequence[Any]], Any]
    start: Any
    step: Callable[[Any], Any]
    field: Callable[[Any, int], Any]
    begin: Any
    observe: Any
    before: Callable[[int], Any]
    after: Callable[[int], Any]
    settle: Any
