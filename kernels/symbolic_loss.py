"""Losses from SymPy expressions: derivatives taken symbolically, printed as straight-line scalar Python, compiled over lanes.

The generated scalar functions are plain source (:attr:`Generated.scalars`), so that another device can compile the same text. On the CPU they run over tiles of
``_TILE`` lanes that live in one scratch array at constant distances: LLVM then knows that inputs and outputs do not
overlap, and vectorises without checks.

Packed data: ``ints`` = [entries, then (b, j, k) of every Hessian entry with j <= k that is not identically zero]. Scratch: these entries (entries,
L), then one tile
per input and output.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numba
import numpy as np
import sympy
from numpy.typing import NDArray
from sympy.core.function import AppliedUndef
from sympy.printing.codeprinter import PrintMethodNotImplementedError

from stepbias.kernels import elementary
from stepbias.kernels.jit import kernel, pointer
from stepbias.kernels.oracle import GRADIENT, GRADIENTS, PRODUCTS, VALUE, Oracle
from stepbias.kernels.printing import CodePrinter

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_TILE = 32
_u = np.uintp
_OPTIONS: dict[str, Any] = {
    "error_model": "numpy",
    "fastmath": False,
}  # no cache on disk: there is no file

_ROUGH = (
    sympy.Abs,
    sympy.sign,
    sympy.Max,
    sympy.Min,
    sympy.Piecewise,
    sympy.Heaviside,
    sympy.DiracDelta,
    sympy.floor,
    sympy.ceiling,
    sympy.Mod,
)
NAMES: dict[str, Any] = {
    name: getattr(math, name) for name in dir(math) if not name.startswith("_")
}
NAMES.update({name: getattr(elementary, name) for name in ("sin", "cos", "exp", "tanh", "log")})


class Generated(NamedTuple):
    """Source of the scalar functions, and which Hessian entries they give."""

    scalars: str
    loops: str
    entries: tuple[tuple[int, int, int], ...]


# parsing ------------------------------------------------------------------------------------------


def _parse_symbols(symbols: Any) -> list[str]:
    if isinstance(symbols, str):
        symbols = symbols.replace(",", " ").split()
    elif isinstance(symbols, sympy.Symbol):
        symbols = [symbols]
    try:
        names = [s.name if isinstance(s, sympy.Symbol) else s for s in symbols]
    except TypeError:
        raise TypeError(
            f"symbols = {symbols!r}; accepted: symbols or names, in the order of theta's components"
        ) from None
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"symbols contains {name!r}; accepted: SymPy symbols or identifiers")
    if not names:
        raise ValueError("symbols is empty; accepted: at least one symbol")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"symbols lists {', '.join(twice)} twice; accepted: distinct symbols")
    return names


def _parse_expressions(expressions: Any, names: list[str]) -> list[Any]:
    if isinstance(expressions, str | sympy.Basic | int | float):
        expressions = [expressions]
    try:
        items = list(expressions)
    except TypeError:
        raise TypeError(
            f"expressions = {expressions!r}; accepted: one expression or string per mini-batch"
        ) from None
    if not items:
        raise ValueError("expressions is empty; accepted: one expression or string per mini-batch")
    canonical = {name: sympy.Symbol(f"t{j}", real=True) for j, name in enumerate(names)}
    return [_parse_one(b, item, canonical) for b, item in enumerate(items)]


def _parse_one(b: int, item: Any, canonical: dict[str, Any]) -> Any:
    try:
        parsed = sympy.sympify(item, locals={name: sympy.Symbol(name) for name in canonical})
    except (sympy.SympifyError, SyntaxError, TypeError, AttributeError) as error:
        raise ValueError(
            f"expressions[{b}] = {item!r} is not a SymPy expression: {error}"
        ) from error
    if not isinstance(parsed, sympy.Expr):
        raise ValueError(
            f"expressions[{b}] = {item!r} is a {type(parsed).__name__}; accepted: a real scalar expression"
        )
    unknown = sorted(s.name for s in parsed.free_symbols if s.name not in canonical)
    if unknown:
        raise ValueError(
            f"expressions[{b}] has the unknown symbols {', '.join(unknown)}; accepted: {', '.join(canonical)}"
        )
    undefined = sorted({str(f.func) for f in parsed.atoms(AppliedUndef)})
    if undefined:
        raise ValueError(
            f"expressions[{b}] has the unknown functions {', '.join(undefined)}; accepted: SymPy's functions"
        )
    expression = parsed.xreplace({s: canonical[s.name] for s in parsed.free_symbols})
    if expression.has(sympy.I, sympy.zoo, sympy.oo, -sympy.oo, sympy.nan):
        raise ValueError(
            f"expressions[{b}] = {item!r} is not real and finite; accepted: a real scalar expression"
        )
    _require_closed_form(b, expression)
    return expression


def _require_closed_form(b: int, expression: Any) -> None:
    """Reject what has no straight-line code, before anything is derived."""
    open_forms = (sympy.Sum, sympy.Product, sympy.Integral, sympy.Limit, sympy.Derivative)
    found = expression.atoms(*open_forms)
    if found:
        raise ValueError(
            f"expressions[{b}] contains {min(map(str, found))}; accepted: closed forms (try .doit())"
        )
    for piecewise in expression.atoms(sympy.Piecewise):
        if piecewise.args[-1].cond != sympy.true:
            raise ValueError(
                f"expressions[{b}] contains {piecewise}; accepted: a Piecewise whose last condition is True"
            )


# derivatives --------------------------------------------------------------------------------------


def _derive(expressions: list[Any], dim: int) -> tuple[list[list[Any]], list[list[list[Any]]]]:
    """Gradients [b][j] and upper triangles of Hessians [b][j][k - j]."""
    theta = [sympy.Symbol(f"t{j}", real=True) for j in range(dim)]
    gradients = [[sympy.diff(e, t) for t in theta] for e in expressions]
    hessians = [
        [[sympy.diff(g[j], theta[k]) for k in range(j, dim)] for j in range(dim)] for g in gradients
    ]
    for b, (expression, gradient, hessian) in enumerate(
        zip(expressions, gradients, hessians, strict=True)
    ):
        derived = [*gradient, *(entry for row in hessian for entry in row)]
        rough = sorted({f.func.__name__ for e in (expression, *derived) for f in e.atoms(*_ROUGH)})
        if rough:
            warnings.warn(
                f"expressions[{b}] or its derivatives contain {', '.join(rough)}: the theorems assume bounded derivatives up to order 4, and derivatives are "
                "only meant almost everywhere",
                UserWarning,
                stacklevel=5,
            )
        for e in derived:
            if e.has(sympy.Derivative, sympy.Subs):
                raise ValueError(
                    f"expressions[{b}] has a derivative that SymPy leaves unevaluated: {e}"
                )
            if e.has(sympy.I, sympy.zoo, sympy.oo, sympy.nan):
                raise ValueError(
                    f"expressions[{b}] has a derivative that is not real and finite: {e}"
                )
    return [[_plain(e) for e in g] for g in gradients], [
        [[_plain(e) for e in row] for row in h] for h in hessians
    ]


def _plain(expression: Any) -> Any:
    """Almost everywhere: no point masses, steps as case distinctions."""
    if expression.has(sympy.DiracDelta):
        expression = expression.replace(sympy.DiracDelta, lambda *args: sympy.Integer(0))
    if expression.has(sympy.Heaviside):
        expression = expression.rewrite(sympy.Piecewise)
    return expression


# code ---------------------------------------------------------------------------------------------


def _scalar(name: str, dim: int, expressions: list[Any]) -> str:
    """Source of a scalar function of theta's components that returns the expressions, common sub-expressions shared."""
    shared, results = sympy.cse(expressions, symbols=sympy.numbered_symbols("c"), list=True)
    printer = CodePrinter()
    try:
        lines = [f"    {symbol} = {printer.doprint(e)}" for symbol, e in shared]
        values = [printer.doprint(e) for e in results]
    except (PrintMethodNotImplementedError, NotImplementedError) as error:
        raise ValueError(
            f"expressions use a function that has no compiled form: {str(error).splitlines()[0]}"
        ) from error
    arguments = ", ".join(f"t{j}" for j in range(dim))
    returned = ", ".join(f"float({v})" for v in values)
    return "\n".join([f"def {name}({arguments}):", *lines, f"    return ({returned},)", ""])


