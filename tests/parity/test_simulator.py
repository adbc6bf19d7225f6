"""The GPU kernels in Numba's simulator, in a process of its own: the simulator is switched on when Numba is imported, for all of a process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "simulated"
# Of a surrounding pytest: its options, its workers, its coverage.
_OURS = ("PYTEST_", "COV_", "COVERAGE_", "STEPBIAS_")


def test_kernels_agree_with_the_cpu_and_the_printed_formulas(
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    environment |= {"NUMBA_ENABLE_CUDASIM": "1", "STEPBIAS_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(
        [*command, str(FOLDER.relative_to(ROOT))],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    output = done.stdout + done.stderr
    summary = done.stdout.strip().rsplit("\n", 1)[-1]
    with capsys.disabled():
        sys.stdout.write(f"\nsimulator: {summary}\n")
    if done.returncode:
        pytest.fail(f"tests/parity/simulated failed:\n{output}", pytrace=False)
    passed = re.search(r"\b(\d+) passed", summary)
    # A folder that is not collected, or skipped as a whole, must not pass.
    assert passed is not None, output
    assert int(passed[1]) > 150, summary
    assert "skipped" not in summary, output
