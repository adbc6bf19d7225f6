"""The GPU benchmarks: all of it at toy sizes in Numba's simulator, and what the script does when something fails."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepbias.kernels.gpu import device

SCRIPT = Path(__file__).resolve().parents[1] / "bench" / "gpu.py"
SECTIONS = ["parity", "ceilings", "memory sums", "ensembles", "small equations", "rules"]


def run_script(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script in a process of its own: the simulator is chosen when Numba is imported."""
    kept = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a toy run writes; half a minute, and nothing else of this file takes long."""
    out = tmp_path_factory.mktemp("bench") / "new" / "gpu.json"
    done = run_script("--toy", "--out", str(out), NUMBA_ENABLE_CUDASIM="1", JAX_PLATFORMS="cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_a_toy_run_has_all_sections_and_loses_none(record: dict[str, Any]) -> None:
    assert list(record["sections"]) == SECTIONS
    assert record["failures"] == []
    assert all(section["seconds"] >= 0.0 for section in record["sections"].values())
    assert record["machine"]["device"] == "CUDA simulator"
    assert isinstance(record["source"], str)


def test_the_simulator_agrees_with_the_cpu(record: dict[str, Any]) -> None:
    assert record["parity"] is True
    losses = record["sections"]["parity"]["ensembles"]["losses"]
    assert {"sinusoid, inside", "bilinear, outside", "symbolic, inside"} <= set(losses)
    differences = [row["differences"] for row in losses.values()]
    # a comparison of the CPU with itself would find none at all
    assert max(max(row.values()) for row in differences) > 0.0
    sizes = record["sections"]["ensembles"]["sizes"]
    assert [row["cpu, call"]["problems_beyond_1e-11"] for row in sizes] == [0, 0]


def test_rules_agree_and_are_timed(record: dict[str, Any]) -> None:
    rows = record["sections"]["rules"]["rules"]
    assert set(rows) == {"AdamW", "Lion", "AdaBelief"}
    for row in rows.values():
        assert 0.0 < max(row["differences"].values()) <= 1.0
        assert row["sizes"][0]["device, call"]["seconds"] > 0.0


def test_what_needs_a_gpu_says_so(record: dict[str, Any]) -> None:
    sections = record["sections"]
    assert "CuPy" in sections["ceilings"]["copy"]["absent"]
    assert "absent" in sections["ensembles"]["jax"]
    assert "absent" in sections["parity"]["verdicts"]


def test_the_precisions_integrate_the_same_equation(record: dict[str, Any]) -> None:
    section = record["sections"]["small equations"]
    single, double = (np.array(section[name][-1]["first_end"]) for name in ("fp32", "fp64"))
    # ten steps, each with one rounding at the size of the state
    assert 0.0 < np.abs(single - double).max() < 10 * 2.0**-24 * np.abs(double).max()


def test_without_a_device_the_script_ends_at_once() -> None:
    done = run_script(CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert "NUMBA_ENABLE_CUDASIM=1" in done.stderr
    assert "Traceback" not in done.stderr


# what fails ---------------------------------------------------------------------------------------


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("bench_gpu_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _broken() -> dict[str, Any]:
    raise RuntimeError("no\nroom")


def test_a_broken_section_leaves_the_others(script: Any, tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    record = script.Record(out, {"date": "today"})
    assert record.section("first", _broken) is None
    assert json.loads(out.read_text())["sections"]["first"]["error"] == "RuntimeError: no room"
    assert record.section("second", lambda: {"rows": [{"error": "?"}]}) is not None
    found = json.loads(out.read_text())
    assert list(found["sections"]) == ["first", "second"]
    assert record.broken == ["first"]
    assert script.failures(found["sections"]) == ["/first", "/second/rows/0"]


@pytest.mark.parametrize(("agree", "broken", "status"), [(1, 0, 0), (0, 0, 1), (1, 1, 1)])
def test_exit_status(
    agree: int,
    broken: int,
    status: int,
    script: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measure(record: Any, toy: bool, clock: Any) -> bool:
        if broken:
            record.section("ceilings", _broken)
        return bool(agree)

    monkeypatch.setenv("STEPBIAS_CUDA_BLOCK", "2")
    monkeypatch.setattr(device, "simulated", lambda: True)
    monkeypatch.setattr(script, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--toy", "--out", str(tmp_path / "gpu.json")])
    assert script.main() == status
    assert json.loads((tmp_path / "gpu.json").read_text())["parity"] is bool(agree)
