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
_h = sympy.Symbol("h", positive=True)


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
        names = {sympy.Symbol(name, real=True): text for name, text in _LATEX.items()}
        lines = [rf"\dot\theta_j = {sympy.latex(self.rate, symbol_names=names)}"]
        lines += [rf"{sympy.latex(symbol)} = {text}" for symbol, text in self.where.items()]
        return " \\\\\n".join(lines)


def equation_of(optimizer: AnyOptimizer, order: int) -> Equation:
    """The theorem's equation (order 2), or its leading part (1)."""
    if not isinstance(optimizer, Optimizer):
        return _adam(order)
    linear = optimizer.rule.linear
    return _dense(order) if linear is None else _grouped(optimizer.rule, linear, order)


def _adam(order: int) -> Equation:
    M, R, L, Lbar, P, Pbar = sympy.symbols("M_j R_j L_j Lbar_j P_j Pbar_j", real=True)
    eps = sympy.Symbol("epsilon", nonnegative=True)
    D = R + eps
    rate = -M / D
    where = {
        M: r"\sum_{k\le n} \mu_{n,k} \nabla_j E_k",
        R: r"\big(\sum_{k\le n} \nu_{n,k} (\nabla_j E_k)^2 + \varepsilon_{root}\big)^{1/2}",
    }
    if order == 1:
        return Equation(rate, where)
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
    bias = M * (2 * P + Pbar) / (2 * D**2 * R) - (2 * L + Lbar) / (2 * D)
    return Equation(rate + _h * bias, where)


# Names of the equation's own symbols, and of those that its `where` uses.
_TAKEN = re.compile(r"g|h|n|k|l|j|i|theta|[EFWZ]|[FEW]_\w+|Fdot_j|[XYcwsg]_?\d+|theta_\w+")


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
    for r, feed in enumerate(linear.feed):
        phi = sympy.latex(_plain(feed, rule))
        weight = rf"w_{{{r + 1},n,k}}"
        where[sums[r]] = (
            rf"\sum_k {weight} \varphi_{{{r + 1}}}(g_{{k,j}}, \theta_j) + \text{{start}},\quad \varphi_{{{r + 1}}} = {phi}"
        )
        if order == 2:
            where[changes[r]] = (
                rf"\sum_k {weight} \big[\partial_g\varphi_{{{r + 1}}} (\nabla^2 E_k W_k)_j + \partial_\theta\varphi_{{{r + 1}}} W_{{k,j}}\big]"
            )
    if order == 2:
        if change.has(own):
            where[own] = r"(\nabla^2 E_n F^{(n)})_j"
        if count:
            where[sympy.Symbol("W_k")] = (
                r"2 \sum_{l=k}^{n-1} F^{(l)} + F^{(n)},\quad F^{(l)} \text{ the direction of step } l \text{ at } \theta"
            )
    return Equation(_plain(rate.xreplace(named), rule), where)


def _dense(order: int) -> Equation:
    F, change = sympy.symbols("F_j Fdot_j", real=True)
    where = {F: r"F^{(n)}_j(\theta), \text{ the direction of step } n \text{ at one } \theta"}
    if order == 1:
        return Equation(-F, where)
    where[change] = (
        r"\frac{d}{d\delta} F^{(n)}_j \text{ along } \theta^{(k)} = \theta + \delta \big(2 \sum_{l=k}^{n-1} F^{(l)} + F^{(n)}\big)"
    )
    return Equation(-F - _h / 2 * change, where)
