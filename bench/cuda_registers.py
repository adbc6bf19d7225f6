"""Compile every CUDA kernel without a GPU, and print what each takes: registers, local memory, spills, shared memory.

    python bench/cuda_registers.py [--write]

For sm_80 and sm_90, with numba-cuda, NVVM and nvJitLink (`pip install 'stepbias[cuda]'`); no driver is needed. What is found is compared with the budget in
bench/results/cuda-registers.json: the exit status is 1 if a kernel takes more registers than allowed, or spills, or is not in the budget. ``--write`` replaces
the budget by what was found plus a tenth.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, types

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import stepbias as sb  # noqa: E402
from bench import lorenz  # noqa: E402
from bench.rules import RULES as TRACED  # noqa: E402
from stepbias.kernels.gpu import point, state, trajectory  # noqa: E402
from stepbias.kernels.gpu.dense import DenseState, DenseTables  # noqa: E402
from stepbias.kernels.gpu.grouped import GroupedState, GroupedTables  # noqa: E402
from stepbias.kernels.gpu.integrate import fixed_step_kernel  # noqa: E402
from stepbias.kernels.gpu.losses import device_loss  # noqa: E402
from stepbias.kernels.gpu.oracle import Data  # noqa: E402
from stepbias.kernels.gpu.sums import Tables  # noqa: E402
from stepbias.kernels.gpu.traced import traced_family  # noqa: E402
from stepbias.kernels.trajectory import CLASSICAL  # noqa: E402

BUDGET = HERE / "results" / "cuda-registers.json"
ARCHITECTURES = ((8, 0), (9, 0))
BATCHES = (1, 4)
# Other compilers number registers a little differently; a real change of a kernel takes more than this.
_SLACK = 1.1

_VECTOR = types.float64[::1]
_INDICES = types.int64[::1]
_REAL, _INDEX, _FLAG = types.float64, types.int64, types.boolean


class Found(NamedTuple):
    """Resources of one kernel on one architecture; bytes but for the registers."""

    registers: int
    stack: int
    spills: int
    shared: int
    seconds: float


def _tuple(kind: Any, *integers: str) -> Any:
    fields = (_INDICES if name in integers else _VECTOR for name in kind._fields)
    return types.NamedTuple(tuple(fields), kind)


RULES = _tuple(Tables, "window", "settled", "last", "start", "power", "batch")
GROUPS = _tuple(state.Groups, "steps", "rule", "flow_rule", "substeps", "stages")
LANES = _tuple(state.Lanes, "group")
DATA = _tuple(Data, "ints")
STATE = _tuple(state.State)
WATCH = _tuple(state.Watch)
_HEAD = (RULES, GROUPS, LANES, _INDEX)


def _slope(b: int, theta: Any, data: Any, out: Any) -> None:
    rows = data[0]
    for j in range(theta.size):
        out[j] = rows[b, j] * np.sin(theta[j])


def _curvature(b: int, theta: Any, data: Any, out: Any) -> None:
    rows = data[0]
    for j in range(theta.size):
        out[j, j] = rows[b, j] * np.cos(theta[j])


def losses(batches: int) -> dict[str, sb.Loss]:
    """One loss of every kind that has device functions of its own."""
    expressions = [f"sin(x + {b}*y)*exp(-y**2)" for b in range(batches)]
    found = {
        "ridge": sb.Loss.random("sinusoid", dim=4, batches=batches),
        "log-sum-exp": sb.Loss.random("log-sum-exp", dim=4, batches=batches),
        "tanh-network": sb.Loss.random("tanh-network", dim=4, batches=batches),
        "symbolic": sb.Loss.from_sympy(expressions, ["x", "y"]),
        "functions": sb.Loss.from_functions(
            _slope, _curvature, dim=2, batches=batches, data=(np.ones((batches, 2)),)
        ),
    }
    if batches == 1:
        found["bilinear"] = sb.Loss.bilinear(1.0, 2.0)
    return found


def kernels() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Name, kernel and argument types of everything that is launched."""
    for batches in BATCHES:
        for name, loss in losses(batches).items():
            given = device_loss(loss.source)
            extra = (
                types.Tuple([types.float64[:, ::1]]) if given.extra else types.UniTuple(_VECTOR, 1)
            )
            at = (_VECTOR, DATA, extra, STATE)
            mark = f"{name}, m = {batches}"
            yield (
                f"lockstep, {mark}",
                trajectory.lockstep_kernel(given.oracle, batches),
                (*_HEAD, _FLAG, _FLAG, _FLAG, _VECTOR, *at, WATCH),
            )
            if name == "ridge":
                yield from _others(mark, given.oracle, batches, at)
                yield from _of_rules(mark, given.oracle, batches)
    yield from _integrators()


def _others(
    mark: str, oracle: Any, batches: int, at: tuple[Any, ...]
) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    for flow in (False, True):
        kernel = trajectory.record_kernel(oracle, batches, flow)
        kind = "flow" if flow else "iterates"
        yield f"record {kind}, {mark}", kernel, (*_HEAD, _VECTOR, *at, WATCH, _VECTOR)
    yield f"field, {mark}", point.field_kernel(oracle, batches), (*_HEAD, _INDEX, _VECTOR, *at)
    yield f"drift, {mark}", trajectory.drift_kernel(oracle, batches), (*_HEAD, *at, _VECTOR)
    yield f"gradients, {mark}", point.gradients_kernel(oracle), (*_HEAD, *at)
    yield f"products, {mark}", point.products_kernel(oracle), (*_HEAD, *at)
    yield f"sums, m = {batches}", point.sums_kernel(batches), (*_HEAD, _INDEX, _VECTOR, STATE)


