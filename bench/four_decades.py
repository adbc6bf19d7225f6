"""The second order over four decades of h: one line a random loss, full batch.

    python bench/four_decades.py [--profile standard] [--seed 0] [--out bench/results/four_decades.md]

Measures the claim full-batch/four-decades and writes a table: the order with its interval, the decades of h that this fit used, the slope of one straight line
through all points, the errors at both ends and what is known to be wrong with the last one (solver and rounding).
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stepbias.verify.experiments import four_decades
from stepbias.verify.fit import OrderFit, fit_orders
from stepbias.verify.samples import Samples, Setting

LOW, HIGH = 1.97, 2.03
_HEAD = "| loss | order | interval | decades used | line through all | finest h | error, coarsest | error, finest | its floor |"


def fits_of(samples: Samples) -> list[OrderFit]:
    """One fit a line, without the points that were not measured."""
    found = []
    for k in range(len(samples.numbers)):
        there = np.isfinite(samples.x[k])
        x, error, floor = (a[k, there] for a in (samples.x, samples.error, samples.floor))
        memory = float(samples.memory[k])
        found.append(fit_orders(x, error[None], 2.0, True, floor[None], memory=memory)[0])
    return found


def _span(h: np.ndarray) -> float:
    return float(np.log10(h.max() / h.min())) if len(h) else 0.0


def rows(samples: Samples, fits: list[OrderFit]) -> Iterator[str]:
    """The table, by setting."""
    for setting in dict.fromkeys(samples.stratum):
        members = [k for k in range(len(fits)) if samples.stratum[k] == setting]
        judged = [fits[k] for k in members if samples.pooled[k]]
        yield f"\n## {setting}\n"
        if judged:
            inside = sum(f.interval[0] >= LOW and f.interval[1] <= HIGH for f in judged)
            ends = min(f.interval[0] for f in judged), max(f.interval[1] for f in judged)
            decades = min(_span(f.h) for f in judged)
            yield f"{inside} of {len(judged)} intervals inside [{LOW}, {HIGH}], all inside [{ends[0]:.4f}, {ends[1]:.4f}]; h over {decades:.2f} decades.\n"
        else:
            yield "Reported, not judged: the steps are neither small against the memory nor against the root of epsilon.\n"
        yield _HEAD
        yield "|" + "---|" * (_HEAD.count("|") - 1)
        for k in members:
            f = fits[k]
            line = np.polyfit(np.log(f.h), np.log(np.abs(f.error)), 1)[0]
            name = str(samples.labels[k]).removeprefix(f"{setting} ")
            cells = (
                name, f"{f.order:.4f}", f"[{f.interval[0]:.4f}, {f.interval[1]:.4f}]", f"{_span(f.h[f.used]):.2f}",
                f"{line:.3f}", f"{f.h.min():.1e}", f"{f.error[0]:.1e}", f"{f.error[-1]:.1e}", f"{f.floor[-1]:.0e}",
            )  # fmt: skip
            yield "| " + " | ".join(cells) + " |"


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--profile", default="standard", choices=("quick", "standard", "thorough"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "four_decades.md"
    )
    args = parser.parse_args()
    start, clock = time.perf_counter(), time.process_time()
    samples = four_decades.line("", Setting(args.profile, args.seed))
    took = f"{time.perf_counter() - start:.0f} s, {time.process_time() - clock:.0f} s of processor time"
    text = [
        "# Error of the theorem's flow against h over four decades",
        "",
        f"`python bench/four_decades.py --profile {args.profile} --seed {args.seed}`: {len(samples.numbers)} losses, {took}, {platform.machine()}.",
        "The order and its interval are those of `stepbias.fit_order` for h to 0, which leaves out coarse steps that are not asymptotic;",
        "the line goes through all points.",
        *rows(samples, fits_of(samples)),
        "",
    ]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text("\n".join(text))
    print("\n".join(text))


if __name__ == "__main__":
    main()
