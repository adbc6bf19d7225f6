"""The contract between a loss and the trajectory kernels: four compiled functions over a block of lanes.

A block holds L problems; the lane axis is innermost everywhere, so that the elementary operations of one problem become one SIMD lane. The
functions are reached through pointers: the trajectory kernels are compiled once, whatever the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import types
from numpy.typing import NDArray

from stepbias.kernels.jit import pointer

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_real = types.float64
_index = types.int64
VECTOR = types.Array(_real, 1, "C")
MATRIX = types.Array(_real, 2, "C")
CUBE = types.Array(_real, 3, "C")
INTEGERS = types.Array(_index, 1, "C")

# (b, theta[p, L], ints, reals, work, out[p, L])
GRADIENT = types.void(_index, MATRIX, INTEGERS, VECTOR, VECTOR, MATRIX)
# (theta[p, L], ints, reals, work, out[m, p, L]); leaves in `work` what PRODUCTS reads
GRADIENTS = types.void(MATRIX, INTEGERS, VECTOR, VECTOR, CUBE)
# (theta[p, L], ints, reals, work, first[m, p, L], second[m, p, L], out_first, out_second)
PRODUCTS = types.void(MATRIX, INTEGERS, VECTOR, VECTOR, CUBE, CUBE, CUBE, CUBE)
# (b, theta[p, L], ints, reals, work, out[L])
VALUE = types.void(_index, MATRIX, INTEGERS, VECTOR, VECTOR, VECTOR)


class Oracle(NamedTuple):
    """Compiled functions of one kind of loss (numba ``CFunc`` objects)."""

    gradient: Any
    gradients: Any
    products: Any
    value: Any


def compile_oracle(
    gradient: Callable[..., None],
    gradients: Callable[..., None],
    products: Callable[..., None],
    value: Callable[..., None],
) -> Oracle:
    """Compile the four functions of one kind of loss, to be passed by address."""
    return Oracle(
        pointer(GRADIENT)(gradient),
        pointer(GRADIENTS)(gradients),
        pointer(PRODUCTS)(products),
        pointer(VALUE)(value),
    )


class Source(Protocol):
    """Where a loss comes from: its sizes, its compiled functions, its data."""

    @property
    def dim(self) -> int:
        """p."""
        ...

    @property
    def batches(self) -> int:
        """m."""
        ...

    @property
    def problems(self) -> int | None:
        """B, or None for a single loss."""
        ...

    @property
    def oracle(self) -> Oracle:
        """Compiled functions, built at the first use."""
        ...

    def work_size(self, lanes: int) -> int:
        """Length of the scratch array that the oracle needs for a block of ``lanes`` problems."""
        ...

    def pack(self, indices: Integers) -> tuple[Integers, Floats]:
        """Data of the problems ``indices`` (L,), lane axis innermost, as one integer and one real array."""
        ...

    def bounds(self, lower: Floats, upper: Floats) -> tuple[Any, Any, Any, Any] | None:
        """M_1 .. M_4: bounds on all partial derivatives of order 1 .. 4 over the box, or None."""
        ...

    def describe(self) -> str:
        """The law or the origin of the loss, for reports."""
        ...


ScalarFunction = Callable[[float], float]
