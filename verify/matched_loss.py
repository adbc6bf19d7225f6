"""Trajectories on the bilinear loss compared where their loss is the same: the first passage through a level, and the one-norm of the gradient there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from stepbias.kernels.loss import Loss
from stepbias.kernels.trajectories import iterate
from stepbias.theory import bilinear, bilinear_path
from stepbias.theory.optimizers import Adam

Floats = NDArray[np.float64]

LEVEL = 0.01
"""Share of the starting loss at which trajectories are compared: the residual y - theta_1 theta_2 x is down to a tenth, before any of them oscillates."""

_ROUNDING = 2.0**-53
_LONGEST = (
    64  # times the time of the sign flow: a trajectory that has not passed by then is left out
)


class Model(NamedTuple):
    """A bilinear loss (y - theta_1 theta_2 x)^2 / 2 and a start."""

    x: float
    y: float
    theta: tuple[float, float]

    @property
    def loss(self) -> Loss:
        """The compiled loss."""
        return Loss.bilinear(self.x, self.y)

    def level(self, share: float) -> float:
        """The loss at ``share`` of that at the start."""
        return share * bilinear.value(self.x, self.y, *self.theta)

    @property
    def one_sided(self) -> bool:
        """Whether theta_1 theta_2 has the sign of y / x, so that the way to the minima need not cross an axis."""
        return self.x * self.y * self.theta[0] * self.theta[1] > 0.0

    def time(self, share: float = LEVEL) -> float:
        """Time of the sign flow to the level; from another quadrant, the time to the axes and back out to the minima."""
        s, t = self.theta
        if self.one_sided:
            return bilinear_path.sign_flow_time(
                s, t, bilinear_path.product_at(self.x, self.y, s, t, share)
            )
        return max(abs(s), abs(t)) + math.sqrt(abs(self.y / self.x))


PAPER = Model(2.0, 1.5, (2.8, 3.5))


class Case(NamedTuple):
    """Adam with epsilon inside the root, and its step size."""

    beta: float
    rho: float
    epsilon: float
    h: float

    @property
    def optimizer(self) -> Adam:
        """The optimizer."""
        return Adam(beta=self.beta, rho=self.rho, eps=0.0, eps_root=self.epsilon)


class Passage(NamedTuple):
    """Where a trajectory first comes down to a loss level."""

    theta: Floats  # (2,)
    steps: float  # number of steps, between two whole numbers
    norm: float  # one-norm of the gradient
    uncertainty: (
        float  # bound on the error of the norm: interpolation between the steps, and rounding
    )
    one_sided: bool  # no component of the gradient has changed sign up to there


def passage(path: Floats, model: Model, share: float = LEVEL, finer: int = 1) -> Passage | None:
    """First passage of a trajectory through ``share`` of its starting loss.

    Parameters
    ----------
    path : (N + 1, 2) float64
        The trajectory after 0 .. N steps.
    model : Model
    share : float
        In (0, 1).
    finer : int
        1: polynomials of degree 3 through the steps around the passage, with the difference from degree 1 as the error; more: 2 finer + 1 and 2 finer - 1.

    Returns
    -------
    Passage or None
        None where the level is not reached.
    """
    products = path[:, 0] * path[:, 1]
    target = bilinear_path.product_at(model.x, model.y, *model.theta, share)
    beyond = (products - target) * np.sign(products[0] - target) <= 0.0
    if not beyond.any():
        return None
    k = int(np.argmax(beyond))
    found = [_interpolated(path, k, target, degree) for degree in (2 * finer - 1, 2 * finer + 1)]
    (rough, _), (theta, offset) = found

    def norm(total: float) -> float:
        return bilinear_path.one_norm_at(model.x, model.level(share), total)

    total, rough_total = float(np.abs(theta).sum()), float(np.abs(rough).sum())
    # every step rounds both components once or twice; at a given product the sum of the moduli moves at most as their difference does
    rounding = 4.0 * (k + 8) * _ROUNDING * float(np.abs(path[: k + 1]).max())
    signs = np.sign(path[: k + 1])
    same = bool(model.one_sided and (signs == signs[0]).all())
    error = norm(abs(total - rough_total) + rounding)
    return Passage(theta, k - 1 + offset, norm(total), error, same)


def _interpolated(path: Floats, k: int, target: float, degree: int) -> tuple[Floats, float]:
    """Place and offset from step k - 1 where the product of the interpolated components is ``target``."""
    first = min(max(k - 1 - degree // 2, 0), max(len(path) - degree - 1, 0))
    nodes = np.arange(first, min(first + degree + 1, len(path))) - (k - 1)
    polynomial = np.linalg.solve(np.vander(nodes, increasing=True), path[nodes + (k - 1)])

    def place(offset: float) -> Floats:
        powers = offset ** np.arange(len(nodes))
        return np.asarray(powers @ polynomial)

    offset = _root(lambda u: float(np.prod(place(u))) - target)
    return place(offset), offset


def _root(f: Callable[[float], float]) -> float:
    """Zero of ``f`` in [0, 1]; an end where rounding hides the change of sign."""
    low, high = f(0.0), f(1.0)
    if low * high >= 0.0:
        return 0.0 if abs(low) <= abs(high) else 1.0
    return float(brentq(f, 0.0, 1.0, xtol=1e-15, rtol=8.9e-16))


def follow(case: Case, model: Model, share: float = LEVEL, finer: int = 1) -> Passage | None:
    """First passage of Adam's iterates through a level; as many steps as it takes.

    Returns
    -------
    Passage or None
        None where the level is not reached within 64 times the time of the sign flow, or the trajectory overflows.
    """
    time = model.time(share)
    factor = 2
    while factor <= _LONGEST:
        steps = math.ceil(factor * time / case.h) + 8
        path = iterate(case.optimizer, model.loss, model.theta, case.h, steps)
        if not np.isfinite(path).all():
            return None
        if (found := passage(path, model, share, finer)) is not None:
            return found
        factor *= 2
    return None


def draw(rng: np.random.Generator, one_sided: bool = True, like: Model | None = None) -> Model:
    """A random model and start.

    abs(x) and abs(y) log-uniform in [1/2, 2] (or those of ``like``), abs(theta_1) and abs(theta_2) in [1/2, 4], all signs random; theta_1
    theta_2 of the sign of y / x (or, with ``one_sided`` false, of the other). Drawn again until the two moduli differ by 5 % or more (equal ones stay equal:
    every trajectory is the same curve) and the sign flow needs a time of 0.5 or more to the level (500 of the papers' steps).
    """
    while True:
        x, y = np.exp(rng.uniform(-math.log(2.0), math.log(2.0), 2)) * rng.choice((-1.0, 1.0), 2)
        if like is not None:
            x, y = like.x, like.y
        s, t = np.exp(rng.uniform(-math.log(2.0), math.log(4.0), 2))
        s *= rng.choice((-1.0, 1.0))
        t *= math.copysign(1.0, x * y * s) * (1.0 if one_sided else -1.0)
        model = Model(float(x), float(y), (float(s), float(t)))
        if abs(math.log(abs(s / t))) >= 0.05 and model.time() >= 0.5:
            return model
