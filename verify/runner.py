"""Running claims: units (claim x cell x variant) in threads, a store, fits, verdicts, rows."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from stepbias.kernels.blocks import thread_count
from stepbias.kernels.gpu.device import name as device_name
from stepbias.kernels.gpu.device import require, simulated
from stepbias.theory.checks import choice, whole
from stepbias.theory.claim import Claim
from stepbias.theory.statement import Statement
from stepbias.theory.variants import STATEMENT, Variant
from stepbias.verify.cells import PROFILES, Cell
from stepbias.verify.certificate import brief, save
from stepbias.verify.execution import AnyUnit, Progress, execute
from stepbias.verify.experiments import measure
from stepbias.verify.mutants import mutant_row
from stepbias.verify.observe import observe
from stepbias.verify.problems import cells_of, draw
from stepbias.verify.registry import find, find_one
from stepbias.verify.relabelling import shifts
from stepbias.verify.report import Report, environment
from stepbias.verify.resolution import responses
from stepbias.verify.rows import Row
from stepbias.verify.samples import Samples, Setting
from stepbias.verify.second_look import look_again, suspects
from stepbias.verify.statements import judge, mutant_of, settle, summarise_statement
from stepbias.verify.store import Arrays, Store, source_hash
from stepbias.verify.summary import UnitResult, summarise
from stepbias.verify.together import judge_together

_MEASURED = ("h", "error", "floor", "difference", "distance", "memory", "integrity")
# The responses to single terms are measured on every third cell: enough for a quantile, an eighth of the cost.
_RESOLUTION_EVERY = 3


@dataclass(frozen=True)
class Unit:
    """One cell of a claim under one variant of its field."""

    claim: Claim
    cell: Cell
    variant: Variant

    @property
    def key(self) -> str:
        """Name in the store: everything that the numbers depend on besides the run's tag."""
        return f"{self.claim.id}-{self.cell.index:03d}-{self.variant.name.replace(' ', '')}"

    @property
    def wants_resolution(self) -> bool:
        """Whether this unit also measures how the end point responds to each named term."""
        is_statement = self.variant == STATEMENT and self.cell.pooled
        return (
            is_statement
            and self.claim.kind == "global"
            and self.cell.kind in ("random", "bilinear")
            and shifts(self.cell) == 1
            and self.cell.index % _RESOLUTION_EVERY == 0
        )

    @property
    def cost(self) -> float:
        """Rough relative time, so that long units start first."""
        c = self.cell
        window = min(42.0 / (1.0 - max(c.beta, c.rho)), max(c.steps))
        sums = window * c.dim if c.batches > 1 or c.algorithm == "rmsprop" else 0.0
        losses = 1e5 if c.kind == "regression" else 1e3
        return (sums + losses) * c.count * sum(c.steps)

    @property
    def interpreted(self) -> bool:
        """No: kernels release the interpreter's lock."""
        return False

    def run(self, device: str) -> Arrays:
        """Measure the cell; where its field has a past before step 0, on the CPU, whose tables begin there."""
        return run_unit(self, "cpu" if self.variant.limit else device)


# In the unit of :attr:`Unit.cost`: a second or two.
_EXPERIMENT_COST = 1e9


@dataclass(frozen=True)
class Experiment:
    """The experiment of a statement, for one variant."""

    claim: Statement
    variant: str
    setting: Setting

    @property
    def key(self) -> str:
        """Name in the store."""
        return f"{self.claim.id}-{self.variant.replace(' ', '')}"

    @property
    def cost(self) -> float:
        """Rough relative time."""
        return _EXPERIMENT_COST

    @property
    def interpreted(self) -> bool:
        """Yes: NumPy on small arrays, between kernels."""
        return True

    def run(self, device: str) -> Arrays:
        """Measure the problems."""
        started = time.perf_counter()
        arrays: Arrays = measure(self.claim, self.variant, self.setting).arrays()
        return arrays | {"seconds": np.array([time.perf_counter() - started])}


