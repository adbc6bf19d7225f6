"""Each lemma, constant and theorem of the explicit error bounds against what is measured along the flow: left side / right side, problem by problem.

All statements share the same walks along the flow, kept until other ones are asked for. A variant is a change of one constant
(:func:`stepbias.theory.constants_right.altered`) or "printed", the constants as the supplement prints them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.collocation import NODES
from stepbias.theory.constants import Constants, constants
from stepbias.theory.constants_right import RIGHT, altered
from stepbias.verify.experiments import Experiment
from stepbias.verify.experiments.constants_growth import GROWTH, growing
from stepbias.verify.experiments.constants_left import Left, measure
from stepbias.verify.experiments.constants_problems import (
    Problem,
    long_memory,
    problem,
    with_large_steps,
)
from stepbias.verify.samples import Samples, Setting

Floats = NDArray[np.float64]

# A check whose rounding exceeds this share of its bound is left out.
GUARD = 0.02
_TOGETHER = 64  # problems walked side by side
_MORE_NODES = 4  # per level of `finer`
_lock = Lock()


@dataclass(frozen=True, eq=False)
class Measured:
    """One problem with its left sides and its constants, corrected and printed."""

    problem: Problem
    size: dict[str, Floats]
    doubt: dict[str, Floats]
    corrected: Constants | None
    printed: Constants | None


def _constants(one: Problem, left: Left, row: int, corrected: bool) -> Constants:
    """With T = h, the sharpest, as the proofs need no more; R as measured where epsilon does not give it.

    Where errors grow, the theorem as printed has the T that it speaks of, T = n h at the last step: it is to fail by its own words.
    """
    root = None if one.inside else float(left.root[row])
    literal = one.stratum == GROWTH and not corrected
    horizon = one.h * (len(one.schedule) if literal else 1)
    return constants(
        one.optimizer, one.dim, tuple(left.bounds[row]), horizon, root, corrected=corrected
    )


def _walk(problems: list[Problem], nodes: int) -> dict[int, Measured]:
    left = measure(problems, nodes, lemmas=problems[0].stratum != GROWTH)
    found = {}
    for row, one in enumerate(problems):
        sizes = {name: np.atleast_1d(values[row]) for name, values in left.size.items()}
        doubts = {name: np.atleast_1d(values[row]) for name, values in left.doubt.items()}
        admissible = bool(left.resolved[row]) and (one.inside or left.root[row] > 0.0)
        both = [_constants(one, left, row, c) if admissible else None for c in (True, False)]
        found[one.number] = Measured(one, sizes, doubts, *both)
    return found


@lru_cache(maxsize=6)
def _measured(setting: Setting, law: str) -> list[Measured]:
    """All problems of a law, in the order of their numbers."""
    make, counts = {
        "main": (problem, (96, 960, 4800)),
        "large steps": (with_large_steps, (24, 240, 1200)),
        "long memory": (long_memory, (8, 48, 240)),
        "growth": (growing, (4, 24, 96)),
    }[law]
    drawn = [make(setting, int(k)) for k in setting.numbers(*counts)]
    nodes = NODES + _MORE_NODES * (setting.finer - 1)
    found: dict[int, Measured] = {}
    for dim in sorted({one.dim for one in drawn}):
        alike = [one for one in drawn if one.dim == dim]
        for start in range(0, len(alike), _TOGETHER):
            found |= _walk(alike[start : start + _TOGETHER], nodes)
    return [found[one.number] for one in drawn]


def _all(setting: Setting, law: str) -> list[Measured]:
    with _lock:  # statements run in threads, and all ask for the same walks
        return _measured(setting, law)


def _ratio(one: Measured, c: Constants, name: str) -> tuple[float, float]:
    """Largest left side / right side over the ages, and its rounding."""
    size, doubt = one.size[name], one.doubt[name]
    value = RIGHT[name].value
    right = np.array([float(value(c, one.problem.h, age + 1)) for age in range(len(size))])
    worst = int(np.argmax(size / right))
    return float(size[worst] / right[worst]), float(doubt[worst] / right[worst])


def _inequality(
    names: tuple[str, ...],
    variant: str,
    setting: Setting,
    law: str = "main",
    algorithms: tuple[str, ...] = (),
) -> Samples:
    """Largest ratio of the named left sides to their right sides, for every problem (of some algorithms)."""
    rows: list[tuple[Problem, float, float]] = []
    excluded = {"the flow is not resolved": 0, f"round-off above {GUARD:.0%} of the bound": 0}
    sharpest: dict[str, float] = {}
    for one in _all(setting, law):
        if algorithms and one.problem.algorithm not in algorithms:
            continue
        base = one.printed if variant == "printed" else one.corrected
        if base is None:
            excluded["the flow is not resolved"] += 1
            continue
        # judged by the statement's own constants, so that its variants are measured on the same problems
        clear = [name for name in names if _ratio(one, base, name)[1] <= GUARD]
        if len(clear) < len(names):
            excluded[f"round-off above {GUARD:.0%} of the bound"] += 1
        if not clear:
            continue
        c = altered(base, "" if variant == "printed" else variant)
        found = {name: _ratio(one, c, name) for name in clear}
        # the one that refutes most clearly, or else the one that comes closest
        over = [pair for pair in found.values() if pair[0] - pair[1] > 1.0]
        rows.append((one.problem, *max(over or found.values(), key=lambda pair: pair[0] - pair[1])))
        _sharpen(sharpest, c, found)
        if "error" in names:
            sharpest["X in d_2"] = min(sharpest.get("X in d_2", np.inf), _smallest_growth(one, c))
    refuted = any(ratio - doubt > 1.0 for _, ratio, doubt in rows)
    return _samples(rows, excluded, {} if refuted else sharpest)


def _smallest_growth(one: Measured, c: Constants) -> float:
    """Smallest relative error of X in d_2 that the last error would have caught; inf where X is about 0 or the bound astronomical."""
    error = float(one.size["error"][-1] - one.doubt["error"][-1])
    time = len(one.size["error"]) * one.problem.h
    without = float(c.level * np.exp(np.sqrt(c.assumed.dim) * time) * one.problem.h**2)
    if error <= without or not c.spread:
        return np.inf
    return float(
        np.log(float(c.global_bound(time, one.problem.h)) / error)
        / ((c.growth - np.sqrt(c.assumed.dim)) * time)
    )


def _sharpen(
    sharpest: dict[str, float], c: Constants, found: dict[str, tuple[float, float]]
) -> None:
    """Smallest relative error of each constant and of each of its terms that a problem would have caught."""
    for name, (ratio, doubt) in found.items():
        room = max(1.0 - (ratio - doubt), 0.0)
        constant = RIGHT[name].constant
        sharpest[constant or name] = min(sharpest.get(constant or name, np.inf), room)
        terms = c.terms.get(constant, {})
        for term, value in terms.items() if len(terms) > 1 else ():
            if value > 0:
                own = f"{constant}: {term}"
                needed = room * float(getattr(c, constant)) / float(value)
                needed = needed if needed <= 1.0 else np.inf
                sharpest[own] = min(sharpest.get(own, np.inf), needed)


def _samples(
    rows: list[tuple[Problem, float, float]], excluded: dict[str, int], sharpest: dict[str, float]
) -> Samples:
    problems = [row[0] for row in rows]
    count = len(rows)
    return Samples(
        numbers=np.array([one.number for one in problems], dtype=np.int64),
        labels=np.array([one.label for one in problems], dtype=np.str_),
        stratum=np.array([one.stratum for one in problems], dtype=np.str_),
        hardness=np.array([[one.beta, one.rho, one.eps, one.h] for one in problems]),
        excluded={reason: number for reason, number in excluded.items() if number},
        left=np.array([row[1] for row in rows]),
        right=np.ones(count),
        uncertainty=np.array([row[2] for row in rows]),
        caught={name: np.full(count, value) for name, value in sharpest.items()},
    )


def _of(*names: str, law: str = "main", algorithms: tuple[str, ...] = ()) -> Experiment:
    """The experiment that compares the named left sides with their right sides (:data:`stepbias.theory.constants_right.RIGHT`)."""

    def experiment(variant: str, setting: Setting) -> Samples:
        return _inequality(names, variant, setting, law, algorithms)

    return experiment


memory_sums = _of("P", "Pbar")
speed = _of("bias", "rate")
gradient_drift = _of("gradient'", "gradient' + Hessian F")
inner_sums = _of("U", "U'", "(Hessian F)'")
memory_drift = _of("P'", "Pbar'")
root_drift = _of("R'", "(D^-2 R^-1)'")
bias_drift = _of("A'", "B'", "bias'")
acceleration = _of("rate'", "gradient''")
root_second = _of("R''", "(D^-2)''", "(R^-1)''", "(D^-2 R^-1)''")
inner_sums_second = _of("U''")
third_derivative = _of("rate''", "F''", "Pbar''", "P''", "A''", "B''")
past_gradients = _of("(7.1)", "(7.2)", "(7.3)")
past_square = _of("(7.5)")
mean_square = _of("V of the past")
mean_square_expansion = _of("V of the past - 2hP")
mean_square_large_steps = _of("V of the past - 2hP", law="large steps")
reciprocal = _of("D^-1 of the past")
taylor = _of("(7.6)", "(7.7)")
past_mean = _of("N of the past", "N of the past - hL", algorithms=("adam-outside", "adam-inside"))
local_long_memory = _of("local", law="long memory")
local_rmsprop_outside = _of("local", algorithms=("rmsprop-outside",))
local_rmsprop_inside = _of("local", algorithms=("rmsprop-inside",))
local_adam_outside = _of("local", algorithms=("adam-outside",))
local_adam_inside = _of("local", algorithms=("adam-inside",))
_GLOBAL = ("error", "change of the error")
global_growth = _of(*_GLOBAL, law="growth")
global_growth_change = _of("change of the error", law="growth")
global_rmsprop_outside = _of(*_GLOBAL, algorithms=("rmsprop-outside",))
global_rmsprop_inside = _of(*_GLOBAL, algorithms=("rmsprop-inside",))
global_adam_outside = _of(*_GLOBAL, algorithms=("adam-outside",))
global_adam_inside = _of(*_GLOBAL, algorithms=("adam-inside",))
