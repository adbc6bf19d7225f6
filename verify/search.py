"""Search for a problem that refutes a claim: Hypothesis draws a few numbers, compiled code expands them, low orders attract the search.

An example is a cell (family, sizes, schedule, hyper-parameters, key) with a few problems. Its orders are measured on short ladders; a problem that is
refuted there is escalated at once, and counts only if it stays refuted (:mod:`stepbias.verify.escalation`). What the search came across is reported also if
it found nothing: the lowest order with its cell, which repeats it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, configuration, given, settings, target
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.database import (
    DirectoryBasedExampleDatabase,
    ExampleDatabase,
    InMemoryExampleDatabase,
)

from stepbias.kernels.loss import Loss
from stepbias.theory.checks import whole
from stepbias.theory.claim import Claim
from stepbias.verify.cells import SCHEDULES, Cell
from stepbias.verify.certificate import save
from stepbias.verify.escalation import escalate
from stepbias.verify.fit import OrderFit
from stepbias.verify.memory_cells import is_memory_claim
from stepbias.verify.observe import observe
from stepbias.verify.problems import cells_of, draw
from stepbias.verify.registry import find_trajectory_claim
from stepbias.verify.report import environment, plain
from stepbias.verify.summary import UnitResult
from stepbias.verify.sweep import step_ladder

FILE = "search.json"
# A ladder that costs a fraction of a second; the escalation of what it shows goes four times further.
_STEPS = step_ladder(32, 1024)
# Problems of a cell: small problems fill the lanes of a block at no cost.
_COUNT = 4
# Inside the assumptions, and where the ladder resolves the memory: h kappa <= 0.1, what a refutation needs, holds from 10 / (1 - rho) <= 100 steps on.
_MOST_BETA, _LEAST_RHO, _MOST_RHO, _EPSILON = 0.9, 0.3, 0.9, (-4.0, -1.0)
_KEYS = st.integers(0, 2**62 - 1)


@dataclass
class Seen:
    """One measured problem, with what repeats it."""

    order: float
    interval: tuple[float, float]
    verdict: str
    reason: str
    number: int
    cell: dict[str, Any]

    def words(self) -> str:
        """The setting, the key that seeds it and the draw."""
        shown = ("family", "dim", "batches", "schedule", "beta", "rho", "epsilon", "key")
        return ", ".join(f"{name} = {self.cell[name]}" for name in shown) + f", draw {self.number}"


@dataclass
class SearchResult:
    """Outcome of a search, as plain data.

    Attributes
    ----------
    claim : str
    seed, examples : int
        As asked for; ``measured`` examples were measured.
    problems : int
        Admissible problems in them; ``excluded`` counts the draws that were not, by reason.
    verdicts : dict
        Of the problems, by the short ladder.
    dismissed : int
        Problems that the short ladder refuted and the escalation did not; ``dismissals`` says why.
    lowest : Seen or None
        The problem with the lowest order (for an exact claim: the order farthest from it) among those whose order is decided, else among all.
    found : Seen or None
        The counter-example: its escalated fit.
    certificate : dict or None
        Of the counter-example.
    path : str
        Where the certificate was stored; empty if nowhere.
    """

    claim: str
    seed: int
    examples: int
    measured: int = 0
    problems: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, int] = field(default_factory=dict)
    dismissed: int = 0
    dismissals: list[str] = field(default_factory=list)
    lowest: Seen | None = None
    found: Seen | None = None
    certificate: dict[str, Any] | None = None
    path: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON-ready dictionary, without infinities; the certificate stands in its own file."""
        return dict(plain({**asdict(self), "certificate": None, **environment()}))

    def lines(self) -> list[str]:
        """What was found, line by line."""
        counts = ", ".join(f"{n} {v}" for v, n in sorted(self.verdicts.items()))
        text = [
            f"{self.claim}: {self.measured} settings with {self.problems} problems measured (seed {self.seed}): {counts or 'none admissible'}",
            *(f"excluded: {n} x {reason}" for reason, n in sorted(self.excluded.items())),
            *(f"refuted at first, not after escalation: {reason}" for reason in self.dismissals),
        ]
        for name, seen in (("lowest order", self.lowest), ("counter-example", self.found)):
            if seen is not None:
                text.append(f"{name}: {seen.order:.3f}, {seen.verdict} ({seen.reason})")
                text.append(f"  at {seen.words()}")
        if self.path:
            text.append(f"certificate: {self.path}")
        if self.found is None:
            text.append("no counter-example found")
        return text


class _CounterExampleError(Exception):
    """A problem stayed refuted."""


