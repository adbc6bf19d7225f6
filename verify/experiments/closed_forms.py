"""Remarks 3.2 and 4.3: the closed forms of the memory sums of the full batch against the general sums, and their limit for many steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.kernels.trajectories import memory_terms, vector_field
from stepbias.theory import full_batch
from stepbias.theory.memory import MemoryTerms, literal_terms
from stepbias.theory.optimizers import AdamFamily, RMSProp
from stepbias.verify.experiments.points import UNIT, Point, Rows, points
from stepbias.verify.samples import Samples, Setting

Floats = NDArray[np.float64]
Terms = MemoryTerms

# Where numbers underflow to 0 their relative errors say nothing.
_SMALLEST = 1e-200


# the closed forms, and wrong ones -----------------------------------------------------------------


def _adam(variant: str, point: Point, n: int) -> Terms:
    p = point
    given = (p.gradient, p.product)
    constants = (p.beta, p.rho, p.eps, p.eps_root)
    if variant == "n in place of n + 1":
        return full_batch.adam_terms(*given, max(n - 1, 0), *constants)
    if variant == "no transients":
        return full_batch.limit_terms(*given, *constants)
    if variant == "beta and rho swapped":
        return full_batch.adam_terms(*given, n, p.rho, p.beta, p.eps, p.eps_root)
    if variant == "epsilon on the other side":
        return full_batch.adam_terms(*given, n, p.beta, p.rho, p.eps_root, p.eps)
    terms = full_batch.adam_terms(*given, n, *constants)
    if variant == "inner sums up to n":
        return terms._replace(L=terms.L + terms.Lbar, P=terms.P + terms.Pbar)
    if variant == "P without the gradient":
        return terms._replace(P=terms.L, Pbar=terms.Lbar)
    return terms


def _rmsprop(variant: str, point: Point, n: int) -> Terms:
    p = point
    given = (p.gradient, p.product)
    if variant == "with bias correction":
        return full_batch.adam_terms(*given, n, 0.0, p.rho, p.eps, p.eps_root)
    if variant == "no transients":
        return full_batch.limit_terms(*given, 0.0, p.rho, p.eps, p.eps_root)
    if variant == "epsilon on the other side":
        return full_batch.rmsprop_terms(*given, n, p.rho, p.eps_root, p.eps)
    if variant == "n in place of n + 1":
        return full_batch.rmsprop_terms(*given, max(n - 1, 0), p.rho, p.eps, p.eps_root)
    terms = full_batch.rmsprop_terms(*given, n, p.rho, p.eps, p.eps_root)
    if variant == "inner sums up to n":
        return terms._replace(P=terms.P + terms.Pbar)
    if variant == "Pbar without 1 - rho^(n+1)":
        return terms._replace(Pbar=terms.Pbar / (1.0 - p.rho ** (n + 1)))
    return terms


# rounding -----------------------------------------------------------------------------------------


class Absolute(NamedTuple):
    """What is added in a gradient and in a Hessian, with absolute values, and how many numbers that is."""

    gradient: Floats  # (p,)
    hessian: Floats  # (p, p)
    added: int


def _as_given(point: Point) -> Absolute:
    """Gradient and Hessian are given numbers, the same ones on both sides."""
    return Absolute(np.abs(point.gradient), np.abs(point.hessian), 0)


def rounding_bounds(
    optimizer: AdamFamily, point: Point, n: int, size: Absolute, prefix: bool
) -> Terms:
    r"""Bounds on the rounding errors of the six sums.

    A weight decay^(n-k) (1 - decay) / (1 - decay^(n+1)) has the relative error (4 + 1 / (1 - decay^(n+1))) u; sums over k, l and i add one u for each
    number added, and the closed form's mean age at most 100 u (its parts cancel down to 1/20). U = g / D moves by at most 2 / D for a unit of g.
    ``prefix``: the sums over l are differences of prefix sums T_n - T_k, whose terms are as large as T_n.
    """
    beta, rho = float(optimizer.beta), float(optimizer.rho)
    corrected = optimizer.bias_correction
    tails = [1.0 / (1.0 - d ** (n + 1)) if corrected else 1.0 for d in (beta, rho)]
    g = size.gradient
    # Without correction the steps differ; the largest is the last of those with eps inside, where D grows with n, and is bounded by g / D of the first.
    least = 1.0 - (0.0 if corrected else rho)
    D = np.sqrt(least * point.gradient**2 + point.eps_root) + point.eps
    U = g / D
    count = 4 * (n + 1) + len(g) + size.added + 140 + 2.0 * sum(tails)
    u_error = UNIT * (count * U + 2.0 * (size.added + 4) * g / D)
    dU = UNIT * count * U + u_error

    def lag(decay: float) -> float:
        """Mean age of the weights, or the whole memory where prefix sums are subtracted."""
        longest = min(n, 1.0 + 42.0 / (1.0 - decay)) if prefix else full_batch.mean_lag(decay, n)
        return float(longest)

    def product(age: float) -> Floats:
        return np.asarray(
            age * (size.hessian @ dU + UNIT * (len(g) + size.added) * (size.hessian @ U))
        )

    L, P = product(lag(beta)), g * product(lag(rho))
    bar, Pbar = product(1.0), g * product(1.0)
    g_error = UNIT * (size.added + 4) * g
    R = np.sqrt(point.gradient**2 + point.eps_root)
    return MemoryTerms(
        R=UNIT * count * R + g_error,
        M=UNIT * count * g + g_error,
        L=4.0 * L,
        Lbar=4.0 * bar,
        P=4.0 * P,
        Pbar=4.0 * Pbar,
    )


def _rows(
    rows: Rows, point: Point, n: int, found: Terms, expected: Terms, bounds: Terms, how: str
) -> None:
    """One row for each of the sums: the component that comes closest to its bound.

    A sum over l < 0 is empty; an error is then held against the sum up to l = n.
    """
    for name, a, e, bound in zip(MemoryTerms._fields, found, expected, bounds, strict=True):
        difference = np.abs(a - e)
        at = int(np.argmax(difference - 1e3 * bound))
        barred = getattr(expected, f"{name}bar", e)
        rows.add(
            point,
            labels=point.label(n=n, sum=name, by=how),
            stratum=f"{name}, {how}",
            left=float(difference[at]),
            right=float(bound[at]) + _SMALLEST,
            scale=float(max(abs(e[at]), abs(a[at]), abs(barred[at]), _SMALLEST)),
        )


# experiments --------------------------------------------------------------------------------------


class _Fixed:
    """A loss known at one point, for the literal sums."""

    def __init__(self, point: Point) -> None:
        self.dim, self.point = len(point.theta), point

    def gradient(self, b: int, theta: Any) -> Floats:
        """Of the only batch."""
        return self.point.gradient

    def hessian(self, b: int, theta: Any) -> Floats:
        """Of the only batch."""
        return self.point.hessian


def _steps(rng: np.random.Generator, most: int) -> int:
    """n = 0, 1, 2 and larger ones, log-uniform."""
    return round(float(np.exp(rng.uniform(0.0, np.log(most + 1.0))))) - 1


def _literal(variant: str, setting: Setting, name: str, closed: Any) -> Samples:
    rows = Rows()
    for point, rng in points(setting, name, setting.numbers(60, 300, 2000)):
        n = _steps(rng, 40)
        optimizer: AdamFamily = point.adam
        if name == "rmsprop-literal":
            optimizer = RMSProp(point.rho, point.eps, point.eps_root)
        expected = literal_terms(
            optimizer, _Fixed(point), point.theta, n, np.zeros(n + 1, dtype=np.int64)
        )
        bounds = rounding_bounds(optimizer, point, n, _as_given(point), prefix=False)
        _rows(rows, point, n, closed(variant, point, n), expected, bounds, "printed sums")
    return rows.samples()


def adam_literal(variant: str, setting: Setting) -> Samples:
    """Remark 3.2 against the printed double sums."""
    return _literal(variant, setting, "adam-literal", _adam)


def rmsprop_literal(variant: str, setting: Setting) -> Samples:
    """Remark 4.3 against the printed double sums."""
    return _literal(variant, setting, "rmsprop-literal", _rmsprop)


def _sinusoids(point: Point, rng: np.random.Generator) -> tuple[Loss, Loss, Point, Absolute]:
    """A sinusoid loss as one batch and as two equal ones, with the sizes of what is added in its derivatives."""
    dim, units = len(point.theta), 3
    a, w, c = rng.normal(size=units), rng.normal(size=(units, dim)), rng.uniform(0.0, 6.28, units)
    one, two = (Loss.sinusoids(np.tile(a, (m, 1)), w, np.tile(c, (m, 1))) for m in (1, 2))
    moved = replace(
        point,
        family="sinusoids",
        loss=one,
        gradient=one.gradient(0, point.theta),
        hessian=one.hessian(0, point.theta),
    )
    # A sine or cosine of z = w theta + c has the error of z: p + 1 roundings of numbers as large as |w| |theta| + |c|.
    reach = 1.0 + (np.abs(w) @ np.abs(point.theta)).max() + 6.3
    count = round((dim + 6) * reach) + units
    return (
        one,
        two,
        moved,
        Absolute(np.abs(a) @ np.abs(w), (np.abs(w).T * np.abs(a)) @ np.abs(w), count),
    )


def _kernel_cases(setting: Setting, name: str) -> Iterator[tuple[Point, int, Absolute, Loss, str]]:
    for point, rng in points(setting, name, setting.numbers(24, 120, 800)):
        one, two, moved, size = _sinusoids(point, rng)
        n = _steps(rng, 3000 if name == "adam-kernels" else 400)
        if rng.random() < 0.5:
            n = _steps(rng, 30)
        yield moved, n, size, one, "compiled, one batch"
        yield moved, n, size, two, "compiled, two equal batches"


def adam_kernels(variant: str, setting: Setting) -> Samples:
    """Remark 3.2 against the compiled sums, of one batch and of two equal ones (general sums)."""
    rows = Rows()
    for point, n, size, loss, how in _kernel_cases(setting, "adam-kernels"):
        expected = memory_terms(point.adam, loss, point.theta, n)
        bounds = rounding_bounds(point.adam, point, n, size, prefix=loss.batches == 2)
        _rows(rows, point, n, _adam(variant, point, n), expected, bounds, how)
    return rows.samples()


def rmsprop_kernels(variant: str, setting: Setting) -> Samples:
    """Remark 4.3 against the compiled sums."""
    rows = Rows()
    for point, n, size, loss, how in _kernel_cases(setting, "rmsprop-kernels"):
        optimizer = RMSProp(point.rho, point.eps, point.eps_root)
        expected = memory_terms(optimizer, loss, point.theta, n)
        bounds = rounding_bounds(optimizer, point, n, size, prefix=True)
        _rows(rows, point, n, _rmsprop(variant, point, n), expected, bounds, how)
    return rows.samples()


# the field for many steps -------------------------------------------------------------------------


def _bias(variant: str, point: Point, h: float) -> Floats:
    """The bias of equation 3 (epsilon inside) and its counterpart outside, or a wrong one."""
    p = point
    bias = full_batch.limit_bias(p.gradient, p.product, h, p.beta, p.rho, p.eps, p.eps_root)
    R = np.sqrt(p.gradient**2 + p.eps_root)
    D, slow = R + p.eps, (1.0 + p.rho) / (1.0 - p.rho)
    G = full_batch.one_norm_gradient(p.gradient, p.product, p.eps, p.eps_root)
    if variant == "h in place of h/2":
        return 2.0 * bias
    if variant == "the other sign":
        return -bias
    if variant == "no term with epsilon":
        return 0.5 * h * full_batch.penalty_coefficient(p.beta, p.rho) * G
    if variant == "2 beta/(1 - beta) for (1 + beta)/(1 - beta)":
        return bias - 0.5 * h * G
    if variant == "2 rho/(1 - rho) for (1 + rho)/(1 - rho)":
        return bias + 0.5 * h * p.gradient**2 / (D * R) * G
    if variant == "beta and rho swapped":
        swapped = replace(p, beta=p.rho, rho=p.beta)
        return _bias("", swapped, h)
    if variant == "unperturbed norm":
        share = p.gradient**2 / (D * R)
        fast = (1.0 + p.beta) / (1.0 - p.beta)
        return 0.5 * h * (fast - slow * share) * p.product(np.sign(p.gradient))
    return bias


def limit_field(variant: str, setting: Setting) -> Samples:
    """Equations 2 and 3 against the compiled field after many steps, epsilon inside and outside."""
    rows = Rows()
    for point, rng in points(
        setting,
        "limit-field",
        setting.numbers(60, 300, 2000),
        smallest=1e-3,
        excluded=rows.excluded,
    ):
        h = float(10.0 ** rng.uniform(-4.0, 0.0))
        found = vector_field(point.adam, point.loss, point.theta, point.steady, h)
        D = np.sqrt(point.gradient**2 + point.eps_root) + point.eps
        expected = -(point.gradient + _bias(variant, point, h)) / D
        bound = field_rounding(point, h)
        difference = np.abs(found - expected)
        at = int(np.argmax(difference - 1e3 * bound))
        rows.add(
            point,
            labels=point.label(h=h, n=point.steady),
            stratum=point.place,
            hardness=point.hardness(h),
            left=float(difference[at]),
            right=float(bound[at]),
            scale=float(0.5 * abs(found[at]) + 0.5 * abs(expected[at])),
        )
    return rows.samples()


def field_rounding(point: Point, h: float) -> Floats:
    """Bound on the rounding of the field after many steps, (p,), without that of the gradient and the Hessian, which are the same numbers on both sides.

    About 40 operations on each of the parts -g/D, h f G / (2 D) and h s g^2 G / (2 D^2 R), with G = H (g/D) a sum of p products of either sign, and a mean
    age that is a sum of 50 / (1 - decay) positive numbers in a row. The compiled products of a Hessian and a vector add the units of the loss, not the
    entries of the Hessian: a factor 8 for what cancels there (units of one size, six parameters).
    """
    p = point
    D = np.sqrt(p.gradient**2 + p.eps_root) + p.eps
    fast, slow = (1.0 + p.beta) / (1.0 - p.beta), (1.0 + p.rho) / (1.0 - p.rho)
    entries = np.abs(p.hessian) + np.abs(p.hessian).max()
    G = entries @ (np.abs(p.gradient) / D)
    ages = UNIT * p.steady
    bias = 0.5 * h * (fast + slow) * G * (8.0 * 40.0 * UNIT + ages)
    return np.asarray((40.0 * UNIT * np.abs(p.gradient) + bias) / D)
