"""One measurement: what the lockstep run reports, against the stored trajectories."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels import rule as rule_module
from stepbias.kernels.blocks import Ensemble, prepare
from stepbias.kernels.measure import Measurement, Method, field_optimizer, measure, resolution
from stepbias.kernels.trajectory import CLASSICAL, HEUN
from stepbias.theory.optimizers import AdamFamily
from stepbias.theory.variants import LEADING, STATEMENT, Variant
from tests import reference
from tests.reference import Floats

LOSS = sb.Loss.random("logistic", dim=3, batches=2, seed=3)
START = np.array([0.4, -0.3, 0.8])
SCHEDULE = sb.Reshuffled(2, seed=9)
H, STEPS = 0.02, 30
OPTIMIZERS: list[AdamFamily] = [
    sb.Adam(0.8, 0.9, eps=0.0, eps_root=1e-2),
    sb.Adam(0.8, 0.9, eps=1e-1),
    sb.RMSProp(0.9, 0.0, 1e-2),
]
# Stored trajectories are rounded to doubles of size 1, the lockstep differences are not.
STORED: dict[str, Any] = {"rel": 1e-12, "abs": 2e-15}


def ensemble(optimizer: AdamFamily, steps: int = STEPS) -> Ensemble:
    return prepare(optimizer, LOSS, START, H, steps, SCHEDULE, "cpu")


def path(
    optimizer: AdamFamily, method: Any = (CLASSICAL, 2), variant: Variant = STATEMENT
) -> Floats:
    tableau, substeps = method
    return reference.flow(optimizer, LOSS, START, H, STEPS, tableau, substeps, SCHEDULE, variant)


def test_resolution_of_few_and_many_steps() -> None:
    assert resolution(1) == resolution(511) == Method(CLASSICAL, 2, CLASSICAL, 1)
    assert resolution(512) == Method(CLASSICAL, 1, HEUN, 1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_report_is_that_of_the_stored_paths(optimizer: AdamFamily) -> None:
    found = measure(ensemble(optimizer), STEPS)
    discrete, flow = sb.iterate(optimizer, LOSS, START, H, STEPS, SCHEDULE), path(optimizer)
    coarse = path(optimizer, (CLASSICAL, 1))
    gap = np.linalg.norm(discrete - flow, axis=1).max()
    assert found.error[0] == pytest.approx(gap, **STORED)
    assert found.solver[0] == pytest.approx(np.linalg.norm(flow - coarse, axis=1).max(), **STORED)
    assert found.solver[0] > 0.0
    assert found.distance[0] == pytest.approx(np.linalg.norm(flow[-1] - START), **STORED)
    np.testing.assert_allclose(found.difference[0], (discrete - flow)[-1], rtol=1e-12, atol=2e-15)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_watched_roots_and_sizes(optimizer: AdamFamily) -> None:
    method = Method(CLASSICAL, 1, CLASSICAL, 1)
    found = measure(ensemble(optimizer), STEPS, method=method, check=False)
    flow, batch = path(optimizer, (CLASSICAL, 1)), SCHEDULE.indices(STEPS)
    root, drift = np.inf, 0.0
    for n in range(STEPS):

        def rate(theta: Floats, n: int = n) -> Floats:
            return sb.vector_field(optimizer, LOSS, theta, n, H, batch)

        third = rate(flow[n] + 0.5 * H * rate(flow[n] + 0.5 * H * rate(flow[n])))
        first = sb.memory_terms(optimizer, LOSS, flow[n], n, batch).R
        last = sb.memory_terms(optimizer, LOSS, flow[n] + H * third, n, batch).R
        root = min(root, first.min())
        drift = max(drift, float((np.abs(last - first) / ((first + optimizer.eps) * H)).max()))
    assert found.root[0] == pytest.approx(root, rel=1e-12)
    assert found.drift[0] == pytest.approx(drift, rel=1e-9)  # a difference of roots over h
    assert found.size[0] == pytest.approx(np.abs(flow[1:]).max(), **STORED)
    assert found.solver[0] == 0.0


@pytest.mark.parametrize("variant", [STATEMENT, LEADING])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_local_defect_restarts_every_step_on_the_flow(
    optimizer: AdamFamily, variant: Variant
) -> None:
    found = measure(ensemble(optimizer), STEPS, variant, local=True)
    flow, batch = path(optimizer, variant=variant), SCHEDULE.indices(STEPS)
    beta, rho = float(optimizer.beta), float(optimizer.rho)
    m, v, largest, solver = np.zeros(3), np.zeros(3), 0.0, 0.0
    for n, b in enumerate(batch):
        g = LOSS.gradient(int(b), flow[n])
        m, v = beta * m + (1.0 - beta) * g, rho * v + (1.0 - rho) * g**2
        mean, square = m, v
        if optimizer.bias_correction:
            mean, square = m / (1.0 - beta ** (n + 1)), v / (1.0 - rho ** (n + 1))
        step = -H * mean / (np.sqrt(square + optimizer.eps_root) + optimizer.eps)
        largest = max(largest, float(np.linalg.norm(flow[n] + step - flow[n + 1])))

        def rate(theta: Floats, n: int = n) -> Floats:
            return reference.compiled_field(optimizer, LOSS, theta, n, H, batch, variant)

        first = rate(flow[n])
        second = rate(flow[n] + 0.5 * H * first)
        third = rate(flow[n] + 0.5 * H * second)
        total = first + 2.0 * second + 2.0 * third + rate(flow[n] + H * third)
        solver = max(solver, float(np.linalg.norm(flow[n] + H / 6.0 * total - flow[n + 1])))
    assert found.error[0] == pytest.approx(largest, rel=1e-9, abs=2e-15)
    # The solver's share is that of one piece, not of the whole path.
    assert found.solver[0] == pytest.approx(solver, rel=1e-6, abs=2e-15)


@pytest.mark.parametrize(
    "variant",
    [
        LEADING,
        Variant(P=0.5),
        Variant(swap_eps=True),
        Variant(flip_bias_correction=True),
        Variant(short_memory=True),
    ],
    ids=lambda variant: str(variant.name),
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_variant_is_in_the_flow_and_not_in_the_iterates(
    optimizer: AdamFamily, variant: Variant
) -> None:
    found = measure(ensemble(optimizer), STEPS, variant)
    discrete = sb.iterate(optimizer, LOSS, START, H, STEPS, SCHEDULE)
    gap = np.linalg.norm(discrete - path(optimizer, variant=variant), axis=1).max()
    assert found.error[0] == pytest.approx(gap, **STORED)
    if variant is LEADING:
        assert found.error[0] == pytest.approx(
            sb.global_error(optimizer, LOSS, START, H, STEPS, SCHEDULE, order=1), **STORED
        )


def test_substitutions_change_the_optimizer_of_the_field() -> None:
    adam = sb.Adam(0.8, 0.9, 1e-3, 1e-2)
    assert field_optimizer(adam, STATEMENT) is adam
    assert field_optimizer(adam, Variant(P=0.5, short_memory=True)) is adam
    swapped = field_optimizer(adam, Variant(swap_eps=True))
    assert (swapped.eps, swapped.eps_root) == (1e-2, 1e-3)
    flipped = field_optimizer(adam, Variant(flip_bias_correction=True))
    assert isinstance(flipped, sb.Adam)
    assert not flipped.bias_correction
    corrected = field_optimizer(sb.RMSProp(0.9, 1e-3), Variant(flip_bias_correction=True))
    assert (corrected.beta, corrected.rho, corrected.bias_correction) == (0.0, 0.9, True)


def test_overflow_is_reported_as_such() -> None:
    run = prepare(OPTIMIZERS[0], LOSS, START, 1e308, 5, SCHEDULE, "cpu")
    found = measure(run, 5)
    assert not np.isfinite(found.error[0])
    assert not np.isfinite(found.distance[0])
    assert isinstance(found, Measurement)


# Full batch: tables that end before the run does, and strides over pieces with one and the same field -------------------------------

FULL = sb.Loss.random("logistic", dim=3, batches=1, problems=3, seed=3)
LONG = 900  # more than the three windows that the tables have
QUICK: list[AdamFamily] = [
    sb.Adam(0.5, 0.7, eps=0.0, eps_root=1e-2),
    sb.Adam(0.7, 0.5, eps=1e-1),
    sb.RMSProp(0.7, 0.0, 1e-2),
]


def long_run(optimizer: AdamFamily, steps: int = LONG) -> Ensemble:
    return prepare(optimizer, FULL, START, 1.0 / steps, steps, None, "cpu")


@pytest.mark.parametrize("variant", [STATEMENT, Variant(short_memory=True), LEADING])
@pytest.mark.parametrize("optimizer", QUICK)
def test_a_run_past_the_end_of_its_tables_has_the_bits_of_whole_tables(
    monkeypatch: pytest.MonkeyPatch, optimizer: AdamFamily, variant: Variant
) -> None:
    ours = measure(long_run(optimizer), LONG, variant)
    short = long_run(optimizer).rule(optimizer, 0)
    monkeypatch.setattr(rule_module, "table_length", lambda batches, memory, steps: steps)
    assert short.last < 400 < len(long_run(optimizer).rule(optimizer, 0).batch) == LONG
    theirs = measure(long_run(optimizer), LONG, variant)
    for field in fields(Measurement):
        np.testing.assert_array_equal(
            getattr(ours, field.name), getattr(theirs, field.name), field.name
        )


@pytest.mark.parametrize("optimizer", QUICK)
def test_strides_see_the_same_distance(optimizer: AdamFamily) -> None:
    steps = 20_000
    every = measure(long_run(optimizer, steps), steps, method=Method(CLASSICAL, 1, HEUN, 1))
    method = Method(CLASSICAL, 2, CLASSICAL, 1, 50)
    strided = measure(long_run(optimizer, steps), steps, method=method)
    # The iterates are the same, and their end is seen by both: what differs is the solver's error, that of steps 50 times as long included.
    apart = np.linalg.norm(strided.difference - every.difference, axis=1)
    assert np.all(apart <= 4.0 * (every.solver + strided.solver) + 1e-15)
    assert np.all(strided.error <= every.error + 4.0 * (every.solver + strided.solver) + 1e-15)
    # Between two looks 50 of 20000 steps pass: the error, which grows from 0 by a bounded rate, changes by less than a hundredth.
    np.testing.assert_allclose(strided.error, every.error, rtol=1e-2)
    assert np.all(strided.solver <= 1e-2 * strided.error)


def test_strides_do_not_touch_several_batches() -> None:
    for stride in (1, 7):
        found = measure(
            ensemble(OPTIMIZERS[0]), STEPS, method=Method(CLASSICAL, 1, HEUN, 1, stride)
        )
        if stride == 1:
            first = found
    np.testing.assert_array_equal(first.error, found.error)
    np.testing.assert_array_equal(first.solver, found.solver)
