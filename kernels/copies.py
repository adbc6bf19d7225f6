"""Copies between arrays of one shape. Numba's own slice assignment compiles the text of its error message with it, three seconds for every pair of types."""

from __future__ import annotations

from stepbias.kernels.jit import inlined_kernel
from stepbias.kernels.views import flat


@inlined_kernel
def copy(source, target):
    """``target`` = ``source``, both C-contiguous and of one size (not checked)."""
    given, out = flat(source), flat(target)
    for i in range(out.size):
        out[i] = given[i]
