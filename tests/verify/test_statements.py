from __future__ import annotations

import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from stepbias.theory.statement import Statement
from stepbias.verify import registry
from stepbias.verify.report import row_from_json
from stepbias.verify.runner import replay, run_claims
from stepbias.verify.samples import Samples, Setting, label, together
from stepbias.verify.statements import judge, settle, summarise_statement


def statement(kind: Any = "inequality", **changes: Any) -> Statement:
    order = {"expected_order": 2.0} if kind == "order" else {}
    base: dict[str, Any] = {
        "id": "test/toy",
        "source": "nobody, Lemma 0",
        "statement": "left is at most right",
        "latex": "a \\le b",
        "assumptions": ("none",),
        "expected": "holds",
        "kind": kind,
        "experiment": "toy.measure",
    }
    return Statement(**base | order | changes)


def sides(left: Any, right: Any, **more: Any) -> Samples:
    numbers = np.arange(len(left))
    return Samples(numbers, np.array([label(k=k) for k in numbers]), left=left, right=right, **more)


@pytest.mark.parametrize(
    ("left", "uncertainty", "verdict"),
    [(0.9, 0.05, "confirmed"), (0.97, 0.05, "inconclusive"), (1.04, 0.05, "inconclusive"), (1.06, 0.05, "refuted")],
)  # fmt: skip
def test_an_inequality_is_judged_beyond_its_uncertainty(
    left: float, uncertainty: float, verdict: str
) -> None:
    found = sides([left], [1.0], uncertainty=[uncertainty])
    assert judge(statement(), found).verdict == [verdict]


@pytest.mark.parametrize(
    ("left", "verdict"), [(0.0, "confirmed"), (1.0, "confirmed"), (2.9, "inconclusive"), (3.1, "refuted"), (np.nan, "inconclusive")]
)  # fmt: skip
def test_an_identity_is_refuted_beyond_three_bounds(left: float, verdict: str) -> None:
    assert judge(statement("identity"), sides([left], [1.0])).verdict == [verdict]


def test_exact_arithmetic_is_true_or_false() -> None:
    found = Samples([0, 1], ["a", "b"], truth=[True, False], certificate=["1 < 2", "3 < 2"])  # type: ignore[arg-type]
    judged = judge(statement("exact"), found)
    assert judged.verdict == ["confirmed", "refuted"]
    row = summarise_statement(statement("exact"), judged, 0.0)
    assert (row.verdict, row.worst["problem"], row.certificate["numbers"]) == (
        "refuted",
        1,
        "3 < 2",
    )


def powers(order: float, count: int = 6, floor: float = 1e-14) -> Samples:
    x = np.tile(0.5 ** np.arange(2, 9), (count, 1))
    factor = 1.0 + 0.1 * np.arange(count)[:, None]
    return Samples(
        np.arange(count), [label(k=k) for k in range(count)],  # type: ignore[arg-type]
        x=x, error=factor * x**order * (1.0 + 0.3 * x), floor=np.full_like(x, floor),
    )  # fmt: skip


@pytest.mark.parametrize(("order", "verdict"), [(2.0, "confirmed"), (1.0, "refuted")])
def test_an_order_is_judged_by_the_fit(order: float, verdict: str) -> None:
    claim = statement("order")
    judged = judge(claim, powers(order))
    assert set(judged.verdict) == {verdict}
    row = summarise_statement(claim, judged, 0.0)
    assert row.verdict == verdict
    assert row.measured == pytest.approx(order, abs=0.01)
    assert row.points["x"] == "step size h"
    named = replace(claim, expected="order = 2 in 1 - rho")
    assert summarise_statement(named, judged, 0.0).points["x"] == "1 - rho"


def test_problems_that_are_not_pooled_are_reported_and_not_judged() -> None:
    found = sides([0.5, 2.0], [1.0, 1.0], pooled=[True, False], stratum=["", "defaults"])
    row = summarise_statement(statement(), judge(statement(), found), 0.0)
    assert (row.verdict, row.problems) == ("confirmed", 1)
    assert [(s.name, s.refuted) for s in row.strata] == [("not pooled: defaults", 1)]


def test_resolution_is_the_smallest_change_that_shows() -> None:
    claim = statement()
    row = summarise_statement(claim, judge(claim, sides([0.5, 0.8], [1.0, 1.0])), 0.0)
    assert row.resolution == {"the right side": pytest.approx(0.2)}
    known = replace(
        sides([0.0, 0.0], [1e-15, 1e-15]), scale=np.array([1.0, 0.1]), caught={"P": np.array([0.1, np.nan])}
    )  # fmt: skip
    same = summarise_statement(statement("identity"), judge(statement("identity"), known), 0.0)
    assert same.resolution == {"P": 0.1, "value": pytest.approx(3e-14)}


