"""The elementary functions against mpmath, against themselves in plain Python, and as SIMD code."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from types import FunctionType
from typing import Any

import mpmath as mp
import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from stepbias.kernels import elementary

mp_context = mp.mp.clone()
mp_context.dps = 40

ROUNDING_UNIT = 2.0**-53
# Every function rounds its reduced argument, the polynomial's last sums and one quotient at most:
# three to four rounding units in the worst case. The docstrings promise this bound.
RELATIVE_ERROR = 4e-16

SCALAR = ("sin", "cos", "exp", "log", "log1p", "tanh", "sigmoid", "softplus", "log_cosh")

REFERENCE: dict[str, Callable[[Any], Any]] = {
    "sin": mp_context.sin,
    "cos": mp_context.cos,
    "exp": mp_context.exp,
    "log": mp_context.log,
    "log1p": mp_context.log1p,
    "tanh": mp_context.tanh,
    "sigmoid": lambda x: 1 / (1 + mp_context.exp(-x)),
    "softplus": lambda x: mp_context.log1p(mp_context.exp(x)),
    "log_cosh": lambda x: mp_context.log1p(2 * mp_context.sinh(x / 2) ** 2),
}

# Intervals that cover every regime: inside one reduction, across switches, up to the ends.
INTERVALS: dict[str, list[tuple[float, float]]] = {
    "sin": [(-1.0, 1.0), (-20.0, 20.0), (-1e6, 1e6)],
    "cos": [(-1.0, 1.0), (-20.0, 20.0), (-1e6, 1e6)],
    "exp": [(-1.0, 1.0), (-20.0, 20.0), (-708.0, 709.78)],
    "log": [(0.5, 2.0), (0.999, 1.001), (0.0, 1e6), (1e-310, 1e-307), (0.0, 1e308)],
    "log1p": [(-0.5, 1.0), (0.0, 1e-3), (0.9, 1.0)],
    "tanh": [(-0.4, 0.4), (-3.0, 3.0), (-25.0, 25.0)],
    "sigmoid": [(-1.0, 1.0), (-40.0, 40.0), (-707.0, 745.0)],
    "softplus": [(-1.0, 1.0), (-40.0, 40.0), (-707.0, 745.0)],
    "log_cosh": [(-1.0, 1.0), (0.7, 0.8), (-25.0, 25.0), (-1e6, 1e6)],
}


def plain(function: Any) -> Callable[..., Any]:
    """The same source without any compiled helper inside."""
    source = function.py_func
    scope = {
        name: plain(value) if hasattr(value, "py_func") else value
        for name, value in source.__globals__.items()
        if name in source.__code__.co_names
    }
    return FunctionType(source.__code__, scope)


def relative_error(value: float, exact: Any) -> float:
    if exact == 0:
        return 0.0 if value == 0.0 else np.inf
    return float(abs((mp_context.mpf(value) - exact) / exact))


def bits(values: Any) -> NDArray[np.int64]:
    return np.asarray(values, dtype=np.float64).view(np.int64)


def samples(name: str, count: int, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    uniform = [rng.uniform(low, high, count) for low, high in INTERVALS[name]]
    tiny = 10.0 ** rng.uniform(-100, -1, count)
    tiny = tiny if name in ("log", "log1p") else tiny * rng.choice([-1.0, 1.0], count)
    return np.concatenate([*uniform, tiny])


@pytest.mark.parametrize("name", SCALAR)
def test_error_against_mpmath(name: str) -> None:
    function, reference = getattr(elementary, name), REFERENCE[name]
    x = samples(name, 700)
    errors = [relative_error(function(v), reference(mp_context.mpf(v))) for v in x.tolist()]
    worst = int(np.argmax(errors))
    assert errors[worst] < RELATIVE_ERROR, (name, x[worst], errors[worst])


@pytest.mark.parametrize("multiple", [1, 2, 3, 7, 1000, 4097, 65535, 355 * 113, 636619])
def test_sine_and_cosine_next_to_their_zeros(multiple: int) -> None:
    nearest = float(multiple * mp_context.pi / 2)
    for x in (nearest, np.nextafter(nearest, 0.0), -nearest, nearest + 1e-9):
        s, c = elementary.sincos(x)
        for value, exact in ((s, mp_context.sin(x)), (c, mp_context.cos(x))):
            # 1e-29: n times the rounding of the third part of pi/2, n < 2^20
            assert abs(value - exact) <= RELATIVE_ERROR * abs(exact) + 1e-29


def test_subnormal_results_of_exp() -> None:
    # Half a spacing of the subnormal numbers from the last product, and the error of the factors.
    for x in np.linspace(-745.0, -708.0, 100).tolist():
        exact = mp_context.exp(mp_context.mpf(x))
        assert abs(elementary.exp(x) - exact) <= 2.5e-324 + RELATIVE_ERROR * exact


@pytest.mark.parametrize("name", SCALAR)
def test_compiled_equals_plain_python_bit_for_bit(name: str) -> None:
    function = getattr(elementary, name)
    special = [0.0, -0.0, 5e-324, -5e-324, 1e-310, 0.5, -0.5, 1.0, 800.0, -800.0, np.inf, -np.inf]
    x = np.concatenate([samples(name, 100, seed=1), special]).tolist()
    formula = plain(function)
    with np.errstate(all="ignore"):  # NumPy scalars from the bit patterns warn where floats do not
        assert (bits([formula(v) for v in x]) == bits([function(v) for v in x])).all()


def test_sincos_in_plain_python() -> None:
    x = samples("sin", 50, seed=2).tolist()
    formula = plain(elementary.sincos)
    assert (bits([formula(v) for v in x]) == bits([elementary.sincos(v) for v in x])).all()


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("sin", -0.0, -0.0),
        ("sin", 0.0, 0.0),
        ("cos", 0.0, 1.0),
        ("exp", 0.0, 1.0),
        ("exp", np.inf, np.inf),
        ("exp", 709.79, np.inf),
        ("exp", 1e300, np.inf),
        ("exp", -np.inf, 0.0),
        ("exp", -745.14, 0.0),
        ("exp", -745.13, 5e-324),
        ("exp", -1e300, 0.0),
        ("log", 0.0, -np.inf),
        ("log", 1.0, 0.0),
        ("log", np.inf, np.inf),
        ("log", 5e-324, -744.4400719213812),
        ("log1p", 0.0, 0.0),
        ("tanh", 0.0, 0.0),
        ("tanh", -0.0, -0.0),
        ("tanh", np.inf, 1.0),
        ("tanh", -np.inf, -1.0),
        ("tanh", 30.0, 1.0),
        ("sigmoid", 0.0, 0.5),
        ("sigmoid", np.inf, 1.0),
        ("sigmoid", -np.inf, 0.0),
        ("softplus", np.inf, np.inf),
        ("softplus", -np.inf, 0.0),
        ("softplus", 800.0, 800.0),
        ("log_cosh", 0.0, 0.0),
        ("log_cosh", np.inf, np.inf),
        ("log_cosh", -np.inf, np.inf),
        ("log_cosh", 1e308, 1e308),
    ],
)
def test_special_values(name: str, x: float, expected: float) -> None:
    assert bits(getattr(elementary, name)(x)) == bits(expected)


@pytest.mark.parametrize("name", SCALAR)
def test_nan_propagates(name: str) -> None:
    assert np.isnan(getattr(elementary, name)(np.nan))


@pytest.mark.parametrize(
    ("name", "x"),
    [(name, x) for name in ("sin", "cos") for x in (1.0000001e6, -1e9, 1e300, np.inf, -np.inf)]
    + [("log", x) for x in (-5e-324, -1.0, -np.inf)]
    + [("log1p", x) for x in (-0.5000001, 1.0000001, -1.0, -2.0, 1e300, np.inf, -np.inf)],
)
def test_outside_the_stated_range_is_nan(name: str, x: float) -> None:
    assert np.isnan(getattr(elementary, name)(x))


def test_parity_is_exact() -> None:
    x = samples("tanh", 100, seed=3)
    for value in x.tolist():
        assert elementary.tanh(-value) == -elementary.tanh(value)
        assert elementary.log_cosh(-value) == elementary.log_cosh(value)
        assert elementary.sin(-value) == -elementary.sin(value)
        assert elementary.cos(-value) == elementary.cos(value)


def loop(function: Any) -> Any:
    """The loop that kernels run: one function over consecutive lanes."""

    def body(x: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        for i in range(x.size):
            out[i] = function(x[i])

    return numba.njit("void(f8[::1], f8[::1])", error_model="numpy")(body)


@pytest.mark.parametrize("name", SCALAR)
def test_result_does_not_depend_on_the_vector_lane(name: str) -> None:
    function = getattr(elementary, name)
    x = samples(name, 9, seed=4)  # an odd number: vector body and scalar tail
    out = np.empty_like(x)
    loop(function)(x, out)
    assert (bits(out) == bits([function(v) for v in x.tolist()])).all()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize("name", SCALAR)
def test_loop_is_vectorised(name: str) -> None:
    function = getattr(elementary, name)

    def once(x: float) -> Any:
        return function(x)

    def products(compiled: Any, packed: bool) -> int:
        assembly = next(iter(compiled.inspect_asm().values()))
        return len(re.findall(r"\bv?mulpd\b" if packed else r"\bv?mulsd\b", assembly))

    # A loop left scalar has no packed products at all; a vectorised one has those of the formula, however often its scalar tail is unrolled.
    formula = products(numba.njit("(f8,)", error_model="numpy")(once), packed=False)
    assert products(loop(function), packed=True) >= formula > 0
