"""The explicit constants against bounds made mechanically by the product and quotient rules, in exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepbias.kernels.loss import Loss
from stepbias.theory.constants import Constants, compute, constants
from stepbias.theory.constants_formulas import Assumed, moments
from stepbias.theory.optimizers import Adam, RMSProp


class Size(NamedTuple):
    """Bounds on a function of time and on its first two derivatives."""

    value: Fraction
    first: Fraction
    second: Fraction


def times(a: Size, b: Size) -> Size:
    return Size(
        a.value * b.value,
        a.first * b.value + a.value * b.first,
        a.second * b.value + 2 * a.first * b.first + a.value * b.second,
    )


def plus(a: Size, b: Size) -> Size:
    return Size(*(x + y for x, y in zip(a, b, strict=True)))


def scaled(a: Size, factor: Any) -> Size:
    return Size(*(factor * x for x in a))


def inverse(lowest: Fraction, first: Fraction, second: Fraction) -> Size:
    """Of 1/f with f >= lowest: |(1/f)'| <= |f'|/f^2, |(1/f)''| <= 2 |f'|^2/f^3 + |f''|/f^2."""
    return Size(1 / lowest, first / lowest**2, 2 * first**2 / lowest**3 + second / lowest**2)


fractions = st.builds(Fraction, st.integers(1, 30), st.integers(1, 30))
shares = st.builds(Fraction, st.integers(1, 19), st.just(20))


@st.composite
def assumptions(draw: st.DrawFn) -> Assumed:
    M = tuple(draw(fractions) for _ in range(4))
    return Assumed(
        draw(st.integers(1, 4)),
        M,  # type: ignore[arg-type]
        beta=draw(st.one_of(st.just(Fraction(0)), shares)),
        rho=draw(shares),
        eps=draw(st.one_of(st.just(Fraction(0)), fractions)),
        root=draw(fractions),
        horizon=draw(fractions),
    )


@settings(max_examples=40)
@given(assumptions())
def test_every_constant_is_what_the_rules_of_calculus_give(a: Assumed) -> None:
    c = compute(a)
    p, (M1, M2, M3, _), R, q, T = a.dim, a.M, a.root, a.root + a.eps, a.horizon
    r1, b1 = a.rho / (1 - a.rho), a.beta / (1 - a.beta)
    # values alone: the sums, and the speed of the flow
    F0 = M1 / q
    U0 = p * M2 * F0
    assert (U0, r1 * M1 * U0, M1 * U0) == (c.C9, c.C5, c.C6)
    assert M1 * (2 * c.C5 + c.C6) / (2 * q * q * R) + (2 * b1 + 1) * U0 / (2 * q) == c.C28
    D1 = F0 + T * c.C28
    assert (D1, p * M2 * D1, p * M2 * c.C28) == (c.D1, c.C7, c.C8)
    # V = sum of w g^2 with sum of w at most 1, R' = V' / (2 R), R'' = (V'' / 2 - R'^2) / R
    R1 = M1 * c.C7 / R
    assert c.C11 == R1
    # first derivatives need no second ones: any number stands in for them
    field = _field(c, Fraction(1), Fraction(1), a)
    assert field["U"].first == c.C13
    assert field["A"].first == c.C17
    assert field["B"].first == c.C18
    assert c.C27 == c.C17 + c.C18
    D2 = field["F"].first + T * c.C27
    assert c.D2 == D2
    g2 = p**2 * M3 * D1**2 + p * M2 * D2
    R2 = (c.C7**2 + M1 * g2 + R1**2) / R
    assert (g2, R2) == (c.C19, c.C20)
    field = _field(c, g2, R2, a)
    assert field["P"].first == c.C10 + c.C14
    assert field["Pbar"][1:] == (c.C15, c.product_second)
    assert field["P"].second == r1 * c.product_second
    assert field["U"].second == c.C24
    assert field["D^-2"].second == c.C21
    assert field["R^-1"].second == c.C22
    assert field["D^-2 R^-1"][1:] == (c.C16, c.C23)
    assert field["F"].second == c.leading_second
    assert field["A"].second == c.A_second
    assert field["B"].second == c.B_second
    assert c.leading_second + T * (c.A_second + c.B_second) == c.D3


def _field(c: Constants, g2: Fraction, R2: Fraction, a: Assumed) -> dict[str, Size]:
    """Sizes of all parts of the field, from those of gradients, Hessians and R."""
    p, (M1, M2, M3, M4), R, q = a.dim, a.M, a.root, a.root + a.eps
    r1, b1 = a.rho / (1 - a.rho), a.beta / (1 - a.beta)
    g = Size(M1, c.C7, g2)
    hessian = Size(M2, p * M3 * c.D1, p**2 * M4 * c.D1**2 + p * M3 * c.D2)
    D, single = inverse(q, c.C11, R2), inverse(R, c.C11, R2)
    F = times(g, D)
    U = scaled(times(hessian, F), p)  # per step of age
    Pbar = times(g, U)
    square = times(D, D)
    weight = times(square, single)
    sums = plus(scaled(Pbar, 2 * r1), Pbar)
    return {
        "F": F,
        "U": U,
        "P": scaled(Pbar, r1),
        "Pbar": Pbar,
        "D^-2": square,
        "R^-1": single,
        "D^-2 R^-1": weight,
        "A": scaled(times(times(g, sums), weight), Fraction(1, 2)),
        "B": scaled(times(scaled(U, 2 * b1 + 1), D), Fraction(1, 2)),
    }


