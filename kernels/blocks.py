"""From an ensemble to blocks of lanes, and from blocks to threads.

Problems that share the optimizer's parameters and the schedule go into one block (its tables are then shared); step size, start and loss are per
lane. A problem's numbers do not depend on the block it lands in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.any_rule import AnyRule
from stepbias.kernels.gpu.device import require
from stepbias.kernels.rule import make_rule
from stepbias.theory.checks import real, whole
from stepbias.theory.optimizer import Optimizer
from stepbias.theory.optimizers import (
    AnyOptimizer,
    decay_of,
    parameter_names,
    require_optimizer,
)
from stepbias.theory.schedules import resolve

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Flat entries (components x lanes) of a block: long enough to amortise the loop overhead of the sums (measured flat from 64 on), short enough for
# the first-level cache.
_ENTRIES = 256
# Fewer lanes than this leave the loops over lanes unvectorised: not worth splitting a block for another thread.
_LANES = 32


def thread_count() -> int:
    """Worker threads: the CPUs this process may use, or ``STEPBIAS_THREADS``."""
    setting = os.environ.get("STEPBIAS_THREADS")
    if setting is None:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    if not setting.isdecimal() or int(setting) < 1:
        raise ValueError(f"STEPBIAS_THREADS = {setting!r}; accepted: an integer >= 1")
    return int(setting)


@dataclass(frozen=True)
class Ensemble:
    """Checked input of a run, every per-problem quantity expanded to B problems.

    ``single`` tells that the user passed one problem without a leading axis.
    """

    optimizer: AnyOptimizer
    loss: Any
    theta0: Floats  # (B, p)
    h: Floats  # (B,)
    parameters: Floats  # (B, k) in the order of `parameter_names`; the Adam family's are beta, rho, eps, eps_root
    schedule: Integers  # (steps,) or (B, steps)
    single: bool

    @property
    def problems(self) -> int:
        """B."""
        return len(self.theta0)

    def squeeze(self, result: Floats) -> Floats:
        """Drop the leading axis if the user passed one problem."""
        return result[0] if self.single else result

    def step_sizes(self, piece: Integers) -> Floats:
        """Step size of every (component, lane) of a block, (p, L)."""
        return np.repeat(self.h[piece][None], self.loss.dim, axis=0)

    @property
    def decay(self) -> Floats:
        """Factor by which the slowest memory of every problem shrinks in a step, (B,)."""
        return np.broadcast_to(np.asarray(decay_of(self.optimizer)), self.problems)

    @property
    def eps(self) -> Floats:
        """Constant outside the root, (B,); 0 for optimizers without one in that place."""
        if isinstance(self.optimizer, Optimizer):
            return np.zeros(self.problems)
        return self.parameters[:, 2]

    def rule(self, optimizer: AnyOptimizer, problem: int) -> Any:
        """Tables of ``optimizer`` on the schedule of ``problem``: a `Rule`, or for a traced rule a `GroupedRule` or a `DenseRule`."""
        row = self.schedule if self.schedule.ndim == 1 else self.schedule[problem]
        return _rule(optimizer, row, self.loss.batches, problem)


def _rule(optimizer: AnyOptimizer, row: Integers, batches: int, problem: int) -> AnyRule:
    values = {
        name: float(value if np.ndim(value) == 0 else np.asarray(value)[problem])
        for name, value in ((n, getattr(optimizer, n)) for n in parameter_names(optimizer))
    }
    if isinstance(optimizer, Optimizer):
        from stepbias.kernels.rule_tables import traced_rule  # SymPy: only for those who need it

        return traced_rule(optimizer.rule, values, row, batches)
    return make_rule(
        **values, bias_correction=optimizer.bias_correction, batch=row, batches=batches
    )


def prepare(
    optimizer: Any,
    loss: Any,
    theta0: Any,
    h: Any,
    steps: Any,
    schedule: Any,
    device: Any,
    names: tuple[str, str] = ("theta0", "steps"),
) -> Ensemble:
    """Check every argument and expand to an ensemble; nothing is computed before all of them are accepted.

    ``names`` is what the caller's user knows theta0 and steps as.
    """
    point, count_name = names
    require_optimizer(optimizer)
    if not hasattr(loss, "source"):
        raise TypeError(
            f"loss = {loss!r} has type {type(loss).__name__}; accepted: a stepbias.Loss"
        )
    if not (isinstance(device, str) and device == "cpu"):
        require(device)
    whole(count_name, steps, 0)
    start = real(point, theta0)
    if start.ndim not in (1, 2) or start.shape[-1] != loss.dim:
        raise ValueError(
            f"{point} has shape {start.shape}; accepted: ({loss.dim},) or (B, {loss.dim}) for this loss"
        )
    step = real("h", h, "positive numbers, one or one per problem")
    if step.ndim > 1 or np.any(step <= 0.0):
        raise ValueError(f"h = {h!r}; accepted: a number > 0, or one per problem")
    if loss.batches == 1 and schedule is None and not isinstance(optimizer, Optimizer):
        # One number, and tables that do not grow: a run may have any length.
        batch = np.broadcast_to(np.int64(0), whole(count_name, steps, 0, 2**62))
    else:
        # The schedule, the weight tables of a rule and what is needed to fill them.
        doubles = int(steps) * (2 * loss.batches + 8)
        require_memory(count_name, steps, doubles, "the weights of all steps")
        batch = resolve(schedule, loss.batches, steps)
    sizes = {point: start.shape[:-1], "h": step.shape, "schedule": batch.shape[:-1]}
    parameters_given = parameter_names(optimizer)
    sizes |= {name: np.shape(getattr(optimizer, name)) for name in parameters_given}
    if loss.problems is not None:
        sizes["loss.problems"] = (loss.problems,)
    given = {name: shape[0] for name, shape in sizes.items() if shape}
    if len(set(given.values())) > 1:
        listed = ", ".join(f"{name}: {count}" for name, count in given.items())
        raise ValueError(f"leading axes disagree ({listed}); accepted: one number of problems B")
    count = next(iter(given.values()), 1)
    if count == 0:
        raise ValueError(f"{next(iter(given))} describes 0 problems; accepted: at least one")
    parameters = np.stack(
        [
            np.broadcast_to(np.asarray(getattr(optimizer, n), dtype=np.float64), count)
            for n in parameters_given
        ]
        or [np.zeros(count)],
        1,
    )
    return Ensemble(
        optimizer,
        loss,
        np.ascontiguousarray(np.broadcast_to(start, (count, loss.dim))),
        np.ascontiguousarray(np.broadcast_to(step, count)),
        parameters,
        batch,
        single=not given,
    )


def rule_groups(ensemble: Ensemble) -> Integers:
    """A number from 0 on for every problem, (B,), equal where parameters and schedule are: these share their tables."""
    keys = ensemble.parameters
    if ensemble.schedule.ndim == 2:
        _, row = np.unique(ensemble.schedule, axis=0, return_inverse=True)
        keys = np.column_stack([keys, row.reshape(-1).astype(np.float64)])
    elif np.all(keys == keys[0]):  # the usual case, and sorting a million rows takes seconds
        return np.zeros(len(keys), dtype=np.int64)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    return np.asarray(group.reshape(-1), dtype=np.int64)


def blocks(ensemble: Ensemble, threads: int) -> Iterator[Integers]:
    """Problem indices of every block, (L,)."""
    group = rule_groups(ensemble)
    wanted = max(_LANES, _ENTRIES // ensemble.loss.dim)
    for label in range(group.max() + 1):
        members = np.flatnonzero(group == label).astype(np.int64)
        lanes = min(wanted, max(_LANES, -(-len(members) // (2 * threads))))
        for begin in range(0, len(members), lanes):
            yield members[begin : begin + lanes]


def for_each_block(ensemble: Ensemble, work: Callable[[Integers], None]) -> None:
    """Run ``work`` on every block; kernels release the interpreter lock, so threads run in parallel.

    Every problem is computed by one thread from its own data: the numbers do not depend on the number of threads.
    """
    threads = thread_count()
    pieces = list(blocks(ensemble, threads))
    if threads == 1 or len(pieces) == 1:
        for piece in pieces:
            work(piece)
        return
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for _ in pool.map(work, pieces):
            pass


def require_memory(name: str, value: Any, doubles: int, what: str) -> None:
    """``ValueError`` if an array of ``doubles`` float64 cannot fit into the machine's memory."""
    needed = 8 * doubles
    try:
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return
    if needed > available:
        raise ValueError(
            f"{name} = {value!r} needs {needed / 2**30:.1f} GiB for {what}; "
            f"accepted: what fits into {available / 2**30:.1f} GiB"
        )
