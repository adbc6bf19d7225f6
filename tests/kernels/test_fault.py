"""Broken instruments: each does what it says, to one side only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels.blocks import prepare
from stepbias.kernels.fault import Fault
from stepbias.kernels.measure import Measurement, Method, measure
from stepbias.kernels.trajectory import CLASSICAL, HEUN, Tableau
from stepbias.theory.variants import STATEMENT, Variant
from tests import reference
from tests.reference import Floats

LOSS = sb.Loss.random("logistic", dim=3, batches=2, seed=3)
START = np.array([0.4, -0.3, 0.8])
SCHEDULE = sb.Reshuffled(2, seed=9)
H, STEPS = 0.02, 30
OPTIMIZER = sb.Adam(0.8, 0.9, eps=0.0, eps_root=1e-2)
EULER = Tableau(np.array([0.0]), np.array([1.0]))
STORED: dict[str, Any] = {"rtol": 1e-12, "atol": 2e-15}


def run(
    fault: Fault | None, variant: Variant = STATEMENT, loss: sb.Loss = LOSS, **options: Any
) -> Measurement:
    ensemble = prepare(OPTIMIZER, loss, START, H, STEPS, SCHEDULE, "cpu")
    return measure(ensemble, STEPS, variant, fault=fault, **options)


def iterates() -> Floats:
    return sb.iterate(OPTIMIZER, LOSS, START, H, STEPS, SCHEDULE)


def flow(tableau: Tableau = CLASSICAL, substeps: int = 2, schedule: Any = SCHEDULE) -> Floats:
    return reference.flow(OPTIMIZER, LOSS, START, H, STEPS, tableau, substeps, schedule)


def test_no_switch_is_no_fault() -> None:
    sound, idle = run(None), run(Fault("none", ""))
    for name in Measurement.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(sound, name), getattr(idle, name))
    assert sound.start[0] == 0.0
    assert 0.5 < sound.grain[0] <= 1.0


def test_flow_by_euler() -> None:
    found = run(Fault("", "", method=Method(EULER, 1, HEUN, 1)))
    np.testing.assert_allclose(found.difference[0], (iterates() - flow(EULER, 1))[-1], **STORED)
    assert found.solver[0] == pytest.approx(
        np.linalg.norm(flow(EULER, 1) - flow(HEUN, 1), axis=1).max(), rel=1e-9
    )


def test_late_schedule_is_in_the_flow_alone() -> None:
    batch = SCHEDULE.indices(STEPS)
    late = np.concatenate([batch[:1], batch[:-1]])
    found = run(Fault("", "", late_schedule=True))
    np.testing.assert_allclose(
        found.difference[0], (iterates() - flow(schedule=late))[-1], **STORED
    )


def test_late_step_is_in_the_flow_alone() -> None:
    theta, batch = START.copy(), SCHEDULE.indices(STEPS)
    for n in range(STEPS):

        def rate(at: Floats, n: int = n) -> Floats:
            return reference.compiled_field(OPTIMIZER, LOSS, at, max(n - 1, 0), H, batch)

        for _ in range(2):  # two classical steps a piece
            step = 0.5 * H
            first = rate(theta)
            second = rate(theta + 0.5 * step * first)
            third = rate(theta + 0.5 * step * second)
            last = rate(theta + step * third)
            theta = theta + step / 6.0 * (first + 2.0 * second + 2.0 * third + last)
    found = run(Fault("", "", late_step=True))
    np.testing.assert_allclose(found.difference[0], iterates()[-1] - theta, rtol=1e-10, atol=1e-14)


def test_single_precision_rounds_every_iterate() -> None:
    theta = START.copy()
    m, v = np.zeros(3), np.zeros(3)
    for n, b in enumerate(SCHEDULE.indices(STEPS)):
        g = LOSS.gradient(int(b), theta)
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
        mean, square = m / (1.0 - 0.8 ** (n + 1)), v / (1.0 - 0.9 ** (n + 1))
        theta = (theta - H * mean / np.sqrt(square + 1e-2)).astype(np.float32).astype(np.float64)
    found = run(Fault("", "", single=True))
    # 1e-7: one rounding of float32 that falls to the other side
    np.testing.assert_allclose(found.difference[0], theta - flow()[-1], rtol=1e-12, atol=2e-7)
    assert np.linalg.norm(theta - iterates()[-1]) > 1e-8
    assert found.grain[0] == 0.0


def test_start_is_off_on_one_side() -> None:
    found = run(Fault("", "", start=1e-6))
    assert found.start[0] == pytest.approx(1e-6 * np.sqrt(3.0), rel=1e-9)
    moved = reference.flow(OPTIMIZER, LOSS, START + 1e-6, H, STEPS, CLASSICAL, 2, SCHEDULE)
    np.testing.assert_allclose(found.difference[0], (iterates() - moved)[-1], **STORED)
    # the coarse flow starts there too: a check of the solver must not see it
    assert found.solver[0] == pytest.approx(run(None).solver[0], rel=1e-3)


def test_longer_products_are_a_larger_bias_term() -> None:
    found = run(Fault("", "", products=1.01))
    scaled = run(None, Variant(bias=1.01))
    np.testing.assert_allclose(found.difference, scaled.difference, rtol=1e-11)
    assert not np.allclose(found.difference, run(None).difference, rtol=1e-3)


def _gradient(b: int, theta: Any, data: Any, out: Any) -> None:
    for j in range(3):
        out[j] = np.sin(theta[j] + b) + 0.3 * theta[0] * theta[1] * theta[2]


def _products(b: int, theta: Any, v: Any, data: Any, out: Any) -> None:
    inner = v[0] * theta[1] * theta[2] + theta[0] * v[1] * theta[2] + theta[0] * theta[1] * v[2]
    for j in range(3):
        out[j] = data[0][0] * (np.cos(theta[j] + b) * v[j] + 0.3 * inner)


def test_longer_products_of_a_real_loss_do_the_same() -> None:
    def loss(factor: float) -> sb.Loss:
        return sb.Loss.from_functions(
            _gradient, hvp=_products, dim=3, batches=2, data=(np.array([factor]),)
        )

    with pytest.warns(UserWarning, match="not the derivative"):
        wrong = loss(1.01)
    right = loss(1.0)
    fault = Fault("", "", products=1.01)
    np.testing.assert_allclose(
        run(None, loss=wrong).difference, run(fault, loss=right).difference, rtol=1e-11
    )
