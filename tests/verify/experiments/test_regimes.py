from __future__ import annotations

import numpy as np
import pytest

from stepbias.kernels.loss import Loss
from stepbias.kernels.trajectories import iterate
from stepbias.theory.optimizers import Adam
from stepbias.theory.regimes_claims import ALLOWED, CLAIMS, LARGE, SPIKES, STABLE, label_of
from stepbias.theory.statement import Statement
from stepbias.verify.experiments import measure, regimes, regimes_flow
from stepbias.verify.samples import Setting
from stepbias.verify.statements import judge, mutant_of, summarise_statement

SEED = 11


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: str(claim.id))
def test_every_statement_has_its_verdict_and_its_wrong_variants_are_refuted(
    claim: Statement,
) -> None:
    setting = Setting(seed=SEED)
    samples = measure(claim, claim.variant, setting)
    row = summarise_statement(claim, judge(claim, samples), 0.0)
    assert row.verdict == claim.expected_verdict, row.reason
    for name in claim.wrong:
        assert (
            mutant_of(claim, name, samples, measure(claim, name, setting), setting).verdict
            == "refuted"
        )


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: str(claim.id))
def test_a_problem_alone_is_the_problem_in_the_run(claim: Statement) -> None:
    run = measure(claim, "", Setting(seed=SEED))
    k = int(run.numbers[run.pooled][-1])
    alone = measure(claim, "", Setting(seed=SEED, only=k))
    assert list(alone.numbers[alone.pooled]) == [k]
    here = int(np.flatnonzero(run.numbers == k)[0])
    assert run.labels[here] == alone.labels[0]
    for name in ("left", "right", "error"):
        first, second = getattr(run, name), getattr(alone, name)
        if first.size:
            assert np.array_equal(first[here], second[0])


def test_the_defaults_are_in_every_table() -> None:
    for claim in CLAIMS:
        samples = measure(claim, "", Setting(seed=SEED))
        hard = samples.hardness[:, :3]
        assert (hard == (0.9, 0.999, 1e-8)).all(axis=1).any(), claim.id


@pytest.mark.parametrize(
    ("median", "largest", "expected"),
    [
        (1e-5, 9e-4, STABLE),
        (1e-5, 1e-3, SPIKES),
        (2e-3, 1.0, LARGE),
        (float("inf"), float("inf"), LARGE),
        (float("nan"), float("nan"), LARGE),
    ],
)
def test_labels(median: float, largest: float, expected: str) -> None:
    assert label_of(median, largest, 1.0) == expected
    assert label_of(8.0 * median, 8.0 * largest, 8.0) == expected


def test_without_momentum_there_are_no_spikes_and_the_table_says_so() -> None:
    (claim,) = (c for c in CLAIMS if c.id == "regimes/spikes")
    samples = measure(claim, "", Setting(seed=SEED))
    (row,) = np.flatnonzero((samples.hardness[:, :2] == (0.0, 0.99)).all(axis=1))
    assert not samples.pooled[row]
    assert judge(claim, samples).verdict[row] == "refuted"


def test_a_label_needs_a_start() -> None:
    with pytest.raises(ValueError, match="start = nan is not finite"):
        label_of(1.0, 1.0, float("nan"))


def test_shares_have_the_exact_interval() -> None:
    none = regimes.share_of(0, 48)
    assert none.pvalue == pytest.approx(0.75**48)  # none of 48 if a quarter were allowed
    # no hit in n: the upper end is 1 - (0.0005)^(1/n)
    assert none.other == 0.0
    assert none.doubt == pytest.approx(1.0 - 0.0005 ** (1.0 / 48.0), rel=1e-12)
    assert none.doubt < ALLOWED
    every = regimes.share_of(48, 48)
    assert every.other == 1.0
    assert every.doubt == pytest.approx(none.doubt, rel=1e-9)


def test_minima_are_found_and_missing_ones_are_told() -> None:
    loss = Loss.bilinear(1.0, 1.0)
    # a degenerate valley, not a minimum
    assert not regimes.minimum_near(loss, np.array([[1.1, 0.9]])).found[0]
    bowl = Loss.from_data("least-squares", np.eye(2), np.array([1.0, -2.0]))
    near = regimes.minimum_near(bowl, np.array([[0.8, -1.9], [30.0, 0.0]]))
    assert list(near.found) == [True, False]
    assert near.place[0] == pytest.approx([1.0, -2.0], abs=1e-12)


def test_excess_is_over_the_minimum_and_a_run_that_overflows_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loss = Loss.random("perturbed-quadratic", 2, problems=2, seed=4)
    theta0 = np.array([[0.3, 0.2], [0.1, -0.4]])
    given = (Adam(0.9, 0.9, 1e-8), loss, theta0, 0.01, 3000, 3)
    trace = regimes.late_excess(*given)
    assert trace.excess.shape == (2, 500 + 1)
    assert np.all(trace.excess > 0.0)
    assert np.all(np.median(trace.excess, axis=1) < 1e-3 * trace.start)
    path = iterate(*given[:5])
    path[1, 2500:] = np.nan
    monkeypatch.setattr(regimes, "iterate", lambda *_: path.copy())
    broken = regimes.late_excess(*given)
    assert np.array_equal(broken.excess[0], trace.excess[0])
    assert np.all(np.isinf(broken.excess[1]))
    assert broken.lost == 0
    assert label_of(np.median(broken.excess[1]), broken.excess[1].max(), broken.start[1]) == LARGE


def test_the_early_flow_goes_over_into_the_late_one() -> None:
    """Solved at another tolerance, the distances are those of the run within their doubts."""
    case = regimes_flow.Case(0.5, 0.99)
    first, second = (regimes_flow.follow(SEED, case, 0, "", finer).run for finer in (1, 3))
    assert first is not None
    assert second is not None
    assert abs(first.initial - second.initial) <= first.initial_doubt + second.initial_doubt
    assert abs(first.late - second.late) <= first.late_doubt + second.late_doubt + 1e-9
    assert first.bound == second.bound


def test_problems_have_one_and_two_parameters_and_all_families() -> None:
    kinds = {regimes_flow.kind_of(k) for k in range(9)}
    assert {dim for dim, _ in kinds} == {1, 2}
    for dim in (1, 2):
        assert {family for d, family in kinds if d == dim} == set(regimes.FAMILIES)
