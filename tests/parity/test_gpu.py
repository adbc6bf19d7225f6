"""The comparisons of ``simulated/`` on a GPU, with the same bounds: they cover a product and a sum being fused anywhere, as the GPU's compiler does everywhere.

The elementary functions are the same polynomials; fused, their results move by up to their error, which is below 4 units on both sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels.gpu import device, layout
from stepbias.theory.variants import STATEMENT, Variant
from tests.memory_rules import OPTIMIZERS
from tests.parity import cases, comparisons, streams, traced

_REASON = (
    "Numba's simulator is on: see tests/parity/simulated"
    if device.simulated()
    else device.why_not()
)
if _REASON:
    pytest.skip(f"no GPU: {_REASON}", allow_module_level=True)
# Few problems are enough for parity; pytest resets the package's own filter of this warning (stepbias/kernels/gpu/device.py).
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:.*Grid size")]

# More than one block of threads, the last one part-filled.
PROBLEMS = 2 * 64 + 5


def _many(optimizer: str) -> cases.Case:
    return cases.repeated(cases.rule_case(optimizer, "explicit per problem"), PROBLEMS)


@pytest.mark.parametrize("name", cases.LOSSES)
def test_losses(name: str) -> None:
    case = cases.repeated(cases.loss_case(name), PROBLEMS)
    comparisons.terms(case, 3)
    comparisons.field(case, 3)
    comparisons.iterate(case)
    comparisons.flow(case, 2)


@pytest.mark.parametrize("optimizer", cases.OPTIMIZERS)
@pytest.mark.parametrize("schedule", cases.SCHEDULES)
def test_rules(optimizer: str, schedule: str) -> None:
    case = cases.repeated(cases.rule_case(optimizer, schedule), PROBLEMS)
    for n in (0, 7):
        comparisons.terms(case, n)
        comparisons.field(case, n)
    comparisons.iterate(case)
    comparisons.flow(case, 1)
    comparisons.global_error(case)


@pytest.mark.parametrize("optimizer", cases.OPTIMIZERS)
def test_full_batch(optimizer: str) -> None:
    case = cases.repeated(cases.full_batch_case(optimizer), PROBLEMS)
    comparisons.terms(case, 3)
    comparisons.flow(case, 2)


def test_long_memories() -> None:
    comparisons.terms(cases.repeated(cases.short_window_case(), PROBLEMS), 14)
    comparisons.terms(cases.repeated(cases.settled_case(), PROBLEMS), 25)


def test_drift() -> None:
    case = cases.repeated(cases.rule_case("adam inside", "iid"), PROBLEMS)
    comparisons.iterate_drift(case, cases.STEPS)


@pytest.mark.parametrize("kind", ["global", "local"])
@pytest.mark.parametrize(
    "variant", [STATEMENT, Variant(swap_eps=True, short_memory=True)], ids=lambda v: str(v.name)
)
def test_sweeps(variant: Variant, kind: str) -> None:
    case = _many("adam, both, uncorrected")
    comparisons.ladder(case, variant, local=kind == "local")
    comparisons.sweeps(case, variant, kind)


def test_numbers_far_away() -> None:
    comparisons.small_steps()
    comparisons.sine_limit()


def test_a_problem_is_the_same_in_every_lane() -> None:
    case = _many("per problem")
    found = sb.flow(*case.trajectory, device="cuda")
    np.testing.assert_array_equal(found, found[np.arange(PROBLEMS) % 5])


def test_blocks_of_lanes_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    case = _many("per problem")
    expected = sb.flow(*case.trajectory, device="cuda")
    launches: list[int] = []
    begin = layout._block

    def begun(ensemble: Any, given: Any, launch: Any, lanes: slice, *rest: Any) -> Any:
        launches.append(lanes.stop - lanes.start)
        if len(launches) == 1:
            raise MemoryError("refused")
        return begin(ensemble, given, launch, lanes, *rest)

    monkeypatch.setattr(layout, "_block", begun)
    np.testing.assert_array_equal(sb.flow(*case.trajectory, device="cuda"), expected)
    assert launches == [PROBLEMS, (PROBLEMS + 1) // 2, PROBLEMS // 2]


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rules_of_any_optimizer(name: str, batches: int) -> None:
    case = traced.traced_case(OPTIMIZERS[name](), batches, problems=67)
    for n in (0, 5):
        traced.field(case, n)
    traced.iterate(case)
    traced.flow(case, 2)
    traced.ladder(case, (1, 3), STATEMENT, local=False)
    traced.clock(case)


def test_random_words() -> None:
    streams.known_answers()
    streams.words()


@pytest.mark.parametrize("seed", streams.SEEDS)
def test_random_numbers(seed: int) -> None:
    streams.uniform(seed)
    # Logarithm and root of the radius, 6 units; cosine 4, and its argument below 2 pi that may be rounded or not, 7.
    streams.normal(seed, units=17)


@pytest.mark.parametrize("name", streams.ELEMENTARY)
def test_elementary_functions(name: str) -> None:
    streams.elementary(name, units=8)
