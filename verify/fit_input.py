"""What of the input of an order fit is usable: checks, sorting, floors, signs."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepbias.theory.checks import rectangular

# Points whose known floor exceeds this share of the error are not usable.
FLOOR_LIMIT = 0.01
# Points whose known sampling error exceeds this share of the error are not usable: beyond, log|error| is far from linear in the noise and its sign a guess.
SAMPLING_LIMIT = 0.5


class Status:
    """What became of a point."""

    USED = 0
    NOT_FINITE = 1
    ZERO = 2
    FLOOR = 3
    SIGN = 4
    COARSE = 5
    SAMPLING = 6
    TEXT: ClassVar[dict[int, str]] = {
        0: "used",
        1: "not finite",
        2: "exactly zero",
        3: "at the floor (floor above 1 % of the error)",
        4: "coarser than a change of sign",
        5: "coarser than the chosen window",
        6: "lost in sampling noise (above 50 % of the error)",
    }


class FitInput(NamedTuple):
    """Checked input; every array (B, H) but memory (B,)."""

    h: NDArray[np.float64]
    error: NDArray[np.float64]
    floor: NDArray[np.float64]
    floor_known: bool
    memory: NDArray[np.float64] | None
    sampling: NDArray[np.float64]  # 0 where none was given


class Points(NamedTuple):
    """Usable points first, finest first; the tails are finite filler."""

    x: NDArray[np.float64]  # log h
    y: NDArray[np.float64]  # log |error|
    floor: NDArray[np.float64]  # relative to |error|
    sampling: NDArray[np.float64]  # relative to |error|
    usable: NDArray[np.int64]  # how many
    place: NDArray[np.int64]  # position in the input
    status: NDArray[np.int64]  # in the input's order


def floats(name: str, value: Any) -> NDArray[np.float64]:
    """``value`` as a float64 array; entries that are masked have no value and are refused."""
    _refuse_masks(name, value)
    array = rectangular(name, value, "an array of real numbers, every row of the same length")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    return array.astype(np.float64)


def _refuse_masks(name: str, value: Any) -> None:
    rows = value if isinstance(value, list | tuple) else [value]
    for row in rows:
        if isinstance(row, list | tuple):
            _refuse_masks(name, row)
        elif np.ma.is_masked(row):
            raise ValueError(
                f"{name} has masked entries; accepted: plain numbers (error marks unusable points by NaN)"
            )


def _per_entry(name: str, value: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Broadcast a non-negative number, (H,) or (B, H) to (B, H); zeros for None."""
    array = np.zeros(1) if value is None else floats(name, value)
    try:
        array = np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"{name} must be a number or have shape {shape[1:]} or {shape}, got {array.shape}"
        ) from None
    if (array < 0.0).any():
        raise ValueError(f"{name} must not be negative, got {array.min()}")
    return array


def check_input(
    h: ArrayLike,
    error: ArrayLike,
    expected: float,
    floor: ArrayLike | None,
    level: float,
    memory: ArrayLike | None,
    sampling: ArrayLike | None,
    exact: bool = False,
) -> FitInput:
    """Broadcast to (B, H) and reject what no fit can use; see `fit_orders`."""
    steps, errors = floats("h", h), floats("error", error)
    if errors.ndim != 2 or errors.shape[1] == 0:
        raise ValueError(f"error must have shape (B, H) with H > 0, got {errors.shape}")
    if steps.shape not in (errors.shape, errors.shape[1:]):
        raise ValueError(
            f"h must have shape {errors.shape[1:]} or {errors.shape}, got {steps.shape}"
        )
    bad = steps[~(np.isfinite(steps) & (steps > 0.0))]
    if bad.size:
        raise ValueError(f"h must be positive and finite, got {bad.flat[0]}")
    rows = np.sort(np.atleast_2d(steps), axis=1)
    twice = np.diff(rows, axis=1) <= 1e-12 * rows[:, 1:]
    if twice.any():
        raise ValueError(f"h must hold distinct steps, got {rows[:, 1:][twice].flat[0]} twice")
    for name, value, low, high in (("expected", expected, 0, np.inf), ("level", level, 0, 1)):
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise TypeError(f"{name} must be a number, got {value!r}")
        if not low < value < high:
            raise ValueError(f"{name} must lie strictly between {low} and {high}, got {value}")
    if not isinstance(exact, bool | np.bool_):
        raise TypeError(f"exact must be True or False, got {exact!r} (a floor is named: floor=...)")
    floors = _per_entry("floor", floor, errors.shape)
    noise = _per_entry("sampling", sampling, errors.shape)
    if not np.isfinite(noise).all():
        raise ValueError(f"sampling must be finite, got {noise[~np.isfinite(noise)].flat[0]}")
    kappa = None
    if memory is not None:
        kappa = floats("memory", memory)
        if kappa.ndim > 1 or (kappa.ndim == 1 and kappa.shape != errors.shape[:1]):
            raise ValueError(f"memory must be a number or {errors.shape[:1]}, got {kappa.shape}")
        if not (np.isfinite(kappa) & (kappa > 0.0)).all():
            raise ValueError(f"memory must be positive and finite, got {memory}")
        kappa = np.broadcast_to(kappa, errors.shape[:1])
    steps = np.broadcast_to(steps, errors.shape)
    return FitInput(steps, errors, floors, floor is not None, kappa, noise)


def choose_points(data: FitInput) -> Points:
    """Sort, drop what is not finite, zero or at its floor, and what lies beyond a sign change."""
    h, error = data.h, data.error
    size = np.abs(error)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = data.floor / size
    status = np.full(h.shape, Status.USED, dtype=np.int64)
    status[data.sampling > SAMPLING_LIMIT] = Status.SAMPLING
    status[~(relative <= FLOOR_LIMIT)] = Status.FLOOR
    status[size == 0.0] = Status.ZERO
    # a zero error under a floor that is not zero is a floor and says nothing else
    status[(size == 0.0) & (data.floor > 0.0)] = Status.FLOOR
    status[~np.isfinite(error)] = Status.NOT_FINITE
    place = np.argsort(np.where(status == Status.USED, h, np.inf), axis=1, kind="stable")
    sign = np.take_along_axis(np.where(status == Status.USED, np.sign(error), 0.0), place, axis=1)
    same = np.cumprod(sign == sign[:, :1], axis=1).astype(bool) & (sign != 0.0)
    beyond = ~same & (sign != 0.0)
    rows = np.broadcast_to(np.arange(len(h))[:, None], h.shape)
    status[rows[beyond], place[beyond]] = Status.SIGN
    x = np.log(np.take_along_axis(h, place, axis=1))
    y = np.zeros_like(x)
    y[same] = np.log(np.take_along_axis(size, place, axis=1)[same])
    floor = np.where(same, np.take_along_axis(relative, place, axis=1), 0.0)
    sampling = np.where(same, np.take_along_axis(data.sampling, place, axis=1), 0.0)
    return Points(x, y, floor, sampling, same.sum(axis=1), place, status)
