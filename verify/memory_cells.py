"""Cells of the claims on optimizers with memory: the law of the random cells at the settings that each optimizer has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from stepbias.theory import memory_claims
from stepbias.theory.claim import Claim
from stepbias.theory.shipped import (
    AdamW,
    GradientDescent,
    HeavyBall,
    NAdam,
    Nesterov,
    SmoothLion,
    SmoothSignum,
)
from stepbias.verify.cells import Cell, Plan, random_cells
from stepbias.verify.sweep import step_ladder

# Large enough that its part of the path shows beside that of the gradient.
_WEIGHT_DECAY = 0.5
# PyTorch's momentum_decay is 0.004: mu_t then grows over thousands of steps. 0.5 lets it grow within the memory.
_PSI = 0.5
# Not 0, where most of these optimizers are gradient descent.
_QUICK_DECAYS, _DECAYS = (0.5, 0.75), (0.5, 0.9)
# Widths of the smooth signs too: a layer of sqrt(epsilon) is resolved by the ladders below.
_EPSILONS = (1e-1, 1e-2)


@dataclass(frozen=True)
class Form:
    """How an optimizer is built from a cell, and which of the cell's settings it has."""

    build: Callable[[Cell], Any]
    beta: bool = True
    rho: bool = True
    epsilon: bool = True
    scaled: bool = False
    """The step is 1 / (1 - beta) times the gradient's: so much shorter is the horizon."""


_FORMS: dict[str, Form] = {
    "adam": Form(lambda c: c.optimizer()),
    "rmsprop": Form(lambda c: c.optimizer(), beta=False),
    "gradient-descent": Form(lambda c: GradientDescent(), beta=False, rho=False, epsilon=False),
    "heavy-ball": Form(lambda c: HeavyBall(c.beta), rho=False, epsilon=False, scaled=True),
    "nesterov": Form(lambda c: Nesterov(c.beta), rho=False, epsilon=False, scaled=True),
    "adamw": Form(lambda c: AdamW(c.beta, c.rho, 0.0, c.epsilon, _WEIGHT_DECAY)),
    "nadam": Form(lambda c: NAdam(c.beta, c.rho, 0.0, c.epsilon)),
    "nadam-growing": Form(lambda c: NAdam(c.beta, c.rho, 0.0, c.epsilon, _PSI)),
    "lion": Form(lambda c: SmoothLion(c.beta, c.rho, c.epsilon, _WEIGHT_DECAY, "soft")),
    "lion-tanh": Form(lambda c: SmoothLion(c.beta, c.rho, c.epsilon**0.5, _WEIGHT_DECAY, "tanh")),
    "signum": Form(lambda c: SmoothSignum(c.beta, c.epsilon, "soft"), rho=False),
    "signum-tanh": Form(lambda c: SmoothSignum(c.beta, c.epsilon**0.5, "tanh"), rho=False),
}
# The forms that one claim covers, in turn over its cells.
_TURNS = {
    "nadam": ("nadam", "nadam-growing"),
    "lion": ("lion", "lion-tanh"),
    "signum": ("signum", "signum-tanh"),
}


def build(cell: Cell) -> Any:
    """The optimizer of a cell."""
    return _FORMS[cell.algorithm].build(cell)


def is_memory_claim(claim: Claim) -> bool:
    """Whether a claim is about an optimizer other than Adam and RMSProp, or about limiting coefficients."""
    return claim.algorithm in memory_claims.NAMES or claim.variant.limit


# What limiting coefficients leave at O(h) comes from the first steps: a path of half the length has as much of it and less of the O(h^2).
_LIMIT_SHORTER = 2
# With bias correction the means start right up to the batches that are not in them yet: little is left, and shows at finer steps.
_CORRECTED, _CORRECTED_FINER = ("adam", "adamw"), 4
# A memory of 1000 steps: every evaluation looks 40,000 steps back, and no number of steps that can be afforded shows an order.
_UNRESOLVED, _PAST = (16, 32, 64), (8, 16)

