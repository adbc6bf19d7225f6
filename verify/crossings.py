"""Does a path cross what a dropped assumption is about, once, in its middle and cleanly? Looked up along coarse iterates.

A *signal* is what changes sign on the crossing: the components of the full-batch gradient, or the argument of a kinked unit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.kernels.trajectories import iterate

Floats = NDArray[np.float64]

# Crossings count between these shares of the path: before, the memory is still filling, and after, too little path is left to show the error.
EARLIEST, LATEST = 0.2, 0.7
# |signal| at both ends, and of the components that do not change sign everywhere; as for the theorems, see `stepbias.verify.problems.SMALLEST_ROOT`.
SMALLEST = 0.05
# Least |d signal / dt| on the crossing: slow ones are grazing, their layer is as long as the path.
SLOWEST = 0.5
# The field's O(h) term may hold the flow on such a crossing, see `stepbias.theory.dropped_claims`.
HELD = "the second derivative in the component that changes sign is not positive"


def gradient_signal(loss: Loss, path: Floats) -> Floats:
    """Gradient of batch 0 along paths (B, S + 1, p), of the same shape."""
    return np.stack([loss.gradient(0, path[:, k]) for k in range(path.shape[1])], axis=1)


def kink_signal(loss: Any, path: Floats) -> Floats:
    """Argument of the last unit along paths (B, S + 1, p), (B, S + 1, 1).

    ``loss`` is a selection from an ensemble of a kinked family, whose kinked unit comes last.
    """
    chosen = loss.source
    offset, _, weight = chosen.source.draw(chosen.indices)
    return (np.einsum("bnp,pb->bn", path, weight[:, -1]) + offset[-1][:, None])[:, :, None]


def reasons(signal: Floats, horizon: float, smallest: float = SMALLEST) -> list[str]:
    """Why each path is not admissible, empty where it is.

    Parameters
    ----------
    signal : (B, S + 1, J) float64
        At equidistant looks over the horizon.
    horizon : float
    smallest : float
        For what has to stay away from 0.
    """
    looks = signal.shape[1] - 1
    changes = np.signbit(signal[:, 1:]) != np.signbit(signal[:, :-1])
    found = []
    for row, change in zip(signal, changes, strict=True):
        where = np.argwhere(change)
        if len(where) != 1:
            found.append("no change of sign" if len(where) == 0 else "more than one change of sign")
            continue
        k, j = (int(x) for x in where[0])
        speed = abs(row[k + 1, j] - row[k, j]) * looks / horizon
        others = np.abs(np.delete(row, j, axis=1))
        if not EARLIEST * looks <= k < LATEST * looks:
            found.append("changes sign too near an end of the path")
        elif speed < SLOWEST:
            found.append(f"changes sign more slowly than {SLOWEST:g}")
        elif min(abs(row[0, j]), abs(row[-1, j]), *others.min(axis=0)) < smallest:
            found.append(f"comes below {smallest:g} elsewhere")
        else:
            found.append("")
    return found


def own_curvature(loss: Loss, path: Floats, signal: Floats) -> Floats:
    """Second derivative E_jj in the gradient component j that changes sign first, on this crossing; (B,), NaN where none does.

    Parameters
    ----------
    loss : Loss
    path : (B, S + 1, p) float64
    signal : (B, S + 1, p) float64
        :func:`gradient_signal` of the path.
    """
    changes = np.signbit(signal[:, 1:]) != np.signbit(signal[:, :-1])
    rows = np.arange(len(path))
    look, component = np.unravel_index(
        changes.reshape(len(path), -1).argmax(axis=1), changes.shape[1:]
    )
    hessian = loss.hessian(0, path[rows, look])
    return np.where(changes.any(axis=(1, 2)), hessian[rows, component, component], np.nan)


def survey_crossings(
    optimizer: Any,
    loss: Loss,
    theta0: Floats,
    horizon: float,
    steps: int,
    kinked: bool,
    smallest: float = SMALLEST,
    convex: bool = False,
) -> list[str]:
    """:func:`reasons` of every problem, full batch, from ``steps`` coarse steps; ``convex``: the component that changes sign has E_jj > 0 there."""
    path = iterate(optimizer, loss, theta0, horizon / steps, steps)
    signal = (kink_signal if kinked else gradient_signal)(loss, path)
    found = reasons(signal, horizon, smallest)
    if convex:
        bent = own_curvature(loss, path, signal)
        found = [x or ("" if c > 0.0 else HELD) for x, c in zip(found, bent, strict=True)]
    return found
