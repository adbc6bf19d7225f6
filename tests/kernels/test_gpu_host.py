"""What the host does around CUDA kernels: lanes that end early, memory, versions, names of a stored run. No kernel has to run for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels.blocks import prepare
from stepbias.kernels.gpu import device, layout, losses, run
from stepbias.kernels.measure import resolution
from stepbias.theory.variants import STATEMENT
from stepbias.verify import runner

ADAM = sb.Adam(0.7, 0.8, 0.0, 0.1)
LOSS = sb.Loss.random("sinusoid", dim=2, batches=2, seed=1)
START = np.array([0.1, 0.2])


class Host:
    """An array of a device that is the host's memory."""

    def __init__(self, array: Any) -> None:
        self.array = np.array(array)


class Nothing:
    """A kernel all of whose threads end at once, as where a given function raises."""

    def __getitem__(self, configuration: Any) -> Callable[..., None]:
        return lambda *arguments: None


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Memory of the device is the host's; nothing is launched."""
    monkeypatch.setattr(device, "why_not", lambda: "")
    monkeypatch.setattr(device, "upload", Host)
    monkeypatch.setattr(device, "zeros", lambda shape: Host(np.zeros(shape)))
    monkeypatch.setattr(device, "unwritten", lambda shape: Host(np.full(shape, np.nan)))
    monkeypatch.setattr(device, "download", lambda given: given.array.copy())
    monkeypatch.setattr(device, "free_bytes", lambda: 2**30)
    monkeypatch.setattr(device, "release", lambda: None)
    for name in ("lockstep", "record", "field", "gradients", "products", "sums", "drift"):
        monkeypatch.setattr(run, f"{name}_kernel", lambda *given: Nothing())
    return monkeypatch


RUNS: dict[str, Callable[[], Any]] = {
    "iterate": lambda: sb.iterate(ADAM, LOSS, START, 0.1, 4, device="cuda"),
    "flow": lambda: sb.flow(ADAM, LOSS, START, 0.1, 4, device="cuda"),
    "vector_field": lambda: sb.vector_field(ADAM, LOSS, START, 4, 0.1, device="cuda"),
    "memory_terms": lambda: sb.memory_terms(ADAM, LOSS, START, 4, device="cuda"),
    "global_error": lambda: sb.global_error(ADAM, LOSS, START, 0.1, 4, device="cuda"),
}


def _ensemble(**changes: Any) -> Any:
    given = {"optimizer": ADAM, "schedule": None, "steps": 4, **changes}
    return prepare(given["optimizer"], LOSS, START, 0.1, given["steps"], given["schedule"], "cpu")


@pytest.mark.usefixtures("hosted")
@pytest.mark.parametrize("name", RUNS)
def test_threads_that_end_early_leave_nan(name: str) -> None:
    assert np.isnan(np.asarray(RUNS[name]())).all()


@pytest.mark.usefixtures("hosted")
@pytest.mark.parametrize("check", [True, False])
def test_a_measurement_that_ends_early_has_no_error_of_zero(check: bool) -> None:
    found = run.measure_ladder([_ensemble()], [4], methods=[None], check=check)[0]
    assert np.isnan(found.error).all()
    assert np.isnan(found.difference).all()
    assert np.isnan(found.solver).all() == check


# memory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (MemoryError("no room"), True),
        (RuntimeError("[2] Call to cuLaunchKernel results in CUDA_ERROR_OUT_OF_MEMORY"), True),
        (RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS"), False),
        (ValueError("wrong"), False),
    ],
)
def test_what_lack_of_memory_looks_like(error: Exception, full: bool) -> None:
    assert device.out_of_memory(error) == full


def test_a_launch_without_room_is_halved_and_other_errors_pass(hosted: pytest.MonkeyPatch) -> None:
    ensemble = prepare(ADAM, LOSS, np.tile(START, (5, 1)), 0.1, 4, None, "cpu")
    launch = layout.plan(ensemble, ensemble.h[None], [4], [resolution(4)], STATEMENT)
    sizes: list[int] = []
    released: list[int] = []
    hosted.setattr(device, "release", lambda: released.append(len(sizes)))

    def work(block: layout.Block) -> None:
        sizes.append(block.count)
        if len(sizes) == 1:
            raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: local memory")
        if len(sizes) == 3:
            raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS")

    with pytest.raises(RuntimeError, match="ILLEGAL_ADDRESS"):
        layout.blocks(ensemble, launch, 0, work)
    assert sizes == [5, 3, 2]
    assert released == [1]


