"""The modified equation of an optimizer as a formula, component j, in named sums over the past."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import sympy

from stepbias.theory.optimizer import Optimizer
from stepbias.theory.optimizers import AnyOptimizer
from stepbias.theory.rule import Linear, UpdateRule, history_symbol
from stepbias.theory.tracing import GRADIENT, POSITION, parameter_symbol, state_symbol

# Parameters whose names are not their symbols.
_LATEX = {"eps": r"\varepsilon", "eps_root": r"\varepsilon_{root}", "weight_decay": r"\lambda"}
_NAMES = {sympy.Symbol(name, real=True): text for name, text in _LATEX.items()}
_h = sympy.Symbol("h", positive=True)


def _latex(expression: Any) -> str:
    return str(sympy.latex(expression, symbol_names=_NAMES))


@dataclass(frozen=True)
class Equation:
    """d theta_j / dt on [n h, (n + 1) h).

    Attributes
    ----------
    rate : SymPy expression
    where : dict
        Symbol -> what it stands for, LaTeX.
    """

    rate: Any
    where: dict[Any, str]

    def latex(self) -> str:
        """The equation, and a line for every sum in it."""
        lines = [rf"\dot\theta_j = {_latex(self.rate)}"]
        lines += [rf"{sympy.latex(symbol)} = {text}" for symbol, text in self.where.items()]
        return " \\\\\n".join(lines)


def equation_of(optimizer: AnyOptimizer, order: int) -> Equation:
    """The theorem's equation (order 2), or its leading part (1)."""
    if not isinstance(optimizer, Optimizer):
        return _adam(optimizer.bias_correction, order)
    linear = optimizer.rule.linear
    return _dense(order) if linear is None else _grouped(optimizer.rule, linear, order)


_BATCH = {sympy.Symbol("E_k"): r"\text{the loss of the mini-batch of step } k"}


def _average(decay: str, corrected: bool) -> str:
    """Weight of step k in an exponential moving average at step n."""
    weight = rf"{decay}^{{n-k}} (1 - {decay})"
    return rf"{weight} / (1 - {decay}^{{n+1}})" if corrected else weight


def _adam(corrected: bool, order: int) -> Equation:
    M, R, L, Lbar, P, Pbar = sympy.symbols("M_j R_j L_j Lbar_j P_j Pbar_j", real=True)
    eps = sympy.Symbol("epsilon", nonnegative=True)
    D = R + eps
    rate = -M / D
    where = {
        M: r"\sum_{k\le n} \mu_{n,k} \nabla_j E_k",
        R: r"\big(\sum_{k\le n} \nu_{n,k} (\nabla_j E_k)^2 + \varepsilon_{root}\big)^{1/2}",
    }
    weights = {
        sympy.Symbol(r"\mu_{n,k}"): _average(r"\beta", corrected),
        sympy.Symbol(r"\nu_{n,k}"): _average(r"\rho", corrected),
    } | _BATCH
    if order == 1:
        return Equation(rate, where | weights)
    sums = {
        L: (r"\mu_{n,k}", r"\sum_{l=k}^{n-1} U^{(l)}_i"),
        Lbar: (r"\mu_{n,k}", r"U^{(n)}_i"),
        P: (r"\nu_{n,k} \nabla_j E_k", r"\sum_{l=k}^{n-1} U^{(l)}_i"),
        Pbar: (r"\nu_{n,k} \nabla_j E_k", r"U^{(n)}_i"),
    }
    where |= {
        symbol: rf"\sum_{{k\le n}} {weight} \sum_i \nabla_{{ij}} E_k {move}"
        for symbol, (weight, move) in sums.items()
    }
    where[sympy.Symbol("U^{(l)}_i")] = (
        r"M_i / (R_i + \varepsilon) \text{ of step } l \text{ at the same } \theta"
    )
    bias = M * (2 * P + Pbar) / (2 * D**2 * R) - (2 * L + Lbar) / (2 * D)
    return Equation(rate + _h * bias, where | weights)


# Names of the equation's own symbols, and of those that its `where` uses.
_TAKEN = re.compile(
    r"g|h|n|k|l|j|i|theta|[EFWZ]|[FEW]_\w+|Fdot_j|[XYcwsgS]_?\d+|theta_\w+|(alpha|gamma|kappa)_?\d+"
)


def _plain(expression: Any, rule: UpdateRule) -> Any:
    """Parameters by their own names (q_name where the equation has this name already), counters as c_i."""
    names = {
        parameter_symbol(name): sympy.Symbol(
            f"q_{name}" if _TAKEN.fullmatch(name) else name, real=True
        )
        for name in rule.names
    }
    names |= {state_symbol(i): sympy.Symbol(f"c_{i}", real=True) for i in rule.counters}
    return expression.xreplace(names)


