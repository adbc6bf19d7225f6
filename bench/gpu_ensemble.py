"""Errors of up to a million random sinusoid problems: our kernel on the device, JAX on the same device, our kernel on the CPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

import stepbias as sb
from bench.cases import BETA, EPS_ROOT, RHO, EnsembleCase, ensemble_case
from bench.gpu_clock import Clock, said, timed
from stepbias.kernels.blocks import prepare
from stepbias.kernels.gpu import device, layout
from stepbias.kernels.gpu.trajectory import lockstep_kernel
from stepbias.kernels.measure import Method
from stepbias.kernels.trajectory import CLASSICAL
from stepbias.theory.variants import STATEMENT

_SIZES = (10**3, 10**4, 10**5, 10**6)
_ON_CPU = 10**4  # problems that the CPU is asked for at most
_JAX_FORMS = ("jax jit vmap, scan", "jax jit vmap, dense weights")
# Errors of up to 0.3, summed in another order along 256 steps; the bench of the CPU allows the same on 256 problems. Of a million some amplify rounding more.
_DIFFERENCE = 1e-11


def _adam() -> sb.Adam:
    return sb.Adam(beta=BETA, rho=RHO, eps=0.0, eps_root=EPS_ROOT)


def _call(case: EnsembleCase, where: str) -> Callable[[], Any]:
    """The public function as a user calls it: arguments checked, data packed, results on the host."""
    loss = sb.Loss.sinusoids(case.amplitude, case.frequency, case.phase)

    def call() -> Any:
        return sb.global_error(
            _adam(), loss, case.theta0, case.h, case.steps, substeps=1, device=where
        )

    return call


def kernel_alone(case: EnsembleCase, seconds: float) -> dict[str, Any]:
    """The launch alone, data on the device before and results left there: what JAX's time is too.

    An ensemble that does not fit at once is several launches, whose least times are added.
    """
    loss = sb.Loss.sinusoids(case.amplitude, case.frequency, case.phase)
    ensemble = prepare(_adam(), loss, case.theta0, case.h, case.steps, None, "cuda")
    method = Method(CLASSICAL, 1, CLASSICAL, 1)
    launch = layout.plan(ensemble, ensemble.h[None], [case.steps], [method], STATEMENT)
    factors = device.upload(STATEMENT.factors)
    parts: dict[int, dict[str, Any]] = {}

    def work(block: layout.Block) -> None:
        kernel = lockstep_kernel(block.oracle, block.batches)
        watch = block.watch()

        def once() -> None:
            # what a run leaves in the low parts and moments changes the next one's numbers, not its time
            block.launch(
                kernel, False, False, False, factors,
                block.theta0, block.data, block.extra, block.state, watch,
            )  # fmt: skip
            device.synchronize()

        parts[block.lanes.start] = timed(once, seconds)

    layout.blocks(ensemble, launch, 0, work)
    return {
        "seconds": sum(part["seconds"] for part in parts.values()),
        "median": sum(part["median"] for part in parts.values()),
        "repeats": min(part["repeats"] for part in parts.values()),
        "launches": len(parts),
    }


def _with_result(
    call: Callable[[], Any], seconds: float, *, warm: bool
) -> tuple[dict[str, Any], Any]:
    """Times of a call, and what it returned last."""
    last: Any = None

    def keep() -> None:
        nonlocal last
        last = call()

    return timed(keep, seconds, warm=warm), last


def _jax_forms() -> dict[str, Any]:
    """Forms by name; raises, with the reason, where JAX is not there or has no GPU."""
    # JAX would take three quarters of the device's memory at its first use
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # this sets options of JAX, which takes none after it was asked for its devices
    from bench.peers_jax_vmap import ENSEMBLE_FORMS  # isort: skip
    import jax

    platforms = {one.platform for one in jax.devices()}
    if "gpu" not in platforms:
        raise RuntimeError(f"JAX has no GPU, its devices are: {', '.join(sorted(platforms))}")
    return {name: ENSEMBLE_FORMS[name] for name in _JAX_FORMS}


def _guarded(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """One measurement; an error must not lose the others."""
    try:
        return measure()
    except Exception as error:  # out of memory, a compiler's refusal: recorded
        return {"error": said(error)}
    finally:
        device.release()


def _difference(found: Any, expected: Any) -> dict[str, Any]:
    """How far two results are apart."""
    gap = np.abs(np.asarray(found) - np.asarray(expected))
    return {
        "largest_difference": float(gap.max()),
        f"problems_beyond_{_DIFFERENCE:g}": int(np.sum(~(gap <= _DIFFERENCE))),
    }


class _Size:
    """One ensemble and what was measured on it."""

    def __init__(self, problems: int, steps: int) -> None:
        self.case = ensemble_case(problems=problems, steps=steps)
        self.row: dict[str, Any] = {"problems": problems, "pairs": self.case.work}
        self.errors: Any = None

    def measure_ours(self) -> None:
        def call() -> dict[str, Any]:
            found, self.errors = _with_result(_call(self.case, "cuda"), 2.0, warm=True)
            return found

        # the kernel alone comes first: it is compiled then, and a call on a million problems takes too long to be made for nothing
        self.row["device, kernel"] = _guarded(lambda: kernel_alone(self.case, 2.0))
        self.row["device, call"] = _guarded(call)

    def measure_cpu(self) -> None:
        def call() -> dict[str, Any]:
            found, errors = _with_result(_call(self.case, "cpu"), 1.0, warm=False)
            return found if self.errors is None else found | _difference(self.errors, errors)

        self.row["cpu, call"] = _guarded(call)

    def measure_jax(self, name: str, build: Any) -> float:
        """Seconds of one call, infinite where it failed."""

        def call() -> dict[str, Any]:
            found, errors = _with_result(build(self.case), 2.0, warm=False)
            return found if self.errors is None else found | _difference(errors, self.errors)

        self.row[name] = row = _guarded(call)
        return float(row.get("seconds", np.inf))


def _with_jax(sizes: list[_Size], clock: Clock) -> dict[str, Any]:
    """JAX on every size that the time left allows; a size takes up to ten times the one before, and is called twice at least."""
    try:
        forms = _jax_forms()
    except Exception as error:  # not installed, no GPU, or a driver it does not like
        return {"absent": said(error)}
    for name, build in forms.items():
        last = 0.0
        for size in sizes:
            if not np.isfinite(last):
                size.row[name] = {"absent": "the smaller ensemble failed"}
            elif clock.left() < 30.0 + 20.0 * last:
                size.row[name] = {"absent": f"no time left after {last:.2g} s for a tenth"}
            else:
                last = size.measure_jax(name, build)
    return {"present": sorted(forms)}


def ensembles(toy: bool, clock: Clock) -> dict[str, Any]:
    """Section (c): ours on the device first, then the CPU, then JAX."""
    steps, counts = (4, (3, 5)) if toy else (256, _SIZES)
    sizes: list[_Size] = []
    for count in counts:
        if clock.left() < 60.0 and not toy:
            break
        size = _Size(count, steps)
        sizes.append(size)
        size.measure_ours()
        if count <= _ON_CPU:
            size.measure_cpu()
    return {
        "steps": steps,
        "adam": {"beta": BETA, "rho": RHO, "eps_root": EPS_ROOT},
        "jax": _with_jax(sizes, clock),
        "sizes": [size.row for size in sizes],
        "not reached": list(counts[len(sizes) :]),
    }
