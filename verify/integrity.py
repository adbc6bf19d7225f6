"""Checks of the instrument on itself: what it really did is looked at, and no verdict is drawn from a measurement that fails.

Every check is a number per problem, measured in the run whose errors are judged, with a limit that follows from arithmetic alone. None of them looks at
the order, and none can turn a failure into a success: a problem that fails is inconclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.verify.fit import OrderFit
from stepbias.verify.store import Arrays

Floats = NDArray[np.float64]

# A walk of N steps in p components leaves the grid of float32 by less than this with probability 2^(-20 N p) in double precision.
_GRAIN = 2.0**-20
# Differences of gradients resolve about 1e-10 where derivatives are of order one, and 1e-5 up to frequencies of a thousand (the truncation error, see
# `stepbias.kernels.curvature`, grows with their square). No order measured in double precision feels a relative error below this.
_PRODUCTS = 1e-5
# Hessians that change by less than this along the whole path leave the third derivatives of the theorem untested. Every random family exceeds it on at
# least 99 % of its draws.
CURVED = 0.01


class Check(NamedTuple):
    """One check: what the number means, when it fails, and how a failure is told."""

    name: str
    fails: Callable[[Floats], NDArray[np.bool_]]
    text: str


CHECKS: tuple[Check, ...] = (
    Check(
        "start",
        lambda gap: gap > 0.0,
        "iterate and flow are {:.2g} apart before the first step",
    ),
    Check(
        "precision",
        lambda grain: grain < _GRAIN,
        "the iterates are float32 numbers to {:.2g} of a float32 rounding",
    ),
    Check(
        "products",
        lambda mismatch: mismatch > _PRODUCTS,
        "Hessian-vector products differ from differences of the gradients by {:.2g}",
    ),
    Check(
        "solver",
        lambda difference: difference <= 0.0,
        "the two resolutions of the flow differ by {:.2g}, so nothing bounds the solver error",
    ),
)


def collect(start: Floats, grain: Floats, products: Floats, solver: Floats) -> Floats:
    """The numbers of the checks, one column each.

    Parameters
    ----------
    start, grain, solver : (B, H) float64
        From the measurements at every step size; NaN where there is nothing to check.
    products : (B,) float64

    Returns
    -------
    (B, 4) float64
        The worst over the step sizes; for the solver the best, since at fine steps both resolutions may well be exact to rounding.
    """
    coarsest_grain = np.where(np.isnan(grain), np.inf, grain).min(axis=1)
    largest = np.where(np.isnan(solver), -np.inf, solver).max(axis=1)
    largest[np.isneginf(largest)] = np.inf
    return np.stack([start.max(axis=1), coarsest_grain, products, largest], axis=1)


def worst(copies: Floats) -> Floats:
    """The worst of several measurements of each problem: (B, copies, 4) to (B, 4)."""
    low, high = copies.min(axis=1), copies.max(axis=1)
    too_small = np.array([bool(check.fails(np.zeros(1))[0]) for check in CHECKS])
    return np.where(too_small, low, high)


def failures(integrity: Floats) -> list[str]:
    """What each problem's measurement fails, in words; empty where it is sound.

    Parameters
    ----------
    integrity : (B, 4) float64
        From :func:`collect`. An entry that is not finite fails nothing: its error is not finite either, and says so itself.
    """
    reasons = []
    for row in integrity:
        told = [
            check.text.format(value)
            for check, value in zip(CHECKS, row, strict=True)
            if np.isfinite(value) and bool(check.fails(value))
        ]
        reasons.append("; ".join(told))
    return reasons


def withhold(fits: Sequence[OrderFit], integrity: Floats | None) -> list[OrderFit]:
    """The fits, inconclusive where the instrument fails its own checks; unchanged if there are none."""
    if integrity is None:
        return list(fits)
    return [
        replace(
            fit,
            verdict="inconclusive",
            reason=f"the instrument fails its own check: {reason}",
        )
        if reason
        else fit
        for fit, reason in zip(fits, failures(integrity), strict=True)
    ]


def sampler_failure(curvature: Floats) -> str:
    """Why the problems cannot carry a verdict on a theorem with third derivatives; empty if they can.

    Parameters
    ----------
    curvature : (K,) float64
        Of all problems of a claim, from :func:`stepbias.kernels.survey.survey`.
    """
    curved = int(np.count_nonzero(curvature > CURVED))
    if 2 * curved >= len(curvature):
        return ""
    return (
        f"the Hessian changes by more than {CURVED:.0%} along the path on {curved} of {len(curvature)} problems only: "
        "losses so close to quadratic do not test the statement"
    )


def claim_failure(units: Sequence[Arrays]) -> str:
    """Why no claim may be confirmed by these measurements, whatever their orders; empty if it may.

    Parameters
    ----------
    units : sequence of arrays
        Of the pooled cells; those with "integrity" (B, 4) and "curvature" (B,) are looked at.

    Notes
    -----
    One failing problem is enough: an instrument that is broken for one loss has not been shown to be sound for the others.
    """
    told = [reason for a in units if "integrity" in a for reason in failures(a["integrity"])]
    broken = [reason for reason in told if reason]
    if broken:
        share = f"{len(broken)} of {len(told)} problems"
        return f"the instrument fails its own check on {share}, at first: {broken[0]}"
    changes = [a["curvature"] for a in units if "curvature" in a]
    return sampler_failure(np.concatenate(changes)) if changes else ""
