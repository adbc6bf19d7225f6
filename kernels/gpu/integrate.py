"""Ensembles of small ordinary differential equations on the GPU: one thread a trajectory, its state in registers, a fixed step.

The state is a tuple, and stages and components are functions built one on the other when the kernel is: whatever their number, nothing is left for the
compiler to unroll, and no array of a thread lies in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from types import CellType, CodeType, FunctionType
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from stepbias.kernels.gpu import device
from stepbias.kernels.gpu.bind import build, plain
from stepbias.kernels.gpu.local import device_function
from stepbias.kernels.trajectory import CLASSICAL, Tableau
from stepbias.theory import checks

Reals = NDArray[Any]


# kernel -------------------------------------------------------------------------------------------


def _rounded(value: Any, real: type) -> Any:
    return real(value) if type(value) is float else value


def in_precision(field: Callable[..., Any], real: type) -> Callable[..., Any]:
    """The same function with its floating-point constants in ``real``: one literal in double precision would make the arithmetic of a single one double.

    Constants are literals, globals and names of an enclosing function; integers stay, since they may be indices.
    """
    if real is np.float64:
        return field
    code: CodeType = field.__code__
    constants = tuple(_rounded(value, real) for value in code.co_consts)
    scope = dict(field.__globals__)
    scope |= {name: _rounded(scope[name], real) for name in code.co_names if name in scope}
    cells = tuple(CellType(_rounded(c.cell_contents, real)) for c in field.__closure__ or ())
    changed = code.replace(co_consts=constants)
    return FunctionType(changed, scope, field.__name__, field.__defaults__, cells or None)


@cache
def _loaded(count: int) -> Any:
    """Device function: column i of an array with ``count`` rows, as a tuple."""
    if count == 0:

        @device_function
        def nothing(array: Any, i: Any) -> Any:
            return ()

        return nothing
    before, last = _loaded(count - 1), count - 1

    @device_function
    def loaded(array: Any, i: Any) -> Any:
        return (*before(array, i), array[last, i])

    return loaded


@cache
def _cast(dim: int, real: type) -> Any:
    """Device function: a tuple in the precision of the run; a field with integer constants returns doubles."""
    if dim == 0:

        @device_function
        def nothing(x: Any) -> Any:
            return ()

        return nothing
    before, last = _cast(dim - 1, real), dim - 1

    @device_function
    def cast(x: Any) -> Any:
        return (*before(x), real(x[last]))

    return cast


@cache
def _moved(dim: int) -> Any:
    """Device function: x + factor y of tuples."""
    if dim == 0:

        @device_function
        def nothing(x: Any, factor: Any, y: Any) -> Any:
            return ()

        return nothing
    before, last = _moved(dim - 1), dim - 1

    @device_function
    def moved(x: Any, factor: Any, y: Any) -> Any:
        return (*before(x, factor, y), x[last] + factor * y[last])

    return moved


def _stages(rate_at: Any, moved: Any, scale: Sequence[Any], share: Sequence[Any]) -> Any:
    """Device function: the sum of the rates of stages 1, 2, .. of :class:`stepbias.kernels.trajectory.Tableau`.

    It takes the rate of stage 0 twice, as the rate of the stage before and as the sum so far; ``share`` are the weights relative to the first that is not 0.
    """
    if len(scale) == 1:

        @device_function
        def done(t: Any, h: Any, x: Any, parameters: Any, rate: Any, total: Any) -> Any:
            return total

        return done
    reach, weight, begins = scale[1], share[1], not share[0]
    others = _stages(rate_at, moved, scale[1:], [share[0] or weight, *share[2:]])

    @device_function
    def stages(t: Any, h: Any, x: Any, parameters: Any, rate: Any, total: Any) -> Any:
        new = rate_at(t + reach * h, moved(x, reach * h, rate), parameters)
        if begins:
            total = new
        elif weight != 0.0:
            total = moved(total, weight, new)
        return others(t, h, x, parameters, new, total)

    return stages


def fixed_step_kernel(
    field: Callable[..., Any], dim: int, parameters: int, tableau: Tableau, real: type
) -> Any:
    """Kernel: steps of an explicit Runge-Kutta method for every column of ``start``.

    Parameters
    ----------
    field : function (t, state, parameters) -> tuple
        Plain or compiled for the CPU; state and parameters are tuples of numbers.
    dim, parameters : int
        Components of the state, and parameters of a trajectory.
    tableau : Tableau
    real : numpy.float32 or numpy.float64
        Of all arithmetic.

    Returns
    -------
    CUDA kernel (start (dim, B), given (parameters, B), h, steps, end (dim, B))
    """
    scale, weight = (tuple(map(float, part)) for part in tableau)
    return _kernel(plain(field), dim, parameters, scale, weight, real)


# Kept for the last few fields only: a field may hold a user's data.
@lru_cache(maxsize=32)
def _kernel(
    field: Callable[..., Any],
    dim: int,
    parameters: int,
    scales: tuple[float, ...],
    weights: tuple[float, ...],
    real: type,
) -> Any:
    field_at, moved, cast = build(in_precision(field, real)), _moved(dim), _cast(dim, real)
    state_at, parameters_at = _loaded(dim), _loaded(parameters)

    @device_function
    def rate_at(t: Any, x: Any, own: Any) -> Any:
        return cast(field_at(t, x, own))

    # Weights relative to one of them: a step then ends in one product with h and one rounding at the size of the state.
    unit = next(value for value in weights if value != 0.0)
    others = _stages(
        rate_at,
        moved,
        [real(value) for value in scales],
        [real(value / unit) for value in weights],
    )
    last = real(unit)

    @cuda.jit
    def fixed_steps(start: Any, given: Any, h: Any, steps: Any, end: Any) -> None:
        i = cuda.grid(1)
        if i >= start.shape[1]:
            return
        x, own = state_at(start, i), parameters_at(given, i)
        for n in range(steps):
            t = real(n) * h
            rate = rate_at(t, x, own)
            x = moved(x, last * h, others(t, h, x, own, rate, rate))
        for j in range(dim):
            end[j, i] = x[j]

    return fixed_steps


# arguments ----------------------------------------------------------------------------------------


def _checked_field(field: Any) -> Callable[..., Any]:
    function = plain(field)
    if not isinstance(function, FunctionType):
        raise TypeError(
            f"field = {field!r} has type {type(field).__name__}; accepted: a Python function (t, state, parameters), plain or compiled"
        )
    return function


def _rows(name: str, value: Any) -> Reals:
    array = checks.real(name, value)
    if array.ndim not in (1, 2) or (array.size == 0 and (name == "start" or array.ndim == 2)):
        raise ValueError(
            f"{name} has shape {array.shape}; accepted: (k,), or (B, k) for B trajectories"
        )
    return array


def _checked_tableau(tableau: Any) -> Tableau:
    if not isinstance(tableau, Tableau):
        raise TypeError(
            f"tableau = {tableau!r} has type {type(tableau).__name__}; accepted: a Tableau"
        )
    scale, weight = (
        checks.real(f"tableau.{name}", getattr(tableau, name)) for name in ("scale", "weight")
    )
    if scale.ndim != 1 or scale.shape != weight.shape or scale.size == 0 or scale[0] != 0.0:
        raise ValueError(
            f"tableau = {tableau!r}; accepted: one scale and one weight for every stage, the first scale 0"
        )
    # Weights that do not sum to 1 solve another equation; written as decimals they miss it by their own rounding.
    if abs(weight.sum() - 1.0) > 1e-12:
        raise ValueError(f"tableau.weight = {weight!r} sums to {weight.sum()}; accepted: 1")
    return Tableau(scale, weight)


def _try_field(function: Callable[..., Any], state: Reals, parameters: Reals) -> None:
    """Call the field once in Python: an error there is easier to read than the compiler's."""
    try:
        rate = function(0.0, tuple(state.tolist()), tuple(parameters.tolist()))
    except Exception as error:  # of the user's own code: any kind
        raise ValueError(
            f"field fails at the first start: {type(error).__name__}: {error}; accepted: a function of (t, state, parameters)"
        ) from error
    if not isinstance(rate, tuple) or len(rate) != len(state):
        raise ValueError(
            f"field returns {rate!r} at the first start; accepted: a tuple of {len(state)} numbers, one for each component of the state"
        )


