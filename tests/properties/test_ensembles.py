"""A problem's numbers do not depend, to the last bit, on its company, its place, the blocks or the threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stepbias as sb
from stepbias.kernels import blocks
from stepbias.verify.sweep import sweep
from tests.reference import Floats

STEPS = 6
Run = Callable[..., list[Floats]]


def everything(optimizer: Any, loss: Any, theta: Any, h: Any, schedule: Any) -> list[Floats]:
    """All numbers that the public functions give for these problems."""
    common = (optimizer, loss, theta)
    results = [
        sb.iterate(*common, h, STEPS, schedule),
        sb.flow(*common, h, STEPS, schedule),
        sb.flow(*common, h, STEPS, schedule, 1),
        sb.vector_field(*common, STEPS - 1, h, schedule),
        *sb.memory_terms(*common, STEPS - 1, schedule),
        sb.global_error(*common, h, STEPS, schedule),
    ]
    for kind in ("global", "local"):
        found = sweep(*common, 0.3, (3, STEPS), schedule, kind=kind)
        results += [found.error, found.floor, found.difference, found.distance, found.memory]
    return [np.asarray(result) for result in results]


@contextmanager
def machine(entries: int, lanes: int, threads: int) -> Iterator[None]:
    """Blocks of at most ``max(lanes, entries / p)`` problems, worked on by so many threads."""
    with (
        mock.patch.object(blocks, "_ENTRIES", entries),
        mock.patch.object(blocks, "_LANES", lanes),
        mock.patch.dict("os.environ", STEPBIAS_THREADS=str(threads)),
    ):
        yield


class Mixture:
    """B problems that differ in everything that may differ, some of them sharing tables."""

    def __init__(self, family: str, count: int, dim: int, batches: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.loss = sb.Loss.random(family, dim, batches, problems=count, seed=seed)
        self.theta = rng.normal(size=(count, dim))
        self.h = rng.uniform(0.01, 0.2, count)
        self.beta = rng.choice([0.0, 0.5, 0.9], count)
        self.rho = rng.choice([0.3, 0.9], count)
        self.eps = rng.choice([0.0, 1e-2], count)
        self.eps_root = np.where(self.eps > 0.0, 0.0, 1e-2)
        self.schedule = rng.integers(0, batches, (count, STEPS))

    def run(self, chosen: Any) -> list[Floats]:
        optimizer = sb.Adam(
            self.beta[chosen], self.rho[chosen], self.eps[chosen], self.eps_root[chosen]
        )
        arrays = (self.theta[chosen], self.h[chosen], self.schedule[chosen])
        return everything(optimizer, self.loss.select(chosen), *arrays)


def assert_rows(together: list[Floats], rows: Any, alone: list[Floats]) -> None:
    for whole, part in zip(together, alone, strict=True):
        np.testing.assert_array_equal(whole[rows], part.reshape(whole[rows].shape))


@settings(deadline=None, max_examples=12)
@given(
    st.sampled_from(sb.Loss.families()),
    st.integers(2, 40),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 2**31),
    st.sampled_from([(256, 32), (1, 1), (8, 3), (20, 7)]),
    st.sampled_from([1, 2]),
    st.data(),
)
def test_company_blocks_and_threads_leave_no_trace(
    family: str,
    count: int,
    dim: int,
    batches: int,
    seed: int,
    size: tuple[int, int],
    threads: int,
    data: st.DataObject,
) -> None:
    mixture = Mixture(family, count, dim, batches, seed)
    with machine(256, 32, 1):
        together = mixture.run(np.arange(count))
    company = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=12))
    with machine(*size, threads):
        assert_rows(together, company, mixture.run(np.array(company)))


@pytest.mark.parametrize("family", sb.Loss.families())
def test_a_problem_alone_is_itself(family: str) -> None:
    mixture = Mixture(family, 5, 3, 2, seed=1)
    together = mixture.run(np.arange(5))
    for k in range(5):
        optimizer = sb.Adam(mixture.beta[k], mixture.rho[k], mixture.eps[k], mixture.eps_root[k])
        alone = everything(
            optimizer, mixture.loss.select(k), mixture.theta[k], mixture.h[k], mixture.schedule[k]
        )
        assert alone[0].shape == (STEPS + 1, 3)  # no leading axis
        assert_rows(together, k, alone)


def test_problems_with_equal_tables_are_vectorised_together() -> None:
    # One optimizer, one schedule: blocks of 100 and more lanes, with a remainder.
    loss = sb.Loss.random("sinusoid", 2, 3, problems=203, seed=5)
    theta = np.random.default_rng(0).normal(size=(203, 2))
    optimizer, schedule = sb.Adam(0.8, 0.9, eps=0.0, eps_root=1e-2), sb.IID(3, 1)
    results = []
    for size in ((256, 32, 1), (256, 32, 2), (10**6, 1, 1), (1, 1, 2), (26, 1, 2)):
        with machine(*size):
            results.append(everything(optimizer, loss, theta, 0.05, schedule))
    for other in results[1:]:
        assert_rows(results[0], slice(None), other)


@pytest.mark.parametrize("wild", [{"h": 1e308}, {"theta": 1e308}, {"eps": 1e-300}])
@pytest.mark.parametrize("place", ["first", "last"])
def test_diverging_problem_leaves_its_neighbours_alone(wild: dict[str, float], place: str) -> None:
    loss = sb.Loss.random("perturbed-quadratic", 3, 2, problems=20, seed=5)
    theta = np.random.default_rng(0).normal(size=(20, 3))
    h, outer = np.full(20, 0.05), np.full(20, 1e-2)
    quiet = everything(sb.Adam(0.8, 0.9, outer), loss, theta, h, None)
    k = 0 if place == "first" else 19
    theta[k] = wild.get("theta", theta[k, 0])
    h[k] = wild.get("h", 0.05)
    outer[k] = wild.get("eps", 1e-2)
    noisy = everything(sb.Adam(0.8, 0.9, outer), loss, theta, h, None)
    others = np.delete(np.arange(20), k)
    assert_rows(quiet, others, [result[others] for result in noisy])
    if "eps" not in wild:
        assert not np.all(np.isfinite(noisy[1][k]))


@pytest.mark.parametrize("threads", [1, 2])
def test_runs_repeat_to_the_last_bit(threads: int) -> None:
    mixture = Mixture("tanh-network", 30, 4, 3, seed=2)
    with machine(16, 2, threads):
        first, second = (mixture.run(np.arange(30)) for _ in range(2))
    assert_rows(first, slice(None), second)
