"""The uniform numbers that a random loss is made of: pure functions of (seed, family, problem, index)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.jit import kernel
from stepbias.kernels.philox import uniforms

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Draws of a loss start at family number * 2^40, so that other uses of the same seed and problem do not meet them.
_FAMILY_STRIDE = 1 << 40


@kernel()
def _expand(seed, problems, start, out):
    """out[i, lane]: draw start + i of the problem of that lane, uniform in (0, 1); two per counter value."""
    count, lanes = out.shape
    for lane in range(lanes):
        for pair in range((count + 1) // 2):
            u, v = uniforms(seed, problems[lane], start + pair)
            out[2 * pair, lane] = u
            if 2 * pair + 1 < count:
                out[2 * pair + 1, lane] = v


class Draws:
    """The uniform numbers of some problems, taken in order.

    Parameters
    ----------
    seed : int
    family : int
        Number of the family, 1, 2, ...
    indices : (L,) int64
        Problems.
    count : int
        How many numbers per problem will be taken.
    """

    def __init__(self, seed: int, family: int, indices: Integers, count: int) -> None:
        self._numbers = np.empty((count, len(indices)))
        _expand(
            seed,
            np.ascontiguousarray(indices, dtype=np.int64),
            family * _FAMILY_STRIDE,
            self._numbers,
        )
        self._next = 0

    def uniform(self, low: float, high: float, *shape: int) -> Floats:
        """``shape + (L,)`` numbers, uniform in (low, high)."""
        size = int(np.prod(shape))
        taken = self._numbers[self._next : self._next + size]
        if len(taken) != size:
            raise IndexError("more draws than counted")
        self._next += size
        return np.asarray((low + (high - low) * taken).reshape(*shape, -1))

    def signed(self, low: float, high: float, *shape: int) -> Floats:
        """As :meth:`uniform` for the absolute value, with a random sign; one draw per number."""
        x = self.uniform(-1.0, 1.0, *shape)
        return np.asarray(np.where(x < 0.0, -low, low) + (high - low) * x)
