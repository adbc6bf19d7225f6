"""Small and large epsilon: the flow after many steps against minus the gradient of a modified loss, differentiated numerically from the loss's values.

Equations 5 to 7 of the paper say "approximately"; here the difference is measured as a function of epsilon: of the first order in epsilon over the squared
gradient (outside the root: over the gradient's size), and of the first order in its inverse for large epsilon.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.trajectories import vector_field
from stepbias.theory import full_batch, modified_losses
from stepbias.theory.optimizers import Adam
from stepbias.verify.experiments.closed_forms import field_rounding
from stepbias.verify.experiments.points import (
    DEFAULTS,
    SMOOTH_STEP,
    UNIT,
    Point,
    Rows,
    differentiated,
    points,
    signed_step,
)
from stepbias.verify.samples import Samples, Setting

Floats = NDArray[np.float64]

# Epsilon over its scale, or the inverse: what is neglected is about as large.
_LADDER = np.logspace(-1.5, -6.5, 9)
SMALLEST = 0.05


def fields(point: Point, epsilons: Floats, h: float | Floats, order: int = 2) -> Floats:
    """The field after many steps for every epsilon, (len(epsilons), p); one step size, or one for each."""
    inside = point.place == "inside"
    zeros = np.zeros_like(epsilons)
    optimizer = Adam(
        point.beta, point.rho, zeros if inside else epsilons, epsilons if inside else zeros
    )
    theta = np.tile(point.theta, (len(epsilons), 1))
    return np.asarray(vector_field(optimizer, point.loss, theta, point.steady, h, order=order))


def rounding(point: Point, epsilons: Floats, h: float | Floats) -> Floats:
    """Size of the rounding of :func:`fields`, (len(epsilons), p)."""
    steps = np.broadcast_to(h, epsilons.shape)
    pairs = zip(epsilons, steps, strict=True)
    return np.array([field_rounding(point.at(float(e)), float(step)) for e, step in pairs])


def value_noise(point: Point, extra: float) -> float:
    """Rounding of a loss's value plus ``extra`` times a norm of its gradient: some 60 operations on numbers of the size of what is added."""
    size = 1.0 + abs(float(point.loss.value(0, point.theta))) + extra * np.abs(point.gradient).sum()
    return float(64.0 * UNIT * size)


def derivative(
    point: Point, value: Callable[[Floats, Floats], Floats], extra: float, signed: bool = True
) -> tuple[Floats, float]:
    """Gradient in theta of value(E, grad E), by differences of values; and a bound on its error.

    ``signed``: the value is smooth only as long as no gradient component changes its sign.
    """

    def at(theta: Floats) -> Floats:
        return value(np.asarray(point.loss.value(0, theta)), point.loss.gradient(0, theta))

    step = signed_step(point) if signed else SMOOTH_STEP
    return differentiated(at, point.theta, step, value_noise(point, extra))


def _step_size(point: Point) -> float:
    """h: the bias is about as large as the gradient, so that both are seen."""
    return float(0.2 * (1.0 - point.slowest))


def small(variant: str, setting: Setting) -> Samples:
    """Equation 5: |grad_j E| times the flow is minus the gradient of the loss with the one-norm, up to the first order in epsilon."""
    rows = Rows()
    numbers = setting.numbers(24, 90, 400)
    for point, _ in points(setting, "small-epsilon", numbers, SMALLEST, excluded=rows.excluded):
        h = _step_size(point)
        beta, rho, factor = point.beta, point.rho, h
        if variant == "beta and rho swapped":
            beta, rho = rho, beta
        if variant == "h in place of h/2":
            factor = 2.0 * h
        if variant == "the other sign":
            factor = -h
        if variant == "no norm":
            factor = 0.0

        def value(
            E: Floats, g: Floats, given: tuple[float, float, float] = (factor, beta, rho)
        ) -> Floats:
            step, b, r = given
            if variant == "two-norm":
                norm = np.abs(g).sum(axis=-1)
                plain = modified_losses.small_epsilon_loss(0.0 * E, g, step, b, r) / norm
                return np.asarray(E + plain * 0.5 * (g**2).sum(axis=-1))
            return np.asarray(modified_losses.small_epsilon_loss(E, g, step, b, r))

        coefficient = 0.5 * h * abs(full_batch.penalty_coefficient(point.beta, point.rho))
        gradient, error = derivative(point, value, coefficient)
        size = np.abs(point.gradient)
        epsilons = _LADDER * (size.min() ** 2 if point.place == "inside" else size.min())
        if point.number == 0:
            epsilons = np.sort(np.append(epsilons, DEFAULTS[2]))[::-1]
        found = fields(point, epsilons, h) * size
        distance = np.linalg.norm(found + gradient, axis=1)
        floor = np.linalg.norm(rounding(point, epsilons, h) * size, axis=1) + error * np.sqrt(
            len(size)
        )
        rows.add(
            point,
            labels=point.label(h=h),
            hardness=point.hardness(h),
            stratum=point.place,
            x=epsilons,
            error=distance,
            floor=floor,
            memory=1.0 / size.min() ** (2 if point.place == "inside" else 1),
            caught=_caught(distance, coefficient * _norm_slope(point)),
        )
    return rows.samples()


