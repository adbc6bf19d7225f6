"""``measure_order``: from an optimizer and a loss to an order with an interval and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import prepare
from stepbias.theory.checks import choice, positive
from stepbias.theory.variants import of_order
from stepbias.verify.fit import OrderFit, fit_orders, pool_orders
from stepbias.verify.integrity import withhold
from stepbias.verify.sweep import Sweep, step_ladder, sweep

Floats = NDArray[np.float64]

LEVEL = 0.99

# The ladder of the tool: a factor 64 in h, the finest with h * memory <= 1/128, within these limits of cost.
_SPAN = 64
_RESOLVED = 128.0
_FEWEST, _MOST = 2**11, 2**14


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
    single = prepare(optimizer, loss, theta0, 1.0, 0, schedule, device).single
    if steps is None:
        decay = max(float(np.max(optimizer.beta)), float(np.max(optimizer.rho)))
        steps = default_steps(1.0 / (1.0 - decay), total)
    found = sweep(optimizer, loss, theta0, total, steps, schedule, variant, kind, device)
    expected, exact = (order if kind == "global" else order + 1), order == 1
    fits = fit_orders(
        found.h,
        found.error,
        expected,
        exact=exact,
        floor=found.floor,
        level=LEVEL,
        memory=found.memory,
    )
    fits = withhold(fits, found.integrity)
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
