"""Problems of the claims on local defects and on dropped assumptions; the law of the random cells, with what these claims need changed.

The largest defect under a random schedule is attained at the unluckiest history, and a finer h sees more of them: it grows towards its
supremum like an extreme value, not like a power of h. Local defects are therefore judged on full-batch and cyclic schedules.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.families import RandomRidge
from stepbias.kernels.loss import Loss
from stepbias.theory.claim import Claim, Problems
from stepbias.verify.cells import REPORTED, Cell, Plan, cell_key, random_cells
from stepbias.verify.crossings import EARLIEST, LATEST, SLOWEST, SMALLEST, survey_crossings
from stepbias.verify.sweep import step_ladder

Floats = NDArray[np.float64]

KINKED = {"kink-abs": "sinusoid + abs", "kink-relu": "sinusoid + relu"}
CROSSING = ("sign-change", "resolving-step", *KINKED)

CROSSING_RULE = (
    f"paths that do not cross the dropped assumption just once, between {EARLIEST:g} and {LATEST:g} of the horizon, at a rate of {SLOWEST:g} or more, "
    "and clear of it elsewhere"
)

# (beta, rho, eps). A crossing shows its order once the memory is short against the path, and the more cleanly the longer it is against one step.
# A claim pools over cells, and fewer than four leave its interval wide whatever they show.
_SHARED_MEMORY = tuple((x, x, eps) for eps in (1e-10, 1e-12) for x in (0.8, 0.9))
# One memory of about 33 steps: the part of the distance that varies with the offset between kink and step is that of one step, 3 %. An epsilon that is
# large against the changes of sign of the smooth part keeps their layers from hiding the kink behind an h^2 / sqrt(epsilon).
_KINK = ((0.4, 0.97, 0.1), (0.5, 0.97, 0.1), (0.97, 0.7, 0.1), (0.97, 0.8, 0.1))
_SETTINGS: dict[Problems, tuple[tuple[float, float, float], ...]] = {
    "sign-change": _SHARED_MEMORY,
    "no-sign-change": _SHARED_MEMORY,
    "kink-abs": _KINK,
    "kink-relu": _KINK,
    "resolving-step": tuple((x, x, 2e-4) for x in (0.9, 0.9, 0.92, 0.92)),
}
# Every setting has two cells: the cell is the independent unit, and four would leave a p-value that many claims judged together do not let pass.
_CELLS, _PROBLEMS, _REPORTED_PROBLEMS = 2, 4, 8
_DIM = 3
# A layer is told from the rest of the path where the other components stay far from 0.
_CLEAR = 0.2
_HORIZON = 0.5
_LOCAL_PROBLEMS = 6
# A defect needs the whole memory filled with one place, and h^3 meets rounding before a longer memory is resolved; the global claims cover that.
_LOCAL_RHOS = (0.5, 0.9)
_LOCAL_STEPS = step_ladder(64, 1024, 1)
# The full batch costs little, and components that cross zero at a small epsilon need a fine h.
_FULL_BATCH_LOCAL_STEPS = step_ladder(256, 8192, 0)
# Every sqrt(2): the offset between a crossing and the nearest step is random, and many steps average it.
_NOISY_STEPS = tuple(round(64 * 2 ** (k / 2)) for k in range(11))
# From 15 memories in the path on.
_KINK_STEPS, _FINER_KINK_STEPS = step_ladder(512, 8192, 0), step_ladder(512, 8192, 2)
# Of the largest epsilon, times 1 - rho: h / ((1 - rho) sqrt(epsilon)) from 3.2 to 0.2, the step within the layer sqrt(epsilon) / a counted in memories.
# Smaller epsilons get as many steps as keep this ratio.
_RATIO_STEPS = tuple(11 * 2**k for k in range(5))


def local_cells(claim: Claim, plan: Plan, seed: int, group: str) -> list[Cell]:
    """The random cells on full-batch or cyclic schedules, and the settings that are reported whatever comes out.

    The defect is c h^3 against the rounding 16 u h (1 + |theta| + 1/D), u = 2^-53, of one step: the floor is 1 % of it at h = sqrt(1600 u (...) / c), 1e-5
    for c = 0.02 (the smallest seen) and D = 0.1. The finest h is 1e-4.
    """
    return [
        replace(
            cell,
            index=i,
            schedule="cyclic",
            count=_LOCAL_PROBLEMS,
            key=cell_key(seed, group, i),
            steps=_local_steps(cell),
        )
        for i, cell in enumerate(random_cells(claim, replace(plan, rhos=_LOCAL_RHOS), seed, group))
    ]


def _local_steps(cell: Cell) -> tuple[int, ...]:
    if cell.batches == 1 and cell.pooled:
        return _FULL_BATCH_LOCAL_STEPS
    return _LOCAL_STEPS


def dropped_cells(claim: Claim, profile: str, seed: int, group: str) -> list[Cell]:
    """Full-batch cells at the settings of a claim on a dropped assumption; the sign change also at PyTorch's defaults, not pooled."""
    settings = [(*setting, True) for setting in _SETTINGS[claim.problems] for _ in range(_CELLS)]
    if claim.problems in ("sign-change", "no-sign-change"):
        settings += [(*setting, False) for setting in REPORTED]
    family = KINKED.get(claim.problems, "sinusoid")
    steps = _NOISY_STEPS
    if claim.problems in KINKED:
        steps = _KINK_STEPS if profile == "quick" else _FINER_KINK_STEPS
    more = 1 if profile == "quick" else 2
    return [
        Cell(
            index=i,
            kind=claim.problems,
            family=family,
            dim=_DIM,
            batches=1,
            schedule="cyclic",
            beta=beta,
            rho=rho,
            epsilon=epsilon,
            place=claim.place,
            algorithm=claim.algorithm,
            horizon=_HORIZON,
            count=more * (_PROBLEMS if pooled else _REPORTED_PROBLEMS),
            key=cell_key(seed, group, i),
            steps=tuple(round(n / (1.0 - rho)) for n in _RATIO_STEPS)
            if claim.kind == "resolving-step"
            else steps,
            pooled=pooled,
        )
        for i, (beta, rho, epsilon, pooled) in enumerate(settings)
    ]


def ensemble(cell: Cell, count: int) -> Loss:
    """The losses of the draws 0 .. count - 1 of a cell."""
    if cell.kind in KINKED:
        return Loss(RandomRidge(cell.family, cell.dim, cell.batches, count, cell.key))
    return Loss.random(cell.family, cell.dim, cell.batches, problems=count, seed=cell.key)


def crossing_violations(cell: Cell, loss: Loss, theta0: Floats, steps: int) -> list[str]:
    """Why each candidate of a cell whose claim needs a crossing is not admissible; empty where it is."""
    layer = cell.kind == "resolving-step"
    return survey_crossings(
        cell.survey_optimizer(),
        loss,
        theta0,
        cell.horizon,
        steps,
        kinked=cell.kind in KINKED,
        smallest=_CLEAR if layer else SMALLEST,
        convex=layer,
    )
