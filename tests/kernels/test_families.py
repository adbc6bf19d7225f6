"""Random families against the same formulas in 60-digit arithmetic, their bounds, and their draws."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from stepbias.kernels.loss import Loss

Scalar = Callable[[list[Any]], Any]

ACTIVATIONS = [
    mpmath.sin,
    lambda z: mpmath.log(1 + mpmath.exp(z)),
    lambda z: mpmath.log(mpmath.cosh(z)),
    lambda z: mpmath.exp(-z * z / 2),
    lambda z: z * z / 2,
    mpmath.tanh,
]


def dot(row: Any, theta: list[Any]) -> Any:
    return mpmath.fsum(mpmath.mpf(float(w)) * t for w, t in zip(row, theta, strict=True))


def exact(loss: Loss, problem: int, b: int) -> Scalar:
    """E_b of one problem from the drawn numbers, by the family's formula."""
    source: Any = loss.source
    parts = [part[..., 0] for part in source.draw(np.array([problem]))]
    name = type(source).__name__
    if name == "RandomSoftmax":
        weight, offset, amplitude = parts

        def softmax(theta: list[Any]) -> Any:
            terms = [
                mpmath.exp(dot(weight[:, i], theta) + offset[b, i]) for i in range(weight.shape[1])
            ]
            return amplitude[b] * mpmath.log(mpmath.fsum(terms))

        return softmax
    if name == "RandomTanhNetwork":
        x, y = parts

        def network(theta: list[Any]) -> Any:
            full = [*theta, *[0, 0, 1][len(theta) % 3 :]] if len(theta) % 3 else theta
            triples = [full[k : k + 3] for k in range(0, len(full), 3)]
            total = mpmath.mpf(0)
            for xd, yd in zip(x[b], y[b], strict=True):
                f = mpmath.fsum(o * mpmath.tanh(w * xd + c) for w, c, o in triples)
                total += (f - yd) ** 2 / 2
            return total / len(x[b])

        return network
    offset, amplitude, weight = parts

    def ridge(theta: list[Any]) -> Any:
        total = mpmath.mpf(0)
        for kind, batch, start, stop in source.segments:
            if batch == b:
                for u in range(start, stop):
                    total += amplitude[u] * ACTIVATIONS[kind](dot(weight[:, u], theta) + offset[u])
        return total

    return ridge


def partial(function: Scalar, theta: np.ndarray, index: tuple[int, ...]) -> float:
    """A mixed partial derivative by nested central differences: step 1e-12, so 1e-24 relative, and 90 digits for order 4."""
    with mpmath.workdps(90):
        step, total = mpmath.mpf(10) ** -12, mpmath.mpf(0)
        for signs in itertools.product((1, -1), repeat=len(index)):
            point = [mpmath.mpf(float(t)) for t in theta]
            for j, sign in zip(index, signs, strict=True):
                point[j] += sign * step
            total += int(np.prod(signs)) * function(point)
        return float(total / (2 * step) ** len(index))


CASES = [(family, p) for family in Loss.families() for p in (1, 2, 4)]


@pytest.mark.parametrize(("family", "p"), CASES)
def test_derivatives(family: str, p: int) -> None:
    loss = Loss.random(family, p, batches=2, problems=3, seed=11)
    theta = np.random.default_rng(p).uniform(-1.5, 1.5, (3, p))
    for b in range(2):
        value, gradient, hessian = (
            loss.value(b, theta),
            loss.gradient(b, theta),
            loss.hessian(b, theta),
        )
        for k in range(3):
            function = exact(loss, k, b)
            # sums of at most 12 terms of size about 1, each with a few rounding units of argument error times its slope
            assert abs(value[k] - partial(function, theta[k], ())) < 2e-14
            for i in range(p):
                assert abs(gradient[k, i] - partial(function, theta[k], (i,))) < 2e-14
                for j in range(i, p):
                    assert abs(hessian[k, i, j] - partial(function, theta[k], (i, j))) < 4e-14


@pytest.mark.parametrize(("family", "p"), CASES)
def test_bounds_hold_and_are_not_absurd(family: str, p: int) -> None:
    loss = Loss.random(family, p, batches=2, problems=4, seed=5)
    rng = np.random.default_rng(3)
    centre, radius = rng.uniform(-1, 1, (4, p)), rng.uniform(0.0, 1.0, (4, p))
    bounds = loss.bounds(centre - radius, centre + radius)
    assert bounds is not None
    largest = np.zeros((4, 4))
    for k in range(4):
        for b in range(2):
            function = exact(loss, k, b)
            for _ in range(2):
                theta = centre[k] + radius[k] * rng.uniform(-1, 1, p)
                for order in range(1, 5):
                    index = tuple(int(j) for j in rng.integers(0, p, order))
                    for chosen in {index, (index[0],) * order}:
                        largest[order - 1, k] = max(
                            largest[order - 1, k], abs(partial(function, theta, chosen))
                        )
    for order in range(4):
        assert bounds[order].shape == (4,)
        assert np.all(largest[order] <= bounds[order])
        if family not in ("log-sum-exp", "tanh-network"):
            # terms of random signs against their absolute sum, at a few random points instead of the worst
            assert np.all(bounds[order] <= 60 * largest[order].max() + 1e-9)


