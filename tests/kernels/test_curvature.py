"""Hessian-vector products along fixed directions: their change along a path, and their agreement with the gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels.blocks import prepare
from stepbias.kernels.curvature import directions, product_mismatch
from stepbias.kernels.fault import Fault
from stepbias.kernels.survey import Survey, survey

OPTIMIZER = sb.Adam(0.5, 0.7, 0.0, 1e-2)


def surveyed(loss: sb.Loss, theta: Any, h: float = 0.01, steps: int = 40) -> Survey:
    return survey(prepare(OPTIMIZER, loss, theta, h, steps, None, "cpu"), steps)


def mismatch(loss: sb.Loss, theta: Any, fault: Fault | None = None) -> np.ndarray[Any, Any]:
    ensemble = prepare(OPTIMIZER, loss, theta, 0.1, 1, None, "cpu")
    return product_mismatch(ensemble if fault is None else fault.ensemble(ensemble))


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_directions_are_unit_vectors_that_leave_no_coordinate_out(dim: int) -> None:
    v = directions(dim)
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1.0, rtol=1e-14)
    assert np.linalg.matrix_rank(v) == min(dim, 4)
    assert np.abs(v).max(axis=0).min() > 0.1


def test_change_is_that_of_the_hessians_at_the_ends_of_the_path() -> None:
    loss = sb.Loss.random("sinusoid", dim=3, batches=2, problems=3, seed=5)
    theta = np.random.default_rng(1).normal(size=(3, 3))
    found = surveyed(loss, theta).curvature
    for k in range(3):
        one = loss.select(k)
        last = sb.iterate(OPTIMIZER, one, theta[k], 0.01, 40)[-1]
        change = size = 0.0
        for v in directions(3):
            for b in range(2):
                before, after = one.hvp(b, theta[k], v), one.hvp(b, last, v)
                change += float(np.linalg.norm(after - before))
                size += 0.5 * float(np.linalg.norm(before) + np.linalg.norm(after))
        assert found[k] == pytest.approx(change / size, rel=1e-9)
        assert found[k] > 0.1


def test_quadratic_loss_does_not_change() -> None:
    x = np.random.default_rng(2).normal(size=(20, 3))
    loss = sb.Loss.from_data("least-squares", x, x @ [1.0, 2.0, -1.0], batches=2)
    assert surveyed(loss, [0.3, 0.4, 0.5]).curvature[0] < 1e-13
    linear = sb.Loss.from_sympy("3*x + 2*y", "x y")
    assert surveyed(linear, [0.3, 0.4]).curvature[0] == 0.0


@pytest.mark.parametrize("family", sb.Loss.families())
def test_products_agree_with_differences_of_the_gradients(family: str) -> None:
    loss = sb.Loss.random(family, dim=4, batches=3, problems=40, seed=8)
    theta = np.random.default_rng(3).normal(size=(40, 4))
    found = mismatch(loss, theta)
    # truncation and rounding are about 1e-11 each for derivatives of order one (see the module); frequencies here go up to 3
    assert found.max() < 1e-8
    wrong = mismatch(loss, theta, Fault("", "", products=1.001))
    # relative to the products and a hundredth of the gradients
    assert wrong.min() > 2e-4
    assert wrong.max() < 1.001e-3


def test_flat_and_linear_losses_agree() -> None:
    assert mismatch(sb.Loss.from_sympy("3*x + 2*y", "x y"), [0.3, 0.4])[0] < 1e-8
    assert mismatch(sb.Loss.from_sympy("0*x", "x"), [0.3])[0] == 0.0
