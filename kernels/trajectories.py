"""Public functions: the discrete iterates, the flow of the modified equation, its field and memory sums, and the global error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.any_rule import field_once, make_moments, make_state
from stepbias.kernels.blocks import Ensemble, for_each_block, prepare, require_memory
from stepbias.kernels.field import Data, evaluate_sums, make_field_state
from stepbias.kernels.measure import Method, measure
from stepbias.kernels.rule import Rule
from stepbias.kernels.trajectory import (
    CLASSICAL,
    Position,
    make_flow_state,
    make_watch,
    record_flow,
    record_iterate,
)
from stepbias.theory.checks import whole
from stepbias.theory.memory import MemoryTerms
from stepbias.theory.optimizers import require_family
from stepbias.theory.variants import STATEMENT, of_order

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_SUBSTEPS = 2
_FLOW = Method(CLASSICAL, _SUBSTEPS, CLASSICAL, 1)
_STORED = "the trajectory (global_error stores none)"
_AT = ("theta", "n + 1")


def block_data(loss: Any, piece: Integers) -> Data:
    """Packed loss data of a block, with fresh scratch."""
    ints, reals = loss.pack(piece)
    return Data(ints, reals, np.zeros(loss.source.work_size(len(piece))))


def position(ensemble: Ensemble, piece: Integers) -> Position:
    """The start of a block, lane axis innermost."""
    high = np.ascontiguousarray(ensemble.theta0[piece].T)
    return Position(high, np.zeros_like(high))


def iterate(
    optimizer: Any,
    loss: Any,
    theta0: Any,
    h: Any,
    steps: int,
    schedule: Any = None,
    *,
    device: str = "cpu",
) -> Floats:
    """The discrete iterates of the optimizer.

    Parameters
    ----------
    optimizer : Adam, RMSProp or Optimizer
        Its parameters may carry a leading B.
    loss : Loss
        m mini-batch losses on R^p, or an ensemble of B of them.
    theta0 : (p,) or (B, p) float64
        Start.
    h : float or (B,)
        Step size, > 0.
    steps : int
        Number of steps, >= 0.
    schedule : schedule object, integer array or None
        Batch of every step; None: full batch for m = 1, cyclic otherwise.
    device : {"cpu", "cuda"}
        "cuda": an NVIDIA GPU, or Numba's simulator; a `ValueError` says what to install where there is neither.

    Returns
    -------
    (steps + 1, p) float64, or (B, steps + 1, p)
        A problem that overflows has non-finite rows from there on; the others are unaffected.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is accepted.

    References
    ----------
    Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Definitions 2.1 and 4.1.
    """
    steps = whole("steps", steps, 0)  # a small NumPy integer would overflow at steps + 1
    ensemble = prepare(optimizer, loss, theta0, h, steps, schedule, device)
    require_memory("steps", steps, ensemble.problems * (steps + 1) * loss.dim, _STORED)
    if device == "cuda":
        from stepbias.kernels.gpu import run

        return ensemble.squeeze(run.record(ensemble, steps, STATEMENT, _FLOW, flow=False))
    result = np.empty((ensemble.problems, steps + 1, loss.dim))

    def work(piece: Integers) -> None:
        out = np.empty((steps + 1, loss.dim, len(piece)))
        rule = ensemble.rule(optimizer, int(piece[0]))
        record_iterate(
            loss.source.oracle.gradient,
            block_data(loss, piece),
            rule,
            ensemble.step_sizes(piece),
            steps,
            position(ensemble, piece),
            make_moments(rule, loss.dim, len(piece)),
            out,
        )
        result[piece] = out.transpose(2, 0, 1)

    for_each_block(ensemble, work)
    return ensemble.squeeze(result)


def flow(
    optimizer: Any,
    loss: Any,
    theta0: Any,
    h: Any,
    steps: int,
    schedule: Any = None,
    order: int = 2,
    *,
    device: str = "cpu",
) -> Floats:
    """The solution of the piecewise modified equation at t = 0, h, ..., steps h.

    Parameters
    ----------
    optimizer, loss, theta0, h, steps, schedule, device
        As in :func:`iterate`.
    order : {2, 1}
        2: the theorem's field; 1: its leading part alone.

    Returns
    -------
    (steps + 1, p) float64, or (B, steps + 1, p)

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is accepted.

    Notes
    -----
    Two classical Runge-Kutta steps of order 4 on every piece [n h, (n + 1) h): the solver error is O(h^4), against the O(h^2) to be seen;
    ``measure_order`` measures it.

    References
    ----------
    Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Theorems 3.1 and 4.2 and their variants with epsilon outside the root.
    """
    steps = whole("steps", steps, 0)  # a small NumPy integer would overflow at steps + 1
    ensemble = prepare(optimizer, loss, theta0, h, steps, schedule, device)
    variant = of_order(order)
    require_memory("steps", steps, ensemble.problems * (steps + 1) * loss.dim, _STORED)
    if device == "cuda":
        from stepbias.kernels.gpu import run

        return ensemble.squeeze(run.record(ensemble, steps, variant, _FLOW, flow=True))
    result = np.empty((ensemble.problems, steps + 1, loss.dim))

    def work(piece: Integers) -> None:
        out = np.empty((steps + 1, loss.dim, len(piece)))
        oracle = loss.source.oracle
        rule = ensemble.rule(optimizer, int(piece[0]))
        record_flow(
            oracle.gradients,
            oracle.products,
            block_data(loss, piece),
            rule,
            (variant.factors, variant.short_memory),
            ensemble.step_sizes(piece),
            steps,
            CLASSICAL,
            _SUBSTEPS,
            position(ensemble, piece),
            make_flow_state(rule, loss.batches, loss.dim, len(piece)),
            make_watch(loss.dim, len(piece)),
            out,
        )
        result[piece] = out.transpose(2, 0, 1)

    for_each_block(ensemble, work)
    return ensemble.squeeze(result)


def vector_field(
    optimizer: Any,
    loss: Any,
    theta: Any,
    n: int,
    h: Any,
    schedule: Any = None,
    order: int = 2,
    *,
    device: str = "cpu",
) -> Floats:
    """The modified field at step n and parameters theta: d theta / dt on [n h, (n + 1) h).

    Parameters
    ----------
    optimizer, loss, h, schedule, device
        As in :func:`iterate`; an explicit schedule needs n + 1 entries.
    theta : (p,) or (B, p) float64
    n : int
        Step, >= 0.
    order : {2, 1}
        2: the theorem's field; 1: its leading part alone.

    Returns
    -------
    (p,) float64, or (B, p)

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is accepted.

    References
    ----------
    Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Theorems 3.1 and 4.2.
    """
    n = whole("n", n, 0)
    ensemble = prepare(optimizer, loss, theta, h, n + 1, schedule, device, _AT)
    variant = of_order(order)
    if device == "cuda":
        from stepbias.kernels.gpu import run

        return ensemble.squeeze(run.field(ensemble, n, variant))
    result = np.empty((ensemble.problems, loss.dim))

    def work(piece: Integers) -> None:
        lanes = len(piece)
        out = np.empty((loss.dim, lanes))
        oracle = loss.source.oracle
        rule = ensemble.rule(optimizer, int(piece[0]))
        field_once(
            oracle.gradients,
            oracle.products,
            block_data(loss, piece),
            rule,
            (variant.factors, variant.short_memory),
            n,
            position(ensemble, piece).high,
            ensemble.step_sizes(piece),
            make_state(rule, loss.batches, loss.dim, lanes),
            out,
        )
        result[piece] = out.T

    for_each_block(ensemble, work)
    return ensemble.squeeze(result)


# Factors that switch all but one of L, Lbar, P, Pbar off; the kernel returns 2 L + Lbar and 2 P + Pbar.
_FIRST = np.array([1.0, 1.0, 0.5, 0.0, 0.5, 0.0, 1.0])
_LAST = np.array([1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0])


def memory_terms(
    optimizer: Any, loss: Any, theta: Any, n: int, schedule: Any = None, *, device: str = "cpu"
) -> Any:
    """The memory sums R, M, L, Lbar, P, Pbar at step n, all gradients at one and the same theta.

    Parameters
    ----------
    optimizer, loss, schedule, device
        As in :func:`iterate`; an explicit schedule needs n + 1 entries.
    theta : (p,) or (B, p) float64
    n : int
        Step, >= 0.

    Returns
    -------
    MemoryTerms
        Named tuple of six arrays (p,), or (B, p). R includes eps_root; the denominator is R + eps.

    Raises
    ------
    TypeError
        For an optimizer that is not Adam or RMSProp.
    ValueError
        Naming the argument, its value and what is accepted.

    References
    ----------
    Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", sums of Theorems 3.1 and 4.2.
    """
    n = whole("n", n, 0)
    require_family(optimizer)
    ensemble = prepare(optimizer, loss, theta, 1.0, n + 1, schedule, device, _AT)
    if device == "cuda":
        return MemoryTerms(*(ensemble.squeeze(part) for part in _terms_on_gpu(ensemble, n)))
    result = np.empty((6, ensemble.problems, loss.dim))

    def work(piece: Integers) -> None:
        lanes = len(piece)
        data = block_data(loss, piece)
        state = make_field_state(loss.batches, loss.dim, lanes)
        rule = ensemble.rule(optimizer, int(piece[0]))
        assert isinstance(rule, Rule)
        theta_block = position(ensemble, piece).high
        oracle = loss.source.oracle
        for index, factors in ((2, _FIRST), (3, _LAST)):
            evaluate_sums(
                oracle.gradients,
                oracle.products,
                data,
                rule,
                (factors, False),
                n,
                theta_block,
                state,
            )
            result[index, piece] = state.first[0].T
            result[index + 2, piece] = state.second[0].T
        shape = (loss.dim, lanes)
        result[0, piece] = np.sqrt(state.sums.square.reshape(shape) + rule.eps_root).T
        result[1, piece] = state.sums.mean.reshape(shape).T

    for_each_block(ensemble, work)
    return MemoryTerms(*(ensemble.squeeze(part) for part in result))


def _terms_on_gpu(ensemble: Ensemble, n: int) -> tuple[Floats, ...]:
    """R, M, L, Lbar, P, Pbar, (B, p) each."""
    from stepbias.kernels.gpu import run

    first, last = run.terms(ensemble, n, (_FIRST, _LAST))
    root = np.sqrt(first["square"] + ensemble.parameters[:, 3:])
    return root, first["mean"], first["first"], last["first"], first["second"], last["second"]


def global_error(
    optimizer: Any,
    loss: Any,
    theta0: Any,
    h: Any,
    steps: int,
    schedule: Any = None,
    order: int = 2,
    *,
    device: str = "cpu",
    substeps: int = _SUBSTEPS,
) -> Any:
    """Maximum over n of the 2-norm of iterate - flow, in lockstep, without storing trajectories.

    Parameters
    ----------
    optimizer, loss, theta0, h, steps, schedule, order, device
        As in :func:`flow`.
    substeps : int, default 2
        Runge-Kutta steps on every piece.

    Returns
    -------
    float, or (B,) float64
        NaN or inf for a problem that overflowed.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is accepted.

    References
    ----------
    Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Theorems 3.1 and 4.2.
    """
    steps = whole("steps", steps, 0)  # a small NumPy integer would overflow at steps + 1
    ensemble = prepare(optimizer, loss, theta0, h, steps, schedule, device)
    variant = of_order(order)
    method = Method(CLASSICAL, whole("substeps", substeps, 1), CLASSICAL, 1)
    if device == "cuda":
        from stepbias.kernels.gpu import run

        found = run.measure_ladder([ensemble], [steps], variant, methods=[method], check=False)[0]
    else:
        found = measure(ensemble, steps, variant, method=method, check=False)
    return float(found.error[0]) if ensemble.single else found.error
