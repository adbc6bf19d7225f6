"""A campaign on the device: the units, the store and the report of one small claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stepbias.verify import memory_cells
from stepbias.verify.runner import run_claims
from tests.verify.campaign import use_tiny

CLAIM, RULE = "adam-inside/bilinear", "adamw/full-batch"


def test_a_campaign_says_on_the_device_what_it_says_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_tiny(monkeypatch, steps=(4, 8, 16, 32), problems_per_cell=2, betas=(0.5,))
    there = run_claims(CLAIM, device="cuda", out=tmp_path)
    here = run_claims(CLAIM, out=tmp_path)
    assert there.meta["device"] == "cuda (CUDA simulator)"
    assert here.meta["device"] == "cpu"
    # units of one device are not taken for those of the other
    assert len(list((tmp_path / "units").iterdir())) == 2
    device, cpu = there.rows[0], here.rows[0]
    assert device.problems == cpu.problems > 0
    assert (device.verdict, device.counts) == (cpu.verdict, cpu.counts)
    # 32 steps of rounding, amplified by less than 1e4 (1/sqrt(epsilon) = 100, twice)
    np.testing.assert_allclose(device.error, cpu.error, rtol=1e-10)


def test_a_campaign_of_an_optimizer_given_by_its_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the cells of the claim to its verdict; sums in another order leave another rounding, or the device was not used."""
    monkeypatch.setitem(memory_cells._SIZES, "quick", (1, 1, (4, 8, 16)))
    monkeypatch.setattr(memory_cells, "_UNRESOLVED", (2, 4))
    device, cpu = (run_claims(RULE, device=name).rows[0] for name in ("cuda", "cpu"))
    assert device.problems == cpu.problems > 0
    assert (device.verdict, device.counts) == (cpu.verdict, cpu.counts)
    np.testing.assert_allclose(device.error, cpu.error, rtol=1e-9)
    assert np.any(np.asarray(device.error) != np.asarray(cpu.error))
