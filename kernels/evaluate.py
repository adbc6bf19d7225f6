"""Call an oracle from Python: numba function pointers are only callable from compiled code."""

from __future__ import annotations

from typing import Any

from numba import types

from stepbias.kernels.jit import kernel
from stepbias.kernels.oracle import (
    CUBE,
    GRADIENT,
    GRADIENTS,
    INTEGERS,
    MATRIX,
    PRODUCTS,
    VALUE,
    VECTOR,
)

_INDEX = types.int64


@kernel(types.void(types.FunctionType(GRADIENT), _INDEX, MATRIX, INTEGERS, VECTOR, VECTOR, MATRIX))
def gradient(function: Any, b: Any, theta: Any, ints: Any, reals: Any, work: Any, out: Any) -> None:
    """Gradient of batch b for one block of lanes."""
    function(b, theta, ints, reals, work, out)


@kernel(types.void(types.FunctionType(GRADIENTS), MATRIX, INTEGERS, VECTOR, VECTOR, CUBE))
def gradients(function: Any, theta: Any, ints: Any, reals: Any, work: Any, out: Any) -> None:
    """Gradients of all batches; leaves in ``work`` what :func:`products` reads."""
    function(theta, ints, reals, work, out)


@kernel(
    types.void(
        types.FunctionType(PRODUCTS), MATRIX, INTEGERS, VECTOR, VECTOR, CUBE, CUBE, CUBE, CUBE
    )
)
def products(
    function: Any,
    theta: Any,
    ints: Any,
    reals: Any,
    work: Any,
    first: Any,
    second: Any,
    out_first: Any,
    out_second: Any,
) -> None:
    """Two Hessian-vector products per batch, after :func:`gradients` with the same ``work``."""
    function(theta, ints, reals, work, first, second, out_first, out_second)


@kernel(types.void(types.FunctionType(VALUE), _INDEX, MATRIX, INTEGERS, VECTOR, VECTOR, VECTOR))
def value(function: Any, b: Any, theta: Any, ints: Any, reals: Any, work: Any, out: Any) -> None:
    """Value of batch b for one block of lanes."""
    function(b, theta, ints, reals, work, out)
