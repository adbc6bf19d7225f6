"""Broken instruments, run on a claim's own problems through the judge: none may confirm.

What each fault does to iterate - flow, and so what the judge alone can see of it:

- Euler's method on every piece leaves an error of order h, as large as the error of the theorem's leading part. Against a finer method the global
  difference shows it: every point lies at the solver floor. Against itself the difference is zero, and the slope is 1.
- float32 iterates add about 3e-8 of random rounding a step, 2e-6 after 4096 steps: above h^2 at the finest steps, where slopes turn negative; below it
  where h is coarse or the constant in front of h^2 large.
- A schedule, or a step number, that is one step late on one side telescopes along the path: what remains is one step of size h times the difference of
  the batches. Order 1; nothing for m = 1 with bias correction, where the field does not depend on the batch, and the step number only through the
  memory of the first steps, whose effect is of order h^2.
- Hessian-vector products 1 % too long are the bias term times 1.01: an error of one hundredth of the bias at order h, seen where h^2 is smaller.
- A start off by 1e-6 is an error of order 0, seen where h^2 is smaller than 1e-6.
- Quadratic losses satisfy the theorem. Nothing is wrong with their errors; they say nothing about third derivatives.

Of local defects Euler's method and the products are one order higher, and a start cannot be wrong: every step starts on the flow. :func:`cannot_show` says
where a fault has nothing to show; anywhere else it has to be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import prepare, thread_count
from stepbias.kernels.families import RandomRidge
from stepbias.kernels.fault import Fault
from stepbias.kernels.loss import Loss
from stepbias.kernels.measure import Method
from stepbias.kernels.ridge_source import ArrayRidge
from stepbias.kernels.survey import survey
from stepbias.kernels.trajectory import HEUN, Tableau
from stepbias.theory import activations
from stepbias.theory.checks import choice, whole
from stepbias.theory.claim import Claim
from stepbias.verify.cells import PROFILES, Cell
from stepbias.verify.fit import DELTA
from stepbias.verify.observe import observe
from stepbias.verify.problems import SURVEY_STEPS, Draw, cells_of, draw
from stepbias.verify.registry import find_trajectory_claim
from stepbias.verify.relabelling import copies
from stepbias.verify.rows import Verdict
from stepbias.verify.second_look import look_again
from stepbias.verify.store import Arrays
from stepbias.verify.summary import UnitResult, summarise
from stepbias.verify.sweep import Sweep

Progress = Callable[[int, int, str], None]

# As for wrong variants: this many times the known solver and rounding error.
VISIBLE = 10.0
# The order of a fault's effect is read off over about this factor in h.
_WIDE = 8.0

EULER = Tableau(np.array([0.0]), np.array([1.0]))  # order 1

FAULTS: tuple[Fault, ...] = (
    Fault("euler", "the flow is integrated by Euler's method", method=Method(EULER, 1, HEUN, 1)),
    Fault(
        "euler, unchecked",
        "the flow is integrated by Euler's method and compared with itself",
        method=Method(EULER, 1, EULER, 1),
    ),
    Fault("float32", "the iterates are rounded to float32", single=True),
    Fault("late schedule", "the flow follows the schedule one step late", late_schedule=True),
    Fault("late step", "the flow counts its steps one late", late_step=True),
    Fault("products", "Hessian-vector products are 1 % too long", products=1.01),
    Fault("start", "the flow starts 1e-6 away in every component", start=1e-6),
    Fault("quadratics", "the sampler makes only quadratic losses", quadratic=True),
)


# How many times the least visible move a fault of known size has to be before it must be seen: its size is an estimate.
_CLEARLY = 2.0


class NothingShownError(RuntimeError):
    """The sound instrument does not confirm the claim, so that broken ones prove nothing."""


@dataclass(frozen=True)
class FaultRow:
    """Outcome of one broken instrument.

    Attributes
    ----------
    name, what : str
        Of the :class:`stepbias.kernels.fault.Fault`.
    verdict : str
        On the claim; "confirmed" means that the fault went unnoticed.
    unchecked : str
        The verdict without the instrument's checks on itself: what the slopes alone say.
    counts : dict
        Verdicts on the problems, with the checks.
    visible : int
        Problems whose end point the fault moves by more than ten times the sound instrument's floor and by more than a fifth of its error, as for wrong
        variants of a statement, and does so at a lower order than the claimed one; all of them for a broken sampler. Elsewhere the measurement shows
        the claimed order like the sound one, and "confirmed" is no mistake.
    missed : int
        Visible problems that are confirmed nevertheless.
    reason : str
    order : float
        Median over the problems.
    silent : str
        Why the fault cannot be visible on these problems; empty if it should be, or is.
    """

    name: str
    what: str
    verdict: Verdict
    unchecked: Verdict
    counts: dict[str, int]
    visible: int
    missed: int
    reason: str
    order: float
    silent: str = ""

    @property
    def failure(self) -> str:
        """What the row shows against the judge or the fault, in words; empty if nothing.

        Where the slopes alone no longer confirm what they do for the sound instrument, the fault was seen, whether it is visible or spoils the floors.
        """
        if self.survived:
            return f"confirmed, although the fault is visible on {self.visible} problems"
        if not self.visible and not self.silent and self.unchecked == "confirmed":
            return "visible on no problem, although it should be: nothing was tested"
        return ""

    @property
    def survived(self) -> bool:
        """Whether the judge fell for it: a claim confirmed although the fault was visible on some of its problems."""
        return self.verdict == "confirmed" and self.visible > 0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON-ready dictionary."""
        return asdict(self)


