"""Claims on local defects and on dropped assumptions are well-formed data that say what the engine reads."""

from __future__ import annotations

import re

import pytest

from stepbias.theory import adam_claims, defect_claims, dropped_claims
from stepbias.theory.claim import Claim
from stepbias.theory.variants import LEADING, STATEMENT, Variant

NEW = (*defect_claims.CLAIMS, *dropped_claims.CLAIMS)


def name(claim: Claim) -> str:
    return claim.id


def test_ids_are_new_and_local_defects_stand_for_every_theorem() -> None:
    ids = [claim.id for claim in (*adam_claims.CLAIMS, *NEW)]
    assert len(set(ids)) == len(ids) == 29
    settings = {(a, p) for a in ("adam", "rmsprop") for p in ("inside", "outside")}
    for suffix, order, variant in (
        ("local-defect", 3.0, STATEMENT),
        ("local-defect-leading", 2.0, LEADING),
    ):
        found = {c.id: c for c in defect_claims.CLAIMS}
        for algorithm, place in settings:
            claim = found[f"{algorithm}-{place}/{suffix}"]
            assert (claim.expected_order, claim.variant, claim.kind) == (order, variant, "local")
            assert claim.exact is (order == 2.0)
            assert bool(claim.wrong) is (order == 3.0)


@pytest.mark.parametrize("claim", NEW, ids=name)
def test_a_claim_says_one_thing_in_all_its_fields(claim: Claim) -> None:
    assert claim.id.startswith(f"{claim.algorithm}-{claim.place}/")
    order = re.fullmatch(r"order (=|>=) (\d+(?:\.\d+)?)", claim.expected)
    assert order is not None
    assert float(order[2]) == claim.expected_order
    assert (order[1] == "=") is claim.exact
    assert f"epsilon {claim.place} the root" in claim.statement
    assert claim.latex.count("{") == claim.latex.count("}")
    assert claim.assumptions
    assert "Cattaneo, Klusowski, Shigida" in claim.source


def test_sources_number_the_local_theorems_of_the_supplement() -> None:
    found = {
        (c.algorithm, c.place): re.findall(r"SA-\d\.\d", c.source) for c in defect_claims.CLAIMS
    }
    assert found == {
        ("rmsprop", "outside"): ["SA-2.3"],
        ("rmsprop", "inside"): ["SA-3.3"],
        ("adam", "outside"): ["SA-4.3"],
        ("adam", "inside"): ["SA-5.3"],
    }  # fmt: skip


def test_a_dropped_assumption_is_named_and_its_control_keeps_it() -> None:
    by_id = {claim.id: claim for claim in dropped_claims.CLAIMS}
    for suffix in ("outside/sign-change", "inside/kink-abs", "inside/kink-relu"):
        claim = by_id[f"adam-{suffix}"]
        assert claim.exact
        assert any(text.startswith("dropped: ") for text in claim.assumptions)
    control = by_id["adam-outside/no-sign-change"]
    assert not any("dropped" in text for text in control.assumptions)
    # L and P cancel at beta = rho: dropping the bias altogether could never be refuted
    assert Variant(bias=0.0) not in control.wrong
    assert len(control.wrong) >= 4
