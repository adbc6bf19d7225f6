"""``measure_order``: from an optimizer and a loss to an order with an interval and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import Ensemble, prepare
from stepbias.theory.checks import choice, positive
from stepbias.theory.optimizers import AnyOptimizer, decay_of, take_optimizer
from stepbias.theory.schedules import IID, Cyclic, Reshuffled, Schedule, resolve
from stepbias.theory.variants import Variant, of_order
from stepbias.verify.fit import OrderFit, fit_orders, pool_orders
from stepbias.verify.integrity import withhold
from stepbias.verify.relabelling import sweep_copies
from stepbias.verify.sweep import Sweep, ladder, step_ladder

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEVEL = 0.99

# The ladder of the tool: a factor 64 in h, the finest with h * memory <= 1/128, within these limits of cost.
_SPAN = 64
_RESOLVED = 128.0
_FEWEST, _MOST = 2**11, 2**14
# Every step count of a second look is multiplied by this.
FINER = 4


@dataclass(frozen=True, eq=False)
class OrderMeasurement:
    """A measured order.

    Attributes
    ----------
    order : float
        Estimate at h -> 0; for B problems the median.
    interval : (float, float)
        Bound on the order at ``level``; pooled for B problems.
    verdict : "confirmed" | "refuted" | "inconclusive"
    h : (H,) float64
    error : (H,) float64, or (B, H)
        On an i.i.d. schedule root mean squares over its relabelled copies, see :func:`measure_order`.
    used : (H,) bool, or (B, H)
        The window of the fit.
    reason : str
    fits : list of OrderFit
        One per problem.
    orders : (B,) float64
    worst : int
        Index of the worst problem.
    sweep : Sweep
        Raw measurements.
    """

    order: float
    interval: tuple[float, float]
    level: float
    verdict: str
    h: Floats
    error: Floats
    used: NDArray[np.bool_]
    reason: str
    fits: list[OrderFit]
    orders: Floats
    worst: int
    sweep: Sweep

    def explain(self) -> str:
        """A paragraph on the fit; for an ensemble on the pooled verdict and the worst problem."""
        if len(self.fits) == 1:
            return self.fits[0].explain()
        return (
            f"{self.verdict}: median order {self.order:.3f} over {len(self.fits)} problems ({self.reason}). "
            f"Worst problem {self.worst}: {self.fits[self.worst].explain()}"
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw the errors and the fit of the worst problem; returns the axes."""
        axes = self.fits[self.worst].plot(ax)
        for k, row in enumerate(np.atleast_2d(self.error)):
            if k != self.worst:
                axes.loglog(self.h, np.abs(row), color="0.8", lw=0.6, zorder=0)
        return axes


