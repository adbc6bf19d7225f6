"""Blocks of lanes: cut to fit into memory, halved when the memory is refused, and one problem that does not disturb another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import stepbias as sb
from stepbias.kernels.gpu import device, layout, run
from tests.parity.cases import LOSSES, Case, loss_case, rule_case

Floats = NDArray[np.float64]
PROBLEMS = 5


COUNTS = (1, 2)


def _ladder(case: Case) -> list[Floats]:
    ensembles = [case.ensemble(n, 0.05 / n) for n in COUNTS]
    found = run.measure_ladder(ensembles, COUNTS, methods=[None, None])
    return [np.column_stack([m.error, m.solver, m.drift, m.difference]) for m in found]


def _at(case: Case, *rest: Any) -> tuple[Any, ...]:
    """Arguments at step 3 of the start."""
    return case.optimizer, case.loss, case.theta0, 3, *rest, case.schedule


RUNS: dict[str, tuple[int, Callable[[Case], Any]]] = {  # lanes, and what is computed
    # 20 steps: what is stored is a good part of what a lane takes
    "iterate": (
        PROBLEMS,
        lambda case: sb.iterate(*replace(case, steps=20).trajectory, device="cuda"),
    ),
    "flow": (PROBLEMS, lambda case: sb.flow(*case.trajectory, device="cuda")),
    "vector_field": (
        PROBLEMS,
        lambda case: sb.vector_field(*_at(case, case.h), device="cuda"),
    ),
    "memory_terms": (
        PROBLEMS,
        lambda case: sb.memory_terms(*_at(case), device="cuda"),
    ),
    "ladder": (PROBLEMS * len(COUNTS), _ladder),
    "drift": (
        PROBLEMS,
        lambda case: run.iterate_drift(case.ensemble(case.steps, case.h), case.steps),
    ),
}


@pytest.fixture(params=RUNS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Log:
    """Lanes of every block that was begun, and the bytes that were asked for before the first and in each; optionally, a request that is refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refused: int | None = None) -> None:
        self.lanes: list[int] = []
        self.sizes: list[int] = [0]
        self.requests = 0
        self._refused = refused
        begin, upload = layout._block, device.upload

        def begun(ensemble: Any, given: Any, launch: Any, lanes: slice, *rest: Any) -> Any:
            self.lanes.append(lanes.stop - lanes.start)
            self.sizes.append(0)
            return begin(ensemble, given, launch, lanes, *rest)

        def uploaded(array: Any) -> Any:
            self._count(np.asarray(array).nbytes)
            return upload(array)

        def zeroed(shape: tuple[int, ...]) -> Any:
            self._count(8 * int(np.prod(shape)))
            return upload(np.zeros(shape))

        monkeypatch.setattr(layout, "_block", begun)
        monkeypatch.setattr(device, "upload", uploaded)
        monkeypatch.setattr(device, "zeros", zeroed)

    def _count(self, size: int) -> None:
        self.sizes[-1] += size
        if self.lanes:
            self.requests += 1
            if self.requests == self._refused:
                raise MemoryError("no room")


@cache
def _whole(name: str) -> tuple[Any, Log, Case]:
    """A run in one block, and what it asked for."""
    case = rule_case("per problem", "explicit per problem", PROBLEMS)
    with pytest.MonkeyPatch.context() as patch:
        log = Log(patch)
        found = RUNS[name][1](case)
    assert log.lanes == [RUNS[name][0]]
    return found, log, case


@pytest.mark.parametrize("most", [1, 3])
def test_small_memory_cuts_a_run_into_blocks(
    name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes, compute = RUNS[name]
    expected, log, case = _whole(name)
    # Room for a few lanes and a half, beside what all lanes share.
    shared, each = log.sizes[0], log.sizes[1] / lanes
    monkeypatch.setattr(device, "SIMULATED_MEMORY", int(shared + (most + 0.5) * each))
    log = Log(monkeypatch)
    found = compute(case)
    assert log.lanes == [min(most, lanes - k) for k in range(0, lanes, most)]
    assert all(shared + size <= device.SIMULATED_MEMORY for size in log.sizes[1:])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
def test_refused_memory_halves_a_block(
    name: str, where: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes, compute = RUNS[name]
    expected, log, case = _whole(name)
    log = Log(monkeypatch, refused=1 + int(where * (log.requests - 1)))
    found = compute(case)
    half = -(-lanes // 2)
    assert log.lanes == [lanes, half, lanes - half]
    np.testing.assert_array_equal(found, expected)


def test_blocks_that_are_done_stay_done(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lanes, compute = RUNS[name]
    expected, log, case = _whole(name)
    shared, each, requests = log.sizes[0], log.sizes[1] / lanes, log.requests
    monkeypatch.setattr(device, "SIMULATED_MEMORY", int(shared + 3.5 * each))
    log = Log(monkeypatch, refused=requests + 1)  # the first of the second block
    found = compute(case)
    assert log.lanes[:3] == [3, min(3, lanes - 3), 2]
    assert sum(log.lanes) - log.lanes[1] == lanes
    np.testing.assert_array_equal(found, expected)


def test_one_problem_that_does_not_fit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lanes, compute = RUNS[name]
    case = rule_case("per problem", "explicit per problem", PROBLEMS)
    begin, tried = layout._block, []

    def refused(ensemble: Any, given: Any, launch: Any, chosen: slice, *rest: Any) -> Any:
        tried.append(chosen.stop - chosen.start)
        begin(ensemble, given, launch, chosen, *rest)
        raise MemoryError("no room")

    monkeypatch.setattr(layout, "_block", refused)
    message = r"^one problem needs more than \d+\.\d MiB on the device: no room$"
    with pytest.raises(MemoryError, match=message):
        compute(case)
    assert tried[0] == lanes
    assert tried[-1] == 1
    assert all(b == -(-a // 2) for a, b in pairwise(tried))


# one lane beside another ---------------------------------------------------------------------------

DIVERGING = [
    f for f in LOSSES if f.endswith(" 3") or f.startswith(("given", "symbolic", "data", "sinusoid"))
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the simulator tells of every overflow
@pytest.mark.parametrize("name", DIVERGING)
def test_a_problem_that_overflows_leaves_the_others_alone(name: str) -> None:
    case = loss_case(name)
    far = replace(case, h=np.where(np.arange(3) == 1, 1e308, case.h))
    healthy = np.array([0, 2])
    for compute in (sb.iterate, sb.flow, sb.global_error):
        found, expected = (np.asarray(compute(*c.trajectory, device="cuda")) for c in (far, case))
        np.testing.assert_array_equal(found[healthy], expected[healthy])
        for gone in (found[1], np.asarray(compute(*far.trajectory))[1]):
            # not finite, or as far as one step of the convex losses goes, whose gradients have a limit
            assert not (np.abs(gone) < 1e300).all()
