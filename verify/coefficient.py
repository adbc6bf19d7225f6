"""``leading_coefficient``: whether the coefficient of a power of h in iterate(T) - flow(T) is zero.

With the full batch, or a cyclic schedule whose period divides the number of steps, the signed difference at a fixed horizon T has an expansion in powers of
h. Its coefficients are extrapolated to h -> 0 with a bound (`stepbias.verify.extrapolation`): a second verdict beside the slope, far sharper, because the sign
and the direction of the vector are used and the next terms of the expansion are removed instead of waited for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import prepare
from stepbias.theory.checks import positive, whole
from stepbias.theory.schedules import IID, Reshuffled, resolve
from stepbias.theory.variants import LEADING, of_order
from stepbias.verify.extrapolation import FEWEST, RATIO, Limit, limit
from stepbias.verify.fit import MEMORY_LIMIT
from stepbias.verify.integrity import failures
from stepbias.verify.orders import default_steps, memory_length
from stepbias.verify.sweep import ladder, sweep

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# A coefficient is not zero if some component exceeds its bound by this factor; up to the bound itself it may be zero, between the two nothing is said.
CLEAR = 3.0
# The bound is small if its norm is at most this share of the coefficient that the leading field alone has (1 % of the whole O(h) term would show).
SMALL = 0.01
# Without such a scale: what a coefficient within the bound could contribute to the difference at the finest step.
SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Coefficient:
    """The coefficient of h^power in iterate(T) - flow(T), with a bound, and whether it is zero.

    With B problems every array has a leading B, and `verdict` and `reason` are tuples of B strings.

    Attributes
    ----------
    value : (p,) float64
        The coefficient, in units of theta / h^power, extrapolated to h -> 0 under the assumption that the lower ones are zero; NaN without enough data.
    bound : (p,) float64
        Bound on the error of each component: of the extrapolation, the solver and rounding.
    power : int
    verdict : "confirmed" | "refuted" | "inconclusive"
        Of the statement that this coefficient and the lower ones are zero. Above the first power a lower coefficient that is not zero makes it
        inconclusive: the value then means nothing.
    h, floor : (H,) float64
        Step sizes; known solver and rounding error in the 2-norm of each difference.
    difference : (H, p) float64
        Signed iterate(T) - flow(T).
    scale : float
        Norm of the coefficient of h of the leading field alone, in the same units; NaN where it is not known.
    reason : str
        Why the verdict is what it is, one line.
    used : (H,) bool
        The steps of the window that gave `value`.
    lower : tuple of Limit
        The coefficients of h^0 .. h^(power - 1), found in the same way.
    """

    value: Floats
    bound: Floats
    power: int
    verdict: Any
    h: Floats
    difference: Floats
    floor: Floats
    scale: Any
    reason: Any
    used: Bools
    lower: tuple[Limit, ...]

    def explain(self) -> str:
        """A paragraph on the coefficient; for an ensemble on the counts and the worst problem."""
        if self.value.ndim == 1:
            return _paragraph(self)
        tally = Counter(self.verdict)
        counts = ", ".join(f"{tally[v]} {v}" for v in sorted(tally))
        with np.errstate(invalid="ignore", divide="ignore"):
            excess = np.max(np.abs(self.value) / self.bound, axis=1)
        worst = int(np.argmax(np.where(np.isnan(excess), -np.inf, excess)))
        return f"{len(self.verdict)} problems: {counts}. Problem {worst}, the largest against its bound: {_paragraph(self.problem(worst))}"

    def problem(self, index: int) -> Coefficient:
        """One problem of an ensemble."""
        parts = {
            name: getattr(self, name)[index]
            for name in (
                "value", "bound", "verdict", "h", "difference", "floor", "scale", "reason", "used",
            )
        }  # fmt: skip
        lower = tuple(one.rows(slice(index, index + 1)) for one in self.lower)
        return replace(self, **parts, lower=lower)


def _paragraph(found: Coefficient) -> str:
    claim = f"Statement: the coefficient of h^{found.power} in iterate(T) - flow(T) is zero."
    if not found.used.any():
        return f"{claim} Verdict: {found.verdict}: {found.reason}."
    i = int(np.argmax(np.abs(found.value) / np.maximum(found.bound, np.finfo(float).tiny)))
    used = found.h[found.used]
    text = (
        f"{claim} Extrapolated to h -> 0 from {len(used)} of {len(found.h)} steps (h from {used.max():.4g} down to {used.min():.4g}): norm of the value "
        f"{np.linalg.norm(found.value):.3g}, norm of the bound {np.linalg.norm(found.bound):.3g}; largest against its bound: component {i}, "
        f"{found.value[i]:.3g} with bound {found.bound[i]:.3g}."
    )
    if np.isfinite(found.scale):
        text += (
            f" The leading field's own coefficient has norm {found.scale:.3g}: the bound is "
            f"{np.linalg.norm(found.bound) / found.scale:.2g} of it."
        )
    return (
        f"{text} Zero is refuted by a component beyond {CLEAR:g} bounds; it is confirmed if every component is within its bound and the bound is at most "
        f"{SMALL:g} of that scale (without a scale: at most {SHARE:g} of the difference at the finest step). "
        f"Verdict: {found.verdict}: {found.reason}."
    )


def judge_coefficient(
    h: Floats,
    difference: Floats,
    floor: Floats,
    scale: Floats | None = None,
    power: int = 1,
    memory: Floats | None = None,
) -> Coefficient:
    """Judge from stored differences whether the coefficient of h^power is zero.

    Parameters
    ----------
    h : (B, H) float64
    difference : (B, H, p) float64
        Signed iterate(T) - flow(T); the schedule has to be smooth, see :func:`leading_coefficient`. Points that are not finite are left out.
    floor : (B, H) float64
        Known solver and rounding error in the 2-norm of each difference.
    scale : (B,) float64, optional
        Size against which the bound must be small: norm of the leading field's coefficient. None, or an entry that is not positive: not known.
    power : int
    memory : (B,) float64, optional
        kappa of :class:`stepbias.verify.sweep.Sweep`: a window begins at h kappa <= 0.1, else there is no verdict. None: not known.

    Returns
    -------
    Coefficient
        Every array with a leading B.
    """
    problems = len(h)
    known = np.full(problems, np.nan) if scale is None else np.asarray(scale, dtype=np.float64)
    known = np.where(np.isfinite(known) & (known > 0.0), known, np.nan)
    coarsest = None if memory is None else MEMORY_LIMIT / np.maximum(memory, np.finfo(float).tiny)
    with np.errstate(over="ignore", invalid="ignore"):  # problems that overflowed
        divided = [(difference / (h**q)[:, :, None], floor / h**q) for q in range(power + 1)]
    found = [limit(h, values, floors, coarsest) for values, floors in divided]
    finest = np.argmin(np.where(np.all(np.isfinite(difference), axis=2), h, np.inf), axis=1)
    row = np.arange(problems)
    with np.errstate(over="ignore"):
        size = np.linalg.norm(divided[-1][0][row, finest], axis=1)
    allowed = np.where(np.isnan(known), SHARE * size, SMALL * known)
    judged = [
        _judge([one.rows(slice(b, b + 1)) for one in found], float(allowed[b]), power)
        for b in range(problems)
    ]
    if memory is not None:
        needed = MEMORY_LIMIT / np.maximum(memory, np.finfo(float).tiny)
        late = h[row, finest] > needed * (1.0 + 1e-9)
        judged = [
            ("inconclusive", f"not yet asymptotic: needs h <= {needed[b]:.3g}") if late[b] else one
            for b, one in enumerate(judged)
        ]
    return Coefficient(
        value=found[-1].value,
        bound=found[-1].bound,
        power=power,
        verdict=tuple(verdict for verdict, _ in judged),
        h=h,
        difference=difference,
        floor=floor,
        scale=known,
        reason=tuple(reason for _, reason in judged),
        used=found[-1].used,
        lower=tuple(found[:-1]),
    )


def _judge(found: list[Limit], allowed: float, power: int) -> tuple[str, str]:
    """Verdict and reason of one problem from its coefficients of h^0 .. h^power."""
    if any(not np.all(np.isfinite(one.bound)) for one in found):
        return (
            "inconclusive",
            f"{int(found[-1].points[0])} usable steps at least a factor {RATIO:g} apart, needs {FEWEST}",
        )
    for q, one in enumerate(found[:-1]):
        excess = _excess(one)
        if excess > CLEAR:
            refuted = power == 1
            return (
                "refuted" if refuted else "inconclusive",
                f"already the coefficient of h^{q} is not zero: {excess:.3g} times its bound",
            )
        if excess > 1.0:
            return "inconclusive", f"the coefficient of h^{q} may not be zero"
    last = found[-1]
    excess, bound = _excess(last), float(np.linalg.norm(last.bound))
    if excess > CLEAR:
        return "refuted", f"a component is {excess:.3g} times its bound"
    if bound > allowed:
        return "inconclusive", f"the bound {bound:.2g} is not small against {allowed:.2g}"
    if excess > 1.0:
        return "inconclusive", f"a component is {excess:.3g} times its bound: neither zero nor not"
    return "confirmed", f"zero within a bound of {bound:.2g}, allowed {allowed:.2g}"


def _excess(found: Limit) -> float:
    """Largest component against its bound."""
    tiny = np.finfo(np.float64).tiny
    return float(np.max(np.abs(found.value) / np.maximum(found.bound, tiny), initial=0.0))


def _withhold(judged: Coefficient, broken: Sequence[str]) -> Coefficient:
    """No verdict from a measurement that fails the instrument's own checks, whose failures are told here (B strings, empty where there are none)."""
    reasons = [f"the instrument fails its own check: {one}" if one else "" for one in broken]
    return replace(
        judged,
        verdict=tuple(
            "inconclusive" if told else verdict
            for told, verdict in zip(reasons, judged.verdict, strict=True)
        ),
        reason=tuple(told or reason for told, reason in zip(reasons, judged.reason, strict=True)),
    )


