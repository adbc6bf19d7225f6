"""A checkable statement that is not about the distance of iterates and flow: an order in another quantity, an inequality, an identity, exact arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stepbias.theory.checks import choice

Kind = Literal["order", "inequality", "identity", "exact"]
Verdict = Literal["confirmed", "refuted", "inconclusive"]
KINDS: tuple[Kind, ...] = ("order", "inequality", "identity", "exact")


@dataclass(frozen=True)
class Statement:
    """One statement, as data; it is measured by an experiment and judged by the engine.

    Parameters
    ----------
    id : str
        "subject/quantity".
    source, statement, latex : str
        Where it stands, in words, as a formula.
    assumptions : tuple of str
        Each with how it is checked on a given problem.
    expected : str
        In words.
    kind : {"order", "inequality", "identity", "exact"}
        What is measured on a problem: errors over a small quantity; two sides of which the left is at most the right; a difference that is at most its
        rounding; the truth of exact arithmetic.
    experiment : str
        "module.function" in ``verify/experiments``.
    wrong : tuple of str
        Names of wrong variants; the engine must refute them on the same problems.
    expected_order : float
        Of kind "order": the claim is error = O(x^expected_order), two-sided if ``exact``.
    exact : bool
    expected_verdict : {"confirmed", "refuted", "inconclusive"}
        "refuted" for a misprint; "inconclusive" where the reason that it cannot be judged is itself the finding.
    slip : bool
        The statement is a misprint that the tool refutes, or the correction of one.
    variant : str
        What the experiment measures for the statement itself; empty: as it stands.
    """

    id: str
    source: str
    statement: str
    latex: str
    assumptions: tuple[str, ...]
    expected: str
    kind: Kind
    experiment: str
    wrong: tuple[str, ...] = ()
    expected_order: float = float("nan")
    exact: bool = False
    expected_verdict: Verdict = "confirmed"
    slip: bool = False
    variant: str = ""

    def __post_init__(self) -> None:
        choice("kind", self.kind, KINDS)
        choice("expected_verdict", self.expected_verdict, ("confirmed", "refuted", "inconclusive"))
        if self.experiment.count(".") != 1:
            raise ValueError(f"experiment = {self.experiment!r}; accepted: 'module.function'")
        if (self.kind == "order") != (self.expected_order == self.expected_order):
            raise ValueError(
                f"expected_order = {self.expected_order!r} with kind = {self.kind!r}; accepted: a number for kind 'order', none for the others"
            )
        if len(set(self.wrong)) < len(self.wrong) or self.variant in self.wrong:
            raise ValueError(
                f"wrong = {self.wrong!r} with variant = {self.variant!r}; accepted: distinct names, other than the statement's own"
            )

    @property
    def mutants(self) -> tuple[str, ...]:
        """Names of the wrong variants."""
        return self.wrong
