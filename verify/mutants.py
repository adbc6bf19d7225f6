"""The wrong variants of a statement, on the claim's own problems: where each is visible, and whether it is refuted there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.claim import Claim
from stepbias.theory.variants import Variant
from stepbias.verify.escalation import measure_finer
from stepbias.verify.fit import DELTA, MEMORY_LIMIT
from stepbias.verify.rows import MutantRow, Verdict
from stepbias.verify.summary import UnitResult

# A wrong variant is visible on a problem if it moves what is measured by this many times the known solver and rounding error.
_VISIBLE = 10.0
# Problems that are measured again, with finer steps, for a variant that none of them refutes.
_AGAIN = 2
# How much finer, as `measure_finer` does it.
FINER = 4


def visible(claim: Claim, base: UnitResult, wrong: UnitResult) -> NDArray[np.bool_]:
    """Whether a wrong variant can be seen on each problem of a cell.

    Parameters
    ----------
    claim : Claim
    base, wrong : UnitResult
        The cell under the statement and under the variant.

    Returns
    -------
    (B,) bool
        The variant moves what is measured at the finest step (the flow's end point; for local defects the largest defect, which may lie anywhere on the
        path) by more than ten times the known solver and rounding error, and either bends the local slope there by more than twice the tolerance of a
        verdict without making the error smaller, or moves by more than twice the statement's own error. A term that cancels a part of the statement's
        error bends the slope upwards until it outgrows it. Elsewhere the variant equals the statement as far as these steps can tell.

    Notes
    -----
    A wrong term of one order below takes ``(w^2 - e^2 + m^2) / (2 w^2)`` off the local slope, where e and w are the errors of statement and variant and m
    is the move: m / w for a move along the error, but only (m / w)^2 for one across it.
    """
    a, b = base.arrays, wrong.arrays
    finest = int(np.argmin(a["h"][0]))
    own, wrongly = a["error"][:, finest], b["error"][:, finest]
    if claim.kind == "local":
        moved = np.abs(wrongly - own)
    else:
        moved = np.linalg.norm(a["difference"][:, finest] - b["difference"][:, finest], axis=-1)
    known = _VISIBLE * (a["floor"][:, finest] + b["floor"][:, finest])
    bend = wrongly**2 - own**2 + moved**2 > 2.0 * DELTA * (2.0 * wrongly**2)
    bends = bend & (wrongly >= own)
    seen: NDArray[np.bool_] = (moved > known) & (bends | (moved > 2.0 * own))
    return seen


def mutant_row(
    claim: Claim, variant: Variant, statement: Sequence[UnitResult], wrong: Sequence[UnitResult]
) -> MutantRow:
    """Verdict on one wrong variant, counted where it is visible.

    Refuted: some visible problem refutes it and none confirms it. If no problem decides, the problems farthest below the claim are measured again with
    steps four times finer, as a refutation of the statement would be, first those that such steps resolve; the fits are replaced in ``wrong``. Problems on
    which the statement itself looked refuted are left out: whatever made it look so makes the variant look so too.
    """
    shown = [
        (unit, int(k))
        for base, unit in zip(statement, wrong, strict=True)
        if unit.problems
        for k in np.flatnonzero(visible(claim, base, unit))
        if not _suspected(claim, base, int(k))
    ]
    if shown and all(unit.fits(claim)[k].verdict == "inconclusive" for unit, k in shown):
        _look_finer(claim, variant, shown)
    fits = [unit.fits(claim)[k] for unit, k in shown]
    tally = {v: sum(fit.verdict == v for fit in fits) for v in ("refuted", "confirmed")}
    verdict: Verdict = "inconclusive"
    if tally["refuted"] and not tally["confirmed"]:
        verdict = "refuted"
    elif tally["confirmed"] and not tally["refuted"]:
        verdict = "confirmed"
    finite: Any = [fit.order for fit in fits if np.isfinite(fit.order)]
    return MutantRow(
        name=variant.name,
        verdict=verdict,
        measured=float(np.median(finite)) if finite else float("nan"),
        visible=len(fits),
        refuted=tally["refuted"],
        confirmed=tally["confirmed"],
        problems=sum(unit.problems for unit in wrong),
    )


def _suspected(claim: Claim, base: UnitResult, k: int) -> bool:
    """Whether the statement itself looks refuted on a problem, or did until it was measured again."""
    return k in base.escalated or base.fits(claim)[k].verdict == "refuted"


def _look_finer(claim: Claim, variant: Variant, shown: Sequence[tuple[UnitResult, int]]) -> None:
    """Measure the most promising problems again until one refutes the variant."""

    def promise(one: tuple[UnitResult, int]) -> tuple[bool, float]:
        # before the asymptotic range orders are often the lowest, and refute nothing
        unit, k = one
        fit = unit.fits(claim)[k]
        late = fit.memory is not None and fit.h.min() / FINER * fit.memory > MEMORY_LIMIT
        return bool(late), float(np.nan_to_num(fit.order, nan=np.inf))

    wrong = replace(claim, variant=variant)
    for unit, k in sorted(shown, key=promise)[:_AGAIN]:
        again = measure_finer(wrong, unit.cell, int(unit.arrays["numbers"][k]))
        unit.escalated[k] = again.fits(claim)[0]
        if unit.escalated[k].verdict == "refuted":
            return
