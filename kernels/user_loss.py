"""Losses from the user's own compiled functions.

The oracle's signature is fixed, so the user's data arrays travel as addresses and shapes in ``ints``: for every array its address, then its shape. The adapter
rebuilds the tuple of arrays and calls the user's functions lane by lane.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic
from numpy.typing import NDArray

from stepbias.kernels.oracle import GRADIENT, GRADIENTS, MATRIX, PRODUCTS, VALUE, VECTOR, Oracle
from stepbias.theory import checks

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# As in kernels/jit.py but without a cache on disk: functions of a session or notebook have no file to compare with.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": False}


class Functions(NamedTuple):
    """What the user gave."""

    gradient: Callable[..., Any]
    hessian: Callable[..., Any] | None
    hvp: Callable[..., Any] | None
    value: Callable[..., Any] | None


def _python(function: Callable[..., Any]) -> Callable[..., Any]:
    return getattr(function, "py_func", function)


def _compiled(function: Callable[..., Any]) -> Any:
    return (
        function if hasattr(function, "py_func") else numba.njit(nogil=True, **_OPTIONS)(function)
    )


# rebuilding the data ------------------------------------------------------------------------------


@intrinsic
def _at_address(typingctx, address):
    """An integer as an untyped pointer."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(address), codegen


def _shape_reader(start: int, ndim: int) -> Any:
    """Compiled function ints -> tuple of ``ndim`` sizes."""
    if ndim == 0:

        @numba.njit(**_OPTIONS)
        def none(ints):
            return ()

        return none
    rest = _shape_reader(start + 1, ndim - 1)

    @numba.njit(**_OPTIONS)
    def sizes(ints):
        return (ints[start], *rest(ints))

    return sizes


def _data_reader(arrays: tuple[NDArray[Any], ...], start: int = 0) -> Any:
    """Compiled function ints -> tuple of the arrays, by recursion over their number."""
    if not arrays:

        @numba.njit(**_OPTIONS)
        def none(ints):
            return ()

        return none
    ndim, kind = arrays[0].ndim, arrays[0].dtype.type
    shape = _shape_reader(start + 1, ndim)
    rest = _data_reader(arrays[1:], start + 1 + ndim)

    @numba.njit(**_OPTIONS)
    def parts(ints):
        return (numba.carray(_at_address(ints[start]), shape(ints), kind), *rest(ints))

    return parts


# adapters -----------------------------------------------------------------------------------------


def _build(functions: Functions, arrays: tuple[NDArray[Any], ...]) -> Oracle:
    """The four functions of the oracle around the user's."""
    data = _data_reader(arrays)
    gradient = _compiled(functions.gradient)

    @numba.njit(**_OPTIONS)
    def one_batch(b, theta, tensors, work, out):
        dim, lanes = theta.shape
        point, result = work[:dim], work[dim : 2 * dim]
        for i in range(lanes):
            for j in range(dim):
                point[j] = theta[j, i]
                result[j] = 0.0
            gradient(b, point, tensors, result)
            for j in range(dim):
                out[j, i] = result[j]

    # A function that raises leaves its caller at once: what it did not reach must not hold old numbers.
    def batch_gradient(b, theta, ints, reals, work, out):
        out[:] = np.nan
        one_batch(b, theta, data(ints), work, out)

    def all_gradients(theta, ints, reals, work, out):
        out[:] = np.nan
        tensors = data(ints)
        for b in range(out.shape[0]):
            one_batch(b, theta, tensors, work, out[b])

    def pointer(signature: Any, function: Callable[..., Any]) -> Any:
        return numba.cfunc(signature, nopython=True, **_OPTIONS)(function)

    products = _products_by_hvp if functions.hvp is not None else _products_by_hessian
    curvature = functions.hvp if functions.hvp is not None else functions.hessian
    return Oracle(
        pointer(GRADIENT, batch_gradient),
        pointer(GRADIENTS, all_gradients),
        pointer(PRODUCTS, products(_compiled(curvature), data)),  # type: ignore[arg-type]
        pointer(VALUE, _values(functions.value, data)),
    )


def _products_by_hvp(hvp: Any, data: Any) -> Callable[..., None]:
    @numba.njit(**_OPTIONS)
    def one(theta, tensors, work, vectors, out):
        dim, lanes = theta.shape
        point, result, vector = work[:dim], work[dim : 2 * dim], work[2 * dim : 3 * dim]
        for b in range(out.shape[0]):
            for i in range(lanes):
                for j in range(dim):
                    point[j] = theta[j, i]
                    vector[j] = vectors[b, j, i]
                    result[j] = 0.0
                hvp(b, point, vector, tensors, result)
                for j in range(dim):
                    out[b, j, i] = result[j]

    def products(theta, ints, reals, work, first, second, out_first, out_second):
        out_first[:] = np.nan
        out_second[:] = np.nan
        tensors = data(ints)
        one(theta, tensors, work, first, out_first)
        one(theta, tensors, work, second, out_second)

    return products


