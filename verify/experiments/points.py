"""Points of random losses, full batch, with random decays: what the statements on the field at one theta are measured on.

Problem k has the k-th family in turn, a size from 1 to 6, a loss, a normal theta and decays drawn from a generator that is a function of (seed, name, k) only.
Problem 0 has the decays 0.9 and 0.999 and the epsilon 1e-8 of the usual defaults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.theory.optimizers import Adam
from stepbias.verify.samples import Samples, Setting, label, together

Floats = NDArray[np.float64]

FAMILIES = Loss.families()
UNIT = 2.0**-53
DEFAULTS = (0.9, 0.999, 1e-8)
_DRAWS = 200


@dataclass(frozen=True)
class Point:
    """One loss at one theta.

    Attributes
    ----------
    number : int
    family : str
    loss : Loss
        One batch.
    theta, gradient : (p,) float64
    hessian : (p, p) float64
    beta, rho : float
    eps, eps_root : float
        One of them 0.
    """

    number: int
    family: str
    loss: Loss
    theta: Floats
    gradient: Floats
    hessian: Floats
    beta: float
    rho: float
    eps: float
    eps_root: float

    def product(self, vector: Floats) -> Floats:
        """Hessian times a vector."""
        return np.asarray(self.hessian @ vector)

    @property
    def place(self) -> str:
        """Side of the root on which epsilon is."""
        return "inside" if self.eps == 0.0 else "outside"

    @property
    def epsilon(self) -> float:
        """The constant, wherever it is."""
        return self.eps + self.eps_root

    @property
    def adam(self) -> Adam:
        """Adam with these decays."""
        return Adam(self.beta, self.rho, self.eps, self.eps_root)

    def at(self, epsilon: float) -> Point:
        """The same with another constant on the same side."""
        eps, eps_root = _sided(epsilon, self.place == "inside")
        return replace(self, eps=eps, eps_root=eps_root)

    @property
    def slowest(self) -> float:
        """The larger decay."""
        return max(self.beta, self.rho)

    @property
    def steady(self) -> int:
        """A step from which on the weight of the start, times its age, is below 1e-18 for both decays."""
        return 1 + round(50.0 / (1.0 - self.slowest))

    def label(self, **more: Any) -> str:
        """Settings in one line."""
        return label(
            family=self.family, p=len(self.theta), beta=self.beta, rho=self.rho,
            epsilon=self.epsilon, place=self.place, **more,
        )  # fmt: skip

    def hardness(self, h: float = float("nan")) -> tuple[float, float, float, float]:
        """beta, rho, epsilon, h."""
        return self.beta, self.rho, self.epsilon, h


def _sided(epsilon: float, inside: bool) -> tuple[float, float]:
    """eps and eps_root."""
    return (0.0, epsilon) if inside else (epsilon, 0.0)


def decay(rng: np.random.Generator, shortest: float = 1.0, longest: float = 50.0) -> float:
    """A decay whose memory 1 / (1 - decay) is log-uniform between two lengths."""
    return float(1.0 - np.exp(-rng.uniform(np.log(shortest), np.log(longest))))


def points(
    setting: Setting,
    name: str,
    numbers: NDArray[np.int64],
    smallest: float = 0.0,
    place: str = "",
    excluded: Counter[str] | None = None,
) -> Iterator[tuple[Point, np.random.Generator]]:
    """Problems of an experiment, each with the generator that it was drawn from.

    Parameters
    ----------
    setting : Setting
    name : str
        Of the experiment.
    numbers : (B,) int64
    smallest : float
        Draws with a gradient component below this in size are replaced, and counted in ``excluded``.
    place : {"", "inside", "outside"}
        Side of epsilon; empty: in turn.
    """
    for k in numbers:
        rng = setting.rng(name, int(k))
        family, dim = FAMILIES[int(k) % len(FAMILIES)], int(rng.integers(1, 7))
        beta, rho = decay(rng), decay(rng)
        epsilon = float(10.0 ** rng.uniform(-8.0, 0.0))
        if k == 0:
            beta, rho, epsilon = DEFAULTS
        inside = place == "inside" or (not place and int(k) // len(FAMILIES) % 2 == 0)
        for _ in range(_DRAWS):
            loss = Loss.random(family, dim, seed=int(rng.integers(2**62)))
            theta = rng.normal(size=dim)
            gradient = loss.gradient(0, theta)
            if np.abs(gradient).min() >= smallest:
                break
            if excluded is not None:
                excluded[f"a gradient component below {smallest:g}"] += 1
        else:
            continue
        hessian = loss.hessian(0, theta)
        yield (
            Point(int(k), family, loss, theta, gradient, hessian, beta, rho, *_sided(epsilon, inside)),
            rng,
        )  # fmt: skip


class Rows:
    """Rows of one experiment, collected one by one."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}
        self.caught: dict[str, list[float]] = {}
        self.excluded: Counter[str] = Counter()

    def add(self, point: Point, caught: dict[str, float] | None = None, **values: Any) -> None:
        """One row; ``label`` and ``hardness`` come from the point unless given."""
        values = {
            "numbers": point.number,
            "labels": point.label(),
            "hardness": point.hardness(),
            "stratum": point.family,
        } | values
        for column, value in values.items():
            self.columns.setdefault(column, []).append(value)
        for term, value in (caught or {}).items():
            self.caught.setdefault(term, []).append(value)

    def samples(self) -> Samples:
        """All of them."""
        columns: dict[str, Any] = {
            k: together(v) if k in ("x", "error", "floor") else np.array(v)
            for k, v in self.columns.items()
        }
        if not columns:
            columns = {"numbers": np.empty(0, np.int64), "labels": np.empty(0, np.str_)}
        return Samples(
            **columns,
            caught={k: np.array(v) for k, v in self.caught.items()},
            excluded=dict(self.excluded),
        )


# differentiation of values -----------------------------------------------------------------------

# Central differences of order 8 and 6: weights of f(+k d) - f(-k d), k = 1, 2, ..
_EIGHTH = np.array([4 / 5, -1 / 5, 4 / 105, -1 / 280])
_SIXTH = np.array([3 / 4, -3 / 20, 1 / 60])


def differentiated(value: Any, theta: Floats, step: float, noise: float) -> tuple[Floats, float]:
    """Gradient of a function by differences of its values, and a bound on its error.

    Parameters
    ----------
    value : callable (N, p) -> (N,)
    theta : (p,) float64
    step : float
        Distance of neighbouring arguments.
    noise : float
        Bound on the rounding error of a value.

    Returns
    -------
    gradient : (p,) float64
        By differences of order 8.
    error : float
        Its distance from the differences of order 6, which are far worse, plus the rounding of values: the weights add up to less than 1.1, twice.
    """
    dim, reach = len(theta), len(_EIGHTH)
    shifts = step * np.concatenate([np.arange(-reach, 0), np.arange(1, reach + 1)])
    moved = theta + (shifts[:, None, None] * np.eye(dim)).reshape(-1, dim)
    values = np.asarray(value(moved)).reshape(2 * reach, dim)
    odd = values[reach:] - values[:reach][::-1]
    fine, coarse = _EIGHTH @ odd / step, _SIXTH @ odd[:3] / step
    return fine, float(np.abs(fine - coarse).max() + 2.2 * noise / step)


SMOOTH_STEP = 0.008  # of the differences: four of them to each side change no sine's phase by much


def signed_step(point: Point) -> float:
    """A step of the differences within which no gradient component changes its sign."""
    bend = np.abs(point.hessian).max()
    return float(min(SMOOTH_STEP, np.abs(point.gradient).min() / (16.0 * max(bend, 1e-3))))