def run_unit(unit: Unit, device: str = "cpu") -> Arrays:
    """Draw the cell's problems and measure them; plain arrays, so that they can be stored.

    Draws, their survey and the responses to single terms are the CPU's work on every device.
    """
    started = time.perf_counter()
    cell = unit.cell
    try:
        drawn = draw(cell)
    except ModuleNotFoundError as missing:
        if cell.kind != "regression" or missing.name != "sklearn":
            raise
        return {"missing": np.array(["scikit-learn"])}
    reasons = drawn.excluded
    arrays: Arrays = {
        "drawn": np.array([drawn.drawn]),
        "numbers": np.array(drawn.numbers),
        "curvature": drawn.curvature,
        "excluded_reasons": np.array(list(reasons), dtype=np.str_),
        "excluded_counts": np.array(list(reasons.values()), dtype=np.int64),
    }
    if drawn.numbers:
        found = observe(
            unit.claim, cell, drawn.loss, drawn.theta0, cell.steps, unit.variant, device=device
        )
        arrays |= {name: getattr(found, name) for name in _MEASURED}
        if unit.wants_resolution:
            found_responses = responses(
                cell.optimizer(), drawn.loss, drawn.theta0, cell.horizon, cell.schedule_object()
            )
            arrays |= {f"response_{term}": value for term, value in found_responses.items()}
    arrays["seconds"] = np.array([time.perf_counter() - started])
    return arrays


def _units(claim: Claim, profile: str, seed: int, mutants: bool) -> list[Unit]:
    cells = cells_of(claim, profile, seed)
    units = [Unit(claim, cell, claim.variant) for cell in cells]
    if mutants:
        units += [Unit(claim, cell, v) for v in claim.wrong for cell in cells if cell.pooled]
    return units


def _experiments(claim: Statement, setting: Setting, mutants: bool) -> list[Experiment]:
    variants = (claim.variant, *(claim.wrong if mutants else ()))
    return [Experiment(claim, variant, setting) for variant in variants]


def _statement_row(
    claim: Statement, setting: Setting, mutants: bool, found: dict[str, Arrays]
) -> Row:
    own, *wrong = _experiments(claim, setting, mutants)
    stored = found[own.key]
    samples = Samples.from_arrays(stored)
    judged = settle(claim, judge(claim, samples), setting)
    row = summarise_statement(claim, judged, float(stored["seconds"][0]))
    row.mutants = [
        mutant_of(claim, unit.variant, samples, Samples.from_arrays(found[unit.key]), setting)
        for unit in wrong
    ]
    return row


def _results(
    claim: Claim, cells: Sequence[Cell], variant: Variant, found: dict[str, Arrays]
) -> list[UnitResult]:
    return [UnitResult(cell, found[Unit(claim, cell, variant).key]) for cell in cells]


