"""The search finds what is wrong, reports what it saw where nothing is, and repeats itself."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import find as find_example
from hypothesis import settings
from typer.testing import CliRunner

from stepbias.theory.adam_claims import CLAIMS
from stepbias.theory.variants import Variant
from stepbias.verify import check_certificate, escalation, search
from stepbias.verify.cells import Cell
from stepbias.verify.certificate import load
from stepbias.verify.cli import app
from stepbias.verify.escalation import Escalation
from tests.verify.campaign import a_cell, a_fit, use_claims

THEOREM = CLAIMS[0]
WRONG = replace(THEOREM, variant=Variant(L=0.5), wrong=())


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the registry hold a false claim only, and the second arithmetic take few steps."""
    use_claims(monkeypatch, WRONG)
    monkeypatch.setattr(escalation, "_SECONDS", 0.3)


def test_a_false_claim_is_refuted_with_a_certificate(wrong: None, tmp_path: Path) -> None:
    result = search.search(WRONG.id, examples=40, seed=1, out=tmp_path)
    assert result.found is not None
    assert result.found.verdict == "refuted"
    # L times 1/2 leaves an error of order h
    assert result.found.order == pytest.approx(1.0, abs=0.2)
    assert result.lowest is not None
    assert result.lowest.order <= result.found.order + 0.2
    assert check_certificate.main(result.path)
    assert load(result.path)["problem"]["cell"]["key"] == result.found.cell["key"]
    stored = json.loads((tmp_path / search.FILE).read_text(encoding="utf-8"))
    assert stored["found"]["number"] == result.found.number
    assert stored["certificate"] is None  # it has its own file
    # the stored example is tried first: another seed meets it at once
    again = search.search(WRONG.id, examples=40, seed=2, out=tmp_path)
    assert again.measured == 1
    assert again.found == result.found


def test_a_true_claim_survives_and_the_lowest_order_is_told(tmp_path: Path) -> None:
    first = search.search(THEOREM.id, examples=6, seed=5, out=tmp_path / "new" / "folder")
    assert first.found is None
    assert first.certificate is None
    assert first.problems == sum(first.verdicts.values()) > 0
    assert first.lowest is not None
    assert first.lowest.order >= 1.9
    second = search.search(THEOREM.id, examples=6, seed=5)
    assert second.as_dict() == first.as_dict()
    assert search.search(THEOREM.id, examples=6, seed=6).as_dict() != {
        **first.as_dict(),
        "seed": 6,
    }
    stored = json.loads((tmp_path / "new" / "folder" / search.FILE).read_text(encoding="utf-8"))
    seen = stored["lowest"]
    assert search.repeat(THEOREM.id, seen["cell"], seen["number"]).order == first.lowest.order
    with pytest.raises(ValueError, match="number = 1000; accepted"):
        search.repeat(THEOREM.id, seen["cell"], 1000)


def test_a_refutation_that_escalation_dismisses_is_counted_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []

    def dismiss(claim: Any, cell: Cell, number: int) -> Escalation:
        calls.append(number)
        return Escalation(a_fit("inconclusive", 1.5))

    monkeypatch.setattr(search, "escalate", dismiss)
    use_claims(monkeypatch, WRONG)
    result = search.search(WRONG.id, examples=4, seed=1)
    assert result.found is None
    assert result.dismissed == len(calls) == len(result.dismissals) > 0
    assert "refuted at first, not after escalation: as given" in result.lines()


def test_hypothesis_is_told_the_lowest_order_and_the_lowest_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[str, float]] = []
    fits = [
        a_fit("confirmed", 2.1, (1.95, 2.3)),
        a_fit("inconclusive", 1.7, (1.5, np.inf)),
        a_fit("inconclusive", np.nan, (-np.inf, np.inf)),
    ]
    monkeypatch.setattr(search, "target", lambda value, label: told.append((label, value)))
    monkeypatch.setattr(search, "measure_cell", lambda *_: (fits, [0, 1, 2], Counter()))
    result = search.search(THEOREM.id, examples=3, seed=0)
    assert told[:2] == [("order", -1.7), ("end of its interval", -2.3)]
    assert len(told) >= 2 * result.measured
    # the lowest order that is reported is a decided one, where there is one
    assert result.lowest is not None
    assert (result.lowest.order, result.lowest.number) == (2.1, 0)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_cells_stay_inside_the_claim(claim: Any) -> None:
    cell = find_example(search.cells(claim), lambda _: True, settings=settings(database=None))
    assert (cell.algorithm, cell.place) == (claim.algorithm, claim.place)
    assert cell.pooled
    assert cell.beta == 0.0 or claim.algorithm == "adam"
    if claim.problems != "random":
        assert cell.kind == claim.problems


def test_exact_claims_are_searched_on_both_sides() -> None:
    hunt = search._Hunt(THEOREM, search.SearchResult("", 0, 1))
    low = a_fit("confirmed", 0.95, expected=1.0, exact=True)
    high = a_fit("confirmed", 1.06, expected=1.0, exact=True)
    assert hunt.miss(high) < hunt.miss(low)
    assert hunt.bound(high) < hunt.bound(low)
    assert hunt.miss(a_fit("confirmed", 1.9)) < hunt.miss(a_fit("confirmed", 2.1))


def test_no_files_are_left_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    search.search("adam-inside/bilinear", examples=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"claim_id": "adam-inside"}, "names"),
        ({"claim_id": "no-such-claim"}, "is unknown"),
        ({"claim_id": THEOREM.id, "examples": 0}, "examples = 0"),
        ({"claim_id": THEOREM.id, "seed": -1}, "seed = -1"),
    ],
)
def test_unusable_arguments_are_named(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        search.search(**arguments)


def test_the_command_has_three_exit_statuses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = search.Seen(1.0, (0.9, 1.1), "refuted", "as given", 3, asdict(a_cell()))
    results = [
        search.SearchResult(THEOREM.id, 0, 9, found=found, lowest=found, path="there.json"),
        search.SearchResult(THEOREM.id, 0, 9, excluded={"moves too little": 2}),
    ]
    calls: list[dict[str, Any]] = []

    def fake(claim: str, **options: Any) -> search.SearchResult:
        options.pop("progress")
        calls.append({"claim": claim, **options})
        return results[len(calls) - 1]

    monkeypatch.setattr(search, "search", fake)
    run = CliRunner().invoke
    one = run(app, ["search", THEOREM.id, "--examples", "9", "--out", str(tmp_path)])
    assert one.exit_code == 1
    assert "counter-example: 1.000, refuted (as given)" in one.stdout
    assert "certificate: there.json" in one.stdout
    none = run(app, ["search", THEOREM.id, "--seed", "4"])
    assert none.exit_code == 0
    assert "no counter-example found" in none.stdout
    assert "excluded: 2 x moves too little" in none.stdout
    assert calls == [
        {"claim": THEOREM.id, "examples": 9, "seed": 0, "out": tmp_path},
        {"claim": THEOREM.id, "examples": 200, "seed": 4, "out": None},
    ]
    monkeypatch.undo()
    assert run(app, ["search", "no-such-claim"]).exit_code == 2
    assert run(app, ["search", THEOREM.id, "--examples", "0"]).exit_code == 2
    assert run(app, ["search"]).exit_code == 2
