"""Losses from SymPy expressions against SymPy's own evaluation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import sympy

from stepbias.kernels import symbolic_loss
from stepbias.kernels.loss import Loss

CASES: list[tuple[Any, Any]] = [
    (["(y - x*z)**2/2", "sin(x*y)*exp(-z**2) + log(1 + x**2)/3"], "x y z"),
    ("lambda_**2*sqrt(E) + E**Rational(1, 3)", ["lambda_", "E"]),
    ("x**4/4 - 10**20*x", "x"),
    (["atan(x) + sinh(y)", "1", "x*y"], "x, y"),
    (
        sympy.tanh(sympy.Symbol("x", positive=True)) * sympy.cos(sympy.Symbol("x", positive=True)),
        sympy.Symbol("x"),
    ),
    ("erf(x) + log(cosh(x)) + 2**x + x**x + x**-70 + (1 + x**2)**(-3/2)", "x"),
    ("pi*x + exp(1)*x**2 + sec(x) + acosh(2 + x) + cot(1 + x) + asinh(x)", "x"),
]


@pytest.mark.parametrize(("expressions", "symbols"), CASES)
def test_derivatives(expressions: Any, symbols: Any) -> None:
    loss = Loss.from_sympy(expressions, symbols)
    names = symbol_names(symbols)
    items = expressions if isinstance(expressions, list) else [expressions]
    assert (loss.dim, loss.batches, loss.problems) == (len(names), len(items), None)
    assert loss.bounds(0.0, 1.0) is None
    theta = np.random.default_rng(0).uniform(0.6, 1.2, (35, loss.dim))
    for b, item in enumerate(items):
        plain = [sympy.Symbol(name) for name in names]
        e = sympy.sympify(item, locals=dict(zip(names, plain, strict=True)))
        e = e.xreplace({s: sympy.Symbol(s.name) for s in e.free_symbols})
        for n in (0, 31, 34):
            point = {s: sympy.Float(float(t), 40) for s, t in zip(plain, theta[n], strict=True)}
            close(loss.value(b, theta)[n], e.evalf(30, subs=point))
            for i, s in enumerate(plain):
                close(loss.gradient(b, theta)[n, i], sympy.diff(e, s).evalf(30, subs=point))
                for j, t in enumerate(plain):
                    close(
                        loss.hessian(b, theta)[n, i, j], sympy.diff(e, s, t).evalf(30, subs=point)
                    )
            assert np.array_equal(loss.gradient(b, theta[n]), loss.gradient(b, theta)[n])


def symbol_names(symbols: Any) -> list[str]:
    if isinstance(symbols, str):
        return symbols.replace(",", " ").split()
    return [symbols.name] if isinstance(symbols, sympy.Symbol) else list(symbols)


def close(got: float, expected: Any) -> None:
    # tens of operations, the power 70 multiplies the relative error of x**2 by 35
    assert abs(got - float(expected)) <= 1e-13 * (1 + abs(float(expected)))


def test_compiled_once_per_expression_set(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Loss.from_sympy("x**3 + x", "x").source.oracle
    monkeypatch.setattr(symbolic_loss, "_build", None)
    assert Loss.from_sympy("x + x**3", "x").source.oracle is first


def test_generated_source_is_plain_python() -> None:
    code = symbolic_loss.symbolic_source("sin(x*y)", "x y").code
    scope: dict[str, Any] = {"sin": np.sin, "cos": np.cos}
    exec(code.scalars, scope)
    assert scope["value_0"](0.5, 0.6) == (np.sin(0.3),)
    assert code.entries == ((0, 0, 0), (0, 0, 1), (0, 1, 1))


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("Abs(x)", "Abs"),
        ("Max(x, 1)**2", "Max"),
        ("Heaviside(x)*x**3", "Heaviside"),
        ("sign(x)", "sign"),
    ],
)
def test_rough_functions_are_reported(expression: str, named: str) -> None:
    with pytest.warns(UserWarning, match=named):
        Loss.from_sympy(expression, "x")


def test_rough_functions_have_derivatives_almost_everywhere() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = Loss.from_sympy("Heaviside(x)*x**3 + Abs(x) + Max(x, 1)", "x")
    points = np.array([[2.0], [-2.0]])
    assert loss.value(0, points).tolist() == [12.0, 3.0]
    assert loss.gradient(0, points)[:, 0].tolist() == [14.0, -1.0]
    assert loss.hessian(0, points)[:, 0, 0].tolist() == [12.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((["x", "x + q + r"], "x"), ValueError, r"expressions\[1\] has the unknown symbols q, r"),
        (([], "x"), ValueError, "expressions is empty"),
        ((None, "x"), TypeError, "expressions = None"),
        (("x*", "x"), ValueError, "is not a SymPy expression"),
        (("x + I", "x"), ValueError, "not real and finite"),
        (("x/0", "x"), ValueError, "not real and finite"),
        (("x > 1", "x"), ValueError, "StrictGreaterThan"),
        (("[x]", "x"), ValueError, "list"),
        (("f(x)", "x"), ValueError, "unknown functions f"),
        (("gamma(x)", "x"), ValueError, "no compiled form.*polygamma"),
        (("x", "x x"), ValueError, "lists x twice"),
        (("x", "1x"), ValueError, "'1x'"),
        (("x", []), ValueError, "symbols is empty"),
        (("x", 3), TypeError, "symbols = 3"),
        (("x", [3]), ValueError, "symbols contains 3"),
    ],
)
def test_rejects(arguments: tuple[Any, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Loss.from_sympy(*arguments)


@pytest.mark.parametrize(
    "text", ["Piecewise((x**2, x > 0))", "Sum(x**k, (k, 0, 3))", "Integral(x, x)"]
)
def test_forms_without_straight_line_code_are_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"expressions\[0\] contains"):
        Loss.from_sympy([text], "x")
