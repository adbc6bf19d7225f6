"""Distance of Adam's iterates and the modified flow in the initial period and after the descent, in the three regimes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from stepbias.kernels.collocation import RidgePoints
from stepbias.kernels.loss import Loss
from stepbias.kernels.trajectories import flow, iterate
from stepbias.theory import late_phase
from stepbias.theory.optimizers import Adam
from stepbias.theory.regimes_claims import (
    INITIAL_FACTOR,
    LOSS_SHARE,
    REST_PART,
    SMALL_STEPS,
    SQUARES_TWICE,
    WITHOUT_BIAS,
    WITHOUT_MEAN,
)
from stepbias.verify.experiments.regimes import DEFAULTS, FAMILIES, minimum_near
from stepbias.verify.samples import Samples, Setting, label

Floats = NDArray[np.float64]


class Case(NamedTuple):
    """Adam's parameters and step size."""

    beta: float
    rho: float
    h: float = 1e-4
    eps: float = 0.0
    eps_root: float = 4e-12

    @property
    def memory(self) -> float:
        """Steps of the longer memory."""
        return 1.0 / (1.0 - max(self.beta, self.rho))

    @property
    def optimizer(self) -> Adam:
        """The optimizer."""
        return Adam(self.beta, self.rho, self.eps, self.eps_root)


_STABLE = (Case(0.9, 0.9), Case(0.9, 0.85), Case(0.8, 0.8))
_SPIKES = (Case(0.5, 0.99), Case(0.9, 0.99), Case(0.8, 0.99))
_LARGE = tuple(case._replace(beta=case.rho, rho=case.beta) for case in _SPIKES)
# a tenth of the step, so that 20 memories are as long in time as those of the others
_DEFAULTS = Case(*DEFAULTS, 1e-5, 1e-8, 0.0)
_DEFAULTS_WORDS = "(beta, rho, eps) = (0.9, 0.999, 1e-08), outside the root, h = 1e-05"
_MEMORIES = 20  # n rho^n is then below 1e-7 of what the field keeps
_TIME, _EVERY = 5.0, 7  # the distance is read at every seventh step
_QUARTER = 0.25
_ATTEMPTS = 8
_RESTED = 0.01  # steps per component that the flow may still move in the second half
_COARSE, _FINE = 1e-6, 1e-8
_ROUNDING = 2.0**-40  # of a loss with some dozens of terms, with a wide margin


class Run(NamedTuple):
    """One problem: distances in units of h sqrt(p), each with the difference of the two tolerances."""

    initial: float
    initial_doubt: float
    bound: (
        float  # (h / (1 - max(beta, rho)))^2 max |g'/g| over the initial period, in the same units
    )
    late: float  # root mean square over the second half
    late_doubt: float
    excess: (
        float  # mean excess loss of the iterates over the second half; NaN where no minimum is near
    )
    flow_excess: float  # of the flow at the end
    loss_doubt: float


class Outcome(NamedTuple):
    """What became of a problem."""

    run: Run | None  # None if no draw is admissible
    excluded: tuple[str, ...]  # why draws before it are not


def _field_of(case: Case, variant: str) -> Case:
    """Decays of the flow's field in a wrong variant."""
    if variant == WITHOUT_MEAN:
        return case._replace(beta=0.0)
    if variant == SQUARES_TWICE:
        # (1 + rho')/(1 - rho') is twice (1 + rho)/(1 - rho)
        return case._replace(rho=(1.0 + 3.0 * case.rho) / (3.0 + case.rho))
    return case


def _late_flow(
    points: RidgePoints, case: Case, start: Floats, times: Floats, bias: bool, tolerance: float
) -> Floats | None:
    """The flow at the given times, where its field depends on n no more, (len(times), p); None where the solver gives up."""
    h = case.h if bias else 0.0
    rest = (case.beta, case.rho, case.eps, case.eps_root)

    def rate(_: float, theta: Floats) -> Floats:
        gradient, hessian = points(theta[None, None])
        return late_phase.limit_rate(gradient[0, 0, 0], hessian[0, 0, 0], h, *rest)

    def jacobian(_: float, theta: Floats) -> Floats:
        gradient, hessian = points(theta[None, None])
        return late_phase.limit_jacobian(gradient[0, 0, 0], hessian[0, 0, 0], h, *rest)

    found = solve_ivp(
        rate,
        (times[0], times[-1]),
        start,
        method="Radau",
        jac=jacobian,
        t_eval=times,
        rtol=tolerance,
        atol=tolerance * case.h,
    )
    return np.asarray(found.y.T) if found.status == 0 else None


class _Start(NamedTuple):
    """A draw: loss, and where its iterates and the first pieces of the flow go."""

    loss: Loss
    points: RidgePoints
    path: Floats  # (N + 1, p)
    early: Floats  # (20 memories + 1, p)
    end: int  # last step of the initial period