def run_claims(
    ids: Sequence[str] | str | None = None,
    profile: str = "quick",
    seed: int = 0,
    device: str = "cpu",
    out: str | os.PathLike[str] | None = None,
    *,
    mutants: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure claims and judge them.

    Parameters
    ----------
    ids : sequence of str, str or None
        Claim ids, or prefixes such as "adam-inside"; None: all.
    profile : {"quick", "standard", "thorough"}
        How many problems, which hyper-parameters, how fine the steps.
    seed : int
        Seeds every random choice; the same seed gives the same numbers on any number of threads.
    device : {"cpu", "cuda"}
        Where the trajectories of the campaign run. What looks refuted is measured again on the CPU.
    out : path, optional
        Store units and the report there; a run that was killed goes on with what is missing.
    mutants : bool
        Also run the wrong variants, which must be refuted.
    workers : int, optional
        Threads; None: one per CPU, and one for "cuda", where a unit fills the device.
    progress : callable, optional
        ``progress(done, total, label)``, called from this thread.

    Returns
    -------
    Report

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is accepted.
    """
    chosen = find(ids)
    if not chosen:
        raise ValueError(
            f"ids = {ids!r} names no claim; accepted: at least one id, or None for all"
        )
    choice("profile", profile, tuple(PROFILES))
    whole("seed", seed, 0, 2**63 - 1)
    require(device)
    count = thread_count() if workers is None else whole("workers", workers, 1)
    measuring = 1 if device == "cuda" and workers is None else count
    started, clock = datetime.now(UTC), time.perf_counter()
    meta = {**environment(), "seed": seed, "profile": profile, "device": device, "threads": count}
    place = ""
    if device == "cuda":
        meta["device"] = f"cuda ({device_name()})"
        place = "-simulator" if simulated() else "-cuda"
    store = Store(out, f"{source_hash()}-{profile}-{seed}{place}")
    setting = Setting(profile, seed, device)
    units: list[AnyUnit] = []
    for claim in chosen:
        units += (
            _units(claim, profile, seed, mutants)
            if isinstance(claim, Claim)
            else _experiments(claim, setting, mutants)
        )
    statements: dict[str, list[UnitResult]] = {}
    settled: dict[str, Row] = {}

    def conclude(claim: Claim | Statement, found: dict[str, Arrays]) -> None:
        if isinstance(claim, Statement):
            settled[claim.id] = _statement_row(claim, setting, mutants, found)
            return
        cells = cells_of(claim, profile, seed)
        statements[claim.id] = _results(claim, cells, claim.variant, found)
        suspects(claim, statements[claim.id])  # fits every problem; the fits are kept

    found = execute(units, store, measuring, device, progress, conclude)
    on_trajectories = [claim for claim in chosen if isinstance(claim, Claim)]
    again = f"stepbias replay {{claim}} --profile {profile} --seed {seed} --problem {{problem}}"
    certificates = look_again([(c, statements[c.id]) for c in on_trajectories], again, count)
    if out is not None:
        for made in certificates.values():
            save(made, out, made["number"])
    rows = []
    for claim in chosen:
        if isinstance(claim, Statement):
            rows.append(settled[claim.id])
            continue
        cells, statement = cells_of(claim, profile, seed), statements[claim.id]
        row = summarise(claim, statement, seed)
        row.certificate = brief(certificates[claim.id]) if claim.id in certificates else {}
        if mutants:
            pooled = [cell for cell in cells if cell.pooled]
            base = [u for u in statement if u.cell.pooled]
            row.mutants = [
                mutant_row(claim, v, base, _results(claim, pooled, v, found)) for v in claim.wrong
            ]
        rows.append(row)
    judge_together(rows)
    meta |= {
        "started": started.isoformat(timespec="seconds"),
        "seconds": time.perf_counter() - clock,
    }
    report = Report(rows, meta)
    if out is not None:
        report.save(out)
    return report


class NoSuchProblemError(ValueError):
    """A number outside the run, or whose cell found fewer admissible problems."""


def _replay_statement(claim: Statement, setting: Setting) -> Row:
    started = time.perf_counter()
    found = measure(claim, claim.variant, setting)
    samples = found.take(np.flatnonzero(found.numbers == setting.only))
    if not len(samples.numbers):
        raise NoSuchProblemError(
            f"problem = {setting.only}: the experiment has no such problem in profile {setting.profile!r}, or it was not admissible"
        )
    judged = settle(claim, judge(claim, samples), setting)
    return summarise_statement(claim, judged, time.perf_counter() - started)


def replay(claim_id: str, *, seed: int, problem: int, profile: str = "quick") -> Row:
    """Run one problem of a claim again, alone, and judge it alone.

    Parameters
    ----------
    claim_id : str
    seed, profile
        Of the run.
    problem : int
        Its number in the run, as the report names it.

    Raises
    ------
    ValueError
        For an unknown claim or a number outside the run.
    """
    claim = find_one(claim_id)
    choice("profile", profile, tuple(PROFILES))
    whole("seed", seed, 0, 2**63 - 1)
    if isinstance(claim, Statement):
        return _replay_statement(claim, Setting(profile, seed, only=whole("problem", problem, 0)))
    cells = [cell for cell in cells_of(claim, profile, seed) if cell.pooled]
    last = sum(cell.count for cell in cells) - 1
    if whole("problem", problem, 0) > last:
        raise NoSuchProblemError(f"problem = {problem}; accepted: an integer from 0 to {last}")
    first = 0
    for cell in cells:
        if problem < first + cell.count:
            break
        first += cell.count
    drawn = draw(cell)
    k = problem - first
    if k >= len(drawn.numbers):
        raise NoSuchProblemError(
            f"problem = {problem}: its cell found only {len(drawn.numbers)} admissible problems"
        )
    loss = drawn.loss if drawn.loss.problems is None else drawn.loss.select(np.array([k]))
    found = observe(claim, cell, loss, drawn.theta0[k : k + 1], cell.steps)
    arrays: Arrays = {name: getattr(found, name) for name in _MEASURED}
    arrays |= {
        "numbers": np.array([drawn.numbers[k]]),
        "drawn": np.array([1]),
        "seconds": np.zeros(1),
    }
    unit = UnitResult(replace(cell, count=1), arrays)
    again = f"stepbias replay {{claim}} --profile {profile} --seed {seed} --problem {problem}"
    certificates = look_again([(claim, [unit])], again, 1)
    row = summarise(claim, [unit], seed)
    row.worst["problem"] = problem
    row.certificate = brief(certificates[claim.id]) if certificates else {}
    return row
