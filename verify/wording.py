"""How a row's numbers read in every output: terminal, Markdown, HTML and LaTeX say the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from stepbias.verify.rows import Row

_SYMBOLS = {"beta": "β", "rho": "ρ", "eps": "ε", "epsilon": "ε", "eps_root": "ε_root"}


def number(value: float | None, digits: int = 4) -> str:
    """``value`` in ``digits`` significant digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:.{digits}g}"


UNPOOLED = "not pooled:"
"""Beginning of the names of strata that are reported whatever comes out."""


def percent(value: float) -> str:
    """A share or a relative change in two significant digits."""
    if not math.isfinite(value):
        return number(value)
    return f"{100 * value:.2g} %" if abs(value) < 0.995 else f"{100 * value:.0f} %"


def interval(row: Row) -> str:
    """The interval of the measured quantity."""
    return f"[{number(row.interval[0])}, {number(row.interval[1])}]"


def measured(row: Row) -> str:
    """The measured quantity with its interval."""
    return f"{number(row.measured)} {interval(row)}"


def inconclusive_share(row: Row) -> float:
    """Share of the problems that the run could not judge (NaN without problems)."""
    return row.counts.get("inconclusive", 0) / row.problems if row.problems else math.nan


def settings(values: Mapping[str, Any]) -> str:
    """Named numbers in one phrase, with the papers' symbols."""
    parts = []
    for key, value in values.items():
        real = isinstance(value, float | np.floating)
        shown = number(float(value)) if real else str(value)
        parts.append(f"{_SYMBOLS.get(key, key)}={shown}")
    return " ".join(parts)


def worst(row: Row) -> str:
    """The worst problem: its number, what became of it and why, and its settings."""
    facts = {key: value for key, value in row.worst.items() if key != "why"}
    why = f" ({row.worst['why']})" if row.worst.get("why") else ""
    return settings(facts) + why


def resolution(row: Row) -> str:
    """The smallest relative change of each named term that would have been caught."""
    return _caught(row.resolution)


def _caught(table: Mapping[str, float]) -> str:
    return ", ".join(
        f"{term} {percent(value) if value <= 1 else 'not caught'}" for term, value in table.items()
    )


def tally(counts: Mapping[str, int]) -> str:
    """Counts, the largest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "; ".join(f"{count} x {name}" for name, count in ordered)


def notes(row: Row) -> list[tuple[str, str]]:
    """What stands beside a verdict: (heading, text) pairs, only those there is something to say of.

    Every claim gets its reason, the share it could not judge, the hardest settings it reached and
    the settings that are reported whatever comes out; a confirmed claim its resolution.
    """
    found: list[tuple[str, str]] = []
    if row.verdict != row.expected_verdict:
        found.append(("not expected", f"{row.verdict} instead of {row.expected_verdict}"))
    if row.reason:
        found.append(("reason", row.reason))
    if row.resolution and row.verdict == "confirmed":
        found.append(("would have caught a relative change of", resolution(row)))
        if slope := row.resolution_by.get("slope"):
            found.append(("by the slope alone, on any schedule", _caught(slope)))
    if row.coefficient:
        found.append(("coefficient of h is zero", tally(row.coefficient)))
    share = inconclusive_share(row)
    if not math.isnan(share):
        text = f"{percent(share)} of {row.problems} problem{'s' if row.problems != 1 else ''}"
        found.append(("could not judge", text))
    if row.reasons:
        found.append(("not confirmed or left out", tally(row.reasons)))
    if row.hardest:
        found.append(("hardest settings", settings(row.hardest)))
    if row.worst:
        found.append(("worst problem", worst(row)))
    for stratum in row.strata:
        if stratum.name.startswith(UNPOOLED):
            verdicts = {v: getattr(stratum, v) for v in ("confirmed", "refuted", "inconclusive")}
            counts = (
                tally({name: count for name, count in verdicts.items() if count}) or "no problem"
            )
            text = f"{stratum.name.removeprefix(UNPOOLED).strip()}: {counts}"
            found.append(("reported, not pooled", text))
    survivors = [m.name for m in row.mutants if m.visible and m.verdict != "refuted"]
    if survivors:
        found.append(("wrong variants not refuted", ", ".join(survivors)))
    untested = [m.name for m in row.mutants if not m.visible]
    if untested:
        found.append(("wrong variants not tested: visible on no problem", ", ".join(untested)))
    return found


def replay_command(row: Row, meta: Mapping[str, Any]) -> str | None:
    """The command that runs the row's worst problem again, where the run recorded which it is."""
    problem, seed = row.worst.get("problem"), meta.get("seed")
    if problem is None or seed is None:
        return None
    command = f"stepbias replay {row.id} --seed {seed} --problem {problem}"
    profile = meta.get("profile", "quick")
    return command if profile == "quick" else f"{command} --profile {profile}"
