"""The data of one problem of a loss, as plain lists: what :mod:`stepbias.theory.plain_losses` computes from and certificates store."""

from __future__ import annotations

from typing import Any

import numpy as np

from stepbias.kernels.bilinear import BilinearSource
from stepbias.kernels.loss import Loss
from stepbias.kernels.ridge_source import RidgeSource
from stepbias.kernels.selection import SelectedSource
from stepbias.kernels.softmax_loss import RandomSoftmax
from stepbias.kernels.symbolic_loss import SymbolicSource
from stepbias.kernels.tanh_network import RandomTanhNetwork
from stepbias.theory import activations
from stepbias.theory.plain_losses import FORMULAS, SLOPES


def loss_data(loss: Loss, problem: int = 0) -> dict[str, Any] | None:
    """Formula and numbers of one problem.

    Parameters
    ----------
    loss : Loss
    problem : int
        Which of an ensemble; a single loss is problem 0.

    Returns
    -------
    dict
        "kind", "formula" and the arrays as nested lists of floats, which :func:`stepbias.theory.plain_losses.plain_loss` and JSON both take. None for a
        loss that is known by compiled functions alone (:meth:`Loss.from_functions`), or whose activation has no plain formula.
    """
    data = _data(loss.source, problem)
    if data is None:
        return None
    return {"kind": data["kind"], "formula": FORMULAS[data["kind"]], **data}


def _data(source: Any, problem: int) -> dict[str, Any] | None:
    index = np.array([problem], dtype=np.int64)
    if isinstance(source, SelectedSource):
        return _data(source.source, int(np.atleast_1d(source.indices)[problem]))
    if isinstance(source, RidgeSource):
        return _ridge(source, index)
    if isinstance(source, RandomSoftmax):
        weight, offset, amplitude = (part[..., 0].tolist() for part in source.draw(index))
        return {"kind": "log-sum-exp", "weight": weight, "offset": offset, "amplitude": amplitude}
    if isinstance(source, RandomTanhNetwork):
        x, y = (part[..., 0].tolist() for part in source.draw(index))
        return {"kind": "tanh-network", "dim": source.dim, "x": x, "y": y}
    if isinstance(source, BilinearSource):
        return {"kind": "bilinear", "x": source.x, "y": source.y}
    if isinstance(source, SymbolicSource):
        return {"kind": "symbolic", "expressions": source.texts, "symbols": source.names}
    return None


def _ridge(source: RidgeSource, index: Any) -> dict[str, Any] | None:
    offset, amplitude, weight = (part[..., 0].tolist() for part in source.draw(index))
    names = activations.NAMES
    segments = [[names[kind], *map(int, rest)] for kind, *rest in source.segments]
    if any(segment[0] not in SLOPES for segment in segments):
        return None
    return {
        "kind": "ridge",
        "batches": source.batches,
        "segments": segments,
        "offset": offset,
        "amplitude": amplitude,
        "weight": weight,
        "decay": source.decay,
    }
