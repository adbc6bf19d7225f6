"""Bounds over boxes for many problems: cut the ensemble into chunks, one float per problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CHUNK = 256  # problems held at a time

Chunk = Callable[[Integers, Floats, Floats], "list[Floats]"]


def over_problems(
    chunk: Chunk, problems: int | None, indices: Integers | None, lower: Floats, upper: Floats
) -> tuple[Any, Any, Any, Any]:
    """M_1 .. M_4 of the problems ``indices``.

    Parameters
    ----------
    chunk : function (indices (K,), lower (K, p), upper (K, p)) -> four arrays (K,)
    problems : int or None
        Size of the ensemble; None for a single loss, whose bounds are returned as floats.
    indices : (K,) int64 or None
        None: all problems.
    lower, upper : (p,) or (K, p) float64
    """
    if problems is None:
        rows = chunk(np.zeros(1, dtype=np.int64), np.atleast_2d(lower), np.atleast_2d(upper))
        return tuple(float(row[0]) for row in rows)  # type: ignore[return-value]
    chosen = np.arange(problems) if indices is None else indices
    shape = (len(chosen), lower.shape[-1])
    low, high = np.broadcast_to(lower, shape), np.broadcast_to(upper, shape)
    parts = []
    for start in range(0, len(chosen), _CHUNK):
        run = slice(start, start + _CHUNK)
        parts.append(chunk(chosen[run], low[run], high[run]))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]