def cells(claim: Claim, seed: int = 0) -> st.SearchStrategy[Cell]:
    """Cells inside the claim's assumptions, drawn from a few numbers.

    Claims on random losses vary everything; claims on a model or on data of their own keep its sizes and vary the hyper-parameters, the schedule and the
    starts; any others vary the key of the cells that they are measured on.
    """
    templates = [cell for cell in cells_of(claim, "quick", seed) if cell.pooled]
    changes: dict[str, st.SearchStrategy[Any]] = {"key": _KEYS}
    if is_memory_claim(claim):  # at the decays and the widths of its own cells
        changes["family"] = st.sampled_from(Loss.families())
        changes["dim"], changes["batches"] = st.integers(1, 8), st.sampled_from(claim.batches)
        if not claim.variant.limit:
            changes["schedule"] = st.sampled_from(SCHEDULES)
        return _built(templates, changes, usual=False)
    if claim.problems in ("random", "bilinear", "regression"):
        changes["rho"] = st.floats(_LEAST_RHO, _MOST_RHO)
        changes["epsilon"] = st.floats(*_EPSILON).map(lambda e: float(10.0**e))
        if claim.algorithm == "adam":
            changes["beta"] = st.floats(0.0, _MOST_BETA)
    if claim.problems in ("random", "regression"):
        changes["schedule"] = st.sampled_from(SCHEDULES)
    if claim.problems == "random":
        templates = templates[:1]
        changes["family"] = st.sampled_from(Loss.families())
        changes["dim"], changes["batches"] = st.integers(1, 8), st.integers(1, 4)
    # the ladder of a claim with its own quantity is part of its statement
    usual = claim.problems in ("random", "bilinear") and claim.kind == "global"
    return _built(templates, changes, usual)


def _built(
    templates: list[Cell], changes: dict[str, st.SearchStrategy[Any]], usual: bool
) -> st.SearchStrategy[Cell]:
    """Cells from a template and drawn changes; ``usual``: on the short ladder."""

    def build(template: Cell, drawn: dict[str, Any]) -> Cell:
        steps = _STEPS if usual else template.steps
        return replace(template, **drawn, steps=steps, count=min(_COUNT, template.count))

    return st.builds(build, st.sampled_from(templates), st.fixed_dictionaries(changes))


def measure_cell(claim: Claim, cell: Cell) -> tuple[list[OrderFit], list[int], Counter[str]]:
    """Fits of the cell's admissible problems, the numbers of their draws, and the draws excluded by reason."""
    drawn = draw(cell)
    if not drawn.numbers:
        return [], [], drawn.excluded
    found = observe(claim, cell, drawn.loss, drawn.theta0, cell.steps)
    arrays = {f.name: getattr(found, f.name) for f in fields(found)}
    return UnitResult(cell, arrays).fits(claim), list(drawn.numbers), drawn.excluded


def _seen(fit: OrderFit, cell: Cell, number: int) -> Seen:
    return Seen(fit.order, fit.interval, fit.verdict, fit.reason, number, asdict(cell))


class _Hunt:
    """State of one search; called with every example."""

    def __init__(self, claim: Claim, result: SearchResult) -> None:
        self.claim, self.result = claim, result
        self.excluded: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self._known: dict[Cell, tuple[float, float] | None] = {}
        self._lowest = (True, np.inf)

    def miss(self, fit: OrderFit) -> float:
        """How far the order lies on the right side of the claim; the lower, the more suspect."""
        return -abs(fit.order - fit.expected) if fit.exact else fit.order

    def bound(self, fit: OrderFit) -> float:
        """The same for the end of the interval that a refutation needs on the wrong side."""
        if not fit.exact:
            return fit.interval[1]
        return -max(fit.expected - fit.interval[1], fit.interval[0] - fit.expected)

    def __call__(self, cell: Cell) -> None:
        """Measure one example and tell Hypothesis how suspect it is; raises if it refutes."""
        if self.result.found is not None:
            if asdict(cell) == self.result.found.cell:  # Hypothesis runs a failure once more
                raise _CounterExampleError
            return
        if cell not in self._known:
            self._known[cell] = self._measure(cell)
        goals = self._known[cell]
        if goals is not None:
            target(-goals[0], label="order")
            target(-goals[1], label="end of its interval")

    def _measure(self, cell: Cell) -> tuple[float, float] | None:
        """Lowest order and lowest end of an interval in the cell, None where nothing is known."""
        fits, numbers, excluded = measure_cell(self.claim, cell)
        self.result.measured += 1
        self.result.problems += len(fits)
        self.excluded += excluded
        self.verdicts += Counter(fit.verdict for fit in fits)
        order = end = np.inf
        for fit, number in zip(fits, numbers, strict=True):
            if fit.verdict == "refuted":
                fit = self._escalate(cell, number)
            if np.isfinite(fit.order):
                self._note(fit, cell, number)
                order = min(order, self.miss(fit))
                end = min(end, self.bound(fit) if np.isfinite(self.bound(fit)) else np.inf)
        if not np.isfinite(order):
            return None
        return order, end if np.isfinite(end) else order + 10.0

    def _note(self, fit: OrderFit, cell: Cell, number: int) -> None:
        rank = (fit.verdict == "inconclusive", self.miss(fit))
        if self.result.lowest is None or rank < self._lowest:
            self._lowest = rank
            self.result.lowest = _seen(fit, cell, number)

    def _escalate(self, cell: Cell, number: int) -> OrderFit:
        """The fit of the escalation, which did not uphold the refutation; raises if it did."""
        outcome = escalate(self.claim, cell, number)
        if outcome.verdict == "refuted":
            self._note(outcome.fit, cell, number)
            self.result.found = _seen(outcome.fit, cell, number)
            self.result.certificate = outcome.certificate
            raise _CounterExampleError
        self.result.dismissed += 1
        self.result.dismissals.append(outcome.fit.reason)
        return outcome.fit


