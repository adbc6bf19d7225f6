"""The claims are well-formed data, and their wrong variants differ from the statement."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import Any

import pytest

from stepbias.theory.adam_claims import CLAIMS
from stepbias.theory.claim import Claim
from stepbias.theory.variants import LEADING, STATEMENT, TERMS, Variant, of_order

THEOREMS = [claim for claim in CLAIMS if not claim.exact]
CONTROLS = [claim for claim in CLAIMS if claim.exact]


def name(claim: Claim) -> str:
    return claim.id


def test_every_theorem_stands_on_every_kind_of_problem_with_one_control() -> None:
    assert len({claim.id for claim in CLAIMS}) == len(CLAIMS) == 16
    settings = {(a, p) for a in ("adam", "rmsprop") for p in ("inside", "outside")}
    kinds = ("random", "bilinear", "regression")
    assert Counter((c.algorithm, c.place, c.problems) for c in THEOREMS) == {
        (*setting, kind): 1 for setting in settings for kind in kinds
    }
    assert Counter((c.algorithm, c.place, c.problems) for c in CONTROLS) == {
        (*setting, "random"): 1 for setting in settings
    }


@pytest.mark.parametrize("claim", CLAIMS, ids=name)
def test_a_claim_says_one_thing_in_all_its_fields(claim: Claim) -> None:
    assert claim.id.startswith(f"{claim.algorithm}-{claim.place}/")
    order = re.fullmatch(r"order (=|>=) (\d+)", claim.expected)
    assert order is not None
    assert float(order[2]) == claim.expected_order
    assert (order[1] == "=") is claim.exact
    assert f"epsilon {claim.place} the root" in claim.statement
    assert {"adam": "Adam ", "rmsprop": "RMSProp "}[claim.algorithm] in claim.statement
    assert "Cattaneo, Klusowski, Shigida" in claim.source
    assert re.search(r"Theorem (SA-)?\d\.\d", claim.source)
    assert claim.assumptions
    assert all(claim.assumptions)
    assert claim.slip is False


@pytest.mark.parametrize("claim", CLAIMS, ids=name)
def test_the_formula_is_balanced_and_has_the_order_of_the_claim(claim: Claim) -> None:
    assert claim.latex.count("{") == claim.latex.count("}")
    assert claim.latex.count(r"\Big(") == claim.latex.count(r"\Big)")
    assert ("O(h^2)" in claim.latex) == (claim.expected_order == 2.0)
    if not claim.exact:
        assert (r"R_j+\varepsilon" in claim.latex) == (claim.place == "outside")


def test_the_source_names_the_theorem_of_its_algorithm_and_place() -> None:
    found = {(c.algorithm, c.place): re.findall(r"Theorem \S+?(?=$| )", c.source) for c in CLAIMS}
    assert found == {
        ("adam", "inside"): ["Theorem 3.1"],
        ("adam", "outside"): ["Theorem SA-4.4"],
        ("rmsprop", "inside"): ["Theorem 4.2"],
        ("rmsprop", "outside"): ["Theorem SA-2.4"],
    }


@pytest.mark.parametrize("claim", THEOREMS, ids=name)
def test_a_theorem_has_wrong_variants_that_differ_from_it(claim: Claim) -> None:
    assert (claim.expected_order, claim.variant) == (2.0, STATEMENT)
    assert len(claim.wrong) >= 8
    assert claim.mutants == tuple(variant.name for variant in claim.wrong)
    assert len(set(claim.mutants)) == len(claim.wrong)
    assert STATEMENT not in claim.wrong
    # L of RMSProp is zero: a factor on it changes nothing and could never be refuted
    assert any(v.L != 1.0 for v in claim.wrong) is (claim.algorithm == "adam")
    touched = {f.name for f in dataclasses.fields(Variant) for v in claim.wrong
               if getattr(v, f.name) != f.default}  # fmt: skip
    assert {"bias", "Lbar", "P", "Pbar", "swap_eps", "short_memory"} <= touched


@pytest.mark.parametrize("claim", CONTROLS, ids=name)
def test_a_control_is_the_leading_field_alone_with_no_wrong_variants(claim: Claim) -> None:
    assert (claim.expected_order, claim.variant) == (1.0, LEADING)
    assert not claim.wrong
    assert not claim.mutants


def test_assumptions_near_a_zero_of_R_belong_to_epsilon_outside() -> None:
    for claim in CLAIMS:
        assert any("R^(l)" in text for text in claim.assumptions) is (claim.place == "outside")


def test_a_variant_is_named_after_what_it_changes() -> None:
    assert STATEMENT.name == "statement"
    assert LEADING.name == "bias x 0"
    assert Variant(P=0.5, short_memory=True).name == "P x 0.5, short_memory"
    for index, term in enumerate(TERMS):
        changed: dict[str, Any] = {term: 3.0}
        factors = dataclasses.replace(STATEMENT, **changed).factors
        assert factors[index] == 3.0
        assert sorted(factors) == [1.0] * 8 + [3.0]


def test_an_order_names_its_field() -> None:
    assert of_order(2) == STATEMENT
    assert of_order(1) == LEADING
    for bad in (0, 3, True, 2.0, "2"):
        with pytest.raises(ValueError, match="order = "):
            of_order(bad)  # type: ignore[arg-type]
