"""Compile for the GPU what is written once: a function's own code, with every name it uses meaning the GPU's.

A compiled function of the CPU, or a plain formula of ``theory``, is rebuilt from its code object. Compiled functions among its globals are rebuilt in turn;
those for which a traversal of the GPU stands in (:data:`REPLACED`) are replaced by it. The formula stays written once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any

from stepbias.kernels import elementary, jit
from stepbias.kernels.gpu.local import device_function

_ELEMENTARY = ("sincos", "sin", "cos", "exp", "log1p", "tanh", "sigmoid")


def _nothing() -> None:
    """Stands for a hint that only the CPU's compiler takes."""


REPLACED: dict[Any, Callable[..., Any]] = {jit.wide_vectors: _nothing}
"""CPU function -> plain function of the GPU that does the same for one lane."""

_BUILT: dict[Any, Any] = {}


def plain(function: Any) -> Callable[..., Any]:
    """The Python function behind a compiled one."""
    return getattr(function, "py_func", function)


def _is_compiled(value: Any) -> bool:
    return hasattr(value, "py_func")


def device(function: Any) -> Any:
    """The function compiled for the GPU; built once."""
    if function not in _BUILT:
        _BUILT[function] = build(function)
    return _BUILT[function]


def formula(function: Callable[..., Any]) -> Any:
    """As :func:`device`, for a formula of ``theory`` whose elementary functions are NumPy's: as :func:`stepbias.kernels.bind.bind` does on the CPU."""
    key = ("formula", function)
    if key not in _BUILT:
        names = {name: device(getattr(elementary, name)) for name in _ELEMENTARY}
        names["copysign"] = math.copysign
        _BUILT[key] = build(function, names)
    return _BUILT[key]


def build(function: Any, names: dict[str, Any] | None = None) -> Any:
    """Compile without keeping: for functions of a user, whose data may change.

    Parameters
    ----------
    function : callable
        Plain or compiled for the CPU.
    names : dict, optional
        What some global names mean instead.
    """
    return device_function(_rebuilt(REPLACED.get(function, function), names or {}))


def _rebuilt(function: Any, names: dict[str, Any]) -> FunctionType:
    code = plain(function)
    if not isinstance(code, FunctionType):
        raise TypeError(f"function = {function!r}; accepted: a Python function, plain or compiled")
    scope = dict(code.__globals__)
    for name in _names_in(code.__code__):
        value = scope.get(name)
        if name in names:
            scope[name] = names[name]
        elif value is not None and (_is_compiled(value) or _replaceable(value)):
            scope[name] = device(value)
    cells = tuple(CellType(_translated(cell.cell_contents)) for cell in code.__closure__ or ())
    return FunctionType(code.__code__, scope, code.__name__, code.__defaults__, cells or None)


def _replaceable(value: Any) -> bool:
    try:
        return value in REPLACED
    except TypeError:  # not hashable: no function
        return False


def _translated(value: Any) -> Any:
    return device(value) if _is_compiled(value) else value


def _names_in(code: Any) -> set[str]:
    """Global names of a code object and of the functions and comprehensions inside it."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            found |= _names_in(constant)
    return found