def search(
    claim_id: str,
    examples: int = 200,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> SearchResult:
    """Search for a counter-example to a claim.

    Parameters
    ----------
    claim_id : str
        One claim.
    examples : int
        Cells to try.
    seed : int
        Of Hypothesis. The same seed repeats the search in the same program; Hypothesis also tries constants that it finds in the source of loaded modules,
        so that another program or version may draw others. What is reported holds the numbers drawn: :func:`repeat`. With ``out``, examples that an earlier
        search stored there are tried first.
    out : path, optional
        Store ``search.json``, the certificate of a counter-example and Hypothesis's examples there.
    progress : callable, optional
        ``progress(done, total, label)``.

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError, TypeError
        For an unknown claim or a number out of range.
    """
    claim = find_trajectory_claim(claim_id)
    count = whole("examples", examples, 1)
    result = SearchResult(claim.id, whole("seed", seed, 0, 2**63 - 1), count)
    folder = None if out is None else Path(out)
    hunt = _Hunt(claim, result)
    _run(claim, hunt, folder, progress)
    result.excluded, result.verdicts = dict(hunt.excluded), dict(hunt.verdicts)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        if result.certificate is not None and result.found is not None:
            key = f"key{result.found.cell['key']}-draw{result.found.number}"
            result.path = str(save(result.certificate, folder, key))
        text = json.dumps(result.as_dict(), ensure_ascii=False, allow_nan=False, indent=1)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")
    return result


def repeat(claim_id: str, cell: Mapping[str, Any], number: int) -> OrderFit:
    """Measure a problem that a search reported, again and with the problems of its cell.

    Parameters
    ----------
    claim_id : str
    cell, number
        As in :class:`Seen`, or in the stored ``search.json``.

    Raises
    ------
    ValueError
        Where the cell has no such admissible draw.
    """
    claim = find_trajectory_claim(claim_id)
    fits, numbers, _ = measure_cell(claim, Cell(**{**cell, "steps": tuple(cell["steps"])}))
    if number not in numbers:
        raise ValueError(f"number = {number}; accepted: the cell's admissible draws {numbers}")
    return fits[numbers.index(number)]


@contextmanager
def _own_storage() -> Iterator[None]:
    """Keep Hypothesis's caches out of the current directory."""
    before = getattr(configuration, "__hypothesis_home_directory", None)
    with tempfile.TemporaryDirectory() as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(before)


def _run(
    claim: Claim,
    hunt: _Hunt,
    folder: Path | None,
    progress: Callable[[int, int, str], None] | None,
) -> None:
    """Let Hypothesis call ``hunt`` until it raises or the examples are used up.

    It does not shrink: every smaller candidate would have to be escalated, and the cell is small as it is.
    """
    # always one: with a database Hypothesis also keeps a Pareto front, and draws other examples
    database: ExampleDatabase = InMemoryExampleDatabase()
    if folder is not None:
        place = folder / "examples" / claim.id.replace("/", "_")
        database = DirectoryBasedExampleDatabase(place)

    # the settings outside: a seed switches the database of the settings inside it off
    @settings(
        max_examples=hunt.result.examples,
        database=database,
        deadline=None,
        phases=(Phase.reuse, Phase.generate, Phase.target),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @seeded(hunt.result.seed)
    @given(cells(claim))
    def example(cell: Cell) -> None:
        hunt(cell)
        if progress is not None:
            progress(min(hunt.result.measured, hunt.result.examples), hunt.result.examples, "cells")

    with _own_storage(), suppress(_CounterExampleError):
        example()
