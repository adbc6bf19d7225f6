"""The compiled sums and fields equal the printed ones, for every convention, schedule and family, to a bound on the rounding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stepbias as sb
from stepbias.theory import full_batch
from stepbias.theory.memory import MemoryTerms, literal_field, literal_terms
from stepbias.theory.optimizers import AdamFamily
from stepbias.verify import strategies
from tests import reference
from tests.reference import Floats, Integers, Printed

# The first example of a process compiles: no deadline.
ROOMY = settings(deadline=None, max_examples=60)


def conventions() -> st.SearchStrategy[AdamFamily]:
    """Every member of the family: the tool's strategies, and both places of epsilon at once."""
    plain = strategies.optimizers()
    both = st.builds(
        lambda o, more: replace(o, eps=o.eps + more, eps_root=o.eps_root + more),
        plain,
        st.floats(1e-3, 0.1),
    )
    return st.one_of(plain, both)


@st.composite
def cases(draw: Any, last: int = 60) -> tuple[AdamFamily, sb.Loss, Floats, int, Integers]:
    """Optimizer, loss with p <= 6 and m <= 5, point, step, schedule."""
    loss = draw(strategies.losses(max_dim=6, max_batches=5))
    n = draw(st.integers(0, last))
    theta = draw(strategies.starts(loss.dim))
    schedule = draw(strategies.schedules(loss.batches)).indices(n + 1)
    return draw(conventions()), loss, theta, n, schedule


def sums_of(optimizer: AdamFamily, loss: sb.Loss, theta: Floats, n: int, schedule: Any) -> Printed:
    bounds = loss.bounds(theta, theta)
    assert bounds is not None
    gradients, hessians = reference.derivatives(loss, theta)
    return reference.printed(optimizer, gradients, hessians, n, schedule, largest=bounds[1])


def assert_sums(actual: MemoryTerms, expected: MemoryTerms, sums: Printed, decay: float) -> None:
    tolerance = reference.rounding(sums, decay)
    for name, a, e, scale in zip(MemoryTerms._fields, actual, expected, sums.scale, strict=True):
        # The absolute part: decays near the smallest double make terms that underflow.
        assert np.all(np.abs(a - e) <= tolerance * scale + 1e-300), (name, a, e, scale)


@ROOMY
@given(cases(12))
def test_vectorised_reference_is_the_literal_double_sum(case: Any) -> None:
    sums = sums_of(*case)
    assert_sums(literal_terms(*case), sums.terms, sums, reference.slowest(case[0]))


@ROOMY
@given(cases())
def test_memory_terms_are_the_printed_sums(case: Any) -> None:
    assert_sums(
        sb.memory_terms(*case), literal_terms(*case), sums_of(*case), reference.slowest(case[0])
    )


@settings(deadline=None, max_examples=100)
@given(cases(), st.floats(1e-4, 1.0), st.sampled_from([1, 2]))
def test_vector_field_is_the_printed_field(case: Any, h: float, order: int) -> None:
    optimizer, loss, theta, n, schedule = case
    sums = sums_of(*case)
    rate = h if order == 2 else 0.0
    expected = literal_field(sums.terms, optimizer.eps, rate)
    actual = sb.vector_field(optimizer, loss, theta, n, h, schedule, order)
    tolerance = reference.rounding(sums, reference.slowest(optimizer))
    assert np.all(
        np.abs(actual - expected) <= tolerance * reference.field_scale(sums, optimizer, rate)
    )


@pytest.mark.parametrize("n", [40, 61, 75, 200, 1500])
@pytest.mark.parametrize(("beta", "rho"), [(0.5, 0.5), (0.0, 0.5), (0.5, 0.1), (0.0, 0.0)])
@pytest.mark.parametrize("place", [(0.0, 1e-3), (1e-3, 0.0)])
def test_dropped_weights_are_below_rounding(
    n: int, beta: float, rho: float, place: tuple[float, float]
) -> None:
    # 0.5^60 is the first power that is dropped, so from n = 61 on the window is full; the reference drops nothing.
    loss = sb.Loss.random("sinusoid", dim=4, batches=3, seed=n)
    theta = np.array([0.3, -1.0, 0.7, 0.1])
    schedule = sb.IID(3, seed=n).indices(n + 1)
    rules: list[AdamFamily] = [sb.Adam(beta, rho, *place), sb.Adam(beta, rho, *place, False)]
    if beta == 0.0:
        rules.append(sb.RMSProp(rho, *place))
    for optimizer in rules:
        case = (optimizer, loss, theta, n, schedule)
        sums = sums_of(*case)
        assert_sums(sb.memory_terms(*case), sums.terms, sums, max(beta, rho))


def test_a_batch_seen_long_ago_still_counts() -> None:
    # One visit of batch 1, then only batch 0: with rho = 0.95 its weight after 200 steps is 2e-6, far above rounding.
    loss = sb.Loss.random("sinusoid", dim=3, batches=2, seed=5)
    theta, n = np.array([0.3, -1.0, 0.7]), 200
    schedule = np.zeros(n + 1, dtype=np.int64)
    schedule[0] = 1
    optimizer = sb.Adam(0.9, 0.95, eps_root=1e-3)
    case = (optimizer, loss, theta, n, schedule)
    sums = sums_of(*case)
    assert_sums(sb.memory_terms(*case), sums.terms, sums, 0.95)
    blind = sb.memory_terms(optimizer, loss, theta, n, np.zeros(n + 1, dtype=np.int64))
    assert np.all(np.abs(blind.P - sums.terms.P) > 1e-9 * np.abs(sums.terms.P))


