"""One ensemble over a ladder of step sizes: errors, their floors, and how far from asymptotic each problem is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import Ensemble, prepare
from stepbias.kernels.curvature import product_mismatch
from stepbias.kernels.drift import iterate_drift
from stepbias.kernels.fault import Fault
from stepbias.kernels.measure import Measurement, Method, measure
from stepbias.theory.checks import positive, whole
from stepbias.theory.variants import STATEMENT, Variant
from stepbias.verify.integrity import collect

Floats = NDArray[np.float64]

_UNIT = 2.0**-53


@dataclass(frozen=True)
class Sweep:
    """Results of B problems at H step sizes.

    Attributes
    ----------
    h, error, floor : (B, H) float64
        Step sizes; max over n of the 2-norm of iterate - flow (or of the one-step defect); known size of solver and rounding error in it.
    difference : (B, H, p) float64
        Signed vector iterate - flow at the end.
    distance : (B,) float64
        How far the flow moved.
    memory : (B,) float64
        kappa, from the finest step: the asymptotic regime needs h kappa << 1; see :func:`memory_rate`.
    integrity : (B, 4) float64
        What the instrument found when it checked itself; see :mod:`stepbias.verify.integrity`.
    """

    h: Floats
    error: Floats
    floor: Floats
    difference: Floats
    distance: Floats
    memory: Floats
    integrity: Floats


def step_ladder(coarsest: int, finest: int, between: int = 2) -> tuple[int, ...]:
    """Step counts from ``coarsest`` to ``finest`` (powers of 2): halvings, and geometric means of the finest ``between`` pairs, where the slope is decided."""
    halvings = (2**k for k in range(coarsest.bit_length() - 1, finest.bit_length()))
    means = (round(finest / 2 ** (k + 0.5)) for k in range(between))
    return tuple(sorted((*halvings, *means)))


def ladder(steps: Any) -> list[int]:
    """Checked step counts: distinct integers >= 1."""
    if isinstance(steps, int | np.integer) or not isinstance(steps, Sequence | np.ndarray):
        raise TypeError(f"steps = {steps!r}; accepted: a sequence of step counts")
    counts = [whole("steps", n, 1) for n in steps]
    if not counts:
        raise ValueError(f"steps = {steps!r} is empty; accepted: distinct integers >= 1")
    if len(set(counts)) < len(counts):
        raise ValueError(f"steps = {steps!r} repeats a count; accepted: distinct integers >= 1")
    return counts


def rounding(size: Floats, horizon: float, root: Floats, eps: Floats) -> Floats:
    """Size of the rounding error in one entry.

    Both trajectories are accumulated in compensated form, so what remains is the rounding of every rate: about ten operations on a gradient of order
    one, relative to the denominator, over the whole horizon, plus the rounding of theta inside the gradient.
    """
    return 16.0 * _UNIT * (size + horizon * (1.0 + 1.0 / np.maximum(root + eps, _UNIT)))


def memory_rate(drift: Floats, decay: Floats, horizon: float) -> Floats:
    """kappa: the asymptotic regime needs h kappa << 1.

    Parameters
    ----------
    drift : (B,) float64
        The largest |D'/D| along the two trajectories.
    decay : (B,) float64
        Factor by which the slowest memory shrinks in a step: the larger of beta and rho.
    horizon : float

    Returns
    -------
    (B,) float64
        The larger of 1/(T (1 - decay)), the memory being short against the horizon, and drift / (1 - decay), the denominator changing little within
        the memory: where it dips and returns, error lines have any slope until then.
    """
    rest = np.maximum(1.0 - decay, 2.0**-30)  # undamped memory: longer than any run
    slow = drift / rest
    return np.maximum(
        1.0 / (horizon * rest), np.where(np.isfinite(slow), slow, np.finfo(float).max)
    )


def _measured(
    ensembles: Sequence[Ensemble],
    counts: Sequence[int],
    variant: Variant,
    method: Callable[[int], Method | None],
    local: bool,
    fault: Fault | None,
    device: str,
) -> tuple[list[Measurement], Floats]:
    """One measurement per step count, and |D'/D| along the iterates at the finest one."""
    finest = int(np.argmax(counts))
    if device == "cuda":
        from stepbias.kernels.gpu import run

        if fault is not None:
            raise ValueError(
                f"fault = {fault.name!r}: measurements are broken on device 'cpu' only"
            )
        methods = [method(n) for n in counts]
        found = run.measure_ladder(ensembles, counts, variant, methods=methods, local=local)
        return found, run.iterate_drift(ensembles[finest], counts[finest])
    found = [
        measure(ensemble, n, variant, method=method(n), local=local, fault=fault)
        for ensemble, n in zip(ensembles, counts, strict=True)
    ]
    return found, iterate_drift(ensembles[finest], counts[finest])


def sweep(
    optimizer: Any,
    loss: Any,
    theta0: Any,
    horizon: float,
    steps: Sequence[int],
    schedule: Any = None,
    variant: Variant = STATEMENT,
    kind: str = "global",
    device: str = "cpu",
    fault: Fault | None = None,
    method: Callable[[int], Method | None] = lambda steps: None,
) -> Sweep:
    """Measure every problem at every step count, h = horizon / steps.

    Parameters
    ----------
    optimizer, loss, theta0, schedule, device
        As in :func:`stepbias.iterate`.
    horizon : float
        T > 0.
    steps : sequence of int
    variant : Variant
        The field of the flow.
    kind : {"global", "local"}
        The global error, or the largest one-step defect with the gradient history taken along the flow.
    fault : Fault, optional
        Break the measurement on purpose.
    method : callable, optional
        How the flow is integrated, by the number of steps; None: :func:`stepbias.kernels.measure.resolution`.
    """
    total = positive("horizon", horizon)
    counts = ladder(steps)
    # Everything is checked, the longest schedule included, before the first run.
    ensembles = [prepare(optimizer, loss, theta0, total / n, n, schedule, device) for n in counts]
    found, iterates = _measured(ensembles, counts, variant, method, kind == "local", fault, device)
    problems = ensembles[0].problems
    eps = ensembles[0].eps
    finest = int(np.argmax(counts))
    # Both trajectories: one of them may cross a steep place that the other one misses.
    drift = np.maximum(found[finest].drift, iterates)
    h = np.broadcast_to(total / np.array(counts, dtype=np.float64), (problems, len(counts)))
    grains = [
        rounding(m.size, total if kind == "global" else total / n, m.root, eps)
        for m, n in zip(found, counts, strict=True)
    ]
    floors = [m.solver + grain for m, grain in zip(found, grains, strict=True)]
    first = ensembles[0]

    def stack_shown(values: list[Floats]) -> Floats:
        """(B, H), NaN where the error is below rounding: steps that round to few digits, or a field without curvature, are then in order."""
        shown = zip(values, found, grains, strict=True)
        return np.stack([np.where(m.error > grain, x, np.nan) for x, m, grain in shown], axis=1)

    return Sweep(
        h=np.ascontiguousarray(h),
        error=np.stack([m.error for m in found], axis=1),
        floor=np.stack(floors, axis=1),
        difference=np.stack([m.difference for m in found], axis=1),
        distance=found[finest].distance,
        memory=memory_rate(drift, ensembles[0].decay, total),
        integrity=collect(
            np.stack([m.start for m in found], axis=1),
            stack_shown([m.grain for m in found]),
            product_mismatch(first if fault is None else fault.ensemble(first)),
            stack_shown([m.solver for m in found]),
        ),
    )
