"""Before one problem refutes a claim that holds for all: that problem alone, with finer steps."""

from __future__ import annotations

import numpy as np

from stepbias.theory.claim import Claim
from stepbias.verify.fit import OrderFit, fit_orders
from stepbias.verify.problems import Cell, losses_of, starts_of
from stepbias.verify.sweep import sweep

LEVEL = 0.99
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
    error = np.where(np.isfinite(found.error), found.error, np.nan)
    return fit_orders(
        found.h,
        error,
        claim.expected_order,
        exact=claim.exact,
        floor=np.where(np.isfinite(error), found.floor, 0.0),
        level=LEVEL,
        memory=found.memory,
    )[0]
