"""Plain formulas of the losses against the compiled ones, and against their own difference quotients in many digits."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from stepbias.kernels.families import KINKED_FAMILIES, RandomRidge
from stepbias.kernels.loss import Loss
from stepbias.kernels.plain import loss_data
from stepbias.theory.arithmetic import DOUBLE, Arithmetic, second, software
from stepbias.theory.plain_losses import FORMULAS, KINDS, SLOPES, plain_loss

SYMBOLIC = ["x**4/3 + sin(x*y)*0.1 + exp(-y**2) + log(2 + x**2)", "sqrt(1 + x**2)*y/3 + pi*atan(y)"]


def losses() -> list[Any]:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(12, 3)), rng.integers(0, 2, 12)
    sizes = ((1, 1), (2, 3), (5, 2), (3, 4))
    found = [
        pytest.param(
            Loss.random(family, p, m, problems=5, seed=3).select(np.array([4])), id=f"{family} {p}"
        )
        for family in Loss.families()
        for p, m in sizes
    ]
    found += [
        pytest.param(Loss(RandomRidge(family, 2, 3, None, 5)), id=family)
        for family in KINKED_FAMILIES
    ]
    found += [
        pytest.param(Loss.from_data(model, rows, labels, batches=3, l2=0.1), id=f"data {model}")
        for model in ("logistic", "least-squares", "log-cosh")
    ]
    found.append(pytest.param(Loss.bilinear(), id="bilinear"))
    found.append(pytest.param(Loss.from_sympy(SYMBOLIC, "x y"), id="symbolic"))
    found.append(pytest.param(Loss.random("sinusoid", 2, 2, seed=1), id="single"))
    return found


@pytest.mark.parametrize("loss", losses())
def test_the_compiled_derivatives_are_those_of_the_formula(loss: Loss) -> None:
    rng = np.random.default_rng(7)
    theta, v = rng.normal(size=(2, loss.dim))
    data = json.loads(json.dumps(loss_data(loss)))  # what a certificate stores
    assert data["formula"] == FORMULAS[data["kind"]]
    compiled = np.array([loss.gradient(b, theta).reshape(-1) for b in range(loss.batches)])
    products = np.array([loss.hvp(b, theta, v).reshape(-1) for b in range(loss.batches)])
    for numbers in (DOUBLE, second(), software()):
        plain = plain_loss(data, numbers)
        assert (plain.dim, plain.batches) == (loss.dim, loss.batches)
        vectors = numbers.real(np.broadcast_to(v, (2, loss.batches, loss.dim)))
        g = plain.gradients(numbers.real(theta)).astype(np.float64)
        hv = plain.products(numbers.real(theta), vectors).astype(np.float64)
        np.testing.assert_array_equal(hv[0], hv[1])
        # sums of at most 100 terms of the size of the result: a few dozen rounding units
        np.testing.assert_allclose(g, compiled, rtol=0, atol=1e-14 * np.abs(compiled).max())
        np.testing.assert_allclose(hv[0], products, rtol=0, atol=1e-14 * np.abs(products).max())


@pytest.mark.parametrize("loss", losses())
def test_products_are_difference_quotients_of_gradients(loss: Loss) -> None:
    numbers = software(40)
    plain = plain_loss(loss_data(loss) or {}, numbers)
    rng = np.random.default_rng(1)
    theta = numbers.real(rng.normal(size=loss.dim))
    v = numbers.real(rng.normal(size=loss.dim))
    step = numbers.real("1e-12")
    quotient = (plain.gradients(theta + step * v) - plain.gradients(theta - step * v)) / (2 * step)
    products = plain.products(theta, numbers.real(np.ones((loss.batches, 1))) * v)
    # error of the quotient: step^2 times fourth derivatives, here below 1e3, and 1e-40 / step
    assert np.all(np.abs(quotient - products) < numbers.real("1e-20"))


def test_constants_are_not_rounded_to_doubles() -> None:
    numbers = software(40)
    loss = plain_loss({"kind": "symbolic", "expressions": ["x/3"], "symbols": ["x"]}, numbers)
    value = loss.gradients(numbers.real(np.array([0.0])))[0, 0]
    assert abs(value - numbers.real(1) / numbers.real(3)) < numbers.real("1e-38")


def test_a_function_without_a_form_is_refused() -> None:
    data = {"kind": "symbolic", "expressions": ["erf(x)"], "symbols": ["x"]}
    broken = Arithmetic(**{**vars(DOUBLE), "function": lambda name: getattr(np, name)})
    with pytest.raises(ValueError, match="erf has no form"):
        plain_loss({**data, "expressions": ["erf(x)*erf(x)"]}, broken)


def test_compiled_functions_have_no_formula() -> None:
    def gradient(b: int, theta: Any, data: Any, out: Any) -> None:
        out[0] = theta[0]

    def hessian(b: int, theta: Any, data: Any, out: Any) -> None:
        out[0, 0] = 1.0

    assert loss_data(Loss.from_functions(gradient, hessian, dim=1, batches=1)) is None


def test_unknown_data_are_refused() -> None:
    with pytest.raises(ValueError, match="kind = 'cubic'; accepted: ridge"):
        plain_loss({"kind": "cubic"}, DOUBLE)
    with pytest.raises(ValueError, match=r"activations \['step'\] are unknown"):
        plain_loss({"kind": "ridge", "segments": [["step", 0, 0, 1]]}, DOUBLE)


def test_every_kind_is_described_and_every_activation_has_slopes() -> None:
    from stepbias.theory import activations

    assert set(KINDS) == set(FORMULAS)
    assert set(SLOPES) == set(activations.NAMES)
