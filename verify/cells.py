"""Cells: the settings a claim is measured at, and how many problems and which step counts a profile gives them.

A *cell* is a setting (family, sizes, schedule, hyper-parameters) with a few random losses and starts. Every factor takes its values equally often
over the cells of a claim, in an order shuffled by the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np

from stepbias.kernels.loss import Loss
from stepbias.theory.claim import Claim
from stepbias.theory.optimizers import Adam, RMSProp
from stepbias.theory.schedules import IID, Cyclic, Reshuffled, Schedule
from stepbias.verify.sweep import step_ladder

SCHEDULES = ("cyclic", "reshuffled", "iid")


@dataclass(frozen=True)
class Plan:
    """A profile: values of every factor, how many cells and problems, which step counts.

    ``few_problems`` is the number of problems of random cells that cost more (None: as elsewhere): i.i.d. schedules, measured on m copies, and the full
    batch without bias correction at a long memory, whose first steps need all of it. ``control_problems`` is that of the controls: the first ones of
    the theorem's.
    ``full_batch_finer`` multiplies the step counts of random full-batch cells, where an evaluation of the field does not grow with the memory.
    ``default_steps`` are those of PyTorch's defaults on the full batch (empty: as elsewhere).
    """

    betas: tuple[float, ...]
    rhos: tuple[float, ...]
    epsilons: tuple[float, ...]
    cells_per_family: int
    problems_per_cell: int
    steps: tuple[int, ...]
    finer_steps: tuple[int, ...]
    finer_every: int
    data_steps: tuple[int, ...]
    data_cells: int
    few_problems: int | None = None
    control_problems: int | None = None
    full_batch_finer: int = 1
    default_steps: tuple[int, ...] = ()

    def count(self, claim: Claim, schedule: str, batches: int, rho: float) -> int:
        """Problems of a random cell."""
        slow = claim.algorithm == "rmsprop" and rho > 0.9
        costly = slow if batches == 1 else schedule == "iid"
        count = self.problems_per_cell
        if costly and self.few_problems is not None:
            count = min(count, self.few_problems)
        if claim.exact and self.control_problems is not None:
            count = min(count, self.control_problems)
        return count

    def ladder(self, steps: tuple[int, ...], schedule: str, batches: int) -> tuple[int, ...]:
        """Step counts of a random cell: finer for the full batch; whole cycles for a cyclic schedule, whose error is then smooth in h."""
        if batches == 1:
            return tuple(self.full_batch_finer * n for n in steps)
        return tuple(batches * round(n / batches) for n in steps) if schedule == "cyclic" else steps


_BETAS, _EPSILONS = (0.0, 0.5, 0.9), (1e-2, 1e-4)
# A memory of 1000 steps against T: the second order shows from about T/2^17 on.
_LONG = step_ladder(2**15, 2**20, 0)

PROFILES: dict[str, Plan] = {
    "quick": Plan(
        _BETAS,
        (0.5, 0.9),
        _EPSILONS,
        3,
        14,
        step_ladder(64, 2048, 0),
        (),
        0,
        step_ladder(64, 1024, 0),
        1,
        few_problems=6,
        control_problems=8,
        full_batch_finer=4,
    ),
    "standard": Plan(
        _BETAS,
        (0.5, 0.9, 0.99),
        _EPSILONS,
        6,
        16,
        step_ladder(64, 8192, 0),
        (),
        0,
        step_ladder(64, 1024, 1),
        3,
        few_problems=8,
        control_problems=8,
        full_batch_finer=8,
        default_steps=_LONG,
    ),
    "thorough": Plan(
        _BETAS,
        (0.5, 0.9, 0.99),
        _EPSILONS,
        14,
        16,
        step_ladder(64, 4096, 1),
        step_ladder(64, 8192, 1),
        9,
        step_ladder(64, 4096, 1),
        3,
        full_batch_finer=4,
        default_steps=_LONG,
    ),
}

# Reported in every table whatever comes out, never pooled: PyTorch's defaults, and their epsilon with a short memory.
REPORTED = ((0.9, 0.999, 1e-8), (0.5, 0.9, 1e-8))
_REPORTED_PROBLEMS = 24


@dataclass(frozen=True)
class Cell:
    """One setting with ``count`` problems; ``key`` seeds them."""

    index: int
    kind: str
    family: str
    dim: int
    batches: int
    schedule: str
    beta: float
    rho: float
    epsilon: float
    place: str
    algorithm: str
    horizon: float
    count: int
    key: int
    steps: tuple[int, ...]
    pooled: bool

    @property
    def away(self) -> bool:
        """Whether draws with some R near zero are excluded: where the theorem assumes it, and where epsilon is too small to stand in."""
        small = not self.pooled and self.kind == "random"
        return self.kind != "sign-change" and (self.place == "outside" or small)

    def optimizer(self) -> Any:
        """The optimizer with epsilon on the claim's side of the root."""
        if self.algorithm not in ("adam", "rmsprop"):
            from stepbias.verify.memory_cells import build

            return build(self)
        eps, eps_root = (0.0, self.epsilon) if self.place == "inside" else (self.epsilon, 0.0)
        if self.algorithm == "adam":
            return Adam(self.beta, self.rho, eps, eps_root)
        return RMSProp(self.rho, eps, eps_root)

    def survey_optimizer(self) -> Any:
        """The optimizer whose coarse path is looked at: without memory on the full batch, as the path of Adam and RMSProp is for h -> 0."""
        chosen = self.optimizer()
        if self.batches > 1 or not isinstance(chosen, Adam | RMSProp):
            return chosen
        return Adam(0.0, 0.0, chosen.eps, chosen.eps_root)

    def schedule_object(self) -> Schedule:
        """The schedule, seeded by the cell."""
        if self.schedule == "cyclic":
            return Cyclic(self.batches)
        return (Reshuffled if self.schedule == "reshuffled" else IID)(self.batches, self.key)

    def settings(self) -> dict[str, Any]:
        """What a reader needs to know of the cell."""
        keys = ("family", "dim", "batches", "schedule", "beta", "rho", "epsilon", "horizon")
        return {k: v for k, v in asdict(self).items() if k in keys}


