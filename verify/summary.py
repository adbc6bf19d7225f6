"""From the measurements of a claim's cells to one row: fits, verdicts, strata, the worst and the hardest problem."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.claim import Claim
from stepbias.verify.cells import Cell
from stepbias.verify.coefficient import Coefficient, judge_coefficient
from stepbias.verify.fit import OrderFit, fit_orders
from stepbias.verify.integrity import claim_failure, withhold
from stepbias.verify.orders import LEVEL
from stepbias.verify.pooling import cell_medians, pool_cells
from stepbias.verify.problems import law
from stepbias.verify.resolution import RESPONSE_STEPS, by_instrument, pooled_table
from stepbias.verify.rows import Row, Stratum
from stepbias.verify.store import Arrays
from stepbias.verify.together import wrong_side
from stepbias.verify.wording import UNPOOLED

# Begins the reason of a problem whose escalation found the arithmetics apart: nothing is confirmed with such an instrument.
DISAGREE = "two arithmetics disagree"
# Beginning of the reason of a problem that stayed refuted where there is no second arithmetic: it refutes nothing, and nothing is confirmed beside it.
ALONE = "refuted with finer steps, but by one arithmetic alone"
# Begins the reason of a problem that the coefficient refutes and not the slope.
NOT_ZERO = "the coefficient of h is not zero"


@dataclass(frozen=True)
class UnitResult:
    """A cell and its measurements."""

    cell: Cell
    arrays: Arrays
    escalated: dict[int, OrderFit] = field(default_factory=dict)
    level: float = LEVEL
    _first: dict[tuple[str, float], list[OrderFit]] = field(default_factory=dict, repr=False)

    @property
    def problems(self) -> int:
        """How many problems were measured."""
        return len(self.arrays["error"]) if "error" in self.arrays else 0

    def fits(self, claim: Claim) -> list[OrderFit]:
        """One fit per problem, refuted also where the coefficient of h is not zero though the claim says so; those of escalations replace the first."""
        key = (claim.id, self.level)
        if key not in self._first:
            self._first[key] = self._first_fits(claim) if self.problems else []
        return [self.escalated.get(k, fit) for k, fit in enumerate(self._first[key])]

    def _first_fits(self, claim: Claim) -> list[OrderFit]:
        a = self.arrays
        error = np.where(np.isfinite(a["error"]), a["error"], np.nan)
        floor = np.where(np.isfinite(a["floor"]), a["floor"], np.inf)
        fits = fit_orders(
            a["h"],
            error,
            claim.expected_order,
            exact=claim.exact,
            floor=np.where(np.isnan(error), 0.0, floor),
            level=self.level,
            memory=np.where(np.isfinite(a["memory"]), a["memory"], 1.0 / np.finfo(float).eps),
        )
        second = self.coefficient if has_coefficient(claim, self.cell) else None
        if second is not None:
            fits = [
                replace(fit, verdict="refuted", reason=f"{NOT_ZERO}: {why}")
                if verdict == "refuted" and fit.verdict != "refuted"
                else fit
                for fit, verdict, why in zip(fits, second.verdict, second.reason, strict=True)
            ]
        return withhold(fits, a.get("integrity"))

    @cached_property
    def response(self) -> dict[str, NDArray[np.float64]]:
        """Measured responses to the named terms; empty if they were not measured."""
        names = [name for name in self.arrays if name.startswith("response_")]
        return {name.removeprefix("response_"): self.arrays[name] for name in names}

    @cached_property
    def coefficient(self) -> Coefficient:
        """The coefficient of h in iterate(T) - flow(T), one row a problem."""
        a = self.arrays
        scale = None
        if self.response:
            unit = self.cell.horizon / RESPONSE_STEPS
            scale = np.linalg.norm(self.response["bias"], axis=1) / unit
        return judge_coefficient(a["h"], a["difference"], a["floor"], scale, memory=a["memory"])

    def resolution(self, claim: Claim) -> dict[str, dict[str, NDArray[np.float64]]] | None:
        """Smallest relative error of each term that each instrument would have caught, per problem; None if not measured."""
        if not self.response:
            return None
        a = self.arrays
        return by_instrument(
            self.response,
            a["h"],
            a["difference"],
            a["floor"],
            a["memory"],
            self.cell.horizon,
            claim.expected_order,
            has_coefficient(claim, self.cell),
        )


def has_coefficient(claim: Claim, cell: Cell) -> bool:
    """Whether the claim makes the coefficient of h zero, on a cell whose differences have an expansion in h."""
    whole_cycles = cell.schedule == "cyclic" and all(n % cell.batches == 0 for n in cell.steps)
    says = claim.kind == "global" and claim.expected_order == 2.0 and not claim.exact
    return says and cell.kind in ("random", "bilinear") and (cell.batches == 1 or whole_cycles)


def summarise(claim: Claim, units: Sequence[UnitResult], seed: int) -> Row:
    """One row from all cells of a claim."""
    missing = [str(u.arrays["missing"][0]) for u in units if "missing" in u.arrays]
    pooled = [u for u in units if u.cell.pooled]
    labelled = [(u, k, fit) for u in pooled for k, fit in enumerate(u.fits(claim))]
    fits = [fit for _, _, fit in labelled]
    row = _empty_row(claim, law([u.cell for u in units], seed))
    row.seconds = float(sum(u.arrays["seconds"][0] for u in units if "seconds" in u.arrays))
    row.reasons = _reasons(pooled, fits)
    if missing or not fits:
        row.reason = (
            f"{missing[0]} is not installed" if missing else "no draw satisfied the assumptions"
        )
        return row
    cells = [u.cell.index for u, _, _ in labelled]
    judged = pool_cells(fits, cells, claim.expected_order, claim.exact, LEVEL)
    units_of_chance = cells if len(set(cells)) > 1 else list(range(len(fits)))
    row.pvalue = wrong_side(cell_medians(fits, units_of_chance), claim.expected_order, claim.exact)
    row.measured, row.interval = judged.order, judged.interval
    last = [fit.slopes[-1] for fit in fits if len(fit.slopes)]
    row.verdict = judged.verdict
    row.reason = (
        f"{judged.reason}; median local slope at the finest steps {np.median(last):.3f}"
        if last
        else judged.reason
    )
    if row.verdict == "confirmed" and (failure := _instrument_failure(pooled)):
        row.verdict, row.reason = "inconclusive", failure
    row.problems = len(fits)
    row.counts = {
        v: sum(f.verdict == v for f in fits) for v in ("confirmed", "refuted", "inconclusive")
    }
    row.h = [f.h.tolist() for f in fits]
    row.error = [f.error.tolist() for f in fits]
    row.floor = [f.floor.tolist() for f in fits]
    row.used = [f.used.tolist() for f in fits]
    row.orders = [f.order for f in fits]
    # A refutation rests on the problem that stayed refuted when it was measured again.
    settled = [x for x in labelled if x[1] in x[0].escalated and x[2].verdict == "refuted"]
    unit, k, fit = settled[0] if settled else labelled[judged.worst_index]
    row.worst = {
        "problem": _number(pooled, unit, k),
        "order": fit.order,
        "verdict": fit.verdict,
        "why": fit.reason,
        "draw": int(unit.arrays["numbers"][k]),
        **unit.cell.settings(),
    }
    row.hardest = _hardest(labelled)
    row.strata = _strata(claim, units)
    if not claim.exact:
        table = pooled_table([r for u in pooled if (r := u.resolution(claim)) is not None])
        row.resolution = table.pop("either")
        row.resolution_by = table
    second = [
        verdict
        for u in pooled
        if u.problems and has_coefficient(claim, u.cell)
        for verdict in u.coefficient.verdict
    ]
    row.coefficient = dict(Counter(second))
    return row


def _instrument_failure(units: Sequence[UnitResult]) -> str:
    """Why no verdict may rest on these measurements; empty if it may."""
    disputed = [
        f.reason
        for u in units
        for f in u.escalated.values()
        if f.reason.startswith((DISAGREE, ALONE))
    ]
    return disputed[0] if disputed else claim_failure([u.arrays for u in units])


def _empty_row(claim: Claim, law_text: str) -> Row:
    return Row(
        id=claim.id,
        source=claim.source,
        statement=claim.statement,
        expected=claim.expected,
        expected_order=claim.expected_order,
        expected_verdict="confirmed",
        measured=float("nan"),
        interval=(float("-inf"), float("inf")),
        verdict="inconclusive",
        reason="",
        seconds=0.0,
        problems=0,
        counts={"confirmed": 0, "refuted": 0, "inconclusive": 0},
        law=law_text,
    )


def _number(units: Sequence[UnitResult], unit: UnitResult, k: int) -> int:
    """Number of a problem in the run: cells in order, each with its full count."""
    first = 0
    for other in units:
        if other is unit:
            return first + k
        first += other.cell.count
    raise ValueError("the unit is not one of the claim's")


def _reasons(units: Sequence[UnitResult], fits: Sequence[OrderFit]) -> dict[str, int]:
    """Draws excluded by each assumption, and why problems are inconclusive."""
    found: Counter[str] = Counter()
    for unit in units:
        names, counts = unit.arrays.get("excluded_reasons"), unit.arrays.get("excluded_counts")
        if names is not None and counts is not None:
            for name, count in zip(names, counts, strict=True):
                found[f"excluded: {name}"] += int(count)
    for fit in fits:
        if fit.verdict != "confirmed":
            found[f"{fit.verdict}: {_kind(fit.reason)}"] += 1
    return dict(found)


def _kind(reason: str) -> str:
    """A reason without its numbers, so that equal reasons are counted together."""
    short = re.sub(r"[;:(].*", "", reason).strip(" ,;:")
    return re.sub(r"\[.*?\]|-?\d+\.\d+(e[+-]?\d+)?", "...", short)


def _hardest(labelled: Iterable[tuple[UnitResult, int, OrderFit]]) -> dict[str, float]:
    """Setting of the confirmed problem with the longest memory, then the smallest epsilon."""
    confirmed = [(u, fit) for u, _, fit in labelled if fit.verdict == "confirmed"]
    if not confirmed:
        return {}
    unit, fit = max(
        confirmed,
        key=lambda x: (max(x[0].cell.rho, x[0].cell.beta), -x[0].cell.epsilon, x[0].cell.beta),
    )
    cell = unit.cell
    return {"beta": cell.beta, "rho": cell.rho, "eps": cell.epsilon, "h": float(fit.h.min())}


def _strata(claim: Claim, units: Sequence[UnitResult]) -> list[Stratum]:
    """Verdicts by epsilon, memory and family; the settings that are reported but not pooled come last."""
    groups: dict[str, list[OrderFit]] = {}
    for unit in units:
        cell = unit.cell
        fits = unit.fits(claim)
        if cell.pooled:
            labels = [f"eps = {cell.epsilon:g}", f"rho = {cell.rho:g}", f"beta = {cell.beta:g}"]
            labels += [f"m = {cell.batches}", f"{cell.schedule}", f"{cell.family}"]
        else:
            labels = [
                f"{UNPOOLED} (beta, rho, eps) = ({cell.beta:g}, {cell.rho:g}, {cell.epsilon:g})"
            ]
        for label in labels:
            groups.setdefault(label, []).extend(fits)
    ordered = sorted(groups.items(), key=lambda item: (item[0].startswith(UNPOOLED), item[0]))
    return [_stratum(name, fits) for name, fits in ordered]


def _stratum(name: str, fits: Sequence[OrderFit]) -> Stratum:
    tally = Counter(f.verdict for f in fits)
    orders = [f.order for f in fits if np.isfinite(f.order)]
    reasons = Counter(_kind(f.reason) for f in fits if f.verdict == "inconclusive")
    why = f" ({reasons.most_common(1)[0][0]})" if name.startswith(UNPOOLED) and reasons else ""
    return Stratum(
        name=name + why,
        problems=len(fits),
        confirmed=tally["confirmed"],
        refuted=tally["refuted"],
        inconclusive=tally["inconclusive"],
        median_order=float(np.median(orders)) if orders else float("nan"),
    )
