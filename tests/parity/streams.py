"""Random numbers and elementary functions as device functions, number by number against the CPU."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import cuda
from numpy.typing import NDArray

from stepbias.kernels import elementary as functions
from stepbias.kernels import philox
from stepbias.kernels.gpu import device
from stepbias.kernels.gpu.bind import device as compiled
from tests.reference import UNIT

Floats = NDArray[np.float64]

COUNT = 64
SEEDS = (0, 1, -7, 2**62, 0x299F31D0A4093822)
STREAM = 3
# Known answers published with the generator (Random123, kat_vectors): counter, key, result.
KNOWN = (
    ((0, 0, 0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 6, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


def _launch(kernel: Any, count: int, *arguments: Any) -> None:
    """One thread a number, the last block part-filled."""
    kernel[count // 24 + 1, 24](*arguments)


def known_answers() -> None:
    """Philox against its published vectors."""
    generator = compiled(philox.philox)

    @cuda.jit
    def kernel(counters, out):  # type: ignore[no-untyped-def]
        i = cuda.grid(1)
        if i < counters.shape[0]:
            a, b, c, d = generator(
                counters[i, 0], counters[i, 1], counters[i, 2],
                counters[i, 3], counters[i, 4], counters[i, 5],
            )  # fmt: skip
            out[i, 0], out[i, 1], out[i, 2], out[i, 3] = a, b, c, d

    counters = device.upload(np.array([given for given, _ in KNOWN]))
    out = device.upload(np.zeros((len(KNOWN), 4), dtype=np.int64))
    _launch(kernel, len(KNOWN), counters, out)
    np.testing.assert_array_equal(device.download(out), [expected for _, expected in KNOWN])


def words() -> None:
    """All four words of a counter: the layout of seed, stream and index."""
    generator = compiled(philox.words)

    @cuda.jit
    def kernel(seeds, out):  # type: ignore[no-untyped-def]
        i = cuda.grid(1)
        if i < seeds.size:
            a, b, c, d = generator(seeds[i], STREAM, 5 + i)
            out[i, 0], out[i, 1], out[i, 2], out[i, 3] = a, b, c, d

    seeds = np.array(SEEDS)
    out = device.upload(np.zeros((len(seeds), 4), dtype=np.int64))
    _launch(kernel, len(seeds), device.upload(seeds), out)
    expected = [philox.words(seed, STREAM, 5 + i) for i, seed in enumerate(seeds)]
    np.testing.assert_array_equal(device.download(out), expected)


def _drawn(function: Any, seed: int) -> tuple[Floats, Floats]:
    """A stream from the device and from the CPU."""
    generator = compiled(function)

    @cuda.jit
    def kernel(seed, out):  # type: ignore[no-untyped-def]
        i = cuda.grid(1)
        if i < out.size:
            out[i] = generator(seed, STREAM, i)

    @numba.njit
    def body(seed, out):  # type: ignore[no-untyped-def]
        for i in range(out.size):
            out[i] = function(seed, STREAM, i)

    out, expected = device.zeros((COUNT,)), np.empty(COUNT)
    _launch(kernel, COUNT, np.int64(seed), out)
    body(seed, expected)
    return device.download(out), expected


def uniform(seed: int) -> None:
    """Uniform numbers, bit for bit on every device: integers and one exact subtraction."""
    found, expected = _drawn(philox.uniform, seed)
    np.testing.assert_array_equal(found.view(np.int64), expected.view(np.int64))


def normal(seed: int, units: int) -> None:
    """Normal numbers to ``units`` roundings of the largest radius there is, 8.58."""
    found, expected = _drawn(philox.normal, seed)
    assert (np.abs(found - expected) <= 8.58 * units * UNIT).all()
    assert np.abs(expected).max() > 1.0


_ANY = np.concatenate([np.linspace(-30.0, 30.0, 61), [0.0, 1e-300, -1e-9, 0.3465, 700.0]])
_POSITIVE = np.concatenate([np.geomspace(1e-290, 1e290, 40), np.linspace(0.5, 2.0, 31)])
ELEMENTARY: dict[str, Floats] = {
    "sin": np.concatenate([_ANY, [1e6, -999999.5]]),
    "cos": np.concatenate([_ANY, [1e6, -999999.5]]),
    "exp": np.concatenate([_ANY, [-745.0, -710.0, 709.0]]),
    "log": np.concatenate([_POSITIVE, [5e-324, np.inf]]),
    "log1p": np.linspace(-0.5, 1.0, 61),
    "tanh": _ANY,
    "sigmoid": _ANY,
    "softplus": _ANY,
    "log_cosh": _ANY,
    "reciprocal_root": _POSITIVE,
}


def elementary(name: str, units: int) -> None:
    """One function on its range, to ``units`` roundings of its value."""
    function, points = getattr(functions, name), ELEMENTARY[name]
    given = compiled(function)

    @cuda.jit
    def kernel(x, out):  # type: ignore[no-untyped-def]
        i = cuda.grid(1)
        if i < x.size:
            out[i] = given(x[i])

    out = device.zeros(points.shape)
    _launch(kernel, len(points), device.upload(points), out)
    found, expected = device.download(out), np.array([function(x) for x in points])
    if units == 0:
        np.testing.assert_array_equal(found.view(np.int64), expected.view(np.int64))
    else:  # numbers of the smallest sizes are rounded to multiples of 5e-324
        np.testing.assert_allclose(found, expected, rtol=units * UNIT, atol=2e-323)
