"""What the command line prints: tables and notes for the terminal (Rich)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from stepbias.verify import wording
from stepbias.verify.rows import Row

if TYPE_CHECKING:
    from stepbias.verify.instruments import FaultRow
    from stepbias.verify.report import Report

COLOURS = {"confirmed": "green", "refuted": "red", "inconclusive": "yellow"}


def verdict_text(row: Row) -> Text:
    """The verdict in its colour; marked and in reverse where it is not the expected one."""
    if row.verdict == row.expected_verdict:
        return Text(row.verdict, style=COLOURS[row.verdict])
    return Text(f"{row.verdict} (!)", style=f"bold reverse {COLOURS[row.verdict]}")


def report_table(report: Report, narrow: bool = False) -> Table:
    """One line a claim; ``narrow`` leaves out what the notes under the table say again."""
    table = Table(title=None, box=None, pad_edge=False, header_style="bold")
    widest = max((len(row.id) for row in report.rows), default=0)
    table.add_column("claim and source", overflow="fold", min_width=min(widest, 30))
    if not narrow:
        table.add_column("problems", justify="right", no_wrap=True)
    table.add_column("measured", no_wrap=True)
    table.add_column("expected", max_width=12 if narrow else 17)
    table.add_column("verdict", no_wrap=True)
    if not narrow:
        table.add_column("not judged", justify="right", no_wrap=True)
        table.add_column("hardest", max_width=17)
    table.add_column("seconds", justify="right", no_wrap=True)
    for row in report.rows:
        claim = Text.assemble(row.id, "\n", (row.source, "dim"))
        measured = Text(f"{wording.number(row.measured)}\n{wording.interval(row)}")
        share = wording.percent(wording.inconclusive_share(row))
        hardest = Text(wording.settings(row.hardest))
        verdict, seconds = verdict_text(row), f"{row.seconds:.1f}"
        if narrow:
            table.add_row(claim, measured, Text(row.expected), verdict, seconds)
        else:
            count = str(row.problems)
            table.add_row(
                claim, count, measured, Text(row.expected), verdict, share, hardest, seconds
            )
    return table


def fault_table(rows: Iterable[FaultRow]) -> Table:
    """One line a broken instrument."""
    table = Table(title=None, box=None, pad_edge=False, header_style="bold")
    table.add_column("broken on purpose", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("by the slopes alone", no_wrap=True)
    for name in ("visible", "missed"):
        table.add_column(name, justify="right")
    table.add_column("reason", overflow="fold")
    for row in rows:
        verdict = f"{row.verdict} (!)" if row.failure else row.verdict
        reason = f"cannot be seen here: {row.silent}; " if row.silent else ""
        counts = str(row.visible), str(row.missed)
        table.add_row(row.what, verdict, row.unchecked, *counts, Text(reason + row.reason))
    return table


def row_notes(row: Row, meta: Mapping[str, Any]) -> Iterator[Text]:
    """Lines under the table for one row."""
    yield Text(row.id, style="bold")
    for heading, text in wording.notes(row):
        yield Text(f"  {heading}: {text}")
    command = wording.replay_command(row, meta)
    if command is not None and row.verdict != "confirmed":
        yield Text(f"  again: {command}")


def mutant_table(row: Row) -> Table:
    """What became of the wrong variants of a statement."""
    table = Table(title=None, box=None, pad_edge=False, header_style="bold")
    table.add_column(f"wrong variant of {row.id}")
    table.add_column("verdict")
    for name in ("measured", "visible", "refuted", "confirmed", "problems"):
        table.add_column(name, justify="right")
    for mutant in row.mutants:
        colour = "green" if mutant.outcome == "refuted" else "bold reverse red"
        table.add_row(
            Text(mutant.name),
            Text(mutant.outcome, style=colour),
            wording.number(mutant.measured),
            str(mutant.visible),
            str(mutant.refuted),
            str(mutant.confirmed),
            str(mutant.problems),
        )
    return table


def points_table(row: Row, problem: int = 0) -> Table:
    """Step sizes, errors, floors and local slopes of one problem of the row."""
    table = Table(title=None, box=None, pad_edge=False, header_style="bold")
    for name in ("h", "error", "floor", "local slope", "used"):
        table.add_column(name, justify="right")
    h, error = row.h[problem], row.error[problem]
    floor = row.floor[problem] if problem < len(row.floor) else [math.nan] * len(h)
    used = row.used[problem] if problem < len(row.used) else [False] * len(h)
    for k in sorted(range(len(h)), key=lambda index: -h[index]):
        coarser = [j for j in range(len(h)) if h[j] > h[k]]
        slope = math.nan
        if coarser:
            j = min(coarser, key=lambda index: h[index])
            if abs(error[k]) > 0 and abs(error[j]) > 0:
                slope = math.log(abs(error[j] / error[k])) / math.log(h[j] / h[k])
        table.add_row(
            wording.number(h[k], 6),
            wording.number(error[k], 6),
            wording.number(floor[k], 2),
            wording.number(slope, 3),
            "yes" if used[k] else "no",
        )
    return table
