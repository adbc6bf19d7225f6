"""Every quantity of the GPU against the CPU and against the printed formulas; the simulator and a GPU are held to the same bounds.

A case is compared with the CPU on all its problems, and with the slow formulas on a few: the first, a middle one and the last, which lie in different blocks
of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import stepbias as sb
from stepbias.kernels import drift
from stepbias.kernels.gpu import run
from stepbias.kernels.measure import Method, measure
from stepbias.kernels.trajectory import CLASSICAL, HEUN
from stepbias.theory.variants import STATEMENT, Variant, of_order
from stepbias.verify.sweep import sweep
from tests.parity import literal, roundings
from tests.parity.cases import BOX, Case
from tests.parity.literal import Problem
from tests.reference import UNIT

Floats = NDArray[np.float64]

# The rounding of float32 is 6e-8: a bound above this could not tell single from double precision.
_SHARP = 1e-8
_SHIFT = 2.0**-20
# U, D and R are looked at where the pieces of the flow begin and end; this much they may change between.
_BETWEEN = 1.25


def agree(found: Any, expected: Any, bound: Any, what: str, unit: float = 1.0) -> None:
    """|found - expected| <= bound, entry by entry; a bound that says nothing is an error too.

    ``unit`` is the size of the numbers that the result is a difference of.
    """
    a, b = np.asarray(found), np.asarray(expected)
    assert a.shape == b.shape, f"{what}: shape {a.shape}, expected {b.shape}"
    assert np.isfinite(b).all(), f"{what}: expected {b}"
    assert np.max(bound) <= _SHARP * max(unit, np.abs(b).max()), f"{what}: bound {bound}"
    excess = np.abs(a - b) / np.broadcast_to(bound, b.shape)
    assert (excess <= 1.0).all(), (  # a NaN fails
        f"{what}: found {a.ravel()}, expected {b.ravel()}: {np.nanmax(excess):.3g} times the bound"
    )


def chosen(case: Case) -> list[int]:
    """Problems that the slow formulas are evaluated for."""
    return sorted({0, case.problems // 2, case.problems - 1})


def _column(bounds: Floats, ndim: int) -> Floats:
    """A number for each problem, broadcast over the axes behind the first."""
    return bounds.reshape(-1, *[1] * (ndim - 1))


# at one point -------------------------------------------------------------------------------------


def terms(case: Case, n: int) -> None:
    """``memory_terms``."""
    arguments = (case.optimizer, case.loss, case.theta0, n, case.schedule)
    found = sb.memory_terms(*arguments, device="cuda")
    expected = sb.memory_terms(*arguments)
    alone = [literal.problem(case, k, n + 1) for k in range(case.problems)]
    limits = [roundings.at_point(one, case.sizes, one.theta0, n) for one in alone]
    size = {"R": "gradient", "M": "gradient", "L": "lag", "Lbar": "lag"}
    for name in found._fields:
        bound = np.array([getattr(limit, size.get(name, "square_lag")) for limit in limits])
        one, other = getattr(found, name), getattr(expected, name)
        agree(one, other, bound[:, None], f"{name} against the CPU")
        for k in chosen(case):
            slow = getattr(literal.terms(alone[k], case.theta0[k], n), name)
            agree(one[k], slow, bound[k], f"{name} of problem {k} against the printed sum")


def field(case: Case, n: int) -> None:
    """``vector_field``, both orders."""
    alone = [literal.problem(case, k, n + 1) for k in range(case.problems)]
    bound = np.array(
        [roundings.at_point(one, case.sizes, one.theta0, n).field(one.h) for one in alone]
    )
    for order in (1, 2):
        arguments = (case.optimizer, case.loss, case.theta0, n, case.h, case.schedule, order)
        found = sb.vector_field(*arguments, device="cuda")
        agree(found, sb.vector_field(*arguments), bound[:, None], f"field of order {order}")
        for k in chosen(case):
            slow, _ = literal.field(alone[k], case.theta0[k], n, of_order(order))
            agree(found[k], slow, bound[k], f"field of order {order} of problem {k}, printed")


# along trajectories -------------------------------------------------------------------------------


def amplification(case: Case, steps: int, h: Any) -> Floats:
    """By how much an error at the start grows on the way, (B,): twice the infinity norm of the derivative of both paths, by differences.

    Twice: errors made on the way have less of it before them, but may meet more curvature.
    """
    grown = np.zeros((2, case.problems))
    arguments = (h, steps, case.schedule)
    for i, path in enumerate((sb.iterate, sb.flow)):
        base = path(case.optimizer, case.loss, case.theta0, *arguments)
        for unit in np.eye(case.loss.dim):
            moved = path(case.optimizer, case.loss, case.theta0 + _SHIFT * unit, *arguments)
            grown[i] += np.abs(moved - base).max(axis=(1, 2)) / _SHIFT
    return np.asarray(2.0 * grown.max(axis=0))


def path_bounds(
    case: Case,
    alone: Sequence[Problem],
    steps: int,
    h: Any,
    swap: bool = False,
) -> tuple[Floats, list[roundings.Roundings]]:
    """Bounds on a position after ``steps`` steps, (B,), and on what is computed at one: rates that err by (time x error of a rate), amplified.

    A position is kept as a pair of doubles, and handed out, or taken into a loss, as one: a rounding of 2^-53 a step on the slow side.
    """
    paths = sb.flow(case.optimizer, case.loss, case.theta0, h, steps, case.schedule)
    rate, limits = [], []
    for one, path in zip(alone, paths, strict=True):
        at = [
            roundings.at_point(o, case.sizes, theta, steps - 1, _BETWEEN)
            for theta in path
            for o in (one, literal.swapped(one) if swap else one)
        ]
        worst = max(at, key=lambda limit: limit.field(one.h))
        rate.append(max(worst.field(one.h), worst.step))
        limits.append(worst)
    time = np.array([one.h for one in alone]) * steps
    bound = amplification(case, steps, h) * (time * np.array(rate) + 2.0 * steps * UNIT)
    return np.asarray(bound), limits


def iterate(case: Case) -> None:
    """``iterate``."""
    found = sb.iterate(*case.trajectory, device="cuda")
    alone = [literal.problem(case, k, case.steps) for k in range(case.problems)]
    bound, _ = path_bounds(case, alone, case.steps, case.h)
    assert np.abs(found).max() < BOX  # where the sizes of the derivatives are known
    agree(found, sb.iterate(*case.trajectory), bound[:, None, None], "iterates")
    for k in chosen(case):
        slow = literal.iterates(alone[k], case.steps)
        agree(found[k], slow, bound[k], f"iterates of problem {k}, printed")


def flow(case: Case, order: int) -> None:
    """``flow``."""
    given = (*case.trajectory, order)
    found = sb.flow(*given, device="cuda")
    alone = [literal.problem(case, k, case.steps) for k in range(case.problems)]
    bound, _ = path_bounds(case, alone, case.steps, case.h)
    assert np.abs(found).max() < BOX
    agree(found, sb.flow(*given), bound[:, None, None], f"flow of order {order}")
    for k in chosen(case):
        slow = literal.flow(alone[k], case.steps, of_order(order), (literal.CLASSICAL, 2))
        agree(found[k], slow, bound[k], f"flow of order {order} of problem {k}, printed")


def global_error(case: Case) -> None:
    """``global_error``, with other numbers of substeps too: a norm of a difference of two positions."""
    alone = [literal.problem(case, k, case.steps) for k in range(case.problems)]
    bound, _ = path_bounds(case, alone, case.steps, case.h)
    bound *= 2.0 * np.sqrt(case.loss.dim)
    for order, substeps in ((2, 2), (1, 3)):
        given = (*case.trajectory, order)
        found = sb.global_error(*given, device="cuda", substeps=substeps)
        agree(found, sb.global_error(*given, substeps=substeps), bound, "global error")
        for k in chosen(case):
            paths = (
                literal.iterates(alone[k], case.steps),
                literal.flow(alone[k], case.steps, of_order(order), (literal.CLASSICAL, substeps)),
            )
            slow = np.linalg.norm(paths[0] - paths[1], axis=1).max()
            agree(found[k], slow, bound[k], f"global error of problem {k}, printed")


def small_steps() -> None:
    """Steps of a quarter of the spacing of doubles: both paths move all the same, because they are kept as pairs of doubles."""
    far, steps = 1.5 * 2.0**20, 64
    spacing = np.spacing(far)
    h = spacing / 4.0
    loss = sb.Loss.sinusoids([[2.0**20]], [[2.0**-20]], [[-1.0]])
    adam, start = sb.Adam(0.5, 0.7, 0.0, 1.0), np.array([far])
    slope = np.cos(0.5)  # all the way: the argument changes by 2^-48
    expected = far - steps * h * slope / np.sqrt(slope**2 + 1.0)
    assert far - expected > 8.0 * spacing
    for path in (sb.iterate, sb.flow):
        found = path(adam, loss, start, h, steps, device="cuda")
        # one spacing: the last rounding, and steps that are wrong by a few units of 2^-53
        assert abs(found[-1, 0] - expected) <= spacing
        assert abs(path(adam, loss, start, h, steps)[-1, 0] - expected) <= spacing


def sine_limit() -> None:
    """Where the reduction of an argument would be wrong, beyond 10^6, sines are NaN on both, never numbers."""
    loss = sb.Loss.sinusoids([[1.0]], [[1.0]], [[0.0]])
    adam, starts = sb.Adam(0.5, 0.7, 0.0, 1.0), np.array([[1.0], [2e6], [-2.0]])
    for where in ("cpu", "cuda"):
        found = sb.iterate(adam, loss, starts, 0.1, 2, device=where)
        assert np.isfinite(found[[0, 2]]).all()
        assert np.isnan(found[1, 1:]).all()


# many numbers of steps ----------------------------------------------------------------------------

HORIZON = 0.12
COUNTS = (2, 6, 1, 3)  # in no order; lanes are sorted by them
# The reported flow and the coarser one, different for every number of steps.
METHODS = (
    None,
    Method(CLASSICAL, 1, HEUN, 1),
    Method(HEUN, 2, CLASSICAL, 1),
    Method(CLASSICAL, 2, HEUN, 2),
)


def _plain(method: Method | None) -> tuple[literal.Method, literal.Method]:
    if method is None:
        return (literal.CLASSICAL, 2), (literal.CLASSICAL, 1)

    def tableau(given: Any) -> tuple[Floats, Floats]:
        return literal.CLASSICAL if given is CLASSICAL else literal.HEUN

    return (
        (tableau(method.tableau), method.substeps),
        (tableau(method.coarse), method.coarse_substeps),
    )


def ladder(case: Case, variant: Variant = STATEMENT, local: bool = False) -> None:
    """All results of a lockstep run at several numbers of steps in one launch."""
    ensembles = [case.ensemble(n, HORIZON / n) for n in COUNTS]
    found = run.measure_ladder(ensembles, COUNTS, variant, methods=METHODS, local=local)
    for ensemble, steps, method, measured in zip(ensembles, COUNTS, METHODS, found, strict=True):
        expected = measure(ensemble, steps, variant, method=method, local=local)
        h = HORIZON / steps
        alone = [literal.problem(case, k, steps, h) for k in range(case.problems)]
        bounds = _watch_bounds(case, alone, steps, h, variant, expected)
        slow = {
            k: literal.measure(alone[k], steps, variant, _plain(method), local)
            for k in chosen(case)[1:]
        }
        for name, bound in bounds.items():
            one, other = getattr(measured, name), getattr(expected, name)
            unit = {"drift": 1.0 / h, "grain": 2.0**24}.get(name, 1.0)
            limit = _column(bound, one.ndim)
            agree(one, other, limit, f"{name} in {steps} steps", unit)
            for k, values in slow.items():
                told = f"{name} in {steps} steps of problem {k}, printed"
                agree(one[k], values[name], bound[k], told, unit)


def _watch_bounds(
    case: Case, alone: Sequence[Problem], steps: int, h: float, variant: Variant, expected: Any
) -> dict[str, Floats]:
    """What each result of a lockstep run may be off by, (B,)."""
    position, limits = path_bounds(case, alone, steps, h, variant.swap_eps)
    gap = 2.0 * np.sqrt(case.loss.dim) * position  # a norm of a difference of two
    # R moves with the gradients, and these with the position.
    moved = np.array([limit.gradient for limit in limits])
    moved = moved + case.loss.dim * case.sizes[1] * position
    # A difference of two R over D and the time of a substep: at most two substeps.
    denominator = np.array([limit.denominator for limit in limits])
    rate = 2.0 * (2.0 * moved) / (denominator * h) + expected.drift * 2.0 * moved / denominator
    # In units of 2^-24 of a component, of which none is smaller than this.
    paths = sb.iterate(case.optimizer, case.loss, case.theta0, h, steps, case.schedule)
    smallest = np.abs(paths).min(axis=(1, 2))
    return {
        "error": gap,
        "solver": gap,
        "distance": gap,
        "difference": 2.0 * position,
        "size": position,
        "root": moved,
        "drift": rate,
        "start": np.full(case.problems, UNIT),
        "grain": 2.0**24 * 4.0 * position / smallest,
    }


def sweeps(case: Case, variant: Variant, kind: str) -> None:
    """``sweep``, all columns: what it makes of the measurements is the CPU's on both sides, so only their roundings are left."""
    given = (case.optimizer, case.loss, case.theta0, HORIZON, COUNTS, case.schedule, variant, kind)
    found, expected = (sweep(*given, device=device) for device in ("cuda", "cpu"))
    position, rate, single = np.zeros((3, case.problems))
    for steps in COUNTS:
        h = HORIZON / steps
        alone = [literal.problem(case, k, steps, h) for k in range(case.problems)]
        ensemble = case.ensemble(steps, h)
        bounds = _watch_bounds(case, alone, steps, h, variant, measure(ensemble, steps, variant))
        position = np.maximum(position, bounds["error"])
        rate = np.maximum(rate, bounds["drift"])
        single = np.maximum(single, bounds["grain"])
    decay = np.maximum(case.optimizer.beta, case.optimizer.rho)
    np.testing.assert_array_equal(found.h, expected.h)
    for name in ("error", "floor", "difference", "distance"):
        one, other = getattr(found, name), getattr(expected, name)
        agree(one, other, _column(position, other.ndim), f"{name} of the sweep")
    agree(
        found.memory,
        expected.memory,
        rate / (1.0 - decay),
        "memory of the sweep",
        max(COUNTS) / HORIZON,
    )
    start, grain, products, solver = found.integrity.T
    assert not start.any()
    agree(grain, expected.integrity[:, 1], single, "grain of the sweep", 2.0**24)
    np.testing.assert_array_equal(products, expected.integrity[:, 2])  # computed on the CPU
    agree(solver, expected.integrity[:, 3], position, "solver difference of the sweep")


def iterate_drift(case: Case, steps: int) -> None:
    """The largest |D'/D| along the iterates."""
    ensemble = case.ensemble(steps, case.h)
    found, expected = run.iterate_drift(ensemble, steps), drift.iterate_drift(ensemble, steps)
    alone = [literal.problem(case, k, steps) for k in range(case.problems)]
    position, limits = path_bounds(case, alone, steps, case.h)
    moved = np.array([limit.gradient for limit in limits])
    moved = moved + case.loss.dim * case.sizes[1] * position
    denominator = np.array([limit.denominator for limit in limits])
    h = np.array([one.h for one in alone])
    bound = 2.0 * moved / (denominator * h) + expected * 2.0 * moved / denominator
    unit = 1.0 / h.min()
    agree(found, expected, bound, "drift", unit)
    for k in chosen(case):
        slow = literal.iterate_drift(alone[k], steps)
        agree(found[k], slow, bound[k], f"drift of problem {k}, printed", unit)
