"""Times on the device: repeats chosen by time, least and median."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

_MOST = 50  # repeats


def timed(
    run: Callable[[], Any], seconds: float, least: int = 3, *, warm: bool = False
) -> dict[str, Any]:
    """Seconds of ``run``, which returns when its work is done.

    Parameters
    ----------
    run : callable
    seconds : float
        Repeats go on for about this long.
    least : int
        Repeats at least; one where a single call takes longer than ``seconds``.
    warm : bool
        Everything is compiled; otherwise the first call is not counted.
    """
    if not warm:
        run()
    times: list[float] = []
    spent = 0.0
    while len(times) < _MOST and (spent < seconds or len(times) < least):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
        spent += times[-1]
        if times[0] > seconds:
            break
    return {
        "seconds": min(times),
        "median": statistics.median(times),
        "repeats": len(times),
    }


class Clock:
    """What is left of the time that the whole program may take."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()


def said(error: BaseException) -> str:
    """An error in one line, as it is recorded."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
