"""The bilinear loss: derivatives from SymPy, bounds exact."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import sympy

from stepbias.kernels.loss import Loss

A, B = sympy.symbols("a b")


@pytest.mark.parametrize(("x", "y"), [(2.0, 1.5), (-0.7, 0.0), (1.3, -4.0), (0.0, 1.0)])
def test_derivatives_and_exact_bounds(x: float, y: float) -> None:
    loss = Loss.bilinear(x, y)
    assert (loss.dim, loss.batches, loss.problems) == (2, 1, None)
    e = (y - A * B * x) ** 2 / 2
    rng = np.random.default_rng(0)
    for _ in range(6):
        low = rng.uniform(-2, 1, 2)
        high = low + rng.uniform(0, 2, 2)
        bounds = loss.bounds(low, high)
        grid = np.stack(
            np.meshgrid(*(np.linspace(a, b, 201) for a, b in zip(low, high, strict=True))), -1
        )
        assert bounds is not None
        for order in range(1, 5):
            largest = 0.0
            for index in itertools.combinations_with_replacement((A, B), order):
                f = sympy.lambdify((A, B), sympy.diff(e, *index))
                largest = max(
                    largest, float(np.abs(f(grid[..., 0], grid[..., 1]) + 0 * grid[..., 0]).max())
                )
            assert largest <= bounds[order - 1]
            # the grid misses a maximum by at most f'' times half a cell squared
            assert bounds[order - 1] <= largest + 1e-3 * (1 + x * x) + 1e-12
        theta = grid[3, 5]
        gradient = [float(sympy.diff(e, s).subs({A: theta[0], B: theta[1]})) for s in (A, B)]
        hessian = [
            [float(sympy.diff(e, s, t).subs({A: theta[0], B: theta[1]})) for t in (A, B)]
            for s in (A, B)
        ]
        assert loss.value(0, theta) == pytest.approx(
            float(e.subs({A: theta[0], B: theta[1]})), rel=1e-14, abs=1e-14
        )
        assert loss.gradient(0, theta) == pytest.approx(gradient, rel=1e-13, abs=1e-13)
        assert loss.hessian(0, theta) == pytest.approx(np.array(hessian), rel=1e-13, abs=1e-13)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((np.nan,), ValueError), ((1.0, [1.0]), ValueError), (("a",), TypeError)],
)
def test_rejects(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        Loss.bilinear(*arguments)
