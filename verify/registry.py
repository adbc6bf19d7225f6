"""Every claim the tool knows, by id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from stepbias.theory import adam_claims, defect_claims, dropped_claims
from stepbias.theory.claim import Claim

CLAIMS: tuple[Claim, ...] = (
    *adam_claims.CLAIMS,
    *defect_claims.CLAIMS,
    *dropped_claims.CLAIMS,
)


def claims() -> list[Claim]:
    """All claims, in the order of the theory.

    Returns
    -------
    list of Claim
        Each with id, source, statement, latex, assumptions, expected, mutants and slip.
    """
    return list(CLAIMS)


def find(ids: Sequence[str] | str | None) -> list[Claim]:
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
    found: list[Claim] = []
    for name in [ids] if isinstance(ids, str) else ids:
        matches = [c for c in CLAIMS if c.id == name or c.id.startswith(f"{name}/")]
        if not matches:
            near = get_close_matches(str(name), [c.id for c in CLAIMS], n=1, cutoff=0.0)
            raise ValueError(
                f"CLAIM = {name!r} is unknown; the nearest is {near[0]!r}; see `stepbias claims`"
            )
        found += [c for c in matches if c not in found]
    return found
