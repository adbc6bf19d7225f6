"""Every claim the tool knows, by id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from stepbias.theory import (
    adam_claims,
    bilinear_claims,
    constants_claims,
    constants_slips,
    defect_claims,
    derived_claims,
    dropped_claims,
    full_batch_claims,
    memory_claims,
    regimes_claims,
    special_claims,
    validity_claims,
)
from stepbias.theory.claim import Claim
from stepbias.theory.statement import Statement

AnyClaim = Claim | Statement

CLAIMS: tuple[AnyClaim, ...] = (
    *adam_claims.CLAIMS,
    *defect_claims.CLAIMS,
    *dropped_claims.CLAIMS,
    *derived_claims.CLAIMS,
    *memory_claims.CLAIMS,
    *full_batch_claims.CLAIMS,
    *special_claims.CLAIMS,
    *bilinear_claims.CLAIMS,
    *validity_claims.CLAIMS,
    *regimes_claims.CLAIMS,
    *constants_claims.CLAIMS,
    *constants_slips.CLAIMS,
)


def claims() -> list[AnyClaim]:
    """All claims, in the order of the theory.

    Returns
    -------
    list of Claim and Statement
        Each with id, source, statement, latex, assumptions, expected, mutants and slip.
    """
    return list(CLAIMS)


def find(ids: Sequence[str] | str | None) -> list[AnyClaim]:
    """The claims with these ids; a prefix that ends at a slash ("adam-inside") means all below it; None means all.

    Raises
    ------
    ValueError
        For an unknown id, with the nearest known one.
    TypeError
        For what is neither a string nor a sequence.
    """
    if ids is None:
        return claims()
    if not isinstance(ids, Iterable):
        raise TypeError(
            f"CLAIM = {ids!r} has type {type(ids).__name__}; accepted: ids, see `stepbias claims`"
        )
    found: list[AnyClaim] = []
    for name in [ids] if isinstance(ids, str) else ids:
        matches = [c for c in CLAIMS if c.id == name or c.id.startswith(f"{name}/")]
        if not matches:
            near = get_close_matches(str(name), [c.id for c in CLAIMS], n=1, cutoff=0.0)
            raise ValueError(
                f"CLAIM = {name!r} is unknown; the nearest is {near[0]!r}; see `stepbias claims`"
            )
        found += [c for c in matches if c not in found]
    return found


def find_one(name: str) -> AnyClaim:
    """The one claim with this id.

    Raises
    ------
    ValueError
        For an unknown id, or one that names several claims.
    """
    chosen = find(name)
    if len(chosen) != 1:
        raise ValueError(f"CLAIM = {name!r} names {len(chosen)} claims; accepted: the id of one")
    return chosen[0]


def find_trajectory_claim(name: str) -> Claim:
    """The one claim with this id, about the distance of iterates and flow.

    Raises
    ------
    ValueError
        As :func:`find_one`, and for a statement about anything else.
    """
    claim = find_one(name)
    if not isinstance(claim, Claim):
        raise ValueError(
            f"CLAIM = {name!r} is measured by an experiment of its own; accepted: a claim on the distance of iterates "
            "and flow, such as 'adam-inside/global-order'"
        )
    return claim
