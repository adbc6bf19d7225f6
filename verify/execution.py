"""The units of a run in threads: the long ones first, every finished one stored at once, and its claim judged while others are measured."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

from stepbias.verify.store import Arrays, Store

Progress = Callable[[int, int, str], None]


class AnyUnit(Protocol):
    """What can be measured on its own."""

    @property
    def claim(self) -> Any:
        """The claim or the statement it belongs to."""

    @property
    def key(self) -> str:
        """Name in the store."""

    @property
    def cost(self) -> float:
        """Rough relative time."""

    @property
    def interpreted(self) -> bool:
        """Much of its time holds the interpreter's lock."""

    def run(self, device: str) -> Arrays:
        """Measure it."""


class _Queue:
    """What is still to be measured, the longest first.

    Two interpreted units side by side take turns at the interpreter's lock: while there are compiled ones, half of the workers stay with those.
    """

    def __init__(self, units: Sequence[AnyUnit], workers: int) -> None:
        ordered = sorted(units, key=lambda unit: -unit.cost)
        self.interpreted = deque(unit for unit in ordered if unit.interpreted)
        self.compiled = deque(unit for unit in ordered if not unit.interpreted)
        self.most = max(1, workers // 2)

    def __bool__(self) -> bool:
        return bool(self.interpreted or self.compiled)

    def take(self, running: int) -> AnyUnit:
        """The next unit, with ``running`` interpreted ones under way."""
        wanted = self.interpreted and (running < self.most or not self.compiled)
        return (self.interpreted if wanted else self.compiled).popleft()


def execute(
    units: Sequence[AnyUnit],
    store: Store,
    workers: int,
    device: str,
    progress: Progress | None = None,
    conclude: Callable[[Any, dict[str, Arrays]], None] | None = None,
) -> dict[str, Arrays]:
    """Arrays of every unit by its key, from the store or measured.

    Parameters
    ----------
    units : sequence of units
    store : Store
    workers : int
        Threads.
    device : str
    progress : callable, optional
        ``progress(done, total, label)``, called from this thread.
    conclude : callable, optional
        ``conclude(claim, arrays)``, called in a worker once all units of a claim are there.
    """
    results: dict[str, Arrays] = {}
    for unit in units:
        stored = store.get(unit.key)
        if stored is not None:
            results[unit.key] = stored
    todo = [unit for unit in units if unit.key not in results]
    missing = Counter(unit.claim.id for unit in todo)
    queue, total, done = _Queue(todo, workers), sum(unit.cost for unit in todo), 0.0
    measuring: dict[Future[Any], AnyUnit] = {}
    judging: set[Future[Any]] = set()

    def report(label: str) -> None:
        if progress is not None:
            progress(round(1000 * done / total) if todo else 1000, 1000, label)

    def finish(unit: AnyUnit) -> Arrays:
        # stored by the thread that measured it: units that end while an interrupted run winds down are kept
        arrays = unit.run(device)
        if "missing" not in arrays:
            store.put(unit.key, arrays)
        return arrays

    report("measuring")
    with ThreadPoolExecutor(max_workers=workers) as pool:

        def judge(claim: Any) -> None:
            if conclude is not None:
                judging.add(pool.submit(conclude, claim, results))

        def fill() -> None:
            while queue and len(measuring) + len(judging) < workers:
                unit = queue.take(sum(unit.interpreted for unit in measuring.values()))
                measuring[pool.submit(finish, unit)] = unit

        fill()
        for claim in {unit.claim.id: unit.claim for unit in units}.values():
            if not missing[claim.id]:
                judge(claim)
        import scipy.stats  # noqa: F401  (the verdicts need it, and this thread has nothing to do but wait)

        try:
            while measuring or judging or queue:
                finished, _ = wait([*measuring, *judging], return_when=FIRST_COMPLETED)
                for future in finished:
                    if future in judging:
                        judging.remove(future)
                        future.result()
                        continue
                    unit = measuring.pop(future)
                    results[unit.key] = future.result()
                    done += unit.cost
                    missing[unit.claim.id] -= 1
                    if not missing[unit.claim.id]:
                        judge(unit.claim)
                    report(unit.claim.id)
                fill()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results