def test_too_many_undecided_problems_are_no_confirmation() -> None:
    found = sides([0.5, 0.99, 0.5], [1.0] * 3, uncertainty=[0.1] * 3)
    assert summarise_statement(statement(), judge(statement(), found), 0.0).verdict == (
        "inconclusive"
    )


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Statement:
    """A registered statement x^2 <= factor x on (0, 1); "smaller" halves the right side."""
    module: Any = ModuleType("stepbias.verify.experiments.toy")

    def measure(variant: str, setting: Setting) -> Samples:
        numbers = setting.numbers(5, 10, 20)
        draws = [setting.rng("toy", int(k)).random() for k in numbers]
        # the last problem only looks false until it is measured finer
        rough = [0.4 if k == 4 and setting.finer == 1 and not variant else 0.0 for k in numbers]
        x = 0.6 + 0.3 * np.array(draws)
        factor = {"": 1.0, "smaller": 0.5, "same": 1.0}[variant]
        left = x * x + np.array(rough) * 3
        return Samples(numbers, [label(k=k) for k in numbers], left=left, right=factor * x)  # type: ignore[arg-type]

    module.measure = measure
    monkeypatch.setitem(sys.modules, module.__name__, module)
    claim = statement(wrong=("smaller", "same"))
    monkeypatch.setattr(registry, "CLAIMS", (*registry.CLAIMS, claim))
    return claim


def test_a_run_judges_statements_beside_other_claims(toy: Statement, tmp_path: Any) -> None:
    report = run_claims([toy.id], out=tmp_path, mutants=True)
    (row,) = report.rows
    assert (row.verdict, row.problems) == ("confirmed", 5)
    outcome = {m.name: (m.verdict, m.visible) for m in row.mutants}
    assert outcome["smaller"] == ("refuted", 5)
    # the fifth problem of "same" differs from the statement's, which looked false
    assert outcome["same"][0] == "confirmed"
    assert not report.ok
    again = run_claims([toy.id], out=tmp_path, mutants=True)
    assert again.rows[0].seconds == row.seconds  # from the store
    stored = row_from_json(report.as_dict()["rows"][0])
    assert (stored.points["labels"], stored.resolution) == (row.points["labels"], row.resolution)
    for name in ("report.md", "report.html", "report.tex"):
        getattr(report, {"md": "to_markdown", "html": "to_html", "tex": "to_latex"}[name[7:]])(
            tmp_path / name
        )
        assert "toy" in (tmp_path / name).read_text(encoding="utf-8")


def test_what_looks_refuted_is_measured_again(toy: Statement) -> None:
    from stepbias.verify.experiments import measure

    judged = judge(toy, measure(toy, "", Setting()))
    assert judged.verdict[4] == "refuted"
    settled = settle(toy, judged, Setting())
    assert settled.verdict[4] == "confirmed"
    assert "measured again" in settled.reason[4]


@pytest.mark.parametrize(
    ("second", "doubt", "verdict", "disputed"),
    [
        (2.0, 0.1, "refuted", 0),
        (0.5, 0.1, "confirmed", 0),  # the finer look clears it
        (1.05, 0.1, "inconclusive", 1),  # it does not decide, and does not agree
        (1.6, 0.9, "refuted", 0),  # less sharp than the first look, and agrees with it
        (None, 0.1, "inconclusive", 1),  # no longer admissible
    ],
)
def test_a_second_look_clears_only_what_it_decides(
    toy: Statement,
    monkeypatch: pytest.MonkeyPatch,
    second: float | None,
    doubt: float,
    verdict: str,
    disputed: int,
) -> None:
    def measure(variant: str, setting: Setting) -> Samples:
        if setting.only is None:
            return sides([1.5] + [0.5] * 9, [1.0] * 10, uncertainty=[0.2] * 10)
        found = sides([0.0 if second is None else second], [1.0], uncertainty=[doubt])
        labelled = replace(found, numbers=np.array([setting.only]), labels=np.array(["other"]))
        return labelled.take(np.arange(0 if second is None else 1))

    monkeypatch.setattr(sys.modules["stepbias.verify.experiments.toy"], "measure", measure)
    judged = settle(toy, judge(toy, measure("", Setting())), Setting())
    assert (judged.verdict[0], len(judged.disputed)) == (verdict, disputed)
    row = summarise_statement(toy, judged, 0.0)
    assert row.verdict == verdict


