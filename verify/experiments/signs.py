"""Table 1 and Figure 1: the sign of what the bias penalises, what it does to the norms along the flow, and the shape of the potential.

The coefficient of a norm is read off the compiled field: the field after many steps, minus its leading part, times -2 D / h, projected on the norm's gradient,
which is differentiated numerically from the loss's gradient.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.trajectories import flow, vector_field
from stepbias.theory import modified_losses
from stepbias.verify.experiments.limits import SMALLEST, derivative, fields, rounding
from stepbias.verify.experiments.points import DEFAULTS, Point, Rows, decay, points
from stepbias.verify.samples import Samples, Setting, label

Floats = NDArray[np.float64]

SWAPPED, AT_SMALL = "beta and rho swapped", "as for small epsilon"
# Small and large: epsilon over the smallest squared gradient component (over its size outside), and the largest one over epsilon.
_SMALL = 1e-8
# Decays closer than this share of 1 - rho are left to exact arithmetic.
_APART = 0.05


def _ordered(point: Point, rng: np.random.Generator, larger: str) -> Point:
    """The point with beta > rho or rho > beta, apart; the defaults have rho > beta, and their decays swapped beta > rho."""
    if point.number == 0:
        low, high = sorted(DEFAULTS[:2])
    else:
        high = decay(rng, 1.2, 50.0)
        low = high * float(rng.uniform(0.0, 1.0 - _APART * (1.0 - high)))
    beta, rho = (high, low) if larger == "beta" else (low, high)
    return replace(point, beta=beta, rho=rho)


def _at_small(point: Point) -> Point:
    """The point with an epsilon that is small against every component."""
    smallest = np.abs(point.gradient).min()
    return point.at(float(_SMALL * smallest ** (2 if point.place == "inside" else 1)))


def _at_large(point: Point) -> Point:
    """The point with an epsilon that is large against every component."""
    largest = np.abs(point.gradient).max()
    return point.at(float(largest ** (2 if point.place == "inside" else 1) / _SMALL))


def _exchanged(point: Point) -> Point:
    """The point with beta and rho exchanged: the optimizer that the other sign is about."""
    return replace(point, beta=point.rho, rho=point.beta)


def _one_norm(E: Floats, g: Floats) -> Floats:
    return np.asarray(np.abs(g).sum(axis=-1))


def _square_norm(E: Floats, g: Floats) -> Floats:
    return np.asarray((g**2).sum(axis=-1))


def _coefficient(point: Point, epsilon: float, h: float, large: bool) -> tuple[float, float]:
    """Coefficient of the norm in the bias, and a bound on its numerical error; relative to 1/(1 - beta) + 1/(1 - rho), with which the parts grow."""
    epsilons = np.array([epsilon])
    bias = fields(point, epsilons, h)[0] - fields(point, epsilons, h, order=1)[0]
    D = np.abs(point.gradient) + epsilon
    if point.place == "inside":
        D = np.sqrt(point.gradient**2 + epsilon)
    # In the large limit the norm's gradient is that of |grad E|^2 / (2 D).
    norm, size = _square_norm if large else _one_norm, 1.0 + float(np.abs(point.gradient).max())
    slope, error = derivative(point, norm, size, signed=not large)
    if large:
        slope, error = slope / (2.0 * D.min()), error / (2.0 * D.min())
    numerator = -2.0 / h * D * bias
    square = float(slope @ slope)
    unit = 1.0 / (1.0 - point.beta) + 1.0 / (1.0 - point.rho)
    found = float(slope @ numerator) / square / unit
    noise = 2.0 / h * np.linalg.norm(D * rounding(point, epsilons, h)[0])
    doubt = (noise + 3.0 * np.sqrt(len(slope)) * error * abs(found) * unit) / np.sqrt(square) / unit
    return found, float(doubt)


def _signed(variant: str, setting: Setting, larger: str, name: str) -> Samples:
    """left = minus the coefficient where it should be positive (beta larger), the coefficient where it should be negative."""
    rows = Rows()
    if variant == SWAPPED:
        larger = "rho" if larger == "beta" else "beta"
    numbers = setting.numbers(36, 150, 1000)
    for point, rng in points(setting, name, numbers, SMALLEST, excluded=rows.excluded):
        p = _at_small(_ordered(point, rng, larger))
        found, doubt = _coefficient(p, p.epsilon, 0.1 * (1.0 - p.slowest), large=False)
        # the coefficient in units of the sum of 1 / (1 - decay) is the difference of two parts: the change of the larger that makes them equal
        unit = 1.0 / (1.0 - p.beta) + 1.0 / (1.0 - p.rho)
        larger_part = max((1.0 + x) / (1.0 - x) for x in (p.beta, p.rho))
        rows.add(
            p,
            stratum=p.place,
            left=-found if name == "penalised" else found,
            right=0.0,
            uncertainty=doubt,
            caught={"the larger part": (abs(found) - doubt) * unit / larger_part},
        )
    return rows.samples()


def penalised(variant: str, setting: Setting) -> Samples:
    """Small epsilon, beta > rho: the coefficient of the one-norm is positive."""
    return _signed(variant, setting, "beta", "penalised")


def hindered(variant: str, setting: Setting) -> Samples:
    """Small epsilon, rho > beta: it is negative."""
    return _signed(variant, setting, "rho", "hindered")


def large(variant: str, setting: Setting) -> Samples:
    """Large epsilon: the coefficient of the squared two-norm is positive, whatever the decays."""
    rows = Rows()
    for point, _ in points(setting, "table-large", setting.numbers(36, 150, 1000)):
        p = _at_small(point) if variant == AT_SMALL else _at_large(point)
        found, doubt = _coefficient(p, p.epsilon, 0.1 * (1.0 - p.slowest), large=True)
        rows.add(
            p,
            stratum=f"{p.place}, {'beta > rho' if p.beta > p.rho else 'rho > beta'}",
            left=-found,
            right=0.0,
            uncertainty=doubt,
            caught={"the coefficient": 1.0 - doubt / abs(found)},
        )
    return rows.samples()


# exact arithmetic: beta = rho ---------------------------------------------------------------------


def bracket(variant: str, setting: Setting) -> Samples:
    """The sign of the coefficient for small epsilon in fractions: problem 0 the defaults, every third problem beta = rho.

    Variant "beta >= rho" is Table 1 as printed: positive for beta >= rho.
    """
    numbers = setting.numbers(60, 300, 2000)
    labels, strata, truth, certificates = [], [], [], []
    for k in numbers:
        rng = setting.rng("bracket", int(k))
        bottom = int(rng.integers(2, 10**6))
        beta, rho = (Fraction(int(rng.integers(0, bottom)), bottom) for _ in range(2))
        if k % 3 == 1:
            rho = beta
        if k == 0:
            beta, rho = Fraction(9, 10), Fraction(999, 1000)
        value = modified_losses.exact_bracket(beta, rho)
        sign = (value > 0) - (value < 0)
        expected = (beta > rho) - (beta < rho)
        if variant == "beta >= rho":
            expected = 1 if beta >= rho else -1
        if variant == "rho > beta":
            expected = -expected
        labels.append(label(beta=str(beta), rho=str(rho)))
        strata.append("beta = rho" if beta == rho else "beta > rho" if beta > rho else "rho > beta")
        truth.append(sign == expected)
        certificates.append(
            f"beta = {beta}, rho = {rho}: (1+beta)/(1-beta) - (1+rho)/(1-rho) = {value}"
        )
    return Samples(
        numbers=numbers,
        labels=np.array(labels, dtype=np.str_),
        stratum=np.array(strata, dtype=np.str_),
        truth=np.array(truth, dtype=np.bool_),
        certificate=np.array(certificates, dtype=np.str_),
    )


# what the bias does to the norm -------------------------------------------------------------------


def norm_rate(variant: str, setting: Setting) -> Samples:
    """At any step n >= 1 the bias changes the one-norm at a rate of the sign of rho - beta (small epsilon): it is -h/2 c_n sum_j G_j^2 / D_j.

    left = that rate times the sign of beta - rho, over h.
    """
    rows = Rows()
    numbers = setting.numbers(36, 150, 1000)
    for point, rng in points(setting, "norm-rate", numbers, SMALLEST, excluded=rows.excluded):
        larger = "beta" if rng.random() < 0.5 else "rho"
        p = _at_small(_ordered(point, rng, larger))
        if variant == SWAPPED:
            p = _exchanged(p)
        n = round(float(np.exp(rng.uniform(0.0, np.log(p.steady)))))
        h = 0.1 * (1.0 - p.slowest)
        both = [vector_field(p.adam, p.loss, p.theta, n, h, order=order) for order in (2, 1)]
        slope, error = derivative(p, _one_norm, 1.0 + np.abs(p.gradient).max())
        drift = (both[0] - both[1]) / h
        noise = rounding(p, np.array([p.epsilon]), h)[0] / h
        sign = 1.0 if larger == "beta" else -1.0
        rows.add(
            p,
            labels=p.label(n=n),
            stratum=f"{larger} larger",
            left=sign * float(slope @ drift),
            right=0.0,
            uncertainty=float(np.abs(slope) @ noise + error * np.abs(drift).sum()),
        )
    return rows.samples()


_SHARE = 0.05  # of the shortest time in which a gradient component can change by its own size
_STEPS = 400


def _along(p: Point, horizon: float, steps: int, norm: int) -> float:
    """(norm of grad E on the flow, minus that on its leading part) over h, at the end."""
    h = horizon / steps
    ends = [flow(p.adam, p.loss, p.theta, h, steps, order=order)[-1] for order in (2, 1)]
    sizes = [np.sum(np.abs(p.loss.gradient(0, end)) ** norm) for end in ends]
    return float((sizes[0] - sizes[1]) / h)


def _flows(variant: str, setting: Setting, name: str) -> Samples:
    """left = change of the norm by the bias over a short time, with the sign that should make it negative."""
    rows = Rows()
    power = 2 if name == "square-flow" else 1
    numbers = setting.numbers(14, 100, 600)
    for point, rng in points(setting, name, numbers, SMALLEST, excluded=rows.excluded):
        larger = "beta" if rng.random() < 0.5 else "rho"
        p = point if power == 2 else _ordered(point, rng, larger)
        if point.number != 0:  # memories that many steps resolve
            p = replace(p, beta=1.0 - (1.0 - p.beta) ** 0.5, rho=1.0 - (1.0 - p.rho) ** 0.5)
        p = _at_large(p) if power == 2 and variant != AT_SMALL else _at_small(p)
        if variant == SWAPPED:
            p = _exchanged(p)
        D = (
            np.abs(p.gradient) + p.eps
            if p.place == "outside"
            else np.sqrt(p.gradient**2 + p.eps_root)
        )
        # On the leading flow, -g/D, a gradient component changes at most by |H| |g/D| in a unit of time.
        horizon = float((np.abs(p.gradient) / (np.abs(p.hessian) @ (np.abs(p.gradient) / D))).min())
        horizon *= _SHARE
        steps = _STEPS * setting.finer * (16 if point.number == 0 else 1)
        coarse, fine = (_along(p, horizon, m * steps, power) for m in (1, 2))
        # Linear in h: the value at h = 0 is extrapolated, and the correction bounds what is left.
        value, doubt = 2.0 * fine - coarse, abs(fine - coarse)
        size = float(np.sum(np.abs(p.gradient) ** power))
        doubt += 1e-15 * 8.0 * size * 2.0 * steps / horizon
        sign = 1.0 if power == 2 or larger == "beta" else -1.0
        rows.add(
            p,
            labels=p.label(horizon=horizon, steps=steps),
            hardness=p.hardness(horizon / steps),
            stratum=f"{'beta' if p.beta > p.rho else 'rho'} larger",
            left=sign * value,
            right=0.0,
            uncertainty=doubt,
        )
    return rows.samples()


def one_norm_flow(variant: str, setting: Setting) -> Samples:
    """Small epsilon: over a short time the bias lowers |grad E|_1 on the flow for beta > rho, and raises it for rho > beta."""
    return _flows(variant, setting, "one-norm-flow")


def square_flow(variant: str, setting: Setting) -> Samples:
    """Large epsilon: it lowers |grad E|^2 whatever the decays."""
    return _flows(variant, setting, "square-flow")
