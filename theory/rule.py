"""What can be read off a traced update rule: its memory, how that decays, and the derivatives the memoryless equation needs.

States that depend on the step alone (a counter, a running product of coefficients) carry no memory of gradients and become coefficients. Of the others only
those count that the direction depends on. If each of them is linear in itself,

    s_r' = a_r(n) s_r + b_r(n) phi_r(g, theta) + c_r(n),

its memory is a weighted sum over the past, and the sums of the memoryless equation can be grouped by mini-batch; otherwise they are taken step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import sympy
from numpy.typing import NDArray

from stepbias.theory.tracing import (
    GRADIENT,
    POSITION,
    STEP,
    Trace,
    parameter_symbol,
    state_symbol,
)

Floats = NDArray[np.float64]

# A step so late that coefficients have their limits: n / (n + 3) is 1 - 3e-12, decay^n is 0.
_LATE = 2.0**40
# Memory that decays slower than this a step is called undamped: 1e9 steps are no transient.
_UNDAMPED = 1.0 - 1e-9
# Steps and settings of the run that estimates the decay of a memory without a simple form.
_RUN, _SCALES = 512, (1e-2, 1.0, 30.0)


class root(sympy.Function):  # noqa: N801 (printed as a function's name)
    """Square root whose derivative is taken as 0 at 0: where a mean square vanishes, every gradient in it does, and so does its change."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> Any:
        """Half the inverse of the root."""
        return half_inverse(self)


class half_inverse(sympy.Function):  # noqa: N801
    """1 / (2 r) for r > 0, and 0 at 0."""

    nargs = 1


def with_roots(expression: Any) -> Any:
    """Square roots as :class:`root`."""
    return expression.replace(
        lambda e: e.is_Pow and e.exp.is_Rational and e.exp.q == 2,
        lambda e: root(e.base) ** e.exp.p,
    )


@lru_cache(maxsize=1024)
def _function(symbols: tuple[Any, ...], expressions: tuple[Any, ...]) -> Any:
    """NumPy function of the symbols that returns the expressions as a list."""
    return sympy.lambdify(list(symbols), list(expressions), "numpy", cse=True)


def without_roots(expression: Any) -> Any:
    """:func:`with_roots` taken back."""
    return expression.replace(root, sympy.sqrt)


def history_symbol(index: int) -> Any:
    """State number ``index`` of the live ones as the direction reads it."""
    return sympy.Symbol(f"x{index}", real=True)


@dataclass(frozen=True)
class Linear:
    """States that are weighted sums over the past, one entry of every tuple for each of the R live states.

    Attributes
    ----------
    decay, entry, offset : tuple of expressions in n and the parameters
        a_r, b_r, c_r.
    feed : tuple of expressions in g, theta and the parameters
        phi_r.
    direction : expression in g, theta, the ``history_symbol`` and n
    after : bool
        The direction reads the states after the step (else before it).
    """

    decay: tuple[Any, ...]
    entry: tuple[Any, ...]
    offset: tuple[Any, ...]
    feed: tuple[Any, ...]
    direction: Any
    after: bool


