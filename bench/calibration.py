"""Calibrate the judge: the order fit on synthetic sequences of known law, and the campaign's verdicts on sequences made by the engine.

    python bench/calibration.py [--count 20000] [--seed 2026] [--cells 12] [--problems 9] [--out bench/results/calibration.json]

What counts as true, false and visible is defined in `stepbias.verify.fit_laws` and `stepbias.verify.fit_engine`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stepbias.verify.fit_engine import Judged, judge_cell, make_cells
from stepbias.verify.fit_input import Status
from stepbias.verify.fit_laws import KINDS, Outcome, draw, judge

STEPS = range(5, 15)
TARGETS = {
    "false_confirmations": 0.005,
    "false_refutations": 0.005,
    "inconclusive_clean": 0.05,
    "inconclusive": 0.25,
}


def calibrate(count: int, seed: int) -> dict[str, Any]:
    """Judge about `count` sequences and count the outcomes."""
    start = time.perf_counter()
    outcomes: list[Outcome] = []
    for steps in STEPS:
        outcomes += judge(draw(count // len(STEPS), steps, seed))
    seconds = time.perf_counter() - start
    rates = summary(outcomes)
    met = {name: rates[name] <= target for name, target in TARGETS.items()}
    return rates | {"seed": seed, "seconds": seconds, "targets": TARGETS, "targets_met": met}


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Counts and rates of a list of outcomes."""
    total = len(outcomes)
    clean = [o for o in outcomes if o.clean]
    settled = [o for o in outcomes if o.settled]
    starved = [o for o in outcomes if _starved(o)]
    seen = [o for o in outcomes if o.visible]
    wrong_yes = [o for o in outcomes if o.fit.verdict == "confirmed" and not o.true]
    wrong_no = [o for o in outcomes if o.fit.verdict == "refuted" and o.true]
    rule_broken = sum(o.fit.verdict != "inconclusive" for o in starved)
    kinds: dict[str, Counter[str]] = {}
    for o in outcomes:
        name = f"{o.kind}/{'true' if o.true else 'false'}{'' if o.visible else ' (invisibly)'}"
        kinds.setdefault(name, Counter())[o.fit.verdict] += 1
    return {
        "sequences": total,
        "false_confirmations": sum(o.visible for o in wrong_yes) / total,
        "false_refutations": sum(o.visible for o in wrong_no) / total,
        **_given_the_truth(
            seen, sum(o.visible for o in wrong_yes), sum(o.visible for o in wrong_no)
        ),
        "invisible_confirmations": sum(not o.visible for o in wrong_yes) / total,
        "invisible_refutations": sum(not o.visible for o in wrong_no) / total,
        "inconclusive": _undecided(outcomes),
        "inconclusive_by_rule": len(starved) / total,
        "decided_against_the_rule": rule_broken,
        "not_settled": 1.0 - len(settled) / total,
        "settled_sequences": len(settled),
        "inconclusive_settled": _undecided(settled),
        "clean_sequences": len(clean),
        "inconclusive_clean": _undecided(clean),
        "rates_by_kind": {k: _kind_rates([o for o in outcomes if o.kind == k]) for k in KINDS},
        "by_kind": {k: dict(v) for k, v in sorted(kinds.items())},
    }


def _kind_rates(outcomes: Sequence[Outcome]) -> dict[str, float]:
    total = max(len(outcomes), 1)
    seen = [o for o in outcomes if o.visible]
    wrong_yes = sum(o.fit.verdict == "confirmed" and not o.true for o in seen)
    wrong_no = sum(o.fit.verdict == "refuted" and o.true for o in seen)
    return {
        "sequences": len(outcomes),
        "false_confirmations": wrong_yes / total,
        "false_refutations": wrong_no / total,
        **_given_the_truth(seen, wrong_yes, wrong_no),
        "inconclusive": _undecided(outcomes),
        "inconclusive_by_rule": sum(_starved(o) for o in outcomes) / total,
        "not_settled": sum(not o.settled for o in outcomes) / total,
    }


