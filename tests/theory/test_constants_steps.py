"""Right sides, changes of constants, and single steps of the proofs in exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbias.theory import constants_steps as steps
from stepbias.theory.constants import Constants, compute
from stepbias.theory.constants_formulas import Assumed
from stepbias.theory.constants_right import RIGHT, altered, past_gradient, past_square

rationals = st.fractions(-20, 20, max_denominator=12)


def example(dim: int = 2, corrected: bool = True, eps: int = 3) -> Constants:
    numbers = [Fraction(n, 7) for n in (9, 8, 5, 3)]
    a = Assumed(dim, tuple(numbers), Fraction(1, 2), Fraction(3, 5), Fraction(eps), Fraction(2, 3), Fraction(1, 4))  # type: ignore[arg-type]  # fmt: skip
    return compute(a, corrected)


@given(rationals, rationals, rationals, st.fractions(0, 3, max_denominator=12))
def test_elementary_inequality(a: Fraction, b: Fraction, K: Fraction, h: Fraction) -> None:
    whole = steps.elementary(a, b, K, h)
    assert whole.left <= whole.right
    r = a - b - K * h
    assert whole.left == abs(2 * b * r + 2 * K * h * r + r**2 + K**2 * h**2)
    printed = steps.elementary(a, b, K, h, "K^2 h^2")
    assert whole.right - printed.right == K**2 * h**2
    if r == 0 and K * h != 0:
        assert printed.left > printed.right


def test_printed_elementary_inequality_fails_where_the_expansion_is_exact() -> None:
    sides = steps.elementary(Fraction(3), Fraction(1), Fraction(2), Fraction(1), "K^2 h^2")
    assert sides.left == 4
    assert sides.right == 0


@given(rationals, rationals, st.integers(1, 6))
def test_sign_with_a_root(x: Fraction, y: Fraction, dim: int) -> None:
    found = steps.WithRoot(x, y, dim).is_negative
    value = float(x) + float(y) * math.sqrt(dim)
    if abs(value) > 1e-12:
        assert found == (value < 0)
    else:  # only a square can cancel exactly
        assert found is (x**2 != y**2 * dim and value < 0)


def test_the_induction_needs_no_level() -> None:
    slow, fast = example(eps=3000), example()
    assert slow.local < 1 < fast.local
    for c in (slow, fast):
        assert not steps.induction(c).is_negative
        printed = steps.induction(c, "(1 + X d_1) sqrt(p)")
        assert printed.is_negative == (c.local < 1)
        assert steps.induction(c, "X sqrt(p)").is_negative
    assert steps.induction(slow, "1 + X").is_negative
    assert not steps.induction(example(dim=1, eps=3000), "1 + X").is_negative


def test_large_steps_need_their_factor() -> None:
    c = example()
    assert steps.summed_square(c, Fraction(1)).left == c.C26
    for h in (Fraction(1, 3), Fraction(1), Fraction(3, 2), Fraction(3)):
        sides = steps.summed_square(c, h)
        assert sides.left <= sides.right
        assert (steps.summed_square(c, h, "1").right < sides.left) == (h > 1)
    wide = steps.summed_square(c, Fraction(3), "max(1, h)")
    assert wide.left > wide.right


def test_second_form_of_13() -> None:
    c = example()
    assert steps.second_form(c).left == steps.second_form(c).right
    for change in ("printed", "R^2 for R q"):
        sides = steps.second_form(c, change)
        assert sides.left != sides.right


def test_units_of_the_loss() -> None:
    a, s = example().assumed, Fraction(5, 3)
    listed = [name for names in steps.LOSS_POWERS.values() for name in names]
    assert sorted(listed) == sorted(example().terms)
    assert steps.wrong_units(a, s) == []
    assert steps.wrong_units(a, s, corrected=False) == ["local"]
    assert steps.wrong_units(a, s, change="C25 without M1") == ["C25"]
    assert steps.wrong_units(a, s, change="C26 with C9 for C9^2") == ["C26"]


def test_right_sides_of_the_past() -> None:
    c, printed, h = example(), example(corrected=False), Fraction(1, 3)
    for age in (1, 2, 7):
        steps_of_72 = sum(RIGHT["(7.2)"].value(c, h, k) for k in range(1, age + 1))
        assert past_gradient(c, age) == steps_of_72  # Lemma SA-7.3 sums Lemma SA-7.2
        assert past_square(c, h, age) - past_square(printed, h, age) == (age * c.C9) ** 2
        assert RIGHT["(7.5)"].value(c, h, age) == past_square(c, h, age)
        assert RIGHT["U"].value(c, h, age) == age * c.C9
    mean = RIGHT["V of the past - 2hP"].value
    assert mean(c, Fraction(2), 1) == 4 * c.C26
    assert mean(c, h, 1) == c.C26
    assert mean(printed, Fraction(2), 1) == printed.C26


def test_global_right_sides() -> None:
    c, h = example(eps=3000), 0.25
    growth = math.exp(c.growth * 3 * h)
    assert RIGHT["error"].value(c, h, 3) == pytest.approx(c.level * growth * h**2, rel=1e-12)
    found = RIGHT["change of the error"].value(c, h, 4)
    assert found == pytest.approx(c.level * c.growth * growth * h**3, rel=1e-12)


def test_changes() -> None:
    c = example()
    assert altered(c, "") is c
    assert float(c.C9) / 2 == altered(c, "C9 x 0.5").C9
    assert altered(c, "C9 x 0.5").C5 == c.C5
    assert c.terms["C28"]["2P + Pbar"] == altered(c, "C28 without 2L + Lbar").C28
    assert altered(c, "C13 with p for p^2").C13 * 2 == c.C13
    assert altered(c, "C26 with r_1 for r_2").C26 < c.C26
    assert altered(c, "C18 without 2L").C18 * 3 == c.C18  # b_1 = 1
    assert c.C5 * Fraction(2, 5) == altered(c, "C5 with rho for r_1").C5
    for wrong in ("C99 x 0.5", "C28 without P", "nonsense"):
        with pytest.raises(ValueError, match="change = "):
            altered(c, wrong)
