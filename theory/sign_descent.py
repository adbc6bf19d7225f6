r"""The flow that Adam and RMSProp follow to first order on the full batch: a sign descent softened by epsilon.

Ma, Wu, E, "A Qualitative Study of the Dynamic Behavior for Adaptive Gradient Algorithms", as quoted by Cattaneo, Klusowski, Shigida, "On the Implicit Bias of
Adam", Section 1: component-wise

.. math:: \dot\theta_j = -\frac{\nabla_j E}{|\nabla_j E| + \varepsilon}.

The text prints the norm of the gradient where its modulus, component by component, is meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Field = Callable[[Floats, Floats], Floats]


def sign_field(gradient: Floats, eps: Floats) -> Floats:
    """-g / (|g| + eps), component by component.

    Parameters
    ----------
    gradient : (B, p) float64
    eps : (B, 1) float64
        > 0.

    Returns
    -------
    (B, p) float64
    """
    return -gradient / (np.abs(gradient) + eps)


def _normalised(gradient: Floats, eps: Floats) -> Floats:
    return -gradient / (np.linalg.norm(gradient, axis=-1, keepdims=True) + eps)


def _inside(gradient: Floats, eps: Floats) -> Floats:
    return -gradient / np.sqrt(gradient**2 + eps)


FIELDS: dict[str, Field] = {
    "": sign_field,
    "norm of the gradient for its modulus": _normalised,
    "epsilon inside the root": _inside,
    "no epsilon": lambda gradient, eps: -np.sign(gradient),
}
"""Fields by name: the statement (""), and wrong variants."""


def reciprocal(square: Any, eps: Any, place: str, sqrt: Callable[[Any], Any] = np.sqrt) -> Any:
    """What a mean square does to a step: 1 / sqrt(x + eps) ("inside") or 1 / (sqrt(x) + eps) ("outside"), in the arithmetic of ``sqrt``.

    Its derivative in x >= 0 is bounded by eps^(-3/2) / 2 inside and unbounded outside (Cattaneo, Klusowski, Shigida, Remark 2.2).
    """
    return 1 / sqrt(square + eps) if place == "inside" else 1 / (sqrt(square) + eps)
