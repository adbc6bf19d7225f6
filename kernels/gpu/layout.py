"""Lanes, tables and scratch of a launch, and blocks of lanes that fit into the device's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import Ensemble, require_memory, rule_groups
from stepbias.kernels.gpu import device
from stepbias.kernels.gpu.adam import ADAM
from stepbias.kernels.gpu.family import Family
from stepbias.kernels.gpu.losses import device_loss
from stepbias.kernels.gpu.oracle import Data, DeviceLoss, DeviceOracle
from stepbias.kernels.gpu.state import STAGES, Groups, Lanes, Watch
from stepbias.kernels.measure import Method, field_optimizer
from stepbias.kernels.rule import memory_window, table_length
from stepbias.theory.optimizer import Optimizer
from stepbias.theory.variants import Variant

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Launch:
    """Lanes that run together, in the host's memory.

    Attributes
    ----------
    problem : (L,) int64
        Problem of the ensemble that each lane is.
    h : (L,) float64
    group : (L,) int64
        Row of ``groups``.
    groups : Groups
    rules : named tuple
        Tables of all rules.
    family : Family
    """

    problem: Integers
    h: Floats
    group: Integers
    groups: Groups
    rules: Any
    family: Family


def family_of(ensemble: Ensemble) -> Family:
    """The kernels' parts for the optimizer of an ensemble."""
    if not isinstance(ensemble.optimizer, Optimizer):
        return ADAM
    from stepbias.kernels.gpu.traced import traced_family  # SymPy: only for those who need it

    return traced_family(ensemble.optimizer.rule)


def plan(
    ensemble: Ensemble, h: Floats, steps: Sequence[int], methods: Sequence[Method], variant: Variant
) -> Launch:
    """Lay out the lanes: the largest number of steps first, problems with the same tables side by side.

    Parameters
    ----------
    ensemble : Ensemble
        Prepared for the largest number of steps: a shorter run uses the beginning of its schedules.
    h : (H, B) float64
    steps, methods : H of each
    variant : Variant
    """
    if variant.limit:
        raise ValueError("variant = limit is measured on device 'cpu' only")
    kind = rule_groups(ensemble)
    representatives = np.unique(kind, return_index=True)[1]
    flow_of = field_optimizer(ensemble.optimizer, variant)
    # All rules are there at once, which the CPU's blocks never are; twice, while they are put together.
    entries = 4 * len(representatives) * _table_entries(ensemble, max(steps))
    require_memory("steps", max(steps), entries, f"the tables of {len(representatives)} rules")
    family = family_of(ensemble)
    rules: list[Any] = [ensemble.rule(ensemble.optimizer, int(b)) for b in representatives]
    same = flow_of is ensemble.optimizer
    if not same:
        rules += [ensemble.rule(flow_of, int(b)) for b in representatives]
    kinds = len(representatives)
    order = np.argsort(kind, kind="stable")
    longest = sorted(range(len(steps)), key=lambda k: -steps[k])
    problem = np.concatenate([order for _ in longest])
    column = np.concatenate([h[k][order] for k in longest])
    group = np.concatenate([kinds * i + kind[order] for i in range(len(longest))])
    every = [(k, r) for k in longest for r in range(kinds)]
    scale, weight = np.zeros((2, len(every), 2, STAGES))
    for g, (k, _) in enumerate(every):
        for which, tableau in enumerate((methods[k].tableau, methods[k].coarse)):
            scale[g, which, : len(tableau.scale)] = tableau.scale
            weight[g, which, : len(tableau.weight)] = tableau.weight
    groups = Groups(
        steps=np.array([steps[k] for k, _ in every]),
        rule=np.array([r for _, r in every]),
        flow_rule=np.array([r if same else kinds + r for _, r in every]),
        substeps=np.array([[methods[k].substeps, methods[k].coarse_substeps] for k, _ in every]),
        stages=np.array(
            [[len(methods[k].tableau.scale), len(methods[k].coarse.scale)] for k, _ in every]
        ),
        scale=scale,
        weight=weight,
    )
    flat = Groups(*(np.ascontiguousarray(part).reshape(-1) for part in groups))
    return Launch(problem, column, group, flat, family.tables(rules), family)


def _table_entries(ensemble: Ensemble, steps: int) -> int:
    """Numbers in the tables of one rule."""
    batches = ensemble.loss.batches
    if isinstance(ensemble.optimizer, Optimizer):
        from stepbias.kernels.rule_code import rule_code

        code = rule_code(ensemble.optimizer.rule)
        return (steps + 1) * (len(code.columns) + code.states * (batches + 6) + 1)
    beta, rho = ensemble.parameters[:, :2].max(axis=0)
    return int(table_length(batches, memory_window(beta, rho), steps)) * (2 * batches + 7)