@given(assumptions())
def test_constants_of_past_times_and_of_one_step(a: Assumed) -> None:
    c = compute(a)
    p, (M1, M2, _, _), R, q = a.dim, a.M, a.root, a.root + a.eps
    r1, r2, r3, r4 = moments(a.rho)
    b1 = a.beta / (1 - a.beta)
    assert 2 * M1 * c.C7 * r1 == c.C25
    # B_k = (C13 k^2 + s k) / 2, squared and summed; |s| where the print has it
    s = abs(c.C19 + 2 * c.C8 - c.C13)
    slope = M1 * (c.C13 * r2 + s * r1)
    cross = c.C9 * (c.C13 * r3 + s * r2)
    square = (c.C13**2 * r4 + 2 * s * c.C13 * r3 + s**2 * r2) / 4
    assert slope + cross + square + c.C9**2 * r2 == c.C26
    assert b1 * c.C7 == c.C31
    # the mean of B_k under (1 - beta) beta^k: its second moment is b_1 + 2 b_1^2
    assert ((c.C19 + 2 * c.C8 - c.C13) * b1 + c.C13 * (b1 + 2 * b1**2)) / 2 == c.C30
    assert p * M2 * (1 / q + M1**2 / (q**2 * R)) * c.C28 == c.C29
    reciprocal = (c.C25**2 + R**2 * c.C26) / (2 * R**3 * q**2)
    expected = c.D3 / 6 + (c.C27 + c.C29) / 2 + M1 * reciprocal
    assert c.local == expected + c.C30 / q + c.C5 * c.C31 / (q**2 * R)
    assert c.spread == M2 / q * (M1**2 / (R * q) + 1)


@given(shares)
def test_moments_are_the_sums(rho: Fraction) -> None:
    r = float(rho)
    count = int(60 / -math.log(r)) + 100  # k^4 rho^k below 1e-15 of the sum
    for power, value in enumerate(moments(rho), start=1):
        total = math.fsum((1 - r) * k**power * r**k for k in range(count))
        # each addend carries three roundings and a power: count * 2^-53 at worst in r^k
        assert total == pytest.approx(float(value), rel=4e-13 + count * 2.3e-16)


@given(assumptions())
def test_printed_constants_differ_in_three_places(a: Assumed) -> None:
    c, printed = compute(a), compute(a, corrected=False)
    assert c.C9**2 * moments(a.rho)[1] == c.C26 - printed.C26
    M1, R, q = a.M[0], a.root, a.root + a.eps
    shared = c.D3 / 6 + (c.C27 + c.C29) / 2 + c.C30 / q + c.C5 * c.C31 / (q**2 * R)
    assert M1 * (printed.local - shared) == c.local - shared - M1 * c.C9**2 * moments(a.rho)[1] / (2 * R * q**2)  # fmt: skip
    same = [n for n in c.terms if n not in ("C26", "local")]
    assert all(getattr(c, n) == getattr(printed, n) for n in same)


@given(assumptions(), fractions)
def test_constants_have_their_units(a: Assumed, s: Fraction) -> None:
    """theta -> s theta: M_k s^-k, epsilon and R s^-1, T s; C_26 and the local constant mix powers, since their proof bounds h^3 by h^2."""
    M = tuple(m / s ** (k + 1) for k, m in enumerate(a.M))
    there = compute(Assumed(a.dim, M, a.beta, a.rho, a.eps / s, a.root / s, s * a.horizon))
    here = compute(a)
    powers = {
        "C5": -3, "C6": -3, "C28": -1, "D1": 0, "C7": -2, "C8": -3, "C9": -2, "C10": -4, "C14": -4, "C15": -4, "C11": -2,
        "C12": -3, "C13": -3, "C16": 2, "C17": -2, "C18": -2, "C27": -2, "D2": -1, "C19": -3, "C20": -3, "C21": 0, "C22": -1,
        "C23": 1, "C24": -4, "leading_second": -2, "product_second": -5, "A_second": -3, "B_second": -3, "D3": -2, "C25": -3,
        "C29": -2, "C30": -3, "C31": -2, "spread": -1,
    }  # fmt: skip
    assert set(here.terms) - set(powers) == {"C26", "local"}
    for name, power in powers.items():
        assert getattr(there, name) == getattr(here, name) * s**power, name