def _tile_loop(name: str, dim: int, count: int) -> str:
    """Source of a loop over one tile: inputs at 0, _TILE, ..; outputs behind them."""
    inputs = ", ".join(f"w[i + {_TILE * j}]" for j in range(dim))
    outputs = [f"        w[i + {_TILE * (dim + k)}] = r{k}" for k in range(count)]
    targets = "".join(f"r{k}, " for k in range(count))
    return "\n".join(
        [
            f"def {name}_tile(w, n):",
            "    for i in range(n):",
            f"        {targets}= {name}({inputs})",
            *outputs,
            "",
        ]
    )


def _choice(name: str, batches: int) -> str:
    """Source of the switch over batches."""
    lines = [f"def {name}_choice(b, w, n):"]
    for b in range(batches):
        lines += [f"    {'if' if b == 0 else 'elif'} b == {b}:", f"        {name}_{b}_tile(w, n)"]
    return "\n".join([*lines, ""])


def generate(expressions: list[Any], dim: int) -> Generated:
    """Derive, share and print; ``expressions`` in the symbols t0, t1, ..."""
    gradients, hessians = _derive(expressions, dim)
    triangle = [
        (b, j, k, hessians[b][j][k - j])
        for b in range(len(expressions))
        for j in range(dim)
        for k in range(j, dim)
    ]
    kept = [item for item in triangle if item[3] != 0]
    everything = [e for gradient in gradients for e in gradient] + [item[3] for item in kept]
    scalars = [_scalar("everything", dim, everything)]
    loops = [_tile_loop("everything", dim, len(everything))]
    for b, expression in enumerate(expressions):
        scalars += [
            _scalar(f"gradient_{b}", dim, gradients[b]),
            _scalar(f"value_{b}", dim, [_plain(expression)]),
        ]
        loops += [_tile_loop(f"gradient_{b}", dim, dim), _tile_loop(f"value_{b}", dim, 1)]
    loops += [_choice(name, len(expressions)) for name in ("gradient", "value")]
    return Generated("\n".join(scalars), "\n".join(loops), tuple(item[:3] for item in kept))


