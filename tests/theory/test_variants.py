"""Wrong variants change what they name, and nothing else: literally, and in the compiled code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stepbias as sb
from stepbias.theory.memory import literal_field, literal_terms
from stepbias.theory.optimizers import AdamFamily
from stepbias.theory.variants import LEADING, STATEMENT, TERMS, Variant, of_order
from tests import reference

LOSS = sb.Loss.random("log-cosh", dim=3, batches=3, seed=8)
THETA = np.array([0.6, -0.4, 0.9])
SCHEDULE = sb.Reshuffled(3, seed=2).indices(30)
OPTIMIZERS: list[AdamFamily] = [
    sb.Adam(0.8, 0.9, eps_root=1e-2),
    sb.Adam(0.8, 0.9, eps=1e-2),
    sb.Adam(0.6, 0.9, eps=1e-2, eps_root=1e-3, bias_correction=False),
    sb.RMSProp(0.9, 0.0, 1e-2),
    sb.RMSProp(0.9, 1e-2),
]


def test_a_statement_has_factors_one() -> None:
    assert STATEMENT.factors.tolist() == [1.0] * 9
    assert LEADING.factors.tolist() == [1.0] * 6 + [0.0, 1.0, 1.0]
    for index, term in enumerate(TERMS):
        assert reference.scaled(term, 0.25).factors.tolist() == [
            0.25 if k == index else 1.0 for k in range(9)
        ]


def test_memory_and_discretization_are_factors_on_the_terms_of_their_kind() -> None:
    named = [*TERMS, "memory", "discretization"]
    for variant, changed in (
        (Variant(memory=0.5), {"L": 0.5, "P": 0.5, "memory": 0.5}),
        (Variant(discretization=0.5), {"Lbar": 0.5, "Pbar": 0.5, "discretization": 0.5}),
        (Variant(memory=0.5, L=3.0), {"L": 1.5, "P": 0.5, "memory": 0.5}),
    ):
        assert variant.factors.tolist() == [changed.get(name, 1.0) for name in named]


def test_names_say_what_differs() -> None:
    assert STATEMENT.name == "statement"
    assert Variant(P=0.5).name == "P x 0.5"
    assert Variant(L=2.0, swap_eps=True).name == "L x 2, swap_eps"
    switches = ("flip_bias_correction", "swap_eps", "short_memory")
    assert [reference.scaled(name, True).name for name in switches] == list(switches)


def test_order_chooses_the_field() -> None:
    assert of_order(2) is STATEMENT
    assert of_order(1) is LEADING


@pytest.mark.parametrize("order", [0, 3, -1, True, 1.0, 2.0, "2", None, np.array([1, 2])])
def test_other_orders_are_refused(order: Any) -> None:
    with pytest.raises(ValueError, match=r"order = .*accepted: 1 .* or 2"):
        of_order(order)


def assert_field(optimizer: AdamFamily, n: int, variant: Variant, used: AdamFamily) -> None:
    """The compiled field with ``variant`` is the literal field of ``used`` with the variant's factors."""
    h = 0.3
    gradients, hessians = reference.derivatives(LOSS, THETA)
    sums = reference.printed(
        used, gradients, hessians, n, SCHEDULE, short_memory=variant.short_memory
    )
    expected = literal_field(sums.terms, float(used.eps), h, variant)
    actual = reference.compiled_field(optimizer, LOSS, THETA, n, h, SCHEDULE, variant)
    largest = max(np.abs(variant.factors).max(), 1.0 / np.abs(variant.R)) ** 3
    tolerance = 8.0 * largest * reference.rounding(sums, 0.9)
    assert np.all(np.abs(actual - expected) <= tolerance * reference.field_scale(sums, used, h))


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(OPTIMIZERS),
    st.integers(0, 29),
    st.sampled_from(TERMS),
    st.sampled_from([0.0, 0.5, -1.0, 2.0]),
)
def test_compiled_factors_act_on_their_term(
    optimizer: AdamFamily, n: int, term: str, factor: float
) -> None:
    if term == "R" and factor <= 0.0:
        factor = 3.0
    variant = reference.scaled(term, factor)
    assert_field(optimizer, n, variant, optimizer)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("n", [0, 1, 2, 17])
def test_epsilon_moves_to_the_other_place(optimizer: AdamFamily, n: int) -> None:
    moved = replace(optimizer, eps=optimizer.eps_root, eps_root=optimizer.eps)
    assert_field(optimizer, n, Variant(swap_eps=True), moved)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("n", [0, 1, 2, 17])
def test_bias_correction_is_flipped(optimizer: AdamFamily, n: int) -> None:
    numbers = (optimizer.beta, optimizer.rho, optimizer.eps, optimizer.eps_root)
    flipped = sb.Adam(*numbers, bias_correction=not optimizer.bias_correction)
    assert_field(optimizer, n, Variant(flip_bias_correction=True), flipped)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 17])
def test_short_memory_ends_the_inner_sums_one_step_early(optimizer: AdamFamily, n: int) -> None:
    assert_field(optimizer, n, Variant(short_memory=True), optimizer)


@pytest.mark.parametrize("n", [0, 1, 2, 17])
def test_short_memory_of_the_full_batch(n: int) -> None:
    # One batch with bias correction has a closed form of its own, which must not be taken here.
    loss = sb.Loss.random("log-cosh", dim=3, batches=1, seed=8)
    optimizer = sb.Adam(0.8, 0.9, eps_root=1e-2)
    schedule = np.zeros(n + 1, dtype=np.int64)
    gradients, hessians = reference.derivatives(loss, THETA)
    sums = reference.printed(optimizer, gradients, hessians, n, schedule, short_memory=True)
    actual = reference.compiled_field(
        optimizer, loss, THETA, n, 0.3, schedule, Variant(short_memory=True)
    )
    expected = literal_field(sums.terms, float(optimizer.eps), 0.3)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "variant",
    [
        *(reference.scaled(term, 0.5) for term in TERMS),
        Variant(flip_bias_correction=True),
        Variant(swap_eps=True),
        Variant(short_memory=True),
    ],
    ids=lambda variant: str(variant.name),
)
def test_every_variant_differs_from_the_statement(optimizer: AdamFamily, variant: Variant) -> None:
    if variant.L == 0.5 and isinstance(optimizer, sb.RMSProp):
        pytest.skip("L of RMSProp is 0")
    statement = reference.compiled_field(optimizer, LOSS, THETA, 5, 0.3, SCHEDULE)
    changed = reference.compiled_field(optimizer, LOSS, THETA, 5, 0.3, SCHEDULE, variant)
    assert np.abs(changed - statement).max() > 1e-4


def test_literal_reference_of_the_statement_is_the_double_sum() -> None:
    gradients, hessians = reference.derivatives(LOSS, THETA)
    for optimizer in OPTIMIZERS:
        found = reference.printed(optimizer, gradients, hessians, 17, SCHEDULE).terms
        for a, b in zip(literal_terms(optimizer, LOSS, THETA, 17, SCHEDULE), found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
