"""From a traced update rule to compiled loops: step, feed, sweep and response, over flat (component, lane) arrays.

What depends on the step and the parameters alone becomes a column of a table (:class:`Columns`), so that the code depends on the rule and not on its
parameters; SymPy derives the partial derivatives, shares common sub-expressions and prints straight-line code. The kernels reach the loops through
pointers and are compiled once for all rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import sympy
from numba import types

from stepbias.kernels import elementary
from stepbias.kernels.generated import load
from stepbias.kernels.jit import (
    contracted_inline,
    inline,
    square_root,
    wide_vectors,
)
from stepbias.kernels.oracle import CUBE, INTEGERS, MATRIX, VECTOR
from stepbias.kernels.printing import CodePrinter
from stepbias.theory import memoryless
from stepbias.theory.rule import (
    Linear,
    UpdateRule,
    history_symbol,
    with_roots,
    without_roots,
)
from stepbias.theory.tracing import GRADIENT, POSITION

_index = types.int64
FOUR = types.Array(types.float64, 4, "C")

# (n, columns[S, C], g[P], theta[P], states[R, P], out[P]): one step; new states in place, the direction in `out`
STEP = types.void(_index, MATRIX, VECTOR, VECTOR, MATRIX, VECTOR)
# (columns, theta[P], g[m, P], out[3, R, m, P]): phi_r of every batch, and its derivatives in g and in theta
FEED = types.void(MATRIX, VECTOR, MATRIX, FOUR)
# (first, n, batch, columns, recursion[3, S, R], weights[R, >= n - first], theta[P], g[m, P], feed[R, m, P], states[R, P], prefix[P], totals[R, m, P])
SWEEP = types.void(
    _index, _index, INTEGERS, MATRIX, CUBE, MATRIX, VECTOR, MATRIX, CUBE, MATRIX, VECTOR, CUBE
)
# (n, columns, theta[P], g[P], states[R, P], out[outputs (R + 3), P]): every output, and its derivatives in g, theta and the states
RESPONSE = types.void(_index, MATRIX, VECTOR, VECTOR, MATRIX, MATRIX)
# (n, columns, theta[P], g[P], states[R, P], bounds[R, P], direction[P], out[P]): one step, and what a unit change of every gradient can do to the states and
# to the direction, absolute values throughout
BOUND = types.void(_index, MATRIX, VECTOR, VECTOR, MATRIX, MATRIX, VECTOR, VECTOR)
# (n, columns, theta[P], g[P], change of g[P], change of theta[P], states[R, P], changes[R, P], direction[P], out[P]): one step, and the changes of the states
# (in place) and of the direction
PUSH = types.void(_index, MATRIX, VECTOR, VECTOR, VECTOR, VECTOR, MATRIX, MATRIX, VECTOR, VECTOR)


class Columns:
    """Sub-expressions that are known before a run; each becomes a symbol, and a column of a table.

    Attributes
    ----------
    expressions : dict
        Expression -> symbol, in the order of the columns.
    """

    def __init__(self, known: frozenset[Any]) -> None:
        self.known = known
        self.expressions: dict[Any, Any] = {}

    def fold(self, expression: Any) -> Any:
        """The expression with its largest known parts replaced by symbols; numbers stay."""
        if expression.is_number or (expression.is_Symbol and expression not in self.known):
            return expression
        if expression.free_symbols <= self.known:
            return self._symbol(expression)
        if expression.is_Add or expression.is_Mul:
            known = [a for a in expression.args if a.free_symbols <= self.known]
            rest = [self.fold(a) for a in expression.args if not a.free_symbols <= self.known]
            part = expression.func(*known)
            return expression.func(part if part.is_number else self._symbol(part), *rest)
        return expression.func(*(self.fold(a) for a in expression.args))

    def _symbol(self, expression: Any) -> Any:
        if expression not in self.expressions:
            self.expressions[expression] = sympy.Symbol(f"c{len(self.expressions)}", real=True)
        return self.expressions[expression]


@dataclass(frozen=True, eq=False)
class RuleCode:
    """Source and compiled loops of one rule.

    Attributes
    ----------
    rule : UpdateRule
    linear : Linear or None
        The form that the sums are grouped by; None: step by step.
    columns : tuple of expressions
        In n, the parameters and the counters.
    scalars, loops : str
        Source.
    direct : bool
        The direction depends on the step's own gradient beside the states (grouped sums).
    folded : tuple
        The direction, then phi_r, in g, theta, the history symbols and the columns.
    reads : dict
        Names of the columns that every scalar function takes after its other arguments.
    """

    rule: UpdateRule
    linear: Linear | None
    columns: tuple[Any, ...]
    scalars: str
    loops: str
    direct: bool
    folded: tuple[Any, ...]
    reads: dict[str, tuple[str, ...]]

    @property
    def states(self) -> int:
        """R."""
        return len(self.rule.live)

    @cached_property
    def compiled(self) -> dict[str, Any]:
        """The loops by name, compiled (or taken from the cache)."""
        text = "\n".join([f'"""Generated by stepbias."""\n\n\n{self.scalars}', self.loops])
        module = load(text, dict(NAMES))
        return {name: getattr(module, name) for name in _loop_names(self.linear is not None)}


NAMES: dict[str, Any] = {
    "sqrt": square_root,
    "half_inverse": inline(memoryless.half_inverse),
    "carried": contracted_inline(memoryless.carried),
    "wide_vectors": wide_vectors,
    "STEP": STEP,
    "FEED": FEED,
    "SWEEP": SWEEP,
    "RESPONSE": RESPONSE,
    "BOUND": BOUND,
    "PUSH": PUSH,
    **{name: getattr(elementary, name) for name in ("sin", "cos", "exp", "tanh", "log")},
}


def _loop_names(linear: bool) -> tuple[str, ...]:
    return ("step", "response", *(("feed", "sweep") if linear else ("bound", "push")))


def _scalar(name: str, arguments: Sequence[Any], results: Sequence[Any]) -> str:
    """Source of a scalar function that returns a tuple; common sub-expressions shared."""
    shared, values = sympy.cse(list(results), symbols=sympy.numbered_symbols("v"), list=True)
    printer = CodePrinter()
    lines = [f"    {symbol} = {printer.doprint(e)}" for symbol, e in shared]
    returned = "".join(f"float({printer.doprint(e)}), " for e in values)
    listed = ", ".join(str(a) for a in arguments)
    return "\n".join(
        ["@scalar", f"def {name}({listed}):", *lines, f"    return ({returned})", "", ""]
    )


def _names(symbols: Iterable[Any]) -> list[str]:
    return [str(s) for s in symbols]


def _call(name: str, inputs: Sequence[str], columns: Sequence[str], results: int) -> str:
    targets = "".join(f"r{i}, " for i in range(results))
    return f"{targets}= {name}({', '.join([*inputs, *columns])})"


def _column_reads(columns: Sequence[str], row: str, indent: str) -> list[str]:
    return [f"{indent}{c} = columns[{row}, {c[1:]}]" for c in columns]


class _Writer:
    """Source of one rule: scalar functions, then loops."""

    def __init__(self, rule: UpdateRule, linear: Linear | None) -> None:
        self.rule, self.linear = rule, linear
        self.columns = Columns(rule.coefficients)
        self.count = len(rule.live)
        self.response_columns: list[str] = []
        self.reads: dict[str, tuple[str, ...]] = {}
        self.scalars: list[str] = []
        self.loops: list[str] = []

    def _add(self, name: str, inputs: Sequence[Any], results: Sequence[Any]) -> list[str]:
        """A scalar function; returns the columns it reads."""
        folded = [self.columns.fold(with_roots(e)) for e in results]
        every = set().union(*(e.free_symbols for e in folded)) if folded else set()
        used = [s for s in self.columns.expressions.values() if s in every]
        self.scalars.append(_scalar(name, [*inputs, *used], folded))
        self.reads[name] = tuple(_names(used))
        return _names(used)

    def step(self) -> None:
        rule = self.rule
        inputs = [GRADIENT, POSITION, *rule.symbols]
        used = self._add("step_at", inputs, [rule.trace.direction, *rule.states])
        states = [f"s{i}" for i in rule.live]
        entries = ["g[i]", "theta[i]", *(f"{s}[i]" for s in states)]
        self.loops += [
            "@loop(STEP)",
            "def step(n, columns, g, theta, states, out):",
            "    wide_vectors()",
            *_column_reads(used, "n", "    "),
            *(f"    {s} = states[{r}]" for r, s in enumerate(states)),
            "    for i in range(out.size):",
            "        " + _call("step_at", entries, used, 1 + self.count),
            "        out[i] = r0",
            *(f"        {s}[i] = r{1 + r}" for r, s in enumerate(states)),
            "",
            "",
        ]

    def feed(self, linear: Linear) -> None:
        results = [with_roots(e) for e in linear.feed]
        every = [*results, *(sympy.diff(e, x) for x in (GRADIENT, POSITION) for e in results)]
        self.loops += ["@loop(FEED)", "def feed(columns, theta, g, out):"]
        if not results:
            self.loops += ["    pass", "", ""]
            return
        used = self._add("feed_at", [GRADIENT, POSITION], every)
        self.loops += [
            "    wide_vectors()",
            *_column_reads(used, "0", "    "),
            "    for b in range(g.shape[0]):",
            "        gb = g[b]",
            *(
                f"        o{part * self.count + r} = out[{part}, {r}, b]"
                for part in range(3)
                for r in range(self.count)
            ),
            "        for i in range(theta.size):",
            "            " + _call("feed_at", ["gb[i]", "theta[i]"], used, len(every)),
            *(f"            o{k}[i] = r{k}" for k in range(len(every))),
            "",
            "",
        ]

    def sweep(self, linear: Linear) -> None:
        rows = range(self.count)
        history = [history_symbol(r) for r in rows]
        used = self._add("direction_at", [GRADIENT, POSITION, *history], [linear.direction])
        read = [f"{'z' if linear.after else 'y'}{r}" for r in rows]
        call = _call("direction_at", ["gb[i]", "theta[i]", *read], used, 1)
        self.loops += [
            "@loop(SWEEP)",
            "def sweep(first, n, batch, columns, recursion, weights, theta, g, feed, states, prefix, totals):",
            "    wide_vectors()",
            *(f"    s{r} = states[{r}]" for r in rows),
            "    for k in range(first, n):",
            "        b = batch[k]",
            "        gb = g[b]",
            *_column_reads(used, "k", "        "),
            *(
                f"        a{r}, e{r}, o{r}, w{r} = recursion[0, k, {r}], recursion[1, k, {r}], recursion[2, k, {r}], weights[{r}, k - first]"
                for r in rows
            ),
            *(f"        f{r}, t{r} = feed[{r}, b], totals[{r}, b]" for r in rows),
            "        for i in range(prefix.size):",
            "            past = prefix[i]",
            *(f"            y{r} = s{r}[i]" for r in rows),
            *(f"            z{r} = carried(y{r}, a{r}, e{r}, f{r}[i], o{r})" for r in rows),
            "            " + call,
            *(f"            s{r}[i] = z{r}" for r in rows),
            *(f"            t{r}[i] += w{r} * past" for r in rows),
            "            prefix[i] = past + r0",
            "",
            "",
        ]

    def carry(self) -> None:
        """One step with the changes of its states; after :meth:`response`, whose scalar function it uses."""
        self._changes("bound", "BOUND", absolute=True)
        self._changes("push", "PUSH", absolute=False)

    def _changes(self, name: str, signature: str, *, absolute: bool) -> None:
        """A scalar function (direction, its change, then every state and its change), and the loop that calls it.

        ``absolute``: by how much a unit change of every gradient can change them.
        """
        rows, columns = range(self.count), self.response_columns
        width = self.count + 3
        given = [] if absolute else ["change_g", "change_theta"]

        def change(output: int) -> str:
            slopes = [f"r{output * width + k}" for k in range(1, width)]
            if absolute:
                slopes = [f"abs({slope})" for slope in slopes]
                first = slopes[:1]
            else:
                first = [f"{slope} * {x}" for slope, x in zip(slopes, given, strict=False)]
            return " + ".join([*first, *(f"{slopes[2 + r]} * d{r}" for r in rows)])

        states, changes = [f"s{r}" for r in rows], [f"d{r}" for r in rows]
        inputs = ["g", "theta", *states, *given, *changes]
        found = ", ".join(f"r{o * width}, {change(o)}" for o in range(self.count + 1))
        call = _call("response_at", inputs[: 2 + self.count], columns, (self.count + 1) * width)
        self.scalars += [
            "@scalar",
            f"def {name}_at({', '.join([*inputs, *columns])}):",
            f"    {call}",
            f"    return ({found})",
            "",
            "",
        ]
        self.reads[f"{name}_at"] = tuple(columns)
        entries = [f"{x}[i]" for x in inputs]
        self.loops += [
            f"@loop({signature})",
            f"def {name}({', '.join(['n', 'columns', 'theta', 'g', *given])}, states, changes, direction, out):",
            "    wide_vectors()",
            *_column_reads(columns, "n", "    "),
            *(f"    s{r}, d{r} = states[{r}], changes[{r}]" for r in rows),
            "    for i in range(out.size):",
            "        " + _call(f"{name}_at", entries, columns, 2 * (self.count + 1)),
            "        direction[i], out[i] = r0, r1",
            *(f"        s{r}[i], d{r}[i] = r{2 * r + 2}, r{2 * r + 3}" for r in rows),
            "",
            "",
        ]

    def response(self, outputs: Sequence[Any], symbols: Sequence[Any]) -> bool:
        """Outputs and their derivatives; returns whether the first depends on g."""
        rooted = [with_roots(e) for e in outputs]
        variables = [GRADIENT, POSITION, *symbols]
        every = [x for e in rooted for x in (e, *(sympy.diff(e, v) for v in variables))]
        used = self.response_columns = self._add("response_at", variables, every)
        entries = ["g[i]", "theta[i]", *(f"h{r}[i]" for r in range(len(symbols)))]
        self.loops += [
            "@loop(RESPONSE)",
            "def response(n, columns, theta, g, states, out):",
            "    wide_vectors()",
            *_column_reads(used, "n", "    "),
            *(f"    h{r} = states[{r}]" for r in range(len(symbols))),
            *(f"    o{k} = out[{k}]" for k in range(len(every))),
            "    for i in range(theta.size):",
            "        " + _call("response_at", entries, used, len(every)),
            *(f"        o{k}[i] = r{k}" for k in range(len(every))),
            "",
            "",
        ]
        return every[1] != 0


@lru_cache(maxsize=256)
def rule_code(rule: UpdateRule, grouped: bool = True) -> RuleCode:
    """Code of a rule; ``grouped`` false: step by step even where the sums can be grouped."""
    linear = rule.linear if grouped else None
    writer = _Writer(rule, linear)
    writer.step()
    folded: tuple[Any, ...] = ()
    if linear is None:
        direct = writer.response([rule.trace.direction, *rule.states], rule.symbols)
        writer.carry()
    else:
        writer.feed(linear)
        writer.sweep(linear)
        history = [history_symbol(r) for r in range(len(rule.live))]
        direct = writer.response([linear.direction], history)
        folded = tuple(writer.columns.fold(e) for e in (linear.direction, *linear.feed))
    return RuleCode(
        rule,
        linear,
        tuple(without_roots(e) for e in writer.columns.expressions),
        "\n".join(writer.scalars),
        "\n".join(writer.loops),
        direct,
        folded,
        writer.reads,
    )