def functions_of(source: str, names: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """The functions that the generated source defines, with ``names`` for the functions it calls."""
    scope = dict(names)
    exec(compile(source, "<generated by stepbias>", "exec"), scope)
    return {name: f for name, f in scope.items() if name not in names and name != "__builtins__"}


# oracle -------------------------------------------------------------------------------------------


@kernel()
def _load(theta, start, n, w):
    """Lanes start .. start + n - 1 of theta into the tile."""
    for j in range(theta.shape[0]):
        for i in range(n):
            w[j * _TILE + i] = theta[j, start + i]


@kernel()
def _store(w, first, count, start, n, lanes, out):
    """Outputs first .. first + count - 1 of the tile into rows of the flat array ``out``."""
    for k in range(count):
        for i in range(n):
            out[k * lanes + start + i] = w[(first + k) * _TILE + i]


@kernel()
def _product(dim, lanes, ints, work, vectors, out):
    """out[b] = H_b vectors[b], flat arrays; both halves of the symmetric matrix from the stored one."""
    for t in range(out.size):
        out[t] = 0.0
    for e in range(ints[0]):
        b, j, k = _u(ints[1 + 3 * e]), _u(ints[2 + 3 * e]), _u(ints[3 + 3 * e])
        h, row, column = _u(e) * lanes, (b * dim + j) * lanes, (b * dim + k) * lanes
        for i in range(lanes):
            out[row + i] += work[h + i] * vectors[column + i]
        if j != k:
            for i in range(lanes):
                out[column + i] += work[h + i] * vectors[row + i]


def _products(theta, ints, reals, work, first, second, out_first, out_second):
    dim, lanes, size = _u(theta.shape[0]), _u(theta.shape[1]), first.size
    _product(dim, lanes, ints, work, first.reshape(size), out_first.reshape(size))
    _product(dim, lanes, ints, work, second.reshape(size), out_second.reshape(size))


def _build(code: Generated, dim: int, batches: int) -> Oracle:
    """Compile the generated source and the loops around it."""
    scalars = functions_of(code.scalars, NAMES)
    compiled = {name: numba.njit(forceinline=True, **_OPTIONS)(f) for name, f in scalars.items()}
    tiles = functions_of(code.loops, compiled)
    lookup = {
        name: numba.njit(**_OPTIONS)(f) for name, f in tiles.items() if name.endswith("_tile")
    }
    choices = functions_of(
        "\n".join(_choice(name, batches) for name in ("gradient", "value")), lookup
    )
    everything = lookup["everything_tile"]
    gradient_of, value_of = (
        numba.njit(**_OPTIONS)(choices[f"{name}_choice"]) for name in ("gradient", "value")
    )
    entries = len(code.entries)

    def gradient(b, theta, ints, reals, work, out):
        lanes, w = theta.shape[1], work[entries * theta.shape[1] :]
        for start in range(0, lanes, _TILE):
            n = min(_TILE, lanes - start)
            _load(theta, start, n, w)
            gradient_of(b, w, n)
            _store(w, dim, dim, start, n, lanes, out.reshape(out.size))

    def gradients(theta, ints, reals, work, out):
        lanes, w = theta.shape[1], work[entries * theta.shape[1] :]
        for start in range(0, lanes, _TILE):
            n = min(_TILE, lanes - start)
            _load(theta, start, n, w)
            everything(w, n)
            _store(w, dim, batches * dim, start, n, lanes, out.reshape(out.size))
            _store(w, dim + batches * dim, entries, start, n, lanes, work)

    def value(b, theta, ints, reals, work, out):
        lanes, w = theta.shape[1], work[entries * theta.shape[1] :]
        for start in range(0, lanes, _TILE):
            n = min(_TILE, lanes - start)
            _load(theta, start, n, w)
            value_of(b, w, n)
            _store(w, dim, 1, start, n, lanes, out)

    def compiled_pointer(signature: Any, function: Callable[..., Any]) -> Any:
        return numba.cfunc(signature, nopython=True, **_OPTIONS)(function)

    return Oracle(
        compiled_pointer(GRADIENT, gradient),
        compiled_pointer(GRADIENTS, gradients),
        pointer(PRODUCTS)(_products),
        compiled_pointer(VALUE, value),
    )


_ORACLES: dict[tuple[str, int], Oracle] = {}


class SymbolicSource:
    """Losses given by expressions.

    Parameters
    ----------
    texts : list of str
        The expressions in the user's symbols, for reports.
    names : list of str
    code : Generated
    """

    problems: int | None = None

    def __init__(self, texts: list[str], names: list[str], code: Generated) -> None:
        self.texts, self.names, self.code = texts, names, code
        self.dim, self.batches = len(names), len(texts)

    @cached_property
    def oracle(self) -> Oracle:
        """Compiled once per distinct set of expressions in a process."""
        key = (self.code.scalars, self.batches)
        if key not in _ORACLES:
            _ORACLES[key] = _build(self.code, self.dim, self.batches)
        return _ORACLES[key]

    def work_size(self, lanes: int) -> int:
        """Hessian entries of all lanes and one tile of inputs and outputs."""
        entries = len(self.code.entries)
        return entries * lanes + _TILE * (self.dim * (1 + self.batches) + entries + 1)

    def pack(self, indices: Integers) -> tuple[Integers, Floats]:
        """See :class:`stepbias.kernels.oracle.Source`."""
        flat = [n for entry in self.code.entries for n in entry]
        return np.array([len(self.code.entries), *flat], dtype=np.int64), np.zeros(1)

    def bounds(self, lower: Floats, upper: Floats) -> None:
        """None: no bounds are derived from expressions."""
        return

    def describe(self) -> str:
        """The expressions."""
        shown = "; ".join(self.texts[:4]) + ("; ..." if len(self.texts) > 4 else "")
        return f"expressions in {', '.join(self.names)}: {shown}"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "oracle"}


def symbolic_source(expressions: Any, symbols: Any) -> SymbolicSource:
    """Check the arguments of ``Loss.from_sympy``, derive, and build the source (compiled at the first use)."""
    names = _parse_symbols(symbols)
    parsed = _parse_expressions(expressions, names)
    shown = {sympy.Symbol(f"t{j}", real=True): sympy.Symbol(name) for j, name in enumerate(names)}
    texts = [str(e.xreplace(shown)) for e in parsed]
    return SymbolicSource(texts, names, generate(parsed, len(names)))
