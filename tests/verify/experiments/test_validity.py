from __future__ import annotations

import numpy as np
import pytest

from stepbias.kernels.loss import Loss
from stepbias.theory.optimizers import Adam
from stepbias.theory.statement import Statement
from stepbias.theory.validity_claims import CLAIMS
from stepbias.verify.experiments import measure, validity
from stepbias.verify.samples import Setting
from stepbias.verify.statements import judge, mutant_of, summarise_statement


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: str(claim.id))
def test_every_law_is_confirmed_and_its_wrong_variants_are_not(
    claim: Statement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer problems and a coarser layer than a run: a tenth of its time."""
    monkeypatch.setattr(validity, "_COUNTS", (6, 6, 6))
    monkeypatch.setattr(validity, "_LAYER", 16.0)
    setting = Setting(seed=11)
    samples = measure(claim, claim.variant, setting)
    row = summarise_statement(claim, judge(claim, samples), 0.0)
    assert row.counts["refuted"] == 0
    assert row.counts["confirmed"] >= 3, row.reason
    for name in claim.wrong:
        assert (
            mutant_of(claim, name, samples, measure(claim, name, setting), setting).verdict
            == "refuted"
        )


def test_the_constant_is_the_limit_of_error_over_h_squared() -> None:
    loss = Loss.random("sinusoid", 3, problems=4, seed=5)
    theta0 = np.random.default_rng(1).normal(size=(4, 3))
    optimizer = Adam(0.5, 0.8, 0.0, 0.1)
    rough, doubt = validity.constant(optimizer, loss, theta0, 0.5, 500)
    fine, _ = validity.constant(optimizer, loss, theta0, 0.5, 8000)
    assert np.all(np.abs(rough - fine) <= doubt)
    assert np.all(doubt < 0.1 * fine)


def test_a_problem_alone_is_the_problem_in_the_run() -> None:
    (claim,) = (c for c in CLAIMS if c.id == "validity/constant-in-horizon")
    run = measure(claim, "", Setting(seed=4))
    alone = measure(claim, "", Setting(seed=4, only=5))
    judged = alone.numbers[alone.pooled]
    assert list(judged) == [5]
    assert np.array_equal(run.error[5], alone.error[0])


def test_a_rare_problem_is_found_again_alone() -> None:
    """Few draws cross: a problem alone has to be looked for in as many draws as in a run."""
    (claim,) = (c for c in CLAIMS if c.id == "validity/constant-without-sign-change")
    run = measure(claim, "a sign change", Setting(seed=4))
    last = int(run.numbers[-1])
    alone = measure(claim, "a sign change", Setting(seed=4, only=last))
    assert list(alone.numbers) == [last]
    assert alone.left[0] == run.left[-1]
    assert len(measure(claim, "", Setting(only=9999)).numbers) == 0


def test_defaults_are_reported_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "_LAYER", 2.0)
    monkeypatch.setattr(validity, "_MEMORIES", 4)
    for claim in CLAIMS:
        if claim.kind == "order":
            samples = measure(claim, "", Setting(only=0))
            row = summarise_statement(claim, judge(claim, samples), 0.0)
            shown = [s for s in row.strata if "(0.9, 0.999, 1e-08)" in s.name]
            assert [s.inconclusive for s in shown] == [1]