def quadratics(cell: Cell, numbers: Sequence[int]) -> Loss:
    """Quadratic losses of the sizes of a cell: the perturbed quadratics with these numbers, their perturbation left out."""
    source = RandomRidge("perturbed-quadratic", cell.dim, cell.batches, max(numbers) + 1, cell.key)
    offset, amplitude, weight = (
        np.ascontiguousarray(np.moveaxis(part, -1, 0))
        for part in source.draw(np.array(numbers, dtype=np.int64))
    )
    for kind, _, first, last in source.segments:
        if kind != activations.SQUARE:
            amplitude[:, first:last] = 0.0
    origin = f"quadratics of {source.describe()}"
    return Loss(ArrayRidge(source.segments, offset, amplitude, weight, cell.batches, origin))


def _broken_draw(cell: Cell, drawn: Draw, fault: Fault) -> Draw:
    """The problems that a broken sampler hands out, surveyed as those of the sound one are."""
    if not fault.quadratic:
        return drawn
    loss = quadratics(cell, drawn.numbers)
    given = copies(cell, loss, drawn.theta0, SURVEY_STEPS)
    h = cell.horizon / SURVEY_STEPS
    ensemble = prepare(
        cell.optimizer(), given.loss, given.theta0, h, SURVEY_STEPS, given.schedule, "cpu"
    )
    seen = survey(ensemble, SURVEY_STEPS).curvature.reshape(-1, given.each)
    return replace(drawn, loss=loss, curvature=seen.min(axis=1))


def _arrays(drawn: Draw, found: Sweep) -> Arrays:
    measured = ("h", "error", "floor", "difference", "distance", "memory", "integrity")
    return {
        "drawn": np.array([drawn.drawn]),
        "numbers": np.array(drawn.numbers),
        "curvature": drawn.curvature,
        **{name: getattr(found, name) for name in measured},
    }


def measure_fault(claim: Claim, cell: Cell, drawn: Draw, fault: Fault | None) -> UnitResult:
    """A cell's problems, measured with a broken instrument (None: the sound one)."""
    if fault is not None:
        drawn = _broken_draw(cell, drawn, fault)
    found = observe(claim, cell, drawn.loss, drawn.theta0, cell.steps, fault=fault)
    return UnitResult(cell, _arrays(drawn, found))


def _unchecked(unit: UnitResult) -> UnitResult:
    checks = ("integrity", "curvature")
    return UnitResult(unit.cell, {k: v for k, v in unit.arrays.items() if k not in checks})