# parameters that a loss does not depend on -------------------------------------------------------


def with_absent(seed: int, batches: int) -> tuple[sb.Loss, sb.Loss]:
    """Sinusoids of (t0, t2), once with a parameter t1 between them that no batch depends on."""
    rng = np.random.default_rng(seed)
    amplitude, phase = rng.normal(size=(batches, 5)), rng.uniform(0.0, 6.0, (batches, 5))
    frequency = rng.normal(size=(5, 2))
    wider = np.insert(frequency, 1, 0.0, axis=1)
    return sb.Loss.sinusoids(amplitude, wider, phase), sb.Loss.sinusoids(
        amplitude, frequency, phase
    )


@settings(deadline=None, max_examples=40)
@given(conventions(), st.integers(0, 1000), st.integers(1, 3), st.integers(0, 30))
def test_absent_parameter_stays_and_disturbs_nobody(
    optimizer: AdamFamily, seed: int, batches: int, n: int
) -> None:
    loss, without = with_absent(seed, batches)
    theta = np.array([0.4, -0.2, 1.1])
    terms = sb.memory_terms(optimizer, loss, theta, n)
    smaller = sb.memory_terms(optimizer, without, theta[[0, 2]], n)
    for name, full, reduced in zip(MemoryTerms._fields, terms, smaller, strict=True):
        np.testing.assert_array_equal(full[[0, 2]], reduced, err_msg=name)
        assert full[1] == (np.sqrt(optimizer.eps_root) if name == "R" else 0.0), name
    assert sb.vector_field(optimizer, loss, theta, n, 0.1)[1] == 0.0
    for path in (sb.iterate, sb.flow):
        assert np.all(path(optimizer, loss, theta, 0.1, 5)[:, 1] == theta[1])


@pytest.mark.parametrize("eps", [1e-2, 1e-8])
def test_component_that_vanishes_in_the_first_batches_only(eps: float) -> None:
    # R^(0) = 0 for the second component: U^(0) = 0 there, and nothing is divided by 0.
    rng = np.random.default_rng(3)
    frequency = rng.normal(size=(4, 2))
    frequency[:2, 1] = 0.0
    amplitude = rng.normal(size=(2, 4))
    amplitude[0, 2:] = 0.0
    loss = sb.Loss.sinusoids(amplitude, frequency, rng.uniform(0.0, 6.0, (2, 4)))
    theta = np.array([0.4, -0.2])
    schedule = np.array([0, 0, 1, 0, 1, 1, 0])
    assert loss.gradient(0, theta)[1] == 0.0 != loss.gradient(1, theta)[1]
    for optimizer in (sb.Adam(0.8, 0.9, eps), sb.RMSProp(0.9, eps)):
        for n in range(len(schedule)):
            case = (optimizer, loss, theta, n, schedule)
            sums = sums_of(*case)
            assert_sums(sb.memory_terms(*case), literal_terms(*case), sums, 0.9)
            field = sb.vector_field(optimizer, loss, theta, n, 0.1, schedule)
            assert np.all(np.isfinite(field))
            assert n >= 2 or field[1] == 0.0


# full batch --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    conventions(),
    strategies.losses(max_dim=6, max_batches=1),
    st.integers(0, 300),
    st.integers(0, 2**31 - 1),
)
def test_full_batch_sums_are_the_closed_forms(
    optimizer: AdamFamily, loss: sb.Loss, n: int, seed: int
) -> None:
    theta = np.random.default_rng(seed).normal(size=loss.dim)
    g = loss.gradient(0, theta)
    numbers: Any = (n, optimizer.beta, optimizer.rho, optimizer.eps, optimizer.eps_root)
    closed = full_batch.adam_terms if optimizer.bias_correction else full_batch.uncorrected_terms
    expected = closed(g, lambda v: loss.hvp(0, theta, v), *numbers)
    schedule = np.zeros(n + 1, dtype=np.int64)
    case = (optimizer, loss, theta, n, schedule)
    assert_sums(sb.memory_terms(*case), expected, sums_of(*case), reference.slowest(optimizer))


@pytest.mark.parametrize("place", [(0.0, 1e-2), (1e-2, 0.0)])
@pytest.mark.parametrize("n", [0, 1, 2, 30, 500])
def test_equal_batches_are_the_full_batch(n: int, place: tuple[float, float]) -> None:
    # One batch takes the closed form of the compiled code, two equal ones its loop over the steps.
    rng = np.random.default_rng(n)
    amplitude, phase = rng.normal(size=(1, 5)), rng.uniform(0.0, 6.0, (1, 5))
    frequency, theta = rng.normal(size=(5, 3)), rng.normal(size=3)
    once = sb.Loss.sinusoids(amplitude, frequency, phase)
    twice = sb.Loss.sinusoids(np.repeat(amplitude, 2, 0), frequency, np.repeat(phase, 2, 0))
    schedule = sb.IID(2, seed=n).indices(n + 1)
    optimizer = sb.Adam(0.9, 0.95, *place)
    case = (optimizer, once, theta, n, np.zeros(n + 1, dtype=np.int64))
    sums = sums_of(*case)
    assert_sums(
        sb.memory_terms(optimizer, twice, theta, n, schedule), sb.memory_terms(*case), sums, 0.95
    )
