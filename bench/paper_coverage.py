"""Write docs/coverage.md: every item of the papers, the claims that check it, and what a stored run found.

    stepbias verify --profile standard --json report.json
    python bench/paper_coverage.py --report report.json      # keeps what the page needs in bench/results/coverage.json, and writes the page
    python bench/paper_coverage.py                           # writes the page from the results that are kept
    python bench/paper_coverage.py --check                   # status 1 if the page is not what would be written

Several reports may be given; later ones replace rows of earlier ones. The table itself is data, `stepbias.theory.coverage`. An id that is no claim, and a
claim that no item names, is an error.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from stepbias.theory import coverage
from stepbias.theory.coverage import Item
from stepbias.theory.statement import Statement
from stepbias.verify.registry import CLAIMS
from stepbias.verify.report import Report

_HERE = Path(__file__).resolve().parent
PAGE = _HERE.parent / "docs" / "coverage.md"
RESULTS = _HERE / "results" / "coverage.json"

_KEPT = ("verdict", "expected_verdict", "measured", "interval", "resolution", "problems")
_META = ("profile", "seed", "device", "version", "started")
_HEAD = "| item | what it states | claim | verdict | measured | smallest relative error caught |"

Results = dict[str, dict[str, Any]]


def kept(reports: list[Report], before: Results) -> Results:
    """What the page needs of the rows of ``reports``, over what was kept before."""
    found = dict(before)
    for report in reports:
        meta = {name: report.meta[name] for name in _META if name in report.meta}
        for row in report.rows:
            entry = {name: getattr(row, name) for name in _KEPT} | {"run": meta}
            entry["against_zero"] = not any(row.points.get("right", [0.0]))
            found[row.id] = plain(entry)
    known = {claim.id for claim in CLAIMS}
    return {name: found[name] for name in sorted(found) if name in known}


def plain(value: Any) -> Any:
    """Without infinities and NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def number(value: float | None, digits: int = 3) -> str:
    """Short; a dash for what is not known."""
    return "–" if value is None else f"{value:.{digits}g}"


def measured(name: str, entry: dict[str, Any]) -> str:
    """The measured quantity of a claim with its interval, in the words of its kind."""
    claim = next(one for one in CLAIMS if one.id == name)
    kind = claim.kind if isinstance(claim, Statement) else "order"
    value = entry["measured"]
    if kind == "exact":
        return "true in all" if value == 1 else f"true in {value:.0%} of {entry['problems']}"
    if kind in ("inequality", "identity"):
        largest = f"at most {number(value)}"
        return largest if entry["against_zero"] else f"{largest} of the bound"
    low, high = entry["interval"]
    shown = ("–" if one is None else f"{one:.3f}" for one in (value, low, high))
    return "order {} [{}, {}]".format(*shown)


def resolution(entry: dict[str, Any]) -> str:
    """Terms with their numbers, the finest first; "none" where not even an error of 1 would have been caught."""
    found = entry["resolution"]
    order = sorted(found, key=lambda term: math.inf if found[term] is None else found[term])
    shown = [
        f"{term} {'none' if found[term] is None else number(found[term], 2)}" for term in order
    ]
    return ", ".join(shown)


def verdict(entry: dict[str, Any]) -> str:
    """In bold where it is not the expected one."""
    if entry["verdict"] != entry["expected_verdict"]:
        return f"**{entry['verdict']}** (expected: {entry['expected_verdict']})"
    expected = "" if entry["verdict"] == "confirmed" else ", as expected"
    return f"{entry['verdict']}{expected}"


def lines(item: Item, results: Results, known: list[str]) -> list[str]:
    """Rows of the table: one for each claim, or one that says why there is none."""
    states = item.states + (f" ({item.reason})" if item.reason and item.claims else "")
    if not item.claims:
        return [row(item.place, states, f"– {item.reason}", "", "", "")]
    found = []
    for place, name in enumerate(coverage.expand(item.claims, known)):
        entry = results.get(name)
        cells = (
            ("not run", "", "")
            if entry is None
            else (verdict(entry), measured(name, entry), resolution(entry))
        )
        first = (item.place, states) if place == 0 else ("", "")
        found.append(row(*first, f"`{name}`", *cells))
    return found


def row(*cells: str) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page(results: Results) -> str:
    """The whole page.

    Raises
    ------
    ValueError
        For an id that is no claim, or a claim that no item names.
    """
    known = [claim.id for claim in CLAIMS]
    missing = coverage.uncovered(known)
    if missing:
        raise ValueError(f"no item of the papers names the claims {', '.join(missing)}")
    out = ["# Coverage", "", _INTRODUCTION, "", _runs(results), ""]
    for paper, group in coverage.items().items():
        out += [f"## {coverage.TITLES[paper]}", "", _HEAD, "|" + " --- |" * 6]
        out += [line for item in group for line in lines(item, results, known)]
        out.append("")
    out += ["## Misprints", "", _MISPRINTS, "", "| paper | place | printed | meant | claims |"]
    out.append("|" + " --- |" * 5)
    for slip in coverage.MISPRINTS:
        claims = ", ".join(f"`{name}`" for name in coverage.expand(slip.claims, known))
        out.append(row(slip.paper, slip.place, slip.printed, slip.meant, claims))
    return "\n".join([*out, ""])


_INTRODUCTION = (
    "Every definition, equation, remark, example, lemma, theorem, table and figure of the papers of Cattaneo, Klusowski and Shigida that states something,\n"
    "with the claims that check it (`stepbias claims` prints them in full); an item without a claim says why. What a verdict and the last column mean is\n"
    "told in [What a verdict means](what-a-verdict-means.md). This page is written by `python bench/paper_coverage.py`."
)
_MISPRINTS = (
    "Slips of the pen found on the way. Those that change a statement are refuted as printed and confirmed as corrected; the others are only listed. The\n"
    "supplement's wrong constants are among its items above."
)


def _runs(results: Results) -> str:
    runs = {json.dumps(entry["run"], sort_keys=True) for entry in results.values()}
    if not runs:
        return "No run is kept yet."
    told = [
        ", ".join(f"{name} {value}" for name, value in json.loads(run).items())
        for run in sorted(runs)
    ]
    return "Results: " + "; ".join(told) + "."


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 1 where the page is stale or the data do not fit the registry."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--report", type=Path, action="append", default=[])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args(arguments)
    before: Results = json.loads(given.results.read_text()) if given.results.exists() else {}
    try:
        results = kept([Report.from_json(path) for path in given.report], before)
        text = page(results)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if given.check:
        fresh = given.page.exists() and given.page.read_text() == text
        if not fresh:
            print(f"{given.page} is not what {Path(__file__).name} writes", file=sys.stderr)
        return 0 if fresh else 1
    if given.report:
        given.results.write_text(json.dumps(results, indent=1) + "\n")
    given.page.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