def default_steps(memory: float, horizon: float) -> list[int]:
    """Step counts chosen by the tool: down to a step that resolves the memory, within limits of cost."""
    finest = 2.0 ** np.ceil(np.log2(max(_RESOLVED * memory * horizon, 1.0)))
    last = int(min(max(finest, _FEWEST), _MOST))
    return list(step_ladder(last // _SPAN, last))


def memory_length(optimizer: AnyOptimizer) -> float:
    """1 / (1 - decay) of the slowest memory, at most 2^30 where it is not damped."""
    return float(1.0 / np.maximum(1.0 - np.max(decay_of(optimizer)), 2.0**-30))


@dataclass(frozen=True)
class _Setting:
    """What every look at the problems has in common."""

    optimizer: AnyOptimizer
    loss: Any
    horizon: float
    schedule: Any
    variant: Variant
    kind: str
    device: str
    expected: float
    exact: bool

    def take(self, rows: Integers) -> _Setting:
        """That of some of B problems."""
        schedule, loss = self.schedule, self.loss
        if not isinstance(schedule, Schedule | None) and np.ndim(schedule) == 2:
            schedule = np.asarray(schedule)[rows]
        return replace(
            self,
            optimizer=take_optimizer(self.optimizer, rows),
            loss=loss if loss.problems is None else loss.select(rows),
            schedule=schedule,
        )

    def measure(self, theta0: Floats, counts: Sequence[int]) -> Sweep:
        """One row a problem; theta0 (B, p)."""
        return sweep_copies(
            self.optimizer,
            self.loss,
            theta0,
            self.horizon,
            counts,
            self.schedule,
            self.variant,
            kind=self.kind,
            device=self.device,
        )

    def judge(self, found: Sweep, level: float) -> list[OrderFit]:
        """The fits; inconclusive where the instrument fails its own checks."""
        fits = fit_orders(
            found.h,
            found.error,
            self.expected,
            exact=self.exact,
            floor=found.floor,
            level=level,
            memory=found.memory,
        )
        return withhold(fits, found.integrity)


def _smooth(schedule: Any, batches: int, steps: int) -> bool:
    """Whether the error is smooth in h: the full batch, or an order that repeats after every cycle."""
    if batches == 1 or schedule is None or isinstance(schedule, Cyclic):
        return True
    if isinstance(schedule, Reshuffled | IID):
        return False
    order = resolve(schedule, batches, steps)
    return bool(np.all(order[..., batches:] == order[..., :-batches]))


def _second_look(
    setting: _Setting, ensemble: Ensemble, counts: list[int], fits: list[OrderFit]
) -> list[OrderFit]:
    """The fits of the first look, inconclusive where they look refuted and finer steps do not bear it out.

    On a random order the coefficient of the error fluctuates from one step count to the next, and of many problems the unluckiest looks refuted. With K
    problems looked at again the level 1 - 0.01 / K holds for all of them together (Bonferroni).
    """
    rows = np.array([k for k, fit in enumerate(fits) if fit.verdict == "refuted"], dtype=np.int64)
    if not len(rows):
        return fits
    finer = [FINER * n for n in counts]
    parts, theta0 = setting.take(rows), ensemble.theta0[rows]
    words = f"at {FINER} times the steps"
    try:
        prepare(
            parts.optimizer, parts.loss, theta0, 1.0, max(finer), parts.schedule, setting.device
        )
    except ValueError as error:  # the index array ends, or the memory does
        reasons = [f"it cannot be looked at again {words}: {error}"] * len(rows)
    else:
        level = 1.0 - (1.0 - LEVEL) / len(rows)
        again = parts.judge(parts.measure(theta0, finer), level)
        reasons = [
            "" if fit.verdict == "refuted" else f"{words} it is {fit.verdict}: {fit.reason}"
            for fit in again
        ]
    settled = list(fits)
    for k, reason in zip(rows, reasons, strict=True):
        if reason:
            told = f"looks refuted, {fits[k].reason}, but {reason}"
            settled[k] = replace(fits[k], verdict="inconclusive", reason=told)
    return settled


def measure_order(
    optimizer: Any,
    loss: Any,
    theta0: Any,
    horizon: float,
    steps: Sequence[int] | None = None,
    schedule: Any = None,
    order: int = 2,
    kind: str = "global",
    *,
    device: str = "cpu",
) -> OrderMeasurement:
    """Measure the order of the distance between the iterates and the modified equation.

    Parameters
    ----------
    optimizer, loss, theta0, schedule, device
        As in :func:`stepbias.iterate`; B problems are pooled.
    horizon : float
        T; the step size is ``horizon / steps``.
    steps : sequence of int, optional
        Step counts; None: chosen by the tool from the optimizer's memory and recorded in ``h``.
    order : {2, 1}
        2: the theorem's field, the claim is error = O(h^2). 1: the leading field alone, judged two-sided at 1.
    kind : {"global", "local"}
        "local": the largest one-step defect; the claims are O(h^3) and O(h^2).

    Returns
    -------
    OrderMeasurement

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is accepted.

    Notes
    -----
    On an :class:`~stepbias.IID` schedule b(k) with m batches every problem is measured on the m schedules b(k) + s mod m, all of them i.i.d.: ``error`` and
    ``floor`` are root mean squares over these copies, and the schedule itself is one of them. The luck of a single draw, which makes its errors fluctuate like
    sqrt(h), mostly cancels; :func:`stepbias.global_error` gives the error of the single schedule.

    On a schedule that is not smooth (IID, Reshuffled, or an index array that does not repeat after m steps) problems that look refuted are measured once
    more, with 4 times the steps, and judged at the level 1 - 0.01 / K for K such problems. Only those that are refuted twice are called so; the others are
    inconclusive, with the reason. An index array needs 4 times the largest step count for this. ``h``, ``error`` and ``fits`` are always those of the first
    look.

    References
    ----------
    Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Theorems 3.1 and 4.2 (global), and the local bounds of the supplement.

    Examples
    --------
    >>> import stepbias as sb
    >>> loss = sb.Loss.random("sinusoid", dim=3, batches=2, seed=1)
    >>> fit = sb.measure_order(sb.Adam(0.5, 0.7, eps_root=1e-2), loss, [0.1, 0.2, 0.3], horizon=0.5)
    >>> fit.verdict
    'confirmed'
    """
    variant = of_order(order)
    choice("kind", kind, ("global", "local"))
    total = positive("horizon", horizon)
    ensemble = prepare(optimizer, loss, theta0, 1.0, 0, schedule, device)
    if steps is None:
        steps = default_steps(memory_length(optimizer), total)
    counts = ladder(steps)
    # checked before the copies of an i.i.d. schedule are drawn in full
    prepare(optimizer, loss, theta0, 1.0, max(counts), schedule, device)
    expected, exact = (order if kind == "global" else order + 1), order == 1
    setting = _Setting(optimizer, loss, total, schedule, variant, kind, device, expected, exact)
    found = setting.measure(ensemble.theta0, counts)
    fits = setting.judge(found, LEVEL)
    if not _smooth(schedule, int(loss.batches), max(counts)):
        fits = _second_look(setting, ensemble, counts, fits)
    single = ensemble.single
    pooled = pool_orders(fits, expected, exact=exact, level=LEVEL)
    alone = fits[0] if single else None
    return OrderMeasurement(
        order=pooled.order,
        interval=pooled.interval,
        level=LEVEL,
        verdict=pooled.verdict if alone is None else alone.verdict,
        h=found.h[0],
        error=found.error[0] if single else found.error,
        used=fits[0].used if single else np.array([f.used for f in fits]),
        reason=pooled.reason if alone is None else alone.reason,
        fits=fits,
        orders=np.array([f.order for f in fits]),
        worst=pooled.worst_index,
        sweep=found,
    )
