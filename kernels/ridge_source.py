"""Where ridge losses come from: given arrays, drawn ensembles, or rows of data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels import ridge
from stepbias.kernels.boxes import over_problems
from stepbias.kernels.oracle import Oracle
from stepbias.theory.activations import supremum

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Units = tuple[
    Floats, Floats, Floats
]  # offset (units, L), amplitude (units, L), weight (p, units, L)


def segment_table(runs: list[tuple[int, int, int]]) -> Integers:
    """Rows (kind, batch, start, stop) from consecutive runs (kind, batch, number of units)."""
    rows, start = [], 0
    for kind, batch, count in runs:
        if count:
            rows.append((kind, batch, start, start + count))
        start += count
    return np.array(rows, dtype=np.int64).reshape(len(rows), 4)


def _ordered_sum(array: Floats, axis: int) -> Floats:
    """Sum in the order of the entries: NumPy's own sums pair them differently for one problem than for many."""
    return np.asarray(np.cumsum(array, axis=axis).take(-1, axis=axis))


class RidgeSource(ABC):
    """Ridge losses whose weights differ from problem to problem; subclasses say which units they have.

    Parameters
    ----------
    dim, batches : int
    problems : int or None
    segments : (segments, 4) int64
        Rows (kind, batch, start, stop), see :mod:`stepbias.kernels.ridge`.
    """

    def __init__(self, dim: int, batches: int, problems: int | None, segments: Integers) -> None:
        self.dim = dim
        self.batches = batches
        self.problems = problems
        self.segments = segments
        self.units = int(segments[-1, 3]) if len(segments) else 0
        self.decay = 0.0

    @property
    def oracle(self) -> Oracle:
        """Compiled functions, built at the first use."""
        return ridge.oracle()

    def work_size(self, lanes: int) -> int:
        """Four numbers per unit and lane."""
        return 4 * self.units * lanes

    @abstractmethod
    def draw(self, indices: Integers) -> Units:
        """Offsets, amplitudes and weights of the problems ``indices``."""

    @abstractmethod
    def describe(self) -> str:
        """The law or the origin."""

    def pack(self, indices: Integers) -> tuple[Integers, Floats]:
        """See :class:`stepbias.kernels.oracle.Source`."""
        offset, amplitude, weight = self.draw(np.asarray(indices, dtype=np.int64))
        return self._header(False), np.concatenate(
            [offset.ravel(), amplitude.ravel(), weight.ravel(), [self.decay]]
        )

    def _header(self, shared: bool) -> Integers:
        return np.concatenate(
            [[self.units, shared, len(self.segments)], self.segments.ravel()]
        ).astype(np.int64)

    def bounds(
        self, lower: Floats, upper: Floats, indices: Integers | None = None
    ) -> tuple[Any, Any, Any, Any]:
        """M_k = max over b, j of sum_u |a_u| sup |phi^(k)| |w_uj|^k, the supremum over the z that the box can reach.

        A mixed partial derivative is sum_u a_u phi^(k)(z_u) w_ui w_uj ..., which Hoelder's inequality bounds by the largest of its pure ones.
        """
        return over_problems(self._bounds, self.problems, indices, lower, upper)

    def _bounds(self, indices: Integers, lower: Floats, upper: Floats) -> list[Floats]:
        offset, amplitude, weight = self.draw(indices)
        low, high = lower.T[:, None, :], upper.T[:, None, :]
        ends = weight * low, weight * high
        start = offset + _ordered_sum(np.minimum(*ends), 0)
        stop = offset + _ordered_sum(np.maximum(*ends), 0)
        largest = np.maximum(np.abs(lower), np.abs(upper)).T
        size = np.abs(weight)
        power = np.ones_like(size)
        result = []
        for order in range(1, 5):
            power = power * size
            total = np.zeros((self.batches, self.dim, len(indices)))
            for kind, batch, first, last in self.segments:
                run = slice(first, last)
                bound = np.abs(amplitude[run]) * supremum(int(kind), order, start[run], stop[run])
                total[batch] += _ordered_sum(bound * power[:, run], 1)
            if order == 1:
                total += self.decay * largest
            elif order == 2:
                total += self.decay
            result.append(total.max(axis=(0, 1)))
        return result


class ArrayRidge(RidgeSource):
    """Ridge losses from arrays, one loss or one per problem.

    Parameters
    ----------
    segments : (segments, 4) int64
    offset, amplitude : (units,) or (B, units) float64
    weight : (p, units) or (B, p, units) float64
    batches : int
    origin : str
        What :meth:`describe` says.
    """

    def __init__(
        self,
        segments: Integers,
        offset: Floats,
        amplitude: Floats,
        weight: Floats,
        batches: int,
        origin: str,
    ) -> None:
        sizes = [
            a.shape[0] for a, plain in ((offset, 1), (amplitude, 1), (weight, 2)) if a.ndim > plain
        ]
        super().__init__(weight.shape[-2], batches, sizes[0] if sizes else None, segments)
        self.offset, self.amplitude, self.weight = offset, amplitude, weight
        self.origin = origin

    def draw(self, indices: Integers) -> Units:
        """See :meth:`RidgeSource.draw`."""

        def lanes(array: Floats, plain: int) -> Floats:
            if array.ndim > plain:
                return np.moveaxis(array[indices], 0, -1)
            return np.broadcast_to(array[..., None], (*array.shape, len(indices)))

        return lanes(self.offset, 1), lanes(self.amplitude, 1), lanes(self.weight, 2)

    def describe(self) -> str:
        """The origin."""
        return self.origin


class SharedRidge(RidgeSource):
    """One ridge loss on many rows: the weights are stored once, whatever the number of lanes.

    Parameters
    ----------
    segments : (segments, 4) int64
    offset, amplitude : (units,) float64
    rows : (p, units) float64
    batches : int
    decay : float
        Adds decay/2 |theta|^2 to every batch.
    origin : str
    """

    def __init__(
        self,
        segments: Integers,
        offset: Floats,
        amplitude: Floats,
        rows: Floats,
        batches: int,
        decay: float,
        origin: str,
    ) -> None:
        super().__init__(rows.shape[0], batches, None, segments)
        self.offset, self.amplitude, self.rows = offset, amplitude, rows
        self.decay = decay
        self.origin = origin

    def draw(self, indices: Integers) -> Units:
        """See :meth:`RidgeSource.draw`."""
        shape = (self.units, len(indices))
        offset, amplitude = (
            np.broadcast_to(a[:, None], shape) for a in (self.offset, self.amplitude)
        )
        return offset, amplitude, np.broadcast_to(self.rows[:, :, None], (self.dim, *shape))

    def pack(self, indices: Integers) -> tuple[Integers, Floats]:
        """See :class:`stepbias.kernels.oracle.Source`."""
        lanes = len(indices)
        per_lane = [np.repeat(a, lanes) for a in (self.offset, self.amplitude)]
        return self._header(True), np.concatenate([*per_lane, self.rows.ravel(), [self.decay]])

    def describe(self) -> str:
        """The origin."""
        return self.origin
