"""The device against the CPU before anything is timed: every kind of loss, and the verdicts of four claims."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

import stepbias as sb
from bench.gpu_clock import said

CLAIMS = (
    "adam-inside/bilinear",
    "rmsprop-inside/bilinear",
    "adam-inside/global-order",
    "adam-outside/local-defect",
)
_UNIT = 2.0**-53
# Rounding units for each step in memory: some ten operations with a weighted average, a root and a division, on derivatives that are themselves sums of
# about fifty terms with elementary functions of four units each.
_PER_STEP = 64.0
_STEPS, _TOY_STEPS = 32, 4
_SHIFT = 2.0**-40  # of a start, to see how sensitive a result is
_GROWTH = 16.0  # allowance for errors that are made on the way, where less of the path is left but more of it is steep
_SHARP = 1e-6


def _slope(b: Any, theta: Any, data: Any, out: Any) -> None:
    rows = data[0]
    for j in range(theta.size):
        out[j] = rows[b, j] * math.cos(theta[j]) + 0.5 * theta[j]


def _curvature(b: Any, theta: Any, data: Any, out: Any) -> None:
    rows = data[0]
    for j in range(theta.size):
        out[j, j] = 0.5 - rows[b, j] * math.sin(theta[j])


def losses(problems: int) -> Iterator[tuple[str, sb.Loss]]:
    """One small ensemble, or one loss, of every kind that has device functions of its own."""
    draw = np.random.default_rng(4)
    for family in sb.Loss.families():
        yield family, sb.Loss.random(family, dim=3, batches=2, problems=problems, seed=5)
    yield (
        "sinusoids",
        sb.Loss.sinusoids(
            draw.normal(size=(problems, 2, 3)),
            draw.normal(size=(3, 3)),
            draw.normal(size=(problems, 2, 3)),
        ),
    )
    rows, labels = draw.normal(size=(12, 3)), np.arange(12) % 2
    for model in ("logistic", "least-squares", "log-cosh"):
        yield f"{model} on data", sb.Loss.from_data(model, rows, labels, batches=2, l2=0.1)
    yield "bilinear", sb.Loss.bilinear()
    expressions = ["sin(x)*y + y**2/2", "log(1 + exp(x - y)) + x**2/4 + exp(-z**2)"]
    yield "symbolic", sb.Loss.from_sympy(expressions, "x y z")
    yield (
        "functions",
        sb.Loss.from_functions(
            _slope, _curvature, dim=3, batches=2, data=(draw.uniform(0.5, 1.5, (2, 3)),)
        ),
    )


def _difference(found: Any, expected: Any) -> float:
    """Largest deviation relative to the size of what is expected; infinite where a side is not finite."""
    a, b = np.asarray(found), np.asarray(expected)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.inf
    scale = float(np.abs(b).max())
    return float(np.abs(a - b).max()) / scale if scale > 0.0 else float(np.abs(a).max())


def _sensitivity(optimizer: Any, loss: sb.Loss, start: Any, h: float, steps: int) -> Any:
    """Change of the global error for a change of the start, (B,), on the CPU: where it is large, rounding on the way is large in the result too."""
    given = (h, steps)
    error = sb.global_error(optimizer, loss, start, *given)
    signs = np.random.default_rng(8).choice([-1.0, 1.0], size=(3, *start.shape))
    moved = [sb.global_error(optimizer, loss, start + _SHIFT * one, *given) for one in signs]
    return np.abs(np.stack(moved) - error).max(axis=0) / _SHIFT


def compare(loss: sb.Loss, optimizer: Any, problems: int, steps: int) -> dict[str, Any]:
    """Differences between device and CPU in units of what rounding allows: field and memory sums relative to their size, the global error per problem.

    A problem whose global error is not determined to six digits by its start in double precision is not judged: with epsilon outside the root the field
    has a kink where a gradient vanishes.
    """
    start = np.random.default_rng(6).uniform(-0.6, 0.6, size=(problems, loss.dim))
    h, allowed = 0.5 / steps, _PER_STEP * steps * _UNIT

    def both(function: Any, *arguments: Any) -> tuple[Any, Any]:
        given = (optimizer, loss, start, *arguments)
        return function(*given, device="cuda"), function(*given, device="cpu")

    rows = {"field": _difference(*both(sb.vector_field, steps - 1, h)) / allowed}
    if not isinstance(optimizer, sb.Optimizer):  # the sums are Adam's
        found, expected = both(sb.memory_terms, steps - 1)
        for name in found._fields:
            rows[name] = _difference(getattr(found, name), getattr(expected, name)) / allowed
    bound = allowed * (1.0 + _GROWTH * _sensitivity(optimizer, loss, start, h, steps))
    errors = both(sb.global_error, h, steps)
    judged = bound < _SHARP
    gap = np.abs(errors[0] - errors[1])[judged] / bound[judged]
    # the largest of none, or a NaN, is no agreement
    rows["global error"] = float(gap.max()) if gap.size else math.inf
    return {
        "agrees": all(value <= 1.0 for value in rows.values()),
        "not_judged": int(problems - judged.sum()),
        "differences": rows,
    }


def ensembles(toy: bool) -> dict[str, Any]:
    """Every kind of loss with epsilon inside and outside the root; differences are in units of what rounding allows, and agree up to 1."""
    problems, steps = (3, _TOY_STEPS) if toy else (70, _STEPS)
    optimizers = {
        "inside": sb.Adam(beta=0.9, rho=0.95, eps=0.0, eps_root=1e-2),
        "outside": sb.Adam(beta=0.9, rho=0.95, eps=1e-2, eps_root=0.0),
    }
    rows: dict[str, Any] = {}
    for name, loss in losses(problems):
        for place, optimizer in optimizers.items():
            try:
                rows[f"{name}, {place}"] = compare(loss, optimizer, problems, steps)
            except Exception as error:  # a kernel that does not compile must not lose the others
                rows[f"{name}, {place}"] = {"agrees": False, "error": said(error)}
    return {
        "problems": problems,
        "steps": steps,
        "rounding_units": _PER_STEP * steps,
        "agree": all(row["agrees"] for row in rows.values()),
        "losses": rows,
    }


def verdicts() -> dict[str, Any]:
    """The claims on both devices: verdicts must be equal."""
    reports = {where: sb.run_claims(list(CLAIMS), device=where) for where in ("cuda", "cpu")}
    rows = {
        row.id: {"cuda": str(row.verdict), "cpu": str(other.verdict)}
        | {"order on cuda": row.measured, "order on cpu": other.measured}
        for row, other in zip(reports["cuda"].rows, reports["cpu"].rows, strict=True)
    }
    return {
        "agree": len(rows) == len(CLAIMS) and all(r["cuda"] == r["cpu"] for r in rows.values()),
        "seconds": {where: report.meta["seconds"] for where, report in reports.items()},
        "claims": rows,
    }


def parity(toy: bool) -> dict[str, Any]:
    """Section 0."""
    found: dict[str, Any] = {"ensembles": ensembles(toy)}
    if toy:
        found["verdicts"] = {"absent": "too much for the simulator"}
    else:
        try:
            found["verdicts"] = verdicts()
        except Exception as error:
            found["verdicts"] = {"agree": False, "error": said(error)}
    found["agree"] = found["ensembles"]["agree"] and found["verdicts"].get("agree", True)
    return found
