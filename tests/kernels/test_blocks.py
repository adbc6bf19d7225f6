"""From checked arguments to an ensemble, its blocks and threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stepbias as sb
from stepbias.kernels import blocks
from stepbias.kernels.blocks import Ensemble, prepare, require_memory, thread_count

SINGLE = sb.Loss.random("sinusoid", dim=2, batches=3, seed=1)
FIVE = sb.Loss.random("sinusoid", dim=2, batches=3, problems=5, seed=1)
ADAM = sb.Adam(0.5, 0.7)
POINT = np.array([0.1, 0.2])


def test_one_problem_stays_one_problem() -> None:
    ensemble = prepare(ADAM, SINGLE, POINT, 0.1, 4, None, "cpu")
    assert ensemble.single
    assert ensemble.problems == 1
    assert ensemble.schedule.tolist() == [0, 1, 2, 0]
    assert ensemble.squeeze(np.arange(6.0).reshape(1, 6)).shape == (6,)


ROWS: dict[str, dict[str, Any]] = {
    "theta0": {"theta0": np.arange(10.0).reshape(5, 2)},
    "h": {"h": np.linspace(0.1, 0.5, 5)},
    "schedule": {"schedule": np.arange(20).reshape(5, 4) % 3},
    "beta": {"optimizer": sb.Adam(np.linspace(0.0, 0.8, 5), 0.7)},
    "rho": {"optimizer": sb.RMSProp(np.linspace(0.0, 0.8, 5))},
    "eps_root": {"optimizer": sb.Adam(0.5, 0.7, eps_root=np.linspace(0.0, 0.8, 5))},
    "loss": {"loss": FIVE},
}


def arguments(**changes: Any) -> list[Any]:
    plain = {
        "optimizer": ADAM,
        "loss": SINGLE,
        "theta0": POINT,
        "h": 0.1,
        "steps": 4,
        "schedule": None,
        "device": "cpu",
    }
    return list((plain | changes).values())


@pytest.mark.parametrize("name", ROWS)
def test_any_argument_may_carry_the_problems(name: str) -> None:
    ensemble = prepare(*arguments(**ROWS[name]))
    assert not ensemble.single
    assert ensemble.problems == 5
    assert ensemble.theta0.shape == (5, 2)
    assert ensemble.h.shape == (5,)
    assert ensemble.parameters.shape == (5, 4)


def test_numbers_of_problems_must_agree() -> None:
    with pytest.raises(
        ValueError, match=r"leading axes disagree \(theta0: 3, loss.problems: 5\); accepted"
    ):
        prepare(*arguments(loss=FIVE, theta0=np.zeros((3, 2))))
    with pytest.raises(ValueError, match=r"leading axes disagree \(theta0: 5, h: 4, beta: 3\)"):
        prepare(
            *arguments(theta0=np.zeros((5, 2)), h=np.ones(4), optimizer=sb.Adam(np.zeros(3), 0.7))
        )
    with pytest.raises(ValueError, match="theta0 describes 0 problems; accepted: at least one"):
        prepare(*arguments(theta0=np.zeros((0, 2))))
    with pytest.raises(ValueError, match="h describes 0 problems; accepted: at least one"):
        prepare(*arguments(h=[]))


def test_a_problem_gets_its_own_tables() -> None:
    beta, rows = np.linspace(0.0, 0.8, 5), np.arange(20).reshape(5, 4) % 3
    optimizer = sb.Adam(beta, 0.7, eps=np.full(5, 1e-3))
    ensemble = prepare(*arguments(optimizer=optimizer, schedule=rows))
    rule = ensemble.rule(optimizer, 3)
    assert rule.beta == beta[3]
    assert rule.eps == 1e-3
    assert rule.batch.tolist() == rows[3].tolist()
    steps = prepare(*arguments(h=np.linspace(0.1, 0.5, 5))).step_sizes(np.array([4, 0]))
    np.testing.assert_array_equal(steps, [[0.5, 0.1], [0.5, 0.1]])


# blocks ------------------------------------------------------------------------------------------


def ensemble_of(keys: list[tuple[int, int]], dim: int) -> Ensemble:
    """Problems whose beta and schedule are given by small numbers."""
    count = len(keys)
    beta = np.array([0.1 * first for first, _ in keys])
    rows = np.array([[second] * 3 for _, second in keys])
    loss = sb.Loss.random("sinusoid", dim=dim, batches=3, seed=0)
    return prepare(sb.Adam(beta, 0.9), loss, np.zeros((count, dim)), 0.1, 3, rows, "cpu")


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=300),
    st.sampled_from([1, 2, 7, 300]),
    st.integers(1, 5),
)
def test_blocks_hold_every_problem_once_and_share_tables(
    keys: list[tuple[int, int]], dim: int, threads: int
) -> None:
    pieces = list(blocks.blocks(ensemble_of(keys, dim), threads))
    assert sorted(np.concatenate(pieces).tolist()) == list(range(len(keys)))
    for piece in pieces:
        assert len({keys[problem] for problem in piece}) == 1
        assert 1 <= len(piece) <= max(32, 256 // dim)


def test_many_alike_problems_are_shared_among_threads() -> None:
    ensemble = ensemble_of([(1, 1)] * 1000, 2)
    assert [len(piece) for piece in blocks.blocks(ensemble, 1)] == [128] * 7 + [104]
    assert len(list(blocks.blocks(ensemble_of([(1, 1)] * 200, 2), 2))) == 4


def test_failing_block_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPBIAS_THREADS", "2")

    def work(piece: Any) -> None:
        raise RuntimeError(f"block of {len(piece)}")

    with pytest.raises(RuntimeError, match="block of 128"):
        blocks.for_each_block(ensemble_of([(1, 1)] * 1000, 2), work)


# threads and memory ------------------------------------------------------------------------------


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPBIAS_THREADS", "3")
    assert thread_count() == 3
    monkeypatch.delenv("STEPBIAS_THREADS")
    assert thread_count() >= 1


@pytest.mark.parametrize("value", ["0", "-1", "two", "", "1.5", "²"])
def test_bad_thread_counts_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("STEPBIAS_THREADS", value)
    with pytest.raises(
        ValueError, match=f"STEPBIAS_THREADS = {value!r}; accepted: an integer >= 1"
    ):
        thread_count()


def test_more_than_the_memory_is_refused() -> None:
    require_memory("steps", 10, 1000, "the trajectory")
    with pytest.raises(
        ValueError, match=r"steps = 7 needs .* GiB for the trajectory; accepted: what"
    ):
        require_memory("steps", 7, 2**60, "the trajectory")


def test_the_full_batch_has_runs_of_any_length() -> None:
    loss = sb.Loss.random("sinusoid", 2)
    ensemble = prepare(sb.Adam(), loss, [0.0, 0.0], 1e-9, 10**12, None, "cpu")
    assert ensemble.schedule.shape == (10**12,)
    assert ensemble.schedule.strides == (0,)
    with pytest.raises(ValueError, match=r"steps = 1\d{30}; accepted: an integer from 0 to"):
        prepare(sb.Adam(), loss, [0.0, 0.0], 1e-9, 10**30, None, "cpu")
