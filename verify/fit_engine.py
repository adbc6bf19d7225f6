"""Sequences made by the engine whose truth is known, to calibrate the judge on what it is for.

True claims: the theorem's field (``error = O(h^2)``) and the leading field alone (order 1,
two-sided). False claims: a field with a term wrong by the factor 1 + delta, that is with delta h
times that term added, claimed to be of order 2. The same problems, step sizes and solver give the
error of the statement, so what the wrong term does is known from the difference.

Every sequence is measured and judged as a campaign does it before any second look: i.i.d. schedules
on relabelled copies, and the order fit together with the coefficient of h where the difference has
an expansion. The verdict of the order fit alone is kept beside it.

A claim about a wrong field is *visibly false* to the slope when the wrong term takes more than 0.1 off the local
slope between the two finest steps a factor 2 apart, that is when the slope of
``log(error of the mutant / error of the statement)`` lies below -0.1 there. Otherwise the term is
too small, or it cancels against the error of the statement, and a confirmation is no mistake of the
fit. A two-sided claim of order 1 for the leading field is *invisibly true* when the O(h) term that
makes it true moves that slope by less than 0.1 (its coefficient is nearly zero).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.theory.variants import LEADING, STATEMENT, Variant
from stepbias.verify.cells import Cell, cell_key
from stepbias.verify.fit import DELTA, OrderFit, Verdict, fit_orders
from stepbias.verify.problems import draw
from stepbias.verify.registry import find_trajectory_claim
from stepbias.verify.relabelling import sweep_cell
from stepbias.verify.summary import UnitResult
from stepbias.verify.sweep import Sweep, step_ladder

Floats = NDArray[np.float64]

# (beta, rho) and the ladder: the longer the memory, the finer the steps that resolve it.
STRATA: tuple[tuple[float, float, tuple[int, ...]], ...] = (
    (0.5, 0.6, step_ladder(16, 1024)),
    (0.7, 0.8, step_ladder(16, 1024)),
    (0.8, 0.9, step_ladder(16, 1024)),
    (0.9, 0.95, step_ladder(32, 1024)),
    (0.9, 0.99, step_ladder(64, 4096)),
)
SCHEDULES = ("full batch", "cyclic", "reshuffled", "iid")
TERMS = ("bias", "L", "Lbar", "P", "Pbar")
SMALLEST_DELTA = 1e-3
HORIZON = 0.5


class Judged(NamedTuple):
    """One sequence of the engine and its verdict."""

    beta: float
    rho: float
    schedule: str
    field: str  # "statement", "leading" or the term that is wrong
    delta: float  # 0 for the true fields
    true: bool
    visible: bool
    fit: OrderFit  # by the slope alone
    verdict: Verdict  # of the campaign, by slope and coefficient


def make_cells(seed: int, per_stratum: int, problems: int) -> list[Cell]:
    """Cells of every stratum: families, schedules, sides of epsilon in turn, sizes at random."""
    rng = np.random.Generator(np.random.Philox(key=cell_key(seed, "calibration", 0)))
    families = Loss.families()
    cells: list[Cell] = []
    for beta, rho, steps in STRATA:
        for k in range(per_stratum):
            schedule = SCHEDULES[(k + k // len(SCHEDULES)) % len(SCHEDULES)]
            full = schedule == "full batch"
            batches = 1 if full else int(rng.integers(2, 5))
            cells.append(
                Cell(
                    index=len(cells),
                    kind="random",
                    family=families[k % len(families)],
                    dim=int(rng.integers(1, 5)),
                    batches=batches,
                    schedule="cyclic" if full else schedule,
                    beta=beta,
                    rho=rho,
                    epsilon=(1e-2, 1e-3)[int(rng.integers(2))],
                    place=("inside", "outside")[(k // 2) % 2],
                    algorithm="adam",
                    horizon=HORIZON,
                    count=problems,
                    key=cell_key(seed, "calibration", len(cells) + 1),
                    steps=tuple(batches * round(n / batches) for n in steps),
                    pooled=True,
                )
            )
    return cells


def judge_cell(cell: Cell, mutants: int = 2) -> Iterator[Judged]:
    """Measure one cell: the statement, the leading field and ``mutants`` wrong fields, each fitted and labelled."""
    drawn = draw(cell)
    if not drawn.numbers:
        return
    rng = np.random.Generator(np.random.Philox(key=cell.key + 1))

    def measured(variant: Variant) -> Sweep:
        return sweep_cell(cell, drawn.loss, drawn.theta0, cell.steps, variant)

    truth = measured(STATEMENT)
    yield from _label(cell, "statement", 0.0, truth, np.ones(len(drawn.numbers), dtype=bool))
    leading = measured(LEADING)
    yield from _label(cell, "leading", 0.0, leading, _taken(leading, truth) > DELTA)
    for _ in range(mutants):
        term = TERMS[int(rng.integers(len(TERMS)))]
        delta = float(np.exp(rng.uniform(np.log(SMALLEST_DELTA), 0.0)))
        factor: dict[str, Any] = {term: 1.0 + delta}
        wrong = measured(replace(STATEMENT, **factor))
        yield from _label(cell, term, delta, wrong, _taken(wrong, truth) > DELTA)


def _taken(wrong: Sweep, truth: Sweep) -> Floats:
    """What the wrong term takes off the local slope over the finest factor 2, (B,)."""
    h = truth.h[0]
    finest = int(np.argmin(h))
    coarser = int(np.argmin(np.abs(h - 2.0 * h[finest])))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(wrong.error / truth.error)
        taken = (ratio[:, finest] - ratio[:, coarser]) / np.log(h[coarser] / h[finest])
    return np.asarray(np.nan_to_num(taken, nan=0.0))


def _label(
    cell: Cell, name: str, delta: float, found: Sweep, visible: NDArray[np.bool_]
) -> Iterator[Judged]:
    claim = find_trajectory_claim(
        f"{cell.algorithm}-{cell.place}/{'leading-field' if name == 'leading' else 'global-order'}"
    )
    unit = UnitResult(cell, vars(found))
    fits = fit_orders(
        found.h, found.error, claim.expected_order, claim.exact, found.floor, memory=found.memory
    )
    full = cell.batches == 1
    for fit, told, seen in zip(fits, unit.fits(claim), visible, strict=True):
        yield Judged(
            cell.beta,
            cell.rho,
            "full batch" if full else cell.schedule,
            name,
            delta,
            delta == 0.0,
            bool(seen),
            fit,
            told.verdict,
        )
