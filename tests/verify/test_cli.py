"""The command line: exit statuses, what is written where, and how it fails."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stepbias.verify import cli, problems
from stepbias.verify.cli import app
from stepbias.verify.report import Report
from stepbias.verify.rows import Row
from stepbias.verify.runner import NoSuchProblemError
from stepbias.verify.terminal import usage

MakeRow = Callable[..., Row]


@dataclass
class FakeClaim:
    """The attributes of a claim that the command line reads."""

    id: str
    source: str = "Theorem 1"
    statement: str = "the order is 2 [sic]"
    latex: str = r"O(h^2)"
    assumptions: tuple[str, ...] = ("bounded derivatives",)
    expected: str = "order 2"
    mutants: tuple[str, ...] = ("drop-bias",)
    slip: bool = False


@dataclass
class Library:
    """Stands for the runner and the registry, and remembers how it was called."""

    report: Report
    calls: list[dict[str, Any]] = field(default_factory=list)
    error: BaseException | None = None

    def run_claims(self, ids: list[str] | None, **options: Any) -> Report:
        self.calls.append({"ids": ids, **options})
        options["progress"](1, 2, "adam-inside/global-order [1]")
        if self.error is not None:
            raise self.error
        if options["out"] is not None:
            self.report.save(options["out"])
        return self.report

    def replay(self, claim: str, **options: Any) -> Row:
        self.calls.append({"claim": claim, **options})
        return self.report.rows[0]

    def find(self, ids: list[str] | str | None) -> list[FakeClaim]:
        return [FakeClaim(name) for name in ([ids] if isinstance(ids, str) else ids or ["a", "b"])]

    def find_one(self, name: str) -> FakeClaim:
        return self.find(name)[0]

    def claims(self) -> list[FakeClaim]:
        return [FakeClaim("adam/global-order"), FakeClaim("slip/table-1", slip=True)]


@pytest.fixture
def library(report: Report, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Put a fake runner and registry in the place of the real ones."""
    made = Library(Report(report.rows[:2], report.meta))
    runner, registry = ModuleType("runner"), ModuleType("registry")
    runner.run_claims, runner.replay = made.run_claims, made.replay  # type: ignore[attr-defined]
    runner.NoSuchProblemError = NoSuchProblemError  # type: ignore[attr-defined]
    registry.claims, registry.find = made.claims, made.find  # type: ignore[attr-defined]
    registry.find_one = registry.find_trajectory_claim = made.find_one  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stepbias.verify.runner", runner)
    monkeypatch.setitem(sys.modules, "stepbias.verify.registry", registry)
    return made


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_verify_prints_a_row_a_claim_and_succeeds(library: Library) -> None:
    result = call("verify")
    assert result.exit_code == 0, result.output
    assert "adam-inside/global-order" in result.stdout
    assert "order 1.00 [0.97, 1.03] is below 1.9" in result.stdout  # the refuted slip's reason
    assert "would have caught a relative change of: L 1.2 %" in result.stdout
    assert "all 2 verdicts are the expected ones" in result.stdout
    (used,) = library.calls
    del used["progress"]
    assert used == {
        "ids": None,
        "profile": "quick",
        "seed": 0,
        "device": "cpu",
        "out": None,
        "mutants": False,
        "workers": None,
    }