@pytest.mark.parametrize("family", Loss.families())
def test_bounds_at_a_point_equal_dense_maxima(family: str) -> None:
    """On dense points of a box, orders 1 and 2 are bounded for every problem."""
    loss = Loss.random(family, 3, batches=2, problems=50, seed=2)
    rng = np.random.default_rng(0)
    bounds = loss.bounds(-2.0, 1.0)
    assert bounds is not None
    m1, m2, _, _ = bounds
    for _ in range(20):
        theta = rng.uniform(-2.0, 1.0, (50, 3))
        for b in range(2):
            assert np.all(np.abs(loss.gradient(b, theta)).max(axis=1) <= m1)
            assert np.all(np.abs(loss.hessian(b, theta)).max(axis=(1, 2)) <= m2)


@pytest.mark.parametrize("family", Loss.families())
def test_draws_depend_on_seed_and_problem_only(family: str) -> None:
    theta = np.linspace(-1, 1, 4)
    large = Loss.random(family, 4, 3, problems=70, seed=9).gradient(2, theta)
    small = Loss.random(family, 4, 3, problems=5, seed=9).gradient(2, theta)
    assert np.array_equal(large[:5], small)
    assert np.array_equal(Loss.random(family, 4, 3, seed=9).gradient(2, theta), large[0])
    other = Loss.random(family, 4, 3, problems=70, seed=10).gradient(2, theta)
    assert not np.any(other == large)
    assert len(np.unique(large[:, 0])) == 70


@pytest.mark.parametrize("family", Loss.families())
@pytest.mark.parametrize("p", [1, 4, 40])
def test_gradients_are_of_order_one_and_batches_differ(family: str, p: int) -> None:
    loss = Loss.random(family, p, 2, problems=200, seed=1)
    theta = np.random.default_rng(0).uniform(-1, 1, (200, p))
    first, second = loss.gradient(0, theta), loss.gradient(1, theta)
    size = np.sqrt(np.mean(first**2))
    assert 0.05 < size < 8
    difference = np.sqrt(np.mean((first - second) ** 2))
    assert 0.05 * size < difference < 1.5 * size
    assert 0.2 < np.mean(first > 0) < 0.8


def test_sinusoids_match_numpy() -> None:
    rng = np.random.default_rng(4)
    a, w, c = rng.normal(size=(6, 3, 5)), rng.normal(size=(5, 2)), rng.normal(size=(6, 3, 5))
    loss = Loss.sinusoids(a, w, c)
    theta = rng.normal(size=(6, 2))
    assert (loss.dim, loss.batches, loss.problems) == (2, 3, 6)
    for b in range(3):
        z = theta @ w.T + c[:, b]
        assert np.allclose(
            loss.value(b, theta), (a[:, b] * np.sin(z)).sum(axis=1), rtol=0, atol=1e-14
        )
        assert np.allclose(loss.gradient(b, theta), (a[:, b] * np.cos(z)) @ w, rtol=0, atol=1e-14)
        hessian = np.einsum("nq,qi,qj->nij", -a[:, b] * np.sin(z), w, w)
        assert np.allclose(loss.hessian(b, theta), hessian, rtol=0, atol=1e-13)
    single = Loss.sinusoids(a[2], w, c[2])
    assert single.problems is None
    assert np.array_equal(single.gradient(1, theta[2]), loss.gradient(1, theta)[2])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("sinusoids", 2), ValueError, "nearest: 'sinusoid'"),
        ((3, 2), TypeError, "family = 3"),
        (("logistic", 0), ValueError, "dim = 0"),
        (("logistic", 2.5), TypeError, "dim = 2.5"),
        (("logistic", 2, 0), ValueError, "batches = 0"),
        (("logistic", 2, 1, 0), ValueError, "problems = 0"),
        (("logistic", 2, 1, None, -1), ValueError, "seed = -1"),
        (("logistic", 2, 1, None, 2**63), ValueError, "seed"),
    ],
)
def test_random_rejects(arguments: tuple[Any, ...], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Loss.random(*arguments)


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        (((2, 3), (4, 2), (2, 3)), "frequency has shape"),
        (((2, 3), (3, 2), (2, 4)), "phase has shape"),
        (((3,), (3, 2), (2, 3)), "amplitude has shape"),
        (((2, 3), (3, 0), (2, 3)), "frequency has shape"),
        (((5, 2, 3), (4, 3, 2), (2, 3)), "leading axes differ"),
    ],
)
def test_sinusoids_reject(shapes: tuple[tuple[int, ...], ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Loss.sinusoids(*(np.ones(shape) for shape in shapes))


def test_sinusoids_reject_nan() -> None:
    with pytest.raises(ValueError, match="phase"):
        Loss.sinusoids(np.ones((1, 2)), np.ones((2, 2)), [[0.0, np.nan]])
