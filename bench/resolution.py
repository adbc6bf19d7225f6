"""Which relative error of each named term is caught when it is really there: the wrong variants are run, not predicted.

    python bench/resolution.py [--seed 1] [--out bench/results/resolution.json]

For every loss family, the full batch and cyclic schedules with m = 2 and 3, Adam with epsilon inside the root at beta = 0.7, rho = 0.8, epsilon = 1e-2 and
1e-4 in turn: random problems by the rules of a campaign. The statement and, for every term, both signs of every delta are swept and judged by the slope and
by the coefficient. A term's resolution is the smallest of the deltas tried at which both signs are refuted on at least 95 % of the problems on which the
term is visible (switching it off moves the end point by more than ten times the known floor). Also recorded: the same by linear response, the verdicts
on the statement, and the coverage of the coefficient's bound on synthetic expansions.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stepbias.kernels.loss import Loss
from stepbias.theory.variants import LEADING, STATEMENT, TERMS, Variant
from stepbias.verify import extrapolation_laws as laws
from stepbias.verify.cells import Cell, cell_key
from stepbias.verify.coefficient import judge_coefficient
from stepbias.verify.extrapolation import limit
from stepbias.verify.fit import MEMORY_LIMIT, fit_orders
from stepbias.verify.problems import draw
from stepbias.verify.resolution import INSTRUMENTS, by_instrument, pooled_table, responses
from stepbias.verify.sweep import Sweep, sweep

BETA, RHO, HORIZON = 0.7, 0.8, 0.5
EPSILONS = (1e-2, 1e-4)
# Multiples of 6: every cycle is complete. The full batch has the longest relative memory of its denominators, and is cheap: one step count more.
STEPS = tuple(96 * 2**k for k in range(6))
FINEST = 6144
DELTAS = (1e-4, 1e-3)
# M and R carry the leading field: an error in them shows much earlier.
SMALLER = {"M": (1e-5,), "R": (1e-5,)}
SHARE = 0.95
SYNTHETIC = 20_000

Verdicts = dict[str, list[str]]


def cells(seed: int, problems: int) -> list[Cell]:
    """One cell for each family and number of batches; epsilon alternates."""
    settings = [(f, m) for f in Loss.families() for m in (1, 2, 3)]
    return [
        Cell(
            i, "random", family, 1 + i % 4, m, "cyclic", BETA, RHO, EPSILONS[i % 2], "inside", "adam", HORIZON, problems,
            cell_key(seed, "resolution", i), (*STEPS, FINEST) if m == 1 else STEPS, True,
        )
        for i, (family, m) in enumerate(settings)
    ]  # fmt: skip


def judge(found: Sweep, scale: Any) -> Verdicts:
    """Verdicts of both instruments; either refutes, both must confirm."""
    fits = fit_orders(found.h, found.error, 2.0, floor=found.floor, memory=found.memory)
    coefficient = judge_coefficient(
        found.h, found.difference, found.floor, scale, memory=found.memory
    ).verdict
    slope = [fit.verdict for fit in fits]
    either = [
        "refuted" if "refuted" in pair else "-" for pair in zip(slope, coefficient, strict=True)
    ]
    return {"slope": slope, "coefficient": list(coefficient), "either": either}


def measure(cell: Cell) -> dict[str, Any]:
    """Verdicts on the statement and on every wrong variant of one cell, and the resolution by linear response."""
    drawn = draw(cell)
    problem = (cell.optimizer(), drawn.loss, drawn.theta0, HORIZON)
    schedule = cell.schedule_object()
    base = sweep(*problem, cell.steps, schedule, STATEMENT)
    alone = sweep(*problem, cell.steps[-1:], schedule, LEADING)
    scale = np.linalg.norm(alone.difference[:, 0], axis=1) / alone.h[:, 0]
    response = responses(*problem, schedule)
    wrong: dict[str, dict[float, list[Verdicts]]] = {}
    for term in TERMS:
        for delta in SMALLER.get(term, DELTAS):
            runs = []
            for sign in (1.0, -1.0):
                changed: dict[str, Any] = {term: 1.0 + sign * delta}
                variant: Variant = replace(STATEMENT, **changed)
                runs.append(judge(sweep(*problem, cell.steps, schedule, variant), scale))
            wrong.setdefault(term, {})[delta] = runs
    return {
        "statement": judge(base, scale),
        "wrong": wrong,
        "visible": {term: np.any(response[term] != 0.0, axis=1) for term in TERMS},
        "predicted": by_instrument(
            response, base.h, base.difference, base.floor, base.memory, HORIZON, 2.0, True
        ),
    }


def shares(found: list[dict[str, Any]], term: str, delta: float) -> dict[str, float]:
    """Share of the visible problems on which both signs are refuted, by instrument; and on which some sign is confirmed by the coefficient."""
    counts: Counter[str] = Counter()
    for cell in found:
        runs = cell["wrong"][term][delta]
        for b in np.flatnonzero(cell["visible"][term]):
            counts["problems"] += 1
            for name in INSTRUMENTS:
                counts[name] += all(run[name][b] == "refuted" for run in runs)
            counts["confirmed"] += any(run["coefficient"][b] == "confirmed" for run in runs)
    total = max(counts["problems"], 1)
    names = (*INSTRUMENTS, "confirmed")
    return {"problems": float(counts["problems"]), **{n: counts[n] / total for n in names}}


def smallest(table: dict[str, dict[str, float]], name: str) -> float | None:
    """The smallest delta tried from which on the instrument refutes often enough."""
    caught = None
    for delta in sorted(table, key=float, reverse=True):
        if table[delta][name] < SHARE:
            break
        caught = float(delta)
    return caught


def coverage(count: int, seed: int) -> dict[str, float]:
    """Share of synthetic expansions whose limit lies within the bound in every component."""
    drawn = laws.draw(count, seed)
    found = limit(
        drawn.h, drawn.difference / drawn.h[:, :, None], drawn.floor / drawn.h, MEMORY_LIMIT / drawn.memory
    )  # fmt: skip
    judged = np.all(np.isfinite(found.bound), axis=1)
    covered = np.all(np.abs(found.value - drawn.limit) <= found.bound, axis=1)
    result = {"expansions": float(judged.sum()), "covered": float(covered[judged].mean())}
    for kind, name in enumerate(laws.KINDS):
        result[name] = float(covered[judged & (drawn.kind == kind)].mean())
    return result


def run(seed: int, problems: int) -> dict[str, Any]:
    """Everything that is recorded."""
    start, clock = time.perf_counter(), time.process_time()
    found = []
    for cell in cells(seed, problems):
        found.append(measure(cell))
        print(f"{cell.family} m = {cell.batches}: {time.perf_counter() - start:.0f} s", flush=True)
    run_table = {
        term: {f"{d:g}": shares(found, term, d) for d in SMALLER.get(term, DELTAS)}
        for term in TERMS
    }
    statement = {
        name: dict(Counter(v for cell in found for v in cell["statement"][name]))
        for name in ("slope", "coefficient")
    }
    return {
        "settings": {
            "beta": BETA, "rho": RHO, "epsilon_inside": EPSILONS, "horizon": HORIZON, "steps": STEPS, "full_batch_finest": FINEST,
            "families": list(Loss.families()), "batches": [1, 2, 3], "schedule": "cyclic", "problems_per_cell": problems, "seed": seed,
            "share": SHARE,
        },
        "statement": statement,
        "run": run_table,
        "resolution": {
            name: {term: smallest(run_table[term], name) for term in TERMS} for name in INSTRUMENTS
        },
        "predicted_by_linear_response": pooled_table([cell["predicted"] for cell in found]),
        "coverage": coverage(SYNTHETIC, seed),
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - clock,
    }  # fmt: skip


def finite(value: Any) -> Any:
    """JSON knows no infinity: what is not caught is null."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value


def main() -> None:
    """Run, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--problems", type=int, default=6)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "resolution.json"
    )
    args = parser.parse_args()
    result = finite(run(args.seed, args.problems))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
