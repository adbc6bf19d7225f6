"""A sub-ensemble: some problems of a source, in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.oracle import Oracle

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class SelectedSource:
    """Some problems of an ensemble.

    Parameters
    ----------
    source : Source
        An ensemble; its ``bounds`` accepts a third argument, the problems meant.
    indices : (K,) int64, or () for a single problem
    """

    def __init__(self, source: Any, indices: Integers) -> None:
        self.source = source
        self.indices = indices
        self.dim = source.dim
        self.batches = source.batches
        self.problems = len(indices) if indices.ndim else None

    @property
    def oracle(self) -> Oracle:
        """That of the ensemble."""
        return self.source.oracle

    def work_size(self, lanes: int) -> int:
        """That of the ensemble."""
        return self.source.work_size(lanes)

    def pack(self, indices: Integers) -> tuple[Integers, Floats]:
        """Data of the chosen problems."""
        chosen = (
            np.full(len(indices), self.indices) if self.indices.ndim == 0 else self.indices[indices]
        )
        return self.source.pack(chosen)

    def bounds(
        self, lower: Floats, upper: Floats, indices: Integers | None = None
    ) -> tuple[Any, Any, Any, Any] | None:
        """Bounds of the chosen problems."""
        if self.indices.ndim == 0:
            result = self.source.bounds(lower, upper, self.indices[None])
            return None if result is None else tuple(float(r[0]) for r in result)  # type: ignore[return-value]
        return self.source.bounds(
            lower, upper, self.indices if indices is None else self.indices[indices]
        )

    def describe(self) -> str:
        """The ensemble's law and how many were chosen."""
        count = "one problem" if self.problems is None else f"{self.problems} problems"
        return f"{count} of: {self.source.describe()}"
