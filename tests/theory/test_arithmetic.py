"""Arithmetics: how wide they are, and that none disturbs another."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from stepbias.theory import arithmetic
from stepbias.theory.arithmetic import DOUBLE, EXTENDED, Arithmetic, second, software

WIDE = [EXTENDED] if arithmetic.longdouble_is_wider() else []


@pytest.mark.parametrize("numbers", [DOUBLE, *WIDE, software()], ids=lambda a: a.name)
def test_functions_are_right_to_the_stated_unit(numbers: Arithmetic) -> None:
    x = numbers.real(np.array([0.3, 1.7]))
    with mpmath.workdps(60):
        for name in ("sqrt", "exp", "sin", "cos", "tanh"):
            for value, start in zip(getattr(numbers, name)(x), (0.3, 1.7), strict=True):
                exact = getattr(mpmath, name)(mpmath.mpf(start))
                # two units: library functions of longdouble are right to one, mpmath's to half of one
                assert abs(mpmath.mpf(str(value)) - exact) <= 2.1 * numbers.unit * abs(
                    exact
                ) + mpmath.mpf(10) ** (-17 if numbers is DOUBLE else -21)


@pytest.mark.parametrize("numbers", [DOUBLE, *WIDE, software()], ids=lambda a: a.name)
def test_doubles_keep_their_value(numbers: Arithmetic) -> None:
    values = np.array([[0.1, -1e-300], [3.0, 2.0**-53]])
    np.testing.assert_array_equal(numbers.real(values).astype(np.float64), values)
    assert float(numbers.real(0.1)) == 0.1


def test_software_floats_leave_the_global_precision_alone() -> None:
    before = mpmath.mp.dps
    third = software(40).real(1) / software(40).real(3)
    assert mpmath.mp.dps == before
    assert str(third).startswith("0." + 30 * "3")


def test_a_longdouble_that_is_a_double_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "longdouble", np.float64)
    assert not arithmetic.longdouble_is_wider()
    assert second() is software()
