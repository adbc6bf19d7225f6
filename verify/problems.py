"""Which problems a claim is measured on: a rule written before the run, seeded, reported with every result.

Draws that violate an assumption of the claim, or hardly move, are excluded and counted; the next draws of the cell take their place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import prepare
from stepbias.kernels.jit import kernel
from stepbias.kernels.loss import Loss
from stepbias.kernels.philox import normal
from stepbias.kernels.survey import survey
from stepbias.theory.claim import Claim
from stepbias.verify.cells import PROFILES, Cell, model_cells, random_cells
from stepbias.verify.dropped_problems import (
    CROSSING,
    CROSSING_RULE,
    crossing_violations,
    dropped_cells,
    ensemble,
    local_cells,
)
from stepbias.verify.memory_cells import is_memory_claim, memory_cells
from stepbias.verify.relabelling import copies, shifts

Floats = NDArray[np.float64]

SMALLEST_DISTANCE = 0.2
# The survey looks at steps of T/256; a component whose derivative is of order one cannot cross zero between two looks that both see more than this.
SMALLEST_ROOT = 0.05
SURVEY_STEPS = 256
_DRAWS_PER_PROBLEM = 64
_START_STREAM = 2**40


@dataclass
class Draw:
    """Problems of a cell that satisfy the claim's assumptions."""

    loss: Loss
    theta0: Floats  # (count, p)
    numbers: list[int]  # which draws were taken
    excluded: Counter[str] = field(default_factory=Counter)
    drawn: int = 0
    curvature: Floats = field(default_factory=lambda: np.empty(0))  # (count,): see `survey`


@kernel()
def _normals(seed, stream, first, scale, out):  # type: ignore[no-untyped-def]
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[k, j] = scale * normal(seed, stream + first + k, j)


def starts(key: int, first: int, count: int, dim: int, scale: float = 1.0) -> Floats:
    """Starts of the draws first .. first + count - 1, (count, dim): normal, each a function of (key, draw, component) only."""
    out = np.empty((count, dim))
    _normals(key, _START_STREAM, first, scale, out)
    return out


def cells_of(claim: Claim, profile: str, seed: int) -> list[Cell]:
    """The cells of a claim; claims on the same theorem and problems share them."""
    plan = PROFILES[profile]
    group = f"{claim.algorithm}-{claim.place}/{claim.problems}"
    if is_memory_claim(claim):
        return memory_cells(claim, plan, profile, seed, f"{group}/{claim.batches}")
    if claim.problems == "random":
        return random_cells(claim, plan, seed, group)
    if claim.problems in ("bilinear", "regression"):
        return model_cells(claim, plan, seed, group)
    if claim.problems == "cyclic":
        return local_cells(claim, plan, seed, group)
    return dropped_cells(claim, profile, seed, group)


@cache
def breast_cancer(batches: int) -> Loss:
    """Logistic regression on scikit-learn's breast-cancer data: standardised features, l2 = 0.01, interleaved batches.

    Raises
    ------
    ModuleNotFoundError
        Without scikit-learn.
    """
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    features = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    index = np.arange(len(features))
    return Loss.from_data(
        "logistic",
        features,
        data.target,
        batches=[index[b::batches] for b in range(batches)],
        l2=1e-2,
    )


def _candidates(cell: Cell, first: int, count: int) -> tuple[Loss, Floats]:
    """Losses and starts of the draws first .. first + count - 1."""
    if cell.kind == "bilinear":
        theta0 = np.array([2.8, 3.5]) + starts(cell.key, first, count, 2, 0.3)
        if first == 0:
            theta0[0] = (2.8, 3.5)
        return Loss.bilinear(), theta0
    if cell.kind == "regression":
        return breast_cancer(cell.batches), starts(cell.key, first, count, cell.dim, 0.5)
    losses = ensemble(cell, first + count).select(np.arange(first, first + count))
    return losses, starts(cell.key, first, count, cell.dim)


def draw(cell: Cell) -> Draw:
    """Draw the cell's problems: candidates in order, those that violate an assumption excluded and counted."""
    taken: list[int] = []
    kept: list[Floats] = []
    changes: list[float] = []
    excluded: Counter[str] = Counter()
    drawn, limit = 0, cell.count * _DRAWS_PER_PROBLEM
    while len(taken) < cell.count and drawn < limit:
        # as many as the draws so far say are needed; how they are grouped changes no result
        wanted = (cell.count - len(taken)) * (drawn + 1) // (len(taken) + 1)
        count = min(max(wanted, cell.count), 4 * cell.count, limit - drawn)
        loss, theta0 = _candidates(cell, drawn, count)
        reasons, curvature = _violations(cell, loss, theta0)
        for k, reason in enumerate(reasons):
            if len(taken) == cell.count:
                break
            if reason:
                excluded[reason] += 1
            else:
                taken.append(drawn + k)
                kept.append(theta0[k])
                changes.append(float(curvature[k]))
            drawn_now = drawn + k + 1
        drawn = drawn_now
    starts_taken = np.array(kept).reshape(len(taken), cell.dim)
    return Draw(losses_of(cell, taken), starts_taken, taken, excluded, drawn, np.array(changes))


