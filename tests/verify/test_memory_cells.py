from __future__ import annotations

import pytest

from stepbias.theory.memory_claims import CLAIMS, NAMES
from stepbias.theory.optimizer import Optimizer
from stepbias.verify.cells import Cell
from stepbias.verify.problems import cells_of, draw


def cells(name: str, profile: str = "quick", seed: int = 0) -> list[Cell]:
    (claim,) = (c for c in CLAIMS if c.id == name)
    return cells_of(claim, profile, seed)


@pytest.mark.parametrize("algorithm", NAMES)
def test_a_cell_builds_its_optimizer(algorithm: str) -> None:
    for cell in cells(f"{algorithm}/mini-batch"):
        made = cell.optimizer()
        assert isinstance(made, Optimizer)
        for name in ("beta", "rho"):
            value = made.values.get(name)
            assert value is None or value == getattr(cell, name)
        assert cell.batches > 1


def test_both_forms_take_turns() -> None:
    for algorithm, forms in (
        ("lion", {"lion", "lion-tanh"}),
        ("signum", {"signum", "signum-tanh"}),
        ("nadam", {"nadam", "nadam-growing"}),
    ):
        assert {c.algorithm for c in cells(f"{algorithm}/full-batch")} == forms
        limit = cells(f"{algorithm}/limit-full-batch")
        # their claims name one form
        assert {c.algorithm for c in limit} == {algorithm}


def test_a_momentum_that_is_not_normalised_gets_a_shorter_horizon() -> None:
    for cell in cells("heavy-ball/full-batch"):
        assert cell.horizon == pytest.approx(0.5 * (1.0 - cell.beta))
        assert (cell.rho, cell.epsilon) == (0.0, 0.0)


def test_limits_are_measured_on_schedules_that_repeat() -> None:
    for cell in cells("adam-inside/limit-mini-batch"):
        assert cell.schedule == "cyclic"
        assert all(n % cell.batches == 0 for n in cell.steps) or not cell.pooled


def test_the_defaults_are_in_every_table() -> None:
    for claim in CLAIMS:
        unpooled = [c for c in cells_of(claim, "quick", 0) if not c.pooled]
        assert len(unpooled) == 1
        if claim.algorithm in ("adam", "adamw", "nadam"):
            (cell,) = unpooled
            assert (cell.beta, cell.rho, cell.epsilon) == (0.9, 0.999, 1e-8)


@pytest.mark.parametrize("algorithm", NAMES)
def test_the_standard_profile_has_two_hundred_losses_on_each_kind_of_batches(
    algorithm: str,
) -> None:
    for on in ("full-batch", "mini-batch"):
        pooled = [c for c in cells(f"{algorithm}/{on}", "standard") if c.pooled]
        assert sum(c.count for c in pooled) >= 200


def test_draws_are_admissible() -> None:
    for name in ("signum/mini-batch", "nesterov/full-batch"):
        cell = cells(name)[0]
        assert len(draw(cell).numbers) == cell.count