def _of_rules(mark: str, oracle: Any, batches: int) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Optimizers given by their rule, grouped and dense."""
    for rule, make in TRACED.items():
        family = traced_family(make().rule)
        dense = family.state is DenseState
        tables = _tuple(
            DenseTables if dense else GroupedTables, "window", "settled", "start", "batch"
        )
        scratch = _tuple(DenseState if dense else GroupedState)
        head = (tables, GROUPS, LANES, _INDEX)
        at = (_VECTOR, DATA, types.UniTuple(_VECTOR, 1), scratch)
        yield (
            f"lockstep, {rule}, {mark}",
            trajectory.lockstep_kernel(oracle, batches, family),
            (*head, _FLAG, _FLAG, _FLAG, _VECTOR, *at, WATCH),
        )
        if rule == "Lion" or batches == 1:  # Lion's differ by its formulas alone
            continue
        for flow in (False, True):
            kernel = trajectory.record_kernel(oracle, batches, flow, family)
            kind = "flow" if flow else "iterates"
            yield f"record {kind}, {rule}, {mark}", kernel, (*head, _VECTOR, *at, WATCH, _VECTOR)
        kernel = point.field_kernel(oracle, batches, family)
        yield f"field, {rule}, {mark}", kernel, (*head, _INDEX, _VECTOR, *at)
        kernel = trajectory.drift_kernel(oracle, batches, family)
        yield f"drift, {rule}, {mark}", kernel, (*head, *at, _VECTOR)


def _integrators() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """The Lorenz system in both precisions."""
    for real, kind in ((np.float32, types.float32), (np.float64, types.float64)):
        rows = types.Array(kind, 2, "C")
        kernel = fixed_step_kernel(lorenz.field, 3, 1, CLASSICAL, real)
        yield f"Lorenz, RK4, {real.__name__}", kernel, (rows, rows, kind, _INDEX, rows)


@contextmanager
def pretended(capability: tuple[int, int]) -> Iterator[None]:
    """Let numba-cuda believe that a device of this capability is there: device functions ask for one when they are compiled."""
    from numba.cuda import dispatcher

    class Device:
        compute_capability = capability

    true: Callable[[], Any] = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: Device
    try:
        yield
    finally:
        dispatcher.get_current_device = true


def compiled(kernel: Any, arguments: tuple[Any, ...], capability: tuple[int, int]) -> Found:
    """Compile and link one kernel."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    started = time.perf_counter()
    with pretended(capability):
        code, _ = cuda.compile(
            kernel.py_func, types.void(*arguments), cc=capability, device=False, abi="numba",
            output="ltoir",
        )  # fmt: skip
    options = LinkerOptions(
        arch=f"sm_{capability[0]}{capability[1]}",
        link_time_optimization=True,
        ptxas_options=["-v"],
    )
    linker = Linker(ObjectCode.from_ltoir(code), options=options)
    linker.link("cubin")
    log = linker.get_info_log()

    def number(pattern: str) -> int:
        match = re.search(pattern, log)
        return int(match.group(1)) if match else 0

    return Found(
        registers=number(r"Used (\d+) registers"),
        stack=number(r"(\d+) bytes stack frame"),
        spills=number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        shared=number(r"(\d+) bytes smem"),
        seconds=time.perf_counter() - started,
    )


def complaints(found: dict[str, Found], budget: dict[str, dict[str, int]]) -> list[str]:
    """What is over the budget."""
    said = []
    for name, one in found.items():
        allowed = budget.get(name)
        if not one.registers:
            said.append(f"{name}: the assembler reported no registers")
        elif allowed is None:
            said.append(f"{name}: not in the budget (run with --write)")
        else:
            said += [
                f"{name}: {getattr(one, key)} {key}, allowed {allowed[key]}"
                for key in ("registers", "stack", "spills", "shared")
                if getattr(one, key) > allowed[key]
            ]
    return said + [f"{name}: in the budget, not compiled" for name in budget if name not in found]


def main() -> int:
    """Compile, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="replace the budget")
    write = parser.parse_args().write
    found: dict[str, Found] = {}
    print(f"{'kernel':<44}{'registers':>10}{'local':>8}{'spills':>8}{'shared':>8}{'seconds':>9}")
    for name, kernel, arguments in kernels():
        for capability in ARCHITECTURES:
            full = f"{name}, sm_{capability[0]}{capability[1]}"
            one = found[full] = compiled(kernel, arguments, capability)
            print(
                f"{full:<44}{one.registers:>10}{one.stack:>8}{one.spills:>8}{one.shared:>8}{one.seconds:>9.1f}",
                flush=True,
            )
    if write:
        budget = {
            name: {**one._asdict(), "registers": min(255, round(_SLACK * one.registers))}
            for name, one in found.items()
        }
        for one in budget.values():
            del one["seconds"]
        BUDGET.write_text(json.dumps(budget, indent=1) + "\n")
    said = complaints(found, json.loads(BUDGET.read_text()))
    print("\n".join(said) or f"{len(found)} kernels within the budget")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
