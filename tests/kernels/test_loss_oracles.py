"""The four compiled functions of every kind of loss: consistent with each other, and bit for bit independent of the lanes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

from stepbias.kernels import evaluate
from stepbias.kernels.loss import Loss

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(30, 5)), RNG.normal(size=30)


def _gradient(b, theta, data, out):  # type: ignore[no-untyped-def]
    for j in range(theta.size):
        out[j] = data[0][b, j] * np.cos(theta[j])


def _hessian(b, theta, data, out):  # type: ignore[no-untyped-def]
    for j in range(theta.size):
        out[j, j] = -data[0][b, j] * np.sin(theta[j])


def _value(b, theta, data):  # type: ignore[no-untyped-def]
    total = 0.0
    for j in range(theta.size):
        total += data[0][b, j] * np.sin(theta[j])
    return total


LOSSES: dict[str, Callable[[], Loss]] = {
    **{
        f"{family}-{p}": partial(Loss.random, family, p, batches=3, problems=9, seed=3)
        for family in Loss.families()
        for p in (1, 2, 3, 6)
    },
    "sinusoids": lambda: Loss.sinusoids(
        RNG.normal(size=(2, 7)), RNG.normal(size=(9, 7, 4)), RNG.normal(size=(2, 7))
    ),
    "bilinear": Loss.bilinear,
    **{
        f"data-{model}": partial(
            Loss.from_data, model, X, (Y > 0) if model == "logistic" else Y, batches=3, l2=0.3
        )
        for model in ("logistic", "least-squares", "log-cosh")
    },
    "symbolic": lambda: Loss.from_sympy(
        ["sin(x*y)*exp(-z**2) + log(1 + x**2)", "(y - x*z)**2/2"], "x y z"
    ),
    "functions": lambda: Loss.from_functions(
        _gradient,
        _hessian,
        value=_value,
        dim=3,
        batches=2,
        data=(np.arange(6.0).reshape(2, 3) / 5,),
    ),
}


def run_block(loss: Loss, indices: list[int], theta: Any, vectors: Any) -> list[np.ndarray]:
    """All results of a block, lanes first: values, single gradients, all gradients, two products."""
    p, m, lanes = loss.dim, loss.batches, len(indices)
    ints, reals = loss.source.pack(np.array(indices))
    # scratch must not matter
    work = np.full(max(1, loss.source.work_size(lanes)), np.nan)
    oracle, points = loss.source.oracle, np.ascontiguousarray(theta.T)
    values, single = np.full((m, lanes), np.nan), np.full((m, p, lanes), np.nan)
    every, first, second = np.full((3, m, p, lanes), np.nan)
    for b in range(m):
        evaluate.value(oracle.value, b, points, ints, reals, work, values[b])
        evaluate.gradient(oracle.gradient, b, points, ints, reals, work, single[b])
    evaluate.gradients(oracle.gradients, points, ints, reals, work, every)
    u, v = (np.ascontiguousarray(np.moveaxis(part, 0, -1)) for part in vectors)
    evaluate.products(oracle.products, points, ints, reals, work, u, v, first, second)
    return [np.moveaxis(a, -1, 0) for a in (values, single, every, first, second)]


@pytest.mark.parametrize("name", LOSSES)
def test_lanes_are_independent_to_the_last_bit(name: str) -> None:
    loss, rng = LOSSES[name](), np.random.default_rng(0)
    count = 9
    theta = rng.uniform(-1, 1, (count, loss.dim))
    vectors = rng.normal(size=(2, count, loss.batches, loss.dim))
    whole = run_block(loss, list(range(count)), theta, vectors)
    for run in ([0], [4], [8], [2, 3, 4], list(range(8)), list(range(1, 9))):
        part = run_block(loss, run, theta[run], vectors[:, run])
        for a, b in zip(whole, part, strict=True):
            assert np.array_equal(a[run], b)
    assert all(np.all(np.isfinite(a)) for a in whole)


@pytest.mark.parametrize("name", LOSSES)
def test_functions_agree_with_each_other(name: str) -> None:
    loss, rng = LOSSES[name](), np.random.default_rng(1)
    theta = rng.uniform(-1, 1, (9, loss.dim))
    vectors = rng.normal(size=(2, 9, loss.batches, loss.dim))
    _, single, every, first, second = run_block(loss, list(range(9)), theta, vectors)
    # symbolic expressions are simplified together or one by one; all others run the same operations
    tolerance = 1e-14 if name == "symbolic" else 0.0
    assert np.abs(single - every).max() <= tolerance * np.abs(single).max()
    for b in range(loss.batches):
        assert np.array_equal(loss.gradient(b, theta), single[:, b])
        hessian = loss.hessian(b, theta)
        scale = np.abs(hessian).max() + 1e-300
        # each entry is a sum of up to about 30 products in another order: some tens of rounding units
        assert np.abs(hessian - np.swapaxes(hessian, -1, -2)).max() <= 1e-14 * scale
        for vector, out in ((vectors[0, :, b], first[:, b]), (vectors[1, :, b], second[:, b])):
            expected = np.einsum("nij,nj->ni", hessian, vector)
            assert np.abs(out - expected).max() <= 3e-14 * scale * np.abs(vector).sum(axis=1).max()
            assert np.array_equal(loss.hvp(b, theta, vector), out)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_derivative_of_value(name: str) -> None:
    loss, rng = LOSSES[name](), np.random.default_rng(2)
    theta, step = rng.uniform(-1, 1, (9, loss.dim)), 1e-4
    for b in range(loss.batches):
        for j, unit in enumerate(np.eye(loss.dim)):
            # five-point rule: error step^4 f^(5) / 30 + rounding 1e-16 / step
            ends = [loss.value(b, theta + k * step * unit) for k in (-2, -1, 1, 2)]
            numeric = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * step)
            assert np.abs(numeric - loss.gradient(b, theta)[:, j]).max() < 1e-9 * (
                1 + np.abs(ends).max()
            )


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_and_pickling(name: str) -> None:
    loss = LOSSES[name]()
    p, b = loss.dim, loss.batches - 1
    theta = np.full(p, 0.3)
    if loss.problems is None:
        assert isinstance(loss.value(b, theta), float)
        assert loss.gradient(b, theta).shape == (p,)
        assert loss.hvp(b, theta, theta).shape == (p,)
        assert loss.hvp(b, theta, np.ones((4, p))).shape == (4, p)
        assert loss.hessian(b, theta).shape == (p, p)
        many = np.tile(theta, (70, 1))
        assert loss.value(b, many).shape == (70,)
        assert loss.gradient(b, many).shape == (70, p)
        assert loss.hessian(b, many).shape == (70, p, p)
        assert np.array_equal(loss.gradient(b, many)[69], loss.gradient(b, theta))
    else:
        size = loss.problems
        assert loss.value(b, theta).shape == (size,)
        assert loss.gradient(b, theta).shape == (size, p)
        assert loss.hessian(b, theta).shape == (size, p, p)
        part = loss.select([7, 2, 2])
        assert part.problems == 3
        assert np.array_equal(part.gradient(b, theta), loss.gradient(b, theta)[[7, 2, 2]])
        one = loss.select(5)
        assert one.problems is None
        assert np.array_equal(one.gradient(b, theta), loss.gradient(b, theta)[5])
        assert np.array_equal(part.select([1]).gradient(b, theta), loss.gradient(b, theta)[[2]])
        chosen = (loss, part, part.select([1, 0]), one)
        whole, some, turned, single = (np.array(each.bounds(-1, 1)) for each in chosen)
        assert np.array_equal(some, whole[:, [7, 2, 2]])
        assert np.array_equal(turned, whole[:, [2, 7]])
        assert np.array_equal(single, whole[:, 5])
    again = pickle.loads(pickle.dumps(loss))
    assert np.array_equal(again.gradient(b, theta), loss.gradient(b, theta))
    assert loss.describe() in repr(loss)


def test_the_callers_arrays_are_left_alone() -> None:
    loss = Loss.random("sinusoid", 3, 2)
    theta = np.full((4, 3), 0.5)
    theta.flags.writeable = False
    loss.gradient(0, theta)
    loss.hessian(1, theta)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda e: e.gradient(2, np.zeros(3)), ValueError, "b = 2"),
        (lambda e: e.gradient(-1, np.zeros(3)), ValueError, "b = -1"),
        (lambda e: e.gradient(0.0, np.zeros(3)), TypeError, "b = 0.0"),
        (lambda e: e.gradient(0, np.zeros(4)), ValueError, r"theta has shape \(4,\)"),
        (lambda e: e.gradient(0, np.zeros((4, 3))), ValueError, r"\(5, 3\)"),
        (lambda e: e.gradient(0, [0.0, np.nan, 0.0]), ValueError, "theta"),
        (lambda e: e.gradient(0, ["a", "b", "c"]), TypeError, "theta"),
        (lambda e: e.hvp(0, np.zeros(3), np.zeros(2)), ValueError, "v has shape"),
        (lambda e: e.hvp(0, np.zeros((5, 3)), np.zeros((4, 3))), ValueError, "v has shape"),
        (lambda e: e.bounds(1.0, 0.0), ValueError, "lower exceeds upper"),
        (lambda e: e.bounds(np.zeros(2), 1.0), ValueError, "lower has shape"),
        (lambda e: e.select([5]), ValueError, "indices run from 5"),
        (lambda e: e.select([]), ValueError, "indices"),
        (lambda e: e.select([0.5]), ValueError, "indices"),
        (lambda e: e.select(0).select(0), ValueError, "single problem"),
    ],
)
def test_bad_input(call: Callable[[Loss], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(Loss.random("sinusoid", 3, 2, problems=5))


def test_threads_may_share_a_loss() -> None:
    # Without scratch of its own for every call about 2 % of these come out wrong (log-sum-exp: 7 %).
    loss = Loss.random("log-sum-exp", dim=6, batches=2, seed=1)
    points = np.random.default_rng(0).normal(size=(300, 32, 6))
    alone = [loss.hessian(0, theta) for theta in points]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda theta: loss.hessian(0, theta), points))
    assert np.array_equal(alone, together)
