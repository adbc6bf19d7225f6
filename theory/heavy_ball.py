r"""Gradient descent with heavy-ball momentum on the full batch: its modified equation from first principles, and in closed form.

The iteration theta^(n+1) = theta^(n) - h grad E(theta^(n)) + beta (theta^(n) - theta^(n-1)), theta^(-1) = theta^(0), is theta^(n+1) = theta^(n) - h F^(n) with
F^(n) = sum over k <= n of beta^(n-k) grad E(theta^(k)). Taken at one theta this is

.. math:: F^{(n)} = s_n g,\qquad s_n = \sum_{k \le n} \beta^{n-k},\qquad g = \nabla E(\theta).

An earlier iterate is theta^(k) = theta^(n) + h sum over k <= s < n of F^(s) + O(h^2), so that beside F^(n) the step holds

.. math:: h\, H \sum_{k \le n} \beta^{n-k} \sum_{s=k}^{n-1} s_s\, g,\qquad H = \nabla^2 E(\theta),

and an equation whose time-h map is theta - h G is theta' = -(G + (h/2) G' G + O(h^2)), which adds (h/2) s_n^2 H g. On [n h, (n+1) h] therefore

.. math:: \dot\theta = -s_n g - h d_n H g,\qquad d_n = \sum_{k \le n} \beta^{n-k} \sum_{s=k}^{n-1} s_s + \tfrac12 s_n^2.

Gradient descent is beta = 0: s_n = 1, d_n = 1/2, and (1/2) H g is the gradient of |g|^2 / 4.

Sources: Ghosh, Lyu, Zhang, Wang, "Implicit Regularization in Heavy-Ball Momentum Accelerated Stochastic Gradient Descent", Theorem 4.1, as quoted by
Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Sections 1 and 5; Barrett, Dherin, "Implicit Gradient Regularization" (beta = 0).

Functions accept floats and fractions alike, and return what they were given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Number = Any  # float or Fraction
Coefficients = tuple[Number, Number]
Law = Callable[[int, Number], Coefficients]


def _checked(n: int, beta: Number) -> None:
    if n < 0:
        raise ValueError(f"n = {n!r}; accepted: an integer >= 0")
    if not 0 <= beta < 1:
        raise ValueError(f"beta = {beta!r}; accepted: a number in [0, 1)")


def literal_coefficients(n: int, beta: Number) -> Coefficients:
    """(s_n, d_n) by the sums of the derivation: O(n^2) operations."""
    _checked(n, beta)
    sums = [sum((beta ** (s - k) for k in range(s + 1)), 0 * beta) for s in range(n + 1)]
    memory = sum(
        (beta ** (n - k) * sum(sums[k:n], 0 * beta) for k in range(n + 1)),
        0 * beta,
    )
    return sums[n], memory + sums[n] ** 2 / 2


def gamma(n: int, beta: Number) -> Number:
    r""":math:`\gamma_n = (1 - \beta^{2n+2}) - 4(n+1)\beta^{n+1}(1-\beta)/(1+\beta)`, which tends to 1."""
    _checked(n, beta)
    return 1 - beta ** (2 * n + 2) - 4 * (n + 1) * beta ** (n + 1) * (1 - beta) / (1 + beta)


def coefficients(n: int, beta: Number) -> Coefficients:
    r"""(s_n, d_n) in closed form.

    Parameters
    ----------
    n : int
        Step, >= 0.
    beta : float or Fraction
        Momentum, in [0, 1).

    Returns
    -------
    tuple
        :math:`s_n = (1 - \beta^{n+1})/(1 - \beta)` and :math:`d_n = \gamma_n (1+\beta) / (2 (1-\beta)^3)`.
    """
    drag = gamma(n, beta) * (1 + beta) / (2 * (1 - beta) ** 3)
    return (1 - beta ** (n + 1)) / (1 - beta), drag


def limit_coefficients(n: int, beta: Number) -> Coefficients:
    r"""(s, d) for many steps: :math:`\dot\theta = -\frac{g}{1-\beta} - h\frac{1+\beta}{4(1-\beta)^3}\nabla\|g\|^2`; ``n`` is not read."""
    _checked(n, beta)
    return 1 / (1 - beta), (1 + beta) / (2 * (1 - beta) ** 3)


def start_shift(beta: Number) -> Number:
    r"""By how much h g the equation for many steps must start ahead of theta^(0) to meet the iterates after the first steps, to O(h^2).

    The first steps lack :math:`\sum_{n \ge 0} (s_n - \frac1{1-\beta}) = -\beta/(1-\beta)^2`: the equation for many steps, which lacks nothing, has to start
    at :math:`\theta^{(0)} + h \frac{\beta}{(1-\beta)^2} g(\theta^{(0)})`.
    """
    _checked(0, beta)
    return beta / (1 - beta) ** 2


def time_changed(beta: Number, step: Number, root: Number) -> Coefficients:
    r"""Adam's equation for a large epsilon, in the time and the step size of heavy ball: (coefficient of g, coefficient of :math:`\eta H g`).

    Parameters
    ----------
    beta : float or Fraction
        In [0, 1).
    step : float or Fraction
        Heavy ball's step size :math:`\eta` over Adam's h; Example 2.3 of Cattaneo, Klusowski and Shigida says :math:`(1-\beta)/\sqrt\varepsilon`.
    root : float or Fraction
        :math:`\sqrt\varepsilon`.

    Notes
    -----
    Equation (7) of their paper is :math:`\dot\theta = -(g + \frac{h}{4\sqrt\varepsilon}\frac{1+\beta}{1-\beta}\nabla\|g\|^2)/\sqrt\varepsilon` in the time
    t = n h. In the time n eta the right-hand side is divided by eta / h.
    """
    _checked(0, beta)
    lead = 1 / (root * step)
    # h = eta / step, and grad |g|^2 = 2 H g
    drag = (1 + beta) / (1 - beta) / (2 * root) / root / step / step
    return lead, drag


def matching_step(beta: Number, root: Number) -> Number:
    r"""Heavy ball's step size over Adam's when :math:`\sqrt\varepsilon` is large: :math:`(1-\beta)/\sqrt\varepsilon` (Example 2.3)."""
    _checked(0, beta)
    return (1 - beta) / root


STEPS: dict[str, Callable[[Number, Number], Number]] = {
    "": matching_step,
    "step h / sqrt(epsilon)": lambda beta, root: 1 / root,
    "step h (1 - beta) / epsilon": lambda beta, root: (1 - beta) / root**2,
    "step h / (sqrt(epsilon) (1 - beta))": lambda beta, root: 1 / (1 - beta) / root,
}
"""Step sizes of heavy ball over Adam's by name: the statement (""), and wrong variants."""


