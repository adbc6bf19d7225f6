"""``modified_equation``: its formula, evaluated with the named sums, is the field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy

import stepbias as sb
from tests.memory_rules import OPTIMIZERS

LOSS = sb.Loss.random("log-cosh", dim=3, batches=2, seed=8)
THETA = np.array([0.6, -0.4, 0.9])
N, H = 4, 0.3


def test_adams_formula_is_its_field() -> None:
    adam = sb.Adam(0.8, 0.9, 1e-2)
    sums = sb.memory_terms(adam, LOSS, THETA, N)
    equation = sb.modified_equation(adam)
    for j in range(3):
        given = {f"{name}_j": float(value[j]) for name, value in sums._asdict().items()}
        given |= {"epsilon": 1e-2, "h": H}
        value = equation.sympy().subs({s: given[s.name] for s in equation.sympy().free_symbols})
        assert float(value) == pytest.approx(equation(LOSS, THETA, N, H)[j], rel=1e-12)
    leading = sb.modified_equation(adam, order=1)
    expected = sb.vector_field(adam, LOSS, THETA, N, H, order=1)
    np.testing.assert_array_equal(leading(LOSS, THETA, N, H), expected)
    assert {s.name for s in leading.sympy().free_symbols} == {"M_j", "R_j", "epsilon"}


@pytest.mark.parametrize("order", [1, 2])
def test_the_formula_of_a_grouped_rule_is_its_field(order: int) -> None:
    """Nesterov, with its sums written out: X the momentum, Y its change, Z the own gradient's."""
    beta, schedule = 0.7, [0, 1, 0, 1, 0]
    optimizer = sb.Nesterov(beta)
    g = [LOSS.gradient(b, THETA) for b in schedule]
    hessian = [LOSS.hessian(b, THETA) for b in schedule]
    momentum = [sum(beta ** (n - k) * g[k] for k in range(n + 1)) for n in range(N + 1)]
    F = [g[n] + beta * momentum[n] for n in range(N + 1)]
    W = [2.0 * sum(F[k:N], np.zeros(3)) + F[N] for k in range(N + 1)]
    Y = sum(beta ** (N - k) * hessian[k] @ W[k] for k in range(N + 1))
    sums: dict[str, Any] = {"X_1": momentum[N], "Y_1": Y, "Z": hessian[N] @ F[N], "g": g[N]}
    equation = sb.modified_equation(optimizer, order)
    for j in range(3):
        given = {name: float(value[j]) for name, value in sums.items()} | {"beta": beta, "h": H}
        value = equation.sympy().subs({s: given[s.name] for s in equation.sympy().free_symbols})
        field = equation(LOSS, THETA, N, H, schedule)
        assert float(value) == pytest.approx(field[j], rel=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_sum_is_explained(name: str) -> None:
    optimizer = OPTIMIZERS[name]()
    equation = sb.modified_equation(optimizer)
    known = {sympy.Symbol(n, real=True) for n in (*optimizer.parameter_names, "theta", "g")}
    known |= {sympy.Symbol("h", positive=True), sympy.Symbol("n", real=True, nonnegative=True)}
    known |= {sympy.Symbol(f"c_{i}", real=True) for i in optimizer.rule.counters}
    assert equation.sympy().free_symbols - known <= set(equation.where)
    text = equation.latex()
    assert text.startswith(r"\dot\theta_j = ")
    assert text.count("\n") == len(equation.where)
    assert repr(equation) == f"modified_equation({optimizer!r}, order=2)"


def test_unusable_arguments() -> None:
    with pytest.raises(ValueError, match="order = 3"):
        sb.modified_equation(sb.HeavyBall(0.9), 3)
    with pytest.raises(TypeError, match="optimizer = 'Adam'"):
        sb.modified_equation("Adam")


@pytest.mark.parametrize("name", ["anchor", "g", "theta", "h", "Z", "X_1", "n", "F_j", "c_0"])
def test_a_parameter_is_not_taken_for_a_symbol_of_the_equation(name: str) -> None:
    pulled = sb.Optimizer.define(
        lambda g, s, n, theta, q: (g + 0.5 * (theta - getattr(q, name)), ()), (), **{name: 0.3}
    )
    leading = sb.modified_equation(pulled, order=1).sympy()
    named = {str(symbol): symbol for symbol in leading.free_symbols}
    assert len(named) == 3
    (own,) = (symbol for text, symbol in named.items() if text not in ("g", "theta"))
    at = {named["g"]: 2.0, named["theta"]: 0.7, own: 0.3}
    assert float(leading.subs(at)) == pytest.approx(-2.2)


def test_the_weights_of_the_past_are_explained() -> None:
    text = sb.modified_equation(sb.SmoothLion(0.4, 0.6, 0.1, 0.5)).latex()
    # Lion reads its memory before the step
    assert r"\sum_{k<n} w_{1,n,k}" in text
    assert r"w_{1,n,k} = \gamma_{1}(k) \prod_{l=k+1}^{n-1} \alpha_{1}(l)" in text
    assert "S_{1,n}" not in text
    adam = sb.modified_equation(sb.Adam(0.9, 0.99)).where
    assert adam[sympy.Symbol(r"\mu_{n,k}")] == r"\beta^{n-k} (1 - \beta) / (1 - \beta^{n+1})"
    plain = sb.modified_equation(sb.Adam(0.9, 0.99, bias_correction=False)).where
    assert plain[sympy.Symbol(r"\mu_{n,k}")] == r"\beta^{n-k} (1 - \beta)"


def test_what_no_gradient_entered_is_explained() -> None:
    started = sb.Optimizer.define(lambda g, s, n, theta, q: (s[0], (0.5 * s[0] + g,)), (3.0,))
    drifting = sb.Optimizer.define(
        lambda g, s, n, theta, q: (q.beta * s[0] + g + q.pull, (q.beta * s[0] + g + q.pull,)),
        (0.0,),
        beta=0.5,
        pull=0.1,
    )
    symbol = sympy.Symbol("S_{1,n}")
    assert sb.modified_equation(started).where[symbol] == r"3.0 \prod_{l=0}^{n-1} \alpha_{1}(l)"
    told = sb.modified_equation(drifting).where
    assert told[symbol].startswith(r"\sum_{k=0}^{n} \kappa_{1}(k)")
    assert told[symbol].endswith(r"\kappa_{1}(n) = pull")
    assert "S_{1,n}" in told[sympy.Symbol("X_1", real=True)]


def test_counters_and_parameters_are_named_alike_in_every_line() -> None:
    nadam = OPTIMIZERS["NAdam warming"]()
    equation = sb.modified_equation(nadam)
    counters = [sympy.Symbol(f"c_{i}", real=True) for i in nadam.rule.counters]
    assert counters
    for counter in counters:
        assert "(n+1) = " in equation.where[counter]
    decayed = sb.Optimizer.define(
        lambda g, s, n, theta, q: (g, (q.eps * s[0] + g,)), (0.0,), eps=0.5
    )
    assert "eps" not in sb.modified_equation(decayed).latex().replace(r"\varepsilon", "")
