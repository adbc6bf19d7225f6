"""Compile a scalar formula of ``theory`` with the elementary functions of this device."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from stepbias.kernels import elementary
from stepbias.kernels.jit import inline

_ELEMENTARY: dict[str, Any] = {
    name: getattr(elementary, name)
    for name in ("sincos", "sin", "cos", "exp", "log1p", "tanh", "sigmoid")
}


def bind(function: Callable[..., Any]) -> Any:
    """The same code object, with the names of elementary functions meaning the vectorisable compiled ones.

    The formula stays written once, in ``theory``, where the names mean NumPy's; a CUDA build binds it to device functions in the same way.
    """
    if not isinstance(function, FunctionType):
        raise TypeError(f"function = {function!r}; accepted: a plain Python function")
    names = {**function.__globals__, **_ELEMENTARY}
    return inline(FunctionType(function.__code__, names, function.__name__, function.__defaults__))
