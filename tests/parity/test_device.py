"""What is said where no CUDA kernel can run: one message for every missing part, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels import blocks
from stepbias.kernels.gpu import device

STAGES = ("_driver_version", "_devices", "_compiler", "_runtime")
SOUND: dict[str, Any] = {
    "_driver_version": (13, 1),
    "_devices": 1,
    "_compiler": None,
    "_runtime": (13, 0),
}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Pretend to be a machine: what each stage answers or raises, and packages that are missing; returns the list of stages that are asked for."""

    def pretend(*missing: str, **answers: Any) -> list[str]:
        asked: list[str] = []

        def stage(name: str) -> Callable[[], Any]:
            def answer() -> Any:
                asked.append(name)
                found = {**SOUND, **answers}[name]
                if isinstance(found, BaseException):
                    raise found
                return found

            return answer

        monkeypatch.setattr(device, "simulated", lambda: False)
        monkeypatch.setattr(device, "find_spec", lambda name: None if name in missing else name)
        for name in STAGES:
            monkeypatch.setattr(device, name, stage(name))
        return asked

    return pretend


def test_a_sound_machine_has_no_reason(machine: Callable[..., list[str]]) -> None:
    asked = machine()
    assert device.why_not() == ""
    assert tuple(asked) == STAGES
    device.require("cuda")


SIMULATOR = "; NUMBA_ENABLE_CUDASIM=1 runs small problems in Numba's simulator instead"
INSTALL = "pip install 'stepbias[cuda]'"


@pytest.mark.parametrize(
    ("missing", "name"), [("numba_cuda", "numba-cuda"), ("cupy", "CuPy")], ids=["numba", "cupy"]
)
def test_a_missing_package(missing: str, name: str, machine: Callable[..., list[str]]) -> None:
    asked = machine(missing)
    assert device.why_not() == f"{name} is not installed: {INSTALL}{SIMULATOR}"
    assert asked == []


@pytest.mark.parametrize(
    ("stage", "answer", "message"),
    [
        (
            "_driver_version",
            OSError("libcuda.so.1: cannot open"),
            f"no NVIDIA driver: install one{SIMULATOR} (libcuda.so.1: cannot open)",
        ),
        ("_driver_version", 0, f"no NVIDIA driver: install one{SIMULATOR}"),
        (
            "_devices",
            RuntimeError("\n  Error at driver init:\nCall to cuInit fails\n"),
            f"no NVIDIA device is visible (CUDA_VISIBLE_DEVICES?){SIMULATOR} (Error at driver init)",
        ),
        ("_devices", 0, f"no NVIDIA device is visible (CUDA_VISIBLE_DEVICES?){SIMULATOR}"),
        (
            "_compiler",
            ImportError("libnvvm is missing"),
            f"NVVM, CUDA's compiler, cannot be loaded: {INSTALL} (libnvvm is missing)",
        ),
        (
            "_runtime",
            RuntimeError(),
            f"CuPy cannot load CUDA's runtime or NVRTC: {INSTALL} (RuntimeError)",
        ),
        (
            "_driver_version",
            (12, 8),
            "the driver supports CUDA 12.8, the installed packages need 13.0: update the driver, or install cupy-cuda12x and cuda-toolkit==12.*",
        ),
        (
            "_runtime",
            (14, 2),
            "the driver supports CUDA 13.1, the installed packages need 14.2: update the driver, or install cupy-cuda13x and cuda-toolkit==13.*",
        ),
    ],
)
def test_what_is_missing_and_what_to_do(
    stage: str, answer: Any, message: str, machine: Callable[..., list[str]]
) -> None:
    asked = machine(**{stage: answer})
    assert device.why_not() == message
    if not isinstance(answer, tuple):
        assert asked[-1] == stage  # nothing behind a missing part is touched
    with pytest.raises(device.DeviceError) as caught:
        device.require("cuda")
    assert str(caught.value) == f"device = 'cuda' cannot be used: {message}"


def test_the_simulator_needs_nothing(
    machine: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = machine("numba_cuda", "cupy", _driver_version=OSError("none"))
    monkeypatch.setattr(device, "simulated", lambda: True)
    assert device.why_not() == ""
    assert device.name() == "CUDA simulator"
    assert asked == []
    device.require("cuda")


@pytest.mark.parametrize("given", ["gpu", "CUDA", "cuda:0", "", None, 0, ["cuda"], b"cuda"])
def test_no_device(given: Any, machine: Callable[..., list[str]]) -> None:
    asked = machine()
    with pytest.raises(ValueError, match=r"^device = .*; accepted: 'cpu', 'cuda'$") as caught:
        device.require(given)
    assert not isinstance(caught.value, device.DeviceError)
    assert repr(given) in str(caught.value)
    assert asked == []


def test_the_cpu_needs_nothing(machine: Callable[..., list[str]]) -> None:
    asked = machine("numba_cuda", "cupy")
    device.require("cpu")
    assert asked == []


# threads of a block ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "threads"), [(None, 64), ("1", 1), ("96", 96), ("256", 256)])
def test_threads_of_a_block(
    setting: str | None, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STEPBIAS_CUDA_BLOCK", raising=False)
    if setting is not None:
        monkeypatch.setenv("STEPBIAS_CUDA_BLOCK", setting)
    assert device.threads_per_block() == threads


@pytest.mark.parametrize("setting", ["0", "257", "-64", "64.0", "many", "", " 64"])
def test_no_number_of_threads(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPBIAS_CUDA_BLOCK", setting)
    with pytest.raises(ValueError, match=r"accepted: an integer from 1 to 256$") as caught:
        device.threads_per_block()
    assert str(caught.value).startswith(f"STEPBIAS_CUDA_BLOCK = {setting!r};")


# this machine ---------------------------------------------------------------------------------------


def test_without_a_device_nothing_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (reason := device.why_not()):
        pytest.skip(f"CUDA kernels can run here ({device.name()})")

    def began(*_: Any) -> None:
        pytest.fail("a run began")

    for name in ("resolve", "make_rule", "for_each_block"):
        monkeypatch.setattr(blocks, name, began)
    loss = sb.Loss.random("sinusoid", dim=2, batches=2, seed=1)
    start, adam = np.zeros(2), sb.Adam(0.7, 0.8, 0.0, 0.1)
    calls: list[Callable[[], Any]] = [
        lambda: sb.iterate(adam, loss, start, 0.1, 10, device="cuda"),
        lambda: sb.flow(adam, loss, start, 0.1, 10, device="cuda"),
        lambda: sb.vector_field(adam, loss, start, 3, 0.1, device="cuda"),
        lambda: sb.memory_terms(adam, loss, start, 3, device="cuda"),
        lambda: sb.global_error(adam, loss, start, 0.1, 10, device="cuda"),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="cannot be used") as caught:
            call()
        assert isinstance(caught.value, device.DeviceError)
        assert str(caught.value) == f"device = 'cuda' cannot be used: {reason}"
