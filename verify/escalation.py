"""Before one problem refutes a claim that holds for all: that problem alone, with finer steps."""

from __future__ import annotations

from stepbias.theory.claim import Claim
from stepbias.verify.fit import OrderFit
from stepbias.verify.problems import Cell, losses_of, starts_of
from stepbias.verify.summary import UnitResult
from stepbias.verify.sweep import sweep

# Every step count of the run is multiplied by this.
_FINER = 4


def escalate(claim: Claim, cell: Cell, number: int) -> OrderFit:
    """Measure draw ``number`` of a cell again, alone, with steps four times finer.

    Parameters
    ----------
    claim : Claim
    cell : Cell
    number : int
        The draw, as recorded with the cell's results.

    Returns
    -------
    OrderFit
        Its verdict replaces the first one.
    """
    found = sweep(
        cell.optimizer(),
        losses_of(cell, [number]),
        starts_of(cell, [number]),
        cell.horizon,
        [_FINER * n for n in cell.steps],
        cell.schedule_object(),
        claim.variant,
    )
    arrays = {name: getattr(found, name) for name in ("h", "error", "floor", "memory")}
    return UnitResult(cell, arrays).fits(claim)[0]