def _scaled(law: Law, lead: Number, drag: Number) -> Law:
    def scaled(n: int, beta: Number) -> Coefficients:
        s, d = law(n, beta)
        return lead * s, drag * d

    return scaled


def _late_start(n: int, beta: Number) -> Coefficients:
    """The n-dependent leading coefficient with the O(h) coefficient of many steps (gamma_n replaced by 1)."""
    return coefficients(n, beta)[0], limit_coefficients(n, beta)[1]


def _without_cross_term(n: int, beta: Number) -> Coefficients:
    """gamma_n without its second part."""
    drag = (1 - beta ** (2 * n + 2)) * (1 + beta) / (2 * (1 - beta) ** 3)
    return coefficients(n, beta)[0], drag


def _short_sum(n: int, beta: Number) -> Coefficients:
    """gamma_n with n for n + 1 in its second part."""
    short = 1 - beta ** (2 * n + 2) - 4 * n * beta ** (n + 1) * (1 - beta) / (1 + beta)
    return coefficients(n, beta)[0], short * (1 + beta) / (2 * (1 - beta) ** 3)


def _power(n: int, beta: Number) -> Coefficients:
    """gamma_n with beta^(n+1) for beta^(2n+2)."""
    wrong = gamma(n, beta) + beta ** (2 * n + 2) - beta ** (n + 1)
    return coefficients(n, beta)[0], wrong * (1 + beta) / (2 * (1 - beta) ** 3)


def _square(n: int, beta: Number) -> Coefficients:
    lead, drag = limit_coefficients(n, beta)
    return lead, drag * (1 - beta)


FIELDS: dict[str, Law] = {
    "": coefficients,
    "no bias term": _scaled(coefficients, 1, 0),
    "bias term with the other sign": _scaled(coefficients, 1, -1),
    "h/2 in place of h/4": _scaled(coefficients, 1, 2),
    "gamma = 1": _late_start,
    "gamma without its second part": _without_cross_term,
    "n for n + 1 in gamma": _short_sum,
    "beta^(n+1) for beta^(2n+2) in gamma": _power,
    "many steps": limit_coefficients,
    "many steps, no bias term": _scaled(limit_coefficients, 1, 0),
    "many steps, bias term with the other sign": _scaled(limit_coefficients, 1, -1),
    "many steps, (1 - beta)^2 for (1 - beta)^3": _square,
    "many steps, without minus signs": _scaled(limit_coefficients, -1, -1),
}
"""Coefficients of the equation by name: the statement (""), the equation for many steps, and wrong variants of both."""


def tables(name: str, steps: int, beta: float) -> tuple[list[float], list[float]]:
    """(s_n) and (d_n) for n = 0 .. steps - 1, of one of :data:`FIELDS`."""
    if name not in FIELDS:
        raise ValueError(f"field = {name!r}; accepted: {', '.join(map(repr, FIELDS))}")
    pairs = [FIELDS[name](n, beta) for n in range(steps)]
    return [float(s) for s, _ in pairs], [float(d) for _, d in pairs]