def losses_of(cell: Cell, numbers: list[int]) -> Loss:
    """The losses of the draws ``numbers``, each a function of the cell's key and its number only."""
    if cell.kind in ("bilinear", "regression") or not numbers:
        return _candidates(cell, 0, 1)[0]
    return ensemble(cell, max(numbers) + 1).select(np.array(numbers, dtype=np.int64))


def starts_of(cell: Cell, numbers: list[int]) -> Floats:
    """The starts of the draws ``numbers``, (count, p)."""
    return np.concatenate([_candidates(cell, number, 1)[1] for number in numbers])


def _violations(cell: Cell, loss: Loss, theta0: Floats) -> tuple[list[str], Floats]:
    """Why each candidate is not admissible, empty where it is; and how much the Hessians change along its path."""
    given = copies(cell, loss, theta0, SURVEY_STEPS)
    prepared = prepare(
        cell.survey_optimizer(),
        given.loss,
        given.theta0,
        cell.horizon / SURVEY_STEPS,
        SURVEY_STEPS,
        given.schedule,
        "cpu",
    )
    seen = survey(prepared, SURVEY_STEPS)
    # of the copies of a problem the worst one decides
    distances = seen.distance.reshape(-1, given.each).min(axis=1)
    roots = seen.root.reshape(-1, given.each).min(axis=1)
    crossings = _crossings(cell, loss, theta0)
    reasons = []
    for distance, root, crossing in zip(distances, roots, crossings, strict=True):
        if not np.isfinite(distance):
            reasons.append("the iterates overflow")
        elif distance < SMALLEST_DISTANCE:
            reasons.append(f"moves less than {SMALLEST_DISTANCE:g}")
        elif crossing:
            reasons.append(crossing)
        elif cell.away and not root >= SMALLEST_ROOT:
            reasons.append(f"some R in memory comes below {SMALLEST_ROOT:g}")
        else:
            reasons.append("")
    return reasons, seen.curvature.reshape(-1, given.each).min(axis=1)


def _crossings(cell: Cell, loss: Loss, theta0: Floats) -> list[str]:
    """What is wrong with the crossing that a claim needs; nothing for claims that need none."""
    if cell.kind not in CROSSING:
        return [""] * len(theta0)
    return crossing_violations(cell, loss, theta0, SURVEY_STEPS)


def law(cells: Sequence[Cell], seed: int) -> str:
    """One paragraph that says how the problems were drawn, and what one problem is measured on."""

    def values(name: str) -> list[Any]:
        return sorted({getattr(c, name) for c in cells})

    schedules = ", ".join(values("schedule"))
    parts = [
        f"{len(cells)} cells with {sum(c.count for c in cells)} problems (those not pooled included), seed {seed}",
        f"losses: {', '.join(values('family'))}",
        f"p in {values('dim')}, m in {values('batches')}, schedules {schedules}",
        f"beta in {values('beta')}, rho in {values('rho')}, epsilon in {values('epsilon')}",
    ]
    if any(c.kind == "random" for c in cells):
        parts.append("every factor balanced over the pooled cells and shuffled by the seed")
    parts.append(f"horizon {cells[0].horizon:g}; starts normal")
    parts.append(f"excluded: {', '.join(_exclusions(cells))}")
    if any(shifts(c) > 1 for c in cells):
        parts.append(
            "the error under an i.i.d. schedule is the root mean square over m copies of it, the batch numbers shifted by 0 .. m - 1"
        )
    return "; ".join(parts)


def _exclusions(cells: Sequence[Cell]) -> list[str]:
    """What the cells exclude, in words."""
    found = [f"paths shorter than {SMALLEST_DISTANCE:g}", "paths that overflow"]
    if any(c.away for c in cells):
        where = "" if any(c.away and c.pooled for c in cells) else " (in settings not pooled)"
        found.append(f"R in memory below {SMALLEST_ROOT:g}{where}")
    if any(c.kind in CROSSING for c in cells):
        found.append(CROSSING_RULE)
    return found
