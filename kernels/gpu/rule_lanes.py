"""The scalar functions of a traced rule compiled for the GPU, and what calls them for one entry (component, lane) of flat arrays.

The formulas are those that :mod:`stepbias.kernels.rule_code` writes for the CPU; only the visits to the arrays are written here. Entry i of the r-th of several
rows is ``r * stride + i``; a rule's columns are C numbers for every step, ``columns[row * C + k]``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from stepbias.kernels.gpu.bind import device
from stepbias.kernels.gpu.local import device_function
from stepbias.kernels.rule_code import NAMES, RuleCode
from stepbias.kernels.symbolic_loss import functions_of


class RuleLanes(NamedTuple):
    """Device functions of one rule; those that a kind of rule does not have are None.

    ``step(row, i, stride, columns, g, theta, states)`` -> direction, new states in place; ``feed(row, i, stride, batches, columns, gradients, theta, out)``;
    ``sweep(begin, end, i, stride, batches, rules, theta, gradients, feed, states, totals)`` -> sum of the directions; ``direction(row, columns, g, theta,
    states)``; ``response(row, i, stride, columns, point, out)``, with the gradient, theta and the states as rows of ``point``; ``bound(row, i, stride,
    columns, g, theta, states, changes)`` and ``push(..., theta, change_g, change_theta, states, changes)`` -> direction and its change.
    """

    step: Any
    feed: Any
    sweep: Any
    direction: Any
    response: Any
    bound: Any
    push: Any


def _for_device(name: str, value: Any) -> Any:
    if name == "sqrt":  # on the CPU an instruction of its own
        return math.sqrt
    return device(value) if hasattr(value, "py_func") else value


class _Writer:
    """Source of the visits to one entry."""

    def __init__(self, code: RuleCode) -> None:
        self.code = code
        self.rows = range(code.states)

    def _call(self, name: str, inputs: Sequence[str], results: int, row: str = "row") -> str:
        width = len(self.code.columns)
        read = [f"columns[{row} * {width} + {c[1:]}]" for c in self.code.reads[name]]
        targets = "".join(f"r{k}, " for k in range(results))
        return f"{targets}= {name}({', '.join([*inputs, *read])})"

    def step(self) -> list[str]:
        states = [f"states[{r} * stride + i]" for r in self.rows]
        return [
            "def step(row, i, stride, columns, g, theta, states):",
            "    " + self._call("step_at", ["g", "theta", *states], 1 + len(states)),
            *(f"    {state} = r{1 + r}" for r, state in enumerate(states)),
            "    return r0",
        ]

    def feed(self) -> list[str]:
        lines = ["def feed(row, i, stride, batches, columns, gradients, theta, out):"]
        if not self.rows:
            return [*lines, "    pass"]
        count = 3 * len(self.rows)
        return [
            *lines,
            "    for b in range(batches):",
            "        " + self._call("feed_at", ["gradients[b * stride + i]", "theta"], count),
            *(f"        out[({k} * batches + b) * stride + i] = r{k}" for k in range(count)),
        ]

    def sweep(self) -> list[str]:
        linear = self.code.linear
        assert linear is not None
        rows, width = self.rows, len(self.rows)
        read = [f"{'z' if linear.after else 'y'}{r}" for r in rows]
        entry = f"k * {3 * width} + "
        return [
            "def sweep(begin, end, i, stride, batches, rules, theta, gradients, feed, states, totals):",
            "    columns, recursion, prefix = rules.columns, rules.recursion, 0.0",
            f"    for q in range({width} * batches):",
            "        totals[q] = 0.0",
            *(f"    y{r} = states[{r}]" for r in rows),
            "    for k in range(begin, end):",
            "        b = rules.batch[k]",
            *(f"        a{r}, e{r} = recursion[{entry}{r}], recursion[{entry}{width + r}]" for r in rows),
            *(
                f"        z{r} = carried(y{r}, a{r}, e{r}, feed[({r} * batches + b) * stride + i], recursion[{entry}{2 * width + r}])"
                for r in rows
            ),
            # the weight of a step in the states at the end: every later decay times what it entered with
            "        for q in range(batches):",
            *(f"            totals[{r} * batches + q] *= a{r}" for r in rows),
            "            pass",
            *(f"        totals[{r} * batches + b] += e{r} * prefix" for r in rows),
            "        "
            + self._call("direction_at", ["gradients[b * stride + i]", "theta", *read], 1, "k"),
            "        prefix += r0",
            *(f"        y{r} = z{r}" for r in rows),
            "    return prefix",
        ]  # fmt: skip

    def direction(self) -> list[str]:
        states = [f"states[{r}]" for r in self.rows]
        return [
            "def direction(row, columns, g, theta, states):",
            "    " + self._call("direction_at", ["g", "theta", *states], 1),
            "    return r0",
        ]

    def response(self) -> list[str]:
        point = [f"point[{v} * stride + i]" for v in range(len(self.rows) + 2)]
        outputs = len(self.rows) + 1 if self.code.linear is None else 1
        count = outputs * (len(self.rows) + 3)
        return [
            "def response(row, i, stride, columns, point, out):",
            "    " + self._call("response_at", point, count),
            *(f"    out[{k} * stride + i] = r{k}" for k in range(len(self.rows) + 3)),
        ]

    def changes(self, name: str, given: Sequence[str]) -> list[str]:
        """``bound`` or ``push``."""
        states = [f"states[{r} * stride + i]" for r in self.rows]
        moved = [f"changes[{r} * stride + i]" for r in self.rows]
        inputs = ["g", "theta", *given]
        found = [x for pair in zip(states, moved, strict=True) for x in pair]
        return [
            f"def {name}({', '.join(['row', 'i', 'stride', 'columns', *inputs])}, states, changes):",
            "    "
            + self._call(
                f"{name}_at", ["g", "theta", *states, *given, *moved], 2 * (1 + len(states))
            ),
            *(f"    {x} = r{2 + k}" for k, x in enumerate(found)),
            "    return r0, r1",
        ]


def rule_lanes(code: RuleCode) -> RuleLanes:
    """Compile the functions of a rule."""
    names = {name: _for_device(name, value) for name, value in NAMES.items()}
    scalars = functions_of(code.scalars, names | {"scalar": device_function})
    # `functions_of` leaves out what it was given
    scalars = {name: f for name, f in scalars.items() if name in code.reads}
    writer = _Writer(code)
    parts = [writer.step(), writer.response()]
    if code.linear is None:
        parts += [writer.changes("bound", ()), writer.changes("push", ("change_g", "change_theta"))]
    else:
        parts += [writer.feed(), writer.sweep(), writer.direction()]
    source = "\n".join("\n".join([*part, "", ""]) for part in parts)
    found = functions_of(source, scalars | {"carried": names["carried"]})
    built = {name: device_function(f) for name, f in found.items()}
    return RuleLanes(**{name: built.get(name) for name in RuleLanes._fields})
