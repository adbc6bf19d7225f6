"""The statements on the bilinear model: verdicts, wrong variants, replay, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from stepbias.theory import bilinear_claims
from stepbias.theory.statement import Statement
from stepbias.verify.experiments import bilinear, measure
from stepbias.verify.experiments.bilinear_flow import flow_at_matched_loss, imbalance_rate
from stepbias.verify.matched_loss import PAPER, Case, follow
from stepbias.verify.samples import Samples, Setting
from stepbias.verify.statements import judge, mutant_of, settle, summarise_statement

CLAIMS = {claim.id: claim for claim in bilinear_claims.CLAIMS}
SETTING = Setting("quick", 5)
# Statements at small step sizes are looked at problem by problem.
FINE = [name for name in CLAIMS if "larger-step" in name]
OTHER = "bilinear/other-quadrants"
QUICK = [name for name in CLAIMS if name not in (*FINE, OTHER)]


@pytest.fixture(scope="module")
def measured() -> dict[str, Samples]:
    """Samples of a statement, measured once."""
    return {}


def samples(claim: Statement, measured: dict[str, Samples]) -> Samples:
    if claim.id not in measured:
        measured[claim.id] = measure(claim, claim.variant, SETTING)
    return measured[claim.id]


@pytest.mark.parametrize("name", QUICK)
def test_verdict_is_the_expected_one(name: str, measured: dict[str, Samples]) -> None:
    claim = CLAIMS[name]
    judged = settle(claim, judge(claim, samples(claim, measured)), SETTING)
    row = summarise_statement(claim, judged, 0.0)
    assert row.verdict == claim.expected_verdict, row.reason


@pytest.mark.parametrize("name", QUICK)
def test_wrong_variants_are_refuted(name: str, measured: dict[str, Samples]) -> None:
    claim = CLAIMS[name]
    base = samples(claim, measured)
    for wrong in claim.wrong:
        found = mutant_of(claim, wrong, base, measure(claim, wrong, SETTING), SETTING)
        assert found.verdict == "refuted", found


@pytest.mark.parametrize("name", FINE)
def test_step_sizes_on_the_papers_model(name: str) -> None:
    """Numbers 0 to 7: the papers' start; the larger of two neighbouring step sizes on the side that beta - rho says."""
    claim = CLAIMS[name]
    rows = [measure(claim, "", Setting("quick", 5, only=k)) for k in range(8)]
    assert all(judge(claim, row).verdict == ["confirmed"] for row in rows)
    steps = [row.labels[0].split(",")[0] for row in rows]
    assert steps[:4] == [
        "h 1e-05 -> 3e-05",
        "h 3e-05 -> 0.0001",
        "h 0.0001 -> 0.0003",
        "h 0.0003 -> 0.001",
    ]
    reversed_ = measure(claim, bilinear_claims.REVERSED, Setting("quick", 5, only=3))
    assert judge(claim, reversed_).verdict == ["refuted"]


def test_other_quadrants_at_a_small_step() -> None:
    claim = CLAIMS[OTHER]
    for k in (0, 2, 3, 5, 7):
        row = measure(claim, "", Setting("quick", 5, only=k))
        assert judge(claim, row).verdict == ["confirmed"]
        assert row.hardness[0, 3] == 1e-4
        reversed_ = measure(claim, bilinear_claims.REVERSED, Setting("quick", 5, only=k))
        assert judge(claim, reversed_).verdict == ["refuted"]


@pytest.mark.parametrize("name", FINE)
def test_drawn_decays_have_the_sign_of_the_statement(name: str) -> None:
    sign = 1 if "beta-above" in name else -1
    claim = CLAIMS[name]
    for k in range(6):
        (row,) = measure(claim, "", Setting("quick", 5, only=8 * k + 5)).hardness
        assert np.sign(row[0] - row[1]) == sign