def test_verify_passes_its_options_on(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepbias.kernels.gpu.device.why_not", lambda: "")
    arguments = "verify a b --profile thorough --mutants --seed 5 --device cuda --workers 3"
    result = call(*arguments.split(), "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    (used,) = library.calls
    assert used["ids"] == ["a", "b"]
    assert used["profile"] == "thorough"
    assert used["mutants"] is True
    assert (used["seed"], used["device"], used["workers"]) == (5, "cuda", 3)
    assert Report.load(tmp_path / "run").ok


def test_verify_fails_on_an_unexpected_verdict(library: Library, report: Report) -> None:
    library.report = report
    result = call("verify")
    assert result.exit_code == 1
    assert "not as expected: rmsprop/global-order: inconclusive" in result.stdout


def test_verify_fails_on_a_surviving_variant(library: Library) -> None:
    library.report.rows[0].mutants[0].verdict = "confirmed"
    assert call("verify", "--mutants").exit_code == 1


def test_verify_fails_when_nothing_was_run(library: Library) -> None:
    library.report = Report([])
    assert call("verify").exit_code == 1


def test_json_to_standard_output_leaves_it_clean(library: Library) -> None:
    result = call("verify", "--json", "-")
    assert result.exit_code == 0
    assert [row["id"] for row in json.loads(result.stdout)["rows"]] == [
        "adam-inside/global-order",
        "slip/table-1",
    ]
    assert "all 2 verdicts" in result.stderr


def test_json_to_a_file(library: Library, tmp_path: Path) -> None:
    result = call("verify", "--json", tmp_path / "rows.json")
    assert result.exit_code == 0
    assert len(Report.from_json(tmp_path / "rows.json").rows) == 2
    assert "adam-inside/global-order" in result.stdout


def test_json_into_a_missing_folder_is_refused_before_the_run(
    library: Library, tmp_path: Path
) -> None:
    result = call("verify", "--json", tmp_path / "no" / "rows.json")
    assert result.exit_code == 2
    assert library.calls == []


@pytest.mark.parametrize("name", ["", "."])
def test_json_into_a_folder_is_refused_before_the_run(library: Library, name: str) -> None:
    result = call("verify", "--json", name)
    assert result.exit_code == 2
    assert "is not the name of a file" in result.stderr
    assert library.calls == []


@pytest.mark.parametrize("kind", [ValueError, TypeError])
def test_what_the_library_refuses_is_one_line_and_status_2(
    library: Library, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def refuse(_: object) -> None:
        raise kind("ids: got 'x',\n accepts 'a'")

    for name in ("find", "find_one", "find_trajectory_claim"):
        monkeypatch.setattr(sys.modules["stepbias.verify.registry"], name, refuse)
    for command in ("verify x", "search x", "instruments x", "replay x --seed 1 --problem 0"):
        result = call(*command.split())
        assert result.exit_code == 2
        assert result.stderr == "stepbias: ids: got 'x', accepts 'a'\n"
        assert result.stdout == ""
    assert library.calls == []


@pytest.mark.parametrize(
    "error",
    [
        ValueError("zero-size array"),
        TypeError("not callable"),
        UnicodeEncodeError("cp1252", "\u2265", 0, 1, "no such letter"),
        ModuleNotFoundError("no joblib", name="joblib"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_bug_in_the_run_keeps_its_traceback(library: Library, error: Exception) -> None:
    library.error = error
    assert call("verify").exception is error


def test_encoding_errors_are_no_bad_arguments(library: Library, report: Report) -> None:
    with pytest.raises(UnicodeEncodeError), usage():
        "\u2265".encode("cp1252")
    library.error = OSError(28, "the disk is full")
    result = call("verify")
    assert result.exit_code == 2
    assert "the disk is full" in result.stderr


@pytest.mark.parametrize(
    "command", ["search {} --examples 1", "replay {} --seed 0 --problem 0", "instruments {}"]
)
def test_without_scikit_learn_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    problems.breast_cancer.cache_clear()
    result = call(*command.format("adam-inside/logistic-regression").split())
    assert result.exit_code == 2
    assert "needs scikit-learn: pip install 'stepbias[data]'" in result.stderr
    assert "Traceback" not in result.output


def narrow(monkeypatch: pytest.MonkeyPatch, name: str = "stdout") -> io.BytesIO:
    """Let a standard stream know the letters of Western Europe only."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding="cp1252", write_through=True))
    return raw


def test_letters_that_a_stream_lacks_do_not_cost_the_run(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = narrow(monkeypatch)
    arguments = ["verify", "--json", str(tmp_path / "rows.json")]
    assert app(arguments, standalone_mode=False) == 0
    assert "order ? 2" in raw.getvalue().decode("cp1252")
    assert Report.from_json(tmp_path / "rows.json").rows[0].expected == "order \u2265 2"


def test_json_on_a_stream_without_the_letters_loses_nothing(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = narrow(monkeypatch)
    assert app(["verify", "--json", "-"], standalone_mode=False) == 0
    rows = json.loads(raw.getvalue().decode("cp1252"))["rows"]
    assert rows[0]["expected"] == "order \u2265 2"


def test_the_file_is_written_though_the_table_cannot_be_shown(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no table")

    monkeypatch.setattr(cli, "_show", fail)
    result = call("verify", "--json", tmp_path / "rows.json")
    assert isinstance(result.exception, RuntimeError)
    assert len(Report.from_json(tmp_path / "rows.json").rows) == 2


def test_the_table_is_shown_though_the_disk_is_full(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "the disk is full")

    monkeypatch.setattr(Report, "to_json", fail)
    result = call("verify", "--json", tmp_path / "rows.json")
    assert result.exit_code == 2
    assert "the disk is full" in result.stderr
    assert "all 2 verdicts are the expected ones" in result.stdout


def test_a_variant_that_was_not_tested_fails_and_is_told(library: Library) -> None:
    library.report.rows[0].mutants[0].visible = 0
    result = call("verify", "--mutants")
    assert result.exit_code == 1
    assert "not tested: visible on no problem" in result.stdout


def test_a_traceback_can_be_asked_for(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.error = ValueError("deep inside")
    monkeypatch.setenv("STEPBIAS_TRACEBACK", "1")
    assert call("verify").exception is library.error


def test_interruption_is_no_verdict(library: Library) -> None:
    library.error = KeyboardInterrupt()
    assert call("verify").exit_code == 130


@pytest.mark.parametrize(
    "arguments",
    [
        "verify --profile fast",
        "verify --device tpu",
        "verify --seed -1",
        "verify --workers 0",
        "verify --no-such-option",
        "no-such-command",
        "replay",
        "replay adam --seed 1",
        "replay adam --seed 1 --problem -1",
        "report no-such-folder",
    ],
)
def test_unusable_arguments(library: Library, arguments: str) -> None:
    result = call(*arguments.split())
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert library.calls == []


def test_claims_lists_all_or_the_slips(library: Library) -> None:
    result = call("claims")
    assert result.exit_code == 0
    assert "adam/global-order" in result.stdout
    assert "[sic]" in result.stdout
    assert "slip/table-1" in result.stdout
    result = call("claims", "--slips")
    assert "slip/table-1" in result.stdout
    assert "adam/global-order" not in result.stdout


def test_claims_says_when_there_is_no_slip(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = sys.modules["stepbias.verify.registry"]
    monkeypatch.setattr(registry, "claims", lambda: [FakeClaim("adam/global-order")])
    result = call("claims", "--slips")
    assert result.exit_code == 0
    assert "no misprints" in result.stdout
    assert json.loads(call("claims", "--slips", "--json").stdout) == []


def test_claims_as_json(library: Library) -> None:
    entries = json.loads(call("claims", "--json").stdout)
    assert [entry["id"] for entry in entries] == ["adam/global-order", "slip/table-1"]
    assert set(entries[0]) == {
        "id",
        "source",
        "statement",
        "latex",
        "assumptions",
        "expected",
        "mutants",
        "slip",
    }


@pytest.mark.parametrize(
    ("name", "file"), [("html", "report.html"), ("markdown", "report.md"), ("latex", "report.tex")]
)
def test_report_renders_a_stored_run(report: Report, tmp_path: Path, name: str, file: str) -> None:
    report.save(tmp_path)
    result = call("report", tmp_path, "--format", name)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / file)
    assert "adam-inside/global-order" in (tmp_path / file).read_text(encoding="utf-8")


def test_report_as_json_is_the_stored_file(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path)
    result = call("report", tmp_path, "--format", "json")
    assert result.stdout == (tmp_path / "report.json").read_text(encoding="utf-8")


def test_report_of_an_empty_folder(tmp_path: Path) -> None:
    result = call("report", tmp_path)
    assert result.exit_code == 2
    assert "report.json" in result.stderr


def test_report_of_a_damaged_row(report: Report, tmp_path: Path) -> None:
    document = report.as_dict()
    document["rows"][0]["hardest"] = None
    (tmp_path / "report.json").write_text(json.dumps(document))
    result = call("report", tmp_path)
    assert result.exit_code == 2
    assert "is not a stepbias report" in result.stderr
    assert "Traceback" not in result.output


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepbias.kernels.gpu.device.why_not", lambda: "no GPU")
    result = call("verify", "adam-inside/bilinear", "--device", "cuda")
    assert result.exit_code == 2
    assert "device = 'cuda' cannot be used: no GPU" in result.stderr


def test_replay_of_a_problem_outside_the_run() -> None:
    result = call("replay", "adam-inside/bilinear", "--seed", 0, "--problem", 10**6)
    assert result.exit_code == 2
    assert "problem = 1000000; accepted: an integer from 0 to " in result.stderr


def test_replay_prints_the_points_and_the_reason(library: Library, make_row: MakeRow) -> None:
    library.report = Report([make_row(problems=1, reason="slopes settle at 2 [three windows]")])
    result = call("replay", "adam-inside/global-order", "--seed", 3, "--problem", 12)
    assert result.exit_code == 0, result.output
    assert library.calls == [
        {"claim": "adam-inside/global-order", "seed": 3, "problem": 12, "profile": "quick"}
    ]
    assert "local slope" in result.stdout
    assert "slopes settle at 2 [three windows]" in result.stdout


def test_replay_of_an_unexpected_verdict(library: Library, make_row: MakeRow) -> None:
    library.report = Report([make_row(verdict="refuted", reason="order 1")])
    assert call("replay", "a", "--seed", 3, "--problem", 12).exit_code == 1


def test_version_is_printed() -> None:
    result = call("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("stepbias 0.")


def test_unknown_claim_is_refused_by_the_real_library() -> None:
    result = call("verify", "no-such-claim")
    assert result.exit_code == 2
    assert "no-such-claim" in result.stderr
