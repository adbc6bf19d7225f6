"""The second look of a run: refuted problems measured again, at a level that holds for all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from stepbias.theory.claim import Claim
from stepbias.verify.escalation import escalate
from stepbias.verify.orders import LEVEL
from stepbias.verify.summary import UnitResult


class Suspect(NamedTuple):
    """A problem that looks refuted."""

    claim: Claim
    unit: UnitResult
    row: int  # in its unit
    problem: int  # in its claim
    distance: float  # from the claimed order


def suspects(claim: Claim, units: Sequence[UnitResult]) -> list[Suspect]:
    """The refuted problems of a claim, the farthest from the claim first."""
    found, first = [], 0
    for unit in units:
        if not unit.cell.pooled:
            continue
        found += [
            Suspect(claim, unit, k, first + k, abs(fit.order - claim.expected_order))
            for k, fit in enumerate(unit.fits(claim))
            if fit.verdict == "refuted"
        ]
        first += unit.cell.count
    return sorted(found, key=lambda suspect: -suspect.distance)


def look_again(
    judged: Sequence[tuple[Claim, Sequence[UnitResult]]], command: str, workers: int
) -> dict[str, dict[str, Any]]:
    """Escalate the refuted problems of every claim until one of them stays refuted; the fits are replaced in the units.

    Parameters
    ----------
    judged : sequence of (Claim, units)
    command : str
        Repeats one problem; formatted with ``claim`` and ``problem``.
    workers : int
        Claims are looked at in this many threads.

    Returns
    -------
    dict
        The certificate of every claim that stays refuted, by id.

    Notes
    -----
    A first refutation only selects: the second one rests on new measurements. With K problems selected in the whole run it is made at the level
    1 - 0.01 / K, so that the family-wise error of the run is at most 1 %: Bonferroni's bound, which is also the first and strictest step of Holm's procedure.
    """
    lists = [suspects(claim, units) for claim, units in judged]
    total = sum(len(found) for found in lists)

    def settle(found: list[Suspect]) -> dict[str, dict[str, Any]]:
        for claim, unit, k, problem, _ in found:
            number = int(unit.arrays["numbers"][k])
            words = command.format(claim=claim.id, problem=problem)
            again = escalate(claim, unit.cell, number, words, level=1.0 - (1.0 - LEVEL) / total)
            unit.escalated[k] = again.fit
            if again.certificate is not None:
                return {claim.id: again.certificate | {"number": problem}}
        return {}

    with ThreadPoolExecutor(max_workers=workers) as pool:
        settled = list(pool.map(settle, lists))
    return {claim: made for one in settled for claim, made in one.items()}