def test_tables_that_do_not_fit_on_the_device(hosted: pytest.MonkeyPatch) -> None:
    def full(array: Any) -> Any:
        raise MemoryError("no room")

    hosted.setattr(device, "upload", full)
    message = r"^the tables of 1 rules and the data .* do not fit on the device: no room$"
    with pytest.raises(MemoryError, match=message):
        RUNS["global_error"]()


def test_tables_are_counted_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 0, 1, 1]])
    asked: list[tuple[Any, ...]] = []

    def require_memory(*given: Any) -> None:
        asked.append(given)

    monkeypatch.setattr(layout, "require_memory", require_memory)
    ensemble = prepare(ADAM, LOSS, np.tile(START, (3, 1)), 0.1, 4, rows, "cpu")
    launch = layout.plan(ensemble, ensemble.h[None], [4], [resolution(4)], STATEMENT)
    ((name, value, doubles, what),) = asked
    assert (name, value, what) == ("steps", 4, "the tables of 3 rules")
    assert (
        sum(part.size for part in launch.rules)
        <= doubles
        <= 8 * sum(part.size for part in launch.rules)
    )


# what is refused ------------------------------------------------------------------------------------


def _gradient(b, theta, data, out):  # type: ignore[no-untyped-def]
    for j in range(theta.size):
        out[j] = theta[j]


def _hessian(b, theta, data, out):  # type: ignore[no-untyped-def]
    for j in range(theta.size):
        out[j, j] = 1.0


def _hvp(b, theta, v, data, out):  # type: ignore[no-untyped-def]
    for j in range(theta.size):
        out[j] = v[j]


def test_a_hessian_that_no_thread_can_hold() -> None:
    large = sb.Loss.from_functions(_gradient, _hessian, dim=260, batches=1)
    with pytest.raises(ValueError, match=r"a Hessian of dim = 260 .*; accepted: hvp, or device"):
        losses.device_loss(large.source)
    losses.device_loss(sb.Loss.from_functions(_gradient, _hessian, dim=250, batches=1).source)
    losses.device_loss(sb.Loss.from_functions(_gradient, hvp=_hvp, dim=260, batches=1).source)


@pytest.mark.parametrize(
    ("driver", "runtime", "runs"),
    [((13, 0), (13, 2), True), ((13, 1), (13, 1), True), ((12, 9), (13, 0), False)],
)
def test_a_driver_of_the_same_major_version_will_do(
    driver: tuple[int, int],
    runtime: tuple[int, int],
    runs: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = {"_driver_version": driver, "_devices": 1, "_compiler": None, "_runtime": runtime}
    monkeypatch.setattr(device, "simulated", lambda: False)
    monkeypatch.setattr(device, "find_spec", lambda name: name)
    for name, answer in answers.items():
        monkeypatch.setattr(device, name, lambda answer=answer: answer)
    assert (device.why_not() == "") == runs


def test_a_wrong_number_of_threads_is_refused_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "why_not", lambda: "")
    monkeypatch.setenv("STEPBIAS_CUDA_BLOCK", "2000")
    with pytest.raises(ValueError, match="STEPBIAS_CUDA_BLOCK = '2000'"):
        device.require("cuda")
    device.require("cpu")


# stored runs ----------------------------------------------------------------------------------------


def test_units_of_cpu_gpu_and_simulator_are_stored_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    tags: list[str] = []

    class Ended(Exception):  # noqa: N818  (no error)
        pass

    def store(out: Any, tag: str) -> None:
        tags.append(tag)
        raise Ended

    monkeypatch.setattr(runner, "Store", store)
    monkeypatch.setattr(runner, "require", lambda given: None)
    monkeypatch.setattr(runner, "device_name", lambda: "a device")
    for place, simulated in (("cpu", False), ("cuda", False), ("cuda", True)):
        monkeypatch.setattr(runner, "simulated", lambda simulated=simulated: simulated)
        with pytest.raises(Ended):
            runner.run_claims("adam-inside/bilinear", device=place)
    assert len(set(tags)) == 3