@given(assumptions())
def test_terms_sum_up_and_no_bound_is_negative(a: Assumed) -> None:
    c = compute(a)
    for name, terms in c.terms.items():
        assert sum(terms.values()) == getattr(c, name), name
        assert all(value >= 0 for value in terms.values()), name


OPTIMIZER = RMSProp(rho=0.9, eps=0.0, eps_root=4.0)
BOUNDS = (1.0, 0.5, 0.25, 0.125)


def test_the_entrance_gives_floats_and_the_printed_names() -> None:
    c = constants(OPTIMIZER, 2, BOUNDS, 0.1)
    assert (c.assumed.root, c.q) == (2.0, 2.0)
    exact = compute(Assumed(2, tuple(map(Fraction, BOUNDS)), Fraction(0), Fraction(9, 10), Fraction(0), Fraction(2), Fraction(1, 10)))  # type: ignore[arg-type]  # fmt: skip
    for name in c.terms:
        # a few hundred operations, none a subtraction but in s: 1e-13
        assert getattr(c, name) == pytest.approx(float(getattr(exact, name)), rel=1e-13)
    named = c.named()
    assert {f"C{k}" for k in (2, *range(5, 32))} | {"D1", "D2", "D3", "d4", "d5", "d6"} == set(
        named
    )
    assert named["C2"] == named["d4"] == c.local
    assert named["d6"] == named["d4"] * named["d5"]
    assert named["d5"] == pytest.approx((1 + 0.25 * 1.25 * math.sqrt(2)) * math.sqrt(2), rel=1e-14)


@pytest.mark.parametrize(
    ("optimizer", "root", "names"),
    [
        (RMSProp(0.9, 0.1, 0.0), 0.5, ("C1", "d1", "d2", "d3")),
        (Adam(0.9, 0.9, 0.1, 0.0), 0.5, ("C3", "d7", "d8", "d9")),
        (Adam(0.9, 0.9, 0.0, 0.1), None, ("C4", "d10", "d11", "d12")),
    ],
)
def test_names_by_algorithm(optimizer: Any, root: float | None, names: tuple[str, ...]) -> None:
    found = constants(optimizer, 1, BOUNDS, 0.1, root).named()
    assert [n for n in found if n in ("C1", "C2", "C3", "C4") or n[0] == "d"] == list(names)


def test_printed_growth_carries_the_level() -> None:
    c = constants(OPTIMIZER, 3, BOUNDS, 0.1)
    printed = constants(OPTIMIZER, 3, BOUNDS, 0.1, corrected=False)
    X = c.spread * math.sqrt(3)
    assert c.growth == pytest.approx((1 + X) * math.sqrt(3), rel=1e-14)
    assert printed.growth == pytest.approx((1 + X * printed.local) * math.sqrt(3), rel=1e-14)


def test_global_bound_overflows_to_infinity() -> None:
    c = constants(RMSProp(0.9, 0.0, 1e-8), 2, BOUNDS, 0.1)
    assert c.global_bound([0.0], 0.1)[0] == pytest.approx(c.level * 0.01, rel=1e-14)
    assert c.global_bound([1.0], 0.1)[0] == math.inf


def test_bounds_of_a_loss_fit() -> None:
    loss = Loss.sinusoids([[1.0]], [[1.0, 0.5]], [[0.3]])
    limits = loss.bounds(-1.0, 1.0)
    assert limits is not None
    c = constants(Adam(), loss.dim, limits, 1e-3, root=0.1)
    assert pytest.approx(2 * limits[0] * limits[1] / (0.1 + 1e-8), rel=1e-14) == c.C9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Adam", 1, BOUNDS, 0.1), "optimizer = 'Adam'"),
        ((Adam(beta=np.array([0.1, 0.2])), 1, BOUNDS, 0.1, 1.0), r"beta has shape \(2,\)"),
        ((OPTIMIZER, 0, BOUNDS, 0.1), "dim = 0"),
        ((OPTIMIZER, 1, (1.0, 1.0), 0.1), r"bounds = \(1.0, 1.0\)"),
        ((OPTIMIZER, 1, (0.0, 1.0, 1.0, 1.0), 0.1), "bounds = "),
        ((OPTIMIZER, 1, (1.0, -1.0, 1.0, 1.0), 0.1), "bounds = "),
        ((OPTIMIZER, 1, BOUNDS, 0.0), "horizon = 0.0"),
        ((Adam(), 1, BOUNDS, 0.1), "root = None"),
        ((Adam(), 1, BOUNDS, 0.1, -1.0), "root = -1.0"),
    ],
)
def test_bad_input_is_named(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        constants(*arguments)


def test_corrected_must_be_a_bool() -> None:
    with pytest.raises(TypeError, match="corrected = 1"):
        constants(OPTIMIZER, 1, BOUNDS, 0.1, corrected=1)  # type: ignore[arg-type]
