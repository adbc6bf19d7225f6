"""Functions of one thread, ``@device_function``, and its arrays, ``thread.local.array(shape, float64)``: uninitialised, of a size known when a kernel is built.

Numba's simulator swaps a module of its own into the globals of whatever runs, and out again; where several threads call the same device function, it comes and
goes under their feet. Only kernels need it, for their place in the grid. In the simulator device functions are therefore left plain, and ``thread`` is a
stand-in.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import cuda
from numba.np.numpy_support import as_dtype

from stepbias.kernels.gpu.device import simulated


def _array(shape: Any, dtype: Any) -> Any:
    return np.full(shape, np.nan, dtype=as_dtype(dtype))  # nobody may rely on zeros


device_function: Any = (lambda function: function) if simulated() else cuda.jit(device=True)
thread: Any = SimpleNamespace(local=SimpleNamespace(array=_array)) if simulated() else cuda
