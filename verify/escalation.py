"""Before one problem refutes a claim that holds for all: that problem alone, finer steps, a tighter solver, a second arithmetic, and a certificate."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from stepbias.kernels.loss import Loss
from stepbias.kernels.measure import Method
from stepbias.kernels.trajectories import iterate
from stepbias.kernels.trajectory import CLASSICAL
from stepbias.theory.arithmetic import Arithmetic, second
from stepbias.theory.claim import Claim
from stepbias.theory.plain_losses import PlainLoss
from stepbias.verify.cells import Cell
from stepbias.verify.certificate import certificate, coefficient_data, replica_data
from stepbias.verify.dropped_problems import CROSSING
from stepbias.verify.fit import OrderFit, Verdict
from stepbias.verify.observe import observe
from stepbias.verify.orders import LEVEL
from stepbias.verify.problems import losses_of, starts_of
from stepbias.verify.relabelling import sweep_cell
from stepbias.verify.second_arithmetic import (
    Replica,
    affordable,
    comparable,
    loss_in,
    replicate,
    setting_of,
)
from stepbias.verify.summary import ALONE, DISAGREE, NOT_ZERO, UnitResult
from stepbias.verify.sweep import Sweep, sweep

# Every step count of the run is multiplied by this.
_FINER = 4
# Up to here two classical steps a piece against one. Beyond, the error of one step, (T/N)^4 / 120 times the field's derivatives, is below a double's
# rounding unit.
_TIGHT = 4096
# Share of the measured difference by which the two arithmetics may differ beyond the known floor: what a known error may be elsewhere.
AGREEMENT = 0.01
# A coefficient that refutes may be far smaller than that. The arithmetics may then differ, per component and divided by h, by this share of what the
# coefficient exceeds its bound by: a fault of the kernels of the size that would be needed is four times as large.
EXPLAINED = 0.25
# What the second arithmetic may take, by a rough count of its operations.
_SECONDS = 5.0
# Step counts it may use beside those of the escalation, where these are too many for it.
_FEW = (32, 64, 128)
# Across a jump of the field a method is wrong by about a third of its step.
_CROSSING_SUBSTEPS = 8


@dataclass(frozen=True)
class Escalation:
    """Outcome of an escalation.

    Attributes
    ----------
    fit : OrderFit
        Takes the place of the first fit of the problem.
    certificate : dict or None
        Of a refutation that stayed one; see :mod:`stepbias.verify.certificate`.
    """

    fit: OrderFit
    certificate: dict[str, Any] | None = None

    @property
    def verdict(self) -> Verdict:
        """That of the fit."""
        return self.fit.verdict


@dataclass(frozen=True)
class _Problem:
    """One problem of a claim."""

    claim: Claim
    cell: Cell
    number: int
    loss: Loss
    theta0: Any  # (1, p)

    @property
    def local(self) -> bool:
        """Whether one-step defects are measured."""
        return self.claim.kind == "local"

    @property
    def unusual(self) -> bool:
        """Whether the measurement chooses its own solver: the field jumps inside a piece, or the layer of a crossing is resolved."""
        return self.cell.kind in CROSSING

    @property
    def substeps(self) -> int:
        """Runge-Kutta steps a piece where the arithmetics are compared: as many as the claim's own measurement takes."""
        return _CROSSING_SUBSTEPS if self.unusual else 2

    def ladder(self, steps: list[int]) -> Sweep:
        """What the claim measures, by the tighter solver where the choice is free."""
        if self.unusual:
            return observe(self.claim, self.cell, self.loss, self.theta0, tuple(steps))
        options: dict[str, Any] = {"kind": self.claim.kind, "method": tight_method}
        return sweep_cell(
            self.cell, self.loss, self.theta0, tuple(steps), self.claim.variant, **options
        )

    def single(self, steps: int) -> Sweep:
        """One run on the cell's own schedule: nothing is averaged."""
        return sweep(
            self.cell.optimizer(),
            self.loss,
            self.theta0,
            self.cell.horizon,
            [steps],
            self.cell.schedule_object(),
            self.claim.variant,
            "local" if self.local else "global",
            method=lambda _: Method(CLASSICAL, self.substeps, CLASSICAL, self.substeps // 2),
        )


def tight_method(steps: int) -> Method | None:
    """Two classical Runge-Kutta steps a piece against one, where this can be told from rounding; else the usual method."""
    return Method(CLASSICAL, 2, CLASSICAL, 1) if steps <= _TIGHT else None


def escalate(
    claim: Claim, cell: Cell, number: int, command: str | None = None, *, level: float = LEVEL
) -> Escalation:
    """Measure draw ``number`` of a cell again, alone: steps four times finer, a tighter solver, and a second arithmetic at one number of steps.

    A refutation by the coefficient of h is compared at two numbers of steps, and within a share of that coefficient.

    Parameters
    ----------
    claim : Claim
    cell : Cell
    number : int
        The draw, as recorded with the cell's results.
    command : str, optional
        What the certificate names to repeat the measurement; None: a call of this function.
    level : float
        Level of the slope's fit; the coefficient is judged by a bound that has none.

    Returns
    -------
    Escalation
        Its fit replaces the first one. A refutation that stays one carries a certificate; one on which the two arithmetics disagree is inconclusive.
    """
    problem = _problem(claim, cell, number)
    result = _measure_finer(problem, level)
    steps, fit = list(result.cell.steps), result.fits(claim)[0]
    if fit.verdict != "refuted":
        return Escalation(fit)
    coefficient = None
    if fit.reason.startswith(NOT_ZERO):
        kappa = float(result.arrays["memory"][0])
        coefficient = coefficient_data(result.coefficient.problem(0), kappa)
    numbers = second()
    missing = comparable(cell.optimizer(), claim.variant, numbers)
    if missing:
        reason = f"{ALONE}: {missing}; {fit.reason}"
        return Escalation(replace(fit, verdict="inconclusive", reason=reason))
    loss, words = loss_in(problem.loss, numbers)
    compared = []
    for count in _counts(problem, numbers, steps, twice=coefficient is not None):
        replica, kernels = _replica(problem, numbers, loss, count), problem.single(count)
        disagreement = compare(replica, kernels, numbers)
        if coefficient is not None and not disagreement:
            disagreement = compare_coefficient(replica, kernels, coefficient, numbers)
        if disagreement:
            return Escalation(replace(fit, verdict="inconclusive", reason=disagreement))
        sizes = float(kernels.error[0, 0]), float(kernels.floor[0, 0])
        compared.append(replica_data(numbers, words, replica, *sizes, problem.substeps))
    finest = max(steps)
    made = certificate(
        claim,
        cell,
        number,
        problem.loss,
        problem.theta0[0],
        fit=fit,
        steps=steps,
        iterate=_last_iterate(problem, finest),
        difference=problem.single(finest).difference[0, 0],
        command=command or _command(claim, cell, number),
        coefficient=coefficient,
    )
    others = {"others": compared[1:]} if compared[1:] else {}
    return Escalation(fit, {**made, "second": compared[0] | others})


def measure_finer(claim: Claim, cell: Cell, number: int, *, level: float = LEVEL) -> UnitResult:
    """Draw ``number`` of a cell alone, with steps four times finer and a tighter solver: one problem."""
    return _measure_finer(_problem(claim, cell, number), level)


def _problem(claim: Claim, cell: Cell, number: int) -> _Problem:
    return _Problem(claim, cell, number, losses_of(cell, [number]), starts_of(cell, [number]))


def _measure_finer(problem: _Problem, level: float) -> UnitResult:
    steps = [_FINER * n for n in problem.cell.steps]
    found = problem.ladder(steps)
    arrays = {field.name: getattr(found, field.name) for field in fields(found)}
    return UnitResult(replace(problem.cell, steps=tuple(steps)), arrays, level=level)


def _counts(
    problem: _Problem, numbers: Arithmetic, steps: list[int], *, twice: bool
) -> tuple[int, ...]:
    """The largest number of steps that the second arithmetic can afford, and half of it where a coefficient has to be compared ``twice``."""
    few = [n for n in _FEW if n < min(steps)]
    leading = problem.claim.variant.bias == 0.0
    count = affordable(
        [*few, *steps], problem.loss, numbers, _SECONDS, leading, substeps=problem.substeps
    )
    return (count, count // 2) if twice else (count,)


def _replica(problem: _Problem, numbers: Arithmetic, loss: PlainLoss, count: int) -> Replica:
    """The second arithmetic at one number of steps, on the cell's own schedule."""
    cell, claim = problem.cell, problem.claim
    return replicate(
        numbers,
        setting_of(cell.optimizer()),
        loss,
        problem.theta0[0],
        cell.horizon / count,
        cell.schedule_object().indices(count),
        claim.variant,
        local=problem.local,
        substeps=problem.substeps,
    )


def compare(replica: Replica, kernels: Sweep, numbers: Arithmetic) -> str:
    """Why the two arithmetics disagree at the number of steps of ``kernels``, or nothing.

    The errors may differ by the kernels' known floor and 1 %, and so may the signed vectors iterate - flow at the end.
    """
    error, floor = float(kernels.error[0, 0]), float(kernels.floor[0, 0])
    other = float(replica.error)
    vector = (replica.iterate - replica.flow).astype(np.float64)
    gap = max(abs(error - other), float(np.linalg.norm(vector - kernels.difference[0, 0])))
    allowed = floor + AGREEMENT * other
    if gap <= allowed:
        return ""
    return (
        f"{DISAGREE}: error {error:.6g} in the kernels, {other:.6g} in {numbers.name}, at {replica.steps} steps; "
        f"they differ by {gap:.2g}, allowed {allowed:.2g}"
    )


def compare_coefficient(
    replica: Replica, kernels: Sweep, coefficient: dict[str, Any], numbers: Arithmetic
) -> str:
    """Why a refutation by the coefficient of h^q may be the kernels' fault, or nothing.

    Parameters
    ----------
    replica : Replica
    kernels : Sweep
        At the same number of steps.
    coefficient : dict
        From :func:`stepbias.verify.certificate.coefficient_data`.
    numbers : Arithmetic
        Of the replica.

    Notes
    -----
    For every component that refutes, |difference of the kernels - difference of the second arithmetic| / h^q has to stay below `EXPLAINED` times
    |coefficient| - bound. Both take the same steps by the same methods, so that solver errors cancel and rounding remains.
    """
    value, bound = np.abs(coefficient["value"]), np.array(coefficient["bound"])
    refutes = value > coefficient["factor"] * bound
    vector = (replica.iterate - replica.flow).astype(np.float64)
    gap = np.abs(vector - kernels.difference[0, 0]) / kernels.h[0, 0] ** coefficient["power"]
    allowed = EXPLAINED * (value - bound)
    apart = refutes & ~(gap <= allowed)  # a NaN disagrees
    if not apart.any():
        return ""
    i = int(np.argmax(apart))
    return (
        f"{DISAGREE}: coefficient of h^{coefficient['power']}, component {i}: kernels and {numbers.name} differ by {gap[i]:.2g} "
        f"at {replica.steps} steps, allowed {allowed[i]:.2g}, a share of {EXPLAINED:g} of the {value[i]:.3g} beyond the bound {bound[i]:.2g}"
    )


def _last_iterate(problem: _Problem, steps: int) -> Any:
    """The iterate at the horizon, (p,)."""
    cell = problem.cell
    path = iterate(
        cell.optimizer(),
        problem.loss,
        problem.theta0,
        cell.horizon / steps,
        steps,
        cell.schedule_object(),
    )
    return path[0, -1]


def _command(claim: Claim, cell: Cell, number: int) -> str:
    code = (
        "from stepbias.verify.escalation import escalate; from stepbias.verify.cells import Cell; from stepbias.verify.registry import find_trajectory_claim; "
        f"print(escalate(find_trajectory_claim({claim.id!r}), {cell!r}, {number}).fit.explain())"
    )
    return f"python -c {shlex.quote(code)}"
