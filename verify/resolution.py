"""How large an error in each named term a run would have caught.

A term X with the relative error delta adds delta a h to iterate - flow, where a h is the response of the end point to the term. It is measured at a
moderate number of steps by switching the term off (a relative error of 1; for M and R, which carry the leading field, of 1e-3) and scaled to the
finest step: the response of an O(h) term halves with h, that of M and R stays. The local slope at the finest step falls from 2 by about delta a h /
error, so the error is caught where that exceeds twice the tolerance of the verdict. This is linear response, not another run of the campaign; the run
with wrong variants (``--mutants``) is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import prepare
from stepbias.kernels.measure import measure
from stepbias.theory.variants import STATEMENT, TERMS, Variant
from stepbias.verify.fit import DELTA

Floats = NDArray[np.float64]

RESPONSE_STEPS = 512
_LEADING = ("M", "R")
_SMALL = 1e-3
# The share of problems on which the error must be caught.
SHARE = 0.95


def responses(
    optimizer: Any, loss: Any, theta0: Floats, horizon: float, schedule: Any
) -> dict[str, Floats]:
    """Move of the end point per unit of relative error in each term at ``RESPONSE_STEPS`` steps, ``(B,)`` each; "floor" is what the measurement cannot see."""
    h = horizon / RESPONSE_STEPS
    ensemble = prepare(optimizer, loss, theta0, h, RESPONSE_STEPS, schedule, "cpu")
    base = measure(ensemble, RESPONSE_STEPS, STATEMENT)
    found = {}
    for term in TERMS:
        size = _SMALL if term in _LEADING else 1.0
        factor: dict[str, Any] = {term: 1.0 - size}
        moved = measure(ensemble, RESPONSE_STEPS, Variant(**factor), check=False)
        found[term] = np.linalg.norm(moved.difference - base.difference, axis=1) / size
    found["floor"] = base.solver
    return found


def resolution(
    response: dict[str, Floats], h: Floats, error: Floats, horizon: float
) -> dict[str, Floats]:
    """Smallest relative error of each term that bends the finest slope of each problem by twice the tolerance.

    Parameters
    ----------
    response : dict
        From :func:`responses`.
    h, error : (B, H) float64
        The sweep.
    horizon : float

    Returns
    -------
    dict of (B,) float64
        NaN where the term has no visible effect on that problem.
    """
    finest = np.argmin(h, axis=1)
    rows = np.arange(len(h))
    smallest, last = h[rows, finest], error[rows, finest]
    scale = smallest / (horizon / RESPONSE_STEPS)
    found = {}
    for term in TERMS:
        effect = response[term] * (1.0 if term in _LEADING else scale)
        with np.errstate(divide="ignore", invalid="ignore"):
            delta = 2.0 * DELTA * last / effect
        found[term] = np.where(response[term] > 10.0 * response["floor"], delta, np.nan)
    return found


def pooled(per_problem: list[dict[str, Floats]]) -> dict[str, float]:
    """For each term the relative error that would be caught on 95 % of the problems where the term is visible."""
    result = {}
    for term in TERMS:
        values = (
            np.concatenate([found[term] for found in per_problem]) if per_problem else np.empty(0)
        )
        visible = values[np.isfinite(values)]
        if len(visible):
            result[term] = float(np.quantile(visible, SHARE))
    return result
