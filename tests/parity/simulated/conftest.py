"""These tests run where Numba's CUDA simulator is on, which is decided when Numba is imported: ``tests/parity/test_simulator.py`` starts a process for them."""

from __future__ import annotations

import pytest
from numba import config

collect_ignore_glob = [] if config.ENABLE_CUDASIM else ["test_*.py"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads a block: all cases have an odd number of lanes, so that the last block is part-filled."""
    monkeypatch.setenv("STEPBIAS_CUDA_BLOCK", "2")
