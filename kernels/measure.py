"""One measurement: an ensemble at one step size, both trajectories in lockstep, and what was watched along the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.any_rule import make_moments
from stepbias.kernels.blocks import Ensemble, for_each_block
from stepbias.kernels.field import Data
from stepbias.kernels.limit import with_past
from stepbias.kernels.trajectory import (
    CLASSICAL,
    HEUN,
    Position,
    Tableau,
    make_flow_state,
    make_watch,
    run_lockstep,
)
from stepbias.theory.optimizer import Optimizer
from stepbias.theory.optimizers import Adam, AnyOptimizer
from stepbias.theory.variants import STATEMENT, Variant

if TYPE_CHECKING:
    from stepbias.kernels.fault import Fault

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Measurement:
    """Results per problem; see :class:`stepbias.kernels.trajectory.Watch`."""

    error: Floats  # (B,)
    solver: Floats  # (B,)
    distance: Floats  # (B,)
    difference: Floats  # (B, p)
    root: Floats  # (B,)
    drift: Floats  # (B,)
    size: Floats  # (B,)
    start: Floats  # (B,)
    grain: Floats  # (B,)


class Method(NamedTuple):
    """How the reported flow is integrated, and the coarser flow that bounds its error.

    ``stride`` pieces are one Runge-Kutta step once the field is the same on all of them: full batch, after the transients. The iterates are compared with the
    flow at the ends of these steps. (On a GPU every piece is a step.)
    """

    tableau: Tableau
    substeps: int
    coarse: Tableau
    coarse_substeps: int
    stride: int = 1


# From here on one classical step a piece is far more accurate than needed, and Heun's method of order 3 a cheap bound on its error.
_FINE = 512


def resolution(steps: int) -> Method:
    """Two resolutions whose global difference bounds the solver error of the reported one.

    Few steps: two classical Runge-Kutta steps a piece against one. Many: one classical step (order 4) against one step of Heun's method (order 3);
    the difference is then the error of the method of order 3, which overstates that of the reported one.
    """
    if steps < _FINE:
        return Method(CLASSICAL, 2, CLASSICAL, 1)
    return Method(CLASSICAL, 1, HEUN, 1)


def field_optimizer(optimizer: AnyOptimizer, variant: Variant) -> AnyOptimizer:
    """The optimizer whose sums a variant evaluates: the substitutions that change the tables."""
    if isinstance(optimizer, Optimizer):
        if variant.of_adam_only:
            raise ValueError(
                f"variant = {variant.name} with optimizer = {optimizer!r}; accepted: factors on bias, memory and discretization, short_memory and limit "
                f"({', '.join(variant.of_adam_only)}: Adam and RMSProp only)"
            )
        return optimizer
    changed = optimizer
    if variant.swap_eps:
        changed = replace(changed, eps=changed.eps_root, eps_root=changed.eps)
    if variant.flip_bias_correction:
        changed = Adam(
            changed.beta, changed.rho, changed.eps, changed.eps_root, not changed.bias_correction
        )
    return changed


def measure(
    ensemble: Ensemble,
    steps: int,
    variant: Variant = STATEMENT,
    *,
    method: Method | None = None,
    check: bool = True,
    local: bool = False,
    fault: Fault | None = None,
) -> Measurement:
    """Run both trajectories of every problem.

    Parameters
    ----------
    ensemble : Ensemble
    steps : int
    variant : Variant
        The field of the flow: the statement, its leading part, or a wrong variant.
    method : Method, optional
        None: :func:`resolution` of the number of steps.
    check : bool
        Also integrate the coarser flow and report the global difference.
    local : bool
        Put the iterate back on the flow before every step: the error is then the largest one-step defect, with the gradient history taken along the flow.
    fault : Fault, optional
        Break the measurement on purpose.
    """
    flow_ensemble = ensemble
    if fault is not None:
        ensemble = fault.ensemble(ensemble)
        flow_ensemble = fault.flow_ensemble(ensemble)
        method = fault.method if method is None else method
    chosen = resolution(steps) if method is None else method
    flow_of = field_optimizer(ensemble.optimizer, variant)
    flow_ensemble, ahead = with_past(flow_ensemble) if variant.limit else (flow_ensemble, 0)
    single, late = (False, 0) if fault is None else (fault.single, int(fault.late_step))
    offset = 0.0 if fault is None else fault.start
    loss = ensemble.loss
    count = ensemble.problems
    results = Measurement(
        error=np.empty(count),
        solver=np.empty(count),
        distance=np.empty(count),
        difference=np.empty((count, loss.dim)),
        root=np.empty(count),
        drift=np.empty(count),
        size=np.empty(count),
        start=np.empty(count),
        grain=np.empty(count),
    )
    oracle = loss.source.oracle
    pointers = (oracle.gradient, oracle.gradients, oracle.products)

    def work(piece: Integers) -> None:
        lanes, first = len(piece), int(piece[0])
        ints, reals = loss.pack(piece)
        size = loss.source.work_size(lanes)
        start = np.ascontiguousarray(ensemble.theta0[piece].T)
        flow_start = start + offset
        watch = make_watch(loss.dim, lanes)
        iterate_rule = ensemble.rule(ensemble.optimizer, first)
        same_tables = flow_of is ensemble.optimizer and flow_ensemble is ensemble
        flow_rule = iterate_rule if same_tables else flow_ensemble.rule(flow_of, first)
        run_lockstep(
            pointers,
            Data(ints, reals, np.zeros(size)),
            iterate_rule,
            flow_rule,
            (variant.factors, variant.short_memory),
            ensemble.step_sizes(piece),
            steps,
            chosen,
            check,
            local,
            (single, late - ahead),
            Position(start.copy(), np.zeros_like(start)),
            Position(flow_start.copy(), np.zeros_like(start)),
            Position(flow_start.copy(), np.zeros_like(start)),
            make_moments(iterate_rule, loss.dim, lanes),
            make_flow_state(flow_rule, loss.batches, loss.dim, lanes),
            watch,
        )
        for name in ("error", "solver", "distance", "root", "drift", "size", "start", "grain"):
            getattr(results, name)[piece] = getattr(watch, name)
        results.difference[piece] = watch.difference.T

    for_each_block(ensemble, work)
    return results
