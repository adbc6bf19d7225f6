"""The second arithmetic of optimizers given by their rule: the literal terms, the kernels, and a certificate that can be checked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepbias.kernels.loss import Loss
from stepbias.theory import memory_claims
from stepbias.theory.arithmetic import EXTENDED, second, software
from stepbias.theory.general_memory import literal_field, literal_terms
from stepbias.theory.optimizer import Optimizer
from stepbias.theory.schedules import Cyclic, Reshuffled
from stepbias.theory.shipped import (
    AdamW,
    GradientDescent,
    HeavyBall,
    NAdam,
    Nesterov,
    SmoothLion,
    SmoothSignum,
)
from stepbias.theory.variants import LEADING, STATEMENT, Variant
from stepbias.verify import escalation
from stepbias.verify.certificate import optimizer_data, setting_of_data
from stepbias.verify.check_certificate import end_of_iterates
from stepbias.verify.escalation import escalate
from stepbias.verify.problems import cells_of, draw
from stepbias.verify.second_arithmetic import comparable, loss_in, replicate
from stepbias.verify.second_rules import RuleField
from stepbias.verify.sweep import sweep

pytestmark = pytest.mark.skipif(
    second() is not EXTENDED, reason="this machine's longdouble has no more digits than a double"
)

OPTIMIZERS: list[Optimizer] = [
    GradientDescent(),
    HeavyBall(0.8),
    Nesterov(0.5),
    AdamW(0.7, 0.9, 0.0, 1e-2, 0.5),
    NAdam(0.5, 0.9, 1e-2, 0.0, psi=0.5),
    SmoothLion(0.9, 0.8, 1e-1, 0.1),
    SmoothSignum(0.8, 0.3, "tanh"),
]
VARIANTS = [STATEMENT, LEADING, Variant(memory=0.3, discretization=2.0, bias=-1.5), Variant(short_memory=True)]  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_the_field_is_the_literal_one(optimizer: Optimizer, variant: Variant) -> None:
    loss, batch = Loss.random("log-cosh", 3, 3, seed=2), Reshuffled(3, 4).indices(9)
    theta, h = np.array([0.3, -0.4, 0.8]), 0.05
    plain, _ = loss_in(loss, EXTENDED)
    field = RuleField(optimizer, plain, np.longdouble(h), batch, variant)
    for n in range(9):
        short = variant.short_memory
        terms = literal_terms(optimizer, loss, theta, n, batch, short_memory=short)
        expected = literal_field(terms, h, variant)
        # sums of at most 9 terms, in doubles there: some ten units of the largest
        size = np.abs(terms.direction).max() + np.abs(expected).max()
        found = field(EXTENDED.real(theta), n).astype(np.float64)
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-14 * size)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_the_kernels_agree(optimizer: Optimizer) -> None:
    loss = Loss.random("sinusoid", 3, 2, problems=1, seed=1)
    theta0, T, N = np.array([[0.4, -0.7, 1.1]]), 0.3, 48
    plain, _ = loss_in(loss, EXTENDED)
    for variant in VARIANTS:
        found = sweep(optimizer, loss, theta0, T, [N], Cyclic(2), variant)
        other = replicate(
            EXTENDED, optimizer, plain, theta0[0], T / N, Cyclic(2).indices(N), variant
        )
        # compensated sums leave the rounding of the rates: 16 u (size + T (1 + rate)) is what a sweep allows for
        assert abs(float(other.error) - found.error[0, 0]) < 16 * 2.0**-53 * 10


def test_what_cannot_be_compared_says_why() -> None:
    assert comparable(HeavyBall(0.5), STATEMENT, EXTENDED) == ""
    assert "n -> infinity" in comparable(HeavyBall(0.5), Variant(limit=True), EXTENDED)
    assert "mpmath" in comparable(HeavyBall(0.5), STATEMENT, software())


def test_a_refuted_problem_of_a_rule_is_escalated_and_certified() -> None:
    (claim,) = (c for c in memory_claims.CLAIMS if c.id == "lion/mini-batch")
    cell = replace(cells_of(claim, "quick", 3)[0], count=1, epsilon=0.1, steps=(32, 64, 128, 256))
    wrong = replace(claim, variant=Variant(memory=0.0), wrong=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(escalation, "_SECONDS", 0.5)
        outcome = escalate(wrong, cell, draw(cell).numbers[0])
    assert outcome.certificate is not None, outcome.fit.reason
    made: Any = outcome.certificate
    again = setting_of_data(made["optimizer"])
    assert repr(again) == repr(cell.optimizer())
    loss, _ = loss_in(draw(cell).loss.select(np.array([0])), EXTENDED)
    end = end_of_iterates(made, lambda b, t: loss.gradients(EXTENDED.real(t))[b])
    stored = [float.fromhex(x) for x in made["end"]["iterate"]]
    np.testing.assert_allclose(end.astype(np.float64), stored, rtol=0.0, atol=1e-13)


def test_limiting_coefficients_are_not_refuted_by_one_arithmetic() -> None:
    (claim,) = (c for c in memory_claims.CLAIMS if c.id == "heavy-ball/limit-full-batch")
    cell = replace(cells_of(claim, "quick", 3)[0], count=1, steps=(32, 64, 128, 256))
    wrong = replace(claim, expected_order=2.0)
    outcome = escalate(wrong, cell, draw(cell).numbers[0])
    assert (outcome.verdict, outcome.certificate) == ("inconclusive", None)
    assert "one arithmetic alone" in outcome.fit.reason


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_an_optimizer_survives_its_certificate(optimizer: Optimizer) -> None:
    assert repr(setting_of_data(optimizer_data(optimizer))) == repr(optimizer)


def test_a_certificate_of_a_foreign_rule_cannot_be_rebuilt() -> None:
    with pytest.raises(ValueError, match="not part of stepbias"):
        setting_of_data({"name": "mine", "parameters": {}, "rule": ""})