def test_default_epsilon_is_in_every_table(measured: dict[str, Samples]) -> None:
    for name in QUICK:
        if name != "bilinear/long-memory":  # its settings are the statement
            rows = samples(CLAIMS[name], measured).hardness
            assert ((rows[:, :3] == (0.9, 0.999, 1e-8)).all(axis=1)).any(), name


@pytest.mark.parametrize("name", QUICK)
def test_a_problem_alone_is_the_same_to_the_last_bit(
    name: str, measured: dict[str, Samples]
) -> None:
    claim = CLAIMS[name]
    every = samples(claim, measured)
    for place in (1, len(every.numbers) - 2):
        alone = measure(claim, "", Setting("quick", 5, only=int(every.numbers[place])))
        assert len(alone.numbers) == 1
        assert alone.labels[0] == every.labels[place]
        for field in ("left", "right", "uncertainty", "error", "floor", "x"):
            one, all_ = getattr(alone, field), getattr(every, field)
            if all_.size:
                np.testing.assert_array_equal(one[0], all_[place], err_msg=field)


def test_the_papers_curves_stand_as_its_figure_shows_them() -> None:
    """Figure 2, by the trajectories themselves and not by the experiment."""
    norms = [follow(Case(beta, 0.999, 1e-6, 1e-3), PAPER).norm for beta in (0.9, 0.99, 0.999)]  # type: ignore[union-attr]
    assert norms == sorted(norms, reverse=True)
    norms = [follow(Case(0.9, rho, 1e-6, 1e-3), PAPER).norm for rho in (0.9, 0.99, 0.999)]  # type: ignore[union-attr]
    assert norms == sorted(norms)
    row = bilinear.larger_beta("", Setting("quick", 0, only=0))
    found = [follow(Case(beta, 0.999, 1e-6, 1e-3), PAPER).norm for beta in (0.99, 0.9)]  # type: ignore[union-attr]
    assert [row.left[0], row.right[0]] == found


def test_a_trajectory_that_changes_sign_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from stepbias.verify.matched_loss import draw

    monkeypatch.setattr(bilinear, "draw", lambda rng: draw(rng, one_sided=False))
    found = bilinear.larger_rho("", Setting("quick", 5))
    # the three comparisons on the papers' start remain
    assert found.numbers.tolist() == [0, 1, 2]
    assert found.excluded == {"a component of the gradient changes sign": 33}


def test_what_does_not_settle_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = bilinear._settle(Case(0.9, 0.999, 1e-6, 1e-3), PAPER, 1)
    assert reached is not None
    difference, change = reached
    # on the minima, and no further than it could have come from the start
    assert change <= 1e-6
    assert 0.7 < difference < 3.5
    # momentum and a short memory of the squares at a large step: it goes on swinging
    assert bilinear._settle(Case(0.995, 0.75, 1e-6, 1e-3), PAPER, 1) is None
    monkeypatch.setattr(bilinear, "_settle", lambda case, model, finer: None)
    found = bilinear.minimum_reached("", Setting("quick", 5, only=0))
    assert len(found.numbers) == 0
    assert found.excluded == {"does not settle": 1}


def test_interpolation_and_solver_are_far_below_what_is_measured(
    measured: dict[str, Samples],
) -> None:
    found = samples(CLAIMS["bilinear/flow-at-matched-loss"], measured)
    share = (found.floor / found.error)[found.pooled]
    assert share.shape == (24, 6)
    # the verdict needs 1e-2; straight lines between the steps would leave 2e-3 at the coarsest
    assert share.max() < 1e-4


def test_a_number_that_is_not_measured_gives_no_problem() -> None:
    # the second start at PyTorch's settings, which the quick profile leaves out
    assert len(flow_at_matched_loss("", Setting("quick", 5, only=7)).numbers) == 0


def test_the_rate_catches_small_errors() -> None:
    found = imbalance_rate("", SETTING)
    share = found.right / np.where(found.scale > 0.0, found.scale, np.nan)
    # the bound is a rounding one: an error of 1e-4 of the rate would show on every problem but those without bias
    assert np.nanmax(share) < 1e-4
    assert np.isnan(share).sum() <= 1
