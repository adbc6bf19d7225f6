"""Reports: what is written can be read back, parsed by others and followed."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from stepbias.verify.figures import draw, file_name, inline, svg
from stepbias.verify.render import escape_latex, escape_markdown
from stepbias.verify.report import Report, environment, plain
from stepbias.verify.rows import MutantRow, Row, Verdict
from stepbias.verify.screen import mutant_table, points_table, report_table
from stepbias.verify.wording import inconclusive_share, notes, percent, replay_command

MakeRow = Callable[..., Row]


def strict(text: str) -> dict[str, object]:
    """Parse JSON, refusing the NaN and Infinity that Python would let pass."""

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def shown(table: object, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None).print(table)
    return stream.getvalue()


def test_json_round_trip_keeps_every_field(report: Report, tmp_path: Path) -> None:
    report.to_json(tmp_path / "a.json")
    back = Report.from_json(tmp_path / "a.json")
    assert back.meta == report.meta
    assert repr(back.rows) == repr(report.rows)  # repr: NaN equals NaN
    back.to_json(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_json_is_strict_and_has_the_promised_keys(report: Report) -> None:
    document = strict(report.json())
    rows = document["rows"]
    assert isinstance(rows, list)
    keys = {"id", "source", "expected", "measured", "interval", "verdict", "seconds", "h", "error"}
    assert all(keys <= set(row) for row in rows)
    assert rows[2]["measured"] is None
    assert rows[2]["interval"] == [None, None]
    assert rows[0]["interval"] == [1.9375, 2.0625]


def test_json_of_numpy_values_and_errors_that_are_not_finite(make_row: MakeRow) -> None:
    row = make_row(
        error=[np.array([1.0, np.nan, np.inf])],
        h=np.array([[0.5, 0.25, 0.125]]),
        used=[np.array([True, False, False])],
        measured=np.float64(2.0),
        problems=np.int64(1),
        worst={"problem": np.int64(4), "why": None, "path": Path("a/b")},
    )
    rows = strict(Report([row], {"seed": np.int64(1)}).json())["rows"]
    assert isinstance(rows, list)
    assert rows[0]["error"] == [[1.0, None, None]]
    assert rows[0]["used"] == [[True, False, False]]
    assert rows[0]["worst"] == {"problem": 4, "why": None, "path": "a/b"}


def test_plain_leaves_finite_values_alone() -> None:
    value = {"a": [1, 2.5, "x", True, None], "b": {"c": -0.0}}
    assert plain(value) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "{}",
        '{"format": 99, "meta": {}, "rows": []}',
        '{"format": 1, "rows": [1]}',
        '{"format": 1, "meta": null, "rows": []}',
        '{"format": 1, "meta": {}, "rows": {}}',
        "[" * 100_000,
    ],
    ids=range(8),
)
def test_from_json_refuses_other_files(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json.*is not a stepbias report"):
        Report.from_json(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hardest", None),
        ("resolution", []),
        ("counts", None),
        ("worst", 3),
        ("reasons", "x"),
        ("h", None),
        ("orders", {}),
        ("mutants", None),
        ("mutants", [3]),
        ("strata", [None]),
        ("reason", None),
        ("problems", "3"),
        ("interval", None),
        ("no such entry", 1),
    ],
)
def test_from_json_refuses_damaged_rows(
    report: Report, tmp_path: Path, name: str, value: object
) -> None:
    document = report.as_dict()
    document["rows"][0][name] = value
    path = tmp_path / "other.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"other\.json.*is not a stepbias report"):
        Report.from_json(path)


def test_store_and_load(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path / "new" / "run")
    assert [row.id for row in Report.load(tmp_path / "new" / "run").rows] == [
        row.id for row in report.rows
    ]
    with pytest.raises(ValueError, match=r"holds no report\.json"):
        Report.load(tmp_path)


def test_unexpected_names_surprises_and_surviving_variants(
    report: Report, make_row: MakeRow
) -> None:
    assert report.unexpected == ["rmsprop/global-order: inconclusive, expected confirmed"]
    assert not report.ok
    assert Report(report.rows[:2]).ok
    assert not Report([]).ok
    row = make_row()
    row.mutants[0].verdict = "inconclusive"
    assert "its wrong variant 'drop-bias' is inconclusive" in Report([row]).unexpected[0]


@pytest.mark.parametrize("verdict", ["refuted", "inconclusive"])
def test_a_variant_visible_on_no_problem_was_not_tested(
    make_row: MakeRow, tmp_path: Path, verdict: Verdict
) -> None:
    told = "not tested: visible on no problem"
    report = Report([make_row(mutants=[MutantRow("drop-bias", verdict, math.nan, 0, 0, 0, 3)])])
    assert not report.ok
    assert report.unexpected == [
        f"adam-inside/global-order: its wrong variant 'drop-bias' is {told}, expected refuted"
    ]
    assert told in shown(mutant_table(report.rows[0]), 130)
    report.to_markdown(tmp_path / "r.md")
    report.to_html(tmp_path / "r.html")
    assert f"| drop-bias | **{told}** |" in (tmp_path / "r.md").read_text(encoding="utf-8")
    assert f"{told}</span>" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert dict(notes(report.rows[0]))[f"wrong variants {told}"] == "drop-bias"


def test_markdown_links_lead_to_figures(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "my report.md"
    report.to_markdown(path)
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"!\[[^\n]*\]\(<([^>]*)>\)", text)
    assert len(links) == 2  # the third row has no points
    for link in links:
        assert ElementTree.parse(tmp_path / unquote(link)).getroot().tag.endswith("svg")


def test_markdown_tables_have_one_cell_a_column(report: Report, tmp_path: Path) -> None:
    report.to_markdown(tmp_path / "r.md")
    lines = (tmp_path / "r.md").read_text(encoding="utf-8").splitlines()
    width = 0
    tables = 0
    for line in lines:
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1 if line.startswith("|") else 0
        tables += width == 0 and cells > 0
        assert width in (0, cells) or cells == 0, line
        width = cells
    assert tables == 6  # verdicts; strata and variants of two rows; circumstances


def test_markdown_says_what_a_referee_asks(report: Report, tmp_path: Path) -> None:
    report.to_markdown(tmp_path / "r.md")
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "would have caught a relative change of: L 1.2 %, Pbar 30 %" in text
    assert "could not judge: 33 % of 3 problems\n" in text
    assert "not confirmed or left out: 2 x excluded: too far; 1 x not yet asymptotic" in text
    assert "worst problem: problem=2 β=0.9 (slopes drift)" in text
    assert "hardest settings: β=0.97 ρ=0.999 ε=1e-08 h=0.003906" in text
    assert "not yet asymptotic: needs h \\<= 1e-5" in text
    assert "ρ \\< 0.9 | 2 | 1 | 0 | 1 | 1.99" in text
    assert "stepbias replay slip/table-1 --seed 7 --problem 2 --profile standard" in text
    assert "| profile | standard |" in text


def test_resolution_stands_beside_confirmed_claims_only(make_row: MakeRow) -> None:
    heading = "would have caught a relative change of"
    assert heading in dict(notes(make_row()))
    assert heading not in dict(notes(make_row(verdict="refuted", reason="no")))


class _Tags(HTMLParser):
    """Open tags left over, and every id."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [str(values["id"])] if "id" in values else []
        for name in ("src", "href", "xlink:href"):
            target = values.get(name) or "#"
            if not target.startswith(("#", "data:")):
                self.fetched.append(target)
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_self_contained_and_escaped(report: Report, tmp_path: Path) -> None:
    report.to_html(tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.fetched == []
    assert len(tags.ids) == len(set(tags.ids))
    assert text.count("<svg") == 2
    assert "Theorem &lt;1&gt;" in text
    assert "Theorem <1>" not in text


def test_latex_escapes_and_balances(report: Report, tmp_path: Path) -> None:
    report.to_latex(tmp_path / "r.tex")
    text = (tmp_path / "r.tex").read_text(encoding="utf-8")
    body = [line for line in text.splitlines() if line.rstrip().endswith(r"\\")]
    assert len(body) == 1 + len(report.rows)
    assert all(len(re.findall(r"(?<!\\)&", line)) == 5 for line in body)
    plain_braces = text.replace(r"\{", "").replace(r"\}", "")
    assert plain_braces.count("{") == plain_braces.count("}")
    assert r"\ensuremath{\ge} 2" in text
    assert escape_latex("50 % of a_b & {c}") == r"50 \% of a\_b \& \{c\}"


def test_escape_markdown_keeps_a_cell_in_one_line() -> None:
    assert escape_markdown("a|b\n*c* <d> [e](f)") == r"a\|b \*c\* \<d\> \[e\](f)"


@pytest.mark.parametrize("width", [80, 130])
def test_table_shows_every_claim_uncut(report: Report, width: int) -> None:
    text = shown(report_table(report, narrow=width < 130), width)
    for row in report.rows:
        assert row.id in text
        assert row.verdict in text
    assert "inconclusive (!)" in text
    assert "[1.938, 2.062]" in text
    assert "seconds" in text


def test_table_shows_markup_as_text(make_row: MakeRow) -> None:
    text = shown(Report([make_row(source="see [bold]eq[/bold]")]).table(), 150)
    assert "[bold]eq[/bold]" in text


def test_points_table_has_local_slopes(make_row: MakeRow) -> None:
    text = shown(points_table(make_row()), 80)
    lines = text.splitlines()[1:]
    assert [line.split()[3] for line in lines] == ["–", "2", "2", "2", "2", "2"]
    assert [line.split()[4] for line in lines] == ["no"] + ["yes"] * 5


@pytest.mark.parametrize("problems", [1, 12, 400])
def test_figure_draws_every_problem(make_row: MakeRow, problems: int) -> None:
    figure = draw(make_row(problems=problems))
    assert figure is not None
    axes = figure.axes[0]
    assert len(axes.collections[0].get_paths()) == problems
    assert len(figure.axes) == (2 if problems >= 8 else 1)
    labels = axes.get_legend_handles_labels()[1]
    assert {"fitted slope 2", "expected slope 2", "floor (median)", "used points"} <= set(labels)
    ElementTree.fromstring(svg(figure, "a"))


def test_figure_slopes_are_the_stated_ones(make_row: MakeRow) -> None:
    figure = draw(make_row(problems=5, measured=1.5, expected_order=3.0))
    assert figure is not None
    slopes = {}
    for line in figure.axes[0].get_lines():
        label = str(line.get_label())
        if "slope" in label:
            x, y = np.log(np.asarray(line.get_xdata())), np.log(np.asarray(line.get_ydata()))
            slopes[label.split()[0]] = (y[1] - y[0]) / (x[1] - x[0])
    assert slopes["fitted"] == pytest.approx(1.5)
    assert slopes["expected"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("worst", "drawn"),
    [
        ({"problem": 1}, 1),
        ({"problem": 1, "order": 1.8}, 1),
        ({"problem": 40, "order": 1.7}, 2),  # numbered over the run, draws before it excluded
        ({"problem": 0, "order": 1.7}, 2),
        ({"problem": 40}, None),
        ({"problem": 40, "order": 9.0}, None),
        ({}, None),
    ],
)
def test_figure_marks_the_worst_problem(
    make_row: MakeRow, worst: dict[str, object], drawn: int | None
) -> None:
    row = make_row(problems=3, orders=[1.9, 1.8, 1.7], worst=worst)
    figure = draw(row)
    assert figure is not None
    marked = [a for a in figure.axes[0].get_lines() if str(a.get_label()).startswith("worst")]
    assert len(marked) == (drawn is not None)
    if drawn is not None:
        assert np.array_equal(marked[0].get_ydata(), row.error[drawn])
        assert marked[0].get_label() == f"worst: problem {worst['problem']}"


def test_figure_survives_points_that_no_logarithm_shows(make_row: MakeRow) -> None:
    row = make_row(
        problems=2,
        h=[[0.5, 0.25, 0.125]],
        error=[[0.0, math.nan, -1e-3], [math.inf, 1e-3, 0.0]],
        floor=[],
        used=[],
        measured=math.nan,
        orders=[math.nan, math.nan],
        worst={},
    )
    figure = draw(row)
    assert figure is not None
    ElementTree.fromstring(svg(figure, "a"))
    assert draw(make_row(problems=1, error=[[0.0] * 6])) is None


def test_figure_bytes_are_reproducible(make_row: MakeRow) -> None:
    first, second = draw(make_row()), draw(make_row())
    assert first is not None
    assert second is not None
    assert svg(first, "a") == svg(second, "a")
    assert inline(first, "a/b").startswith("<svg")


def test_file_names_survive_links() -> None:
    assert file_name("adam-inside/global order?") == "adam-inside_global_order_.svg"


def test_words(make_row: MakeRow) -> None:
    assert [percent(x) for x in (0.0, 0.004, 0.3, 1.0, 1.25, math.nan)] == [
        "0 %",
        "0.4 %",
        "30 %",
        "100 %",
        "125 %",
        "–",
    ]
    assert math.isnan(inconclusive_share(make_row(problems=0, counts={})))
    row = make_row()
    assert replay_command(row, {}) is None
    assert replay_command(row, {"seed": 3}) == (
        "stepbias replay adam-inside/global-order --seed 3 --problem 2"
    )


def test_environment_names_versions_and_machine() -> None:
    found = environment()
    assert {"version", "python", "numpy", "numba", "platform", "cores"} <= set(found)
    assert found["numpy"] == np.__version__