# runs ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Integration:
    """An ensemble on the device: :meth:`run` starts at the same points every time."""

    kernel: Any
    start: Any
    parameters: Any
    h: Any
    steps: Any
    result: Any

    def run(self) -> None:
        """All steps of all trajectories; returns when they are done."""
        size = device.threads_per_block()
        blocks = -(-self.start.shape[1] // size)
        self.kernel[blocks, size](self.start, self.parameters, self.h, self.steps, self.result)
        device.synchronize()

    def end(self) -> Reals:
        """The points that the last run arrived at, (B, dim)."""
        return np.ascontiguousarray(device.download(self.result).T)


def prepare(
    field: Callable[..., Any],
    start: Any,
    parameters: Any,
    t_end: float,
    steps: int,
    *,
    tableau: Tableau = CLASSICAL,
    dtype: Any = np.float64,
) -> Integration:
    """Check the arguments of :func:`integrate` and put the ensemble on the device."""
    device.require("cuda")
    function = _checked_field(field)
    points, given = _rows("start", start), _rows("parameters", parameters)
    end = checks.real("t_end", t_end, "a number")
    if end.ndim > 0:
        raise ValueError(f"t_end has shape {end.shape}; accepted: a number")
    count = checks.whole("steps", steps, 1, 2**31 - 1)
    method = _checked_tableau(tableau)
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = np.dtype(object)
    if kind not in (np.float32, np.float64):
        raise ValueError(f"dtype = {dtype!r}; accepted: float32, float64")
    real = kind.type
    sizes = {len(array) for array in (points, given) if array.ndim == 2}
    if len(sizes) > 1:
        raise ValueError(
            f"leading axes disagree (start: {len(points)}, parameters: {len(given)}); accepted: one number of trajectories B"
        )
    _try_field(function, np.atleast_2d(points)[0], np.atleast_2d(given)[0])
    lanes = max(sizes, default=1)
    dim, own = points.shape[-1], given.shape[-1]
    needed = kind.itemsize * lanes * (2 * dim + own)
    if needed > device.free_bytes():
        raise ValueError(
            f"start describes {lanes} trajectories, which need {needed / 2**30:.1f} GiB; "
            f"accepted: what fits into {device.free_bytes() / 2**30:.1f} GiB on the device"
        )

    def columns(array: Reals, rows: int) -> Any:
        return device.upload(np.broadcast_to(array, (lanes, rows)).T.astype(kind, order="C"))

    return Integration(
        kernel=fixed_step_kernel(function, dim, own, method, real),
        start=columns(points, dim),
        # a kernel takes no empty array
        parameters=columns(given if own else np.zeros(1), max(own, 1)),
        h=real(float(end) / count),
        steps=np.int32(count),  # a counter of 32 bits: two instructions a step less
        result=columns(np.zeros(dim), dim),
    )


def integrate(
    field: Callable[..., Any],
    start: Any,
    parameters: Any,
    t_end: float,
    steps: int,
    *,
    tableau: Tableau = CLASSICAL,
    dtype: Any = np.float64,
) -> Reals:
    """The end points of an ensemble of small differential equations, by an explicit Runge-Kutta method with a fixed step, on the GPU.

    Parameters
    ----------
    field : function (t, state, parameters) -> tuple of dim numbers
        Scalar arithmetic and functions of ``math``, which Numba compiles; state and parameters are tuples. With ``dtype`` float32 its floating-point
        constants are rounded to single precision; a product with an integer constant is computed in double.
    start : (dim,) or (B, dim)
        At t = 0; one row is the start of all trajectories.
    parameters : (P,) or (B, P)
        P may be 0.
    t_end : float
        Negative for a run backwards.
    steps : int
        Number of steps, >= 1.
    tableau : Tableau
        :data:`stepbias.kernels.trajectory.CLASSICAL` of order 4, ``HEUN`` of order 3, or another of their form.
    dtype : float32 or float64

    Returns
    -------
    (B, dim) of ``dtype``, or (dim,) if neither start nor parameters have a leading axis
        A trajectory that overflows ends in non-finite numbers; the others are unaffected.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is accepted; :class:`stepbias.kernels.gpu.device.DeviceError` where no CUDA kernel can run.
    """
    prepared = prepare(field, start, parameters, t_end, steps, tableau=tableau, dtype=dtype)
    prepared.run()
    ends = prepared.end()
    return ends[0] if np.ndim(start) == np.ndim(parameters) == 1 else ends
