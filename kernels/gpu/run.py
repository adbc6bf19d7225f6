"""Runs on the device, one launch for all step sizes: measurements, trajectories, fields, memory sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.blocks import Ensemble
from stepbias.kernels.gpu import device
from stepbias.kernels.gpu.layout import Block, Launch, blocks, plan
from stepbias.kernels.gpu.point import (
    field_kernel,
    gradients_kernel,
    products_kernel,
    sums_kernel,
)
from stepbias.kernels.gpu.state import Watch
from stepbias.kernels.gpu.trajectory import drift_kernel, lockstep_kernel, record_kernel
from stepbias.kernels.measure import Measurement, Method, resolution
from stepbias.theory.variants import STATEMENT, Variant

Floats = NDArray[np.float64]

_ONE_STEP = resolution(1)  # stands where no flow is integrated


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
            lockstep_kernel(block.oracle, block.batches, block.family),
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
            record_kernel(block.oracle, block.batches, flow, block.family), device.upload(variant.factors),
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
            field_kernel(block.oracle, block.batches, block.family), n, device.upload(variant.factors),
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
            drift_kernel(block.oracle, block.batches, block.family),
            block.theta0, block.data, block.extra, block.state, out,
        )  # fmt: skip
        result[launch.problem[block.lanes]] = device.download(out)

    blocks(ensemble, launch, 1, work)
    return result
