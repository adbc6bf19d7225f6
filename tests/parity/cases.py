"""What the CPU and the GPU are compared on: every kind of loss, optimizer and schedule, on few problems and few steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

import stepbias as sb
from stepbias.kernels.blocks import Ensemble, prepare
from stepbias.kernels.families import KINKED_FAMILIES, RandomRidge
from stepbias.kernels.loss import Loss
from stepbias.theory.optimizers import AdamFamily

Floats = NDArray[np.float64]

BOX = 0.6  # no component of a start or of a path is larger


@dataclass(frozen=True)
class Case:
    """Arguments of a public function.

    ``sizes`` bounds the partial derivatives of order 1, 2 and 3 on the box, and with them the absolute values of the terms that a derivative is summed from.
    """

    loss: Loss
    optimizer: AdamFamily
    theta0: Floats  # (B, p)
    h: Any
    steps: int
    schedule: Any
    sizes: tuple[float, float, float]

    @property
    def problems(self) -> int:
        """B."""
        return len(self.theta0)

    @property
    def trajectory(self) -> tuple[Any, ...]:
        """Arguments of ``iterate``, ``flow`` and ``global_error``."""
        return self.optimizer, self.loss, self.theta0, self.h, self.steps, self.schedule

    def ensemble(self, steps: int, h: Any) -> Ensemble:
        """Prepared for a number of steps."""
        return prepare(self.optimizer, self.loss, self.theta0, h, steps, self.schedule, "cpu")


def repeated(case: Case, problems: int) -> Case:
    """Many problems: those of a case over and over, for lanes that fill several blocks of threads."""
    index = np.arange(problems) % case.problems
    own: dict[str, Any] = {
        name: np.asarray(value)[index]
        for name, value in vars(case.optimizer).items()
        if np.ndim(value)
    }
    explicit = isinstance(case.schedule, np.ndarray) and case.schedule.ndim == 2
    return replace(
        case,
        loss=case.loss if case.loss.problems is None else case.loss.select(index),
        optimizer=replace(case.optimizer, **own),
        theta0=case.theta0[index],
        h=np.asarray(case.h)[index] if np.ndim(case.h) else case.h,
        schedule=case.schedule[index] if explicit else case.schedule,
    )


# losses -------------------------------------------------------------------------------------------


@numba.njit
def _wave(z):  # type: ignore[no-untyped-def]
    """A helper that the user compiled: sine and cosine."""
    return math.sin(z), math.cos(z)


def data_gradient(b, theta, data, out):  # type: ignore[no-untyped-def]
    """Of sum_j a_bj k sin(theta_j + c_b) + (sum_j theta_j)^2 / 4."""
    a, c, k = data
    total = 0.0
    for j in range(theta.size):
        total += theta[j]
    for j in range(theta.size):
        out[j] += a[b, j] * k[0, 0] * _wave(theta[j] + c[b])[1] + 0.5 * total


def data_hessian(b, theta, data, out):  # type: ignore[no-untyped-def]
    """Of the same."""
    a, c, k = data
    for j in range(theta.size):
        for i in range(theta.size):
            out[j, i] += 0.5
        out[j, j] -= a[b, j] * k[0, 0] * _wave(theta[j] + c[b])[0]


def plain_gradient(b, theta, data, out):  # type: ignore[no-untyped-def]
    """Of (b + 1) sin(theta_0 + theta_1 / 2) + theta_0^2 theta_1 / 2."""
    cosine = (b + 1.0) * math.cos(theta[0] + 0.5 * theta[1])
    out[0] = cosine + theta[0] * theta[1]
    out[1] = 0.5 * cosine + 0.5 * theta[0] * theta[0]


def plain_hvp(b, theta, v, data, out):  # type: ignore[no-untyped-def]
    """Of the same."""
    along = -(b + 1.0) * math.sin(theta[0] + 0.5 * theta[1]) * (v[0] + 0.5 * v[1])
    out[0] = along + theta[1] * v[0] + theta[0] * v[1]
    out[1] = 0.5 * along + theta[0] * v[0]


SYMBOLIC = ["sin(x)*y + y**2/2 + exp(-x*y)/3", "log(1 + exp(x - y)) + x**2/4 + tanh(y)"]
_DATA = (
    np.array([[1.0, -0.5, 0.75], [0.5, 1.0, -1.0]]),
    np.array([0.25, -0.5], dtype=np.float32),
    np.array([[2]]),
)


def _rows(model: str) -> Loss:
    draw = np.random.default_rng(7)
    labels = draw.integers(0, 2, 10).astype(np.float64)
    batches = [np.array([0, 3, 4, 9]), np.array([1, 2]), np.array([5, 6, 7, 8, 0])]
    return Loss.from_data(model, draw.uniform(-1.0, 1.0, (10, 3)), labels, batches, l2=0.1)


def _waves(problems: int) -> Loss:
    """Given sinusoids whose frequencies all problems share."""
    draw = np.random.default_rng(8)
    amplitude, phase = draw.uniform(-1.0, 1.0, (2, problems, 2, 3))
    return Loss.sinusoids(amplitude, draw.uniform(-1.5, 1.5, (3, 2)), phase)


def _selected(problems: int) -> Loss:
    """Some problems of a larger ensemble, backwards."""
    chosen = np.arange(2 * problems, 0, -2)
    return Loss.random("sinusoid", 2, 2, problems=2 * problems + 1, seed=4).select(chosen)


LOSSES: dict[str, Callable[[int], Loss]] = {
    f"{family} {dim}": lambda problems, family=family, dim=dim: Loss.random(  # type: ignore[misc]
        family, dim, 1 + dim % 3, problems, seed=5
    )
    for family in Loss.families()
    for dim in ((1, 2, 3, 4, 5) if family == "tanh-network" else (1, 3))
}
LOSSES |= {
    family: lambda problems, family=family: Loss(RandomRidge(family, 2, 2, problems, 3))  # type: ignore[misc]
    for family in KINKED_FAMILIES
}
LOSSES |= {
    f"data {model}": lambda problems, model=model: _rows(model)  # type: ignore[misc]
    for model in ("logistic", "least-squares", "log-cosh")
}
LOSSES |= {
    "bilinear": lambda problems: Loss.bilinear(),
    "symbolic": lambda problems: Loss.from_sympy(SYMBOLIC, "x y"),
    "functions with a Hessian and data": lambda problems: Loss.from_functions(
        data_gradient, data_hessian, dim=3, batches=2, data=_DATA
    ),
    "functions with products": lambda problems: Loss.from_functions(
        plain_gradient, hvp=plain_hvp, dim=2, batches=2
    ),
    "given sinusoids": _waves,
    "selected": _selected,
    "one selected": lambda problems: Loss.random("sinusoid", 3, 2, 4, seed=4).select(2),
}

# Where the package has no bounds, or infinite ones (a kink: of the smooth rows): by hand, |theta_j| <= 0.6.
_BY_HAND = {
    "sinusoid + abs": (6.0, 8.0, 12.0),
    "sinusoid + relu": (6.0, 8.0, 12.0),
    "bilinear": (4.0, 8.0, 8.0),
    "symbolic": (4.0, 4.0, 6.0),
    "functions with a Hessian and data": (4.0, 4.0, 4.0),
    "functions with products": (4.0, 4.0, 4.0),
}


@cache
def loss_and_sizes(name: str, problems: int) -> tuple[Loss, tuple[float, float, float]]:
    """A loss by its name, and bounds on its derivatives on the box."""
    loss = LOSSES[name](problems)
    if name in _BY_HAND:
        return loss, _BY_HAND[name]
    bounds = loss.bounds(-BOX, BOX)
    assert bounds is not None
    first, second, third = (float(np.max(bound)) for bound in bounds[:3])
    return loss, (first, second, third)


# optimizers and schedules -------------------------------------------------------------------------


def per_problem(problems: int) -> sb.Adam:
    """Three settings in turn, so that neighbouring lanes follow different tables; epsilon inside, outside, both."""
    turn = np.arange(problems) % 3
    return sb.Adam(
        np.array([0.7, 0.0, 0.8])[turn],
        np.array([0.8, 0.6, 0.9])[turn],
        np.array([0.0, 0.2, 0.1])[turn],
        np.array([0.1, 0.0, 0.05])[turn],
    )


OPTIMIZERS: dict[str, Callable[[int], AdamFamily]] = {
    "adam inside": lambda problems: sb.Adam(0.7, 0.8, 0.0, 0.1),
    "adam outside": lambda problems: sb.Adam(0.7, 0.8, 0.2),
    "adam, both, uncorrected": lambda problems: sb.Adam(0.6, 0.8, 0.1, 0.05, bias_correction=False),
    "rmsprop inside": lambda problems: sb.RMSProp(0.8, 0.0, 0.1),
    "rmsprop outside": lambda problems: sb.RMSProp(0.8, 0.2),
    "per problem": per_problem,
}

STEPS = 4
_LONGEST = 20  # entries of explicit schedules


def _explicit(shape: tuple[int, ...]) -> NDArray[np.int64]:
    return np.random.default_rng(9).integers(0, 3, shape)


SCHEDULES: dict[str, Callable[[int], Any]] = {
    "cyclic": lambda problems: None,
    "reshuffled": lambda problems: sb.Reshuffled(3, seed=1),
    "iid": lambda problems: sb.IID(3, seed=2),
    "explicit": lambda problems: _explicit((_LONGEST,)),
    "explicit per problem": lambda problems: _explicit((problems, _LONGEST)),
}


def starts(problems: int, dim: int) -> Floats:
    """Starts of all problems, (B, p), no component near 0.

    With this seed no component's gradients are all small where epsilon is outside the root, and none passes 0: R, or the size of a float32, would be
    small there, and bounds, which divide by it, would say little.
    """
    draw = np.random.default_rng(45)
    return draw.uniform(0.15, 0.45, (problems, dim)) * draw.choice([-1.0, 1.0], (problems, dim))


def loss_case(name: str, problems: int = 3) -> Case:
    """One loss; the optimizer and a random schedule that all share; a step size for each problem."""
    loss, sizes = loss_and_sizes(name, problems)
    count = 1 if name == "one selected" else problems
    h = 0.02 * (1.0 + 0.25 * (np.arange(count) % 5))
    schedule = sb.IID(loss.batches, seed=3)
    optimizer = sb.Adam(0.7, 0.8, 0.0, 0.1)
    return Case(loss, optimizer, starts(count, loss.dim), h, STEPS, schedule, sizes)


def rule_case(optimizer: str, schedule: str, problems: int = 5) -> Case:
    """One optimizer and one schedule on three batches of sinusoids."""
    loss, sizes = _three_batches(problems)
    chosen = OPTIMIZERS[optimizer](problems)
    order = SCHEDULES[schedule](problems)
    return Case(loss, chosen, starts(problems, loss.dim), 0.02, STEPS, order, sizes)


@cache
def _three_batches(problems: int) -> tuple[Loss, tuple[float, float, float]]:
    loss = Loss.random("sinusoid", 2, 3, problems, seed=6)
    bounds = loss.bounds(-BOX, BOX)
    assert bounds is not None
    return loss, (float(bounds[0].max()), float(bounds[1].max()), float(bounds[2].max()))


def full_batch_case(optimizer: str, problems: int = 5) -> Case:
    """One batch: sums that collapse."""
    loss, sizes = loss_and_sizes("sinusoid 3", problems)
    assert loss.batches == 1
    theta0 = starts(problems, loss.dim)
    return Case(loss, OPTIMIZERS[optimizer](problems), theta0, 0.02, STEPS, None, sizes)


def short_window_case(problems: int = 5) -> Case:
    """Decays so small that step 14 has forgotten the first steps."""
    case = rule_case("adam inside", "explicit", problems)
    return replace(case, optimizer=sb.Adam(0.01, 0.02, 0.0, 0.1))


def settled_case(problems: int = 3) -> Case:
    """One batch, no bias correction, decays so small that U no longer depends on the step from step 24 on."""
    case = full_batch_case("adam inside", problems)
    return replace(case, optimizer=sb.Adam(0.02, 0.03, 0.0, 0.1, bias_correction=False))