def _products_by_hessian(hessian: Any, data: Any) -> Callable[..., None]:
    def products(theta, ints, reals, work, first, second, out_first, out_second):
        out_first[:] = np.nan
        out_second[:] = np.nan
        tensors = data(ints)
        dim, lanes = theta.shape
        point, matrix = work[:dim], work[3 * dim : 3 * dim + dim * dim].reshape(dim, dim)
        for b in range(first.shape[0]):
            for i in range(lanes):
                for j in range(dim):
                    point[j] = theta[j, i]
                matrix[:] = 0.0
                hessian(b, point, tensors, matrix)
                for j in range(dim):
                    x, y = 0.0, 0.0
                    for k in range(dim):
                        x += matrix[j, k] * first[b, k, i]
                        y += matrix[j, k] * second[b, k, i]
                    out_first[b, j, i] = x
                    out_second[b, j, i] = y

    return products


def _values(value: Callable[..., Any] | None, data: Any) -> Callable[..., None]:
    if value is None:

        def unknown(b, theta, ints, reals, work, out):
            out[:] = np.nan

        return unknown
    compiled = _compiled(value)

    def values(b, theta, ints, reals, work, out):
        out[:] = np.nan
        tensors = data(ints)
        point = work[: theta.shape[0]]
        for i in range(theta.shape[1]):
            for j in range(point.size):
                point[j] = theta[j, i]
            out[i] = compiled(b, point, tensors)

    return values


# source -------------------------------------------------------------------------------------------


class UserSource:
    """Losses given by functions.

    Parameters
    ----------
    functions : Functions
    dim, batches : int
    data : tuple of contiguous arrays
        Kept alive here: the packed data hold their addresses.
    """

    problems: int | None = None

    def __init__(
        self, functions: Functions, dim: int, batches: int, data: tuple[NDArray[Any], ...]
    ) -> None:
        self.functions, self.dim, self.batches, self.data = functions, dim, batches, data
        self.has_value = functions.value is not None

    @cached_property
    def oracle(self) -> Oracle:
        """Compiled functions, built at the first use."""
        return _build(self.functions, self.data)

    def work_size(self, lanes: int) -> int:
        """Point, result, vector and Hessian of one lane."""
        return self.dim * (self.dim + 3) if self.functions.hvp is None else 3 * self.dim

    def pack(self, indices: Integers) -> tuple[Integers, Floats]:
        """See :class:`stepbias.kernels.oracle.Source`."""
        numbers = [n for array in self.data for n in (array.ctypes.data, *array.shape)]
        return np.array([*numbers, 0], dtype=np.int64), np.zeros(1)

    def bounds(self, lower: Floats, upper: Floats) -> None:
        """None: nothing is known of the functions."""
        return

    def describe(self) -> str:
        """Names of the functions."""
        names = [
            f"{role} {_name(f)}" for role, f in self.functions._asdict().items() if f is not None
        ]
        return f"functions of the user: {', '.join(names)}; {len(self.data)} data arrays"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "oracle"}


def _name(function: Any) -> str:
    return str(getattr(_python(function), "__name__", function))


# checks -------------------------------------------------------------------------------------------


def user_source(
    gradient: Any, hessian: Any, hvp: Any, value: Any, dim: Any, batches: Any, data: Any
) -> UserSource:
    """Check the arguments of ``Loss.from_functions``, compile the functions once with bounds checks, and build the source."""
    dim, batches = checks.whole("dim", dim, 1), checks.whole("batches", batches, 1)
    functions = Functions(gradient, hessian, hvp, value)
    for role, function in functions._asdict().items():
        if function is None and role != "gradient":
            continue
        if not callable(function):
            raise TypeError(f"{role} = {function!r}; accepted: a function that Numba can compile")
    if hessian is None and hvp is None:
        raise ValueError("hessian and hvp are both None; accepted: at least one of them")
    arrays = _check_data(data)
    test = _Test(functions, dim, batches, arrays)
    test.run()
    return UserSource(functions, dim, batches, arrays)


def _check_data(data: Any) -> tuple[NDArray[Any], ...]:
    if not isinstance(data, tuple | list):
        raise TypeError(f"data has type {type(data).__name__}; accepted: a tuple of NumPy arrays")
    arrays = []
    for k, item in enumerate(data):
        array = np.array(item, order="C")
        if array.dtype.kind not in "fiub" or array.ndim == 0:
            raise TypeError(
                f"data[{k}] has dtype {array.dtype} and shape {array.shape}; accepted: arrays of numbers with at least one axis"
            )
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            raise ValueError(f"data[{k}] has entries that are not finite; accepted: finite numbers")
        arrays.append(array.astype(array.dtype.newbyteorder("="), copy=False))
    return tuple(arrays)