def _least(sound: UnitResult, step: int) -> NDArray[np.float64]:
    """The least visible move of every problem: ten floors, and a fifth of the error."""
    a = sound.arrays
    return np.asarray(np.maximum(VISIBLE * a["floor"][:, step], 2.0 * DELTA * a["error"][:, step]))


def _visible(
    claim: Claim, fault: Fault, sound: UnitResult, broken: UnitResult
) -> NDArray[np.bool_]:
    """Where the fault moves the measured quantity by more than the sound measurement's uncertainty and a fifth of its error, at a lower order than claimed.

    Nowhere, if what it adds has the claimed order: from one random schedule to the next a move of order h fluctuates, and here and there it looks like a
    lower one. What is measured is the end point of global errors; elsewhere, where the largest defect or a step is what is measured, that number itself.
    """
    a, b = sound.arrays, broken.arrays
    expected = claim.expected_order
    if _effect(claim, sound.cell, fault) >= expected:
        return np.zeros(broken.problems, dtype=bool)
    h = a["h"][0]
    finest = int(np.argmin(h))
    coarser = int(np.argmin(np.abs(np.log(h / (_WIDE * h[finest])))))
    if claim.kind == "global":
        moved = np.linalg.norm(a["difference"] - b["difference"], axis=-1)
    else:
        moved = np.abs(a["error"] - b["error"])
    least = _least(sound, finest)
    # half an order between a move of the claimed order and one of the order below
    fading = (h[finest] / h[coarser]) ** (expected - 0.5) * moved[:, coarser]
    return np.asarray((moved[:, finest] > least) & (moved[:, finest] > fading))


def _size(claim: Claim, fault: Fault, steps: int) -> float:
    """About how far a fault of known size moves the measured quantity: an offset as it is, float32 by 3e-8 a step at random."""
    if fault.single:
        return 3e-8 * (1.0 if claim.kind == "local" else float(np.sqrt(steps)))
    return fault.start


def _effect(claim: Claim, cell: Cell, fault: Fault) -> float:
    """The order in h of what a fault adds to the measured quantity; 0 for a fault of known size."""
    one_step = 1.0 if claim.kind == "local" else 0.0
    if fault.method is not None or fault.products != 1.0:
        return 1.0 + one_step
    if fault.late_step and cell.batches == 1 and claim.algorithm == "adam":
        return 2.0  # with bias correction only the memory of the first steps tells one step number from the next
    return 1.0 if fault.late_schedule or fault.late_step else 0.0


def cannot_show(claim: Claim, sound: UnitResult, fault: Fault) -> str:
    """Why a fault cannot be visible on a cell's problems; empty if it should be.

    Parameters
    ----------
    claim : Claim
    sound : UnitResult
        The cell, measured with the sound instrument.
    fault : Fault

    Returns
    -------
    str
    """
    cell = sound.cell
    if fault.quadratic:
        return ""
    if fault.late_schedule and cell.batches == 1:
        return "the full batch has no schedule"
    if fault.start and claim.kind == "local":
        return "every step starts on the flow"
    if fault.products != 1.0 and claim.variant.bias == 0.0:
        return "the leading field has no Hessian-vector products"
    if claim.kind == "resolving-step":
        # error / h is of order one there, and h at least 1e-4
        return "it moves the step by the same factor at every epsilon, or far less than the error there"
    solver = fault.method is not None or fault.products != 1.0
    if cell.kind == "no-sign-change" and cell.beta == cell.rho and solver:
        return "with one memory and epsilon near 0 the field is a sign: constant, and without an O(h) term"
    order = _effect(claim, cell, fault)
    if order >= claim.expected_order:
        return f"what it adds is of order h^{order:g}, which the claim allows"
    finest = int(np.argmin(sound.arrays["h"][0]))
    size = _size(claim, fault, max(cell.steps))
    if order == 0.0 and not np.any(size > _CLEARLY * _least(sound, finest)):
        return f"about {size:.0e} is too little beside the errors of these steps"
    return ""