def large(variant: str, setting: Setting) -> Samples:
    """Equation 7: D times the flow is minus the gradient of the loss with the squared two-norm, up to the first order in 1 / epsilon."""
    return _large(variant, setting, bias_only=False)


def large_bias(variant: str, setting: Setting) -> Samples:
    """Its bias term alone: relative to itself, up to the first order in 1 / epsilon."""
    return _large(variant, setting, bias_only=True)


def _large(variant: str, setting: Setting, bias_only: bool) -> Samples:
    rows = Rows()
    numbers = setting.numbers(24, 90, 400)
    # Outside the root the bias itself is of the order that is neglected: only the bias alone is then told from a wrong one.
    place = "" if bias_only else "inside"
    for point, _ in points(setting, "large-epsilon", numbers, SMALLEST, place, rows.excluded):
        inside = point.place == "inside"
        size = np.abs(point.gradient).max()
        epsilons = (size**2 if inside else size) / _LADDER
        scale = np.sqrt(epsilons) if inside else epsilons
        # The bias is proportional to h / D: alone it is measured where it is as large as the leading field.
        h = _step_size(point) * (scale / size if bias_only else np.ones_like(scale))
        found = fields(point, epsilons, h)
        if bias_only:
            found = found - fields(point, epsilons, h, order=1)
        # The derivative of |grad E|^2 once: the modified loss is linear in it.
        square, square_error = derivative(
            point, lambda E, g: np.asarray((g**2).sum(axis=-1)), float(size), signed=False
        )
        plain, plain_error = derivative(point, lambda E, g: E, 0.0, signed=False)
        if bias_only:
            plain, plain_error = np.zeros_like(plain), 0.0
        pairs = zip(h, scale, strict=True)
        weight = np.array([_square_weight(variant, point, float(a), float(D)) for a, D in pairs])
        # The bias alone is judged relative to itself.
        term = np.abs(weight) * np.linalg.norm(square)
        unit = term if bias_only else np.ones_like(term)
        apart = scale[:, None] * found + weight[:, None] * square + plain
        noise = np.linalg.norm(scale[:, None] * rounding(point, epsilons, h), axis=1)
        noise += np.sqrt(len(square)) * (np.abs(weight) * square_error + plain_error)
        error = np.linalg.norm(apart, axis=1) / unit
        rows.add(
            point,
            labels=point.label(h=float(h[0])),
            hardness=point.hardness(float(h[0])),
            stratum=point.place,
            x=1.0 / epsilons,
            error=error,
            floor=noise / unit,
            memory=float(size ** (2 if inside else 1)),
            caught=_caught(error, float((term / unit)[-1])),
        )
    return rows.samples()


def _square_weight(variant: str, point: Point, h: float, D: float) -> float:
    """Factor on |grad E|^2 in the modified loss."""
    beta = point.beta
    if variant == "rho in place of beta":
        beta = point.rho
    unit = np.ones(1)  # a gradient with squared norm 1
    weight = float(modified_losses.large_epsilon_loss(0.0, unit, h, beta, D))
    if variant == "rho as for small epsilon":
        weight *= full_batch.penalty_coefficient(beta, point.rho) * (1.0 - beta) / (1.0 + beta)
    return weight * {"h/2 in place of h/4": 2.0, "the other sign": -1.0, "no norm": 0.0}.get(
        variant, 1.0
    )


def _norm_slope(point: Point) -> float:
    return float(np.linalg.norm(point.hessian @ np.sign(point.gradient)))


def _caught(distance: Floats, term: float) -> dict[str, float]:
    """A relative error of the norm's coefficient that moves the finest point by three times its value bends the line."""
    return {"norm": float(3.0 * distance[-1] / term) if term > 0.0 else float("nan")}
