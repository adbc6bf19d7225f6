"""How large an error in each named term a run would have caught, by the slope and by the coefficient.

A term with the relative error delta moves iterate - flow by delta r(h). The response r is measured, as a vector at the end point, at a moderate
number of steps by switching the term off (a relative error of 1; for M and R, which carry the leading field, of 1e-3), and scaled to other steps: for
an O(h) term it is proportional to h, for M and R constant.

*Slope.* With the run's own difference d(h), the local slopes of |d + delta r| are then known for every delta. The error counts as caught from the
smallest delta on at which the slopes over the two finest factors of 2 (three for M and R, which bend the line by two orders) lie 0.2 below the expected order
for *both* signs of delta: a verdict needs slopes that stay, and one low slope may be the beginning of a change. It counts only where the finest step is short
against the memory, as a refutation needs. This is at the end point rather than in the maximum over n that the verdict reads: when the variants were
run with the errors so found (adam-inside/global-order, quick profile, seed 0), 92 to 98 % of the problems said to catch them did.

*Coefficient* (smooth schedules only). An O(h) term moves the coefficient of h by delta r(h) / h, M and R move that of h^0 by delta r. With the value v and
bound b of the statement's own run, the error counts as caught if delta |r_i| exceeds |v_i| + 3 b_i in some component, with a margin of a quarter for what
the response at a finite h says of its limit.

This is linear response, not another run of the campaign; the run with wrong variants (``--mutants``) is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import prepare
from stepbias.kernels.measure import measure
from stepbias.theory.optimizers import Adam, RMSProp
from stepbias.theory.variants import STATEMENT, TERMS
from stepbias.verify.coefficient import CLEAR, judge_coefficient
from stepbias.verify.fit import DELTA, MEMORY_LIMIT

Floats = NDArray[np.float64]

RESPONSE_STEPS = 512
_LEADING = ("M", "R")
_SMALL = 1e-3
# A response is seen if it exceeds the known solver error by this factor.
_SEEN = 10.0
# The share of problems on which the error must be caught.
SHARE = 0.95
_DELTAS = np.logspace(-8.0, 0.0, 161)
# Responses are measured at RESPONSE_STEPS and read as limits: what they may be off by.
_MARGIN = 1.25
INSTRUMENTS = ("slope", "coefficient", "either")


# Of a rule without the Adam family's sums.
_TERMS_OF_RULES = ("memory", "discretization", "bias")


def terms_of(optimizer: Any) -> tuple[str, ...]:
    """The named terms of an optimizer's equation."""
    return TERMS if isinstance(optimizer, Adam | RMSProp) else _TERMS_OF_RULES


def responses(
    optimizer: Any, loss: Any, theta0: Floats, horizon: float, schedule: Any
) -> dict[str, Floats]:
    """Move of the end point per unit of relative error in each term at ``RESPONSE_STEPS`` steps, ``(B, p)`` each.

    Zero where it is below what the solver resolves.
    """
    h = horizon / RESPONSE_STEPS
    ensemble = prepare(optimizer, loss, theta0, h, RESPONSE_STEPS, schedule, "cpu")
    base = measure(ensemble, RESPONSE_STEPS, STATEMENT)
    found = {}
    for term in terms_of(optimizer):
        size = _SMALL if term in _LEADING else 1.0
        changed: dict[str, Any] = {term: 1.0 - size}
        moved = measure(ensemble, RESPONSE_STEPS, replace(STATEMENT, **changed), check=False)
        change = moved.difference - base.difference
        seen = np.linalg.norm(change, axis=1) > _SEEN * base.solver
        found[term] = np.where(seen[:, None], change / size, 0.0)
    return found


