"""The printed sums and the update rules once more, vectorised over the steps, with bounds on their rounding.

What the compiled sums must agree with beyond the few dozen steps that the double loops of ``stepbias.theory.memory`` can afford. All sums keep their
printed form: weights are powers, the inner sums over l are taken term by term, nothing is truncated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.any_rule import field_once, make_state
from stepbias.kernels.blocks import prepare
from stepbias.kernels.loss import Loss
from stepbias.kernels.measure import field_optimizer
from stepbias.kernels.trajectories import block_data, position
from stepbias.kernels.trajectory import Tableau, make_flow_state, make_watch, record_flow
from stepbias.theory.memory import MemoryTerms
from stepbias.theory.optimizers import AdamFamily
from stepbias.theory.variants import STATEMENT, Variant

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

UNIT = 2.0**-53


class Printed(NamedTuple):
    """The six sums, the same sums over absolute values, and how many steps their memory holds."""

    terms: MemoryTerms
    scale: MemoryTerms
    memory: int


def derivatives(loss: Loss, theta: Floats) -> tuple[Floats, Floats]:
    """Gradients (m, p) and Hessians (m, p, p) of all batches."""
    batches = range(loss.batches)
    return (
        np.array([loss.gradient(b, theta) for b in batches]),
        np.array([loss.hessian(b, theta) for b in batches]),
    )


def weights(decay: float, n: int, corrected: bool) -> Floats:
    """Weight of step k in the average after step l: (n + 1, n + 1), zero above the diagonal."""
    step = np.arange(n + 1)
    age = step[:, None] - step
    with np.errstate(under="ignore"):  # what is below the smallest double is zero
        powers = np.where(age >= 0, float(decay) ** np.maximum(age, 0), 0.0) * (1.0 - decay)
    return powers / (1.0 - float(decay) ** (step + 1.0))[:, None] if corrected else powers


def memory_of(decay: float, n: int) -> int:
    """How many of the steps 0 .. n carry a weight above 2^-60 of the last one."""
    return int(np.sum(float(decay) ** np.arange(n + 1.0) >= 2.0**-60))


def printed(
    optimizer: AdamFamily,
    gradients: Floats,
    hessians: Floats,
    n: int,
    schedule: Integers,
    *,
    short_memory: bool = False,
    largest: float | None = None,
) -> Printed:
    """The sums of step n.

    ``scale`` bounds the absolute values of the terms that are added anywhere on the way: M by the sum of |weight g|, U by that over D, the
    displacement since step k by that since the beginning of the memory (the prefix sums T_n and T_k are at most that large), entries of Hessians by
    ``largest``, a bound on the absolute terms they are sums of (default: on the entries).
    """
    beta, rho = float(optimizer.beta), float(optimizer.rho)
    corrected = optimizer.bias_correction
    batch = schedule[: n + 1]
    g, hessian = gradients[batch], hessians[batch]
    mean_weight, square_weight = weights(beta, n, corrected), weights(rho, n, corrected)
    means, means_scale = mean_weight @ g, mean_weight @ np.abs(g)
    roots = np.sqrt(square_weight @ g**2 + optimizer.eps_root)
    denominators = roots + optimizer.eps
    U, U_scale = means / denominators, means_scale / denominators
    last = n - 1 if short_memory else n
    displacement = np.zeros_like(U)
    displacement[:last] = np.cumsum(U[:last][::-1], axis=0)[
        ::-1
    ]  # row k: the sum over k <= l < last
    w, r = mean_weight[n], square_weight[n]
    memory = max(memory_of(beta, n), memory_of(rho, n))
    size = float(np.abs(hessians).max() if largest is None else largest)
    reach = size * U_scale[max(0, n - memory) : n].sum()
    now = size * U_scale[n].sum()
    past = w[:n].sum()
    r_g = (r[:, None] * np.abs(g))[:n].sum(axis=0)
    ones = np.ones(g.shape[1])
    return Printed(
        MemoryTerms(
            roots[n],
            means[n],
            np.einsum("k,kji,ki->j", w, hessian, displacement),
            np.einsum("k,kji,i->j", w, hessian, U[n]),
            np.einsum("k,kj,kji,ki->j", r, g, hessian, displacement),
            np.einsum("k,kj,kji,i->j", r, g, hessian, U[n]),
        ),
        MemoryTerms(
            roots[n],
            means_scale[n],
            past * reach * ones,
            w.sum() * now * ones,
            r_g * reach,
            (r_g + r[n] * np.abs(g[n])) * now,
        ),
        memory,
    )


def rounding(sums: Printed, decay: float) -> float:
    """Relative size of the rounding errors: a few units for every step in memory, and the units that 1 - decay^(n+1) loses where it is small."""
    return 4.0 * UNIT * (sums.memory + 1.0 / (1.0 - decay))


def slowest(optimizer: AdamFamily) -> float:
    """The larger of the two decays."""
    return max(float(optimizer.beta), float(optimizer.rho))


def field_scale(sums: Printed, optimizer: AdamFamily, h: float) -> Floats:
    """The modified field with every term replaced by the bound on its absolute value."""
    s = sums.scale
    D = s.R + optimizer.eps
    square = np.divide(2.0 * s.P + s.Pbar, s.R, out=np.zeros_like(s.R), where=s.R > 0.0)
    return s.M / D + h * (s.M * square / (2.0 * D**2) + (2.0 * s.L + s.Lbar) / (2.0 * D))


def scaled(term: str, factor: float) -> Variant:
    """The variant with one factor changed."""
    changes: dict[str, Any] = {term: factor}
    return Variant(**changes)


def compiled_field(
    optimizer: AdamFamily,
    loss: Loss,
    theta: Any,
    n: int,
    h: float,
    schedule: Any = None,
    variant: Variant = STATEMENT,
) -> Floats:
    """The compiled field of one problem with a variant switched on, (p,)."""
    ensemble = prepare(optimizer, loss, theta, h, n + 1, schedule, "cpu")
    piece = np.zeros(1, dtype=np.int64)
    out = np.empty((loss.dim, 1))
    rule = ensemble.rule(field_optimizer(optimizer, variant), 0)
    field_once(
        loss.source.oracle.gradients,
        loss.source.oracle.products,
        block_data(loss, piece),
        rule,
        (variant.factors, variant.short_memory),
        n,
        position(ensemble, piece).high,
        ensemble.step_sizes(piece),
        make_state(rule, loss.batches, loss.dim, 1),
        out,
    )
    return out[:, 0]


def flow(
    optimizer: AdamFamily,
    loss: Loss,
    theta0: Any,
    h: float,
    steps: int,
    tableau: Tableau,
    substeps: int,
    schedule: Any = None,
    variant: Variant = STATEMENT,
) -> Floats:
    """The compiled flow of one problem by a chosen method: (steps + 1, p)."""
    ensemble = prepare(optimizer, loss, theta0, h, steps, schedule, "cpu")
    piece = np.zeros(1, dtype=np.int64)
    out = np.empty((steps + 1, loss.dim, 1))
    rule = ensemble.rule(field_optimizer(optimizer, variant), 0)
    record_flow(
        loss.source.oracle.gradients,
        loss.source.oracle.products,
        block_data(loss, piece),
        rule,
        (variant.factors, variant.short_memory),
        ensemble.step_sizes(piece),
        steps,
        tableau,
        substeps,
        position(ensemble, piece),
        make_flow_state(rule, loss.batches, loss.dim, 1),
        make_watch(loss.dim, 1),
        out,
    )
    return out[:, :, 0]


def iterates(
    optimizer: AdamFamily, loss: Loss, theta0: Floats, h: float, schedule: Integers
) -> Floats:
    """The discrete iterates, a plain loop over the steps: (steps + 1, p)."""
    theta = np.array(theta0, dtype=np.float64)
    beta, rho = float(optimizer.beta), float(optimizer.rho)
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    path = [theta]
    for n, b in enumerate(schedule):
        g = loss.gradient(int(b), theta)
        m = beta * m + (1.0 - beta) * g
        v = rho * v + (1.0 - rho) * g**2
        mean, square = m, v
        if optimizer.bias_correction:
            mean, square = m / (1.0 - beta ** (n + 1)), v / (1.0 - rho ** (n + 1))
        theta = theta - h * mean / (np.sqrt(square + optimizer.eps_root) + optimizer.eps)
        path.append(theta)
    return np.array(path)