def _silent(claim: Claim, sound: Sequence[UnitResult], fault: Fault) -> str:
    """Why a fault cannot be visible on any problem, cell by cell; empty if it should be on some."""
    reasons = [cannot_show(claim, unit, fault) for unit in sound]
    return "; ".join(dict.fromkeys(reasons)) if all(reasons) else ""


def fault_row(
    claim: Claim,
    fault: Fault,
    sound: Sequence[UnitResult],
    broken: Sequence[UnitResult],
    seed: int,
) -> FaultRow:
    """Judge the measurements of one fault as those of a sound instrument are judged.

    A refuted problem is not measured again: the instrument would be the same.
    """
    row = summarise(claim, broken, seed)
    alone = summarise(claim, [_unchecked(unit) for unit in broken], seed)
    visible = np.concatenate(
        [
            np.ones(b.problems, dtype=bool) if fault.quadratic else _visible(claim, fault, a, b)
            for a, b in zip(sound, broken, strict=True)
        ]
    )
    confirmed = np.array([fit.verdict == "confirmed" for b in broken for fit in b.fits(claim)])
    seen = int(visible.sum())
    return FaultRow(
        name=fault.name,
        what=fault.what,
        verdict=row.verdict,
        unchecked=alone.verdict,
        counts=row.counts,
        visible=seen,
        missed=int((visible & confirmed).sum()),
        reason=row.reason,
        order=row.measured,
        silent="" if seen else _silent(claim, sound, fault),
    )


def _require_sound(claim: Claim, sound: Sequence[UnitResult], seed: int, workers: int) -> None:
    """Judge the sound instrument as a run does, refuted problems escalated; raise if it does not confirm."""
    if not sound:
        raise NothingShownError(f"{claim.id}: no admissible problem was drawn; nothing was tested")
    look_again([(claim, sound)], "stepbias verify {claim}", workers)
    row = summarise(claim, sound, seed)
    if row.verdict != "confirmed":
        raise NothingShownError(
            f"{claim.id}: the sound instrument does not confirm it, so broken ones prove nothing: {row.verdict} ({row.reason})"
        )


def run_faults(
    claim_id: str = "adam-inside/global-order",
    profile: str = "quick",
    seed: int = 0,
    *,
    faults: Sequence[Fault] = FAULTS,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[FaultRow]:
    """Judge a claim with the sound instrument and then with broken ones, each on the claim's own pooled problems.

    Parameters
    ----------
    claim_id : str
        A claim that a sound instrument confirms.
    profile, seed
        As in :func:`stepbias.verify.runner.run_claims`.
    faults : sequence of Fault
    workers : int, optional
        Threads; None: one per CPU.
    progress : callable, optional
        ``progress(done, total, label)``, called from this thread.

    Returns
    -------
    list of FaultRow
        In the order of ``faults``.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is accepted.
    NothingShownError
        If no admissible problem was drawn, or the sound instrument does not confirm.
    """
    claim = find_trajectory_claim(claim_id)
    choice("profile", profile, tuple(PROFILES))
    whole("seed", seed, 0, 2**63 - 1)
    count = thread_count() if workers is None else whole("workers", workers, 1)
    cells = [cell for cell in cells_of(claim, profile, seed) if cell.pooled]
    rows: list[FaultRow] = []
    if progress is not None:
        progress(0, len(faults), "sound")
    with ThreadPoolExecutor(max_workers=count) as pool:
        draws = list(pool.map(draw, cells))
        pairs = [pair for pair in zip(cells, draws, strict=True) if pair[1].numbers]

        def measured(fault: Fault | None) -> list[UnitResult]:
            return list(pool.map(lambda pair: measure_fault(claim, pair[0], pair[1], fault), pairs))

        sound = measured(None)
        _require_sound(claim, sound, seed, count)
        for fault in faults:
            if progress is not None:
                progress(len(rows), len(faults), fault.name)
            rows.append(fault_row(claim, fault, sound, measured(fault), seed))
    if progress is not None:
        progress(len(rows), len(faults), "done")
    return rows
