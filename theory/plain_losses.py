"""Gradients and Hessian-vector products of the built-in losses as readable formulas in plain NumPy, for any arithmetic.

Written without the compiled code and its elementary functions, so that the two can be compared. A loss is a dictionary of plain numbers and lists ("data"),
which a certificate stores as it is; :func:`plain_loss` turns it into functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from stepbias.theory.arithmetic import Arithmetic, Array

FORMULAS = {
    "ridge": "E_b(theta) = decay/2 |theta|^2 + sum over the units u of the segments of batch b of amplitude[u] phi(sum_j weight[j][u] theta_j + offset[u]); "
    "a segment is [phi, b, first u, last u + 1]; "
    "phi: sine sin z, softplus log(1 + exp z), log-cosh log cosh z, gaussian exp(-z^2/2), square z^2/2, tanh, abs |z|, relu max(z, 0)",
    "log-sum-exp": "E_b(theta) = amplitude[b] log sum_i exp(sum_j weight[j][i] theta_j + offset[b][i])",
    "tanh-network": "E_b(theta) = mean over d of (f(x[b][d]) - y[b][d])^2 / 2, f(x) = sum of o tanh(w x + c) over the triples (w, c, o) of theta in order; "
    "o = 1 and c = 0 where the last triple is incomplete",
    "bilinear": "E(theta) = (y - theta_1 theta_2 x)^2 / 2",
    "symbolic": "E_b(theta) = expressions[b], SymPy syntax, in the symbols listed",
}


class PlainLoss(Protocol):
    """m losses on R^p in one arithmetic."""

    dim: int
    batches: int

    def gradients(self, theta: Array) -> Array:
        """Gradients of all batches at theta (p,): (m, p)."""
        ...

    def products(self, theta: Array, vectors: Array) -> Array:
        """Hessian of batch b times vectors[..., b, :]: (..., m, p)."""
        ...


# phi', phi'' of the ridge losses ------------------------------------------------------------------

Slopes = Callable[[Array, Arithmetic], tuple[Array, Array]]


def _sine(z: Array, f: Arithmetic) -> tuple[Array, Array]:
    return f.cos(z), -f.sin(z)


def _softplus(z: Array, f: Arithmetic) -> tuple[Array, Array]:
    s = 1 / (1 + f.exp(-z))
    return s, s * (1 / (1 + f.exp(z)))


def _log_cosh(z: Array, f: Arithmetic) -> tuple[Array, Array]:
    t = f.tanh(z)
    return t, 1 - t * t


def _gaussian(z: Array, f: Arithmetic) -> tuple[Array, Array]:
    g = f.exp(-z * z / 2)
    return -z * g, (z * z - 1) * g


def _square(z: Array, f: Arithmetic) -> tuple[Array, Array]:
    return z, 1 + 0 * z


def _tanh(z: Array, f: Arithmetic) -> tuple[Array, Array]:
    t = f.tanh(z)
    return 1 - t * t, -2 * t * (1 - t * t)


def _abs(z: Array, f: Arithmetic) -> tuple[Array, Array]:
    return np.where(np.signbit(z.astype(np.float64)), -1 + 0 * z, 1 + 0 * z), 0 * z


def _relu(z: Array, f: Arithmetic) -> tuple[Array, Array]:
    return (_abs(z, f)[0] + 1) / 2, 0 * z


SLOPES: dict[str, Slopes] = {
    "sine": _sine,
    "softplus": _softplus,
    "log-cosh": _log_cosh,
    "gaussian": _gaussian,
    "square": _square,
    "tanh": _tanh,
    "abs": _abs,
    "relu": _relu,
}


class Ridge:
    """Sums of functions of one projection each; a gradient is a sum of weights, a Hessian of their outer products."""

    def __init__(self, data: Mapping[str, Any], numbers: Arithmetic) -> None:
        self.numbers = numbers
        self.offset, self.amplitude, self.weight = (
            numbers.real(data[name]) for name in ("offset", "amplitude", "weight")
        )
        self.decay = numbers.real(data["decay"])
        self.segments = [
            (SLOPES[kind], int(b), int(i), int(k)) for kind, b, i, k in data["segments"]
        ]
        self.dim, self.batches = len(self.weight), int(data["batches"])
        member = np.zeros((self.batches, len(self.offset)))
        for _, b, first, last in self.segments:
            member[b, first:last] = 1.0
        self.member = numbers.real(member)  # which units belong to batch b

    def _slopes(self, theta: Array) -> tuple[Array, Array]:
        """a phi'(z) and a phi''(z) of every unit."""
        z = theta @ self.weight + self.offset
        pairs = [slopes(z[first:last], self.numbers) for slopes, _, first, last in self.segments]
        first_order, second_order = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        return self.amplitude * first_order, self.amplitude * second_order

    def gradients(self, theta: Array) -> Array:
        """See :class:`PlainLoss`."""
        slope, _ = self._slopes(theta)
        return (self.member * slope) @ self.weight.T + self.decay * theta

    def products(self, theta: Array, vectors: Array) -> Array:
        """See :class:`PlainLoss`."""
        _, curvature = self._slopes(theta)
        along = vectors @ self.weight  # w_u . v_b, (..., m, units)
        return (self.member * curvature * along) @ self.weight.T + self.decay * vectors


