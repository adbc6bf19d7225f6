"""Arrays of one thread: ``thread.local.array(shape, float64)``, uninitialised, of a size known when the kernel is compiled.

Numba's simulator hands such arrays out through a module that it swaps into the globals of a kernel while that runs; functions of other modules do not see it,
and one that is swapped in by several threads at once comes and goes. There ``thread`` is a stand-in.
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


thread: Any = SimpleNamespace(local=SimpleNamespace(array=_array)) if simulated() else cuda