class _Test:
    """Calls every function at a few points, compiled with bounds checks: a wrong index must not reach the fast build."""

    def __init__(
        self, functions: Functions, dim: int, batches: int, data: tuple[NDArray[Any], ...]
    ) -> None:
        self.functions, self.dim, self.batches, self.data = functions, dim, batches, data
        steps = np.arange(1, dim + 1, dtype=np.float64)
        self.points = [
            0.3 + 0.4 * np.sin(steps),
            1.5 + 0.4 * np.cos(steps),
            -0.7 + 0.3 * np.sin(2.0 * steps),
        ]

    def run(self) -> None:
        """Raise ``ValueError`` naming the function that does not compile, or gives nothing finite."""
        tuple_type = types.BaseTuple.from_types(
            [types.Array(numba.from_dtype(a.dtype), a.ndim, "C") for a in self.data]
        )
        index, dim = types.int64, self.dim
        signatures: dict[str, tuple[Any, ...]] = {
            "gradient": (index, VECTOR, tuple_type, VECTOR),
            "hessian": (index, VECTOR, tuple_type, MATRIX),
            "hvp": (index, VECTOR, VECTOR, tuple_type, VECTOR),
            "value": (index, VECTOR, tuple_type),
        }
        compiled = {}
        for role, function in self.functions._asdict().items():
            if function is not None:
                compiled[role] = self._compile(role, function, signatures[role])
        vector = np.cos(np.arange(dim, dtype=np.float64))
        self._call("gradient", lambda b, x: self._filled(compiled["gradient"], b, x, (dim,)))
        if "hvp" in compiled:
            self._call("hvp", lambda b, x: self._filled(compiled["hvp"], b, x, (dim,), vector))
        if "hessian" in compiled:
            self._call("hessian", lambda b, x: self._filled(compiled["hessian"], b, x, (dim, dim)))
        if "value" in compiled:
            self._call(
                "value", lambda b, x: self._number(compiled["value"](b, x.copy(), self.data))
            )
        self._compare(compiled, vector)

    def _compile(self, role: str, function: Callable[..., Any], signature: tuple[Any, ...]) -> Any:
        try:
            checked = numba.njit(boundscheck=True, **_OPTIONS)(_python(function))
            checked.compile(signature)
        except (errors.NumbaError, TypeError, AttributeError, NotImplementedError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            telling = [line for line in lines if not line.startswith("Failed in ")]
            first = (telling or lines or [type(error).__name__])[0]
            raise ValueError(
                f"{role} = {_name(function)} does not compile with Numba: {first}"
            ) from error
        return checked

    def _filled(
        self, function: Any, b: int, point: Floats, shape: tuple[int, ...], *vector: Floats
    ) -> Floats:
        out = np.zeros(shape)
        function(b, point.copy(), *(v.copy() for v in vector), self.data, out)
        return out

    def _number(self, result: Any) -> Floats:
        number = np.asarray(result)
        if number.shape != () or number.dtype.kind not in "fiu":
            name = _name(self.functions.value)
            raise ValueError(f"value = {name} returns {result!r}; accepted: a float")
        return number.astype(np.float64)

    def _call(self, role: str, call: Callable[[int, Floats], Floats]) -> None:
        name = _name(getattr(self.functions, role))
        for b in range(self.batches):
            try:
                finite = [bool(np.all(np.isfinite(call(b, point)))) for point in self.points]
            except IndexError as error:
                raise ValueError(
                    f"{role} = {name} uses an index out of range for batch {b}: {error}"
                ) from error
            except (ArithmeticError, ValueError) as error:
                raise ValueError(f"{role} = {name} fails for batch {b}: {error}") from error
            if not any(finite):
                raise ValueError(
                    f"{role} = {name} gives no finite numbers for batch {b} at any test point, as {self.points[0]}"
                )

    def _compare(self, compiled: dict[str, Any], vector: Floats) -> None:
        """Warn if the Hessian is not the derivative of the gradient: nothing later could tell."""
        step = 1e-5
        for b in range(self.batches):
            for point in self.points:
                ends = [
                    self._filled(compiled["gradient"], b, point + s * step * vector, (self.dim,))
                    for s in (1, -1)
                ]
                numeric = (ends[0] - ends[1]) / (2.0 * step)
                if "hvp" in compiled:
                    role, exact = (
                        "hvp",
                        self._filled(compiled["hvp"], b, point, (self.dim,), vector),
                    )
                else:
                    role = "hessian"
                    exact = (
                        self._filled(compiled["hessian"], b, point, (self.dim, self.dim)) @ vector
                    )
                scale = np.abs(numeric).max() + np.abs(ends[0]).max() + 1e-3
                # central differences err by about 1e-10 f''' and 1e-11 f'/step; 1e-4 leaves room for steep losses
                if np.all(np.isfinite(numeric)) and np.abs(numeric - exact).max() > 1e-4 * scale:
                    warnings.warn(
                        f"{role} = {_name(getattr(self.functions, role))} is not the derivative of gradient for batch {b} at theta = {point}: "
                        f"it gives {exact}, differences of the gradient {numeric}",
                        UserWarning,
                        stacklevel=5,
                    )
                    return
