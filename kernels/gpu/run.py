"""Runs on the device: lanes, tables and scratch laid out, one launch for all step sizes, cut into blocks of lanes that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import Ensemble, require_memory, rule_groups
from stepbias.kernels.gpu import device
from stepbias.kernels.gpu.losses import device_loss
from stepbias.kernels.gpu.oracle import Data, DeviceLoss, DeviceOracle
from stepbias.kernels.gpu.sums import Tables, tables
from stepbias.kernels.gpu.trajectory import (
    PER_BATCH,
    PER_COMPONENT,
    STAGES,
    Groups,
    Lanes,
    State,
    Watch,
    drift_kernel,
    field_kernel,
    gradients_kernel,
    lockstep_kernel,
    products_kernel,
    record_kernel,
    sums_kernel,
)
from stepbias.kernels.measure import Measurement, Method, field_optimizer, resolution
from stepbias.theory.variants import STATEMENT, Variant

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_ONE_STEP = resolution(1)  # stands where no flow is integrated


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
    rules : Tables
    """

    problem: Integers
    h: Floats
    group: Integers
    groups: Groups
    rules: Tables


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
    kind = rule_groups(ensemble)
    representatives = np.unique(kind, return_index=True)[1]
    flow_of = field_optimizer(ensemble.optimizer, variant)
    # All rules are there at once, which the CPU's blocks never are; twice, while they are put together.
    entries = 4 * len(representatives) * max(steps) * (2 * ensemble.loss.batches + 7)
    require_memory("steps", max(steps), entries, f"the tables of {len(representatives)} rules")
    rules = [ensemble.rule(ensemble.optimizer, int(b)) for b in representatives]
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
    return Launch(problem, column, group, flat, tables(rules))


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
    dim, batches = ensemble.loss.dim, ensemble.loss.batches
    state = sum(
        PER_COMPONENT.get(name, 1) * dim * (batches if name in PER_BATCH else 1)
        for name in State._fields
    )
    two = [len(ensemble.loss.pack(np.zeros(n, dtype=np.int64))[1]) for n in (1, 2)]
    return state + dim + len(Watch._fields) + dim + two[1] - two[0] + given.work(1) + 2 + outputs


def _state(dim: int, batches: int, lanes: int) -> State:
    """Zeros where a run starts from them, NaN elsewhere."""

    def part(name: str) -> Any:
        count = PER_COMPONENT.get(name, 1) * (batches if name in PER_BATCH else 1)
        make = device.zeros if name in PER_COMPONENT else device.unwritten
        return make((count * dim * lanes,))

    return State(**{name: part(name) for name in State._fields})


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
            f"the tables of {len(launch.rules.beta)} rules and the data that all problems share do not fit on the device: {error}"
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
        state=_state(loss.dim, loss.batches, count),
        dim=loss.dim,
        batches=loss.batches,
    )


# runs ---------------------------------------------------------------------------------------------


def measure_ladder(
    ensembles: Sequence[Ensemble],
    steps: Sequence[int],
    variant: Variant = STATEMENT,
    *,
    methods: Sequence[Method | None],
    check: bool = True,
    local: bool = False,
) -> list[Measurement]:
    """:func:`stepbias.kernels.measure.measure` at H numbers of steps, in one launch.

    Parameters
    ----------
    ensembles : sequence of Ensemble
        The same problems, prepared for each number of steps.
    steps : sequence of int
    variant, check, local
        As for one number of steps.
    methods : sequence of Method or None
        None: :func:`stepbias.kernels.measure.resolution`.
    """
    longest = int(np.argmax(steps))
    chosen = [resolution(n) if m is None else m for n, m in zip(steps, methods, strict=True)]
    h = np.stack([ensemble.h for ensemble in ensembles])
    launch = plan(ensembles[longest], h, steps, chosen, variant)
    dim, lanes = ensembles[longest].loss.dim, len(launch.problem)
    found = {name: np.empty(lanes) for name in Watch._fields if name != "difference"}
    difference = np.empty((lanes, dim))

    def work(block: Block) -> None:
        watch = block.watch()
        block.launch(
            lockstep_kernel(block.oracle, block.batches),
            variant.short_memory, local, check, device.upload(variant.factors),
            block.theta0, block.data, block.extra, block.state, watch,
        )  # fmt: skip
        for name, column in found.items():
            column[block.lanes] = device.download(getattr(watch, name))
        # NaN where the flow overflowed, and where a given function raised: such a thread ends at once, its maxima as they are.
        lost = np.isnan(found["distance"][block.lanes])
        found["error"][block.lanes][lost] = np.nan
        if check:
            found["solver"][block.lanes][lost] = np.nan
        difference[block.lanes] = device.download(watch.difference).reshape(dim, block.count).T

    blocks(ensembles[longest], launch, 0, work)
    return list(_sorted_back(launch, steps, found | {"difference": difference}))


