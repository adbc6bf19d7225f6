"""Which mini-batch a step uses: infinite sequences, of which every run takes a prefix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.checks import rectangular, whole

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Cyclic:
    """Step k uses batch k mod m.

    Parameters
    ----------
    m : int
        Number of mini-batches, >= 1.
    """

    m: int

    def __post_init__(self) -> None:
        whole("m", self.m, 1)

    def indices(self, steps: int) -> Indices:
        """The first ``steps`` batch indices, int64 ``(steps,)``."""
        return np.arange(whole("steps", steps, 0), dtype=np.int64) % self.m


@dataclass(frozen=True)
class Reshuffled:
    """A fresh random permutation of the m batches every epoch.

    Parameters
    ----------
    m : int
        Number of mini-batches, >= 1.
    seed : int
        Key of the counter-based generator (Philox), >= 0.
    """

    m: int
    seed: int

    def __post_init__(self) -> None:
        whole("m", self.m, 1)
        whole("seed", self.seed, 0, 2**64 - 1)

    def indices(self, steps: int) -> Indices:
        """The first ``steps`` batch indices, int64 ``(steps,)``; a longer run starts with the same ones."""
        epochs = -(-whole("steps", steps, 0) // self.m)
        keys = np.random.Generator(np.random.Philox(key=self.seed)).random((epochs, self.m))
        return np.argsort(keys, axis=1, kind="stable").reshape(-1)[:steps].astype(np.int64)


@dataclass(frozen=True)
class IID:
    """Every step draws its batch independently and uniformly.

    Parameters
    ----------
    m : int
        Number of mini-batches, >= 1.
    seed : int
        Key of the counter-based generator (Philox), >= 0.
    """

    m: int
    seed: int

    def __post_init__(self) -> None:
        whole("m", self.m, 1)
        whole("seed", self.seed, 0, 2**64 - 1)

    def indices(self, steps: int) -> Indices:
        """The first ``steps`` batch indices, int64 ``(steps,)``; a longer run starts with the same ones."""
        count = whole("steps", steps, 0)
        draws = np.random.Generator(np.random.Philox(key=self.seed)).random(count)
        return np.minimum((draws * self.m).astype(np.int64), self.m - 1)


Schedule = Cyclic | Reshuffled | IID


def resolve(schedule: Any, batches: int, steps: int) -> Indices:
    """Batch indices of the first ``steps`` steps.

    Parameters
    ----------
    schedule : Cyclic, Reshuffled, IID, integer array ``(>= steps,)`` or ``(B, >= steps)``, or None
        None: full batch for one batch, cyclic otherwise.
    batches : int
        Number of mini-batches of the loss.
    steps : int
        How many indices are needed.

    Returns
    -------
    int64 array ``(steps,)``, or ``(B, steps)`` for one schedule per problem.

    Raises
    ------
    ValueError, TypeError
        An index outside 0 .. batches - 1, a schedule that is too short, not integer, or made for another number of batches.
    """
    if schedule is None:
        schedule = Cyclic(batches)
    if isinstance(schedule, Cyclic | Reshuffled | IID):
        if schedule.m != batches:
            raise ValueError(
                f"schedule = {schedule} has m = {schedule.m}; the loss has {batches} batches"
            )
        return schedule.indices(steps)
    accepted = f"Cyclic, Reshuffled, IID, or an integer array with at least {steps} entries"
    array = rectangular("schedule", schedule, accepted)
    if array.dtype.kind not in "iu":
        raise TypeError(f"schedule = {schedule!r}; accepted: {accepted}")
    if array.ndim not in (1, 2) or array.shape[-1] < steps:
        raise ValueError(
            f"schedule has shape {array.shape}; accepted: ({steps},) or longer, with an optional leading B"
        )
    if array.size and (array.min() < 0 or array.max() >= batches):
        bad = int(array.min()) if array.min() < 0 else int(array.max())
        raise ValueError(f"schedule contains {bad}; accepted: indices 0 .. {batches - 1}")
    return np.ascontiguousarray(array[..., :steps].astype(np.int64))
