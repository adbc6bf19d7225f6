"""Everything that is measured on a GPU, in one command: parity with the CPU first, then rates of the device, then our kernels against them and against peers.

    python bench/gpu.py [--out bench/results/gpu-YYYY-MM-DD.json] [--toy]

Under ten minutes on one card of the class of an H200. ``--toy`` runs all of it at toy sizes in Numba's simulator (NUMBA_ENABLE_CUDASIM=1): its times mean
nothing. The record is written after every section. Exit status: 0; 1 if a comparison with the CPU failed or a section broke off; 2 where no kernel can run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.gpu_clock import Clock, said  # noqa: E402
from stepbias.kernels.gpu import device  # noqa: E402
from stepbias.verify import store  # noqa: E402

SECONDS = 540.0  # a section that would go beyond leaves sizes out and says so
_PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "numba-cuda",
    "llvmlite",
    "cupy-cuda13x",
    "cuda-toolkit",
    "cuda-core",
    "jax",
    "jaxlib",
)


def versions() -> dict[str, str]:
    """Installed versions of what is timed."""
    found = {"python": sys.version.split()[0]}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _driver() -> str:
    """Version of NVIDIA's driver, as its own tool gives it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "unknown: no nvidia-smi"
    command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown: {said(error)}"
    return done.stdout.splitlines()[0].strip() if done.stdout.strip() else "unknown"


def machine() -> dict[str, Any]:
    """The device and what it runs with."""
    found: dict[str, Any] = {"device": device.name()}
    if device.simulated():
        return found
    from cupy.cuda import runtime

    properties = runtime.getDeviceProperties(0)
    return found | {
        "driver": _driver(),
        "driver_cuda": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory_bytes": properties["totalGlobalMem"],
        "threads_per_block": device.threads_per_block(),
    }


def source_hash() -> str:
    """Of everything that is timed; unlike the package's own hash it covers ``kernels/gpu`` and the benchmarks."""
    digest = hashlib.sha256()
    for folder in ("theory", "kernels", "verify", "bench"):
        for path in sorted((HERE.parent / folder).rglob("*.py")):
            digest.update(str(path.relative_to(HERE.parent)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Record:
    """What is found, written to its file after every section."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self._path = path
        self.found: dict[str, Any] = {**head, "sections": {}}
        path.parent.mkdir(parents=True, exist_ok=True)

    def section(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Measure and store; None if that broke off."""
        print(f"{name} ...", flush=True)
        started = time.perf_counter()
        result: dict[str, Any] | None = None
        try:
            result = measure()
            row = dict(result)
        except Exception as error:  # a failed section must not lose the others
            row = {"error": said(error)}
        row = {"seconds": round(time.perf_counter() - started, 3), **row}
        self.found["sections"][name] = row
        self.write()
        print(f"    {row['seconds']:.1f} s{'' if result is not None else ', ' + row['error']}")
        return result

    def write(self) -> None:
        """Replace the file."""
        self._path.write_text(json.dumps(self.found, indent=1) + "\n")

    @property
    def broken(self) -> list[str]:
        """Sections that broke off."""
        return [name for name, row in self.found["sections"].items() if "error" in row]


def failures(found: Any, path: str = "") -> list[str]:
    """Where something broke off, however deep in the record."""
    pairs = found.items() if isinstance(found, dict) else enumerate(found)
    said_here = [path] if isinstance(found, dict) and "error" in found else []
    return said_here + [
        place
        for key, value in pairs
        if isinstance(value, dict | list)
        for place in failures(value, f"{path}/{key}")
    ]


def measure(record: Record, toy: bool, clock: Clock) -> bool:
    """All sections in their order; whether parity holds."""

    # Imported one by one: what one of them needs may be missing.
    def parity() -> dict[str, Any]:
        from bench import gpu_parity

        return gpu_parity.parity(toy)

    def ceilings() -> dict[str, Any]:
        from bench import gpu_ceilings

        return gpu_ceilings.ceilings(toy)

    def memory_sums() -> dict[str, Any]:
        from bench import gpu_sums

        return gpu_sums.memory_sums(toy, clock, rates)

    def ensembles() -> dict[str, Any]:
        from bench import gpu_ensemble

        return gpu_ensemble.ensembles(toy, clock)

    def small_equations() -> dict[str, Any]:
        from bench import gpu_lorenz

        return gpu_lorenz.small_equations(toy, clock, rates)

    def rules() -> dict[str, Any]:
        from bench import gpu_rules

        return gpu_rules.rules(toy, clock)

    same = record.section("parity", parity)
    rates = record.section("ceilings", ceilings)
    record.section("memory sums", memory_sums)
    record.section("ensembles", ensembles)
    record.section("small equations", small_equations)
    traced = record.section("rules", rules)
    return all(found is not None and bool(found["agree"]) for found in (same, traced))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    today = datetime.now(UTC).date().isoformat()
    parser.add_argument("--out", type=Path, default=HERE / "results" / f"gpu-{today}.json")
    parser.add_argument("--toy", action="store_true", help="toy sizes, for Numba's simulator")
    options = parser.parse_args()
    if reason := device.why_not():
        print(reason, file=sys.stderr)
        return 2
    if device.simulated() and not options.toy:
        print("Numba's simulator is switched on: only --toy makes sense there", file=sys.stderr)
        return 2
    if device.simulated():
        # a thread that has nothing to do costs the simulator as much as another
        os.environ.setdefault("STEPBIAS_CUDA_BLOCK", "2")
    started = time.perf_counter()
    before = source_hash()
    head = {
        "date": today,
        "command": "python bench/gpu.py" + (" --toy" if options.toy else ""),
        "machine": machine(),
        "versions": versions(),
        "source": before,
        "package": store.source_hash(),
    }
    record = Record(options.out, head)
    agree = measure(record, options.toy, Clock(SECONDS))
    record.found["seconds"] = round(time.perf_counter() - started, 3)
    record.found["parity"] = agree
    record.found["failures"] = failures(record.found["sections"])
    if (after := source_hash()) != before:
        record.found["source"] = [before, after]
        print("the sources changed during the run: make the record again")
    record.write()
    if not agree:
        print("device and CPU disagree: see the section parity")
    for place in record.found["failures"]:
        print(f"broke off: {place}")
    print(f"written to {options.out}")
    return 0 if agree and not record.broken else 1


if __name__ == "__main__":
    sys.exit(main())