@dataclass(frozen=True)
class UpdateRule:
    """A traced rule with the initial values of its states.

    Attributes
    ----------
    trace : Trace
    initial : tuple of float
    names : tuple of str
        Parameters.
    """

    trace: Trace
    initial: tuple[float, ...]
    names: tuple[str, ...]

    def __getstate__(self) -> dict[str, Any]:
        """What was derived is derived again."""
        return {"trace": self.trace, "initial": self.initial, "names": self.names}

    @cached_property
    def function(self) -> Any:
        """NumPy function (g, *state, n, theta, *parameters) -> [direction, *new states]: the trace, for comparison with what was traced."""
        states = (state_symbol(i) for i in range(len(self.initial)))
        q = map(parameter_symbol, self.names)
        return _function(
            (GRADIENT, *states, STEP, POSITION, *q), (self.trace.direction, *self.trace.states)
        )

    # which states are what ----------------------------------------------------------------------------

    @cached_property
    def counters(self) -> tuple[int, ...]:
        """States that depend on the step and the parameters alone."""
        found = set(range(len(self.initial)))
        while True:
            allowed = {STEP, *map(parameter_symbol, self.names), *map(state_symbol, found)}
            kept = {i for i in found if self.trace.states[i].free_symbols <= allowed}
            if kept == found:
                return tuple(sorted(found))
            found = kept

    @cached_property
    def live(self) -> tuple[int, ...]:
        """States with a memory of gradients that the direction depends on."""
        dynamic = set(range(len(self.initial))) - set(self.counters)
        reached: set[int] = set()
        new = self._read_by(self.trace.direction, dynamic)
        while new:
            reached |= new
            new = {j for i in new for j in self._read_by(self.trace.states[i], dynamic)} - reached
        return tuple(sorted(reached))

    @staticmethod
    def _read_by(expression: Any, among: Iterable[int]) -> set[int]:
        symbols = expression.free_symbols
        return {i for i in among if state_symbol(i) in symbols}

    @cached_property
    def coefficients(self) -> frozenset[Any]:
        """Symbols that are known before a run: n, parameters, counters."""
        counters = (state_symbol(i) for i in self.counters)
        return frozenset({STEP, *map(parameter_symbol, self.names), *counters})

    @cached_property
    def changing(self) -> frozenset[Any]:
        """Of these, what changes with the step."""
        return frozenset({STEP, *(state_symbol(i) for i in self.counters)})

    @cached_property
    def states(self) -> tuple[Any, ...]:
        """New values of the live states."""
        return tuple(self.trace.states[i] for i in self.live)

    @cached_property
    def symbols(self) -> tuple[Any, ...]:
        """Symbols of the live states."""
        return tuple(state_symbol(i) for i in self.live)

    @property
    def start(self) -> tuple[float, ...]:
        """Initial values of the live states."""
        return tuple(self.initial[i] for i in self.live)

    # linear memory ------------------------------------------------------------------------------------

    @cached_property
    def linear(self) -> Linear | None:
        """The states as weighted sums, or None if they are not."""
        parts = []
        for symbol, state in zip(self.symbols, self.states, strict=True):
            decay = sympy.diff(state, symbol)
            rest = state.subs(symbol, 0)
            if not decay.free_symbols <= self.coefficients:
                decay = sympy.simplify(decay)
            if not decay.free_symbols <= self.coefficients or rest.free_symbols & set(self.symbols):
                return None
            separated = self._separate(rest) or self._separate(sympy.expand(rest))
            if separated is None:
                return None
            parts.append((decay, *separated))
        decays, entries, offsets, feeds = zip(*parts, strict=True) if parts else ((),) * 4
        direction, after = self._direction()
        return Linear(decays, entries, offsets, feeds, direction, after)

    def _separate(self, rest: Any) -> tuple[Any, Any, Any] | None:
        """(b, c, phi) with rest = b(n) phi(g, theta) + c(n), or None."""
        offset: Any = sympy.Integer(0)
        groups: dict[Any, Any] = {}
        for term in sympy.Add.make_args(rest):
            if term.free_symbols <= self.coefficients:
                offset += term
                continue
            entry, feed = term.as_independent(GRADIENT, POSITION, as_Add=False)
            constant, entry = entry.as_independent(*self.changing, as_Add=False)
            if feed.free_symbols & self.changing:
                return None
            groups[entry] = groups.get(entry, 0) + constant * feed
        if len(groups) > 1:
            return None
        entry, feed = next(iter(groups.items()), (sympy.Integer(1), sympy.Integer(0)))
        return entry, offset, feed

    def _direction(self) -> tuple[Any, bool]:
        """The direction by the states after the step if it reads them so, else by those before."""
        history = [history_symbol(i) for i in range(len(self.symbols))]
        after = self.trace.direction
        for symbol, state, new in zip(self.symbols, self.states, history, strict=True):
            if state.has(symbol):  # else the state is a function of g alone: nothing is gained
                after = after.subs(state, new)
        if not after.free_symbols & set(self.symbols):
            return after, True
        before = dict(zip(self.symbols, history, strict=True))
        return self.trace.direction.xreplace(before), False

    # decay --------------------------------------------------------------------------------------------

    @cached_property
    def diagonal(self) -> tuple[Any, ...] | None:
        """Diagonal of the Jacobian of the live states, in n alone, if the Jacobian is triangular in some order; else None."""
        entries = tuple(
            sympy.diff(new, s) for s, new in zip(self.symbols, self.states, strict=True)
        )
        if any(not e.free_symbols <= self.coefficients for e in entries):
            entries = tuple(sympy.simplify(e) for e in entries)
        if any(not e.free_symbols <= self.coefficients for e in entries):
            return None
        waiting = {
            s: (new.free_symbols & set(self.symbols)) - {s}
            for s, new in zip(self.symbols, self.states, strict=True)
        }
        while waiting:
            free = [s for s, needs in waiting.items() if not needs & set(waiting)]
            if not free:
                return None
            for s in free:
                del waiting[s]
        return entries

    def counter_values(self, values: dict[str, float], steps: int) -> Floats:
        """Values of the counters before the steps 0 .. steps - 1, (number of counters, steps)."""
        if not self.counters:
            return np.empty((0, steps))
        symbols = [state_symbol(i) for i in self.counters]
        q = [parameter_symbol(name) for name in self.names]
        update = _function((STEP, *q, *symbols), tuple(self.trace.states[i] for i in self.counters))
        given = [float(values[name]) for name in self.names]
        now = [self.initial[i] for i in self.counters]
        found = np.empty((len(symbols), steps))
        for n in range(steps):
            found[:, n] = now
            now = [float(x) for x in update(float(n), *given, *now)]
        return found

    def evaluate(
        self,
        expressions: Iterable[Any],
        values: dict[str, float],
        steps: Floats,
        counters: Floats,
    ) -> Floats:
        """Coefficients at given steps, (expressions, steps).

        Parameters
        ----------
        expressions : expressions in ``coefficients``
        values : dict
            The parameters.
        steps : (S,) float64
        counters : (C, S) float64
        """
        q = [parameter_symbol(name) for name in self.names]
        symbols = [STEP, *q, *(state_symbol(i) for i in self.counters)]
        listed = list(expressions)
        found = np.empty((len(listed), len(steps)))
        with np.errstate(all="ignore"):
            results = _function(tuple(symbols), tuple(listed))(
                steps, *(float(values[name]) for name in self.names), *counters
            )
        for row, result in zip(found, results, strict=True):
            row[:] = result
        return found

    def decay(self, values: dict[str, float]) -> float:
        """By what factor the slowest memory shrinks in a late step; above 1 it grows.

        Exact where the Jacobian of the states is triangular with a diagonal that depends on the step alone; otherwise the mean rate of a run on random
        gradients.
        """
        if not self.live:
            return 0.0
        if self.diagonal is None:
            return self._estimated_decay(values)
        if self.counters and any(e.free_symbols & self.changing for e in self.diagonal):
            counters = self.counter_values(values, _RUN)
            late = self.evaluate(self.diagonal, values, np.arange(_RUN, dtype=float), counters)
        else:
            unread = np.zeros((len(self.counters), 1))
            late = self.evaluate(self.diagonal, values, np.array([_LATE]), unread)
        return float(np.max(np.abs(late[:, -1])))

    def _estimated_decay(self, values: dict[str, float]) -> float:
        counters = self.counter_values(values, _RUN)
        q = [float(values[name]) for name in self.names]
        names = [GRADIENT, POSITION, STEP, *map(parameter_symbol, self.names)]
        names += [*(state_symbol(i) for i in self.counters), *self.symbols]
        jacobian = sympy.Matrix(self.states).jacobian(self.symbols)
        step = sympy.lambdify(names, [list(self.states), jacobian], "numpy")

        def rate(scale: float) -> float:
            return _rate(step, np.array(self.start), (q, counters), scale)

        # a memory may decay where gradients are large and grow where they are small
        with np.errstate(all="ignore"):
            return max(rate(scale) for scale in _SCALES)


