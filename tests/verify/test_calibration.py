"""A small calibration: verdicts on sequences whose truth is known, synthetic, sampled, and made by the engine."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from stepbias.verify.fit import DELTA, Verdict, fit_order, fit_orders
from stepbias.verify.fit_engine import STRATA, Judged, judge_cell, make_cells
from stepbias.verify.fit_laws import KINDS, SHARES, Outcome, draw, judge
from stepbias.verify.fit_windows import HIDDEN_LEVEL
from tests.verify.campaign import a_fit

H9 = 2.0 ** -np.arange(9.0)


@pytest.fixture(scope="module")
def synthetic() -> list[Outcome]:
    return [o for steps in range(5, 15) for o in judge(draw(250, steps, seed=77))]


def test_false_verdicts_on_known_laws_are_rare(synthetic: list[Outcome]) -> None:
    yes = sum(o.visible and not o.true and o.fit.verdict == "confirmed" for o in synthetic)
    no = sum(o.visible and o.true and o.fit.verdict == "refuted" for o in synthetic)
    assert len(synthetic) == 2500
    assert max(yes, no) <= 0.005 * len(synthetic)


def test_what_can_be_decided_is(synthetic: list[Outcome]) -> None:
    def undecided(outcomes: list[Outcome]) -> float:
        return sum(o.fit.verdict == "inconclusive" for o in outcomes) / len(outcomes)

    assert undecided(synthetic) <= 0.276  # 0.25 but for the luck of 2500 draws (three sigma: 0.026)
    assert undecided([o for o in synthetic if o.clean]) <= 0.05
    assert undecided([o for o in synthetic if o.settled]) <= 0.06
    assert {o.kind for o in synthetic} == set(KINDS)
    assert sum(SHARES) == pytest.approx(1.0)


def test_an_unknown_floor_is_never_refuted(synthetic: list[Outcome]) -> None:
    levelling = [o for o in synthetic if o.kind == "unknown floor" and o.true]
    assert len(levelling) > 40
    assert not any(o.fit.verdict == "refuted" for o in levelling)


def test_too_little_data_is_inconclusive() -> None:
    for steps in (1, 2, 3):
        assert fit_order(H9[:steps], H9[:steps] ** 2, 2.0).verdict == "inconclusive"
    narrow = 3.9 ** -np.linspace(0.0, 1.0, 12)
    for power in (1.0, 2.0):
        assert fit_order(narrow, narrow**power, 2.0).verdict == "inconclusive"


def _sampled(power: float, coarsest: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """400 noisy errors of the given order, relative standard error coarsest * sqrt(h)."""
    rng = np.random.default_rng(seed)
    law = H9**power * (1.0 + rng.uniform(-0.5, 1.0, (400, 1)) * H9)
    sampling = coarsest * np.sqrt(H9)
    return law * (1.0 + sampling * rng.normal(size=law.shape)), sampling


def _verdicts(error: np.ndarray, sampling: np.ndarray | None) -> Counter[str]:
    return Counter(f.verdict for f in fit_orders(H9, error, 2.0, sampling=sampling))


def _power(sampling: np.ndarray) -> float:
    """Share of draws that leave the local slope at the finest step within 0.1 of 2 at the one-sided level used for it."""
    x = np.log(H9 / H9.min())
    columns = np.stack([np.ones(9), x + np.exp(-x), x], axis=1) / sampling[:, None]
    error = np.sqrt(np.linalg.inv(columns.T @ columns)[2, 2])
    return float(ndtr(DELTA / error - ndtri(HIDDEN_LEVEL)))


@pytest.mark.parametrize("coarsest", [0.05, 0.1, 0.2, 0.3])
def test_known_sampling_noise_confirms_and_refutes(coarsest: float) -> None:
    error, sampling = _sampled(2.0, coarsest, 1)
    told = _verdicts(error, sampling)
    # the hull over other windows and models only widens: it may cost a fifth
    assert told["confirmed"] >= 0.8 * _power(sampling) * 400
    assert told["refuted"] == 0
    lower = _verdicts(*_sampled(1.0, coarsest, 2))
    assert lower["refuted"] >= 0.9 * 400
    assert lower["confirmed"] == 0


def test_telling_the_noise_helps() -> None:
    error, sampling = _sampled(2.0, 0.3, 3)
    assert _verdicts(error, sampling)["confirmed"] > 1.1 * _verdicts(error, None)["confirmed"]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """What bench/calibration.py defines; it is no part of the package."""
    return run_path(str(Path(__file__).parents[2] / "bench" / "calibration.py"))


def _judged(true: bool, visible: bool, slope: Verdict, verdict: Verdict) -> Judged:
    field = "statement" if true else "L"
    return Judged(
        0.5, 0.6, "cyclic", field, 0.0 if true else 0.1, true, visible, a_fit(slope), verdict
    )


def test_rates_are_told_among_the_sequences_that_can_go_wrong(script: dict[str, Any]) -> None:
    """One of two visibly false claims is confirmed: 50 %, whatever true claims were judged beside them."""
    outcomes = [
        _judged(False, True, "confirmed", "confirmed"),
        _judged(False, True, "confirmed", "refuted"),
        _judged(False, False, "confirmed", "confirmed"),
        _judged(True, True, "refuted", "refuted"),
        *[_judged(True, True, "confirmed", "confirmed")] * 3,
        _judged(True, True, "inconclusive", "inconclusive"),
    ]
    engine_rates = script["engine_rates"]
    rates, by_slope = engine_rates(outcomes), engine_rates(outcomes, by_slope=True)
    assert rates["false_confirmations"] == 1 / 8
    assert rates["false_confirmations_of_visibly_false"] == 1 / 2
    assert by_slope["false_confirmations_of_visibly_false"] == 1.0
    assert rates["false_refutations"] == 1 / 8
    assert rates["false_refutations_of_visibly_true"] == 1 / 5
    assert rates["inconclusive_true"] == 1 / 5
    nothing = engine_rates([])
    assert nothing["false_confirmations_of_visibly_false"] == 0.0


def test_rates_of_a_kind_are_told_among_those_too(
    synthetic: list[Outcome], script: dict[str, Any]
) -> None:
    rates = script["summary"](synthetic)
    for kind, one in rates["rates_by_kind"].items():
        told = rates["by_kind"]
        for truth, verdict, name in (
            ("false", "confirmed", "false_confirmations_of_visibly_false"),
            ("true", "refuted", "false_refutations_of_visibly_true"),
        ):
            tally = told.get(f"{kind}/{truth}", {})
            assert one[name] == tally.get(verdict, 0) / max(sum(tally.values()), 1)


def test_engine_sequences() -> None:
    cells = [
        c for i, c in enumerate(make_cells(seed=5, per_stratum=6, problems=4)) if i % 6 == i // 6
    ]
    cells = cells[:3]  # the strata with the shorter ladders: seconds, not minutes
    outcomes = [o for cell in cells for o in judge_cell(cell)]
    assert len(outcomes) == 3 * 4 * 4
    for told in ([o.verdict for o in outcomes], [o.fit.verdict for o in outcomes]):
        judged = list(zip(outcomes, told, strict=True))
        assert not any(o.visible and o.true and v == "refuted" for o, v in judged)
        assert not any(o.visible and not o.true and v == "confirmed" for o, v in judged)
        assert sum(v == "confirmed" for o, v in judged if o.true) >= 0.7 * 24
        assert any(v == "refuted" for o, v in judged if not o.true)
    assert len(STRATA) == 5
