"""Counter-based random numbers: Philox 4x32-10, uniform and normal variates.

Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011). A number is a
pure function of (seed, stream, index): no state, hence the same numbers on any count of threads, on
CPU and GPU, whole or piecewise.

The words are 32-bit values held in int64. A product that overflows the sign keeps its bits, and the
shifted high half is masked, so plain Python integers give the same words.
"""

from __future__ import annotations

import math

import numpy as np

from stepbias.kernels.elementary import log, sincos
from stepbias.kernels.jit import inline

_MASK = 0xFFFFFFFF
_MULTIPLIER_0 = 0xD2511F53
_MULTIPLIER_1 = 0xCD9E8D57
_WEYL_0 = 0x9E3779B9  # golden ratio
_WEYL_1 = 0xBB67AE85  # sqrt(3) - 1
_ROUNDS = 10
_EXPONENT_OF_ONE = 0x3FF0000000000000
_TWO_PI = 6.283185307179586


@inline
def philox(c0: int, c1: int, c2: int, c3: int, key_0: int, key_1: int) -> tuple[int, int, int, int]:
    """Philox 4x32-10: four random words of a counter under a key.

    Parameters
    ----------
    c0, c1, c2, c3 : int
        Counter, four words in [0, 2^32).
    key_0, key_1 : int
        Key, two words in [0, 2^32).

    Returns
    -------
    tuple of int
        Four words in [0, 2^32).
    """
    for _ in range(_ROUNDS):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0 = ((product_1 >> 32) & _MASK) ^ c1 ^ key_0
        c1 = product_1 & _MASK
        c2 = ((product_0 >> 32) & _MASK) ^ c3 ^ key_1
        c3 = product_0 & _MASK
        key_0 = (key_0 + _WEYL_0) & _MASK
        key_1 = (key_1 + _WEYL_1) & _MASK
    return c0, c1, c2, c3


@inline
def words(seed: int, stream: int, index: int) -> tuple[int, int, int, int]:
    """Four random words of (seed, stream, index): seed is the key, index and stream the counter.

    Parameters
    ----------
    seed, stream, index : int
        64-bit integers; int64 and uint64 with the same bits give the same words. Compiled code
        takes a Python integer above 2^63 - 1 only as ``numpy.uint64``.

    Returns
    -------
    tuple of int
        Four words in [0, 2^32).
    """
    # The same bits as signed numbers: unsigned and signed operands together would become floats.
    key, group, item = np.int64(seed), np.int64(stream), np.int64(index)
    return philox(
        item & _MASK,
        (item >> 32) & _MASK,
        group & _MASK,
        (group >> 32) & _MASK,
        key & _MASK,
        (key >> 32) & _MASK,
    )


@inline
def _to_unit(low: int, high: int) -> float:
    """(k + 1/2) / 2^52 with the 52 upper bits k of two words: open at both ends, symmetric."""
    bits = (high << 20) | (low >> 12)
    return np.int64(bits | _EXPONENT_OF_ONE).view(np.float64) - 1.0 + 2.0**-53


@inline
def uniforms(seed: int, stream: int, index: int) -> tuple[float, float]:
    """Two independent uniform numbers; see `uniform`."""
    w0, w1, w2, w3 = words(seed, stream, index)
    return _to_unit(w0, w1), _to_unit(w2, w3)


@inline
def uniform(seed: int, stream: int, index: int) -> float:
    """Uniform number in the open interval (0, 1), with 52 random bits.

    A stream serves one purpose: `uniform` and `normal` of the same (seed, stream, index) come from
    the same words and are dependent.

    Parameters
    ----------
    seed, stream, index : int
        64-bit integers.

    Returns
    -------
    float
        Odd multiple of 2^-53 in (0, 1), exactly the same on every device.
    """
    return uniforms(seed, stream, index)[0]


@inline
def normals(seed: int, stream: int, index: int) -> tuple[float, float]:
    """Two independent standard normal numbers (Box-Muller); see `normal`."""
    u, v = uniforms(seed, stream, index)
    radius = math.sqrt(-2.0 * log(u))
    sine, cosine = sincos(_TWO_PI * v)
    return radius * cosine, radius * sine


@inline
def normal(seed: int, stream: int, index: int) -> float:
    """Return a standard normal number (first of the Box-Muller pair); its size is below 8.58.

    Parameters
    ----------
    seed, stream, index : int
        64-bit integers; see `uniform` about streams.

    Returns
    -------
    float
        Standard normal variate.
    """
    return normals(seed, stream, index)[0]
