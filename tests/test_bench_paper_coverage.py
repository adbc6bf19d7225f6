"""bench/paper_coverage.py: the page from the table and from stored rows."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stepbias.theory import coverage as table
from stepbias.theory.coverage import Item
from stepbias.theory.statement import Statement
from stepbias.verify.registry import CLAIMS
from stepbias.verify.report import Report
from stepbias.verify.rows import Row

SCRIPT = Path(__file__).resolve().parents[1] / "bench" / "paper_coverage.py"
ORDER = "adam-inside/global-order"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_paper_coverage", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stored(name: str, **changes: Any) -> Row:
    values: dict[str, Any] = {
        "id": name, "source": "", "statement": "", "expected": "order >= 2", "expected_order": 2.0, "expected_verdict": "confirmed",
        "measured": 1.98765, "interval": (1.97, float("inf")), "verdict": "confirmed", "reason": "", "seconds": 1.0, "problems": 9, "counts": {},
        "resolution": {"P": 0.03, "L": 0.0125, "Pbar": float("inf")},
    }  # fmt: skip
    return Row(**(values | changes))


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    Report([stored(ORDER)], {"profile": "standard", "seed": 3}).to_json(path)
    return path


def row_of(page: str, name: str) -> str:
    return next(line for line in page.splitlines() if f"`{name}`" in line)


def test_a_report_fills_the_columns(script: ModuleType, report: Path, tmp_path: Path) -> None:
    results, page = tmp_path / "kept.json", tmp_path / "page.md"
    given = ["--results", str(results), "--page", str(page)]
    assert script.main([*given, "--report", str(report)]) == 0
    line = row_of(page.read_text(), ORDER)
    assert "| confirmed | order 1.988 [1.970, –] | L 0.013, P 0.03, Pbar none |" in line
    assert "profile standard, seed 3" in page.read_text()
    # the kept results alone write the same page
    before = page.read_text()
    page.unlink()
    assert script.main(given) == 0
    assert page.read_text() == before
    assert script.main([*given, "--check"]) == 0
    page.write_text(before + "stale")
    assert script.main([*given, "--check"]) == 1


def test_a_later_report_replaces_rows(script: ModuleType, report: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.json"
    Report([stored(ORDER, verdict="refuted")], {"profile": "quick"}).to_json(later)
    found = script.kept([Report.from_json(report), Report.from_json(later)], {})
    assert found[ORDER]["verdict"] == "refuted"
    assert script.verdict(found[ORDER]) == "**refuted** (expected: confirmed)"
    assert script.verdict(found[ORDER] | {"expected_verdict": "refuted"}) == "refuted, as expected"
    # rows of claims that are gone are dropped
    assert "gone/claim" not in script.kept([], {"gone/claim": found[ORDER]} | found)


@pytest.mark.parametrize(
    ("kind", "right", "text"),
    [
        ("inequality", [2.0, 3.0], "at most 0.5 of the bound"),
        ("inequality", [0.0, 0.0], "at most 0.5"),
        ("identity", [1e-15, 1e-15], "at most 0.5 of the bound"),
        ("exact", [], "true in 50% of 9"),
    ],
)
def test_what_is_measured_is_told_by_kind(
    script: ModuleType, kind: str, right: list[float], text: str
) -> None:
    claim = next(c for c in CLAIMS if isinstance(c, Statement) and c.kind == kind)
    row = stored(claim.id, measured=0.5, points={"right": right} if right else {})
    found = script.kept([Report([row], {})], {})
    assert script.measured(claim.id, found[claim.id]) == text


def test_every_claim_and_item_is_on_the_page(script: ModuleType) -> None:
    page = script.page({})
    for claim in CLAIMS:
        assert f"`{claim.id}`" in page, claim.id
    for group in table.items().values():
        for item in group:
            assert item.place.replace("|", "\\|") in page
    assert "No run is kept yet." in page
    for line in page.splitlines():
        if line.startswith("|"):
            # a bar inside a cell is escaped: every row has the columns of its head
            assert line.replace("\\|", "").count("|") in (6, 7), line


def test_ids_that_do_not_exist_fail(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:  # fmt: skip
    before = table.items()
    changed = before | {"beyond": (*before["beyond"], Item("a", "b", ("no/such-claim",)))}
    monkeypatch.setattr(table, "items", lambda: changed)
    page = tmp_path / "page.md"
    assert script.main(["--page", str(page), "--results", str(tmp_path / "none.json")]) == 1
    assert "'no/such-claim' is unknown" in capsys.readouterr().err
    assert not page.exists()


def test_claims_that_no_item_names_fail(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:  # fmt: skip
    monkeypatch.setattr(table, "items", lambda: {"main": (Item("a", "b", reason="c"),)})
    assert (
        script.main(["--page", str(tmp_path / "p.md"), "--results", str(tmp_path / "r.json")]) == 1
    )
    assert ORDER in capsys.readouterr().err


def test_the_page_in_the_repository_is_the_one_that_is_written(script: ModuleType) -> None:
    kept = json.loads(script.RESULTS.read_text()) if script.RESULTS.exists() else {}
    assert script.PAGE.read_text() == script.page(kept), "run: python bench/paper_coverage.py"
