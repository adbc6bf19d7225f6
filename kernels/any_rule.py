"""One name for what every optimizer does, whatever its tables: the compiler chooses by the type of the rule.

The traversals (:mod:`stepbias.kernels.trajectory`, :mod:`stepbias.kernels.drift`) are written once. Adam and RMSProp have kernels of their own; a traced rule
has grouped sums, or is followed step by step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from stepbias.kernels.clock import moved, raise_peak, remember
from stepbias.kernels.copies import copy
from stepbias.kernels.dense import dense_field, make_dense_state
from stepbias.kernels.field import evaluate_field, make_field_state
from stepbias.kernels.grouped import grouped_field, make_grouped_state
from stepbias.kernels.jit import inline, kernel
from stepbias.kernels.rule import Rule
from stepbias.kernels.steps import adam_step, traced_step
from stepbias.kernels.traced import DenseRule, GroupedRule
from stepbias.kernels.views import flat
from stepbias.theory import adam

Floats = NDArray[np.float64]
AnyRule = Rule | GroupedRule | DenseRule

_relative_rate = inline(adam.relative_rate)


def kind_of(rule: Any) -> Any:
    """Class of a rule, by its type in compiled code."""
    return getattr(rule, "instance_class", None) if isinstance(rule, types.NamedTuple) else None


# the field ------------------------------------------------------------------------------------------


def field_at(oracle_gradients, oracle_products, data, rule, variant, n, theta, h, state, out):
    """The modified field at step n; arguments as :func:`stepbias.kernels.field.evaluate_field`."""
    raise NotImplementedError("compiled code only")


@overload(field_at)
def _field_at(oracle_gradients, oracle_products, data, rule, variant, n, theta, h, state, out):
    chosen = {Rule: evaluate_field, GroupedRule: grouped_field, DenseRule: dense_field}[
        kind_of(rule)
    ]

    def call(oracle_gradients, oracle_products, data, rule, variant, n, theta, h, state, out):
        chosen(oracle_gradients, oracle_products, data, rule, variant, n, theta, h, state, out)

    return call


@kernel()
def field_once(oracle_gradients, oracle_products, data, rule, variant, n, theta, h, state, out):
    """:func:`field_at`, callable from Python."""
    field_at(oracle_gradients, oracle_products, data, rule, variant, n, theta, h, state, out)


def make_state(rule: AnyRule, batches: int, dim: int, lanes: int) -> Any:
    """Scratch of the field for a block of lanes."""
    if isinstance(rule, GroupedRule):
        return make_grouped_state(rule, batches, dim, lanes)
    if isinstance(rule, DenseRule):
        return make_dense_state(rule, batches, dim, lanes)
    return make_field_state(batches, dim, lanes)


# one step -------------------------------------------------------------------------------------------


def advance_iterate(oracle_gradient, data, rule, n, h, position, moments):
    """Step n of the optimizer: updates ``position`` (p, L) and ``moments``, see :func:`make_moments`."""
    raise NotImplementedError("compiled code only")


@overload(advance_iterate)
def _advance_iterate(oracle_gradient, data, rule, n, h, position, moments):
    chosen = adam_step if kind_of(rule) is Rule else traced_step

    def call(oracle_gradient, data, rule, n, h, position, moments):
        chosen(oracle_gradient, data, rule, n, h, position, moments)

    return call


def make_moments(rule: AnyRule, dim: int, lanes: int) -> Floats:
    """What an iterate carries beside its position, before step 0: the states, then scratch; (states + 1 or 2, p, L)."""
    if isinstance(rule, Rule):
        return np.zeros((3, dim, lanes))
    start = rule.constant[0] if isinstance(rule, GroupedRule) else rule.start
    moments = np.zeros((len(start) + 2, dim, lanes))
    moments[: len(start)] = start[:, None, None]
    return moments


# what is watched along the flow ---------------------------------------------------------------------


def begin(rule, field, before):
    """Keep what is watched at the beginning of a piece: R of Adam in ``before``, what the direction of a traced rule reads in ``field``."""
    raise NotImplementedError("compiled code only")


@overload(begin)
def _begin(rule, field, before):
    if kind_of(rule) is Rule:

        def call(rule, field, before):
            copy(field.root, before)

    else:

        def call(rule, field, before):
            copy(field.root, before)
            remember(field)

    return call


def observe(rule, part, h, before, field, position, watch):
    """Collect in ``watch`` what a piece of the flow shows: ``before`` is ``field.root`` at its beginning, ``part`` h its length.

    Adam: the smallest R and the largest |D'/D|. A traced rule: the smallest 1/S, with S the sensitivity of F to the gradients, and the fastest change of what F
    reads (:mod:`stepbias.kernels.clock`), which :func:`settle` divides by the largest |F|.
    """
    raise NotImplementedError("compiled code only")


@kernel()
def _observe_adam(rule, part, h, before, field, position, watch):
    p, lanes = before.shape
    for j in range(p):
        for lane in range(lanes):
            start = before[j, lane]
            time = part * h[j, lane]
            drift = _relative_rate(field.root[j, lane], start, rule.eps, time)
            watch.root[lane] = min(watch.root[lane], start)
            watch.drift[lane] = max(watch.drift[lane], drift)
            watch.size[lane] = max(watch.size[lane], abs(position.high[j, lane]))


@kernel()
def _observe_traced(rule, part, h, before, field, position, watch):
    p, lanes = before.shape
    for j in range(p):
        for lane in range(lanes):
            watch.root[lane] = min(watch.root[lane], 1.0 / field.slope[j, lane])
            watch.size[lane] = max(watch.size[lane], abs(position.high[j, lane]))
    moved(field, part, h, watch.drift)
    raise_peak(flat(before), field.peak)


@overload(observe)
def _observe(rule, part, h, before, field, position, watch):
    chosen = _observe_adam if kind_of(rule) is Rule else _observe_traced

    def call(rule, part, h, before, field, position, watch):
        chosen(rule, part, h, before, field, position, watch)

    return call


def settle(rule, field, watch):
    """After the last step: make the observed rates relative."""
    raise NotImplementedError("compiled code only")


@kernel()
def _settle_adam(rule, field, watch):
    pass


@kernel()
def _settle_traced(rule, field, watch):
    for lane in range(watch.drift.size):
        if watch.drift[lane] > 0.0:
            watch.drift[lane] /= field.peak[lane]


@overload(settle)
def _settle(rule, field, watch):
    chosen = _settle_adam if kind_of(rule) is Rule else _settle_traced

    def call(rule, field, watch):
        chosen(rule, field, watch)

    return call
