"""What the statements on the full batch share: how their problems are drawn, and how a statement is written down."""

from __future__ import annotations

from typing import Any

from stepbias.theory.statement import Kind, Statement

EARLIER = "Cattaneo, Klusowski, Shigida, Backward Error Analysis of Adaptive Gradient Algorithms"

POINTS = (
    "One theta: every loss family in turn, p from 1 to 6, normal theta, memories log-uniform from 1 to 50 steps, epsilon from 1e-8 to 1 on either side of the "
    "root; problem 0 has (beta, rho, epsilon) = (0.9, 0.999, 1e-8)"
)
AWAY = "Draws with a gradient component below 0.05 in size are replaced and counted"
LATE = "n = 50 / (1 - max(beta, rho)): the weight of the start is below 1e-18"
ROUNDING = "The difference is held against a bound on the rounding of both sides"
NUMERICAL = "Gradients of norms and of modified losses are differences of order 8 of values"


def statement(
    name: str,
    source: str,
    words: str,
    latex: str,
    kind: Kind,
    experiment: str,
    expected: str,
    assumptions: tuple[str, ...],
    **more: Any,
) -> Statement:
    """A statement on the full batch."""
    return Statement(
        id=f"full-batch/{name}",
        source=source,
        statement=words,
        latex=latex,
        assumptions=assumptions,
        expected=expected,
        kind=kind,
        experiment=experiment,
        **more,
    )