# blocks -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """Lanes on the device."""

    oracle: DeviceOracle
    lanes: slice
    rules: Any
    groups: Any
    lane_data: Any
    theta0: Any
    data: Any
    extra: tuple[Any, ...]
    state: Any
    dim: int
    batches: int
    family: Family

    @property
    def count(self) -> int:
        """Number of lanes."""
        return self.lanes.stop - self.lanes.start

    def launch(self, kernel: Any, *arguments: Any, threads: int | None = None) -> None:
        """One thread a lane, or as many as are asked for."""
        size = device.threads_per_block()
        total = self.count if threads is None else threads
        kernel[-(-total // size), size](
            self.rules, self.groups, self.lane_data, self.dim, *arguments
        )

    def watch(self) -> Watch:
        """Results before the first step; NaN where they are written at the end."""
        maxima = (name for name in Watch._fields if name not in ("root", "distance", "difference"))
        single = {name: device.zeros((self.count,)) for name in maxima}
        single["root"] = device.upload(np.full(self.count, np.inf))
        single["distance"] = device.unwritten((self.count,))
        single["difference"] = device.unwritten((self.count * self.dim,))
        return Watch(**single)


def _uploaded(parts: Any) -> Any:
    return type(parts)(*(device.upload(part) for part in parts))


def _doubles_per_lane(ensemble: Ensemble, given: DeviceLoss, outputs: int) -> int:
    """What one lane takes: state, results, packed data, scratch of the loss, and ``outputs`` more."""
    dim = ensemble.loss.dim
    state = sum(family_of(ensemble).sizes(dim, ensemble.loss.batches).values())
    two = [len(ensemble.loss.pack(np.zeros(n, dtype=np.int64))[1]) for n in (1, 2)]
    return state + dim + len(Watch._fields) + dim + two[1] - two[0] + given.work(1) + 2 + outputs


def _state(family: Family, dim: int, batches: int, lanes: int) -> Any:
    """Zeros where a run starts from them, NaN elsewhere."""
    made = {
        name: (device.zeros if name in family.zeroed else device.unwritten)((size * lanes,))
        for name, size in family.sizes(dim, batches).items()
    }
    return family.state(**made)


def blocks(ensemble: Ensemble, launch: Launch, outputs: int, work: Callable[[Block], None]) -> None:
    """Put blocks of lanes on the device and run ``work`` on each; a block that does not fit is halved.

    Parameters
    ----------
    ensemble : Ensemble
    launch : Launch
    outputs : int
        Doubles per lane that ``work`` allocates beside a :class:`Watch`.
    work : callable
        Results of a block that ran out of memory half-way are computed again.

    Raises
    ------
    MemoryError
        If a single lane does not fit, or what all lanes share.
    """
    given = device_loss(ensemble.loss.source)
    total = len(launch.problem)
    fixed = sum(part.nbytes for part in (*launch.rules, *launch.groups))
    per_lane = 8 * _doubles_per_lane(ensemble, given, outputs)
    room = device.free_bytes() - fixed
    most = min(total, max(1, room // per_lane))
    try:
        rules, groups = _uploaded(launch.rules), _uploaded(launch.groups)
        extra = tuple(device.upload(array) for array in given.extra) or (device.zeros((1,)),)
    except Exception as error:  # every package has its own kind
        if not device.out_of_memory(error):
            raise
        raise MemoryError(
            f"the tables of {len(launch.rules.window)} rules and the data that all problems share do not fit on the device: {error}"
        ) from error
    begin = 0
    while begin < total:
        lanes = slice(begin, min(begin + most, total))
        try:
            work(_block(ensemble, given, launch, lanes, rules, groups, extra))
            begin = lanes.stop
            continue
        except device.compile_errors() as error:
            told = [line.strip() for line in str(error).splitlines()]
            why = next((x for x in told if x and not x.startswith("Failed in ")), "no reason given")
            raise ValueError(
                f"loss = <{ensemble.loss.source.describe()}> does not compile for CUDA: {why}"
            ) from error
        except Exception as error:
            if not device.out_of_memory(error):
                raise
            if most == 1:
                raise MemoryError(
                    f"one problem needs more than {per_lane / 2**20:.1f} MiB on the device: {error}"
                ) from error
        # Here and not in the handler, where the error still holds the arrays of the block.
        most = -(-most // 2)
        device.release()


def _block(
    ensemble: Ensemble,
    given: DeviceLoss,
    launch: Launch,
    lanes: slice,
    rules: Any,
    groups: Any,
    extra: tuple[Any, ...],
) -> Block:
    loss, chosen = ensemble.loss, launch.problem[lanes]
    ints, reals = loss.pack(chosen)
    count = len(chosen)
    work = max(1, given.work(count))
    return Block(
        oracle=given.oracle,
        lanes=lanes,
        rules=rules,
        groups=groups,
        lane_data=_uploaded(Lanes(launch.h[lanes], launch.group[lanes])),
        theta0=device.upload(ensemble.theta0[chosen].T.reshape(-1)),
        data=Data(device.upload(ints), device.upload(reals), device.zeros((work,))),
        extra=extra,
        state=_state(launch.family, loss.dim, loss.batches, count),
        dim=loss.dim,
        batches=loss.batches,
        family=launch.family,
    )
