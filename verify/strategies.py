"""Hypothesis strategies: a handful of numbers drawn, the problem expanded from them in compiled code.

An example is a seed, a family, sizes and hyper-parameters, never a large array: generation stays fast, shrinking stays meaningful, and a failing example
is replayed from a few numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.theory.checks import choice, parameter, positive, whole
from stepbias.theory.optimizers import Adam, AnyOptimizer, RMSProp
from stepbias.theory.schedules import IID, Cyclic, Reshuffled, Schedule
from stepbias.verify.problems import starts as expand_starts

_SEEDS = st.integers(0, 2**31 - 1)


def _decay(name: str, value: Any) -> float:
    """A decay in [0, 1)."""
    decay = parameter(name, value, 0.0, 1.0)
    if not isinstance(decay, float):
        raise ValueError(f"{name} = {value!r}; accepted: one number in [0, 1)")
    return decay


def losses(
    families: tuple[str, ...] | None = None,
    max_dim: int = 8,
    max_batches: int = 4,
    problems: int | None = None,
) -> st.SearchStrategy[Loss]:
    """Random losses of the built-in families.

    Parameters
    ----------
    families : tuple of str, optional
        Names from ``Loss.families()``; None: all.
    max_dim, max_batches : int
        Largest p and m, both from 1.
    problems : int, optional
        Ensemble size B; None: single losses.

    Returns
    -------
    Hypothesis strategy of Loss
    """
    whole("max_dim", max_dim, 1)
    whole("max_batches", max_batches, 1)
    if problems is not None:
        whole("problems", problems, 1)
    names = Loss.families() if families is None else families
    if not isinstance(names, tuple | list) or not names:
        error = ValueError if isinstance(names, tuple | list) else TypeError
        raise error(f"families = {names!r}; accepted: a sequence of names, at least one")
    for name in names:
        choice("families", name, Loss.families())
    return st.builds(
        Loss.random,
        st.sampled_from(names),
        dim=st.integers(1, max_dim),
        batches=st.integers(1, max_batches),
        problems=st.just(problems),
        seed=_SEEDS,
    )


def _build(kind: str, beta: float, rho: float, eps: float, inside: bool, rest: float) -> Any:
    """An optimizer of a kind; ``rest`` in [0, 1] is its weight decay, or chooses the shape of its sign."""
    from stepbias.theory import shipped  # SymPy: only for those who draw

    outer, inner = (0.0, eps) if inside else (eps, 0.0)
    shape = "soft" if inside else "tanh"
    makers: dict[str, Callable[[], AnyOptimizer]] = {
        "adam": lambda: Adam(beta, rho, outer, inner),
        "adam without bias correction": lambda: Adam(beta, rho, outer, inner, False),
        "rmsprop": lambda: RMSProp(rho, outer, inner),
        "gradient-descent": shipped.GradientDescent,
        "heavy-ball": lambda: shipped.HeavyBall(beta),
        "nesterov": lambda: shipped.Nesterov(beta),
        "adamw": lambda: shipped.AdamW(beta, rho, outer, inner, rest),
        "nadam": lambda: shipped.NAdam(beta, rho, outer, inner),
        "smooth-lion": lambda: shipped.SmoothLion(beta, rho, eps, rest, shape),
        "smooth-signum": lambda: shipped.SmoothSignum(beta, eps, shape),
    }
    return makers[kind]()


ADAM_KINDS = ("adam", "rmsprop", "adam without bias correction")
KINDS = (
    *ADAM_KINDS,
    "gradient-descent",
    "heavy-ball",
    "nesterov",
    "adamw",
    "nadam",
    "smooth-lion",
    "smooth-signum",
)


def optimizers(
    max_beta: float = 0.9,
    max_rho: float = 0.95,
    min_eps: float = 1e-4,
    max_eps: float = 1.0,
    kinds: tuple[str, ...] = ADAM_KINDS,
) -> st.SearchStrategy[Any]:
    """Adam and RMSProp, epsilon inside or outside the root, with and without bias correction; others by their names.

    Parameters
    ----------
    max_beta, max_rho : float
        Largest decays, in [0, 1); the smallest are 0.
    min_eps, max_eps : float
        Range of epsilon (of Lion and Signum: of delta), drawn on a logarithmic scale.
    kinds : tuple of str
        Of ``strategies.KINDS``; default ``strategies.ADAM_KINDS``.

    Returns
    -------
    Hypothesis strategy of optimizers
    """
    largest_beta, largest_rho = _decay("max_beta", max_beta), _decay("max_rho", max_rho)
    low, high = positive("min_eps", min_eps), positive("max_eps", max_eps)
    if low > high:
        raise ValueError(
            f"min_eps = {low!r} exceeds max_eps = {high!r}; accepted: min_eps <= max_eps"
        )
    if not isinstance(kinds, tuple | list) or not kinds:
        error = ValueError if isinstance(kinds, tuple | list) else TypeError
        raise error(f"kinds = {kinds!r}; accepted: a sequence of names, at least one")
    for kind in kinds:
        choice("kinds", kind, KINDS)
    epsilon = st.floats(np.log10(low), np.log10(high)).map(lambda e: float(10.0**e))
    return st.builds(
        _build,
        st.sampled_from(kinds),
        st.floats(0.0, largest_beta),
        st.floats(0.0, largest_rho),
        epsilon,
        st.booleans(),
        st.floats(0.0, 1.0),
    )


def schedules(batches: int) -> st.SearchStrategy[Schedule]:
    """Cyclic, reshuffled and i.i.d. schedules for ``batches`` mini-batches."""
    m = whole("batches", batches, 1)
    return st.one_of(
        st.just(Cyclic(m)),
        _SEEDS.map(lambda seed: Reshuffled(m, seed)),
        _SEEDS.map(lambda seed: IID(m, seed)),
    )


def starts(
    dim: int, problems: int | None = None, scale: float = 1.0
) -> st.SearchStrategy[NDArray[np.float64]]:
    """Normal starts, ``(p,)`` or ``(B, p)``, expanded from one seed.

    Parameters
    ----------
    dim : int
        p.
    problems : int, optional
        B.
    scale : float
        Standard deviation.
    """
    whole("dim", dim, 1)
    if problems is not None:
        whole("problems", problems, 1)
    positive("scale", scale)

    def build(seed: int) -> Any:
        rows = expand_starts(seed, 0, problems or 1, dim, scale)
        return rows if problems is not None else rows[0]

    return _SEEDS.map(build)
