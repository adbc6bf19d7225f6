r"""One epoch of SGD over m mini-batches in a random order: its mean over all m! orders, to third order in the step size.

Sources: Smith, Dherin, Barrett, De, "On the Origin of Implicit Regularization in Stochastic Gradient Descent", as quoted by Cattaneo, Klusowski, Shigida,
"On the Implicit Bias of Adam", Section 1: the mean iterate after one epoch is within O(m^3 h^3) of the flow of

.. math:: \tilde E = E + \frac{h}{4m} \sum_k \|\nabla \hat E_k\|^2,\qquad E = \frac1m \sum_k \hat E_k,

at time m h. The rest is derived here. Let g_a, H_a, T_a be the first three derivatives of batch a at the start. In the order of an epoch,

.. math:: \theta^{(m)} - \theta^{(0)} = -h \sum_k g_k + h^2 \sum_{j<k} H_k g_j - h^3 \Big[\sum_{i<j<k} H_k H_j g_i
          + \tfrac12 \sum_k \sum_{i,j<k} T_k[g_i, g_j]\Big] + O(h^4).

A random order puts j before k in half of the orders and i before j before k in a sixth of them, so the mean has -h m g + (h^2/2)(sum over a != b of
H_a g_b) and sums over distinct indices beyond. The flow of E + (h/4m) sum |g_k|^2 agrees with it through h^2, and differs by h^3 D with

.. math:: D = \sum_{a,b} \tfrac1{12}\big\{ 2 H_a H_b g_a - H_a H_a g_b - H_a H_b g_b + T_a[g_a, g_b] - T_a[g_b, g_b]\big\}
          - \sum_a \big\{\tfrac13 H_a H_a g_a + \tfrac1{12} T_a[g_a, g_a]\big\}.

Triple sums have cancelled: D grows like m^2, one power less than the bound. With k copies of each of a few batches D is exactly k^2 A - k B, where A and B
are the double and the single sum over the batches themselves: the correction to m^2 for finite m is 1/k. For m = 1 it is the third-order term of
gradient descent, -H H g / 3 - T[g, g] / 12.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.checks import whole

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
# T_a[u, v] for a batch a and two (B, p) arrays
Third = Callable[[int, Floats, Floats], Floats]

LARGEST_EXACT = 8  # 8! = 40320 orders


def all_orders(batches: int) -> Integers:
    """All m! orders of m batches, (m!, m) int64, in lexicographic order; m at most 8."""
    whole("batches", batches, 1, LARGEST_EXACT)
    return np.array(list(permutations(range(batches))), dtype=np.int64)


def random_orders(batches: int, count: int, rng: np.random.Generator) -> Integers:
    """``count`` independent uniform orders of m batches, (count, m) int64."""
    whole("batches", batches, 1)
    whole("count", count, 1)
    return rng.permuted(np.tile(np.arange(batches, dtype=np.int64), (count, 1)), axis=1)


class MeanField(NamedTuple):
    """A field -sum_a lead[a] g_a - h sum_a H_a sum_b bias[a, b] g_b."""

    lead: Floats  # (m,)
    bias: Floats  # (m, m)


class Weights(NamedTuple):
    """bias[a, b] = own / m where a = b, plus pairs / m^2."""

    own: float
    pairs: float


FIELDS: dict[str, Callable[[int], Weights]] = {
    # grad (h/4m) sum_k |g_k|^2 = (h/2m) sum_k H_k g_k
    "": lambda m: Weights(0.5, 0.0),
    # grad (h/4m) sum_k |grad E|^2 = (h/2) H g
    "without the index k": lambda m: Weights(0.0, 0.5),
    "no bias term": lambda m: Weights(0.0, 0.0),
    "bias term with the other sign": lambda m: Weights(-0.5, 0.0),
    "h/4 without 1/m": lambda m: Weights(0.5 * m, 0.0),
    "h/2 in place of h/4": lambda m: Weights(1.0, 0.0),
}
"""The field of the modified loss by name: the statement (""), and wrong variants."""


def weights(name: str, batches: int) -> Weights:
    """One of :data:`FIELDS` for m batches."""
    if name not in FIELDS:
        raise ValueError(f"field = {name!r}; accepted: {', '.join(map(repr, FIELDS))}")
    return FIELDS[name](whole("batches", batches, 1))


def mean_field(name: str, batches: int) -> MeanField:
    """One of :data:`FIELDS` for m batches, as arrays."""
    own, pairs = weights(name, batches)
    m = batches
    bias = own * np.eye(m) / m + pairs * np.ones((m, m)) / m**2
    return MeanField(np.full(m, 1.0 / m), bias)


class Defect(NamedTuple):
    """The two parts of D = double - single, each (B, p)."""

    double: Floats
    single: Floats


def third_order(g: Floats, H: Floats, third: Third) -> Defect:
    """The coefficient D of h^3 in (mean over all orders) - (flow of the modified loss at time m h).

    Parameters
    ----------
    g : (m, B, p) float64
        Gradients of the batches at the start, of B problems.
    H : (m, B, p, p) float64
    third : callable
        ``third(a, u, v)`` is T_a[u, v], (B, p).

    Returns
    -------
    Defect
    """
    m = len(g)

    def apply(a: int, v: Floats) -> Floats:
        return np.einsum("bij,bj->bi", H[a], v)

    double, single = np.zeros((2, *g.shape[1:]))
    for a in range(m):
        for b in range(m):
            products = 2.0 * apply(a, apply(b, g[a])) - apply(a, apply(a, g[b]) + apply(b, g[b]))
            double += (products + third(a, g[a], g[b]) - third(a, g[b], g[b])) / 12.0
        single += apply(a, apply(a, g[a])) / 3.0 + third(a, g[a], g[a]) / 12.0
    return Defect(double, single)


DEFECTS: dict[str, tuple[float, float]] = {
    "": (1.0, -1.0),
    "no double sum": (0.0, -1.0),
    "no single sum": (1.0, 0.0),
    "single sum with the other sign": (1.0, 1.0),
}
"""Factors on the double and the single sum of D by name: the statement (""), and wrong variants."""


def remainder_constant(m: int, h: float, bounds: Sequence[Any]) -> Any:
    r"""C with |mean over all orders - flow of the modified loss at time m h| <= C (m h)^3, proved below.

    Parameters
    ----------
    m : int
    h : float
    bounds : four floats (or arrays)
        G, L, K, Q: bounds on the norms of the first four derivatives of every batch, as multilinear maps, over a ball about the start that holds
        everything.

    Returns
    -------
    float

    Notes
    -----
    With T = m h. **Iterates**: |theta^(k) - theta^(0)| <= k h G. Replacing each gradient by its Taylor polynomial leaves, after the step k, at most
    h (L^2 G + K G^2) (k h)^2 / 2, summed over k at most T^3 (L^2 G + K G^2) / 6. **Flow** of f = -(g + h v), v = (1/2m) sum H_a g_a, |v| <= L G / 2,
    |v'| <= (K G + L^2) / 2, |v''| <= (Q G + 3 K L) / 2: theta(T) = theta + T f + T^2 f' f / 2 + R with |R| <= T^3 sup|f''[f, f] + f' f' f| / 6, and of
    f' f the terms h (H v + v' g) + h^2 v' v are not in the common polynomial; they carry T^2 h = T^3 / m.
    """
    G, L, K, Q = (np.asarray(b, dtype=np.float64) for b in bounds)
    v, v1, v2 = L * G / 2, (K * G + L * L) / 2, (Q * G + 3 * K * L) / 2
    iterates = (L * L * G + K * G * G) / 6
    beyond = (L * v + v1 * G + h * v1 * v) / (2 * m)
    f, f1, f2 = G + h * v, L + h * v1, K + h * v2
    flow = (f2 * f * f + f1 * f1 * f) / 6
    return iterates + beyond + flow


class Quadratics(NamedTuple):
    """One-dimensional batches a_b theta^2 / 2 + c_b theta, each ``copies`` times."""

    a: Sequence[Any]
    c: Sequence[Any]
    copies: int

    @property
    def batches(self) -> int:
        """m."""
        return len(self.a) * self.copies


def quadratic_mean(losses: Quadratics, theta: Any, h: Any, terms: int | None = None) -> Any:
    r"""Mean over all m! orders of one epoch on one-dimensional quadratics, without walking one of them.

    An epoch maps theta to the product of 1 - h a_b, whatever the order, times theta, minus h c_b times the product over the batches after b. Let every batch
    arrive at an independent uniform time: each other batch is later than time 1 - s with probability s, so

    .. math:: \overline{\theta^{(m)}} = \prod_b (1 - h a_b)\,\theta - h \sum_b c_b \int_0^1 \prod_{i \ne b} (1 - s h a_i)\, ds.

    Parameters
    ----------
    losses : Quadratics
        Numbers of any exact or multi-precision type.
    theta, h : number of the same type
    terms : int, optional
        Coefficients of the products, as polynomials in s, that are kept; the first one left out is at most (m h max|a|)^terms / terms!. None: all, and the
        result is exact, at a cost of O(m^2).

    Returns
    -------
    number of the same type
    """
    product = [1 + 0 * theta]
    for a in losses.a:
        for _ in range(losses.copies):
            product = _times_linear(product, -h * a)[:terms]
    last = sum(product) * theta
    for a, c in zip(losses.a, losses.c, strict=True):
        rest = _over_linear(product, -h * a)
        # the product has m + 1 coefficients, the rest has m: the last one of a full division is its remainder, 0
        integral = sum((entry / (r + 1) for r, entry in enumerate(rest)), 0 * theta)
        last = last - h * losses.copies * c * integral
    return last


def _times_linear(polynomial: list[Any], slope: Any) -> list[Any]:
    """Coefficients of polynomial(s) (1 + slope s)."""
    longer = [*polynomial, 0 * slope]
    return [
        entry + slope * before
        for entry, before in zip(longer, [0 * slope, *polynomial], strict=True)
    ]


def _over_linear(polynomial: list[Any], slope: Any) -> list[Any]:
    """Coefficients of polynomial(s) / (1 + slope s), as many as were given."""
    quotient = polynomial[:1]
    for entry in polynomial[1:]:
        quotient.append(entry - slope * quotient[-1])
    return quotient


def quadratic_defect(losses: Quadratics, theta: Any) -> tuple[Any, Any]:
    """(A, B) of D = k^2 A - k B for k copies of one-dimensional quadratics: the double and the single sum over one copy."""
    a = losses.a
    g = [x * theta + c for x, c in zip(a, losses.c, strict=True)]
    mixed = sum(x * y for x, y in zip(a, g, strict=True))
    squares = sum(x * x for x in a)
    double = (sum(a) * mixed - squares * sum(g)) / 12
    return double, sum(x * x * y for x, y in zip(a, g, strict=True)) / 3


def quadratic_rates(name: str, losses: Quadratics, h: Any) -> tuple[Any, Any]:
    """(A, C) of the linear equation theta' = -A theta - C of one of :data:`FIELDS` on one-dimensional quadratics."""
    count = len(losses.a)
    # twice the weights are integers, which stay exact with fractions
    own, pairs = (int(2.0 * weight) for weight in weights(name, losses.batches))
    a, c = sum(losses.a) / count, sum(losses.c) / count
    squares = sum(x * x for x in losses.a) / count
    mixed = sum(x * y for x, y in zip(losses.a, losses.c, strict=True)) / count
    return a + h * (own * squares + pairs * a * a) / 2, c + h * (own * mixed + pairs * a * c) / 2
