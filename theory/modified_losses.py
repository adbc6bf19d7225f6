r"""What the bias of full-batch Adam and RMSProp penalises: modified losses for small and large epsilon, and the sign of their coefficient.

Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", section 2 (equations 3 to 7, Table 1, Figure 1); the split of RMSProp's bias into two parts is
Remark 3.4 of the paper's earlier version. Here :math:`f = \frac{1+\beta}{1-\beta}` and :math:`s = \frac{1+\rho}{1-\rho}`, so that the bias on component j is
:math:`\frac h2 \{f - s + s\,\varepsilon/(g_j^2+\varepsilon)\}` times the derivative of the perturbed one-norm.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.checks import parameter, positive, real
from stepbias.theory.full_batch import penalty_coefficient

Floats = NDArray[np.float64]


def exact_bracket(beta: Fraction, rho: Fraction) -> Fraction:
    r"""The coefficient :math:`f - s` of the one-norm for small epsilon, in exact arithmetic.

    Parameters
    ----------
    beta, rho : Fraction
        Decays, in [0, 1).

    Returns
    -------
    Fraction
        :math:`2(\beta-\rho)/((1-\beta)(1-\rho))` after reduction: its sign is that of beta - rho, and it is 0 for beta = rho.

    Raises
    ------
    ValueError
        For a decay outside [0, 1).
    """
    for name, value in (("beta", beta), ("rho", rho)):
        if not 0 <= value < 1:
            raise ValueError(f"{name} = {value}; accepted: a fraction in [0, 1)")
    return (1 + beta) / (1 - beta) - (1 + rho) / (1 - rho)


def small_epsilon_loss(value: Any, gradient: Floats, h: float, beta: float, rho: float) -> Any:
    r"""Modified loss where epsilon is small against every squared gradient component (equation 5).

    Parameters
    ----------
    value : (...,) float64
        The loss.
    gradient : (..., p) float64
        Its gradient, no component zero.
    h : float
        Step size.
    beta, rho : float
        Decays, in [0, 1).

    Returns
    -------
    (...,) float64
        :math:`\tilde E = E + \frac h2 (f - s) \|\nabla E\|_1`, in units of the loss; the flow is :math:`-\nabla_j\tilde E/|\nabla_j E|`.
    """
    norm = np.abs(gradient).sum(axis=-1)
    return value + 0.5 * h * penalty_coefficient(beta, rho) * norm


def large_epsilon_loss(value: Any, gradient: Floats, h: float, beta: float, scale: float) -> Any:
    r"""Modified loss where epsilon is large against every squared gradient component (equation 7), times the denominator.

    Parameters
    ----------
    value, gradient, h, beta
        As in :func:`small_epsilon_loss`.
    scale : float
        What the denominator D tends to: the root of an epsilon inside the root, an epsilon outside itself.

    Returns
    -------
    (...,) float64
        :math:`\tilde E = E + \frac{h}{4 D} f \|\nabla E\|^2`; the flow is :math:`-\nabla\tilde E / D`. rho has no influence.
    """
    parameter("beta", beta, 0.0, 1.0)
    positive("scale", scale)
    square = (np.asarray(gradient) ** 2).sum(axis=-1)
    return value + h / (4.0 * scale) * (1.0 + beta) / (1.0 - beta) * square


def nonzero_steps_factor(gradient: Any, h: float, eps_root: float) -> Floats:
    r"""What the earlier version calls "nonzero steps" in RMSProp's bias, epsilon inside.

    Parameters
    ----------
    gradient : (p,) float64
    h : float
        Step size.
    eps_root : float
        Constant inside the root, > 0.

    Returns
    -------
    (p,) float64
        :math:`h\,(-\varepsilon/2)/(g^2+\varepsilon)`, the factor on :math:`\nabla\|\nabla E\|_{1,\varepsilon}` that is added to :math:`-\nabla E`.
        It is what is left without memory, for rho = 0.
    """
    g = real("gradient", gradient)
    return np.asarray(-0.5 * h * eps_root / (g**2 + eps_root))


def memory_factor(gradient: Any, h: float, rho: float, eps_root: float) -> Floats:
    r"""What the earlier version calls "memory" in RMSProp's bias, epsilon inside.

    Parameters
    ----------
    gradient, h, eps_root
        As in :func:`nonzero_steps_factor`.
    rho : float
        Decay of the mean square, in [0, 1).

    Returns
    -------
    (p,) float64
        :math:`h\,\frac{\rho}{1-\rho} g^2/(g^2+\varepsilon)`; it is what the sum P contributes.
    """
    g = real("gradient", gradient)
    parameter("rho", rho, 0.0, 1.0)
    return np.asarray(h * rho / (1.0 - rho) * g**2 / (g**2 + eps_root))


def potential_rate(x: Any, beta: float, rho: float, eps_root: float) -> Floats:
    r"""Integrand of Figure 1 with respect to :math:`d\sqrt{\varepsilon+y^2}`, as printed.

    Parameters
    ----------
    x : array_like
        Gradient component.
    beta, rho : float
        Decays, in [0, 1).
    eps_root : float
        Constant inside the root, > 0.

    Returns
    -------
    float64 array of the shape of x
        :math:`f - s + s\,\varepsilon/(x^2+\varepsilon)`.
    """
    y = real("x", x)
    slow = (1.0 + rho) / (1.0 - rho)
    return np.asarray(penalty_coefficient(beta, rho) + slow * eps_root / (y**2 + eps_root))


def potential_turn(beta: float, rho: float, eps_root: float) -> float:
    r"""Gradient component at which the potential of Figure 1 stops rising.

    Parameters
    ----------
    beta, rho, eps_root : float
        As in :func:`potential_rate`.

    Returns
    -------
    float
        :math:`\sqrt{\varepsilon f/(s-f)}`, where the integrand is 0; inf for rho <= beta, where it rises for ever.
    """
    gap = -penalty_coefficient(beta, rho)
    return math.sqrt(eps_root * (1.0 + beta) / (1.0 - beta) / gap) if gap > 0.0 else math.inf


def potential_zero(beta: float, rho: float, eps_root: float) -> float:
    r"""Gradient component at which the potential of Figure 1 changes its sign.

    Parameters
    ----------
    beta, rho, eps_root : float
        As in :func:`potential_rate`.

    Returns
    -------
    float
        The x > 0 with :math:`\sqrt{x^2+\varepsilon} = \sqrt\varepsilon\, s/(s-f)`; inf for rho <= beta, where the potential is positive everywhere but at 0.
    """
    gap = -penalty_coefficient(beta, rho)
    if gap <= 0.0:
        return math.inf
    ratio = (1.0 + rho) / (1.0 - rho) / gap
    return math.sqrt(eps_root * (ratio - 1.0) * (ratio + 1.0))


def late_start(gradient: Any, rho: float, eps: float, eps_root: float) -> Floats:
    r"""How far RMSProp's first steps go beyond those of Adam with beta = 0, in units of h.

    Without bias correction the first mean squares are small and the first steps large. Summed over all steps at one theta,

    .. math:: \sum_{l\ge 0} \frac{g}{\sqrt{(1-\rho^{l+1}) g^2 + \varepsilon_{root}} + \varepsilon} - \frac{g}{\sqrt{g^2+\varepsilon_{root}}+\varepsilon} :

    RMSProp from theta is Adam with beta = 0 from theta minus h times this, up to O(h^2), once the first steps are over (Remark 4.3: "up to rapidly vanishing
    terms").

    Parameters
    ----------
    gradient : (p,) float64
        Gradient of the full-batch loss at the start.
    rho : float
        Decay of the mean square, in [0, 1).
    eps, eps_root : float
        Constants outside and inside the root, not both 0.

    Returns
    -------
    (p,) float64
    """
    g = real("gradient", gradient)
    parameter("rho", rho, 0.0, 1.0)
    count = 1 if rho == 0.0 else math.ceil(-60.0 * math.log(2.0) / math.log(rho))
    left = rho ** np.arange(1, count + 1)[:, None]
    D = np.sqrt(g**2 + eps_root) + eps
    early = np.sqrt((1.0 - left) * g**2 + eps_root) + eps
    return np.asarray((g * (D - early) / (early * D)).sum(axis=0))


def earlier_adam_bias(
    gradient: Any, norm_gradient: Any, h: float, beta: float, rho: float, eps_root: float
) -> Floats:
    r"""Adam's bias for many steps as the earlier version writes it (its Remark 3.7), added to the flow, epsilon inside.

    Parameters
    ----------
    gradient : (p,) float64
    norm_gradient : (p,) float64
        Gradient of the perturbed one-norm.
    h, beta, rho, eps_root : float
        As in :func:`memory_factor`; beta is the decay of the mean.

    Returns
    -------
    (p,) float64
        :math:`h\,\frac{s\, g^2 - f\,(g^2+\varepsilon)}{2(g^2+\varepsilon)^{3/2}}\,\nabla\|\nabla E\|_{1,\varepsilon}`.
    """
    g = real("gradient", gradient)
    parameter("beta", beta, 0.0, 1.0)
    parameter("rho", rho, 0.0, 1.0)
    square = g**2 + eps_root
    fast, slow = (1.0 + beta) / (1.0 - beta), (1.0 + rho) / (1.0 - rho)
    factor = h * (slow * g**2 - fast * square) / (2.0 * square**1.5)
    return np.asarray(factor * np.asarray(norm_gradient))
