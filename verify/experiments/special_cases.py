"""Problems of the special cases: random losses of all families in turn, and what their error lines would have caught.

Problem k has the family k mod 6, the size (k + k div 6) mod s of the s that the experiment lists, so that every family meets every size, the k-th loss of that
family and size under a key made of the seed and the experiment's name, and a normal start: a function of (seed, k) only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.verify.cells import cell_key
from stepbias.verify.fit import DELTA, MEMORY_LIMIT
from stepbias.verify.samples import Setting

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FAMILIES = Loss.families()
UNIT = 2.0**-53
_DELTAS = np.logspace(-6.0, 0.0, 121)


class Group(NamedTuple):
    """Problems that share family and size, as one ensemble."""

    rows: Integers  # positions among the numbers asked for
    family: str
    size: tuple[int, ...]
    loss: Loss
    theta0: Floats  # (len(rows), dim)


def groups(
    setting: Setting,
    name: str,
    numbers: Integers,
    sizes: Sequence[tuple[int, ...]],
    families: Sequence[str] = FAMILIES,
) -> Iterator[Group]:
    """The problems ``numbers`` of an experiment, together where family and size agree.

    Parameters
    ----------
    setting : Setting
    name : str
        Of the experiment; seeds losses and starts.
    numbers : (B,) int64
    sizes : sequence of (dim, batches, ...)
        Further entries are the experiment's own and only keep groups apart.
    families : sequence of str
    """
    period = len(families)
    keys = numbers % period + period * ((numbers + numbers // period) % len(sizes))
    for key in np.unique(keys):
        rows = np.flatnonzero(keys == key)
        family, size = families[key % period], sizes[key // period]
        chosen = numbers[rows]
        every = Loss.random(
            family, size[0], size[1], problems=int(chosen.max()) + 1, seed=cell_key(setting.seed, name, 0)
        )  # fmt: skip
        starts = [setting.rng(f"{name}/start", int(k)).normal(size=size[0]) for k in chosen]
        yield Group(rows, family, size, every.select(chosen), np.array(starts))


def smallest_caught(
    h: Floats, difference: Floats, response: Floats, expected: float, memory: Floats
) -> Floats:
    """Smallest relative error of a term that the slope of an error line would have caught.

    A relative error delta of the term adds delta times ``response`` to ``difference``. It counts as caught if for both signs the local slopes over the two
    finest factors lie 0.2 below the expected order, from the smallest delta on for which this and all larger ones hold.

    Parameters
    ----------
    h : (H,) float64
        Decreasing.
    difference, response : (B, H, p) float64
        What is measured, and how it moves when the term is switched off.
    expected : float
    memory : (B,) float64

    Returns
    -------
    (B,) float64
        inf: not even a relative error of 1; NaN: the term has no effect.
    """
    caught = np.ones((len(difference), len(_DELTAS)), dtype=np.bool_)
    for sign in (1.0, -1.0):
        moved = difference[:, -3:, None] + sign * _DELTAS[:, None] * response[:, -3:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            slopes = np.diff(np.log(np.linalg.norm(moved, axis=-1)), axis=1)
        slopes /= np.diff(np.log(h[-3:]))[:, None]
        caught &= slopes.max(axis=1) < expected - 2.0 * DELTA
    caught &= (h.min() * memory <= MEMORY_LIMIT)[:, None]
    always = np.logical_and.accumulate(caught[:, ::-1], axis=1)[:, ::-1]
    smallest = np.where(always[:, -1], _DELTAS[np.argmax(always, axis=1)], np.inf)
    return np.where(np.any(response != 0.0, axis=(1, 2)), smallest, np.nan)
