"""Synthetic rows: known numbers, so that what a report prints can be read off."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from stepbias.verify.report import Report
from stepbias.verify.rows import MutantRow, Row, Stratum


def synthetic_row(problems: int = 3, **changes: Any) -> Row:
    """A confirmed row of order 2 whose problem k has the error (k + 1) h²."""
    h = [2.0**-k for k in range(3, 9)]
    values: dict[str, Any] = {
        "id": "adam-inside/global-order",
        "source": "On the Implicit Bias of Adam, Theorem <1> | 100 %",
        "statement": "The iterates stay within C h² of the flow & nothing less.",
        "expected": "order ≥ 2",
        "expected_order": 2.0,
        "expected_verdict": "confirmed",
        "measured": 2.0,
        "interval": (1.9375, 2.0625),
        "verdict": "confirmed",
        "reason": "",
        "seconds": 1.25,
        "problems": problems,
        "counts": {"confirmed": problems - 1, "inconclusive": 1, "refuted": 0},
        "reasons": {"not yet asymptotic": 1, "excluded: too far": 2},
        "h": [h] * problems,
        "error": [[(k + 1) * x**2 for x in h] for k in range(problems)],
        "floor": [[1e-12] * len(h)] * problems,
        "used": [[False] + [True] * (len(h) - 1)] * problems,
        "orders": [2.0] * problems,
        "worst": {"problem": problems - 1, "beta": 0.9, "why": "slopes drift"},
        "hardest": {"beta": 0.97, "rho": 0.999, "eps": 1e-8, "h": 0.00390625},
        "strata": [Stratum("ρ < 0.9", 2, 1, 0, 1, 1.99), Stratum("ρ ≥ 0.9", 1, 1, 0, 0, math.nan)],
        "resolution": {"L": 0.0125, "Pbar": 0.3},
        "mutants": [MutantRow("drop-bias", "refuted", 1.01, 3, 3, 0, 3)],
        "law": "sinusoid, p = 5, m = 3",
    }
    return Row(**(values | changes))


@pytest.fixture
def make_row() -> Callable[..., Row]:
    """Maker of rows: keyword arguments replace fields."""
    return synthetic_row


@pytest.fixture
def report() -> Report:
    """A run with an expected confirmation, an expected refutation and a surprise."""
    rows = [
        synthetic_row(),
        synthetic_row(
            id="slip/table-1",
            verdict="refuted",
            expected_verdict="refuted",
            measured=1.0,
            interval=(0.97, 1.03),
            reason="order 1.00 [0.97, 1.03] is below 1.9",
        ),
        synthetic_row(
            id="rmsprop/global-order",
            verdict="inconclusive",
            measured=math.nan,
            interval=(-math.inf, math.inf),
            reason="not yet asymptotic: needs h <= 1e-5",
            h=[],
            error=[],
            floor=[],
            used=[],
            orders=[],
            strata=[],
            mutants=[],
        ),
    ]
    meta = {
        "version": "0.1.0",
        "seed": 7,
        "profile": "standard",
        "device": "cpu",
        "seconds": 3.75,
        "laws": ["sinusoid, p = 5", "sinusoid, p = 6"],
    }
    return Report(rows, meta)
