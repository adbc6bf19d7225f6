"""The bias as the earlier version writes it, epsilon inside: RMSProp's in two parts, "nonzero steps" and "memory" (its Remark 3.4), and Adam's (3.7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.trajectories import memory_terms, vector_field
from stepbias.theory import full_batch, modified_losses
from stepbias.theory.optimizers import Adam, AdamFamily, RMSProp
from stepbias.verify.experiments.closed_forms import field_rounding
from stepbias.verify.experiments.points import Point, Rows, points
from stepbias.verify.samples import Samples, Setting

Floats = NDArray[np.float64]


def _bias(optimizer: AdamFamily, point: Point, h: float) -> Floats:
    """The compiled field's bias after many steps: with and without the term in h."""
    both = [
        vector_field(optimizer, point.loss, point.theta, point.steady, h, order=order)
        for order in (2, 1)
    ]
    return np.asarray(both[0] - both[1])


def _norm_gradient(point: Point) -> Floats:
    return full_batch.one_norm_gradient(point.gradient, point.product, 0.0, point.eps_root)


def _row(
    rows: Rows,
    point: Point,
    h: float,
    what: str,
    found: Floats,
    expected: Floats,
    rho: float | None = None,
) -> None:
    """The component that comes closest to the rounding bound; both sides are rates of theta. ``rho``: of the field, if it is not the point's."""
    measured = point if rho is None else replace(point, rho=rho)
    bound = 2.0 * field_rounding(measured, h)  # of two fields
    difference = np.abs(found - expected)
    at = int(np.argmax(difference - 1e3 * bound))
    rows.add(
        point,
        labels=point.label(h=h, part=what),
        hardness=point.hardness(h),
        stratum=what,
        left=float(difference[at]),
        right=float(bound[at]),
        scale=float(max(abs(found[at]), abs(expected[at]), 1e-200)),
    )


def _drawn(setting: Setting, name: str, rows: Rows) -> list[tuple[Point, float]]:
    """Points with beta = 0 and step sizes."""
    numbers = setting.numbers(48, 240, 1600)
    every = points(setting, name, numbers, 1e-3, "inside", rows.excluded)
    return [(p, float(10.0 ** rng.uniform(-4.0, 0.0))) for p, rng in every]


def split(variant: str, setting: Setting) -> Samples:
    """The two parts together are RMSProp's bias."""
    rows = Rows()
    for point, h in _drawn(setting, "earlier-split", rows):
        p = replace(point, beta=0.0)
        nonzero = modified_losses.nonzero_steps_factor(p.gradient, h, p.eps_root)
        memory = modified_losses.memory_factor(p.gradient, h, p.rho, p.eps_root)
        if variant == "epsilon in place of epsilon/2":
            nonzero = 2.0 * nonzero
        if variant == "memory of the other sign":
            memory = -memory
        if variant == "1/(1 - rho) in place of rho/(1 - rho)":
            memory = memory / p.rho
        D = np.sqrt(p.gradient**2 + p.eps_root)
        expected = (nonzero + memory) * _norm_gradient(p) / D
        _row(rows, p, h, "both", _bias(RMSProp(p.rho, p.eps, p.eps_root), p, h), expected)
    return rows.samples()


def parts(variant: str, setting: Setting) -> Samples:
    """The first part is what is left without memory, rho = 0; the second what the sum P contributes."""
    rows = Rows()
    for point, h in _drawn(setting, "earlier-parts", rows):
        p = replace(point, beta=0.0)
        nonzero = modified_losses.nonzero_steps_factor(p.gradient, h, p.eps_root)
        memory = modified_losses.memory_factor(p.gradient, h, p.rho, p.eps_root)
        if variant == "the parts exchanged":
            nonzero, memory = memory, nonzero
        if variant == "half of Pbar counted as memory":
            moved = 0.5 * h * p.gradient**2 / (p.gradient**2 + p.eps_root)
            nonzero, memory = nonzero - moved, memory + moved
        G, D = _norm_gradient(p), np.sqrt(p.gradient**2 + p.eps_root)
        without = _bias(Adam(0.0, 0.0, 0.0, p.eps_root), p, h)
        _row(rows, p, h, "nonzero steps", without, nonzero * G / D, rho=0.0)
        terms = memory_terms(RMSProp(p.rho, 0.0, p.eps_root), p.loss, p.theta, p.steady)
        _row(rows, p, h, "memory", h * terms.M * terms.P / terms.R**3, memory * G / D)
    return rows.samples()


def adam(variant: str, setting: Setting) -> Samples:
    """Adam's bias as Remark 3.7 writes it."""
    rows = Rows()
    for p, h in _drawn(setting, "earlier-adam", rows):
        beta, rho, eps_root = p.beta, p.rho, p.eps_root
        if variant == "beta and rho swapped":
            beta, rho = rho, beta
        expected = modified_losses.earlier_adam_bias(
            p.gradient, _norm_gradient(p), h, beta, rho, eps_root
        )
        if variant == "2 in the denominator left out":
            expected = 2.0 * expected
        _row(rows, p, h, "Adam", _bias(p.adam, p, h), expected)
    return rows.samples()
