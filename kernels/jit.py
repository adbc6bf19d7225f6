"""Compilation policy of the CPU kernels: every flag in one place, with its reason.

- ``error_model="numpy"``: division by zero gives inf or nan as in NumPy. The Python model inserts a branch that keeps LLVM from vectorising
  any loop with a division (a factor 9 on the square-root/divide loop of the memory sums).
- ``fastmath`` stays off: reassociation would make a result depend on the vector width, and a problem must not depend on its neighbours.
- ``nogil=True``: blocks of problems run in Python threads; each problem is computed by exactly one thread, so the numbers do not depend on how many there are.
- ``cache=True``: compiled code lives beside the module (``NUMBA_CACHE_DIR`` moves it).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numba
from numba.core.errors import NumbaExperimentalFeatureWarning

# Losses reach the trajectory kernels as typed function pointers; Numba warns that this feature is young. The tests compare every path with a reference.
warnings.filterwarnings(
    "ignore", message="First-class function type feature", category=NumbaExperimentalFeatureWarning
)

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": False, "cache": True}


def kernel(*signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a traversal; with a signature it is compiled at import (and cached), else at the first call."""
    return numba.njit(*signature, nogil=True, **_OPTIONS)


def inline(function: Callable[..., Any]) -> Any:
    """Compile a scalar formula that is always inlined.

    Without the attribute LLVM leaves large formulas as calls, and the loop around them is scalar
    (factor 4 for log cosh).
    """
    return numba.njit(forceinline=True, **_OPTIONS)(function)


def pointer(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that is passed to kernels by address."""
    return numba.cfunc(signature, nopython=True, **_OPTIONS)
