"""The experiments on the full batch: their verdicts, their wrong variants, their replay, and their instruments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stepbias.kernels.loss import Loss
from stepbias.theory.full_batch_claims import CLAIMS
from stepbias.theory.memory import MemoryTerms, literal_terms
from stepbias.theory.optimizers import Adam
from stepbias.theory.statement import Statement
from stepbias.verify.experiments import (
    closed_forms,
    four_decades,
    measure,
    points,
    potential,
    signs,
)
from stepbias.verify.experiments.points import DEFAULTS, UNIT
from stepbias.verify.samples import Samples, Setting
from stepbias.verify.statements import judge, mutant_of, settle, summarise_statement

QUICK = Setting("quick", 5)
SMALL = [claim for claim in CLAIMS if claim.id != "full-batch/four-decades"]


@pytest.fixture(scope="module")
def measured() -> dict[str, Samples]:
    """Every experiment once."""
    return {claim.id: measure(claim, claim.variant, QUICK) for claim in SMALL}


@pytest.mark.parametrize("claim", SMALL, ids=[c.id for c in SMALL])
def test_verdict_is_the_expected_one(claim: Statement, measured: dict[str, Samples]) -> None:
    samples = measured[claim.id]
    row = summarise_statement(claim, settle(claim, judge(claim, samples), QUICK), 0.0)
    assert row.verdict == claim.expected_verdict, row.reason
    if claim.expected_verdict == "confirmed":
        assert row.counts["confirmed"] == row.problems > 0


@pytest.mark.parametrize("claim", SMALL, ids=[c.id for c in SMALL])
def test_one_wrong_variant_is_refuted(claim: Statement, measured: dict[str, Samples]) -> None:
    # All of them are run by the campaigns; here the last one, so that an experiment that ignores its variant shows.
    for name in claim.wrong[-1:]:
        found = mutant_of(claim, name, measured[claim.id], measure(claim, name, QUICK), QUICK)
        assert found.verdict == "refuted", found


REPLAYED = [c for c in SMALL if c.experiment not in ("signs.bracket", "potential.shape")]


@pytest.mark.parametrize("claim", REPLAYED[::3], ids=[c.id for c in REPLAYED[::3]])
def test_a_problem_replayed_alone_is_the_same(
    claim: Statement, measured: dict[str, Samples]
) -> None:
    whole = measured[claim.id]
    number = int(whole.numbers[len(whole.numbers) // 2])
    alone = measure(claim, claim.variant, replace(QUICK, only=number))
    rows = np.flatnonzero(whole.numbers == number)
    assert alone.labels.tolist() == whole.labels[rows].tolist()
    for name in ("left", "right", "error", "x"):
        ours, theirs = getattr(alone, name), getattr(whole, name)
        if theirs.size:
            width = ours.shape[1] if ours.ndim > 1 else None
            assert np.array_equal(
                ours, theirs[rows] if width is None else theirs[rows, :width], equal_nan=True
            )


def test_the_usual_defaults_are_among_the_problems(measured: dict[str, Samples]) -> None:
    for name, samples in measured.items():
        if not samples.hardness.size:
            continue
        first = samples.hardness[samples.numbers == 0]
        decays = {tuple(sorted(row[:2])) for row in first.tolist()}
        # rho alone in statements on RMSProp, beta alone in the one on the mean
        assert decays & {(0.9, 0.999), (0.0, 0.999), (0.0, 0.9)}, name


# instruments --------------------------------------------------------------------------------------


def test_points_depend_on_seed_and_number_only() -> None:
    def drawn(numbers: list[int], seed: int = 1) -> list[points.Point]:
        every = points.points(Setting("quick", seed), "name", np.array(numbers), 0.05)
        return [point for point, _ in every]

    first, again = drawn([3])[0], drawn([0, 3, 7])[1]
    assert np.array_equal(first.theta, again.theta)
    assert np.array_equal(first.gradient, again.gradient)
    assert (first.beta, first.rho, first.epsilon) == (again.beta, again.rho, again.epsilon)
    assert not np.array_equal(first.theta, drawn([3], seed=2)[0].theta)
    special = drawn([0])[0]
    assert (special.beta, special.rho, special.epsilon) == DEFAULTS
    assert all(np.abs(p.gradient).min() >= 0.05 for p in drawn(list(range(12))))
    assert {p.place for p in drawn(list(range(12)))} == {"inside", "outside"}


def test_differences_of_values_are_the_gradient() -> None:
    loss = Loss.random("sinusoid", 3, seed=4)
    theta = np.array([0.3, -0.2, 0.9])
    found, error = points.differentiated(
        lambda t: np.asarray(loss.value(0, t)), theta, 0.02, 64.0 * UNIT
    )
    assert np.abs(found - loss.gradient(0, theta)).max() <= error < 1e-7
    assert np.abs(found - loss.gradient(0, theta)).max() < 1e-11


@pytest.mark.parametrize(("beta", "rho", "epsilon"), [(0.95, 0.995, 1e-5), (0.95, 0.1, 100.0)])
def test_quadrature_bounds_its_error(beta: float, rho: float, epsilon: float) -> None:
    whole, bound = potential.integrated(0.0, 3.0, beta, rho, epsilon)
    parts = [potential.integrated(a, b, beta, rho, epsilon) for a, b in ((0.0, 0.01), (0.01, 3.0))]
    assert abs(whole - sum(value for value, _ in parts)) <= bound + sum(error for _, error in parts)
    assert 0.0 < bound < 1e-9


def test_rounding_bounds_are_neither_broken_nor_idle() -> None:
    worst = 0.0
    for point, rng in points.points(Setting("quick", 9), "bounds", np.arange(30)):
        n = int(rng.integers(0, 25))
        optimizer = Adam(point.beta, point.rho, point.eps, point.eps_root)
        exact = literal_terms(
            optimizer, closed_forms._Fixed(point), point.theta, n, np.zeros(n + 1, dtype=np.int64)
        )
        found = closed_forms._adam("", point, n)
        bounds = closed_forms.rounding_bounds(
            optimizer, point, n, closed_forms._as_given(point), prefix=False
        )
        for name, a, e, bound in zip(MemoryTerms._fields, found, exact, bounds, strict=True):
            assert np.all(np.abs(a - e) <= bound), name
            # an error of 1e-9 in any sum that is there is seen
            there = np.abs(e) > 1e-6 * np.abs(getattr(exact, "Pbar" if name[0] == "P" else "Lbar"))
            if name in ("L", "P") and n > 0:
                assert np.all(bound[there] < 1e-4 * np.abs(e[there]))
            worst = max(worst, float(np.max(np.abs(a - e) / (bound + 1e-300))))
    assert worst > 1e-4


# four decades -------------------------------------------------------------------------------------


def test_ladder_is_even_in_log_h() -> None:
    counts = four_decades.ladder(100, 4)
    assert (counts[0], counts[-1], len(counts)) == (100, 10**6, 13)
    ratios = np.diff(np.log10(np.array(counts, dtype=float)))
    assert np.abs(ratios - 1.0 / 3.0).max() < 0.003


def test_strides_grow_with_the_root_of_the_steps() -> None:
    assert four_decades.strided(64).stride == 1
    assert four_decades.strided(10**6).stride == 125


def test_settings_families_and_the_defaults_are_all_there() -> None:
    keys = [four_decades._key(k) for k in range(25)]
    assert keys[0][0] == four_decades.REPORTED
    for line in four_decades.LINES:
        families = [family for setting, family, _ in keys[1:] if setting == line]
        assert sorted(families) == sorted(2 * Loss.families())


def test_a_short_line_has_the_second_order_and_not_without_the_bias() -> None:
    (claim,) = (c for c in CLAIMS if c.id == "full-batch/four-decades")
    setting = Setting("quick", 5, only=1)
    judged = judge(claim, measure(claim, "", setting))
    assert judged.verdict == ["confirmed"]
    assert 1.97 <= judged.fits[0].interval[0] <= judged.fits[0].interval[1] <= 2.03
    wrong = judge(claim, measure(claim, "no bias", setting))
    assert wrong.verdict == ["refuted"]
    assert wrong.value[0] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("name", ["penalised", "hindered"])
def test_the_sign_would_have_caught_what_makes_its_parts_equal(name: str) -> None:
    found = getattr(signs, name)("", Setting())
    beta, rho = found.hardness[:, 0], found.hardness[:, 1]
    parts = np.stack([(1.0 + x) / (1.0 - x) for x in (beta, rho)])
    expected = np.abs(parts[0] - parts[1]) / parts.max(axis=0)
    # epsilon is small, not 0; the doubt is taken off
    np.testing.assert_allclose(found.caught["the larger part"], expected, rtol=0.1)
