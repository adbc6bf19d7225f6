"""Shared by the benchmark suites: the cases, their references, and a summary with ratios and differences."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# The suites are run by path (importlib import mode), where the repository root is not importable by itself.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import cases, peers_numpy

REFERENCE_PROBLEMS = 8  # of the ensemble, in extended precision


def forms(attribute: str, modules: tuple[str, ...]) -> list[Any]:
    """One pytest parameter per form; a module that cannot be imported becomes one skipped parameter."""
    found = []
    for name in modules:
        try:
            table = getattr(import_module(f"bench.{name}"), attribute, {})
        except ImportError as error:
            reason = f"bench.{name}: {error}"
            found.append(pytest.param(None, id=name, marks=pytest.mark.skip(reason=reason)))
            continue
        found += [pytest.param(build, id=title) for title, build in table.items()]
    return found


@pytest.fixture(scope="session")
def sums_case() -> cases.SumsCase:
    """The memory sums that are timed."""
    return cases.sums_case()


@pytest.fixture(scope="session")
def sums_reference(sums_case: cases.SumsCase) -> peers_numpy.Sums:
    """Their values in extended precision."""
    return peers_numpy.sums_reference(sums_case)


@pytest.fixture(scope="session")
def ensemble_case() -> cases.EnsembleCase:
    """The ensemble that is timed."""
    return cases.ensemble_case()


@pytest.fixture(scope="session")
def ensemble_reference(ensemble_case: cases.EnsembleCase) -> np.ndarray:
    """Errors of the first problems in extended precision."""
    return peers_numpy.ensemble_reference(ensemble_case, REFERENCE_PROBLEMS)


@pytest.fixture(scope="session")
def ensemble_peer(ensemble_case: cases.EnsembleCase) -> np.ndarray:
    """Errors of all problems by the NumPy peer, which every other form is compared with."""
    return peers_numpy.ensemble_matrices(ensemble_case)()


@pytest.fixture
def measure(benchmark: Any) -> Callable[..., Any]:
    """Time a form after a warm-up and return its result; what it says about itself goes into the record."""

    def run(form: Callable[[], Any], rounds: int, work: int) -> Any:
        result = benchmark.pedantic(form, rounds=rounds, warmup_rounds=2)
        benchmark.extra_info["work"] = work
        return result

    return run


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Per computation: minimum time, time per (step, component), ratio to stepbias, difference from the reference."""
    session = getattr(config, "_benchmarksession", None)
    groups: dict[str, list[Any]] = {}
    for bench in getattr(session, "benchmarks", []):
        if bench.stats is not None and bench.stats.rounds and "form" in bench.extra_info:
            groups.setdefault(bench.group, []).append(bench)
    for group, benches in groups.items():
        ours = next((b.stats.min for b in benches if b.extra_info["form"] == "stepbias"), None)
        terminalreporter.section(group)
        for bench in sorted(benches, key=lambda b: b.stats.min):
            extra, least = bench.extra_info, bench.stats.min
            ratio = f"{least / ours:6.2f} x stepbias" if ours else ""
            terminalreporter.write_line(
                f"{extra['form']:58s} {1e3 * least:9.2f} ms {1e9 * least / extra['work']:6.2f} ns"
                f"  {ratio}  difference {extra['difference']:.1e}"
            )
