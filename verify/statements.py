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
    fits = fit_orders(
        _filled(samples.x),
        samples.error,
        claim.expected_order,
        exact=claim.exact,
        floor=np.where(np.isfinite(samples.floor), samples.floor, 0.0),
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
    left, right = samples.left, samples.right
    doubt = samples.uncertainty if samples.uncertainty.size else np.zeros(len(left))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(right != 0.0, left / right, left)
    verdicts: list[Verdict] = []
    reasons = []
    for a, b, u in zip(left, right, doubt, strict=True):
        worst = b + u if claim.kind == "inequality" else CLEAR * b
        verdict: Verdict = "inconclusive"
        if a + u <= b:
            verdict = "confirmed"
        elif a > worst:
            verdict = "refuted"
        verdicts.append(verdict)
        words = f"{number(a)} against {number(b)}"
        reasons.append(words + (f" with uncertainty {number(u, 2)}" if u else ""))
    return Judged(samples, verdicts, reasons, value)


def settle(claim: Statement, judged: Judged, setting: Setting) -> Judged:
    """Measure what looks refuted again, finer and alone, until one problem stays refuted; the others become inconclusive.

    The verdict of the second look replaces that of the first. With K suspects it is made at the level 1 - 0.01 / K (Bonferroni). Exact arithmetic is not
    looked at again.
    """
    suspects = [k for k in judged.pooled if judged.verdict[k] == "refuted"]
    if claim.kind == "exact" or not suspects:
        return judged
    level = 1.0 - (1.0 - LEVEL) / len(suspects)
    for k in sorted(suspects, key=lambda k: -abs(np.nan_to_num(judged.value[k]))):
        number_ = int(judged.samples.numbers[k])
        again = Setting(setting.profile, setting.seed, setting.device, FINER, number_)
        second = judge(claim, measure(claim, claim.variant, again), level)
        same = [
            i for i, label in enumerate(second.samples.labels) if label == judged.samples.labels[k]
        ]
        if not same:
            judged.verdict[k] = "inconclusive"
            judged.reason[k] = "refuted at first; not found when measured again"
            continue
        (i,) = same[:1]
        if second.verdict[i] == "refuted":
            judged.reason[k] = f"{second.reason[i]}, measured again {FINER}x finer"
            return judged
        judged.verdict[k] = "inconclusive" if second.verdict[i] != "confirmed" else "confirmed"
        judged.reason[k] = f"refuted at first; measured again {FINER}x finer: {second.reason[i]}"
    return judged


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
    row.points = {
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
    row.h = [f.h.tolist() for f in fits]
    row.error = [f.error.tolist() for f in fits]
    row.floor = [f.floor.tolist() for f in fits]
    row.used = [f.used.tolist() for f in fits]
    row.orders = [f.order for f in fits]
    row.worst = _worst(judged, judged.pooled[found.worst_index])


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
    row.measured = float(np.mean(values) if claim.kind == "exact" else np.max(values))
    row.interval = (float(np.min(values)), float(np.max(values)))
    counts = ", ".join(f"{row.counts[v]} {v}" for v in ("confirmed", "refuted", "inconclusive"))
    what = {
        "inequality": f"median of left / right {number(float(np.median(values)))}",
        "identity": "difference against its rounding bound",
        "exact": "exact arithmetic",
    }[claim.kind]
    if np.all(judged.samples.right == 0.0) and claim.kind == "inequality":
        what = f"median of left - right {number(float(np.median(values)))}"
    row.reason = f"{counts}; {what}; worst: {judged.samples.labels[worst]}: {judged.reason[worst]}"
    row.pvalue = 0.0  # two sides with a bound on their error leave nothing to chance
    if row.counts["refuted"]:
        row.verdict = "refuted"
    elif row.counts["inconclusive"] <= INCONCLUSIVE_SHARE * len(kept):
        row.verdict = "confirmed"
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
        # a left side that is lost in its uncertainty would catch no right side, however small
        closest = float(np.max(certain))
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


def mutant_of(claim: Statement, name: str, base: Samples, wrong: Samples) -> MutantRow:
    """Verdict on one wrong variant, counted where it is visible.

    A statement about all problems is refuted by one; an order, which may hold by chance before the asymptotic range, only if no problem confirms it.
    """
    judged = judge(claim, wrong)
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
