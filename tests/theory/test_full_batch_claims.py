"""The statements on the full batch, as data."""

from __future__ import annotations

import pytest

from stepbias.theory.full_batch_claims import CLAIMS
from stepbias.theory.statement import Statement
from stepbias.verify.experiments import experiment_of

IDS = [claim.id for claim in CLAIMS]


def test_ids_are_distinct_and_of_one_subject() -> None:
    assert len(set(IDS)) == len(IDS) >= 25
    assert all(name.startswith("full-batch/") for name in IDS)


@pytest.mark.parametrize("claim", CLAIMS, ids=IDS)
def test_every_statement_says_where_it_stands_and_is_measured(claim: Statement) -> None:
    assert "Cattaneo" in claim.source
    assert all((claim.statement, claim.latex, claim.assumptions, claim.expected))
    assert callable(experiment_of(claim))
    # A misprint is refuted as it stands; everything else has wrong variants to be told from.
    assert claim.wrong or claim.expected_verdict == "refuted"


def test_every_misprint_stands_beside_its_correction() -> None:
    slips = {claim.id: claim for claim in CLAIMS if claim.slip}
    assert slips
    for name, claim in slips.items():
        if claim.expected_verdict == "refuted":
            corrected = slips[name.replace("printed", "corrected")]
            assert corrected.expected_verdict == "confirmed"
            assert claim.variant in corrected.wrong
