"""From the samples of an experiment to a row: verdicts problem by problem, the claim that holds for all of them, and its wrong variants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.statement import Statement
from stepbias.verify.experiments import measure
from stepbias.verify.fit import DELTA, OrderFit, fit_orders
from stepbias.verify.orders import LEVEL
from stepbias.verify.pooling import INCONCLUSIVE_SHARE, cell_medians, pool_cells
from stepbias.verify.resolution import SHARE
from stepbias.verify.rows import MutantRow, Row, Stratum, Verdict
from stepbias.verify.samples import Samples, Setting
from stepbias.verify.together import wrong_side
from stepbias.verify.wording import UNPOOLED, number

Floats = NDArray[np.float64]

# An identity is refuted where the difference exceeds its bound by this factor; up to the bound it holds, between the two nothing is said.
CLEAR = 3.0
# A wrong variant is visible on a problem if it moves what is measured by this many times what is known to be wrong with it.
_VISIBLE = 10.0
FINER = 2


@dataclass
class Judged:
    """Every problem of a statement with its verdict, and what it was judged by.

    ``value`` is the order, the ratio of the two sides (their difference where the right one is 0), or 1 and 0 for true and false.
    """

    samples: Samples
    verdict: list[Verdict]
    reason: list[str]
    value: Floats
    fits: list[OrderFit] = field(default_factory=list)
    disputed: list[int] = field(default_factory=list)
    """Problems that looked refuted and that the second look did not decide."""

    @property
    def pooled(self) -> list[int]:
        """Indices of the problems that the claim is judged on."""
        return [int(k) for k in np.flatnonzero(self.samples.pooled)]


def judge(claim: Statement, samples: Samples, level: float = LEVEL) -> Judged:
    """Judge every problem of a statement alone."""
    if claim.kind == "order":
        return _orders(claim, samples, level)
    if claim.kind == "exact":
        found: list[Verdict] = ["confirmed" if true else "refuted" for true in samples.truth]
        return Judged(samples, found, list(samples.certificate), samples.truth.astype(np.float64))
    return _sides(claim, samples)


def _orders(claim: Statement, samples: Samples, level: float) -> Judged:
    if not len(samples.numbers):
        return Judged(samples, [], [], np.empty(0))
    known = np.isfinite(samples.floor)
    fits = fit_orders(
        _filled(samples.x),
        np.where(known, samples.error, np.nan),  # of an error with unknown floor nothing is known
        claim.expected_order,
        exact=claim.exact,
        floor=np.where(known, samples.floor, 0.0),
        level=level,
        memory=samples.memory if samples.memory.size else None,
    )
    orders = np.array([fit.order for fit in fits])
    return Judged(samples, [f.verdict for f in fits], [f.reason for f in fits], orders, fits)


def _filled(x: Floats) -> Floats:
    """Points that are not there as ever smaller numbers: distinct, as the fit asks, and left out because the error is NaN."""
    out = x.copy()
    for row in out:
        missing = ~np.isfinite(row)
        smallest = np.min(row[~missing], initial=1.0)
        row[missing] = smallest * 0.5 ** np.arange(1, np.count_nonzero(missing) + 1)
    return out


def _sides(claim: Statement, samples: Samples) -> Judged:
    identity = claim.kind == "identity"
    left, right = np.abs(samples.left) if identity else samples.left, samples.right
    doubt = samples.uncertainty if samples.uncertainty.size else np.zeros(len(left))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(right != 0.0, left / right, left)
    verdicts: list[Verdict] = []
    reasons = []
    for a, b, u in zip(left, right, doubt, strict=True):
        words = f"{number(a)} against {number(b)}" + (
            f" with uncertainty {number(u, 2)}" if u else ""
        )
        verdict: Verdict = "inconclusive"
        if not np.isfinite(a + b + u):
            words = f"not finite: {words}"
        elif a + u <= b:
            verdict = "confirmed"
        elif a > (CLEAR * b if identity else b + u):
            verdict = "refuted"
        verdicts.append(verdict)
        reasons.append(words)
    return Judged(samples, verdicts, reasons, value)


def settle(
    claim: Statement, judged: Judged, setting: Setting, variant: str | None = None
) -> Judged:
    """Measure what looks refuted again, finer and alone, until one problem stays refuted.

    The verdict of the second look replaces that of the first. Two exceptions: of two looks with a stated uncertainty that agree, the sharper one counts; and a
    problem that the second look does not decide stays disputed, so that the claim cannot be confirmed. With K suspects the second look is made at the level
    1 - 0.01 / K (Bonferroni). Exact arithmetic is not looked at again.

    Parameters
    ----------
    variant : str, optional
        What was measured; None: the statement.
    """
    suspects = [k for k in judged.pooled if judged.verdict[k] == "refuted"]
    if claim.kind == "exact" or not suspects:
        return judged
    level = 1.0 - (1.0 - LEVEL) / len(suspects)
    chosen = claim.variant if variant is None else variant
    for k in sorted(suspects, key=lambda k: -abs(np.nan_to_num(judged.value[k]))):
        found = measure(claim, chosen, setting.again(int(judged.samples.numbers[k]), FINER))
        second = judge(claim, found, level)
        named = np.flatnonzero(found.numbers == judged.samples.numbers[k])
        same = [int(i) for i in named if found.pooled[i]] or [int(i) for i in named]
        # a problem may stand in several rows, one for each quantity that is compared
        labelled = [i for i in same if found.labels[i] == judged.samples.labels[k]]
        same = labelled[:1] or sorted(same, key=lambda i: second.verdict[i] != "refuted")[:1]
        first = judged.reason[k]
        if not same:
            judged.verdict[k] = "inconclusive"
            judged.disputed.append(k)
            judged.reason[k] = f"refuted at first ({first}); not admissible when measured again"
            continue
        (i,) = same
        told = f"measured again {FINER}x finer: {second.reason[i]}"
        if second.verdict[i] == "refuted" or _agrees_and_is_sharper(judged, k, second, i):
            judged.reason[k] = f"{first}; {told}"
            return judged
        judged.verdict[k] = second.verdict[i]
        judged.reason[k] = f"refuted at first ({first}); {told}"
        if second.verdict[i] != "confirmed":
            judged.disputed.append(k)
    return judged


def _agrees_and_is_sharper(first: Judged, k: int, second: Judged, i: int) -> bool:
    """Whether a first look with a stated uncertainty is consistent with a second one and sharper than it."""
    if not (first.samples.uncertainty.size and second.samples.uncertainty.size):
        return False
    gaps = [x.samples.left[n] - x.samples.right[n] for x, n in ((first, k), (second, i))]
    doubts = first.samples.uncertainty[k], second.samples.uncertainty[i]
    return bool(doubts[0] < doubts[1] and abs(gaps[0] - gaps[1]) <= sum(doubts))


def summarise_statement(claim: Statement, judged: Judged, seconds: float) -> Row:
    """One row from all problems of a statement."""
    samples, kept = judged.samples, judged.pooled
    tally = Counter(judged.verdict[k] for k in kept)
    row = Row(
        id=claim.id,
        source=claim.source,
        statement=claim.statement,
        expected=claim.expected,
        expected_order=claim.expected_order,
        expected_verdict=claim.expected_verdict,
        measured=float("nan"),
        interval=(float("-inf"), float("inf")),
        verdict="inconclusive",
        reason="no problem was admissible",
        seconds=seconds,
        problems=len(kept),
        counts={v: tally[v] for v in ("confirmed", "refuted", "inconclusive")},
        reasons={f"excluded: {name}": count for name, count in samples.excluded.items()},
        law="; ".join(claim.assumptions),
    )
    row.strata = _strata(judged)
    row.hardest = _hardest(judged)
    if not kept:
        return row
    (_pool_orders if claim.kind == "order" else _pool_sides)(claim, judged, row)
    row.resolution = _resolution(claim, judged)
    # "order = 1 in epsilon"
    small = {"x": claim.expected.partition(" in ")[2] or "step size h"}
    row.points = (small if claim.kind == "order" else {}) | {
        name: np.asarray(getattr(samples, name)).tolist()
        for name in ("labels", "left", "right", "uncertainty", "certificate")
        if getattr(samples, name).size
    }
    return row


def _pool_orders(claim: Statement, judged: Judged, row: Row) -> None:
    fits = [judged.fits[k] for k in judged.pooled]
    # the verdicts of the second look, not those of the first fits
    settled = [_with_verdict(judged, k) for k in judged.pooled]
    groups = [int(judged.samples.group[k]) for k in judged.pooled]
    found = pool_cells(settled, groups, claim.expected_order, claim.exact, LEVEL)
    medians = cell_medians(fits, groups)
    row.pvalue = wrong_side(medians, claim.expected_order, claim.exact)
    row.measured, row.interval = found.order, found.interval
    row.verdict, row.reason = found.verdict, found.reason
    _dispute(judged, row)
    row.h = [f.h.tolist() for f in fits]
    row.error = [f.error.tolist() for f in fits]
    row.floor = [f.floor.tolist() for f in fits]
    row.used = [f.used.tolist() for f in fits]
    row.orders = [f.order for f in fits]
    row.worst = _worst(judged, judged.pooled[found.worst_index])


def _dispute(judged: Judged, row: Row) -> None:
    """No confirmation while a problem looked refuted and nothing has cleared it."""
    if judged.disputed and row.verdict == "confirmed":
        k = judged.disputed[0]
        row.verdict = "inconclusive"
        row.reason = f"{len(judged.disputed)} disputed, such as {judged.samples.labels[k]}: {judged.reason[k]}; {row.reason}"


def _with_verdict(judged: Judged, k: int) -> OrderFit:
    from dataclasses import replace

    return replace(judged.fits[k], verdict=judged.verdict[k], reason=judged.reason[k])


def _pool_sides(claim: Statement, judged: Judged, row: Row) -> None:
    kept = judged.pooled
    values = judged.value[kept]
    rank = {"confirmed": 0, "inconclusive": 1, "refuted": 2}
    sign = -1.0 if claim.kind == "exact" else 1.0
    worst = max(
        kept, key=lambda k: (rank[judged.verdict[k]], sign * np.nan_to_num(judged.value[k]))
    )
    finite = values[np.isfinite(values)]
    if len(finite):
        row.measured = float(np.mean(finite) if claim.kind == "exact" else np.max(finite))
        row.interval = (float(np.min(finite)), float(np.max(finite)))
    middle = float(np.median(finite)) if len(finite) else float("nan")
    counts = ", ".join(f"{row.counts[v]} {v}" for v in ("confirmed", "refuted", "inconclusive"))
    what = {
        "inequality": f"median of left / right {number(middle)}",
        "identity": "difference against its rounding bound",
        "exact": "exact arithmetic",
    }[claim.kind]
    if np.all(judged.samples.right == 0.0) and claim.kind == "inequality":
        what = f"median of left - right {number(middle)}"
    row.reason = f"{counts}; {what}; worst: {judged.samples.labels[worst]}: {judged.reason[worst]}"
    # two sides with a bound on their error leave nothing to chance
    chance = judged.samples.pvalue
    row.pvalue = float(np.max(chance[kept])) if chance.size else 0.0
    if row.counts["refuted"]:
        row.verdict = "refuted"
    elif row.counts["inconclusive"] <= INCONCLUSIVE_SHARE * len(kept):
        row.verdict = "confirmed"
    _dispute(judged, row)
    row.worst = _worst(judged, worst)
    if claim.kind == "exact" and row.verdict == "refuted":
        row.certificate = {
            "kind": "exact arithmetic",
            "numbers": str(judged.samples.certificate[worst]),
        }


def _worst(judged: Judged, k: int) -> dict[str, Any]:
    return {
        "problem": int(judged.samples.numbers[k]),
        "value": float(judged.value[k]),
        "verdict": judged.verdict[k],
        "why": judged.reason[k],
        "setting": str(judged.samples.labels[k]),
    }


def _resolution(claim: Statement, judged: Judged) -> dict[str, float]:
    """Smallest relative error of each named term that would have been caught on 95 % of the problems where it acts."""
    kept = judged.pooled
    found = {}
    for term, values in judged.samples.caught.items():
        visible = np.asarray(values)[kept]
        visible = np.sort(visible[~np.isnan(visible)])
        if len(visible):
            found[term] = float(visible[int(np.ceil(SHARE * len(visible))) - 1])
    samples = judged.samples
    if claim.kind == "identity" and samples.scale.size:
        with np.errstate(divide="ignore", invalid="ignore"):
            sizes = np.sort((CLEAR * samples.right / samples.scale)[kept])
        found.setdefault("value", float(sizes[int(np.ceil(SHARE * len(sizes))) - 1]))
    if claim.kind == "inequality" and np.all(samples.right[kept] > 0.0):
        doubt = samples.uncertainty if samples.uncertainty.size else np.zeros(len(samples.left))
        certain = (samples.left - doubt)[kept] / samples.right[kept]
        certain = certain[np.isfinite(certain)]
        # a left side that is lost in its uncertainty would catch no right side, however small
        closest = float(np.max(certain, initial=-np.inf))
        found.setdefault("the right side", max(1.0 - closest, 0.0) if closest > 0.0 else np.inf)
    return found


def _hardest(judged: Judged) -> dict[str, float]:
    """Setting of the confirmed problem with the longest memory, then the smallest epsilon."""
    rows = judged.samples.hardness
    if not rows.size:
        return {}
    kept = [k for k in judged.pooled if judged.verdict[k] == "confirmed"]
    if not kept:
        return {}
    size = np.nan_to_num(rows)
    k = max(kept, key=lambda k: (max(size[k, 0], size[k, 1]), -size[k, 2], -size[k, 3]))
    named = zip(("beta", "rho", "eps", "h"), rows[k], strict=True)
    return {name: float(value) for name, value in named if np.isfinite(value)}


def _strata(judged: Judged) -> list[Stratum]:
    groups: dict[str, list[int]] = {}
    samples = judged.samples
    for k in range(len(samples.numbers)):
        name = str(samples.stratum[k]) if samples.stratum.size else ""
        if not samples.pooled[k]:
            groups.setdefault(f"{UNPOOLED} {name or samples.labels[k]}", []).append(k)
        elif name:
            groups.setdefault(name, []).append(k)
    ordered = sorted(groups.items(), key=lambda item: (item[0].startswith(UNPOOLED), item[0]))
    found = []
    for name, members in ordered:
        tally = Counter(judged.verdict[k] for k in members)
        why = Counter(judged.reason[k] for k in members if judged.verdict[k] == "inconclusive")
        shown = f" ({why.most_common(1)[0][0]})" if name.startswith(UNPOOLED) and why else ""
        finite = judged.value[members][np.isfinite(judged.value[members])]
        found.append(
            Stratum(
                name=name + shown,
                problems=len(members),
                confirmed=tally["confirmed"],
                refuted=tally["refuted"],
                inconclusive=tally["inconclusive"],
                median_order=float(np.median(finite)) if len(finite) else float("nan"),
            )
        )
    return found


def _bends(claim: Statement, x: Floats, own: Floats, other: Floats, floor: Floats) -> bool:
    """Whether a variant of an order claim moves the error, at the finest x where the move shows, by enough to bend the local slope.

    As for the mutants of the trajectory claims: one that makes the error smaller bends the slope upwards, which only a two-sided claim can refute.
    """
    with np.errstate(invalid="ignore"):
        shows = np.abs(other - own) > _VISIBLE * floor
    if not shows.any():
        return False
    k = int(np.argmin(np.where(shows, x, np.inf)))
    larger = other[k] - own[k] > 2.0 * DELTA * other[k]
    smaller = claim.exact and own[k] - other[k] > 2.0 * DELTA * own[k]
    return bool(larger or smaller)


def _visible(claim: Statement, base: Samples, wrong: Samples) -> NDArray[np.bool_]:
    """On which problems a wrong variant moves what is measured by more than what is known to be wrong with it."""
    if claim.kind == "exact":
        return np.ones(len(wrong.numbers), dtype=np.bool_)
    if claim.kind == "order":
        return np.array([_bends(claim, *rows) for rows in zip(
            base.x, np.abs(base.error), np.abs(wrong.error), base.floor + wrong.floor, strict=True
        )])  # fmt: skip
    doubt = np.zeros(len(wrong.left))
    for one in (base, wrong):
        if claim.kind == "identity":
            doubt += one.right
        elif one.uncertainty.size:
            doubt += one.uncertainty
    moved = np.abs(wrong.left - base.left)
    if claim.kind == "inequality":
        moved += np.abs(wrong.right - base.right)
    return np.asarray(moved > doubt)


def mutant_of(
    claim: Statement, name: str, base: Samples, wrong: Samples, setting: Setting
) -> MutantRow:
    """Verdict on one wrong variant, counted where it is visible; what looks refuted is measured again, as it would be for the statement.

    A statement about all problems is refuted by one; an order, which may hold by chance before the asymptotic range, only if no problem confirms it.
    """
    judged = settle(claim, judge(claim, wrong), setting, name)
    shown: Sequence[int] = []
    if np.array_equal(base.labels, wrong.labels):
        seen = _visible(claim, base, wrong)
        shown = [k for k in judged.pooled if seen[k]]
    else:  # the variant's problems are its own
        shown = judged.pooled
    tally = Counter(judged.verdict[k] for k in shown)
    verdict: Verdict = "inconclusive"
    if tally["refuted"] and (claim.kind != "order" or not tally["confirmed"]):
        verdict = "refuted"
    elif tally["confirmed"] and not tally["refuted"]:
        verdict = "confirmed"
    finite = [judged.value[k] for k in shown if np.isfinite(judged.value[k])]
    middle = np.median if claim.kind == "order" else np.max
    return MutantRow(
        name=name,
        verdict=verdict,
        measured=float(middle(finite)) if finite else float("nan"),
        visible=len(shown),
        refuted=tally["refuted"],
        confirmed=tally["confirmed"],
        problems=len(judged.pooled),
    )
