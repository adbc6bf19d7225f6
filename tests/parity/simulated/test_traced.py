"""Optimizers given by their rule in the simulator: every shipped one, and rules of a user with grouped sums and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels.gpu import device, layout
from stepbias.kernels.gpu.dense import DenseState
from stepbias.kernels.gpu.grouped import GroupedState
from stepbias.kernels.gpu.traced import traced_family
from stepbias.theory import memory_claims
from stepbias.theory.variants import LEADING, STATEMENT, Variant
from stepbias.verify.problems import cells_of
from stepbias.verify.runner import Unit
from tests.memory_rules import OPTIMIZERS
from tests.parity import traced
from tests.parity.traced import traced_case


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_field(name: str, batches: int) -> None:
    traced.field(traced_case(OPTIMIZERS[name](), batches), 5)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_iterates(name: str) -> None:
    traced.iterate(traced_case(OPTIMIZERS[name](), 3))


@pytest.mark.parametrize("name", ["heavy ball", "NAdam", "Lion tanh", "AdaBelief", "coupled decay"])
def test_first_steps_and_flow(name: str) -> None:
    case = traced_case(OPTIMIZERS[name](), 3)
    for n in (0, 1):
        traced.field(case, n)
    traced.flow(case, 2)


FACTORS = Variant(bias=1.25, memory=0.5, discretization=2.0)


@pytest.mark.parametrize(
    ("name", "variant", "local"),
    [
        ("gradient descent", STATEMENT, False),
        ("Nesterov", STATEMENT, True),
        ("AdamW inside", Variant(short_memory=True), False),
        ("Lion soft", FACTORS, False),
        ("AdaBelief", STATEMENT, False),
        ("AdaBelief", Variant(short_memory=True), True),
        ("coupled decay", LEADING, False),
    ],
)
def test_every_result_of_a_lockstep_run(name: str, variant: Variant, local: bool) -> None:
    traced.ladder(traced_case(OPTIMIZERS[name](), 3), (1, 3), variant, local)


@pytest.mark.parametrize("name", ["Signum soft", "AdaBelief"])
def test_clock(name: str) -> None:
    traced.clock(traced_case(OPTIMIZERS[name](), 3))


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("n", [9, 14])
def test_steps_that_have_forgotten_the_first_ones(n: int, batches: int) -> None:
    # the window is 10 steps, and on the full batch the sums have settled at step 20
    traced.field(traced_case(sb.HeavyBall(0.01), batches, steps=16), n)


def test_both_kinds_are_covered() -> None:
    kinds = {name: traced_family(make().rule).state for name, make in OPTIMIZERS.items()}
    assert kinds["AdaBelief"] is DenseState
    assert kinds["AdamW inside"] is GroupedState


def test_every_problem_has_its_own_tables() -> None:
    beta, weight_decay = np.array([0.7, 0.3, 0.5]), np.array([0.1, 0.4, 0.0])
    shared = traced_case(sb.HeavyBall(0.5), 3)
    order = np.stack([np.roll(shared.schedule, k) for k in range(3)])
    h = np.array([0.05, 0.03, 0.04])
    given = (shared.loss, shared.theta0, h, 4)
    together = sb.AdamW(beta, 0.9, 0.0, 1e-2, weight_decay)
    found = sb.global_error(together, *given, order, device="cuda")
    for k in range(3):
        alone = sb.AdamW(beta[k], 0.9, 0.0, 1e-2, weight_decay[k])
        loss, start = shared.loss.select(k), shared.theta0[k]
        expected = sb.global_error(alone, loss, start, h[k], 4, order[k], device="cuda")
        assert found[k] == expected
        other = sb.global_error(alone, loss, start, h[k], 4, order[k])
        # four steps of rounding, amplified by less than 1e2 (1 / sqrt(epsilon), squared)
        np.testing.assert_allclose(found[k], other, atol=1e-13)


@pytest.mark.parametrize("name", ["AdamW inside", "AdaBelief"])
def test_blocks_give_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = traced_case(OPTIMIZERS[name](), 3)
    expected = sb.flow(*case.arguments, device="cuda")
    begun, begin = [], layout._block

    def counted(
        ensemble: object, given: object, launch: object, lanes: slice, *rest: object
    ) -> object:
        begun.append(lanes.stop - lanes.start)
        return begin(ensemble, given, launch, lanes, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(layout, "_block", counted)
    monkeypatch.setattr(device, "SIMULATED_MEMORY", 1)
    np.testing.assert_array_equal(sb.flow(*case.arguments, device="cuda"), expected)
    assert begun == [1, 1, 1]


def test_the_limit_stays_on_the_cpu() -> None:
    case = traced_case(sb.HeavyBall(0.5), 1)
    with pytest.raises(ValueError, match=r"variant = limit is measured on device 'cpu' only"):
        traced.ladder(case, (1, 3), Variant(limit=True), False)


def test_units_of_the_limit_run_on_the_processor() -> None:
    (claim,) = (c for c in memory_claims.CLAIMS if c.id == "heavy-ball/limit-full-batch")
    cell = replace(cells_of(claim, "quick", 0)[0], count=1, steps=(4, 8))
    unit = Unit(claim, cell, claim.variant)
    found, expected = unit.run("cuda"), unit.run("cpu")
    assert np.array_equal(found["error"], expected["error"])
