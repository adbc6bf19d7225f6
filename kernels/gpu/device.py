"""What there is to run CUDA kernels on: a GPU, Numba's simulator, or nothing; and the memory of it.

CuPy owns the memory of a GPU. The simulator (``NUMBA_ENABLE_CUDASIM=1``, read by Numba when it is imported) runs kernels as Python threads on NumPy arrays.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numba import config
from numpy.typing import NDArray

# One problem is a fair question to a GPU, and no reason for a warning.
warnings.filterwarnings(
    "ignore", message="Grid size .* will likely result in GPU under-utilization"
)

# Share of the free memory that one run may plan for: the rest is for the compiled modules and what the planning cannot see.
_SHARE = 0.8
# What the simulator may plan for, in bytes; tests make it small.
SIMULATED_MEMORY = 2**30
_INSTALL = "pip install 'stepbias[cuda]'"


class DeviceError(ValueError):
    """``device="cuda"`` where nothing can run it; the message says what to install or set."""


def simulated() -> bool:
    """Whether Numba's CUDA simulator is switched on."""
    return bool(config.ENABLE_CUDASIM)


def _driver_version() -> tuple[int, int]:
    """CUDA version of the driver; raises if there is none.

    Asked of the driver before it is initialised: that fails where no device is visible, which is another stage.
    """
    from cuda.bindings import driver

    status, version = driver.cuDriverGetVersion()
    if int(status) != 0 or version == 0:
        raise RuntimeError(f"cuDriverGetVersion: {status.name}, version {version}")
    return version // 1000, version % 1000 // 10


def _devices() -> int:
    from numba import cuda

    return len(cuda.gpus)


def _compiler() -> None:
    """Load NVVM, which turns kernels into PTX; raises if the toolkit is not installed."""
    from numba.cuda.cudadrv.nvvm import NVVM

    NVVM()


def _runtime() -> tuple[int, int]:
    """CUDA version that CuPy was built for, after loading NVRTC, which compiles CuPy's own kernels; raises if a part is missing."""
    import cupy
    from cupy.cuda import nvrtc

    nvrtc.getVersion()
    version = int(cupy.cuda.runtime.runtimeGetVersion())
    return version // 1000, version % 1000 // 10


def _first_line(error: BaseException) -> str:
    lines = [line.strip(" :") for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)


def why_not() -> str:
    """Why no CUDA kernel can run here, and what to do about it; empty if one can.

    Each stage is asked for only if the ones before it are there: package, driver, device, compiler, runtime, versions.
    """
    if simulated():
        return ""
    simulator = "NUMBA_ENABLE_CUDASIM=1 runs small problems in Numba's simulator instead"
    for module, name in (("numba_cuda", "numba-cuda"), ("cupy", "CuPy")):
        if find_spec(module) is None:
            return f"{name} is not installed: {_INSTALL}; {simulator}"
    stages: tuple[tuple[Callable[[], Any], str], ...] = (
        (_driver_version, f"no NVIDIA driver: install one; {simulator}"),
        (_devices, f"no NVIDIA device is visible (CUDA_VISIBLE_DEVICES?); {simulator}"),
        (_compiler, f"NVVM, CUDA's compiler, cannot be loaded: {_INSTALL}"),
        (_runtime, f"CuPy cannot load CUDA's runtime or NVRTC: {_INSTALL}"),
    )
    found: list[Any] = []
    for stage, advice in stages:
        try:
            found.append(stage())
        except (
            Exception
        ) as error:  # drivers and loaders raise their own kinds; the text goes to the user
            return f"{advice} ({_first_line(error)})"
        if found[-1] == 0:
            return advice
    driver, runtime = found[0], found[-1]
    # Only the major version: drivers of CUDA 13.0 run what newer 13.x made (and CuPy contains a newer runtime than the toolkit beside it).
    if driver[0] < runtime[0]:
        return (
            f"the driver supports CUDA {driver[0]}.{driver[1]}, the installed packages need {runtime[0]}.{runtime[1]}: "
            f"update the driver, or install cupy-cuda{driver[0]}x and cuda-toolkit=={driver[0]}.*"
        )
    return ""


