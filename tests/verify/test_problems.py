"""The law of the problems: balanced, seeded, and with the excluded draws counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels.blocks import prepare
from stepbias.kernels.survey import survey
from stepbias.theory.adam_claims import CLAIMS
from stepbias.theory.claim import Claim
from stepbias.verify import problems
from stepbias.verify.cells import PROFILES, SCHEDULES, Cell, cell_key
from stepbias.verify.integrity import CURVED
from stepbias.verify.problems import (
    SMALLEST_DISTANCE,
    SMALLEST_ROOT,
    cells_of,
    draw,
    law,
    losses_of,
    starts,
    starts_of,
)
from stepbias.verify.registry import find_trajectory_claim
from tests.verify.campaign import a_cell

RANDOM = [c for c in CLAIMS if c.problems == "random" and not c.exact]
FACTORS = ("family", "dim", "batches", "schedule", "beta", "rho", "epsilon")


def name(claim: Claim) -> str:
    return claim.id


def pooled_cells(claim: Claim, profile: str, seed: int = 0) -> list[Cell]:
    return [cell for cell in cells_of(claim, profile, seed) if cell.pooled]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("claim", RANDOM, ids=name)
def test_every_factor_takes_its_values_equally_often(claim: Claim, profile: str) -> None:
    plan = PROFILES[profile]
    for seed in (0, 7):
        cells = pooled_cells(claim, profile, seed)
        wanted = {
            "family": sb.Loss.families(),
            "dim": range(1, 9),
            "batches": range(1, 5),
            "schedule": SCHEDULES,
            "beta": plan.betas if claim.algorithm == "adam" else (0.0,),
            "rho": plan.rhos,
            "epsilon": plan.epsilons,
        }
        for factor in FACTORS:
            tally = Counter(getattr(cell, factor) for cell in cells)
            assert set(tally) == set(wanted[factor]), factor
            assert max(tally.values()) - min(tally.values()) <= 1, factor


def test_factors_are_shuffled_independently() -> None:
    # a shared order would tie the values of one factor to those of another
    cells = pooled_cells(CLAIMS[0], "thorough")
    for one, other in (("batches", "epsilon"), ("dim", "batches"), ("schedule", "rho")):
        pairs = {(getattr(c, one), getattr(c, other)) for c in cells}
        sizes = [len({getattr(c, factor) for c in cells}) for factor in (one, other)]
        assert len(pairs) > 0.8 * sizes[0] * sizes[1], (one, other)


def test_the_profiles_name_their_factors() -> None:
    assert PROFILES["quick"].betas == (0.0, 0.5, 0.9)
    assert PROFILES["quick"].rhos == (0.5, 0.9)
    assert PROFILES["quick"].epsilons == (1e-2, 1e-4)
    for profile in ("standard", "thorough"):
        assert set(PROFILES[profile].rhos) == {0.5, 0.9, 0.99}
    for plan in PROFILES.values():
        assert len(plan.steps) >= 6
        assert max(plan.steps) >= 32 * min(plan.steps)
        assert all(len(set(s)) == len(s) for s in (plan.steps, plan.finer_steps, plan.data_steps))


def test_thorough_runs_thousands_of_random_losses_down_to_the_finest_steps() -> None:
    cells = [cell for claim in RANDOM for cell in pooled_cells(claim, "thorough")]
    assert sum(cell.count for cell in cells) >= 5000
    finest = [cell for cell in cells if cell.horizon / max(cell.steps) <= 2.0**-14]
    assert sum(cell.count for cell in finest) >= 500
    mini_batch = {cell.horizon / max(cell.steps) for cell in finest if cell.batches > 1}
    # whole cycles of three batches do not fit a power of 2
    assert all(abs(h * 2.0**14 - 1.0) < 2e-4 for h in mini_batch)
    assert len({cell.key for cell in cells}) == len(cells)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("claim", CLAIMS, ids=name)
def test_the_defaults_of_pytorch_are_measured_and_not_pooled(claim: Claim, profile: str) -> None:
    cells = cells_of(claim, profile, 0)
    apart = [(cell.beta, cell.rho, cell.epsilon) for cell in cells if not cell.pooled]
    assert (0.9 if claim.algorithm == "adam" else 0.0, 0.999, 1e-8) in apart
    assert all(cell.epsilon > 1e-8 for cell in cells if cell.pooled)
    assert [cell.index for cell in cells] == list(range(len(cells)))
    assert {(cell.place, cell.algorithm) for cell in cells} == {(claim.place, claim.algorithm)}


def test_a_model_is_measured_at_every_setting_and_the_data_once_a_schedule() -> None:
    by_id = {claim.id: claim for claim in CLAIMS}
    plan = PROFILES["standard"]
    cells = pooled_cells(by_id["adam-inside/bilinear"], "standard")
    found = Counter((c.beta, c.rho, c.epsilon) for c in cells)
    assert found == {(b, r, e): 1 for b in plan.betas for r in plan.rhos for e in plan.epsilons}
    data = pooled_cells(by_id["rmsprop-outside/logistic-regression"], "standard")
    assert {c.schedule for c in data} == set(SCHEDULES)
    assert {(c.family, c.dim, c.batches, c.beta) for c in data} == {("breast-cancer", 30, 3, 0.0)}


@pytest.mark.parametrize("claim", CLAIMS, ids=name)
def test_a_seed_fixes_the_cells(claim: Claim) -> None:
    assert cells_of(claim, "quick", 5) == cells_of(claim, "quick", 5)
    keys, others = ({c.key for c in cells_of(claim, "quick", seed)} for seed in (5, 6))
    assert not keys & others


def test_a_seed_shuffles_the_design() -> None:
    designs = [[c.dim for c in pooled_cells(CLAIMS[0], "quick", seed)] for seed in (5, 6)]
    assert designs[0] != designs[1]


def test_theorem_and_control_share_their_problems_and_theorems_do_not() -> None:
    by_id = {claim.id: claim for claim in CLAIMS}
    theorem, control = (
        {c.key: replace(c, index=0) for c in cells_of(by_id[f"adam-inside/{x}"], "standard", 3)}
        for x in ("global-order", "leading-field")
    )
    # the control leaves out where the term that it lacks nearly vanishes
    without = [c for key, c in theorem.items() if key not in control]
    assert without
    assert all(c.batches == 1 and c.beta == c.rho for c in without)
    assert not any(c.batches == 1 and c.beta == c.rho for c in control.values() if c.pooled)
    pooled = {key for key, c in control.items() if c.pooled}
    alike = {key: replace(theorem[key], count=control[key].count) for key in pooled}
    assert alike == {key: control[key] for key in pooled}
    # of the theorem's problems the control takes the first ones
    assert all(control[key].count <= theorem[key].count for key in pooled)
    few, all_of_them = (draw(replace(theorem[min(pooled)], count=n)).numbers for n in (3, 9))
    assert few == all_of_them[:3]
    other = cells_of(by_id["adam-outside/global-order"], "standard", 3)
    assert not set(theorem) & {c.key for c in other}
    assert cell_key(3, "a", 1) != cell_key(3, "a", 2) != cell_key(4, "a", 2) != cell_key(4, "b", 2)


def test_the_optimizer_has_epsilon_on_the_side_of_the_claim() -> None:
    inside, outside = a_cell(), a_cell(place="outside", algorithm="rmsprop", beta=0.0)
    assert repr(inside.optimizer()) == repr(sb.Adam(0.5, 0.7, 0.0, 1e-2))
    assert repr(outside.optimizer()) == repr(sb.RMSProp(0.7, 1e-2, 0.0))
    assert a_cell(schedule="cyclic").schedule_object() == sb.Cyclic(2)
    assert inside.schedule_object() == sb.Reshuffled(2, 17)
    assert a_cell(schedule="iid").schedule_object() == sb.IID(2, 17)


def test_starts_are_normal_and_a_function_of_their_number() -> None:
    block = starts(9, 0, 4000, 3, 2.0)
    assert np.abs(block.mean(axis=0)).max() < 5 * 2.0 / np.sqrt(4000)
    assert np.abs(block.std(axis=0) - 2.0).max() < 0.15
    np.testing.assert_array_equal(starts(9, 1234, 5, 3, 2.0), block[1234:1239])
    assert not np.any(starts(10, 0, 4000, 3, 2.0) == block)


@pytest.mark.parametrize("family", ["sinusoid", "perturbed-quadratic", "tanh-network"])
def test_one_problem_alone_is_the_one_in_its_cell(family: str) -> None:
    cell = a_cell(family=family, dim=3, batches=2, place="outside", count=6)
    drawn, again, other = draw(cell), draw(cell), draw(replace(cell, key=18))
    assert drawn.numbers == again.numbers
    np.testing.assert_array_equal(drawn.theta0, again.theta0)
    assert not np.any(drawn.theta0 == other.theta0)
    at = np.full((6, 3), 0.3)
    gradients = [drawn.loss.gradient(b, at) for b in range(2)]
    everything = sb.Loss.random(family, 3, 2, problems=drawn.drawn, seed=cell.key)
    np.testing.assert_array_equal(everything.select(drawn.numbers).gradient(0, at), gradients[0])
    np.testing.assert_array_equal(starts(cell.key, 0, drawn.drawn, 3)[drawn.numbers], drawn.theta0)
    assert not np.any(other.loss.gradient(0, at) == gradients[0])
    for k in (0, 3, 5):
        number = drawn.numbers[k]
        np.testing.assert_array_equal(starts_of(cell, [number])[0], drawn.theta0[k])
        alone = losses_of(cell, [number])
        for b in range(2):
            np.testing.assert_array_equal(alone.gradient(b, at[:1])[0], gradients[b][k])


def test_the_bilinear_model_starts_at_the_papers_point() -> None:
    cell = a_cell(kind="bilinear", family="bilinear", batches=1, schedule="cyclic")
    drawn = draw(cell)
    assert drawn.numbers[0] == 0
    assert drawn.theta0[0].tolist() == [2.8, 3.5]
    np.testing.assert_array_equal(starts_of(cell, drawn.numbers), drawn.theta0)
    assert losses_of(cell, [3]).problems is None


def test_the_data_are_the_standardised_data_of_scikit_learn() -> None:
    cell = a_cell(
        kind="regression", family="breast-cancer", dim=30, batches=3, horizon=0.1, count=2
    )
    loss = losses_of(cell, [0])
    assert (loss.dim, loss.batches, loss.problems) == (30, 3, None)
    assert losses_of(cell, [1]) is loss  # loaded once
    # at 0 every logistic loss is log 2
    assert [loss.value(b, np.zeros(30)) for b in range(3)] == pytest.approx([np.log(2.0)] * 3)
    drawn = draw(cell)
    np.testing.assert_array_equal(starts_of(cell, drawn.numbers), drawn.theta0)
    assert drawn.theta0.std() == pytest.approx(0.5, rel=0.3)


def smallest_root(cell: Cell, loss: sb.Loss, path: np.ndarray) -> float:
    """Least R^(l) of the steps in memory along a path (steps + 1, p), written as the sums say."""
    rho, smallest = cell.rho, np.inf
    steps = len(path) - 1
    batch = cell.schedule_object().indices(steps)
    for n in range(steps):
        g = [np.ravel(loss.gradient(b, path[n][None])) for b in range(cell.batches)]
        lags = np.arange(n + 1)
        squares = np.array([g[batch[k]] ** 2 for k in range(n + 1)])
        for step in range(n + 1):
            if rho ** (n - step) > 2.0**-53:
                weights = rho ** (step - lags[: step + 1])
                mean = weights @ squares[: step + 1] / weights.sum()
                smallest = min(smallest, np.sqrt(mean.min()))
    return smallest


@pytest.mark.parametrize(
    "cell",
    [
        a_cell(place="outside", count=4, dim=1, batches=3, schedule="reshuffled", rho=0.5),
        a_cell(place="outside", count=3, algorithm="rmsprop", beta=0.0, rho=0.9),
    ],
)
def test_a_draw_whose_gradient_vanishes_is_excluded_outside_the_root(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "SURVEY_STEPS", 64)
    count = 16
    loss = sb.Loss.random(cell.family, cell.dim, cell.batches, problems=count, seed=cell.key)
    theta0 = starts(cell.key, 0, count, cell.dim)
    arguments = (cell.optimizer(), loss, theta0, cell.horizon / 64, 64, cell.schedule_object())
    paths = sb.iterate(*arguments)
    moved = np.linalg.norm(paths[:, -1] - paths[:, 0], axis=1)
    roots = np.array([smallest_root(cell, loss.select([k]), paths[k]) for k in range(count)])
    seen = survey(prepare(*arguments, "cpu"), 64)
    np.testing.assert_allclose(seen.root, roots, rtol=1e-12)
    np.testing.assert_allclose(seen.distance, moved, rtol=1e-12)

    far, away = moved >= SMALLEST_DISTANCE, roots >= SMALLEST_ROOT
    good = np.flatnonzero(far & away)
    assert np.sum(far & ~away) > 0
    drawn = draw(cell)
    assert len(good) >= cell.count
    assert drawn.numbers == good[: cell.count].tolist()
    last = drawn.numbers[-1] + 1
    assert drawn.drawn == last
    wanted = Counter(
        {
            f"moves less than {SMALLEST_DISTANCE}": int(np.sum(~far[:last])),
            f"some R in memory comes below {SMALLEST_ROOT}": int(np.sum(far[:last] & ~away[:last])),
        }
    )
    assert drawn.excluded == wanted
    # the very same draws are admissible with epsilon inside, as long as they move
    inside = draw(replace(cell, place="inside"))
    assert set(inside.excluded) <= {f"moves less than {SMALLEST_DISTANCE}"}


def test_short_paths_are_excluded_and_replaced() -> None:
    cell = a_cell(horizon=0.17, dim=1, batches=1, schedule="cyclic", rho=0.9, beta=0.9, count=8)
    drawn = draw(cell)
    far = sb.Loss.random(cell.family, 1, 1, problems=drawn.drawn, seed=cell.key)
    h = cell.horizon / 256
    paths = sb.iterate(cell.optimizer(), far, starts(cell.key, 0, drawn.drawn, 1), h, 256)
    moved = np.abs(paths[:, -1, 0] - paths[:, 0, 0])
    short = int(np.sum(moved < SMALLEST_DISTANCE))
    assert short > 0
    assert drawn.excluded == {f"moves less than {SMALLEST_DISTANCE}": short}
    assert drawn.numbers == np.flatnonzero(moved >= SMALLEST_DISTANCE)[:8].tolist()
    assert drawn.drawn == len(drawn.numbers) + short


def test_a_cell_without_admissible_draws_ends() -> None:
    drawn = draw(a_cell(horizon=0.01, count=2))
    assert drawn.numbers == []
    assert drawn.theta0.shape == (0, 2)
    assert drawn.drawn == 2 * 64
    assert drawn.excluded.total() == drawn.drawn


def test_the_law_names_every_value_that_occurs() -> None:
    cells = cells_of(CLAIMS[0], "quick", 11)
    text = law(cells, 11)
    for cell in cells:
        assert cell.family in text
        assert str(cell.rho) in text
    assert "seed 11" in text
    assert "R in memory below 0.05 (in settings not pooled)" in text
    assert "R in memory" not in law([cell for cell in cells if cell.pooled], 11)
    away = law(cells_of(RANDOM[1], "quick", 11), 11)
    assert "R in memory below 0.05" in away
    assert "not pooled)" not in away.removeprefix(away[: away.index("excluded")])
    assert "over m copies" in text
    assert "over m copies" not in law([cell for cell in cells if cell.schedule != "iid"], 11)
    sign_change = find_trajectory_claim("adam-outside/sign-change")
    assert "cross the dropped assumption" in law(cells_of(sign_change, "quick", 11), 11)


def test_a_draw_knows_how_much_its_hessians_change() -> None:
    cell = a_cell()
    drawn = draw(cell)
    arguments = (cell.optimizer(), drawn.loss, drawn.theta0, cell.horizon / 256, 256)
    seen = survey(prepare(*arguments, cell.schedule_object(), "cpu"), 256)
    np.testing.assert_array_equal(drawn.curvature, seen.curvature)
    assert drawn.curvature.min() > CURVED


@pytest.mark.parametrize("claim_id", ["adam-inside/global-order", "rmsprop-outside/bilinear"])
def test_nearly_every_problem_tests_the_third_derivatives(claim_id: str) -> None:
    claim = next(c for c in CLAIMS if c.id == claim_id)
    curvature = np.concatenate([draw(cell).curvature for cell in pooled_cells(claim, "quick")])
    assert np.mean(curvature > CURVED) >= 0.95
