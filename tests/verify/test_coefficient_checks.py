"""leading_coefficient: the instrument's checks on itself stop its verdicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.verify import coefficient
from stepbias.verify.coefficient import CLEAR, Coefficient
from stepbias.verify.sweep import Sweep, sweep

LADDER = [48 * 2**k for k in range(6)]
AMPLITUDE, PHASE = np.array([1.0, 0.7]), np.array([0.3, 1.1])
ADAM = sb.Adam(0.5, 0.7, eps=0.0, eps_root=1e-2)


def waves(b, theta, data, out):  # type: ignore[no-untyped-def]
    for i in range(2):
        out[i] = data[1][i] * np.cos(theta[i] + data[2][i])


def too_long(b, theta, v, data, out):  # type: ignore[no-untyped-def]
    for i in range(2):
        out[i] = -data[0][0] * data[1][i] * np.sin(theta[i] + data[2][i]) * v[i]


def test_a_measurement_that_fails_its_own_check_gives_no_verdict() -> None:
    """A user's Hessian-vector products are too long by 0.01 %: the O(h) term is wrong by as much, and not the theorem."""

    def found(factor: float) -> Coefficient:
        data = (np.array([factor]), AMPLITUDE, PHASE)
        loss = sb.Loss.from_functions(waves, hvp=too_long, dim=2, batches=1, data=data)
        return sb.leading_coefficient(ADAM, loss, [0.2, -0.4], 0.5, LADDER)

    sound, wrong = found(1.0), found(1.0 + 1e-4)
    assert sound.verdict == "confirmed", sound.explain()
    # without the check this would be a refutation
    assert np.max(np.abs(wrong.value) / wrong.bound) > CLEAR
    assert wrong.verdict == "inconclusive"
    assert wrong.reason.startswith("the instrument fails its own check: Hessian-vector products")
    assert wrong.reason in wrong.explain()


def test_a_failed_check_stops_its_own_problem_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*given: Any, **options: Any) -> Sweep:
        run = sweep(*given, **options)
        run.integrity[1, 0] = 1e-9  # apart before the first step
        return run

    monkeypatch.setattr(coefficient, "sweep", measured)
    loss = sb.Loss.random("sinusoid", dim=3, batches=2, problems=3, seed=1)
    theta0 = 0.3 * np.random.default_rng(0).normal(size=(3, 3))
    found = sb.leading_coefficient(ADAM, loss, theta0, 0.25, LADDER, order=1)
    assert found.verdict == ("refuted", "inconclusive", "refuted")
    assert "before the first step" in found.reason[1]
