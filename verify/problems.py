"""Which problems a claim is measured on: a rule written before the run, seeded, reported with every result.

A *cell* is a setting (family, sizes, schedule, hyper-parameters) with a few random losses and starts. Every factor takes its values equally often
over the cells of a claim, in an order shuffled by the seed. Draws that violate an assumption of the claim, or hardly move, are excluded and counted;
the next draws take their place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import prepare
from stepbias.kernels.jit import kernel
from stepbias.kernels.loss import Loss
from stepbias.kernels.philox import normal
from stepbias.kernels.survey import survey
from stepbias.theory.claim import Claim
from stepbias.theory.optimizers import Adam, AdamFamily, RMSProp
from stepbias.theory.schedules import IID, Cyclic, Reshuffled, Schedule
from stepbias.verify.relabelling import copies
from stepbias.verify.sweep import step_ladder

Floats = NDArray[np.float64]

SMALLEST_DISTANCE = 0.2
# The survey looks at steps of T/256; a component whose derivative is of order one cannot cross zero between two looks that both see more than this.
SMALLEST_ROOT = 0.05
SURVEY_STEPS = 256
_DRAWS_PER_PROBLEM = 64
_START_STREAM = 2**40
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
    data_problems: int = 8
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
        data_problems=4,
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

    def optimizer(self) -> AdamFamily:
        """The optimizer with epsilon on the claim's side of the root."""
        eps, eps_root = (0.0, self.epsilon) if self.place == "inside" else (self.epsilon, 0.0)
        if self.algorithm == "adam":
            return Adam(self.beta, self.rho, eps, eps_root)
        return RMSProp(self.rho, eps, eps_root)

    def survey_optimizer(self) -> AdamFamily:
        """The optimizer whose coarse path is looked at: without memory on the full batch, as the path is for h -> 0."""
        chosen = self.optimizer()
        return Adam(0.0, 0.0, chosen.eps, chosen.eps_root) if self.batches == 1 else chosen

    def schedule_object(self) -> Schedule:
        """The schedule, seeded by the cell."""
        if self.schedule == "cyclic":
            return Cyclic(self.batches)
        return (Reshuffled if self.schedule == "reshuffled" else IID)(self.batches, self.key)

    def settings(self) -> dict[str, Any]:
        """What a reader needs to know of the cell."""
        keys = ("family", "dim", "batches", "schedule", "beta", "rho", "epsilon", "horizon")
        return {k: v for k, v in asdict(self).items() if k in keys}


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
        for values in (range(1, 9), range(1, 5), SCHEDULES, betas, plan.rhos, plan.epsilons)
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
            Cell(i, "random", "sinusoid", 3, 1, "cyclic", beta if adam else 0.0, rho, epsilon, claim.place,
                 claim.algorithm, 0.5, _REPORTED_PROBLEMS if adam else 8, cell_key(seed, group, count + j),
                 long or plan.steps, False)
        )  # fmt: skip
    return cells


def _model_cells(claim: Claim, plan: Plan, seed: int, group: str) -> list[Cell]:
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
                     claim.algorithm, 0.1, plan.data_problems if pooled else 1, key, plan.data_steps, pooled)
            )  # fmt: skip
    return cells


def cells_of(claim: Claim, profile: str, seed: int) -> list[Cell]:
    """The cells of a claim; claims on the same theorem and problems share them."""
    plan = PROFILES[profile]
    group = f"{claim.algorithm}-{claim.place}/{claim.problems}"
    if claim.problems == "random":
        return random_cells(claim, plan, seed, group)
    if claim.problems not in ("bilinear", "regression"):
        from stepbias.verify.dropped_problems import dropped_cells, local_cells

        if claim.problems == "cyclic":
            return local_cells(claim, plan, seed, group)
        return dropped_cells(claim, profile, seed, group)
    return _model_cells(claim, plan, seed, group)


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
    ensemble = _ensemble(cell, first + count)
    return ensemble.select(np.arange(first, first + count)), starts(
        cell.key, first, count, cell.dim
    )


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


def _ensemble(cell: Cell, count: int) -> Loss:
    """The losses of the draws 0 .. count - 1 of a cell of random losses."""
    from stepbias.verify.dropped_problems import ensemble

    return ensemble(cell, count)


def losses_of(cell: Cell, numbers: list[int]) -> Loss:
    """The losses of the draws ``numbers``, each a function of the cell's key and its number only."""
    if cell.kind in ("bilinear", "regression") or not numbers:
        return _candidates(cell, 0, 1)[0]
    ensemble = _ensemble(cell, max(numbers) + 1)
    return ensemble.select(np.array(numbers, dtype=np.int64))


def starts_of(cell: Cell, numbers: list[int]) -> Floats:
    """The starts of the draws ``numbers``, (count, p)."""
    return np.concatenate([_candidates(cell, number, 1)[1] for number in numbers])


def _violations(cell: Cell, loss: Loss, theta0: Floats) -> tuple[list[str], Floats]:
    """Why each candidate is not admissible, empty where it is; and how much the Hessians change along its path."""
    given = copies(cell, loss, theta0, SURVEY_STEPS)
    ensemble = prepare(
        cell.survey_optimizer(),
        given.loss,
        given.theta0,
        cell.horizon / SURVEY_STEPS,
        SURVEY_STEPS,
        given.schedule,
        "cpu",
    )
    seen = survey(ensemble, SURVEY_STEPS)
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
    from stepbias.verify.dropped_problems import CROSSING, crossing_violations

    if cell.kind not in CROSSING:
        return [""] * len(theta0)
    return crossing_violations(cell, loss, theta0, SURVEY_STEPS)


def law(cells: Sequence[Cell], seed: int) -> str:
    """One paragraph that says how the problems were drawn."""
    families = sorted({c.family for c in cells})
    dims, batches = sorted({c.dim for c in cells}), sorted({c.batches for c in cells})
    return (
        f"{len(cells)} cells with {sum(c.count for c in cells)} problems (those not pooled included), seed {seed}; losses: {', '.join(families)}; "
        f"p in {dims}, m in {batches}, schedules {', '.join(sorted({c.schedule for c in cells}))}; "
        f"beta in {sorted({c.beta for c in cells})}, rho in {sorted({c.rho for c in cells})}, "
        f"epsilon in {sorted({c.epsilon for c in cells})}; every factor balanced over the cells and shuffled by the seed; "
        f"horizon {cells[0].horizon:g}; starts normal; excluded: paths shorter than {SMALLEST_DISTANCE:g}"
        + (f", R in memory below {SMALLEST_ROOT:g}" if cells[0].place == "outside" else "")
    )
