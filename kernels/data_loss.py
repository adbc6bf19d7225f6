"""Losses on rows of real data: logistic, least squares, log-cosh."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.ridge_source import SharedRidge, segment_table
from stepbias.theory import activations, checks

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_KINDS = {
    "logistic": activations.SOFTPLUS,
    "least-squares": activations.SQUARE,
    "log-cosh": activations.LOG_COSH,
}


def data_source(model: Any, X: Any, y: Any, batches: Any, l2: Any) -> SharedRidge:
    """Check the arguments of ``Loss.from_data`` and build its source.

    Parameters
    ----------
    model : {"logistic", "least-squares", "log-cosh"}
        Mean over the rows of a batch of log(1 + exp(-s x . theta)) with labels s = -1, 1; (x . theta - y)^2 / 2; log cosh(x . theta - y).
    X : (N, p) array
    y : (N,) array
        Labels 0/1 or -1/1 ("logistic"), or targets.
    batches : int or list of index arrays
        A number m: m runs of consecutive rows whose sizes differ by at most one.
    l2 : float
        Adds l2/2 |theta|^2 to every batch; >= 0.

    Raises
    ------
    ValueError, TypeError
        For anything else; the message names the argument.
    """
    kind = _KINDS[checks.choice("model", model, tuple(_KINDS))]
    rows = checks.real("X", X)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(
            f"X has shape {rows.shape}; accepted: (rows, columns), at least one of each"
        )
    target = checks.real("y", np.asarray(y) * 1 if np.asarray(y).dtype == bool else y)
    if target.shape != (len(rows),):
        raise ValueError(
            f"y has shape {target.shape}; accepted: ({len(rows)},), one value per row of X"
        )
    decay = checks.real("l2", l2)
    if decay.ndim or decay < 0:
        raise ValueError(f"l2 = {l2!r}; accepted: one number >= 0")
    parts = split(batches, len(rows))
    sign = _signs(target) if model == "logistic" else np.ones(len(rows))
    shift = np.zeros(len(rows)) if model == "logistic" else -target
    order = np.concatenate(parts)
    return SharedRidge(
        segments=segment_table([(kind, b, len(part)) for b, part in enumerate(parts)]),
        offset=shift[order],
        amplitude=np.concatenate([np.full(len(part), 1.0 / len(part)) for part in parts]),
        rows=np.ascontiguousarray((sign[:, None] * rows)[order].T),
        batches=len(parts),
        decay=float(decay),
        origin=f"{model} loss on {len(rows)} rows of {rows.shape[1]} columns in {len(parts)} batches, l2 = {float(decay):g}",
    )


def _signs(target: Floats) -> Floats:
    """-1 for the positive class: the loss of a row is softplus(-s x . theta)."""
    values = set(np.unique(target).tolist())
    if not (values <= {0.0, 1.0} or values <= {-1.0, 1.0}):
        shown = ", ".join(f"{v:g}" for v in sorted(values)[:6])
        raise ValueError(
            f"y has the values {shown}; accepted for model 'logistic': 0 and 1, or -1 and 1"
        )
    return np.where(target > 0, -1.0, 1.0)


def split(batches: Any, rows: int) -> list[Integers]:
    """Rows of every batch: equal consecutive runs for a number, else the given index arrays."""
    if isinstance(batches, int | np.integer):
        return list(np.array_split(np.arange(rows), checks.whole("batches", batches, 1, rows)))
    if isinstance(batches, str | float) or not hasattr(batches, "__len__"):
        raise TypeError(
            f"batches = {batches!r}; accepted: a number of batches, or a list of index arrays"
        )
    parts = []
    for b, part in enumerate(batches):
        index = np.asarray(part)
        if index.ndim != 1 or index.size == 0 or index.dtype.kind not in "iu":
            raise ValueError(
                f"batches[{b}] = {checks._short(part)}; accepted: a non-empty one-dimensional integer array"
            )
        if index.min() < 0 or index.max() >= rows:
            raise ValueError(
                f"batches[{b}] has rows from {index.min()} to {index.max()}; accepted: 0 to {rows - 1}"
            )
        parts.append(index.astype(np.int64))
    if not parts:
        raise ValueError("batches is empty; accepted: at least one index array")
    return parts