def resolution(
    response: dict[str, Floats],
    h: Floats,
    difference: Floats,
    memory: Floats,
    horizon: float,
    expected: float,
) -> dict[str, Floats]:
    """Smallest relative error of each term that would have been caught on each problem.

    Parameters
    ----------
    response : dict of (B, p) float64
        From :func:`responses`.
    h : (B, H) float64
    difference : (B, H, p) float64
        The sweep: signed difference at the end point.
    memory : (B,) float64
        Of the sweep: no verdict is "refuted" unless the finest h times it is at most `MEMORY_LIMIT`.
    horizon : float
    expected : float
        The order of the claim.

    Returns
    -------
    dict of (B,) float64
        NaN where the term has no visible effect on that problem, inf where even a relative error of 1 would not have been caught.
    """
    steps = h[0]
    places = [
        int(np.argmin(np.abs(np.log(steps / (factor * steps.min()))))) for factor in (1, 2, 4, 8)
    ]
    asymptotic = steps.min() * memory <= MEMORY_LIMIT
    unit = horizon / RESPONSE_STEPS
    found = {}
    for term, r in response.items():
        slopes = []
        for sign in (1.0, -1.0):
            norms = []
            for k in places:
                scale = sign * (1.0 if term in _LEADING else steps[k] / unit)
                moved = difference[:, k, None] + scale * _DELTAS[:, None] * r[:, None]
                norms.append(np.linalg.norm(moved, axis=-1))
            with np.errstate(divide="ignore", invalid="ignore"):
                for fine in range(3 if term in _LEADING else 2):
                    coarse = fine + 1
                    ratio = steps[places[coarse]] / steps[places[fine]]
                    slopes.append(np.log(norms[coarse] / norms[fine]) / np.log(ratio))
        # (B, deltas)
        caught = np.max(slopes, axis=0) < expected - 2.0 * DELTA
        caught &= asymptotic[:, None]
        always = np.logical_and.accumulate(caught[:, ::-1], axis=1)[:, ::-1]
        smallest = np.where(always[:, -1], _DELTAS[np.argmax(always, axis=1)], np.inf)
        found[term] = np.where(np.any(r != 0.0, axis=1), smallest, np.nan)
    return found


def coefficient_resolution(
    response: dict[str, Floats],
    h: Floats,
    difference: Floats,
    floor: Floats,
    memory: Floats,
    horizon: float,
) -> dict[str, Floats]:
    """Smallest relative error of each term that the coefficient of h (for M and R of h^0) would have refuted on each problem.

    Parameters
    ----------
    response, h, difference, horizon
        As in :func:`resolution`, of a smooth schedule.
    floor : (B, H) float64
    memory : (B,) float64
        Of the sweep.

    Returns
    -------
    dict of (B,) float64
        NaN where the term has no visible effect on that problem, inf where even a relative error of 1 would not have been caught.
    """
    judged = judge_coefficient(h, difference, floor, power=1, memory=memory)
    unit = horizon / RESPONSE_STEPS
    found = {}
    for term in response:
        if term in _LEADING:
            value, bound, moved = judged.lower[0].value, judged.lower[0].bound, response[term]
        else:
            value, bound, moved = judged.value, judged.bound, response[term] / unit
        visible = moved != 0.0
        needed = np.where(np.isfinite(bound), np.abs(value) + CLEAR * bound, np.inf)
        delta = _MARGIN * np.where(visible, needed, np.inf) / np.where(visible, np.abs(moved), 1.0)
        smallest = np.min(delta, axis=1)
        smallest = np.where(smallest <= 1.0, smallest, np.inf)
        found[term] = np.where(np.any(visible, axis=1), smallest, np.nan)
    return found


def by_instrument(
    response: dict[str, Floats],
    h: Floats,
    difference: Floats,
    floor: Floats,
    memory: Floats,
    horizon: float,
    expected: float,
    smooth: bool,
) -> dict[str, dict[str, Floats]]:
    """The resolution of each problem by every instrument: "slope", "coefficient" and the finer of the two, "either".

    Parameters
    ----------
    smooth : bool
        Whether the difference has an expansion in h: full batch, or a cyclic schedule whose period divides every step count. If not, "coefficient" is NaN and
        "either" is the slope's.

    Other parameters as in :func:`resolution` and :func:`coefficient_resolution`.
    """
    slope = resolution(response, h, difference, memory, horizon, expected)
    if smooth:
        coefficient = coefficient_resolution(response, h, difference, floor, memory, horizon)
    else:
        coefficient = {term: np.full(len(h), np.nan) for term in response}
    either = {term: np.fmin(slope[term], coefficient[term]) for term in response}
    return {"slope": slope, "coefficient": coefficient, "either": either}


def pooled_table(per_problem: list[dict[str, dict[str, Floats]]]) -> dict[str, dict[str, float]]:
    """:func:`pooled` for every instrument, from the results of :func:`by_instrument`."""
    return {name: pooled([found[name] for found in per_problem]) for name in INSTRUMENTS}


def pooled(per_problem: list[dict[str, Floats]]) -> dict[str, float]:
    """For each term the relative error that would be caught on 95 % of the problems where the term is visible."""
    result = {}
    for term in per_problem[0] if per_problem else ():
        values = [found[term] for found in per_problem]
        visible = (
            np.concatenate(values)[~np.isnan(np.concatenate(values))] if values else np.empty(0)
        )
        if len(visible):
            result[term] = float(np.sort(visible)[int(np.ceil(SHARE * len(visible))) - 1])
    return result
