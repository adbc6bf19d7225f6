"""Checks of arguments: one clear sentence with the argument's name, its value and what is accepted."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def real(name: str, value: Any, accepted: str = "finite numbers") -> NDArray[np.float64]:
    """``value`` as a float64 array; ``TypeError`` if it is not numeric, ``ValueError`` if not finite."""
    array = rectangular(name, value, accepted)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} = {value!r} has type {type(value).__name__}; accepted: {accepted}")
    array = array.astype(np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} = {_short(value)} is not finite; accepted: {accepted}")
    return array


def rectangular(name: str, value: Any, accepted: str) -> NDArray[Any]:
    """``value`` as an array; ``ValueError`` for nested sequences of unequal lengths."""
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(
            f"{name} = {_short(value)} has rows of unequal lengths; accepted: {accepted}"
        ) from None


def positive(name: str, value: Any) -> float:
    """One number > 0."""
    array = real(name, value, "a number > 0")
    if array.ndim > 0 or array <= 0.0:
        raise ValueError(f"{name} = {_short(value)}; accepted: a number > 0")
    return float(array)


def parameter(
    name: str, value: Any, lower: float, upper: float, *, closed_below: bool = True
) -> float | NDArray[np.float64]:
    """A scalar (or one value per problem) in ``[lower, upper)``; open below if ``closed_below`` is false."""
    left = "[" if closed_below else "("
    accepted = f"a number in {left}{lower:g}, {upper:g}), or one per problem"
    array = real(name, value, accepted)
    if array.ndim > 1:
        raise ValueError(f"{name} has shape {array.shape}; accepted: {accepted}")
    low = array < lower if closed_below else array <= lower
    if np.any(low | (array >= upper)):
        raise ValueError(f"{name} = {_short(value)}; accepted: {accepted}")
    return float(array) if array.ndim == 0 else array


def whole(name: str, value: Any, lower: int, upper: int | None = None) -> int:
    """An integer in ``[lower, upper]``; bool and float are rejected."""
    accepted = f"an integer >= {lower}" if upper is None else f"an integer from {lower} to {upper}"
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} = {value!r} is a bool; accepted: {accepted}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{name} = {value!r} has type {type(value).__name__}; accepted: {accepted}"
        ) from None
    if number < lower or (upper is not None and number > upper):
        raise ValueError(f"{name} = {number}; accepted: {accepted}")
    return number


def choice(name: str, value: Any, accepted: tuple[Any, ...]) -> Any:
    """One of the listed values."""
    if value not in accepted:
        raise ValueError(f"{name} = {value!r}; accepted: {', '.join(repr(a) for a in accepted)}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