def leading_coefficient(
    optimizer: Any,
    loss: Any,
    theta0: Any,
    horizon: float,
    steps: Sequence[int] | None = None,
    schedule: Any = None,
    power: int = 1,
    *,
    order: int = 2,
    device: str = "cpu",
) -> Coefficient:
    """The signed vector coefficient of h^power in iterate(T) - flow(T), extrapolated to h -> 0.

    Parameters
    ----------
    optimizer, loss, theta0, device
        As in :func:`stepbias.iterate`; B problems are judged one by one.
    horizon : float
        T; the step size is ``horizon / steps``.
    steps : sequence of int, optional
        Step counts, multiples of the number m of mini-batches, at least four a factor 1.9 apart; None: chosen by the tool from the optimizer's memory.
    schedule : Cyclic, integer array of period m, or None
        Other schedules make the difference jump from one step count to the next: it has no expansion in h.
    power : {1, 2}
        1: the theorem says that this coefficient is zero. 2: the constant in front of h^2, under the assumption that the coefficient of h is zero,
        which is tested first.
    order : {2, 1}
        2: the theorem's field; 1: the leading field alone, whose coefficient of h is that of the O(h) term of the theorem.

    Returns
    -------
    Coefficient
        Inconclusive, whatever the value, where the measurement fails one of the instrument's own checks.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is accepted.

    References
    ----------
    Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Theorems 3.1 and 4.2. The expansion in h: Hairer, Norsett, Wanner, "Solving Ordinary
    Differential Equations I", Section II.8.

    Examples
    --------
    >>> import stepbias as sb
    >>> loss = sb.Loss.random("sinusoid", dim=3, seed=1)
    >>> found = sb.leading_coefficient(sb.Adam(0.5, 0.7, eps_root=1e-2), loss, [0.1, 0.2, 0.3], horizon=0.5)
    >>> found.verdict
    'confirmed'
    """
    variant = of_order(order)
    power = whole("power", power, 1, 2)
    total = positive("horizon", horizon)
    ensemble = prepare(optimizer, loss, theta0, 1.0, 0, schedule, device)
    batches = int(loss.batches)
    if steps is None:
        chosen = default_steps(memory_length(optimizer), total)
        counts = sorted({batches * -(-n // batches) for n in chosen})
    else:
        counts = ladder(steps)
    require_smooth(schedule, batches, counts)
    found = sweep(optimizer, loss, theta0, total, counts, schedule, variant, device=device)
    scale = None
    if power == 1:
        # At the finest step the difference of the leading field alone is its coefficient times h, but for O(h).
        last = int(np.argmin(found.h[0]))
        leading = found.difference[:, last]
        if order == 2:
            alone = sweep(
                optimizer, loss, theta0, total, [max(counts)], schedule, LEADING, device=device
            )
            leading = alone.difference[:, 0]
        scale = np.linalg.norm(leading, axis=1) / found.h[:, last]
    judged = judge_coefficient(
        found.h, found.difference, found.floor, scale, power, memory=found.memory
    )
    broken = failures(found.integrity)
    if any(broken):
        judged = _withhold(judged, broken)
    return judged.problem(0) if ensemble.single else judged


def require_smooth(schedule: Any, batches: int, counts: Sequence[int]) -> None:
    """``ValueError`` if the difference has no expansion in h: a random order, or a period that does not divide a step count."""
    accepted = f"the full batch, or a cyclic schedule with {batches} batches"
    if batches > 1 and isinstance(schedule, Reshuffled | IID):
        raise ValueError(
            f"schedule = {schedule}; accepted: {accepted} (a random order has no expansion in h)"
        )
    for n in counts:
        if n % batches:
            raise ValueError(f"steps = {n}; accepted: multiples of the {batches} batches")
    order = resolve(schedule, batches, max(counts))
    if np.any(order[..., batches:] != order[..., :-batches]):
        raise ValueError(
            f"schedule does not repeat after {batches} steps; accepted: {accepted}, or an integer array that repeats"
        )