def require(device: Any) -> None:
    """Refuse what is no device, and "cuda" where no kernel can run (`DeviceError`)."""
    if not isinstance(device, str) or device not in ("cpu", "cuda"):
        raise ValueError(f"device = {device!r}; accepted: 'cpu', 'cuda'")
    if device == "cuda":
        threads_per_block()
        if reason := why_not():
            raise DeviceError(f"device = 'cuda' cannot be used: {reason}")


def name() -> str:
    """The device in words, for reports."""
    if simulated():
        return "CUDA simulator"
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return str(properties["name"].decode())


# memory -------------------------------------------------------------------------------------------


def upload(array: NDArray[Any]) -> Any:
    """A copy on the device, contiguous."""
    from numba import cuda

    given = np.ascontiguousarray(array)
    if simulated():
        return cuda.to_device(given)
    import cupy

    # Numba's view of CuPy's memory: inside a tuple Numba knows no other arrays.
    return cuda.as_cuda_array(cupy.asarray(given))


def zeros(shape: tuple[int, ...]) -> Any:
    """Zeros in float64 on the device."""
    if simulated():
        return upload(np.zeros(shape))
    import cupy
    from numba import cuda

    return cuda.as_cuda_array(cupy.zeros(shape))


def unwritten(shape: tuple[int, ...]) -> Any:
    """NaN in float64 on the device: what a thread that ends early has not written must not look like a result."""
    if simulated():
        return upload(np.full(shape, np.nan))
    import cupy
    from numba import cuda

    array = cupy.empty(shape)
    array.data.memset_async(255, array.nbytes)  # all bits set: a NaN
    return cuda.as_cuda_array(array)


def download(array: Any) -> NDArray[Any]:
    """A copy in the host's memory; waits for the kernels that write it."""
    if simulated():
        copied: NDArray[Any] = array.copy_to_host()
        return copied
    import cupy

    synchronize()  # CuPy may be on another stream than Numba
    return np.asarray(cupy.asnumpy(cupy.asarray(array)))


def free_bytes() -> int:
    """Bytes that one run may plan for."""
    if simulated():
        return SIMULATED_MEMORY
    import cupy

    free = int(cupy.cuda.Device().mem_info[0]) + int(cupy.get_default_memory_pool().free_bytes())
    return int(_SHARE * free)


def out_of_memory(error: BaseException) -> bool:
    """Whether the device has no room for something.

    CuPy raises a `MemoryError`. Loading a kernel and its launch, which reserves the local memory of all threads, end with the driver's own error, which
    every package wraps in another class.
    """
    return isinstance(error, MemoryError) or "CUDA_ERROR_OUT_OF_MEMORY" in str(error)


def compile_errors() -> tuple[type[BaseException], ...]:
    """Exceptions that mean: a function cannot be compiled for the GPU."""
    from numba.core import errors

    if find_spec("numba_cuda") is None:
        return (errors.NumbaError,)
    from numba.cuda.core import errors as cuda_errors

    return (errors.NumbaError, cuda_errors.NumbaError)


def release() -> None:
    """Give memory that is cached but not used back to the device."""
    if not simulated():
        import cupy

        cupy.get_default_memory_pool().free_all_blocks()


def synchronize() -> None:
    """Wait for all kernels."""
    if not simulated():
        import cupy

        cupy.cuda.runtime.deviceSynchronize()


def threads_per_block() -> int:
    """Threads of a block: one warp's multiple that leaves a thread the registers the large kernels need."""
    setting = os.environ.get("STEPBIAS_CUDA_BLOCK", "64")
    if not setting.isdecimal() or not 1 <= int(setting) <= 256:
        raise ValueError(f"STEPBIAS_CUDA_BLOCK = {setting!r}; accepted: an integer from 1 to 256")
    return int(setting)