class LogSumExp:
    """Smooth maxima of affine functions; pi are the probabilities of the rows."""

    def __init__(self, data: Mapping[str, Any], numbers: Arithmetic) -> None:
        self.numbers = numbers
        self.weight, self.offset, self.amplitude = (
            numbers.real(data[name]) for name in ("weight", "offset", "amplitude")
        )
        self.dim, self.batches = len(self.weight), len(self.amplitude)

    def _probabilities(self, theta: Array) -> Array:
        x = theta @ self.weight + self.offset
        e = self.numbers.exp(x - x.max(axis=1)[:, None])
        return e / e.sum(axis=1)[:, None]

    def gradients(self, theta: Array) -> Array:
        """See :class:`PlainLoss`."""
        return self.amplitude[:, None] * (self._probabilities(theta) @ self.weight.T)

    def products(self, theta: Array, vectors: Array) -> Array:
        """See :class:`PlainLoss`: the covariance of the rows under pi, times v."""
        pi = self._probabilities(theta)
        along = vectors @ self.weight
        mean = (pi * along).sum(axis=-1)[..., None]
        return self.amplitude[:, None] * ((pi * (along - mean)) @ self.weight.T)


class TanhNetwork:
    """Least squares of a small network: H v = mean of J (J v) + r (second derivative of f along v)."""

    def __init__(self, data: Mapping[str, Any], numbers: Arithmetic) -> None:
        self.numbers = numbers
        self.x, self.y = numbers.real(data["x"]), numbers.real(data["y"])
        self.dim, self.batches = int(data["dim"]), len(self.x)

    def _triples(self, vector: Array, missing: tuple[float, float]) -> tuple[Array, Array, Array]:
        """(w, c, o), each (..., K); ``missing`` stands for c and o where the last triple lacks them."""
        lacking = -self.dim % 3
        tail = np.broadcast_to(
            self.numbers.real([missing[2 - lacking + i] for i in range(lacking)]),
            (*vector.shape[:-1], lacking),
        )
        full = np.concatenate([vector, tail], axis=-1) if lacking else vector
        return full[..., 0::3], full[..., 1::3], full[..., 2::3]

    def _joined(self, parts: tuple[Array, Array, Array]) -> Array:
        """Back to (..., p)."""
        stacked = np.stack(parts, axis=-1)
        return stacked.reshape(*stacked.shape[:-2], -1)[..., : self.dim]

    def _forward(self, theta: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Weights o, input x (m, D, 1), tanh s and its slope d (m, D, K), residual r (m, D)."""
        w, c, o = self._triples(theta, (0.0, 1.0))
        x = self.x[:, :, None]
        s = self.numbers.tanh(w * x + c)
        return o, x, s, 1 - s * s, (o * s).sum(axis=-1) - self.y

    def gradients(self, theta: Array) -> Array:
        """See :class:`PlainLoss`."""
        o, x, s, d, r = self._forward(theta)
        jacobian = self._joined((o * d * x, o * d, s))
        return (r[:, :, None] * jacobian).sum(axis=1) / self.x.shape[1]

    def products(self, theta: Array, vectors: Array) -> Array:
        """See :class:`PlainLoss`."""
        o, x, s, d, r = self._forward(theta)
        jacobian = self._joined((o * d * x, o * d, s))
        along = (jacobian * vectors[..., :, None, :]).sum(axis=-1)
        v, c, q = (part[..., :, None, :] for part in self._triples(vectors, (0.0, 0.0)))
        u = v * x + c
        bent = d * q - 2 * o * s * d * u
        curved = self._joined((bent * x, bent, d * u))
        total = jacobian * along[..., None] + r[:, :, None] * curved
        return total.sum(axis=-2) / self.x.shape[1]


class Bilinear:
    """The two-parameter example."""

    dim, batches = 2, 1

    def __init__(self, data: Mapping[str, Any], numbers: Arithmetic) -> None:
        self.x, self.y = numbers.real(data["x"]), numbers.real(data["y"])

    def gradients(self, theta: Array) -> Array:
        """See :class:`PlainLoss`."""
        return self.x * (self.x * theta[0] * theta[1] - self.y) * theta[None, ::-1]

    def products(self, theta: Array, vectors: Array) -> Array:
        """See :class:`PlainLoss`."""
        x, (s, t) = self.x, theta
        mixed = 2 * x * x * s * t - x * self.y
        hessian = np.stack([np.stack([x * x * t * t, mixed]), np.stack([mixed, x * x * s * s])])
        return vectors @ hessian


class Symbolic:
    """Expressions, differentiated by SymPy; constants are numbers of the arithmetic (1/3 is not rounded to a double).

    Raises
    ------
    ValueError
        Where a function has no form in this arithmetic.
    """

    def __init__(self, data: Mapping[str, Any], numbers: Arithmetic) -> None:
        import sympy

        names = list(data["symbols"])
        symbols = [sympy.Symbol(name) for name in names]
        expressions = [
            sympy.sympify(text, locals=dict(zip(names, symbols, strict=True)))
            for text in data["expressions"]
        ]
        self.numbers, self.dim, self.batches = numbers, len(names), len(expressions)
        gradients = [sympy.diff(e, s) for e in expressions for s in symbols]
        hessians = [sympy.diff(g, s) for g in gradients for s in symbols]
        self._gradient = _function(gradients, symbols, numbers)
        self._hessian = _function(hessians, symbols, numbers)

    def gradients(self, theta: Array) -> Array:
        """See :class:`PlainLoss`."""
        return self._gradient(theta).reshape(self.batches, self.dim)

    def products(self, theta: Array, vectors: Array) -> Array:
        """See :class:`PlainLoss`."""
        hessians = self._hessian(theta).reshape(self.batches, self.dim, self.dim)
        return (hessians * vectors[..., None, :]).sum(axis=-1)


def _function(
    expressions: list[Any], symbols: list[Any], numbers: Arithmetic
) -> Callable[[Array], Array]:
    """Function of theta that returns the expressions' values, (count,)."""
    import sympy
    from sympy.printing.pycode import PythonCodePrinter

    class Printer(PythonCodePrinter):
        """Every constant as a number of the arithmetic."""

        def _print_Integer(self, expr: Any) -> str:
            return f"real({int(expr)})"

        def _print_Rational(self, expr: Any) -> str:
            return f"(real({expr.p})/real({expr.q}))"

        _print_Half = _print_Rational  # noqa: N815  (SymPy's names)

        def _print_Float(self, expr: Any) -> str:
            return f"real({str(expr.n(30))!r})"

        def _print_NumberSymbol(self, expr: Any) -> str:
            return f"real({str(expr.n(40))!r})"

        _print_Pi = _print_Exp1 = _print_NumberSymbol  # noqa: N815

        def _print_Pow(self, expr: Any, rational: bool = False) -> str:
            if expr.exp.is_Integer:
                return f"({self._print(expr.base)})**({int(expr.exp)})"
            if expr.exp == sympy.S.Half:
                return f"sqrt({self._print(expr.base)})"
            return f"({self._print(expr.base)})**({self._print(expr.exp)})"

    printer = Printer({"fully_qualified_modules": False, "strict": True})
    clean = {s: sympy.Symbol(f"t{j}") for j, s in enumerate(symbols)}
    code = [printer.doprint(e.xreplace(clean)) for e in expressions]
    used = {type(f).__name__ for e in expressions for f in e.atoms(sympy.Function)} | {"sqrt"}
    scope: dict[str, Any] = {"real": numbers.real, "__builtins__": {}}
    for name in used:
        try:
            scope[name] = numbers.function(name)
        except AttributeError:
            raise ValueError(f"{name} has no form in the arithmetic {numbers.name}") from None
    arguments = ", ".join(f"t{j}" for j in range(len(symbols)))
    compiled = eval(f"lambda {arguments}: [{', '.join(code)}]", scope)
    return lambda theta: numbers.real(compiled(*theta))


KINDS: dict[str, Callable[[Mapping[str, Any], Arithmetic], PlainLoss]] = {
    "ridge": Ridge,
    "log-sum-exp": LogSumExp,
    "tanh-network": TanhNetwork,
    "bilinear": Bilinear,
    "symbolic": Symbolic,
}


def plain_loss(data: Mapping[str, Any], numbers: Arithmetic) -> PlainLoss:
    """The loss that ``data`` describes.

    Parameters
    ----------
    data : mapping
        With the key "kind", one of :data:`KINDS`, and the arrays that :data:`FORMULAS` names. Expressions of kind "symbolic" are read by SymPy, which
        evaluates them as Python: do not load those of people you do not trust.
    numbers : Arithmetic

    Raises
    ------
    ValueError
        For an unknown kind or activation.
    """
    kind = data.get("kind")
    if kind not in KINDS:
        raise ValueError(f"kind = {kind!r}; accepted: {', '.join(KINDS)}")
    unknown = {segment[0] for segment in data.get("segments", ())} - set(SLOPES)
    if unknown:
        raise ValueError(
            f"activations {sorted(unknown)} are unknown; accepted: {', '.join(SLOPES)}"
        )
    return KINDS[kind](data, numbers)
