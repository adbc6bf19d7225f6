"""Tables of a traced rule along one schedule: coefficients of every step, and the weights of the past in its states."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from functools import lru_cache
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from stepbias.kernels import rule_code
from stepbias.kernels.blocks import require_memory
from stepbias.kernels.jit import kernel
from stepbias.kernels.rule import cycle_weights, one_cycle_pays
from stepbias.kernels.rule_code import RuleCode
from stepbias.kernels.traced import DenseRule, GroupedRule
from stepbias.theory.rule import UpdateRule, history_symbol
from stepbias.theory.tracing import GRADIENT, POSITION

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Weights below this are under the rounding unit of a double (2^-53) by a factor 128, and are dropped.
_NEGLIGIBLE = 2.0**-60
_UNIT = 2.0**-53
# Gradients and positions at which a rule is asked whether its direction still depends on the step: over many decades, since a smooth sign shows only where
# the gradient is as small as its width.
_PROBES = ((0.7, 0.4), (-1.3, -0.9), (20.0, -0.1), *((10.0**-k, 2.0) for k in range(1, 13)))
# What "the same direction" may differ by, whatever the rounding of the weights would allow.
_LARGEST_TOLERANCE = 1e-10
# Headroom for the size of the coupling between states, which depends on the gradients: 2^-20 beyond what is negligible.
_COUPLING = 2.0**-20


def _window(decay: float, steps: int) -> int:
    """Number of past steps whose weight is not negligible."""
    if decay == 0.0:
        return min(1, steps)
    return steps if decay >= 1.0 else min(math.ceil(math.log(_NEGLIGIBLE) / math.log(decay)), steps)


def coupled_window(decay: float, states: int, steps: int) -> int:
    """Number of past steps whose weight is not negligible where ``states`` states feed each other in a chain and each shrinks by ``decay`` on its own.

    A change passes through at most ``states`` - 1 couplings, so that after K steps it has the size C(K, states - 1) decay^(K - states + 1); a delay line has
    decay 0 and forgets after ``states`` steps.
    """
    chain = max(states, 1)
    if decay >= 1.0:
        return steps
    if decay == 0.0:
        return min(chain, steps)
    wanted, rate = math.log(_NEGLIGIBLE * _COUPLING), math.log(decay)
    for age in range(chain, steps):
        if math.log(math.comb(age, chain - 1)) + (age - chain + 1) * rate < wanted:
            return age
    return steps


@kernel()
def _accumulate(
    batch: Integers,
    recursion: Floats,
    start: Floats,
    weight: Floats,
    constant: Floats,
    ages: Floats,
) -> None:
    """Weights before every step, from the recursion of the states."""
    steps, states = recursion.shape[1:]
    for r in range(states):
        constant[0, r] = start[r]
        ages[0, r] = 0.0
        weight[0, r, :] = 0.0
        for n in range(steps):
            a, b = recursion[0, n, r], recursion[1, n, r]
            total = 0.0
            for k in range(weight.shape[2]):
                total += weight[n, r, k]
                weight[n + 1, r, k] = a * weight[n, r, k]
            weight[n + 1, r, batch[n]] += b
            ages[n + 1, r] = a * (ages[n, r] + total) + b
            constant[n + 1, r] = a * constant[n, r] + recursion[2, n, r]


def _columns(code: RuleCode, values: dict[str, float], steps: int) -> tuple[Floats, Floats]:
    """(columns (S, C), counters (number, S)); ``ValueError`` where a coefficient is not finite."""
    rule = code.rule
    counters = rule.counter_values(values, steps)
    found = rule.evaluate(code.columns, values, np.arange(steps, dtype=np.float64), counters)
    if not np.all(np.isfinite(found)):
        row, n = np.argwhere(~np.isfinite(found))[0]
        raise ValueError(
            f"the update rule has the coefficient {code.columns[row]} = {found[row, n]} at step n = {n} with {values}; accepted: finite ones"
        )
    return np.ascontiguousarray(found.T), counters


@lru_cache(maxsize=256)
def _direction_at(code: RuleCode) -> Any:
    """NumPy functions: the direction by (g, theta, states, columns), and the feeds by (g, theta, columns)."""
    columns = [sympy.Symbol(f"c{k}", real=True) for k in range(len(code.columns))]
    history = [history_symbol(r) for r in range(code.states)]
    direction, *feeds = code.folded
    names = [GRADIENT, POSITION]
    return (
        sympy.lambdify([*names, *history, *columns], direction, "numpy"),
        sympy.lambdify([*names, *columns], feeds, "numpy"),
    )


def _constant_from(code: RuleCode, rule: GroupedRule, slowest: float) -> int:
    """Full batch: the step from which on the direction at a fixed theta is the same up to the rounding of the weights."""
    direction, feeds = _direction_at(code)
    steps = len(rule.batch)
    if slowest >= 1.0:
        return steps
    tolerance = min(16.0 * _UNIT * (2.0 + 1.0 / (1.0 - slowest)), _LARGEST_TOLERANCE)
    states = slice(rule.after, steps + rule.after)
    last = 0
    with np.errstate(all="ignore"):
        for g, theta in _PROBES:
            fed = feeds(g, theta, *rule.columns[0])
            history = [
                rule.constant[states, r] + rule.weight[states, r, 0] * fed[r]
                for r in range(code.states)
            ]
            found = np.broadcast_to(direction(g, theta, *history, *rule.columns.T), (steps,))
            same = np.abs(found - found[-1]) <= tolerance * np.abs(found[-1])
            last = max(last, int(np.flatnonzero(~same)[-1]) + 1 if not np.all(same) else 0)
    return last


def _unchanged_from(table: Floats) -> int:
    """The row from which on a table (S, ...) is the same up to the rounding of its entries."""
    if table.size == 0:
        return 0
    moved = np.abs(table - table[-1]) > 8.0 * _UNIT * np.abs(table[-1])
    rows = np.flatnonzero(moved.reshape(len(table), -1).any(axis=1))
    return int(rows[-1]) + 1 if len(rows) else 0


def _repetition(rule: GroupedRule, batches: int, slowest: float) -> tuple[int, Floats]:
    """The step from which on every direction in memory is that of the step m later, and the weights of a cycle; the number of steps if there is none."""
    steps, count = len(rule.batch), rule.recursion.shape[2]
    none = steps, np.zeros((count, 1, 1))
    if slowest >= 1.0 or not one_cycle_pays(rule.batch, batches, rule.window):
        return none
    begin = max(
        _unchanged_from(rule.columns),
        _unchanged_from(rule.recursion.transpose(1, 0, 2)) + rule.window,
    )
    start = float(np.max(np.abs(rule.constant[0]), initial=1.0))
    if start > 1.0:  # it is forgotten later than what gradients of order 1 leave
        begin += math.ceil(math.log(start) / -math.log(slowest)) if slowest > 0.0 else 1
    begin += rule.window + batches
    if begin >= steps:
        return none
    decay, entry = rule.recursion[:2, -1]
    power = entry * decay ** (np.arange(rule.window)[:, None] + rule.after)
    return begin, np.array([cycle_weights(power[:, r], batches) for r in range(count)]).reshape(
        count, batches, batches
    )


def grouped_rule(
    code: RuleCode, values: dict[str, float], batch: Integers, batches: int
) -> GroupedRule:
    """Tables for the steps 0 .. len(batch) - 1."""
    linear = code.linear
    assert linear is not None
    steps, count = len(batch), code.states
    batch = np.array(
        batch
    )  # a copy: one repeated number is read-only, another type for the compiler
    columns, counters = _columns(code, values, steps)
    every = [*linear.decay, *linear.entry, *linear.offset]
    recursion = code.rule.evaluate(every, values, np.arange(steps, dtype=np.float64), counters)
    recursion = np.ascontiguousarray(recursion.reshape(3, count, steps).transpose(0, 2, 1))
    weight = np.zeros((steps + 1, count, batches))
    constant, ages = np.zeros((2, steps + 1, count))
    _accumulate(batch, recursion, np.array(code.rule.start), weight, constant, ages)
    slowest = float(np.max(np.abs(recursion[0]), initial=0.0))
    window = _window(slowest, steps) if count else 0
    loops = code.compiled
    rule = GroupedRule(
        window=window,
        settled=steps,
        last=steps - 1,
        after=int(linear.after),
        direct=code.direct,
        batch=batch,
        columns=columns,
        recursion=recursion,
        weight=weight,
        constant=constant,
        ages=ages,
        step=loops["step"],
        feed=loops["feed"],
        sweep=loops["sweep"],
        response=loops["response"],
        repeats=steps,
        cycle=np.zeros((count, 1, 1)),
    )
    if steps == 0:
        return rule
    if batches > 1:
        repeats, cycle = _repetition(rule, batches, slowest)
        return rule._replace(repeats=repeats, cycle=cycle)
    begin = _constant_from(code, rule, slowest)
    return rule._replace(settled=0 if begin == 0 else min(begin + window, steps))


def dense_rule(code: RuleCode, values: dict[str, float], batch: Integers) -> DenseRule:
    """Tables for the steps 0 .. len(batch) - 1."""
    steps = len(batch)
    columns, counters = _columns(code, values, steps)
    diagonal = code.rule.diagonal
    window = steps
    if diagonal is not None:
        late = code.rule.evaluate(diagonal, values, np.arange(steps, dtype=np.float64), counters)
        slowest = float(np.max(np.abs(late), initial=0.0))
        window = coupled_window(slowest, len(code.rule.initial), steps)
    loops = code.compiled
    return DenseRule(
        window=window,
        last=steps - 1,
        batch=np.array(batch),
        columns=columns,
        start=np.array(code.rule.start),
        step=loops["step"],
        response=loops["response"],
        bound=loops["bound"],
        push=loops["push"],
    )


# Blocks of one ensemble ask for the same tables one after another, or in threads at once; longer tables than this are not kept.
_KEPT, _KEPT_STEPS = 8, 2**17
_TABLES: OrderedDict[Any, GroupedRule | DenseRule] = OrderedDict()
_LOCK = threading.RLock()


def traced_rule(
    rule: UpdateRule, values: dict[str, float], batch: Integers, batches: int
) -> GroupedRule | DenseRule:
    """Tables of a rule for the steps 0 .. len(batch) - 1, grouped where its states allow it."""
    with _LOCK:
        code = rule_code.rule_code(rule)
        rows = len(code.columns) + len(rule.counters) + code.states * (batches + 6) + 1
        # twice: columns are computed one behind the other, then laid out by steps
        require_memory(
            "steps", len(batch), 2 * rows * len(batch), f"the tables of {code.states} states"
        )
        short = len(batch) <= _KEPT_STEPS
        key = (code, tuple(values.values()), batch.tobytes(), batches) if short else None
        if key in _TABLES:
            _TABLES.move_to_end(key)
            return _TABLES[key]
        made = (
            dense_rule(code, values, batch)
            if code.linear is None
            else grouped_rule(code, values, batch, batches)
        )
        if short:
            _TABLES[key] = made
            while len(_TABLES) > _KEPT:
                _TABLES.popitem(last=False)
        return made