@pytest.mark.parametrize(
    ("kind", "left", "right", "verdict"),
    [
        ("inequality", 1.0, np.inf, "inconclusive"),
        ("inequality", -np.inf, 1.0, "inconclusive"),
        ("identity", -5.0, 1e-10, "refuted"),
        ("identity", 0.0, np.inf, "inconclusive"),
    ],
)
def test_sides_that_are_not_finite_decide_nothing(
    kind: str, left: float, right: float, verdict: str
) -> None:
    assert judge(statement(kind), sides([left], [right])).verdict == [verdict]


@pytest.mark.parametrize("floor", [np.inf, np.nan])
def test_an_error_of_unknown_floor_is_no_point(floor: float) -> None:
    found = powers(2.0)
    judged = judge(statement("order"), replace(found, floor=np.full_like(found.x, floor)))
    assert set(judged.verdict) == {"inconclusive"}


def test_one_undefined_problem_does_not_hide_the_others() -> None:
    claim = statement()
    row = summarise_statement(claim, judge(claim, sides([np.nan] + [0.5] * 7, [1.0] * 8)), 0.0)
    assert (row.verdict, row.measured, row.interval) == ("confirmed", 0.5, (0.5, 0.5))
    assert row.resolution == {"the right side": 0.5}


def test_replay_of_an_unpooled_problem_judges_it(
    toy: Statement, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sides([0.5, 2.0], [1.0, 1.0], pooled=[True, False])
    module = sys.modules["stepbias.verify.experiments.toy"]
    monkeypatch.setattr(module, "measure", lambda variant, setting: found)
    assert replay(toy.id, seed=0, problem=1).verdict == "refuted"
    with pytest.raises(ValueError, match="problem = 2"):
        replay(toy.id, seed=0, problem=2)


def test_replay_measures_one_problem(toy: Statement) -> None:
    row = replay(toy.id, seed=0, problem=2)
    assert (row.problems, row.worst["problem"]) == (1, 2)
    full = run_claims([toy.id]).rows[0]
    assert row.measured == pytest.approx(
        full.points["left"][2] / full.points["right"][2], rel=1e-15
    )
    with pytest.raises(ValueError, match="problem = 7"):
        replay(toy.id, seed=0, problem=7)


def test_an_experiment_must_return_what_its_kind_needs(toy: Statement) -> None:
    from stepbias.verify.experiments import measure

    with pytest.raises(ValueError, match="gives no 'x'"):
        measure(replace(toy, kind="order", expected_order=1.0), "", Setting())


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "sometimes"},
        {"experiment": "toy"},
        {"expected_order": 1.0},
        {"wrong": ("a", "a")},
        {"wrong": ("a",), "variant": "a"},
        {"expected_verdict": "maybe"},
    ],
)
def test_a_statement_is_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="accepted"):
        statement(**changes)


def test_samples_survive_the_store() -> None:
    found = replace(powers(1.0), caught={"a b": np.ones(6)}, excluded={"too short": 3})
    again = Samples.from_arrays(found.arrays())
    assert again.excluded == {"too short": 3}
    assert list(again.caught) == ["a b"]
    for name, value in found.arrays().items():
        assert np.array_equal(value, again.arrays()[name])


@pytest.mark.parametrize(
    "bad",
    [
        {"left": [1.0]},
        {"labels": np.array(["a"])},
        {"caught": {"x": np.ones(3)}},
        {"uncertainty": [-1.0, 0.0]},
        {"x": np.ones((2, 3)), "error": np.ones((2, 2)), "floor": np.ones((2, 2))},
    ],
)
def test_samples_are_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="accepted"):
        replace(sides([1.0, 2.0], [1.0, 2.0]), **bad)


def test_settings_give_every_problem_its_own_numbers() -> None:
    one, other = Setting(seed=3), Setting(seed=3, only=5, profile="standard")
    assert list(one.numbers(4, 8, 9)) == [0, 1, 2, 3]
    assert list(other.numbers(4, 8, 9)) == [5]
    assert one.rng("a", 5).random() == other.rng("a", 5).random()
    assert one.rng("a", 5).random() != one.rng("a", 6).random()
    assert one.rng("a", 5).random() != one.rng("b", 5).random()


def test_rows_of_unequal_length() -> None:
    assert np.array_equal(
        together([[1.0], [2.0, 3.0]]), [[1.0, np.nan], [2.0, 3.0]], equal_nan=True
    )


@pytest.mark.parametrize("command", ["search", "instruments"])
def test_commands_on_trajectories_refuse_statements(toy: Statement, command: str) -> None:
    from typer.testing import CliRunner

    from stepbias.verify.cli import app

    found = CliRunner().invoke(app, [command, toy.id])
    assert found.exit_code == 2
    assert "experiment of its own" in found.output
