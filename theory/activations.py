"""Activations phi of the ridge losses E(theta) = sum_u a_u phi(w_u . theta + c_u): value, slope, curvature, bounds.

The formulas are plain scalar functions. The elementary functions they call are module-level names, NumPy's here;
:mod:`stepbias.kernels.bind` compiles the same code with the vectorisable ones of :mod:`stepbias.kernels.elementary`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SINE, SOFTPLUS, LOG_COSH, GAUSSIAN, SQUARE, TANH, ABS, RELU = range(8)
NAMES = ("sine", "softplus", "log-cosh", "gaussian", "square", "tanh", "abs", "relu")
# Activations whose slope jumps at 0: the theorems' "bounded derivatives" fails there, on purpose.
KINKED = (ABS, RELU)

# A supremum is attained at an end of the interval or at a tabulated point; both carry rounding errors.
_ROUNDING = 1.0 + 1e-13


copysign: Any = np.copysign


def sincos(x: Any) -> Any:
    """Sine and cosine."""
    return np.sin(x), np.cos(x)


def exp(x: Any) -> Any:
    """Exponential."""
    return np.exp(x)


def log1p(x: Any) -> Any:
    """log(1 + x) for x >= 0."""
    return np.log1p(x)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return np.tanh(x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


# value --------------------------------------------------------------------------------------------


def sine(z: Any) -> Any:
    """sin z."""
    return sincos(z)[0]


def softplus(z: Any) -> Any:
    """log(1 + e^z), the logistic loss of a margin -z."""
    return 0.5 * (z + abs(z)) + log1p(exp(-abs(z)))


def log_cosh(z: Any) -> Any:
    """log cosh z."""
    return abs(z) + (log1p(exp(-2.0 * abs(z))) - 0.6931471805599453)


def gaussian(z: Any) -> Any:
    """exp(-z^2 / 2)."""
    return exp(-0.5 * z * z)


def square(z: Any) -> Any:
    """z^2 / 2."""
    return 0.5 * z * z


def hyperbolic(z: Any) -> Any:
    """tanh z."""
    return tanh(z)


def absolute(z: Any) -> Any:
    """|z|."""
    return abs(z)


def relu(z: Any) -> Any:
    """max(z, 0)."""
    return 0.5 * (z + abs(z))


# slope and curvature ------------------------------------------------------------------------------


def sine_slopes(z: Any) -> Any:
    """phi', phi'' of :func:`sine`."""
    s, c = sincos(z)
    return c, -s


def softplus_slopes(z: Any) -> Any:
    """phi', phi'' of :func:`softplus`: the logistic function and its density."""
    s = sigmoid(z)
    return s, s * sigmoid(-z)


def log_cosh_slopes(z: Any) -> Any:
    """phi', phi'' of :func:`log_cosh`."""
    t = tanh(z)
    return t, (1.0 - t) * (1.0 + t)


def gaussian_slopes(z: Any) -> Any:
    """phi', phi'' of :func:`gaussian`."""
    g = exp(-0.5 * z * z)
    return -z * g, (z * z - 1.0) * g


def square_slopes(z: Any) -> Any:
    """phi', phi'' of :func:`square`."""
    return z, 1.0


def hyperbolic_slopes(z: Any) -> Any:
    """phi', phi'' of :func:`hyperbolic`."""
    t = tanh(z)
    d = (1.0 - t) * (1.0 + t)
    return d, -2.0 * t * d


def absolute_slopes(z: Any) -> Any:
    """phi', phi'' of :func:`absolute` off 0: the sign, and 0; at +-0 the slope of the side of that sign."""
    return copysign(1.0, z), 0.0


def relu_slopes(z: Any) -> Any:
    """phi', phi'' of :func:`relu` off 0: a step, and 0."""
    return 0.5 + copysign(0.5, z), 0.0


VALUES: tuple[Callable[[Any], Any], ...] = (
    sine,
    softplus,
    log_cosh,
    gaussian,
    square,
    hyperbolic,
    absolute,
    relu,
)
SLOPES: tuple[Callable[[Any], Any], ...] = (
    sine_slopes,
    softplus_slopes,
    log_cosh_slopes,
    gaussian_slopes,
    square_slopes,
    hyperbolic_slopes,
    absolute_slopes,
    relu_slopes,
)

# suprema ------------------------------------------------------------------------------------------
# Derivatives of tanh are polynomials in t = tanh z: q_0 = t, q_{k+1} = q_k' (1 - t^2). Those of the Gaussian are
# polynomials times the Gaussian: h_0 = 1, h_{k+1} = h_k' - z h_k.


