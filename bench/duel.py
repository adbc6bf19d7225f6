"""stepbias and the fastest peers in turn, call by call: minima that share the same moments of a busy machine.

python bench/duel.py [--seconds 60]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import cases, ours, peers_jax, peers_jax_ensemble, peers_jax_vmap, peers_numpy

FORMS: dict[str, tuple[Callable[[], Any], tuple[dict[str, Any], ...]]] = {
    "memory sums": (
        cases.sums_case,
        (ours.SUMS_FORMS, peers_numpy.SUMS_FORMS, peers_jax.SUMS_FORMS),
    ),
    "ensemble": (
        cases.ensemble_case,
        (
            ours.ENSEMBLE_FORMS,
            peers_numpy.ENSEMBLE_FORMS,
            peers_jax_vmap.ENSEMBLE_FORMS,
            peers_jax_ensemble.ENSEMBLE_FORMS,
        ),
    ),
}
NAMED = (
    "jax jit vmap",
    "jax loop",
    "numpy",
)  # the fastest of these too: what the performance goals are stated against
KEPT = 3  # fastest peers of a short first round


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def duel(group: str, seconds: float) -> dict[str, dict[str, float]]:
    """Minimum per form and its ratio to stepbias; the fastest peers are chosen by three calls each."""
    make_case, tables = FORMS[group]
    case = make_case()
    runs = {name: build(case) for table in tables for name, build in table.items()}
    for run in runs.values():
        run()
    least = {name: min(_seconds(run) for _ in range(3)) for name, run in runs.items()}
    ranked = sorted((n for n in runs if not n.startswith("stepbias")), key=lambda n: least[n])
    named = [next((n for n in ranked if n.startswith(prefix)), None) for prefix in NAMED]
    peers = ranked[:KEPT] + [n for n in named if n is not None and n not in ranked[:KEPT]]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name in ("stepbias", *peers):
            least[name] = min(least[name], _seconds(runs[name]))
    return {
        name: {"seconds": least[name], "ratio_to_stepbias": least[name] / least["stepbias"]}
        for name in ("stepbias", *peers)
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="per computation")
    wanted = parser.parse_args().seconds
    print(json.dumps({group: duel(group, wanted) for group in FORMS}, indent=2))
