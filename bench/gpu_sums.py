"""The memory sums on the device: 512 steps for each of up to four million entries, and their share of what the device can do."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.cases import BETA, EPS_ROOT, RHO
from bench.gpu_clock import Clock, said, timed
from stepbias.kernels.gpu import device
from stepbias.kernels.gpu.point import sums_kernel
from stepbias.kernels.gpu.state import PER_BATCH, Groups, Lanes, State
from stepbias.kernels.gpu.sums import tables
from stepbias.kernels.rule import make_rule

_BATCHES, _STEP = 4, 512
# Multiply-adds (or products, or sums that nothing can be fused with) of one entry and step beside the reciprocal root: the two moving averages, the two
# accumulators, the product of mean and root, the prefix sum. Correction of the square and eps_root make one multiply-add, which stands for the addition that
# the measured reciprocal root has.
_MULTIPLY_ADDS = 6
_FIELDS = ("gradients", "mean", "square", "mean_lag", "square_lag")  # of State, what sums use


def _uploaded(parts: Any) -> Any:
    return type(parts)(*(device.upload(part) for part in parts))


def _arguments(size: int, step: int) -> tuple[Any, ...]:
    """What :func:`sums_kernel` takes for one component and ``size`` lanes; the lanes share one rule."""
    batch = np.arange(step + 1) % _BATCHES
    rule = make_rule(BETA, RHO, 0.0, EPS_ROOT, True, batch, _BATCHES)
    nothing = np.zeros(1, dtype=np.int64)
    groups = Groups(
        **dict.fromkeys(("steps", "rule", "flow_rule", "substeps", "stages"), nothing),
        scale=np.zeros(1),
        weight=np.zeros(1),
    )
    sizes = {
        name: (_BATCHES if name in PER_BATCH else 1) * size if name in _FIELDS else 1
        for name in State._fields
    }
    arrays = {name: device.zeros((count,)) for name, count in sizes.items()}
    arrays["gradients"] = device.upload(np.random.default_rng(1).normal(size=_BATCHES * size))
    lanes = Lanes(h=np.zeros(size), group=np.zeros(size, dtype=np.int64))
    return (
        _uploaded(tables([rule])),
        _uploaded(groups),
        _uploaded(lanes),
        1,
        step,
        device.upload(np.ones(7)),
        State(**arrays),
    )


def _least_seconds(pairs: float, rates: dict[str, Any]) -> float:
    """Time that the operations of ``pairs`` entries and steps take at the measured rates."""
    return pairs * (
        _MULTIPLY_ADDS / rates["multiply_add_fp64"]["per_second"]
        + 1.0 / rates["reciprocal_root_fp64"]["per_second"]
    )


def _one(size: int, step: int, rates: dict[str, Any] | None) -> dict[str, Any]:
    given = _arguments(size, step)
    kernel = sums_kernel(_BATCHES)
    threads = device.threads_per_block()

    def run() -> None:
        kernel[-(-size // threads), threads](*given)
        device.synchronize()

    found = timed(run, 0.5)
    if not np.isfinite(device.download(given[-1].mean_lag)).all():
        raise FloatingPointError("sums that are not finite")
    pairs = size * step
    row = {"entries": size, **found, "pairs_per_second": pairs / found["seconds"]}
    if rates is not None:
        row["share_of_ceiling"] = _least_seconds(pairs, rates) / found["seconds"]
    return row


def memory_sums(toy: bool, clock: Clock, rates: dict[str, Any] | None) -> dict[str, Any]:
    """Section (b).

    Per entry and step the recursion needs six multiply-adds and one reciprocal root. ``share_of_ceiling`` is the time that these take at the rates of
    section (a), over the time measured; loads of the tables and of the accumulators come on top.

    Parameters
    ----------
    toy : bool
    clock : Clock
    rates : dict or None
        What section (a) found; None if it failed.
    """
    step = 8 if toy else _STEP
    rows: list[dict[str, Any]] = []
    for power in (3, 4) if toy else range(12, 23):
        if clock.left() < 10.0:
            rows.append({"entries": 2**power, "absent": "no time left"})
            continue
        try:
            rows.append(_one(2**power, step, rates))
        except Exception as error:  # one size must not lose the others
            rows.append({"entries": 2**power, "error": said(error)})
        device.release()
    return {
        "batches": _BATCHES,
        "step": step,
        "multiply_adds_per_pair": _MULTIPLY_ADDS,
        "reciprocal_roots_per_pair": 1,
        "sizes": rows,
    }
