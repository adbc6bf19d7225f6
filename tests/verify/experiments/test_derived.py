from __future__ import annotations

import numpy as np
import pytest

from stepbias.theory.derived_claims import CLAIMS
from stepbias.theory.statement import Statement
from stepbias.verify.experiments import measure
from stepbias.verify.samples import Setting
from stepbias.verify.statements import judge, mutant_of, summarise_statement


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: str(claim.id))
def test_the_explicit_sums_are_what_the_rule_gives(claim: Statement) -> None:
    setting = Setting(seed=7)
    samples = measure(claim, "", setting)
    row = summarise_statement(claim, judge(claim, samples), 0.0)
    assert row.verdict == "confirmed", row.reason
    assert row.resolution["value"] < 1e-6
    # every eighth problem has PyTorch's decays and epsilon
    assert np.count_nonzero(samples.hardness[:, 1] == 0.999) == 3
    for name in claim.wrong:
        found = mutant_of(claim, name, samples, measure(claim, name, setting), setting)
        assert (found.verdict, found.refuted) == ("refuted", found.visible)
        assert found.visible > 20
