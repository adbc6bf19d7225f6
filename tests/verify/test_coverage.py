"""The table of what the papers state against the registry: every id exists, every claim occurs."""

from __future__ import annotations

from stepbias.theory import coverage
from stepbias.theory.statement import Statement
from stepbias.verify.registry import CLAIMS

KNOWN = [claim.id for claim in CLAIMS]


def test_every_id_of_the_table_exists() -> None:
    assert coverage.expand(tuple(sorted(coverage.named())), KNOWN)


def test_every_claim_occurs_in_the_table() -> None:
    assert coverage.uncovered(KNOWN) == []
    assert coverage.uncovered([*KNOWN, "no/such-claim"]) == ["no/such-claim"]


def test_misprints_are_refuted_as_printed_and_confirmed_as_corrected() -> None:
    claims = {claim.id: claim for claim in CLAIMS}
    for slip in coverage.MISPRINTS:
        verdicts = []
        for name in slip.claims:
            claim = claims[name]
            assert isinstance(claim, Statement)
            assert claim.slip
            verdicts.append(claim.expected_verdict)
        assert verdicts in ([], ["refuted", "confirmed"])
