"""Errors of 256 random sinusoid problems over 256 steps of Adam: stepbias, NumPy and JAX.

python -m pytest bench/test_ensemble.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.cases import EnsembleCase
from bench.conftest import forms

# Errors are between 1e-3 and 0.3 and lose about two digits to the growth of rounding along the trajectories.
TOLERANCE = 1e-11


@pytest.mark.filterwarnings("ignore:First-class function type feature")  # Numba, on our losses
@pytest.mark.benchmark(group="ensemble")
@pytest.mark.parametrize(
    "build",
    forms("ENSEMBLE_FORMS", ("ours", "peers_numpy", "peers_jax_vmap", "peers_jax_ensemble")),
)
def test_ensemble(
    build: Callable[[EnsembleCase], Callable[[], Any]],
    ensemble_case: EnsembleCase,
    ensemble_reference: np.ndarray,
    ensemble_peer: np.ndarray,
    measure: Callable[..., Any],
    benchmark: Any,
    request: pytest.FixtureRequest,
) -> None:
    """Time one form; compare the first problems with extended precision and all with the NumPy peer."""
    result = np.asarray(measure(build(ensemble_case), 7, ensemble_case.work))
    exact = np.abs(result[: len(ensemble_reference)] - ensemble_reference)
    peer = np.abs(result - ensemble_peer)
    benchmark.extra_info |= {
        "form": request.node.callspec.id,
        "difference": float(exact.max()),
        "difference_all": float(peer.max()),
    }
    assert exact.max() < TOLERANCE
    assert peer.max() < TOLERANCE
