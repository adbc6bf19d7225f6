"""The second arithmetic: equal to the printed sums term by term, and to the compiled kernels up to their rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepbias.kernels.loss import Loss
from stepbias.theory.arithmetic import DOUBLE, EXTENDED, second, software
from stepbias.theory.memory import literal_field, literal_terms
from stepbias.theory.optimizers import Adam, AdamFamily, RMSProp
from stepbias.theory.schedules import IID
from stepbias.theory.variants import LEADING, STATEMENT, Variant
from stepbias.verify.second_arithmetic import (
    CompiledLoss,
    Field,
    Setting,
    affordable,
    loss_in,
    replicate,
)
from stepbias.verify.sweep import sweep

OPTIMIZERS: list[AdamFamily] = [
    Adam(0.5, 0.7, 0.0, 1e-2),
    Adam(0.9, 0.8, 1e-3, 0.0),
    Adam(0.6, 0.6, 1e-3, 1e-3, bias_correction=False),
    RMSProp(0.7, 0.0, 1e-2),
]
VARIANTS = [
    STATEMENT,
    LEADING,
    Variant(M=1.1, R=0.9, L=0.5, Lbar=1.5, P=0.3, Pbar=2.0, bias=-1.0),
    Variant(flip_bias_correction=True),
    Variant(swap_eps=True),
    Variant(short_memory=True),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_the_field_is_the_printed_one(optimizer: AdamFamily) -> None:
    loss, batch = Loss.random("log-sum-exp", 3, 3, seed=2), IID(3, 4).indices(12)
    theta, h = np.array([0.3, -0.4, 0.8]), 0.05
    variant = Variant(M=1.1, R=0.9, L=0.5, Lbar=1.5, P=0.3, Pbar=2.0, bias=0.7)
    plain, _ = loss_in(loss, DOUBLE)
    field = Field(DOUBLE, Setting.of(optimizer), plain, h, batch, variant)
    for n in range(12):
        terms = literal_terms(optimizer, loss, theta, n, batch)
        expected = literal_field(terms, float(optimizer.eps), h, variant)
        # both are sums of at most 12 * 12 terms, the largest 100 times the result: a few hundred units
        np.testing.assert_allclose(field(theta, n), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["global", "local"])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_the_kernels_agree(variant: Variant, kind: str) -> None:
    for i, optimizer in enumerate(OPTIMIZERS):
        loss = Loss.random("sinusoid", 2, 2, problems=3, seed=i).select(np.array([2]))
        theta0, schedule = np.array([[0.4, -0.7]]), IID(2, 5)
        found = sweep(optimizer, loss, theta0, 0.5, [48], schedule, variant, kind)
        numbers = second()
        plain, words = loss_in(loss, numbers)
        assert words == "plain formula, ridge"
        other = replicate(
            numbers,
            Setting.of(optimizer),
            plain,
            theta0[0],
            0.5 / 48,
            schedule.indices(48),
            variant,
            local=kind == "local",
        )
        # the same methods: what differs is rounding, 48 steps of size h <= 1 with a few dozen units each,
        # more where a wrong variant makes the field stiff
        scale = 1e-13 + 1e-11 * found.error[0, 0]
        assert abs(float(other.error) - found.error[0, 0]) <= scale
        vector = (other.iterate - other.flow).astype(np.float64)
        np.testing.assert_allclose(vector, found.difference[0, 0], rtol=0, atol=scale)


def test_software_floats_give_the_same_numbers() -> None:
    loss = Loss.random("tanh-network", 2, 2, seed=1)
    results = []
    for numbers in (software(), EXTENDED):
        plain, _ = loss_in(loss, numbers)
        setting = Setting(0.5, 0.6, 0.0, 1e-2, True)
        results.append(replicate(numbers, setting, plain, [0.3, 0.5], 0.02, IID(2, 1).indices(16)))
    # rounding of longdouble, or of a double where it is no wider: 16 steps
    assert abs(float(results[0].error) - float(results[1].error)) < 1e-15


def test_a_compiled_function_is_used_as_it_is() -> None:
    def gradient(b: int, theta: Any, data: Any, out: Any) -> None:
        out[0] = np.sin(theta[0]) + b * theta[0]

    def hessian(b: int, theta: Any, data: Any, out: Any) -> None:
        out[0, 0] = np.cos(theta[0]) + b

    compiled = Loss.from_functions(gradient, hessian, dim=1, batches=2)
    formula = Loss.from_sympy(["-cos(x)", "-cos(x) + x**2/2"], "x")
    numbers = second()
    setting, batch = Setting(0.5, 0.6, 0.0, 1e-2, True), IID(2, 1).indices(32)
    by_compiled, words = loss_in(compiled, numbers)
    assert isinstance(by_compiled, CompiledLoss)
    assert "float64" in words
    one = replicate(numbers, setting, by_compiled, [0.9], 0.01, batch)
    other = replicate(numbers, setting, loss_in(formula, numbers)[0], [0.9], 0.01, batch)
    # gradients rounded to doubles, in 32 steps of 0.01
    assert abs(float(one.error) - float(other.error)) < 1e-15


def test_an_overflow_ends_the_run_with_a_number_that_is_none() -> None:
    loss = Loss.from_sympy(["x**40"], "x")
    plain, _ = loss_in(loss, DOUBLE)
    batch = np.zeros(10, dtype=np.int64)
    found = replicate(DOUBLE, Setting(0.0, 0.0, 0.0, 1.0, True), plain, [1e10], 0.1, batch)
    assert np.isnan(found.error)


def test_the_number_of_steps_follows_the_cost() -> None:
    small, large = Loss.random("sinusoid", 1, 1, seed=1), Loss.random("sinusoid", 8, 4, seed=1)
    steps = [64, 256, 1024, 4096]
    assert affordable(steps, small, EXTENDED, 1e9) == 4096
    assert affordable(steps, small, EXTENDED, 0.0) == 64
    few = [affordable(steps, loss, EXTENDED, 1.0) for loss in (small, large)]
    assert few[0] >= few[1]
    assert affordable(steps, small, software(), 1.0) < affordable(steps, small, EXTENDED, 1.0)