def _rate(
    step: Callable[..., Any], start: Floats, given: tuple[list[float], Floats], scale: float
) -> float:
    """Mean factor by which a change of the states grows in the second half of a run on random gradients of this size."""
    rng = np.random.Generator(np.random.Philox(key=_RUN))
    q, counters = given
    now, change = start, np.eye(len(start))
    sizes = np.zeros(_RUN)
    for n in range(_RUN):
        # np.float64: Python's own powers raise where they overflow
        now, matrix = step(
            np.float64(scale * rng.normal()), np.float64(0.5), float(n), *q, *counters[:, n], *now
        )
        now = np.asarray(now, dtype=np.float64)
        change = np.asarray(matrix, dtype=np.float64) @ change
        size = float(np.max(np.abs(change)))
        if not np.isfinite(size) or size == 0.0:
            return 0.0 if size == 0.0 else np.inf
        sizes[n] = np.log(size)
        change /= size
    return float(np.exp(np.mean(sizes[_RUN // 2 :])))


UNDAMPED = (
    "a change of the state does not decay (the factor a step tends to 1): the bounds of the theory need sums of k^2 |d F / d theta^(n-k)| that stay bounded, "
    "which undamped memory does not have"
)


def undamped(decay: float) -> bool:
    """Whether a memory that shrinks by ``decay`` a step is no transient."""
    return decay > _UNDAMPED


def grows(decay: float) -> bool:
    """Whether a change of the states grows, up to the rounding of ``decay``."""
    return not decay <= 2.0 - _UNDAMPED
