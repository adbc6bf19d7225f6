"""One row per claim: everything a report prints, as plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["confirmed", "refuted", "inconclusive"]


@dataclass
class MutantRow:
    """Outcome of one wrong variant of a statement, on the claim's own problems."""

    name: str
    verdict: Verdict
    measured: float
    visible: int
    refuted: int
    confirmed: int
    problems: int

    @property
    def outcome(self) -> str:
        """The verdict; where the variant is visible on no problem there is none."""
        return self.verdict if self.visible else "not tested: visible on no problem"


@dataclass
class Stratum:
    """Verdict counts of the problems that share a setting."""

    name: str
    problems: int
    confirmed: int
    refuted: int
    inconclusive: int
    median_order: float


@dataclass
class Row:
    """What was stated, what was measured, what was concluded."""

    id: str
    source: str
    statement: str
    expected: str
    expected_order: float
    expected_verdict: Verdict
    measured: float
    interval: tuple[float, float]
    verdict: Verdict
    reason: str
    seconds: float
    problems: int
    counts: dict[str, int]
    reasons: dict[str, int] = field(default_factory=dict)
    h: list[list[float]] = field(default_factory=list)
    error: list[list[float]] = field(default_factory=list)
    floor: list[list[float]] = field(default_factory=list)
    used: list[list[bool]] = field(default_factory=list)
    orders: list[float] = field(default_factory=list)
    worst: dict[str, Any] = field(default_factory=dict)
    pvalue: float = 1.0
    hardest: dict[str, float] = field(default_factory=dict)
    strata: list[Stratum] = field(default_factory=list)
    resolution: dict[str, float] = field(default_factory=dict)
    resolution_by: dict[str, dict[str, float]] = field(default_factory=dict)
    coefficient: dict[str, int] = field(default_factory=dict)
    mutants: list[MutantRow] = field(default_factory=list)
    certificate: dict[str, Any] = field(default_factory=dict)
    points: dict[str, Any] = field(default_factory=dict)
    law: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON-ready dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Row:
        """Inverse of :meth:`as_dict`."""
        data = dict(data)
        data["interval"] = tuple(data["interval"])
        data["strata"] = [Stratum(**s) for s in data.get("strata", [])]
        data["mutants"] = [MutantRow(**s) for s in data.get("mutants", [])]
        return cls(**data)