def _given_the_truth(
    seen: Sequence[Outcome | Judged], wrong_yes: int, wrong_no: int
) -> dict[str, float]:
    """Rates among the sequences that could go wrong this way: a false confirmation takes a claim that is visibly false."""
    true = sum(o.true for o in seen)
    return {
        "false_confirmations_of_visibly_false": wrong_yes / max(len(seen) - true, 1),
        "false_refutations_of_visibly_true": wrong_no / max(true, 1),
    }


def _starved(outcome: Outcome) -> bool:
    """Inconclusive by rule: fewer than four usable points, or a span below 4."""
    usable = np.isin(outcome.fit.status, (Status.USED, Status.COARSE))
    if np.count_nonzero(usable) < 4:
        return True
    h = outcome.fit.h[usable]
    return bool(h.max() < 4.0 * h.min())


def _undecided(outcomes: Sequence[Outcome]) -> float:
    return sum(o.fit.verdict == "inconclusive" for o in outcomes) / max(len(outcomes), 1)


def calibrate_engine(seed: int, cells: int, problems: int) -> dict[str, Any]:
    """Judge sequences made by the engine: every stratum has ``cells`` cells of ``problems`` problems, each with four fields."""
    start = time.perf_counter()
    outcomes = [o for cell in make_cells(seed, cells, problems) for o in judge_cell(cell)]
    seconds = time.perf_counter() - start
    rates = engine_rates(outcomes)
    strata = sorted({(o.beta, o.rho) for o in outcomes})
    met = {
        name: rates[name] <= TARGETS[name] for name in ("false_confirmations", "false_refutations")
    }
    return rates | {
        "by_the_slope_alone": engine_rates(outcomes, by_slope=True),
        "by_stratum": {
            f"beta {beta:g}, rho {rho:g}": engine_rates(
                [o for o in outcomes if (o.beta, o.rho) == (beta, rho)]
            )
            for beta, rho in strata
        },
        "seed": seed,
        "seconds": seconds,
        "targets_met": met,
    }


def engine_rates(outcomes: Sequence[Judged], by_slope: bool = False) -> dict[str, Any]:
    """Counts and rates of sequences of the engine; what the slope cannot see is counted apart."""
    total = max(len(outcomes), 1)
    told = [(o, o.fit.verdict if by_slope else o.verdict) for o in outcomes]
    wrong_yes = [o for o, verdict in told if verdict == "confirmed" and not o.true]
    wrong_no = [o for o, verdict in told if verdict == "refuted" and o.true]
    undecided = [o for o, verdict in told if verdict == "inconclusive"]
    seen = [o for o in outcomes if o.visible]
    fields: dict[str, Counter[str]] = {}
    for o, verdict in told:
        name = o.field if o.true else "wrong field"
        fields.setdefault(f"{name}{'' if o.visible else ' (invisibly)'}", Counter())[verdict] += 1
    return {
        "sequences": len(outcomes),
        "false_confirmations": sum(o.visible for o in wrong_yes) / total,
        "false_refutations": sum(o.visible for o in wrong_no) / total,
        **_given_the_truth(
            seen, sum(o.visible for o in wrong_yes), sum(o.visible for o in wrong_no)
        ),
        "invisible_confirmations": sum(not o.visible for o in wrong_yes) / total,
        "invisible_refutations": sum(not o.visible for o in wrong_no) / total,
        "inconclusive": len(undecided) / total,
        "inconclusive_true": sum(o.true for o in undecided) / max(sum(o.true for o in outcomes), 1),
        "by_field": {k: dict(v) for k, v in sorted(fields.items())},
    }


def main() -> None:
    """Run, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--cells", type=int, default=12, help="cells of the engine per stratum")
    parser.add_argument("--problems", type=int, default=9, help="problems of a cell")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "calibration.json"
    )
    args = parser.parse_args()
    synthetic = calibrate(args.count, args.seed)
    engine = calibrate_engine(args.seed, args.cells, args.problems)
    parts = (synthetic, engine)
    undecided = sum(part["inconclusive"] * part["sequences"] for part in parts)
    overall = undecided / sum(part["sequences"] for part in parts)
    result = {
        "command": f"python bench/calibration.py --count {args.count} --seed {args.seed} "
        f"--cells {args.cells} --problems {args.problems}",
        "inconclusive_overall": overall,
        "target_met": overall <= TARGETS["inconclusive"],
        "synthetic": synthetic,
        "engine": engine,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