def _sorted_back(
    launch: Launch, steps: Sequence[int], found: dict[str, Floats]
) -> Iterator[Measurement]:
    """Measurements in the order of ``steps`` and of the problems."""
    problems = len(launch.problem) // len(steps)
    place = {k: i for i, k in enumerate(sorted(range(len(steps)), key=lambda k: -steps[k]))}
    for k in range(len(steps)):
        part = slice(place[k] * problems, (place[k] + 1) * problems)
        order = np.argsort(launch.problem[part])
        yield Measurement(**{name: values[part][order] for name, values in found.items()})


def _alone(ensemble: Ensemble, steps: int, variant: Variant, method: Method = _ONE_STEP) -> Launch:
    return plan(ensemble, ensemble.h[None], [steps], [method], variant)


def record(
    ensemble: Ensemble, steps: int, variant: Variant, method: Method, *, flow: bool
) -> Floats:
    """The iterates, or the flow, at every step, (B, steps + 1, p)."""
    launch = _alone(ensemble, steps, variant, method)
    dim = ensemble.loss.dim
    result = np.empty((ensemble.problems, steps + 1, dim))

    def work(block: Block) -> None:
        out = device.unwritten(((steps + 1) * dim * block.count,))
        block.launch(
            record_kernel(block.oracle, block.batches, flow), device.upload(variant.factors),
            block.theta0, block.data, block.extra, block.state, block.watch(), out,
        )  # fmt: skip
        stored = device.download(out).reshape(steps + 1, dim, block.count)
        result[launch.problem[block.lanes]] = stored.transpose(2, 0, 1)

    blocks(ensemble, launch, (steps + 1) * dim, work)
    return result


def field(ensemble: Ensemble, n: int, variant: Variant) -> Floats:
    """The modified field at step n and ``theta0``, (B, p)."""
    launch = _alone(ensemble, n + 1, variant)
    result = np.empty((ensemble.problems, ensemble.loss.dim))

    def work(block: Block) -> None:
        block.launch(
            field_kernel(block.oracle, block.batches), n, device.upload(variant.factors),
            block.theta0, block.data, block.extra, block.state,
        )  # fmt: skip
        rate = device.download(block.state.rate).reshape(block.dim, block.count)
        result[launch.problem[block.lanes]] = rate.T

    blocks(ensemble, launch, 0, work)
    return result


def terms(ensemble: Ensemble, n: int, factors: Sequence[Floats]) -> list[dict[str, Floats]]:
    """The sums at step n and ``theta0``, for each of several factors on the terms.

    Returns
    -------
    list of dict
        "mean" (M), "square" (V), "first" (2 L + Lbar) and "second" (2 P + Pbar), (B, p).
    """
    launch = _alone(ensemble, n + 1, STATEMENT)
    shape = (ensemble.problems, ensemble.loss.dim)
    names = ("mean", "square", "first", "second")
    results = [{name: np.empty(shape) for name in names} for _ in factors]

    def work(block: Block) -> None:
        at = (block.theta0, block.data, block.extra, block.state)
        block.launch(gradients_kernel(block.oracle), *at)
        layout = (-1, block.dim, block.count)
        gradients = device.download(block.state.gradients).reshape(layout)
        for given, result in zip(factors, results, strict=True):
            kernel = sums_kernel(block.batches)
            factor = device.upload(given)
            block.launch(kernel, n, factor, block.state, threads=block.dim * block.count)
            block.launch(products_kernel(block.oracle), *at)
            found = {
                name: device.download(getattr(block.state, name)).reshape(layout) for name in names
            }
            found["second"] = found["second"] * gradients
            for name, values in found.items():
                result[name][launch.problem[block.lanes]] = values.sum(axis=0).T

    blocks(ensemble, launch, 0, work)
    return results


def iterate_drift(ensemble: Ensemble, steps: int) -> Floats:
    """The largest |D'/D| along the iterates, (B,); :func:`stepbias.kernels.drift.iterate_drift`."""
    launch = _alone(ensemble, steps, STATEMENT)
    result = np.empty(ensemble.problems)

    def work(block: Block) -> None:
        out = device.zeros((block.count,))
        block.launch(
            drift_kernel(block.oracle, block.batches),
            block.theta0, block.data, block.extra, block.state, out,
        )  # fmt: skip
        result[launch.problem[block.lanes]] = device.download(out)

    blocks(ensemble, launch, 1, work)
    return result
