"""Run the benchmark suites several times and write the minima, the ratios and the accuracy to bench/results.

    python bench/record.py [--passes 3] [--out bench/results/cpu-YYYY-MM-DD.json]

Every pass is a fresh process that times all forms of both sides one after the other; the minimum over the passes is
what a form needs when nothing else runs on the machine. The load before each pass is recorded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SUITES = ("test_memory_sums.py", "test_ensemble.py")
PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "jax", "jaxlib", "pytest-benchmark")


def machine() -> dict[str, Any]:
    """CPU model, cores and caches as far as the system tells."""
    found: dict[str, Any] = {"architecture": platform.machine(), "system": platform.platform()}
    try:
        info = Path("/proc/cpuinfo").read_text()
        models = [
            line.split(":", 1)[1].strip() for line in info.splitlines() if "model name" in line
        ]
        found["cpu"] = models[0] if models else platform.processor()
        found["avx512"] = "avx512f" in info
    except OSError:
        found["cpu"] = platform.processor()
    found["cores"] = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    caches = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((folder / n).read_text().strip() for n in ("level", "type", "size"))
        caches[f"L{level} {kind.lower()}"] = size
    found["caches"] = caches or "not readable"
    return found


def versions() -> dict[str, str]:
    """Installed versions of what is timed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def source_hash() -> str:
    """Of everything that is timed: a pass on other sources must not be combined with the rest."""
    digest = hashlib.sha256()
    for folder in (HERE.parent / name for name in ("theory", "kernels", "bench")):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def run_pass(folder: Path, number: int) -> list[dict[str, Any]]:
    """One pass of all suites in a fresh process; its benchmarks as pytest-benchmark stores them."""
    stored = folder / f"pass-{number}.json"
    command = [sys.executable, "-m", "pytest", "-q", *(str(HERE / s) for s in SUITES)]
    command += ["--benchmark-columns=min,median", f"--benchmark-json={stored}"]
    subprocess.run(command, cwd=HERE.parent, check=True)
    return json.loads(stored.read_text())["benchmarks"]


def run_duel(seconds: float, devices: int = 2) -> dict[str, Any]:
    """stepbias against its fastest peers in turn (see ``duel.py``), in a fresh process; one device is JAX as it comes."""
    command = [sys.executable, str(HERE / "duel.py"), "--seconds", str(seconds)]
    environment = {**os.environ, "STEPBIAS_BENCH_DEVICES": str(devices)}
    done = subprocess.run(
        command, cwd=HERE.parent, check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    return json.loads(done.stdout)


def combine(passes: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Per computation and form: seconds, nanoseconds per (step, component), ratio, differences."""
    groups: dict[str, dict[str, Any]] = {}
    for bench in (b for one in passes for b in one):
        extra = bench["extra_info"]
        form = groups.setdefault(bench["group"], {}).setdefault(
            extra["form"], {"seconds": float("inf"), "median": float("inf")}
        )
        form["seconds"] = min(form["seconds"], bench["stats"]["min"])
        form["median"] = min(form["median"], bench["stats"]["median"])
        form["nanoseconds_per_work"] = 1e9 * form["seconds"] / extra["work"]
        form |= {k: v for k, v in extra.items() if k.startswith("difference")}
    for forms in groups.values():
        ours = forms.get("stepbias", {}).get("seconds")
        for form in forms.values():
            form["ratio_to_stepbias"] = form["seconds"] / ours if ours else None
    return {
        group: dict(sorted(f.items(), key=lambda i: i[1]["seconds"])) for group, f in groups.items()
    }


def best_peers(groups: dict[str, Any]) -> dict[str, Any]:
    """The fastest form of every computation per library, and of the forms that the goals are stated against."""
    best: dict[str, Any] = {}
    for group, forms in groups.items():
        for library in ("numpy", "jax", "jax jit vmap", "jax loop"):
            rows = {k: v for k, v in forms.items() if k.startswith(library)}
            if rows:
                name = min(rows, key=lambda k: rows[k]["seconds"])
                best[f"{group}, {library}"] = {
                    "form": name,
                    "seconds": rows[name]["seconds"],
                    "ratio_to_stepbias": rows[name]["ratio_to_stepbias"],
                }
    return best


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    today = datetime.now(UTC).date().isoformat()
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the duel, per computation")
    parser.add_argument("--out", type=Path, default=HERE / "results" / f"cpu-{today}.json")
    options = parser.parse_args()
    passes, loads, sources = [], [], [source_hash()]
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.passes):
            loads.append(os.getloadavg()[0])
            passes.append(run_pass(Path(folder), number))
            sources.append(source_hash())
            time.sleep(1.0)
    in_turn, one_device = run_duel(options.seconds), run_duel(options.seconds, devices=1)
    sources.append(source_hash())
    groups = combine(passes)
    record = {
        "date": today,
        "command": f"python bench/record.py --passes {options.passes}",
        "machine": machine(),
        "versions": versions(),
        "load_before_each_pass": loads,
        "source": sources[0] if len(set(sources)) == 1 else sources,
        "in_turn": in_turn,
        "in_turn_jax_one_device": one_device,
        "best_peers": best_peers(groups),
        "groups": groups,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=2) + "\n")
    for name, row in record["best_peers"].items():
        ratio = row["ratio_to_stepbias"]
        text = f"{ratio:.2f} x stepbias" if ratio else "stepbias was not measured"
        print(f"{name}: {1e3 * row['seconds']:.2f} ms, {text} ({row['form']})")
    if len(set(sources)) > 1:
        print("the sources changed between passes: these minima mix versions, run it again")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
