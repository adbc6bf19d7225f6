"""Calibrate the order fit on synthetic sequences with a known truth.

    python bench/calibration.py [--count 20000] [--seed 1] [--out bench/results/calibration.json]

What counts as true, false and visible is defined in `stepbias.verify.fit_laws`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from stepbias.verify.fit_input import Status
from stepbias.verify.fit_laws import Outcome, draw, judge

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
    starved = [o for o in outcomes if np.count_nonzero(o.fit.status % Status.COARSE == 0) < 4]
    seen_false = sum(o.visible and not o.true for o in outcomes)
    seen_true = sum(o.visible and o.true for o in outcomes)
    wrong_yes = [o for o in outcomes if o.fit.verdict == "confirmed" and not o.true]
    wrong_no = [o for o in outcomes if o.fit.verdict == "refuted" and o.true]
    kinds: dict[str, Counter[str]] = {}
    for o in outcomes:
        name = f"{o.kind}/{'true' if o.true else 'false'}{'' if o.visible else ' (invisibly)'}"
        kinds.setdefault(name, Counter())[o.fit.verdict] += 1
    return {
        "sequences": total,
        "false_confirmations": sum(o.visible for o in wrong_yes) / total,
        "false_refutations": sum(o.visible for o in wrong_no) / total,
        "false_confirmations_of_visibly_false": sum(o.visible for o in wrong_yes) / seen_false,
        "false_refutations_of_visibly_true": sum(o.visible for o in wrong_no) / seen_true,
        "invisible_confirmations": sum(not o.visible for o in wrong_yes) / total,
        "invisible_refutations": sum(not o.visible for o in wrong_no) / total,
        "inconclusive": _undecided(outcomes),
        "fewer_than_4_usable_points": len(starved) / total,
        "settled_sequences": len(settled),
        "inconclusive_settled": _undecided(settled),
        "clean_sequences": len(clean),
        "inconclusive_clean": _undecided(clean),
        "by_kind": {k: dict(v) for k, v in sorted(kinds.items())},
    }


def _undecided(outcomes: list[Outcome]) -> float:
    return sum(o.fit.verdict == "inconclusive" for o in outcomes) / max(len(outcomes), 1)


def main() -> None:
    """Run, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "calibration.json"
    )
    args = parser.parse_args()
    result = calibrate(args.count, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
