"""A campaign small enough for a test: six families, one cell each, few problems and steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepbias.theory.claim import Claim
from stepbias.verify import cells, registry
from stepbias.verify.cells import Cell, Plan
from stepbias.verify.fit import OrderFit, Verdict, fit_order

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