# Problems of a cell, cells of a family and the step ladder by profile; of the controls half as many problems.
_SIZES = {
    "quick": (6, 1, step_ladder(64, 2048, 0)),
    "standard": (12, 3, step_ladder(64, 4096, 0)),
    "thorough": (16, 6, step_ladder(64, 8192, 0)),
}
# The layers of a smooth sign make the order of a mini-batch cell scatter: twice the cells, each with half the problems. The cell is the independent unit.
_SIGNS, _SIGN_CELLS = ("lion", "signum"), 2
# An i.i.d. schedule is measured on m copies.
_FEW = 3


def memory_cells(claim: Claim, plan: Plan, profile: str, seed: int, group: str) -> list[Cell]:
    """The random cells of a claim, every factor balanced, with the settings its optimizer has; the other settings are 0."""
    problems, per_family, steps = _SIZES[profile]
    if claim.exact:
        problems = max(problems // 2, 4)
    elif profile == "quick" and claim.algorithm in _SIGNS and max(claim.batches) > 1:
        per_family, problems = _SIGN_CELLS * per_family, problems // _SIGN_CELLS
    decays = _QUICK_DECAYS if profile == "quick" else _DECAYS
    limited = claim.variant.limit and claim.exact
    corrected = limited and claim.algorithm in _CORRECTED
    if limited:
        finer = _CORRECTED_FINER if corrected else 1
        steps = tuple(finer * n // _LIMIT_SHORTER for n in steps[1 if corrected else 0 :])
    elif profile == "quick" and not claim.exact and not _FORMS[claim.algorithm].epsilon:
        steps = steps[:-1]  # where no epsilon makes layers the second order shows early
    own = replace(
        plan,
        betas=decays,
        rhos=decays,
        epsilons=_EPSILONS,
        cells_per_family=per_family,
        problems_per_cell=problems,
        few_problems=_FEW if profile == "quick" else None,
        control_problems=None,
        steps=steps,
        finer_every=0,
        full_batch_finer=1 if profile == "quick" else 2,
        default_steps=(),
    )
    # (exact=False: at beta = rho nothing vanishes but Adam's own O(h) term on the full batch, and weight decay keeps AdamW's)
    shared = random_cells(replace(claim, algorithm="adam", exact=False), own, seed, group)
    # the claims on limits and leading fields say which form they are about: a beta that grows has no limit within the memory, a saturated tanh no O(h)
    one_form = claim.variant.limit or (claim.exact and claim.algorithm in _SIGNS)
    several = () if one_form else _TURNS.get(claim.algorithm, ())
    turns = several or (claim.algorithm,)
    cells = [
        _with_form(cell, turns[(i + seed) % len(turns)] if cell.pooled else turns[0])
        for i, cell in enumerate(shared)
        if cell.pooled or cell.rho > 0.99
    ]
    if claim.variant.limit:  # only a schedule that repeats has a past without a beginning
        cells = [
            replace(cell, schedule="cyclic", steps=own.ladder(steps, "cyclic", cell.batches))
            if cell.pooled
            else replace(cell, schedule="cyclic", steps=_PAST)
            for cell in cells
        ]
    return [
        replace(cell, index=i, horizon=cell.horizon / (_LIMIT_SHORTER if limited else 1))
        for i, cell in enumerate(cells)
    ]


def _with_form(cell: Cell, algorithm: str) -> Cell:
    form = _FORMS[algorithm]
    return replace(
        cell,
        algorithm=algorithm,
        beta=cell.beta if form.beta else 0.0,
        rho=cell.rho if form.rho else 0.0,
        epsilon=cell.epsilon if form.epsilon else 0.0,
        horizon=cell.horizon * (1.0 - cell.beta) if form.scaled else cell.horizon,
        steps=cell.steps if cell.pooled or not form.rho else _UNRESOLVED,
        count=cell.count if cell.pooled else 1,
    )
