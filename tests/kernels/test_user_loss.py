"""Losses from functions of the user."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from stepbias.kernels.loss import Loss

A = np.random.default_rng(0).normal(size=(3, 4))
C = np.linspace(0, 1, 3).astype(np.float32)
K = np.array([[2]])
DATA = (A, C, K)


def gradient(b, theta, data, out):  # type: ignore[no-untyped-def]
    a, c, k = data
    for j in range(theta.size):
        out[j] += a[b, j] * k[0, 0] * np.cos(theta[j] + c[b])


def hessian(b, theta, data, out):  # type: ignore[no-untyped-def]
    a, c, k = data
    for j in range(theta.size):
        out[j, j] -= a[b, j] * k[0, 0] * np.sin(theta[j] + c[b])


def hvp(b, theta, v, data, out):  # type: ignore[no-untyped-def]
    a, c, k = data
    for j in range(theta.size):
        out[j] = -a[b, j] * k[0, 0] * np.sin(theta[j] + c[b]) * v[j]


def value(b, theta, data):  # type: ignore[no-untyped-def]
    a, c, k = data
    total = 0.0
    for j in range(theta.size):
        total += a[b, j] * k[0, 0] * np.sin(theta[j] + c[b])
    return total


THETA = np.random.default_rng(1).normal(size=(5, 4))


@pytest.mark.parametrize(
    "functions",
    [
        {"hessian": hessian},
        {"hvp": hvp},
        {"hessian": hessian, "hvp": hvp, "value": value},
        {"hessian": numba.njit(hessian)},
    ],
    ids=["hessian", "hvp", "all", "compiled"],
)
def test_all_ways_agree_with_numpy(functions: dict[str, Any]) -> None:
    loss = Loss.from_functions(gradient, **functions, dim=4, batches=3, data=DATA)
    assert loss.bounds(0.0, 1.0) is None
    for b in range(3):
        z = THETA + np.float64(C[b])
        assert np.abs(loss.gradient(b, THETA) - 2 * A[b] * np.cos(z)).max() < 1e-14
        assert (
            np.abs(np.einsum("nii->ni", loss.hessian(b, THETA)) + 2 * A[b] * np.sin(z)).max()
            < 1e-14
        )
        assert np.abs(loss.hvp(b, THETA, THETA) + 2 * A[b] * np.sin(z) * THETA).max() < 1e-14
        if "value" in functions:
            assert np.abs(loss.value(b, THETA) - (2 * A[b] * np.sin(z)).sum(axis=1)).max() < 1e-14
        else:
            with pytest.raises(ValueError, match="without a value function"):
                loss.value(b, THETA)


def test_data_are_copied_and_optional() -> None:
    array = np.array([1.5])

    def slope(b, theta, data, out):  # type: ignore[no-untyped-def]
        out[0] = data[0][0] * theta[0]

    def curvature(b, theta, data, out):  # type: ignore[no-untyped-def]
        out[0, 0] = data[0][0]

    loss = Loss.from_functions(slope, curvature, dim=1, batches=1, data=(array,))
    array[0] = 7.0
    assert loss.gradient(0, [2.0])[0] == 3.0
    plain = Loss.from_functions(
        lambda b, theta, data, out: _identity(theta, out),
        lambda b, theta, data, out: _one(out),
        dim=1,
        batches=1,
    )
    assert plain.gradient(0, [2.0])[0] == 2.0


@numba.njit
def _identity(theta, out):  # type: ignore[no-untyped-def]
    out[0] = theta[0]


@numba.njit
def _one(out):  # type: ignore[no-untyped-def]
    out[0, 0] = 1.0


def _unknown(b, theta, data, out):  # type: ignore[no-untyped-def]
    out[0] = undefined_name(theta)  # type: ignore[name-defined]  # noqa: F821


def _objects(b, theta, data, out):  # type: ignore[no-untyped-def]
    out[0] = theta.no_such_attribute


def _nan(b, theta, data, out):  # type: ignore[no-untyped-def]
    out[0] = np.sqrt(-1.0 - theta[0] ** 2)


def _far(b, theta, data, out):  # type: ignore[no-untyped-def]
    out[7] = 1.0


def _vector_value(b, theta, data):  # type: ignore[no-untyped-def]
    return theta


def _zero(b, theta, data, out):  # type: ignore[no-untyped-def]
    out[0, 0] = 0.0


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"hessian": None}, ValueError, "hessian and hvp are both None"),
        ({"gradient": 3}, TypeError, "gradient = 3"),
        ({"hvp": "no"}, TypeError, "hvp = 'no'"),
        ({"dim": 0}, ValueError, "dim = 0"),
        ({"batches": 1.5}, TypeError, "batches = 1.5"),
        ({"dim": 5}, ValueError, "gradient = gradient uses an index out of range"),
        ({"batches": 4}, ValueError, "gradient = gradient uses an index out of range for batch 3"),
        (
            {"gradient": _unknown},
            ValueError,
            "gradient = _unknown does not compile with Numba: .*undefined_name",
        ),
        ({"gradient": _objects}, ValueError, "gradient = _objects does not compile"),
        ({"gradient": _nan}, ValueError, "gradient = _nan gives no finite numbers"),
        ({"gradient": _far}, ValueError, "gradient = _far uses an index out of range"),
        ({"value": _vector_value}, ValueError, "value = _vector_value returns"),
        ({"data": A}, TypeError, "data has type ndarray"),
        ({"data": (A, "c")}, TypeError, r"data\[1\]"),
        ({"data": (A, np.array([np.nan]), K)}, ValueError, r"data\[1\]"),
        ({"data": ()}, ValueError, "gradient = gradient does not compile"),
    ],
)
def test_rejects(changes: dict[str, Any], error: type[Exception], text: str) -> None:
    arguments = {
        "gradient": gradient,
        "hessian": hessian,
        "dim": 4,
        "batches": 3,
        "data": DATA,
        **changes,
    }
    with pytest.raises(error, match=text):
        Loss.from_functions(**arguments)


@pytest.mark.parametrize("role", ["hessian", "hvp"])
def test_wrong_hessian_is_noticed(role: str) -> None:
    def twice(b, theta, data, out):  # type: ignore[no-untyped-def]
        for j in range(theta.size):
            out[j, j] = 2.0 * np.sin(theta[j])

    def other(b, theta, v, data, out):  # type: ignore[no-untyped-def]
        for j in range(theta.size):
            out[j] = v[j]

    wrong: Callable[..., Any] = twice if role == "hessian" else other
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Loss.from_functions(gradient, **{role: wrong}, dim=4, batches=3, data=DATA)
    assert any(
        "is not the derivative of gradient" in str(w.message) and role in str(w.message)
        for w in caught
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_function_that_raises_later_gives_nan() -> None:
    def gradient(b, theta, data, out):  # type: ignore[no-untyped-def]
        if theta[0] > 50.0:
            raise ValueError("too far")
        out[0] = 2.0 * theta[0]

    def hessian(b, theta, data, out):  # type: ignore[no-untyped-def]
        if theta[0] > 50.0:
            raise ValueError("too far")
        out[0, 0] = 2.0

    loss = Loss.from_functions(gradient, hessian, dim=1, batches=1)
    assert loss.gradient(0, [3.0]) == 6.0
    for found in (loss.gradient(0, [100.0]), loss.hvp(0, [100.0], [1.0])):
        assert np.isnan(found).all()
