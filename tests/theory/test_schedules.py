"""Schedules are infinite sequences: prefixes, permutations, uniform draws, seeds; and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stepbias.theory.schedules import IID, Cyclic, Reshuffled, Schedule, resolve

SEEDS = st.integers(0, 2**64 - 1)
SIZES = st.integers(1, 12)


@st.composite
def schedules(draw: Any) -> Schedule:
    m, seed = draw(SIZES), draw(SEEDS)
    return draw(st.sampled_from([Cyclic(m), Reshuffled(m, seed), IID(m, seed)]))


@given(schedules(), st.integers(0, 100), st.integers(0, 100))
def test_longer_run_starts_with_the_shorter(schedule: Schedule, few: int, more: int) -> None:
    short, long = schedule.indices(few), schedule.indices(few + more)
    assert short.dtype == np.int64
    assert short.shape == (few,)
    assert np.all((long >= 0) & (long < schedule.m))
    np.testing.assert_array_equal(long[:few], short)


@given(schedules(), st.integers(0, 50))
def test_same_schedule_same_indices(schedule: Schedule, steps: int) -> None:
    again = type(schedule)(**vars(schedule))
    np.testing.assert_array_equal(schedule.indices(steps), again.indices(steps))


@given(SIZES, st.integers(0, 60))
def test_cyclic_counts_round(m: int, steps: int) -> None:
    assert Cyclic(m).indices(steps).tolist() == [k % m for k in range(steps)]


@given(SIZES, SEEDS, st.integers(1, 6))
def test_every_epoch_is_a_permutation(m: int, seed: int, epochs: int) -> None:
    rows = Reshuffled(m, seed).indices(m * epochs).reshape(epochs, m)
    assert all(sorted(row) == list(range(m)) for row in rows.tolist())


def test_epochs_and_seeds_differ() -> None:
    for kind in (Reshuffled, IID):
        first, second = kind(8, 1).indices(800), kind(8, 2).indices(800)
        assert not np.array_equal(first, second)
        epochs = {tuple(row) for row in first.reshape(100, 8).tolist()}
        assert len(epochs) > 90  # of 8! = 40320 orders (8^8 for IID)


def likely(counts: Any) -> bool:
    """Whether a chi-square test at one in a million finds the counts uniform; the seeds are fixed."""
    return bool(stats.chisquare(np.asarray(counts).ravel()).pvalue > 1e-6)


def test_iid_draws_are_uniform_and_independent() -> None:
    draws = IID(5, seed=11).indices(50_000)
    pairs = np.zeros((5, 5))
    np.add.at(pairs, (draws[::2], draws[1::2]), 1.0)
    assert likely(np.bincount(draws, minlength=5))
    assert likely(pairs)


def test_permutations_are_uniform() -> None:
    rows = Reshuffled(4, seed=3).indices(4 * 24_000).reshape(-1, 4)
    _, counts = np.unique(rows, axis=0, return_counts=True)
    assert len(counts) == 24
    assert likely(counts)


@pytest.mark.parametrize("kind", [Cyclic, Reshuffled, IID])
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("m", 0, ValueError),
        ("m", -3, ValueError),
        ("m", 2.0, TypeError),
        ("m", True, TypeError),
        ("m", "3", TypeError),
        ("m", None, TypeError),
        ("seed", -1, ValueError),
        ("seed", 2**64, ValueError),
        ("seed", 1.5, TypeError),
        ("seed", None, TypeError),
    ],
)
def test_bad_numbers_are_refused(kind: Any, name: str, value: Any, error: type) -> None:
    arguments: dict[str, Any] = {"m": 3} if kind is Cyclic else {"m": 3, "seed": 0}
    if name not in arguments:
        pytest.skip("Cyclic has no seed")
    with pytest.raises(error) as caught:
        kind(**(arguments | {name: value}))
    message = str(caught.value)
    assert message.startswith(f"{name} = {value!r}")
    assert "accepted: an integer" in message


@pytest.mark.parametrize("schedule", [Cyclic(3), Reshuffled(3, 0), IID(3, 0)])
@pytest.mark.parametrize(
    ("steps", "error"), [(-1, ValueError), (2.5, TypeError), (True, TypeError)]
)
def test_bad_lengths_are_refused(schedule: Schedule, steps: Any, error: type) -> None:
    with pytest.raises(error, match=rf"steps = {steps!r}.*accepted"):
        schedule.indices(steps)


# resolve -----------------------------------------------------------------------------------------


def test_default_is_cyclic() -> None:
    assert resolve(None, 1, 4).tolist() == [0, 0, 0, 0]
    assert resolve(None, 3, 5).tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("kind", ["i1", "u1", "i4", "u8", "i8"])
def test_arrays_are_cut_to_length(kind: str) -> None:
    given_array = np.array([2, 0, 1, 1, 2], dtype=kind)
    for form in (given_array, given_array.tolist(), tuple(given_array.tolist())):
        found = resolve(form, 3, 4)
        assert found.tolist() == [2, 0, 1, 1]
        assert found.dtype == np.int64
        assert found.flags.c_contiguous
    rows = resolve(np.array([given_array, given_array[::-1]]), 3, 2)
    assert rows.tolist() == [[2, 0], [2, 1]]
    assert rows.flags.c_contiguous


@pytest.mark.parametrize(
    ("schedule", "error", "words"),
    [
        ([0, 1, 3, 0], ValueError, "contains 3; accepted: indices 0 .. 2"),
        ([0, -1, 2, 0], ValueError, "contains -1; accepted: indices 0 .. 2"),
        ([0, 1, 2], ValueError, r"shape (3,); accepted: (4,)"),
        ([[0], [1]], ValueError, r"shape (2, 1); accepted: (4,)"),
        (np.zeros((2, 2, 4), int), ValueError, r"shape (2, 2, 4); accepted: (4,)"),
        (1, ValueError, r"shape (); accepted: (4,)"),
        ([[0, 1, 2, 0], [0]], ValueError, "rows of unequal lengths; accepted: Cyclic"),
        ([0.0, 1.0, 2.0, 0.0], TypeError, "[0.0, 1.0, 2.0, 0.0]; accepted: Cyclic"),
        ([True, False, True, True], TypeError, "accepted: Cyclic"),
        ("cyclic", TypeError, "'cyclic'; accepted: Cyclic"),
        (Cyclic, TypeError, "accepted: Cyclic"),
        (Cyclic(2), ValueError, "Cyclic(m=2) has m = 2; the loss has 3 batches"),
        (IID(4, 0), ValueError, "IID(m=4, seed=0) has m = 4; the loss has 3 batches"),
    ],
)
def test_bad_schedules_are_refused(schedule: Any, error: type, words: str) -> None:
    with pytest.raises(error) as caught:
        resolve(schedule, 3, 4)
    assert str(caught.value).startswith("schedule ")
    assert words in str(caught.value)
