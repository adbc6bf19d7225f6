"""Memory sums at one theta, m = 4 batches, P = 4096 components, n = 512 steps: stepbias, NumPy and JAX.

python -m pytest bench/test_memory_sums.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.cases import SumsCase
from bench.conftest import forms
from bench.peers_numpy import Sums

# Largest entry of the results is about 20; the prefix forms lose a factor n (1 - beta) to cancellation.
TOLERANCE = 1e-12


@pytest.mark.benchmark(group="memory sums")
@pytest.mark.parametrize("build", forms("SUMS_FORMS", ("ours", "peers_numpy", "peers_jax")))
def test_memory_sums(
    build: Callable[[SumsCase], Callable[[], Any]],
    sums_case: SumsCase,
    sums_reference: Sums,
    measure: Callable[..., Any],
    benchmark: Any,
    request: pytest.FixtureRequest,
) -> None:
    """Time one form and compare every entry with extended precision."""
    work = (sums_case.step + 1) * sums_case.gradients.shape[1]
    result = measure(build(sums_case), 30, work)
    difference = max(
        float(np.abs(np.asarray(part) - exact).max())
        for part, exact in zip(result, sums_reference, strict=True)
    )
    benchmark.extra_info |= {"form": request.node.callspec.id, "difference": difference}
    assert difference < TOLERANCE
