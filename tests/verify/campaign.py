"""A campaign small enough for a test: six families, one cell each, few problems and steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepbias.theory.claim import Claim
from stepbias.verify import cells, escalation, registry
from stepbias.verify.cells import Cell, Plan
from stepbias.verify.escalation import escalate
from stepbias.verify.fit import OrderFit, Verdict, fit_order
from stepbias.verify.problems import draw
from stepbias.verify.summary import UnitResult

TINY = Plan(
    betas=(0.0, 0.5),
    rhos=(0.5,),
    epsilons=(1e-2,),
    cells_per_family=1,
    problems_per_cell=3,
    steps=(32, 64, 128, 181, 256, 362, 512),
    finer_steps=(),
    finer_every=0,
    data_steps=(16, 32, 64),
    data_cells=1,
)


def use_tiny(patch: pytest.MonkeyPatch, **changes: Any) -> Plan:
    """Let profile "quick" mean the tiny plan, and report no further settings."""
    plan = replace(TINY, **changes)
    patch.setitem(cells.PROFILES, "quick", plan)
    patch.setattr(cells, "REPORTED", ())
    return plan


def use_claims(patch: pytest.MonkeyPatch, *claims: Claim) -> None:
    """Let the registry know these claims only."""
    patch.setattr(registry, "CLAIMS", claims)


def a_cell(**changes: Any) -> Cell:
    """A random cell of sinusoids."""
    cell = Cell(
        index=0,
        kind="random",
        family="sinusoid",
        dim=2,
        batches=2,
        schedule="reshuffled",
        beta=0.5,
        rho=0.7,
        epsilon=1e-2,
        place="inside",
        algorithm="adam",
        horizon=0.5,
        count=5,
        key=17,
        steps=TINY.steps,
        pooled=True,
    )
    return replace(cell, **changes)


def a_fit(
    verdict: Verdict,
    order: float = 2.0,
    interval: tuple[float, float] | None = None,
    **changes: Any,
) -> OrderFit:
    """A fit with a verdict of its own choice."""
    h = 2.0 ** -np.arange(4.0, 11.0)
    ends = (order - 0.02, order + 0.02) if interval is None else interval
    fit = fit_order(h, h**2, 2.0, floor=0.0)
    return replace(fit, order=order, interval=ends, verdict=verdict, reason="as given", **changes)


H = 0.5 / np.array([64.0, 128, 256, 362, 512, 724, 1024])


def measured(
    orders: list[float], cell: Cell | None = None, shift: float = 0.0, **changes: Any
) -> UnitResult:
    """A cell whose problem k has the error (k + 1) h^order; the end points lie ``shift`` off."""
    count = len(orders)
    h = np.tile(H, (count, 1))
    error = np.arange(1.0, count + 1)[:, None] * h ** np.array(orders)[:, None]
    arrays: dict[str, Any] = {
        "h": h,
        "error": error,
        "floor": np.full_like(h, 1e-12),
        "difference": np.stack([error + shift, np.zeros_like(h)], axis=-1),
        "distance": np.ones(count),
        "memory": np.full(count, 3.0),
        "numbers": 10 + 2 * np.arange(count),
        "drawn": np.array([2 * count]),
        "excluded_reasons": np.array(["moves less than 0.2"]),
        "excluded_counts": np.array([count]),
        "seconds": np.array([0.25]),
    }
    cell = a_cell(count=count) if cell is None else cell
    return UnitResult(cell, arrays | changes)


def nothing(cell: Cell) -> UnitResult:
    """A cell without admissible draws."""
    return UnitResult(cell, {
        "numbers": np.array([]),
        "drawn": np.array([128]),
        "excluded_reasons": np.array(["moves less than 0.2"]),
        "excluded_counts": np.array([128]),
        "seconds": np.array([0.5]),
    })  # fmt: skip


def some_cells(count: int, **changes: Any) -> list[Cell]:
    return [a_cell(index=i, key=i, count=3, **changes) for i in range(count)]


def made(claim: Any, cell: Any) -> dict[str, Any]:
    """The certificate of the cell's first draw."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(escalation, "_SECONDS", 0.3)
        outcome = escalate(claim, cell, draw(cell).numbers[0])
    assert outcome.certificate is not None, outcome.fit.explain()
    return outcome.certificate