def _weights(rule: UpdateRule, linear: Linear, r: int) -> dict[Any, str]:
    """What the weights of state r are, and the part of it that no gradient entered."""
    last = "n" if linear.after else "n-1"
    decay, entry, offset = (
        _plain(table[r], rule) for table in (linear.decay, linear.entry, linear.offset)
    )
    a, b, c = (rf"\{letter}_{{{r + 1}}}" for letter in ("alpha", "gamma", "kappa"))
    product = rf"\prod_{{l=k+1}}^{{{last}}} {a}(l)"
    told = [rf"{b}(k) {product}", rf"{a}(n) = {_latex(decay)}", rf"{b}(n) = {_latex(entry)}"]
    where: dict[Any, str] = {sympy.Symbol(f"w_{{{r + 1},n,k}}"): r",\quad ".join(told)}
    start = rule.start[r]
    parts = [rf"{start!r} \prod_{{l=0}}^{{{last}}} {a}(l)"] if start else []
    if offset != 0:
        parts.append(rf"\sum_{{k=0}}^{{{last}}} {c}(k) {product},\quad {c}(n) = {_latex(offset)}")
    if parts:
        where[sympy.Symbol(f"S_{{{r + 1},n}}")] = " + ".join(parts)
    return where


def _counters(rule: UpdateRule) -> dict[Any, str]:
    """What the states that depend on the step alone are: where they begin, and how one follows from the last."""
    return {
        sympy.Symbol(
            f"c_{i}", real=True
        ): rf"c_{{{i}}}(n),\quad c_{{{i}}}(0) = {rule.initial[i]!r},\quad "
        rf"c_{{{i}}}(n+1) = {_latex(_plain(rule.trace.states[i], rule))}"
        for i in rule.counters
    }


def _grouped(rule: UpdateRule, linear: Linear, order: int) -> Equation:
    count = len(linear.feed)
    histories = [history_symbol(r) for r in range(count)]
    sums = sympy.symbols([f"X_{r + 1}" for r in range(count)], real=True)
    changes = sympy.symbols([f"Y_{r + 1}" for r in range(count)], real=True)
    own = sympy.Symbol("Z", real=True)
    named = dict(zip(histories, sums, strict=True))
    F = linear.direction
    change = sympy.diff(F, GRADIENT) * own + sympy.diff(F, POSITION) * F
    change += sum(sympy.diff(F, x) * y for x, y in zip(histories, changes, strict=True))
    rate = -F if order == 1 else -F - _h / 2 * change
    where: dict[Any, str] = {}
    added = r"\sum_{k\le n}" if linear.after else r"\sum_{k<n}"
    for r, feed in enumerate(linear.feed):
        phi = _latex(_plain(feed, rule))
        weights = _weights(rule, linear, r)
        weight, *beginning = map(str, weights)
        begun = "".join(f" + {symbol}" for symbol in beginning)
        where[sums[r]] = (
            rf"{added} {weight} \varphi_{{{r + 1}}}(\nabla_j E_k, \theta_j){begun},\quad \varphi_{{{r + 1}}}(g, \theta) = {phi}"
        )
        where |= weights
        if order == 2:
            where[changes[r]] = (
                rf"{added} {weight} \big[\partial_g\varphi_{{{r + 1}}} (\nabla^2 E_k W_k)_j + \partial_\theta\varphi_{{{r + 1}}} W_{{k,j}}\big]"
            )
    if order == 2:
        if change.has(own):
            where[own] = r"(\nabla^2 E_n F^{(n)})_j"
        if count:
            where[sympy.Symbol("W_k")] = (
                r"2 \sum_{l=k}^{n-1} F^{(l)} + F^{(n)},\quad F^{(l)} \text{ the direction of step } l \text{ at } \theta"
            )
    if rate.has(GRADIENT):
        where[sympy.Symbol("g", real=True)] = r"\nabla_j E_n"
    return Equation(_plain(rate.xreplace(named), rule), where | _counters(rule) | _BATCH)


def _dense(order: int) -> Equation:
    F, change = sympy.symbols("F_j Fdot_j", real=True)
    where = {F: r"F^{(n)}_j(\theta), \text{ the direction of step } n \text{ at one } \theta"}
    if order == 1:
        return Equation(-F, where)
    where[change] = (
        r"\frac{d}{d\delta} F^{(n)}_j \text{ along } \theta^{(k)} = \theta + \delta \big(2 \sum_{l=k}^{n-1} F^{(l)} + F^{(n)}\big), "
        r"\text{ the position that step } k \text{ sees}"
    )
    return Equation(-F - _h / 2 * change, where)
