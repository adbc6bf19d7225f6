"""Steps of the proofs behind the explicit constants in exact arithmetic: rational numbers, drawn by a rule, and a certificate for each problem."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from stepbias.theory import constants_steps as steps
from stepbias.theory.constants import compute
from stepbias.theory.constants_formulas import Assumed
from stepbias.verify.samples import Samples, Setting

# Draws of small rationals in a problem of the elementary inequality; the first counterexample ends the search.
_TRIES = 80

Decide = Callable[[np.random.Generator, str], tuple[bool, str]]


def _rational(rng: np.random.Generator, largest: int = 40) -> Fraction:
    """A positive fraction of integers up to ``largest``."""
    return Fraction(int(rng.integers(1, largest + 1)), int(rng.integers(1, largest + 1)))


def _share(rng: np.random.Generator) -> Fraction:
    """A decay: a fraction in (0, 1) with denominator 20."""
    return Fraction(int(rng.integers(1, 20)), 20)


def _assumed(rng: np.random.Generator, slow: bool = False) -> Assumed:
    """Random assumptions with R <= M_1; ``slow``: with an epsilon so large that C_1 is below 1."""
    first = _rational(rng)
    return Assumed(
        int(rng.integers(1, 5)),
        (first, _rational(rng), _rational(rng), _rational(rng)),
        beta=_share(rng),
        rho=_share(rng),
        eps=first * 10 ** int(rng.integers(1, 7)) if slow else _rational(rng),
        root=first * _share(rng),
        horizon=_rational(rng),
    )


def _exact(name: str, variant: str, setting: Setting, decide: Decide) -> Samples:
    numbers = setting.numbers(40, 400, 2000)
    found = [decide(setting.rng(f"constants, {name}", int(k)), variant) for k in numbers]
    return Samples(
        numbers=numbers,
        labels=np.array([f"{name} {k}" for k in numbers], dtype=np.str_),
        truth=np.array([true for true, _ in found], dtype=np.bool_),
        certificate=np.array([text for _, text in found], dtype=np.str_),
    )


def _elementary(rng: np.random.Generator, variant: str) -> tuple[bool, str]:
    without = "K^2 h^2" if variant == "printed" else variant.removeprefix("without ")
    for _ in range(_TRIES):
        a, b, K = (Fraction(int(rng.integers(-9, 10)), int(rng.integers(1, 5))) for _ in range(3))
        h = _share(rng)
        sides = steps.elementary(a, b, K, h, without)
        if sides.left > sides.right:
            return False, f"a={a} b={b} K={K} h={h}: {sides.left} > {sides.right}"
    return True, f"no counterexample in {_TRIES} draws"


def elementary(variant: str, setting: Setting) -> Samples:
    """The elementary inequality behind (7.5)."""
    return _exact("elementary", variant, setting, _elementary)


def _induction(rng: np.random.Generator, variant: str) -> tuple[bool, str]:
    a = _assumed(rng, slow=True)
    c = compute(a)
    growth = {"": "(1 + X) sqrt(p)", "printed": "(1 + X d_1) sqrt(p)"}.get(
        variant, variant.removeprefix("d_2 = ")
    )
    gap = steps.induction(c, growth)
    sizes = f"p={a.dim} C_1={float(c.local):.3g} X/sqrt(p)={float(c.spread):.3g}"
    relation = "<" if gap.is_negative else ">="
    return not gap.is_negative, f"{sizes}: right - left {relation} 0 with d_2 = {growth}"


def induction(variant: str, setting: Setting) -> Samples:
    """The last step of the induction in the global theorems."""
    return _exact("induction", variant, setting, _induction)


def _summed(rng: np.random.Generator, variant: str) -> tuple[bool, str]:
    a = _assumed(rng)
    h = 1 + Fraction(int(rng.integers(1, 21)), 10)
    factor = {"": "max(1, h^2)", "printed": "1"}.get(variant, variant.removeprefix("factor "))
    sides = steps.summed_square(compute(a), h, factor)
    relation = "<=" if sides.left <= sides.right else ">"
    return (
        sides.left <= sides.right,
        f"h={h} rho={a.rho}: {float(sides.left):.6g} {relation} {float(sides.right):.6g}",
    )


def large_steps(variant: str, setting: Setting) -> Samples:
    """From (7.5) to C_26 for step sizes above 1."""
    return _exact("large steps", variant, setting, _summed)


def _second_form(rng: np.random.Generator, variant: str) -> tuple[bool, str]:
    a = _assumed(rng)
    sides = steps.second_form(compute(a), variant)
    relation = "=" if sides.left == sides.right else "!="
    return (
        sides.left == sides.right,
        f"R={a.root} eps={a.eps}: {float(sides.left):.9g} {relation} {float(sides.right):.9g}",
    )


def second_form(variant: str, setting: Setting) -> Samples:
    """The two expressions for C_13."""
    return _exact("second form", variant, setting, _second_form)


def _units(rng: np.random.Generator, variant: str) -> tuple[bool, str]:
    factor = 1 + _rational(rng)
    corrected, change = variant != "printed", "" if variant == "printed" else variant
    wrong = steps.wrong_units(_assumed(rng), factor, corrected, change)
    return not wrong, f"losses times {factor}: {', '.join(wrong) or 'no constant'} with wrong units"


def units(variant: str, setting: Setting) -> Samples:
    """The units of all constants."""
    return _exact("units", variant, setting, _units)