def _tanh_polynomials(count: int) -> list[Polynomial]:
    rows = [Polynomial([0.0, 1.0])]
    for _ in range(count):
        rows.append(rows[-1].deriv() * Polynomial([1.0, 0.0, -1.0]))
    return rows


def _hermite_polynomials(count: int) -> list[Polynomial]:
    rows = [Polynomial([1.0])]
    for _ in range(count):
        rows.append(rows[-1].deriv() - Polynomial([0.0, 1.0]) * rows[-1])
    return rows


def _real_roots(polynomial: Polynomial) -> list[float]:
    roots = polynomial.roots()
    return [float(r.real) for r in roots if abs(r.imag) < 1e-9]


_TANH = _tanh_polynomials(5)
_HERMITE = _hermite_polynomials(5)
# Where the derivative of order k of tanh is extremal: the zeros of the next one inside (-1, 1).
_TANH_POINTS = [
    [math.atanh(t) for t in _real_roots(_TANH[k].deriv()) if abs(t) < 1.0] for k in range(5)
]
_GAUSSIAN_POINTS = [_real_roots(_HERMITE[k + 1]) for k in range(5)]


def _sup(
    function: Callable[[Any], Any], points: list[float], lower: Floats, upper: Floats
) -> Floats:
    """Largest |function| on [lower, upper], given all its critical points."""
    best = np.maximum(np.abs(function(lower)), np.abs(function(upper)))
    for point in points:
        inside = (lower <= point) & (point <= upper)
        best = np.where(inside, np.maximum(best, abs(function(np.float64(point)))), best)
    return np.asarray(best)


def _sup_sine(shift: float, lower: Floats, upper: Floats) -> Floats:
    """Largest |sin(z + shift)|: 1 if an odd multiple of pi/2 is inside."""
    low, high = lower + shift, upper + shift
    peak = np.floor(high / np.pi - 0.5) >= np.ceil(low / np.pi - 0.5)
    return np.asarray(np.where(peak, 1.0, np.maximum(np.abs(np.sin(low)), np.abs(np.sin(high)))))


def supremum(kind: int, order: int, lower: Floats, upper: Floats) -> Floats:
    """Largest absolute value of the derivative of an activation over an interval.

    Parameters
    ----------
    kind : int
        ``SINE`` .. ``RELU``.
    order : int
        Order of the derivative, 0 .. 4.
    lower, upper : float64 arrays of one shape
        Ends of the intervals of z, lower <= upper.

    Returns
    -------
    float64 array of the same shape; attained, up to a rounding allowance of 1e-13 relative; inf for an order >= 2 over a kink.
    """
    if not 0 <= order <= 4:
        raise ValueError(f"order = {order}; accepted: 0 to 4")
    if kind == SINE:
        best = _sup_sine(0.5 * np.pi * order, lower, upper)
    elif kind == GAUSSIAN:
        best = _sup(
            lambda z: _HERMITE[order](z) * np.exp(-0.5 * z * z),
            _GAUSSIAN_POINTS[order],
            lower,
            upper,
        )
    elif kind == SQUARE:
        best = _sup(
            (square, abs, np.ones_like, np.zeros_like, np.zeros_like)[order], [0.0], lower, upper
        )
    elif kind == TANH:
        best = _sup_tanh(order, 1.0, lower, upper)
    elif kind == LOG_COSH:
        best = (
            _sup(log_cosh, [0.0], lower, upper)
            if order == 0
            else _sup_tanh(order - 1, 1.0, lower, upper)
        )
    elif kind == SOFTPLUS:
        # softplus' = 1/2 + tanh(z/2)/2, so the derivative of order k >= 2 is 2^-k times that of tanh of order k - 1
        if order < 2:
            best = np.abs((softplus, sigmoid)[order](upper))
        else:
            best = 0.5**order * _sup_tanh(order - 1, 0.5, lower, upper)
    elif kind in KINKED:
        best = _sup_kinked(kind, order, lower, upper)
    else:
        raise ValueError(f"kind = {kind!r}; accepted: 0 to {len(NAMES) - 1}")
    return np.asarray(best * _ROUNDING)


def _sup_tanh(order: int, scale: float, lower: Floats, upper: Floats) -> Floats:
    return _sup(
        lambda z: _TANH[order](np.tanh(z)), _TANH_POINTS[order], scale * lower, scale * upper
    )


def _sup_kinked(kind: int, order: int, lower: Floats, upper: Floats) -> Floats:
    """The slope jumps at 0, so beyond order 1 there is no bound on an interval that holds 0."""
    if order >= 2:
        return np.where((lower <= 0.0) & (upper >= 0.0), np.inf, 0.0)
    function = (VALUES[kind], lambda z: SLOPES[kind](z)[0])[order]
    return np.asarray(np.maximum(np.abs(function(lower)), np.abs(function(upper))))
