"""Compilation policy of the CPU kernels: every flag in one place, with its reason.

- ``error_model="numpy"``: division by zero gives inf or nan as in NumPy. The Python model inserts a branch that keeps LLVM from vectorising
  any loop with a division (a factor 9 on the square-root/divide loop of the memory sums).
- ``fastmath`` stays off: reassociation would make a result depend on the vector width, and a problem must not depend on its neighbours.
- ``nogil=True``: blocks of problems run in Python threads; each problem is computed by exactly one thread, so the numbers do not depend on how many there are.
- ``fastmath={"contract"}`` where :func:`contracted` is used, in the inner loops of the memory sums and of the losses: a product followed by a sum may
  be fused. That removes a rounding and never adds one, and it does not reorder anything: vector body and scalar remainder of a loop fuse alike (a
  test compares the bits).
- :func:`wide_vectors` asks for 512-bit vectors in those loops; on its own LLVM stays at 256 bits on most processors, half the rate of fused multiply-adds.
- ``cache=True``: compiled code lives beside the module (``NUMBA_CACHE_DIR`` moves it).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.errors import NumbaExperimentalFeatureWarning
from numba.extending import intrinsic
from numpy.typing import NDArray

# Losses reach the trajectory kernels as typed function pointers; Numba warns that this feature is young. The tests compare every path with a reference.
warnings.filterwarnings(
    "ignore", message="First-class function type feature", category=NumbaExperimentalFeatureWarning
)

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": False, "cache": True}


def kernel(*signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a traversal; with a signature it is compiled at import (and cached), else at the first call."""
    return numba.njit(*signature, nogil=True, **_OPTIONS)


def inlined_kernel(function: Callable[..., Any]) -> Any:
    """Compile a short traversal that is inlined where another one calls it.

    A call passes every array of its named tuples as half a dozen words, some two hundred in all: a third of the time of a step of one problem.
    """
    return numba.njit(forceinline=True, nogil=True, **_OPTIONS)(function)


def inline(function: Callable[..., Any]) -> Any:
    """Compile a scalar formula that is always inlined.

    Without the attribute LLVM leaves large formulas as calls, and the loop around them is scalar
    (factor 4 for log cosh).
    """
    return numba.njit(forceinline=True, **_OPTIONS)(function)


def pointer(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that is passed to kernels by address."""
    return numba.cfunc(signature, nopython=True, **_OPTIONS)


def contracted(function: Callable[..., Any]) -> Any:
    """Compile an inner loop, or a formula inlined into one, in which products and sums may be fused."""
    options = {**_OPTIONS, "fastmath": {"contract"}}
    return numba.njit(nogil=True, **options)(function)


def contracted_inline(function: Callable[..., Any]) -> Any:
    """As :func:`inline`, for formulas used in contracted loops."""
    options = {**_OPTIONS, "fastmath": {"contract"}}
    return numba.njit(forceinline=True, **options)(function)


def generated_scalar(kept: bool) -> Callable[[Callable[..., Any]], Any]:
    """As :func:`contracted_inline`, for generated code; ``kept`` in a file, so that it can be cached."""
    options = {**_OPTIONS, "fastmath": {"contract"}, "cache": kept}
    return lambda function: numba.njit(forceinline=True, **options)(function)


def generated_loop(kept: bool, signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """As :func:`pointer`, for generated loops, in which products and sums may be fused."""
    options = {**_OPTIONS, "fastmath": {"contract"}, "cache": kept}
    return numba.cfunc(signature, nopython=True, **options)


@intrinsic
def wide_vectors(_context: Any) -> Any:
    """Ask LLVM for 512-bit vectors in the function that calls this (no effect on processors without them)."""

    def codegen(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        # llvmlite's attribute set accepts known names only; a string attribute has to go in below it.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def square_root(_context: Any, x: Any) -> Any:
    """The square root as LLVM's own instruction: the library's function, which may set ``errno``, keeps some loops scalar."""

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.sqrt", [args[0].type]), args)

    return types.float64(types.float64), codegen


def aligned(shape: tuple[int, ...] | int) -> NDArray[np.float64]:
    """Zeros on a 64-byte boundary: a 512-bit load that straddles cache lines costs two."""
    size = int(np.prod(shape))
    raw = np.zeros(size + 8)
    offset = (-(raw.ctypes.data // 8)) % 8
    return raw[offset : offset + size].reshape(shape)
