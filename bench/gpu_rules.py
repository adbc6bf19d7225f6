"""Optimizers given by their rule: the device against the CPU, then the time of a call on both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import stepbias as sb
from bench.gpu_clock import Clock, said, timed
from bench.gpu_parity import compare
from bench.rules import RULES

_BATCHES, _DIM = 4, 4
_SIZES, _TOY_SIZES = (10**3, 10**5), (3,)
_STEPS, _TOY_STEPS = 128, 3
_ON_CPU = 10**3  # problems that the CPU is asked for at most
_LEAST = 20.0  # seconds that another size must find


def _call(optimizer: sb.Optimizer, problems: int, steps: int, where: str) -> Callable[[], Any]:
    loss = sb.Loss.random("sinusoid", _DIM, _BATCHES, problems=problems, seed=5)
    start = np.random.default_rng(6).uniform(-0.6, 0.6, size=(problems, _DIM))

    def call() -> Any:
        return sb.global_error(optimizer, loss, start, 0.5 / steps, steps, substeps=1, device=where)

    return call


def _one(optimizer: sb.Optimizer, toy: bool, clock: Clock) -> dict[str, Any]:
    loss = sb.Loss.random("sinusoid", 3, 2, problems=3 if toy else 70, seed=5)
    found = compare(loss, optimizer, 3 if toy else 70, 3 if toy else 32)
    steps, rows = _TOY_STEPS if toy else _STEPS, []
    for problems in _TOY_SIZES if toy else _SIZES:
        row: dict[str, Any] = {"problems": problems, "steps": steps}
        if not toy and clock.left() < _LEAST:
            rows.append(row | {"absent": "no time left"})
            continue
        row["device, call"] = timed(_call(optimizer, problems, steps, "cuda"), 1.0)
        if problems <= _ON_CPU:
            row["cpu, call"] = timed(_call(optimizer, problems, steps, "cpu"), 1.0)
        rows.append(row)
    return found | {"sizes": rows}


def rules(toy: bool, clock: Clock) -> dict[str, Any]:
    """One row for each kind of rule; an error must not lose the others."""
    rows: dict[str, Any] = {}
    for name, make in RULES.items():
        try:
            rows[name] = _one(make(), toy, clock)
        except Exception as error:
            rows[name] = {"agrees": False, "error": said(error)}
    return {"agree": all(row["agrees"] for row in rows.values()), "rules": rows}
