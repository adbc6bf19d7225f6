"""The statements on special cases: verdicts, wrong variants, replays of one problem."""

from __future__ import annotations

import numpy as np
import pytest

from stepbias.theory.special_claims import CLAIMS
from stepbias.theory.statement import Statement
from stepbias.verify.cells import cell_key
from stepbias.verify.experiments import measure
from stepbias.verify.experiments.special_cases import FAMILIES, groups, smallest_caught
from stepbias.verify.samples import Samples, Setting
from stepbias.verify.statements import judge, settle, summarise_statement

QUICK = Setting("quick", seed=0)
BY_ID = {claim.id: claim for claim in CLAIMS}
WRONG = [(claim.id, name) for claim in CLAIMS for name in claim.wrong]


@pytest.mark.parametrize("name", list(BY_ID))
def test_verdict_is_the_expected_one(name: str) -> None:
    claim = BY_ID[name]
    judged = settle(claim, judge(claim, measure(claim, claim.variant, QUICK)), QUICK)
    row = summarise_statement(claim, judged, 0.0)
    assert row.verdict == claim.expected_verdict, row.reason


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_wrong_variants_are_refuted(name: str, wrong: str) -> None:
    """One of the first problems is enough; where a variant is measured at all it costs little."""
    claim = BY_ID[name]
    verdicts = []
    for problem in (1, 2, 5):
        judged = judge(claim, measure(claim, wrong, Setting("quick", 0, only=problem)))
        verdicts += judged.verdict
        if "refuted" in verdicts:
            return
    raise AssertionError(f"{wrong}: {verdicts}")


def same(one: Samples, k: int, other: Samples, j: int) -> None:
    assert one.labels[k] == other.labels[j]
    for name in ("error", "left", "right", "truth", "floor", "uncertainty"):
        a, b = getattr(one, name), getattr(other, name)
        if a.size:
            assert np.array_equal(a[k], b[j], equal_nan=True), name


@pytest.mark.parametrize(
    "name",
    [
        "special-cases/heavy-ball-settled",
        "special-cases/epoch-order",
        "special-cases/epoch-growth",
        "special-cases/epoch-bound",
        "special-cases/adam-large-epsilon",
        "special-cases/adam-sign-flow",
        "special-cases/heavy-ball-coefficients",
    ],
)
def test_a_problem_is_a_function_of_seed_and_number(name: str) -> None:
    claim = BY_ID[name]
    every = measure(claim, "", QUICK)
    for k in (0, len(every.numbers) - 1):
        number = int(every.numbers[k])
        same(every, k, measure(claim, "", Setting("quick", 0, only=number)), 0)
    longer = measure(claim, "", Setting("standard", 0, only=int(every.numbers[-1])))
    same(every, len(every.numbers) - 1, longer, 0)
    other = measure(claim, "", Setting("quick", 1, only=int(every.numbers[-1])))
    if claim.kind == "order" and len(other.numbers):
        assert not np.array_equal(other.error[0], every.error[-1])


def test_defaults_are_in_the_tables() -> None:
    for name in ("special-cases/adam-sign-flow", "special-cases/adam-large-epsilon"):
        hard = measure(BY_ID[name], "", QUICK).hardness
        assert np.any((hard[:, 0] == 0.9) & (hard[:, 1] == 0.999)), name
    signs = measure(BY_ID["special-cases/adam-sign-flow"], "", QUICK)
    assert 1e-8 in signs.hardness[~signs.pooled, 2]


def test_finer_measures_the_same_problems_more_finely() -> None:
    claim = BY_ID["special-cases/heavy-ball"]
    once, twice = (measure(claim, "", Setting("quick", 0, finer=f, only=3)) for f in (1, 2))
    assert once.labels[0] == twice.labels[0]
    np.testing.assert_allclose(twice.x, once.x / 2.0)
    # the coarser half of the one is the finer half of the other
    np.testing.assert_allclose(once.error[0, 1:], twice.error[0, :-1], rtol=1e-6)


def test_every_family_meets_every_size() -> None:
    sizes = [(1, 1), (2, 1), (3, 1), (4, 1)]
    numbers = np.arange(24 * 6, dtype=np.int64)
    met = {(g.family, g.size) for g in groups(QUICK, "any", numbers, sizes)}
    assert met == {(family, size) for family in FAMILIES for size in sizes}
    rows = np.sort(np.concatenate([g.rows for g in groups(QUICK, "any", numbers, sizes)]))
    assert np.array_equal(rows, np.arange(len(numbers)))
    assert cell_key(0, "any", 0) != cell_key(0, "other", 0)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_smallest_caught_against_a_plain_search(side: float) -> None:
    h = np.asarray(0.1 / 2.0 ** np.arange(5), dtype=np.float64)
    difference, response = (h**2)[None, :, None], side * (h * (1.0 + 3.0 * h))[None, :, None]
    (caught,) = smallest_caught(h, difference, response, 2.0, np.array([1.0]))

    def slopes(delta: float) -> float:
        moved = np.abs(difference[0, -3:, 0] + delta * response[0, -3:, 0])
        return float(np.max(np.diff(np.log(moved)) / np.diff(np.log(h[-3:]))))

    # one tenth of a step of the search, from above: the first delta at which either sign leaves slopes that look like order 2
    delta = 1.0
    while max(slopes(delta), slopes(-delta)) < 1.8:
        delta /= 10.0**0.005
    assert delta < caught <= delta * 10.0**0.06
    assert max(slopes(0.1 * caught), slopes(-0.1 * caught)) > 1.8


def test_smallest_caught_where_nothing_is() -> None:
    h = np.asarray(0.1 / 2.0 ** np.arange(5), dtype=np.float64)
    difference, response = (h**2)[None, :, None], h[None, :, None]
    assert smallest_caught(h, difference, response, 2.0, np.array([1e6])) == np.inf
    assert np.isnan(smallest_caught(h, difference, 0.0 * response, 2.0, np.array([1.0])))
    # the same order as the error: no relative error up to 1 bends the line
    assert smallest_caught(h, difference, difference, 2.0, np.array([1.0])) == np.inf


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_statements_are_complete(claim: Statement) -> None:
    assert claim.source
    assert claim.assumptions
    assert claim.latex
    assert claim.slip == claim.id.startswith("slips/")
    if not claim.slip and claim.expected_verdict == "confirmed" and not claim.exact:
        assert claim.wrong