class _Late(NamedTuple):
    steps: NDArray[np.int64]  # those that are looked at
    flow: Floats  # (len(steps), p)
    solver: Floats  # (len(steps),): difference of the two tolerances


def kind_of(k: int) -> tuple[int, str]:
    """Number of parameters and family of problem k: two of three in one parameter, the families in turn in both."""
    return (2 if k % 3 == 2 else 1), FAMILIES[(k + k // 3) % len(FAMILIES)]


@lru_cache(maxsize=4096)
def follow(seed: int, case: Case, k: int, variant: str, finer: int) -> Outcome:
    """Iterates and flow of problem k, the first of its draws that is admissible: a function of the arguments only."""
    reasons: list[str] = []
    for attempt in range(_ATTEMPTS):
        start = _start(seed, case, k, attempt, variant)
        found = start if isinstance(start, str) else _run(start, case, variant, finer)
        if isinstance(found, Run):
            return Outcome(found, tuple(reasons))
        reasons.append(found)
    return Outcome(None, tuple(reasons))


def _start(seed: int, case: Case, k: int, attempt: int, variant: str) -> _Start | str:
    """A draw, or why it is not admissible."""
    dim, family = kind_of(k)
    rng = Setting(seed=seed).rng(f"regimes/flow/{family}/{dim}/{attempt}", k)
    loss = Loss.random(family, dim, problems=1, seed=int(rng.integers(2**62)))
    theta0 = rng.normal(size=(1, dim))
    points = RidgePoints(loss)
    first = round(_MEMORIES * case.memory)
    path = iterate(case.optimizer, loss, theta0, case.h, round(_TIME / case.h))[0]
    order = 1 if variant == WITHOUT_BIAS else 2
    field = _field_of(case, variant)
    early = flow(field.optimizer, loss, theta0, case.h, first, order=order)[0]
    signs = np.sign(_gradients(points, np.concatenate([early, path[: first + 1]])))
    if not (signs == signs[0]).all():
        return "a component of the gradient changes sign within 20 memories"
    size = np.abs(_gradients(points, path[: len(path) // 2]))
    small = (size < _QUARTER * size[0]).any(axis=1)
    end = int(np.argmax(small)) if small.any() else len(size) - 1
    if end < first + 2 * _EVERY:
        return "the initial period is shorter than 20 memories"
    return _Start(loss.select(0), points, path, early, end)


def _run(start: _Start, case: Case, variant: str, finer: int) -> Run | str:
    """Integrate the rest of the flow and compare."""
    field, bias = _field_of(case, variant), variant != WITHOUT_BIAS
    steps = np.arange(len(start.early) - 1, len(start.path), _EVERY)
    times = np.multiply(steps, case.h, dtype=np.float64)
    coarse, fine = (
        _late_flow(start.points, field, start.early[-1], times, bias, tolerance / finer**2)
        for tolerance in (_COARSE, _FINE)
    )
    if coarse is None or fine is None:
        return "the solver gives up"
    late = _Late(steps, fine, np.linalg.norm(fine - coarse, axis=1))
    unit = case.h * np.sqrt(fine.shape[1])
    half = len(steps) // 2
    if np.linalg.norm(fine[half] - fine[-1]) > _RESTED * unit + late.solver[half:].max():
        return "the flow does not come to rest"
    distance = np.linalg.norm(start.path[steps] - fine, axis=1)
    return Run(
        *_initial(start, late, distance, case),
        float(np.sqrt(np.mean(distance[half:] ** 2))) / unit,
        late.solver[half:].max() / unit,
        *_excesses(start.loss, start.path[steps[half:]], fine[-1]),
    )


def _initial(
    start: _Start, late: _Late, distance: Floats, case: Case
) -> tuple[float, float, float]:
    """Largest distance in the initial period, its doubt, and (h / (1 - max(beta, rho)))^2 max |g'/g|, in units of h sqrt(p)."""
    unit = case.h * np.sqrt(start.path.shape[1])
    within = late.steps <= start.end
    looked = np.arange(0, start.end + 1, _EVERY)
    logarithm = np.log(np.abs(_gradients(start.points, start.path[looked])))
    rate = np.abs(np.diff(logarithm, axis=0)).max() / (_EVERY * case.h)
    before = np.linalg.norm(start.path[: len(start.early)] - start.early, axis=1).max()
    return (
        max(before, distance[within].max()) / unit,
        late.solver[within].max() / unit,
        (case.h * case.memory) ** 2 * rate / case.h,
    )


def _gradients(points: RidgePoints, theta: Floats) -> Floats:
    """(N, p) at theta (N, p)."""
    return points(theta[None])[0][0, :, 0]


def _excesses(loss: Loss, late: Floats, rest: Floats) -> tuple[float, float, float]:
    """Mean excess loss of the late iterates, that of the flow's rest, and the rounding of both."""
    losses = loss.value(0, late)
    lowest = minimum_near(loss, late[[int(np.argmin(losses))]])
    if not lowest.found[0]:
        return (float("nan"),) * 3
    value = float(lowest.value[0])
    return (
        float(losses.mean()) - value,
        loss.value(0, rest) - value,
        _ROUNDING * (abs(value) + abs(float(losses[0]))),
    )


class _Row(NamedTuple):
    number: int
    case: Case
    draw: int
    run: Run


Sides = tuple[float, float, float]  # left, right, uncertainty


def _judged(
    variant: str,
    setting: Setting,
    cases: tuple[Case, ...],
    draws: tuple[int, int, int],
    sides: Callable[[Case, Run], Sides],
    one_parameter: bool = False,
) -> Samples:
    """Problems of kind "inequality", case by case in turn, and draw 0 at PyTorch's defaults as a row that is not judged."""
    rows, excluded = [], Counter[str]()
    for number in setting.numbers(*(len(cases) * count for count in draws)):
        draw, which = divmod(int(number), len(cases))
        k = 3 * (draw // 2) + draw % 2 if one_parameter else draw
        found = follow(setting.seed, cases[which], k, variant, setting.finer)
        excluded.update(found.excluded)
        if found.run is not None:
            rows.append(_Row(int(number), cases[which], k, found.run))
    count = len(rows)
    known = follow(setting.seed, _DEFAULTS, 0, "", 1).run if setting.only is None else None
    if known is not None:
        rows.append(_Row(-1, _DEFAULTS, 0, known))
    found_sides = np.array([sides(row.case, row.run) for row in rows]).reshape(-1, 3)
    strata = [f"beta {row.case.beta:g}, rho {row.case.rho:g}" for row in rows[:count]]
    strata += [_DEFAULTS_WORDS] * (len(rows) - count)
    return Samples(
        numbers=np.array([row.number for row in rows], dtype=np.int64),
        labels=np.array([
            label(problem=row.draw, p=kind_of(row.draw)[0], beta=row.case.beta, rho=row.case.rho, h=row.case.h)
            for row in rows
        ]),
        pooled=np.arange(len(rows)) < count,
        stratum=np.array(strata),
        hardness=np.array([
            [row.case.beta, row.case.rho, row.case.eps + row.case.eps_root, row.case.h] for row in rows
        ]),
        excluded=dict(excluded),
        left=found_sides[:, 0],
        right=found_sides[:, 1],
        uncertainty=found_sides[:, 2],
    )  # fmt: skip


def _quick(setting: Setting, cases: tuple[Case, ...]) -> tuple[Case, ...]:
    return cases[:1] if setting.profile == "quick" else cases


def initial(variant: str, setting: Setting) -> Samples:
    """Largest distance in the initial period against a multiple of h^2, one pair of every regime."""

    def sides(_: Case, run: Run) -> Sides:
        return run.initial, INITIAL_FACTOR * run.bound, run.initial_doubt

    return _judged(variant, setting, (_STABLE[0], _SPIKES[0], _LARGE[0]), (2, 12, 48), sides)


def _late(variant: str, setting: Setting, cases: tuple[Case, ...]) -> Samples:
    def sides(_: Case, run: Run) -> Sides:
        return run.late, SMALL_STEPS, run.late_doubt

    return _judged(variant, setting, _quick(setting, cases), (2, 6, 24), sides)


def late_stable(variant: str, setting: Setting) -> Samples:
    """Distance after the descent where beta = rho, or beta is a little larger."""
    return _late(variant, setting, _STABLE)


def late_spikes(variant: str, setting: Setting) -> Samples:
    """Distance after the descent where rho is much closer to 1 than beta."""
    return _late(variant, setting, _SPIKES)


def late_large(variant: str, setting: Setting) -> Samples:
    """Distance after the descent where beta is much closer to 1 than rho."""
    return _late(variant, setting, _LARGE)


def late_loss(variant: str, setting: Setting) -> Samples:
    """Excess loss of the late iterates against one hundredth of that of the flow's rest, rho much closer to 1 than beta."""

    def sides(_: Case, run: Run) -> Sides:
        return run.excess, LOSS_SHARE * run.flow_excess, run.loss_doubt

    return _judged(variant, setting, _quick(setting, _SPIKES), (2, 6, 24), sides)


def rest(variant: str, setting: Setting) -> Samples:
    """Distance after the descent against the derived displacement of the flow's rest, rho > beta, one parameter."""

    def sides(case: Case, run: Run) -> Sides:
        law = late_phase.rest_displacement(case.h, case.beta, case.rho) / case.h
        return abs(run.late / law - 1.0), REST_PART, run.late_doubt / law

    return _judged(
        variant, setting, _quick(setting, _SPIKES), (2, 6, 24), sides, one_parameter=True
    )
