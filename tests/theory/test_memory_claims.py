from __future__ import annotations

import pytest

from stepbias.theory.claim import Claim
from stepbias.theory.memory_claims import CLAIMS, NAMES
from stepbias.theory.variants import LEADING


def claims_of(algorithm: str) -> dict[str, Claim]:
    found = [c for c in CLAIMS if c.algorithm == algorithm]
    return {c.id.partition("/")[2]: c for c in found}


@pytest.mark.parametrize("algorithm", NAMES)
def test_every_optimizer_is_judged_on_both_kinds_of_batches_with_its_control(
    algorithm: str,
) -> None:
    found = claims_of(algorithm)
    assert set(found) == {
        "full-batch",
        "mini-batch",
        "leading-field",
        "limit-full-batch",
        "limit-mini-batch",
    }
    assert found["full-batch"].batches == (1,)
    assert min(found["mini-batch"].batches) > 1
    assert (found["leading-field"].variant, found["leading-field"].exact) == (LEADING, True)
    for name in ("full-batch", "mini-batch"):
        assert found[name].expected_order == 2.0
        assert found[name].wrong


def test_gradient_descent_has_no_memory_to_be_wrong_about() -> None:
    (full,) = (c for c in CLAIMS if c.id == "gradient-descent/full-batch")
    assert all(v.memory == 1.0 and not v.short_memory for v in full.wrong)


def test_limiting_coefficients_keep_the_order_only_where_nothing_starts_up() -> None:
    kept = {c.id for c in CLAIMS if c.variant.limit and c.expected_order == 2.0}
    assert kept == {
        "gradient-descent/limit-full-batch",
        "gradient-descent/limit-mini-batch",
        "adam-inside/limit-full-batch",
        "adamw/limit-full-batch",
    }
    for claim in CLAIMS:
        if claim.variant.limit:
            assert claim.exact == (claim.expected_order == 1.0)


def test_ids_are_distinct() -> None:
    assert len({c.id for c in CLAIMS}) == len(CLAIMS)
