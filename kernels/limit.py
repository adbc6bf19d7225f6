"""The wrong variant whose coefficients have no beginning: the flow's tables are those of a schedule that has been running for long."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from stepbias.kernels.blocks import Ensemble, require_memory
from stepbias.kernels.rule_tables import coupled_window
from stepbias.kernels.traced import DenseRule, GroupedRule
from stepbias.theory.optimizer import Optimizer

# As the tables' own: weights below this are dropped.
_NEGLIGIBLE = 2.0**-60
_LONGEST = 2**30
# Coefficients that still change by this share of themselves after the run-up have no limit that one could read off.
_STILL = 1e-9


def with_past(ensemble: Ensemble) -> tuple[Ensemble, int]:
    """The ensemble with two windows of memory before its schedule, a multiple of m steps, and how many these are.

    Raises
    ------
    ValueError
        For a schedule that does not repeat after m steps (it has no past), or a rule whose coefficients have no limit within two windows.
    """
    batches, steps = ensemble.loss.batches, ensemble.schedule.shape[-1]
    order = ensemble.schedule
    if steps < batches or np.any(order[..., batches:] != order[..., :-batches]):
        raise ValueError(
            f"limit = True with a schedule that does not repeat after {batches} steps; accepted: the full batch, or a cyclic schedule"
        )
    slowest = float(np.max(ensemble.decay))
    if slowest >= 1.0:
        raise ValueError(
            f"limit = True with {ensemble.optimizer!r}, whose memory is not damped; accepted: decays < 1"
        )
    window = 1 if slowest == 0.0 else math.ceil(math.log(_NEGLIGIBLE) / math.log(slowest))
    if isinstance(ensemble.optimizer, Optimizer) and ensemble.optimizer.rule.linear is None:
        window = coupled_window(slowest, len(ensemble.optimizer.initial), _LONGEST)
    cycles = -(-window // batches)
    ahead = batches * (2 * cycles + 1)
    if batches == 1:
        shape = (*order.shape[:-1], steps + ahead)
        extended = np.broadcast_to(np.int64(0), shape)
    else:
        require_memory("limit", True, (2 * batches + 8) * ahead, "the weights of the run-up")
        cycle = np.tile(order[..., :batches], ahead // batches)
        extended = np.concatenate([cycle, order], axis=-1)
    longer = replace(ensemble, schedule=extended)
    rule = longer.rule(ensemble.optimizer, 0)
    if isinstance(rule, GroupedRule | DenseRule):
        first, last = rule.columns[ahead - batches], rule.columns[-1]
        moved = np.abs(last - first) > _STILL * np.abs(last)
        if np.any(moved):
            raise ValueError(
                f"limit = True with {ensemble.optimizer!r}, whose coefficients still change at step {ahead}; accepted: rules whose coefficients settle as "
                "fast as their memory fades"
            )
    return longer, ahead