def cell_key(seed: int, group: str, index: int) -> int:
    """Seed of a cell's losses, starts and schedule."""
    state = np.random.SeedSequence([seed, crc32(group.encode()), index]).generate_state(
        1, np.uint64
    )
    return int(state[0] >> np.uint64(2))


def _balanced(values: Sequence[Any], count: int, rng: np.random.Generator) -> list[Any]:
    """Every value equally often (up to one), shuffled."""
    order = rng.permutation(count)
    return [values[i % len(values)] for i in order]


def random_cells(claim: Claim, plan: Plan, seed: int, group: str) -> list[Cell]:
    """Every factor balanced over the cells of all families, then the settings that are reported and not pooled."""
    families = Loss.families()
    per_family = plan.cells_per_family
    count = per_family * len(families)
    rng = np.random.Generator(np.random.Philox(key=cell_key(seed, group + "/design", 0)))
    betas = plan.betas if claim.algorithm == "adam" else (0.0,)
    factors = [
        _balanced(values, count, rng)
        for values in (range(1, 9), claim.batches, SCHEDULES, betas, plan.rhos, plan.epsilons)
    ]
    cells = []
    for i in range(count):
        dim, batches, schedule, beta, rho, epsilon = (f[i] for f in factors)
        finer = plan.finer_every and i % plan.finer_every == 0
        steps = plan.finer_steps if finer else plan.steps
        cells.append(
            Cell(i, "random", families[i // per_family], dim, batches, schedule, beta, rho, epsilon,
                 claim.place, claim.algorithm, 0.5, plan.count(claim, schedule, batches, rho), cell_key(seed, group, i),
                 plan.ladder(steps, schedule, batches), True)
        )  # fmt: skip
    if claim.exact:
        # On the full batch at beta = rho the O(h) term nearly vanishes (Remark 3.2, epsilon -> 0): the leading field is of higher order there.
        cells = [cell for cell in cells if cell.batches > 1 or cell.beta != cell.rho]
        cells = [replace(cell, index=i) for i, cell in enumerate(cells)]
    for j, (beta, rho, epsilon) in enumerate(REPORTED):
        i = len(cells)
        adam = claim.algorithm == "adam"
        long = plan.default_steps if adam and rho > 0.99 and not claim.exact else ()
        cells.append(
            Cell(i, "random", "sinusoid", 3, min(claim.batches), "cyclic", beta if adam else 0.0, rho, epsilon, claim.place,
                 claim.algorithm, 0.5, _REPORTED_PROBLEMS if adam else 8, cell_key(seed, group, count + j),
                 long or plan.steps, False)
        )  # fmt: skip
    return cells


def model_cells(claim: Claim, plan: Plan, seed: int, group: str) -> list[Cell]:
    """The bilinear model from the papers' start and seven others, at every setting; the regression at the longest pooled memory, a cell for each schedule."""
    bilinear = claim.problems == "bilinear"
    betas = plan.betas if claim.algorithm == "adam" else (0.0,)
    settings = [(b, r, e, True) for b in betas for r in plan.rhos for e in plan.epsilons]
    if not bilinear:
        settings = [(betas[-1], 0.9, plan.epsilons[0], True)] * plan.data_cells
    settings += [((b if claim.algorithm == "adam" else 0.0), r, e, False) for b, r, e in REPORTED]
    cells = []
    for i, (beta, rho, epsilon, pooled) in enumerate(settings):
        key = cell_key(seed, group, i)
        if bilinear:
            cells.append(
                Cell(i, "bilinear", "bilinear", 2, 1, "cyclic", beta, rho, epsilon, claim.place, claim.algorithm,
                     0.5, 8, key, plan.steps, pooled)
            )  # fmt: skip
        else:
            schedule = SCHEDULES[i % len(SCHEDULES)]
            cells.append(
                Cell(i, "regression", "breast-cancer", 30, 3, schedule, beta, rho, epsilon, claim.place,
                     claim.algorithm, 0.1, 8 if pooled else 1, key, plan.data_steps, pooled)
            )  # fmt: skip
    return cells
