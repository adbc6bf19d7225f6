"""What an order fit accepts: arguments that are refused, and data that say nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepbias.verify.fit import fit_order, fit_orders

H = 2.0 ** -np.arange(4, 12)


@pytest.mark.parametrize(
    ("h", "told"),
    [
        ([0.1], "only 1 points, all exactly zero"),
        ([0.4, 0.2, 0.1], "only 3 points, all exactly zero"),
        ([0.13, 0.12, 0.11, 0.1], "span only a factor 1.3"),
        ([0.4, 0.3, 0.2, 0.1], ""),
    ],
)
def test_few_zeros_say_nothing(h: list[float], told: str) -> None:
    fit = fit_order(h, np.zeros(len(h)), 2.0, floor=0.0)
    assert fit.verdict == ("inconclusive" if told else "confirmed")
    assert told in fit.reason


@pytest.mark.parametrize(("change", "error", "match"), [
    ({"h": H[:3]}, ValueError, "error must have the shape"),
    ({"h": H[None]}, ValueError, "one-dimensional"),
    ({"h": -H}, ValueError, "h must be positive"),
    ({"h": np.where(H[2] == H, np.nan, H)}, ValueError, "h must be positive"),
    ({"h": np.where(H[2] == H, H[1], H)}, ValueError, "distinct"),
    ({"h": [], "error": []}, ValueError, "H > 0"),
    ({"error": H + 1j}, TypeError, "error must be real"),
    ({"expected": 0.0}, ValueError, "expected"),
    ({"expected": "2"}, TypeError, "expected"),
    ({"level": 1.0}, ValueError, "level"),
    ({"floor": -1.0}, ValueError, "floor must not be negative"),
    ({"floor": H[:3]}, ValueError, "floor must be a number or"),
    ({"memory": 0.0}, ValueError, "memory"),
    ({"sampling": -0.1}, ValueError, "sampling must not be negative"),
    ({"sampling": H[:3]}, ValueError, "sampling must be a number or"),
    ({"sampling": np.inf}, ValueError, "sampling must be finite"),
    ({"sampling": "5 %"}, TypeError, "sampling must be real"),
    ({"exact": 1e-12}, TypeError, "exact must be True or False, got 1e-12"),
    ({"exact": "no"}, TypeError, "exact must be True or False, got 'no'"),
    ({"exact": 1}, TypeError, "exact must be True or False, got 1"),
    ({"exact": None}, TypeError, "exact must be True or False, got None"),
    ({"h": np.ma.masked_less(H, H[-2])}, ValueError, "h has masked entries"),
    ({"error": np.ma.masked_less(H**2, H[-2] ** 2)}, ValueError, "error has masked entries"),
    ({"error": [*(H[1:] ** 2), np.ma.masked]}, ValueError, "error has masked entries"),
    ({"floor": np.ma.masked_less(H, H[-2])}, ValueError, "floor has masked entries"),
    ({"sampling": np.ma.masked_less(H, H[-2])}, ValueError, "sampling has masked entries"),
    ({"memory": np.ma.masked}, ValueError, "memory has masked entries"),
    ({"h": [[0.1, 0.2], [0.3]]}, ValueError, "^h = .* has rows of unequal lengths"),
    ({"error": [[0.1, 0.2], [0.3]]}, ValueError, "^error = .* has rows of unequal lengths"),
    ({"floor": [[0.1, 0.2], [0.3]]}, ValueError, "^floor = .* has rows of unequal lengths"),
])  # fmt: skip
def test_bad_input(change: dict[str, Any], error: type[Exception], match: str) -> None:
    arguments: dict[str, Any] = {"h": H, "error": H**2, "expected": 2.0} | change
    with pytest.raises(error, match=match):
        fit_order(**arguments)


def test_arrays_without_masked_entries_are_plain_arrays() -> None:
    true: Any = np.True_
    plain = fit_order(H, H**2, 2.0, true)
    fit = fit_order(np.ma.array(H), np.ma.masked_less(H**2, 0.0), 2.0, True)
    assert (fit.verdict, fit.interval) == (plain.verdict, plain.interval)
    masked = np.ma.masked_less(np.stack([H, H]), H[-2])
    for error in (masked, list(masked)):
        with pytest.raises(ValueError, match="error has masked entries"):
            fit_orders(H, error, 2.0)
