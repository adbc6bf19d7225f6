"""Units in threads: which one is next, when a claim is judged, and what an error leaves behind."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepbias.verify.execution import _Queue, execute
from stepbias.verify.store import Arrays, Store


@dataclass(frozen=True)
class Name:
    id: str


@dataclass(frozen=True)
class Fake:
    """A unit that takes no time."""

    claim: Name
    key: str
    cost: float = 1.0
    interpreted: bool = False
    fails: bool = False

    def run(self, device: str) -> Arrays:
        if self.fails:
            raise RuntimeError(f"{self.key} on {device}")
        return {"value": np.array([self.cost])}


A, B = Name("a"), Name("b")


def test_compiled_units_keep_half_of_the_workers() -> None:
    units = [Fake(A, f"i{k}", cost=k, interpreted=True) for k in range(4)]
    units += [Fake(A, f"c{k}", cost=10 + k) for k in range(2)]
    queue = _Queue(units, workers=4)
    taken = [queue.take(running).key for running in (0, 1, 2, 2)]
    assert taken == ["i3", "i2", "c1", "c0"]
    # nothing compiled is left: no worker stays idle
    assert [queue.take(3).key, queue.take(4).key] == ["i1", "i0"]
    assert not queue


def test_one_worker_takes_everything() -> None:
    queue = _Queue([Fake(A, "i", interpreted=True), Fake(A, "c")], workers=1)
    assert {queue.take(0).key, queue.take(0).key} == {"i", "c"}


@pytest.mark.parametrize("workers", [1, 3])
def test_a_claim_is_judged_once_when_all_its_units_are_there(workers: int) -> None:
    units = [Fake(claim, f"{claim.id}{k}") for k in range(5) for claim in (A, B)]
    judged: list[str] = []
    main = threading.get_ident()

    def conclude(claim: Any, found: dict[str, Arrays]) -> None:
        assert threading.get_ident() != main
        assert {f"{claim.id}{k}" for k in range(5)} <= set(found)
        judged.append(claim.id)

    found = execute(units, Store(None, ""), workers, "cpu", None, conclude)
    assert sorted(judged) == ["a", "b"]
    assert set(found) == {unit.key for unit in units}


def test_what_is_stored_is_not_measured_again_and_judged_all_the_same(tmp_path: Path) -> None:
    first = [Fake(A, f"a{k}") for k in range(3)]
    execute(first, Store(tmp_path, "run"), 2, "cpu")
    judged: list[str] = []
    again = [Fake(A, f"a{k}", fails=True) for k in range(3)]
    found = execute(
        again, Store(tmp_path, "run"), 2, "cpu", None, lambda claim, _: judged.append(claim.id)
    )
    assert judged == ["a"]
    assert set(found) == {"a0", "a1", "a2"}


def test_what_waits_starts_before_what_is_stored_is_judged(tmp_path: Path) -> None:
    """A run that goes on: its longest unit begins at once."""
    execute([Fake(A, "a")], Store(tmp_path, "run"), 1, "cpu")
    order: list[str] = []

    class Noted(Fake):
        def run(self, device: str) -> Arrays:
            order.append(self.key)
            return super().run(device)

    units = [Noted(A, "a"), Noted(B, "b")]
    execute(
        units, Store(tmp_path, "run"), 1, "cpu", None, lambda c, _: order.append(f"judge {c.id}")
    )
    assert order == ["b", "judge a", "judge b"]


@pytest.mark.parametrize("where", ["measuring", "judging"])
def test_an_error_ends_the_run_and_what_was_measured_is_kept(tmp_path: Path, where: str) -> None:
    units = [Fake(A, f"a{k}", cost=9.0) for k in range(3)]
    units.append(Fake(B, "b", fails=where == "measuring"))

    def conclude(claim: Any, _: dict[str, Arrays]) -> None:
        if claim is B:
            raise RuntimeError("b on cpu")

    store = Store(tmp_path, "run")
    with pytest.raises(RuntimeError, match="b on cpu"):
        execute(units, store, 1, "cpu", None, conclude)
    assert all(store.get(f"a{k}") is not None for k in range(3))


def test_progress_ends_at_the_whole() -> None:
    seen: list[tuple[int, int, str]] = []
    execute([Fake(A, "a0"), Fake(B, "b0", 3.0)], Store(None, ""), 1, "cpu", lambda *x: seen.append(x))  # fmt: skip
    assert [done for done, _, _ in seen] == [0, 750, 1000]
    seen.clear()
    execute([], Store(None, ""), 1, "cpu", lambda *x: seen.append(x))
    assert seen == [(1000, 1000, "measuring")]
