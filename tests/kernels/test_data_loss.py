"""Losses on rows of data against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepbias.kernels.data_loss import split
from stepbias.kernels.loss import Loss

RNG = np.random.default_rng(0)
X, TARGET = RNG.normal(size=(23, 4)), RNG.normal(size=23)
LABEL = (TARGET > 0).astype(int)


def reference(
    model: str, rows: np.ndarray, y: np.ndarray, theta: np.ndarray, l2: float
) -> tuple[Any, Any, Any]:
    """Value, gradient and Hessian of one batch."""
    if model == "logistic":
        sign = np.where(y > 0, 1.0, -1.0)
        z = -sign * (rows @ theta)
        s = 1 / (1 + np.exp(-z))
        value, slope, curve = np.log1p(np.exp(z)), -sign * s, s * (1 - s)
    elif model == "least-squares":
        z = rows @ theta - y
        value, slope, curve = z * z / 2, z, np.ones_like(z)
    else:
        z = rows @ theta - y
        value, slope, curve = np.log(np.cosh(z)), np.tanh(z), 1 / np.cosh(z) ** 2
    count = len(rows)
    hessian = (rows.T * curve) @ rows / count + l2 * np.eye(len(theta))
    return value.mean() + l2 / 2 * theta @ theta, rows.T @ slope / count + l2 * theta, hessian


@pytest.mark.parametrize("l2", [0.0, 0.7])
@pytest.mark.parametrize("model", ["logistic", "least-squares", "log-cosh"])
@pytest.mark.parametrize("batches", [1, 5, [[0, 3, 3], np.arange(23), [22]]])
def test_models(model: str, batches: Any, l2: float) -> None:
    y = LABEL if model == "logistic" else TARGET
    loss = Loss.from_data(model, X, y, batches, l2)
    parts = (
        np.array_split(np.arange(23), batches)
        if isinstance(batches, int)
        else [np.array(b) for b in batches]
    )
    assert (loss.dim, loss.batches, loss.problems) == (4, len(parts), None)
    points = np.random.default_rng(1).normal(size=(3, 4))
    for b, part in enumerate(parts):
        for n, theta in enumerate(points):
            value, gradient, hessian = reference(model, X[part], y[part], theta, l2)
            # means of at most 23 terms of size below 10
            assert abs(loss.value(b, theta) - value) < 1e-13
            assert np.abs(loss.gradient(b, theta) - gradient).max() < 1e-13
            assert np.abs(loss.hessian(b, theta) - hessian).max() < 1e-13
            assert loss.value(b, points)[n] == loss.value(b, theta)


def test_batches_differ_by_at_most_one_row() -> None:
    sizes = [len(part) for part in split(5, 23)]
    assert sorted(sizes) == [4, 4, 5, 5, 5]


def test_label_conventions_agree() -> None:
    theta = np.array([0.3, -0.2, 0.5, 0.1])
    gradients = [
        Loss.from_data("logistic", X, y, 2).gradient(1, theta)
        for y in (LABEL, LABEL > 0, 2 * LABEL - 1)
    ]
    assert np.array_equal(gradients[0], gradients[1])
    assert np.array_equal(gradients[0], gradients[2])


@pytest.mark.parametrize("model", ["logistic", "least-squares", "log-cosh"])
def test_bounds(model: str) -> None:
    loss = Loss.from_data(model, X, LABEL, batches=3, l2=0.5)
    bounds = loss.bounds(-1.0, 2.0)
    assert bounds is not None
    assert all(isinstance(bound, float) for bound in bounds)
    points = np.random.default_rng(2).uniform(-1, 2, (200, 4))
    step, axes = 1e-3, np.eye(4)
    largest = np.zeros(4)
    for b in range(3):
        largest[0] = max(largest[0], np.abs(loss.gradient(b, points)).max())
        largest[1] = max(largest[1], np.abs(loss.hessian(b, points)).max())
        for u in axes:
            for v in axes:
                ends = [loss.hvp(b, points + s * step * u, v) for s in (1, 0, -1)]
                largest[2] = max(largest[2], np.abs(ends[0] - ends[2]).max() / (2 * step))
                largest[3] = max(
                    largest[3], np.abs(ends[0] - 2 * ends[1] + ends[2]).max() / step**2
                )
    # differences: relative error step^2, and 1e-16 / step^2 for the second ones
    assert np.all(largest <= np.array(bounds) * (1 + 1e-4) + 1e-8)
    assert bounds[0] < 10 * largest[0]
    assert bounds[1] < 3 * largest[1]


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"model": "probit"}, ValueError, "model = 'probit'"),
        ({"X": X[0]}, ValueError, "X has shape"),
        ({"X": np.where(X > 2, np.nan, X) * np.inf}, ValueError, "X"),
        ({"X": [["a"]]}, TypeError, "X"),
        ({"y": LABEL[:5]}, ValueError, "y has shape"),
        ({"y": TARGET}, ValueError, "y has the values"),
        ({"y": LABEL * 3}, ValueError, "y has the values"),
        ({"batches": 0}, ValueError, "batches = 0"),
        ({"batches": 24}, ValueError, "batches = 24"),
        ({"batches": 2.0}, TypeError, "batches"),
        ({"batches": "2"}, TypeError, "batches"),
        ({"batches": []}, ValueError, "batches is empty"),
        ({"batches": [[0], []]}, ValueError, r"batches\[1\]"),
        ({"batches": [[0.5]]}, ValueError, r"batches\[0\]"),
        ({"batches": [[0], [23]]}, ValueError, "0 to 22"),
        ({"batches": [[-1]]}, ValueError, "0 to 22"),
        ({"l2": -1.0}, ValueError, "l2 = -1.0"),
        ({"l2": np.nan}, ValueError, "l2"),
        ({"l2": [1.0, 2.0]}, ValueError, "l2"),
    ],
)
def test_rejects(changes: dict[str, Any], error: type[Exception], text: str) -> None:
    arguments = {"model": "logistic", "X": X, "y": LABEL, "batches": 2, "l2": 0.0, **changes}
    with pytest.raises(error, match=text):
        Loss.from_data(**arguments)
