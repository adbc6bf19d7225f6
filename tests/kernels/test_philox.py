"""Philox against its published vectors; uniform and normal numbers against their laws."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from stepbias.kernels import philox as module
from stepbias.kernels.elementary import log

# Known answers published with the generator (Random123, kat_vectors): counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def draw(function: Any, seed: int, stream: int, count: int, start: int = 0) -> NDArray[np.float64]:
    @numba.njit(error_model="numpy")
    def body(seed: int, stream: int, start: int, out: NDArray[np.float64]) -> None:
        for i in range(out.size):
            out[i] = function(seed, stream, start + i)

    out = np.empty(count)
    body(seed, stream, start, out)
    return out


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert module.philox(*counter, *key) == expected
    assert module.philox.py_func(*counter, *key) == expected


def test_compiled_equals_plain_python() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        words = [int(w) for w in rng.integers(0, 2**32, 6)]
        assert module.philox(*words) == module.philox.py_func(*words)


def test_layout_of_seed_stream_and_index() -> None:
    # key = (low, high) of the seed, counter = (low, high) of the index, then of the stream
    seed, stream, index = 0x299F31D0A4093822, 0x0370734413198A2E, 0x85A308D3243F6A88
    expected = KNOWN[2][2]
    assert module.words(np.int64(seed), np.int64(stream), np.uint64(index)) == expected


def test_signed_and_unsigned_seeds_are_the_same_bits() -> None:
    unsigned = [np.uint64(2**64 - k) for k in (1, 2, 3)]
    assert module.words(-1, -2, -3) == module.words(*unsigned) == module.words.py_func(-1, -2, -3)


def test_uniform_is_open_and_symmetric() -> None:
    low = module._to_unit(0, 0)
    high = module._to_unit(0xFFFFFFFF, 0xFFFFFFFF)
    assert low == 2.0**-53
    assert high == 1.0 - 2.0**-53
    assert module._to_unit.py_func(0xFFFFFFFF, 0xFFFFFFFF) == high
    assert module._to_unit(1 << 12, 0) - low == 2.0**-52


def test_extreme_normal_numbers_are_finite() -> None:
    assert np.sqrt(-2.0 * log(2.0**-53)) == pytest.approx(8.571674348652905, rel=1e-15)
    assert log(1.0 - 2.0**-53) < 0.0


COUNT = 200_000
# Fixed seeds: these tests cannot fail by chance. The margins are five standard errors and, for
# Kolmogorov-Smirnov, the 1e-4 quantile, so that a wrong law fails and the right one stays clear.
MARGIN = 5.0
P_VALUE = 1e-4


@pytest.mark.parametrize("seed", [0, 1, -7, 2**62])
def test_uniform_law(seed: int) -> None:
    u = draw(module.uniform, seed, 3, COUNT)
    assert u.min() > 0.0
    assert u.max() < 1.0
    assert abs(u.mean() - 0.5) < MARGIN * np.sqrt(1 / 12 / COUNT)
    assert abs(u.var() - 1 / 12) < MARGIN * np.sqrt(1 / 180 / COUNT)
    assert stats.kstest(u, "uniform").pvalue > P_VALUE


@pytest.mark.parametrize("seed", [0, 1, -7, 2**62])
def test_normal_law(seed: int) -> None:
    x = draw(module.normal, seed, 3, COUNT)
    assert abs(x.mean()) < MARGIN / np.sqrt(COUNT)
    assert abs(x.var() - 1.0) < MARGIN * np.sqrt(2 / COUNT)
    assert stats.kstest(x, "norm").pvalue > P_VALUE


def test_pairs_are_uncorrelated_and_normal() -> None:
    pairs = np.array([module.normals(11, 0, i) for i in range(20_000)])
    assert abs(np.corrcoef(pairs.T)[0, 1]) < MARGIN / np.sqrt(len(pairs))
    assert stats.kstest(pairs[:, 1], "norm").pvalue > P_VALUE
    u = np.array([module.uniforms(11, 0, i) for i in range(20_000)])
    assert abs(np.corrcoef(u.T)[0, 1]) < MARGIN / np.sqrt(len(u))


@pytest.mark.parametrize(
    ("first", "second"),
    [((0, 0), (0, 1)), ((0, 0), (1, 0)), ((5, 1), (1, 5)), ((0, 0), (2**32, 0))],
)
def test_streams_and_seeds_are_independent(first: tuple[int, int], second: tuple[int, int]) -> None:
    a = draw(module.uniform, *first, 20_000)
    b = draw(module.uniform, *second, 20_000)
    assert np.unique(np.concatenate([a, b])).size == 40_000
    assert abs(np.corrcoef(a, b)[0, 1]) < MARGIN / np.sqrt(a.size)


def test_number_depends_on_its_index_only() -> None:
    whole = draw(module.normal, 4, 2, 101)
    parts = np.concatenate(
        [draw(module.normal, 4, 2, k, s) for s, k in ((0, 7), (7, 64), (71, 30))]
    )
    assert (whole.view(np.int64) == parts.view(np.int64)).all()
    assert whole[50] == module.normal(4, 2, 50)


def test_indices_above_32_bits_are_distinct() -> None:
    assert module.words(0, 0, 0) != module.words(0, 0, 2**32)
    assert module.words(0, 2**32, 0) != module.words(0, 0, 2**32)
