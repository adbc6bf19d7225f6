"""The explicit memory sums of Adam and RMSProp against the field that their update rules give."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from stepbias.kernels.loss import Loss
from stepbias.theory import derived_claims, general_memory
from stepbias.theory.claim import Algorithm, Place
from stepbias.theory.memory import MemoryTerms, literal_field, literal_terms
from stepbias.theory.optimizer import Optimizer
from stepbias.theory.optimizers import Adam, AdamFamily, RMSProp
from stepbias.theory.schedules import IID
from stepbias.theory.variants import STATEMENT, Variant
from stepbias.verify.samples import Samples, Setting, label

_COUNTS = (24, 96, 400)
_MOST_STEPS = 40
_STEP = 0.05
_UNIT = 2.0**-53
# Roundings of a gradient, a Hessian row and a weight, and of the fifteen operations that combine them, each relative to the largest sum of moduli.
_ROUNDINGS = 64.0


def _optimizers(
    algorithm: Algorithm, place: Place, rng: Any, defaults: bool
) -> tuple[AdamFamily, Optimizer]:
    """The optimizer of the explicit sums, and the one that is known by its rule."""
    beta, rho = (0.9, 0.999) if defaults else rng.uniform(0.0, 0.99, 2)
    epsilon = 1e-8 if defaults else float(10.0 ** rng.uniform(-6.0, 0.0))
    eps, eps_root = (0.0, epsilon) if place == "inside" else (epsilon, 0.0)
    if algorithm == "adam":
        rule = Optimizer.define(
            derived_claims.adam, (0.0, 0.0), beta=beta, rho=rho, eps=eps, eps_root=eps_root
        )
        return Adam(beta, rho, eps, eps_root), rule
    rule = Optimizer.define(derived_claims.rmsprop, (0.0,), rho=rho, eps=eps, eps_root=eps_root)
    return RMSProp(rho, eps, eps_root), rule


def _size(terms: MemoryTerms, eps: float, gradients: Any, hessians: Any, steps: Any) -> float:
    """Largest sum of moduli of what the field adds up: nothing cancels in it."""
    D = terms.R + eps
    bound = np.abs(hessians).max(axis=0) @ steps
    ages = np.abs(gradients).max(axis=0) * bound
    bias = np.abs(terms.M) * ages / (D * D * terms.R) + bound / D
    return float(np.max(np.abs(terms.M) / D + _STEP * bias))


def _compare(variant: str, setting: Setting, algorithm: Algorithm, place: Place) -> Samples:
    factors = {one.name: one for one in derived_claims.wrong_variants(algorithm)}
    chosen: Variant = factors[variant] if variant else STATEMENT
    numbers = setting.numbers(*_COUNTS)
    rows: list[tuple[float, float, float, str, tuple[float, ...]]] = []
    for k in numbers:
        rng = setting.rng(f"derived/{algorithm}-{place}", int(k))
        dim, batches, n = (
            int(rng.integers(1, 6)),
            int(rng.integers(1, 4)),
            int(rng.integers(1, _MOST_STEPS + 1)),
        )
        family = str(rng.choice(Loss.families()))
        loss = Loss.random(family, dim, batches, seed=int(rng.integers(2**31)))
        theta = rng.normal(size=dim)
        schedule = IID(batches, int(rng.integers(2**31))).indices(n + 1)
        explicit, rule = _optimizers(algorithm, place, rng, defaults=k % 8 == 0)
        terms = literal_terms(explicit, loss, theta, n, schedule)
        field = literal_field(terms, float(explicit.eps), _STEP, chosen)
        derived = general_memory.literal_field(
            general_memory.literal_terms(rule, loss, theta, n, schedule), _STEP
        )
        gradients = np.stack([loss.gradient(b, theta) for b in range(batches)])
        hessians = np.stack([loss.hessian(b, theta) for b in range(batches)])
        # |U| is at most the largest gradient over the smallest denominator in memory
        first = literal_terms(explicit, loss, theta, 0, schedule)
        U = np.abs(gradients).max(axis=0) / (np.minimum(first.R, terms.R) + float(explicit.eps))
        size = _size(terms, float(explicit.eps), gradients, hessians, (n + 1) * U)
        beta, rho = float(explicit.beta), float(explicit.rho)
        epsilon = float(explicit.eps) + float(explicit.eps_root)
        text = label(family=family, p=dim, m=batches, n=n, beta=beta, rho=rho, eps=epsilon)
        rows.append((
            float(np.max(np.abs(field - derived))), _ROUNDINGS * (n + 1) * _UNIT * size,
            float(np.max(np.abs(derived))), text, (beta, rho, epsilon, _STEP),
        ))  # fmt: skip
    return Samples(
        numbers=numbers,
        labels=np.array([row[3] for row in rows]),
        stratum=np.array(
            ["PyTorch's decays and epsilon" if k % 8 == 0 else "random" for k in numbers]
        ),
        hardness=np.array([row[4] for row in rows]),
        left=np.array([row[0] for row in rows]),
        right=np.array([row[1] for row in rows]),
        scale=np.array([row[2] for row in rows]),
    )


adam_inside = partial(_compare, algorithm="adam", place="inside")
adam_outside = partial(_compare, algorithm="adam", place="outside")
rmsprop_inside = partial(_compare, algorithm="rmsprop", place="inside")
rmsprop_outside = partial(_compare, algorithm="rmsprop", place="outside")
