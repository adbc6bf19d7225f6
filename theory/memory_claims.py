"""Optimizers with memory: the memoryless equation of every shipped optimizer, full batch and mini-batch, its controls, and what limiting coefficients lose.

The equation is that of :mod:`stepbias.theory.memoryless`. With the coefficients of n -> infinity in place of those of step n the first steps are wrong by
F^(n) - F^(infinity), whose sum shifts the path by O(h): the order is 1. It stays 2 only where F^(n) at a frozen theta does not depend on n up to the
batch: gradient descent under any schedule, and full-batch Adam and AdamW, whose bias correction makes the means those of a single gradient from the
first step on.
"""

from __future__ import annotations

from stepbias.theory.adam_claims import BOUNDED, PAPER
from stepbias.theory.claim import Claim
from stepbias.theory.variants import LEADING, Variant

SOURCE = "Cattaneo, Shigida, How Memory in Optimization Algorithms Implicitly Modifies the Loss"
# name of the algorithm in the claims' ids -> name in words
NAMES: dict[str, str] = {
    "gradient-descent": "Gradient descent",
    "heavy-ball": "Heavy ball",
    "nesterov": "Nesterov's momentum",
    "adamw": "AdamW with epsilon inside the root",
    "nadam": "NAdam with epsilon inside the root, at a constant and at a growing beta",
    "lion": "Lion with a smooth sign, of both shapes",
    "signum": "Signum with a smooth sign, of both shapes",
}
# Without memory: the terms that a wrong variant could change are not there.
_MEMORYLESS = ("gradient-descent",)
# F^(n) at a frozen theta is the same at every step, on the full batch and under any schedule.
_STEADY_FULL = ("gradient-descent", "adam", "adamw")
_STEADY_MINI = ("gradient-descent",)
_EQUATION = r"\dot\theta = -\Big[F^{(n)} + h\sum_{k\ge 1}\partial_k F^{(n)}\sum_{s=n-k}^{n-1}F^{(s)} + \tfrac h2 J^{(n)}F^{(n)}\Big]"
_CLOSE = r"\max_{nh\le T}\|\tilde\theta(nh)-\theta^{(n)}\|"
_BATCHES: dict[str, tuple[int, ...]] = {"full-batch": (1,), "mini-batch": (2, 3, 4)}


def wrong_variants(algorithm: str) -> tuple[Variant, ...]:
    """Wrong variants that differ from the statement for this optimizer."""
    if algorithm in _MEMORYLESS:
        return (Variant(bias=0.0), Variant(bias=-1.0), Variant(discretization=0.5))
    return (
        Variant(bias=0.0),
        Variant(bias=-1.0),
        Variant(memory=0.0),
        Variant(memory=0.5),
        Variant(discretization=0.0),
        Variant(short_memory=True),
    )


def _claim(algorithm: str, on: str) -> Claim:
    return Claim(
        id=f"{algorithm}/{on}",
        source=f"{SOURCE}; derived in stepbias.theory.memoryless",
        statement=(
            f"{NAMES[algorithm]} stays O(h^2)-close to its memoryless equation, uniformly over 0 <= n <= T/h; on random smooth losses, "
            f"{on.replace('-', ' ')}"
        ),
        latex=rf"{_CLOSE} = O(h^2),\quad {_EQUATION}",
        assumptions=(BOUNDED,),
        expected="order >= 2",
        expected_order=2.0,
        algorithm=algorithm,
        place="inside",
        problems="random",
        wrong=wrong_variants(algorithm),
        batches=_BATCHES[on],
    )


# The forms of the claims that say that something is left at O(h): a tanh is so nearly 1 beyond its width that nothing is left where it stays there.
_SOFT = {"lion": "Lion with the soft sign", "signum": "Signum with the soft sign"}


def _leading(algorithm: str) -> Claim:
    return Claim(
        id=f"{algorithm}/leading-field",
        source=f"{SOURCE}; without the O(h) terms",
        statement=f"{_SOFT.get(algorithm, NAMES[algorithm])} is only O(h)-close to its leading field alone",
        latex=rf"{_CLOSE} \sim h,\quad \dot\theta = -F^{{(n)}}",
        assumptions=(BOUNDED,),
        expected="order = 1",
        expected_order=1.0,
        algorithm=algorithm,
        place="inside",
        problems="random",
        exact=True,
        variant=LEADING,
    )


def _limit(algorithm: str, on: str) -> Claim:
    steady = algorithm in (_STEADY_FULL if on == "full-batch" else _STEADY_MINI)
    own = {
        "adam": "Adam",
        "rmsprop": "RMSProp",
        "nadam": "NAdam with epsilon inside the root, at a constant beta",
        **_SOFT,
    }
    name = own.get(algorithm) or NAMES[algorithm]
    prefix = f"{algorithm}-inside" if algorithm in ("adam", "rmsprop") else algorithm
    kept = "keeps the second order" if steady else "has only the first"
    size = "= O(h^2)" if steady else r"\sim h"
    return Claim(
        id=f"{prefix}/limit-{on}",
        source=f"{PAPER if prefix != algorithm else SOURCE}; the limit of many steps used from the first one",
        statement=f"{name}, {on.replace('-', ' ')}: the equation with the coefficients of n -> infinity at every step {kept}",
        latex=rf"{_CLOSE} {size},\quad F^{{(n)}} \to F^{{(\infty)}}",
        assumptions=(BOUNDED,),
        expected="order >= 2" if steady else "order = 1",
        expected_order=2.0 if steady else 1.0,
        algorithm=algorithm,
        place="inside",
        problems="random",
        exact=not steady,
        variant=Variant(limit=True),
        batches=_BATCHES[on],
    )


CLAIMS: tuple[Claim, ...] = (
    *(
        claim
        for algorithm in NAMES
        for claim in (
            _claim(algorithm, "full-batch"),
            _claim(algorithm, "mini-batch"),
            _leading(algorithm),
        )
    ),
    *(
        _limit(algorithm, on)
        for algorithm in ("adam", "rmsprop", *NAMES)
        for on in ("full-batch", "mini-batch")
    ),
)
