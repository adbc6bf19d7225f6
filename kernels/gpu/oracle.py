"""The contract between a loss and the GPU kernels: three device functions for one lane, and how much scratch they need.

All arrays are flat with the lane innermost, as on the CPU: entry (j, lane) of a (p, L) array is ``j * lanes + lane``, so that neighbouring threads read
neighbouring numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray


class Data(NamedTuple):
    """A loss on the device: packed data as :meth:`Source.pack` lays them out, and scratch."""

    ints: Any
    reals: Any
    work: Any


class DeviceOracle(NamedTuple):
    """One kind of loss for the GPU; kernels are compiled once for each.

    ``gradient(b, lane, lanes, dim, theta, data, extra, out)``; ``gradients(lane, lanes, dim, theta, data, extra, out)`` with out (m, p, L), which leaves in
    ``data.work`` what ``products(lane, lanes, dim, theta, data, extra, first, second, out_first, out_second)`` reads.
    """

    gradient: Any
    gradients: Any
    products: Any


class DeviceLoss(NamedTuple):
    """A loss for the GPU: its functions, its scratch, its arrays."""

    oracle: DeviceOracle
    work: Callable[[int], int]  # lanes -> doubles of scratch
    extra: tuple[NDArray[Any], ...] = ()  # arrays of a user's loss
