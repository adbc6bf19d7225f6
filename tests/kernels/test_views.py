"""Views of contiguous arrays in another shape, and arrays whose references are not counted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import pytest

from stepbias.kernels.views import borrowed, flat, rows, shaped
from tests.reference import Floats


@numba.njit
def _views(cube: Any, matrix: Any) -> Any:
    a, b, c = flat(cube), rows(cube), shaped(flat(cube), cube)
    flat(matrix)[1] = 7.0
    return a.sum(), a.size, b.shape, b[1, 4], c.shape, c[1, 1, 1]


def test_views_are_the_same_numbers_in_another_shape() -> None:
    cube, matrix = np.arange(24.0).reshape(2, 3, 4), np.zeros((2, 2))
    total, size, shape, entry, same, last = _views(cube, matrix)
    assert (total, size, shape) == (cube.sum(), 24, (2, 12))
    assert entry == cube.reshape(2, 12)[1, 4]
    assert (same, last) == ((2, 3, 4), cube[1, 1, 1])
    assert matrix[0, 1] == 7.0  # a view, not a copy


@numba.njit
def _flat_of(array: Any) -> Any:
    return flat(array).size


@numba.njit
def _rows_of(array: Any) -> Any:
    return rows(array).size


@pytest.mark.parametrize(
    ("function", "array"), [(_flat_of, np.zeros((4, 4))[:, ::2]), (_rows_of, np.zeros((4, 4)))]
)
def test_what_is_no_such_array_does_not_compile(function: Any, array: Floats) -> None:
    with pytest.raises(numba.core.errors.TypingError):
        function(array)


class Pair(NamedTuple):
    first: Floats
    inner: tuple[Floats, int]


@numba.njit
def _through(pair: Any) -> Any:
    pair = borrowed(pair)
    pair.first[0] += 1.0
    flat(pair.inner[0])[0] += pair.inner[1]


def test_borrowed_arrays_are_the_callers() -> None:
    pair = Pair(np.zeros(3), (np.zeros((2, 2)), 5))
    for _ in range(1000):  # a reference too many or too few in every call would show
        _through(pair)
    assert pair.first[0] == 1000.0
    assert pair.inner[0][0, 0] == 5000.0
