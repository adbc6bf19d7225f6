r"""Full batch (E_k = E for all k): the memory sums in closed form, and their limit for many steps.

Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Remark 3.2 (Adam) and Remark 4.3
(RMSProp), for epsilon inside the square root; here for D = sqrt(V + eps_root) + eps, which covers
both places of epsilon. With one loss, Adam's corrected means are M = g and V = g^2 at every step,
so its step U = g / D is the same for all l and every sum is a multiple of

.. math:: G = \nabla^2 E\, U = \nabla \|\nabla E\|_{1,\varepsilon}.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.checks import parameter, real, whole
from stepbias.theory.memory import MemoryTerms

Floats = NDArray[np.float64]
Product = Callable[[Floats], Floats]


def _checked(gradient: Any, beta: float, rho: float, eps: float, eps_root: float) -> Floats:
    """Return the gradient as a float64 vector, after checks of all arguments."""
    g = real("gradient", gradient)
    if g.ndim != 1:
        raise ValueError(f"gradient has shape {g.shape}; accepted: (p,)")
    parameter("beta", beta, 0.0, 1.0)
    parameter("rho", rho, 0.0, 1.0)
    parameter("eps", eps, 0.0, np.inf)
    parameter("eps_root", eps_root, 0.0, np.inf)
    if eps + eps_root == 0.0:
        raise ValueError(
            f"eps = {eps!r} and eps_root = {eps_root!r} are both 0; "
            "accepted: at least one of them positive"
        )
    return g


def perturbed_one_norm(gradient: Floats, eps: float, eps_root: float) -> float:
    r"""Perturbed one-norm of a gradient, whose derivative is the leading step.

    Parameters
    ----------
    gradient : (p,) float64
        Loss per parameter.
    eps, eps_root : float
        Constants outside and inside the root, >= 0, not both 0.

    Returns
    -------
    float
        :math:`\sum_i s_i - \varepsilon \log(1 + s_i/\varepsilon)` with
        :math:`s_i = \sqrt{g_i^2 + \varepsilon_{root}}`. For eps = 0 this is
        :math:`\|g\|_{1,\varepsilon} = \sum_i \sqrt{g_i^2 + \varepsilon}` (Remark 3.2); for
        eps_root = 0 the same role is played by :math:`|g| - \varepsilon\log(1 + |g|/\varepsilon)`.
    """
    g = _checked(gradient, 0.0, 0.0, eps, eps_root)
    s = np.sqrt(g**2 + eps_root)
    return float(np.sum(s if eps == 0.0 else s - eps * np.log1p(s / eps)))


def one_norm_gradient(gradient: Floats, hvp: Product, eps: float, eps_root: float) -> Floats:
    r"""Gradient in theta of the perturbed one-norm: one Hessian-vector product.

    Parameters
    ----------
    gradient : (p,) float64
        Gradient of the loss at theta.
    hvp : callable (p,) -> (p,)
        Hessian of the loss at theta, times a vector.
    eps, eps_root : float
        Constants outside and inside the root, >= 0, not both 0.

    Returns
    -------
    (p,) float64
        :math:`\sum_i \nabla_{ij}E\, g_i / (\sqrt{g_i^2 + \varepsilon_{root}} + \varepsilon)`.
    """
    g = _checked(gradient, 0.0, 0.0, eps, eps_root)
    return hvp(g / (np.sqrt(g**2 + eps_root) + eps))


def mean_lag(decay: float, n: int) -> float:
    r"""Mean age of what a bias-corrected moving average remembers after step n.

    Parameters
    ----------
    decay : float
        beta or rho, in [0, 1).
    n : int
        Step, >= 0.

    Returns
    -------
    float
        :math:`\frac{1-\beta}{1-\beta^{n+1}} \sum_{k\le n} (n-k) \beta^{n-k}
        = \frac{\beta}{1-\beta} - \frac{(n+1)\beta^{n+1}}{1-\beta^{n+1}}`.
    """
    parameter("decay", decay, 0.0, 1.0)
    whole("n", n, 0)
    count = n + 1
    if decay > 0.0 and -count * math.log(decay) < 0.1:
        # The two parts cancel; with decay = e^-a both are x / (e^x - 1), at x = a and count a,
        # divided by a. Its Taylor series is exact here: the first dropped term is below 1e-17.
        a = -math.log(decay)
        curvature = (count**2 - 1) * a / 12 - (count**4 - 1) * a**3 / 720
        curvature += (count**6 - 1) * a**5 / 30240 - (count**8 - 1) * a**7 / 1209600
        return 0.5 * n - curvature
    left = decay**count
    return decay / (1.0 - decay) - count * left / (1.0 - left)


def adam_terms(
    gradient: Floats,
    hvp: Product,
    n: int,
    beta: float,
    rho: float,
    eps: float,
    eps_root: float,
) -> MemoryTerms:
    r"""Memory sums of full-batch Adam (with bias correction) after step n, Remark 3.2.

    Parameters
    ----------
    gradient : (p,) float64
        Gradient of the loss at theta.
    hvp : callable (p,) -> (p,)
        Hessian of the loss at theta, times a vector; called once.
    n : int
        Step, >= 0.
    beta, rho : float
        Decays, in [0, 1).
    eps, eps_root : float
        Constants outside and inside the root, >= 0, not both 0.

    Returns
    -------
    MemoryTerms
        Each (p,) float64. :math:`L = \ell_n(\beta) G`, :math:`\bar L = G`,
        :math:`P = \ell_n(\rho)\, g \odot G`, :math:`\bar P = g \odot G` with
        :math:`\ell_n` the :func:`mean_lag`.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is accepted.
    """
    g = _checked(gradient, beta, rho, eps, eps_root)
    whole("n", n, 0)
    return _multiples(g, hvp, mean_lag(beta, n), mean_lag(rho, n), eps, eps_root)


def limit_terms(
    gradient: Floats, hvp: Product, beta: float, rho: float, eps: float, eps_root: float
) -> MemoryTerms:
    """Memory sums for n to infinity; RMSProp is beta = 0.

    Parameters
    ----------
    gradient, hvp, beta, rho, eps, eps_root
        As in :func:`adam_terms`.

    Returns
    -------
    MemoryTerms
        The mean ages are beta / (1 - beta) and rho / (1 - rho).
    """
    g = _checked(gradient, beta, rho, eps, eps_root)
    return _multiples(g, hvp, beta / (1.0 - beta), rho / (1.0 - rho), eps, eps_root)


def _multiples(
    g: Floats, hvp: Product, age_mean: float, age_square: float, eps: float, eps_root: float
) -> MemoryTerms:
    """Six sums when every step U is the same."""
    R = np.sqrt(g**2 + eps_root)
    G = hvp(g / (R + eps))
    return MemoryTerms(R, g.copy(), age_mean * G, G, age_square * g * G, g * G)


def uncorrected_terms(
    gradient: Floats,
    hvp: Product,
    n: int,
    beta: float,
    rho: float,
    eps: float,
    eps_root: float,
) -> MemoryTerms:
    r"""Memory sums after step n of full-batch Adam without bias correction.

    The means are still growing, so the steps
    :math:`U^{(l)} = (1-\beta^{l+1}) g / (\sqrt{(1-\rho^{l+1}) g^2 + \varepsilon_{root}} +
    \varepsilon)` differ and the sums over l remain; the sums over k are geometric.

    Parameters
    ----------
    gradient, hvp, n, beta, rho, eps, eps_root
        As in :func:`adam_terms`; ``hvp`` is called three times.

    Returns
    -------
    MemoryTerms
        Each (p,) float64; O(n p) operations.
    """
    g = _checked(gradient, beta, rho, eps, eps_root)
    whole("n", n, 0)

    def step(left_mean: Any, left_square: Any) -> Floats:
        return (1.0 - left_mean) * g / (np.sqrt((1.0 - left_square) * g**2 + eps_root) + eps)

    l = np.arange(n)[:, None]
    steps = step(beta ** (l + 1), rho ** (l + 1))
    # sum over k <= l of decay^(n-k) (1 - decay) = decay^(n-l) (1 - decay^(l+1))
    displacement_mean = np.sum(beta ** (n - l) * (1.0 - beta ** (l + 1)) * steps, axis=0)
    displacement_square = np.sum(rho ** (n - l) * (1.0 - rho ** (l + 1)) * steps, axis=0)
    left_mean, left_square = beta ** (n + 1), rho ** (n + 1)
    G = hvp(step(left_mean, left_square))
    return MemoryTerms(
        R=np.sqrt((1.0 - left_square) * g**2 + eps_root),
        M=(1.0 - left_mean) * g,
        L=hvp(displacement_mean),
        Lbar=(1.0 - left_mean) * G,
        P=g * hvp(displacement_square),
        Pbar=(1.0 - left_square) * g * G,
    )


def rmsprop_terms(
    gradient: Floats, hvp: Product, n: int, rho: float, eps: float, eps_root: float
) -> MemoryTerms:
    r"""Memory sums of full-batch RMSProp (no bias correction) after step n, Remark 4.3.

    Parameters
    ----------
    gradient, hvp, n, rho, eps, eps_root
        As in :func:`adam_terms`.

    Returns
    -------
    MemoryTerms
        Each (p,) float64: :math:`R = \sqrt{g^2(1-\rho^{n+1}) + \varepsilon}`, L = 0, and P, Pbar
        with steps :math:`g / \sqrt{g^2(1-\rho^{l+1}) + \varepsilon}`.
    """
    return uncorrected_terms(gradient, hvp, n, 0.0, rho, eps, eps_root)


def penalty_coefficient(beta: float, rho: float) -> float:
    r"""Coefficient of :math:`(h/2)\|\nabla E\|_1` in the modified loss when epsilon is small.

    Parameters
    ----------
    beta, rho : float
        Decays, in [0, 1).

    Returns
    -------
    float
        :math:`\frac{1+\beta}{1-\beta} - \frac{1+\rho}{1-\rho}`: positive (the norm is penalised)
        exactly for beta > rho.
    """
    parameter("beta", beta, 0.0, 1.0)
    parameter("rho", rho, 0.0, 1.0)
    return (1.0 + beta) / (1.0 - beta) - (1.0 + rho) / (1.0 - rho)


def squared_norm_coefficient(beta: float, eps_root: float) -> float:
    r"""Coefficient of :math:`h\|\nabla E\|^2` in the modified loss when epsilon is large.

    Parameters
    ----------
    beta : float
        Decay of the mean, in [0, 1).
    eps_root : float
        Constant inside the root, > 0 and large against every squared gradient component.

    Returns
    -------
    float
        :math:`\frac{1}{4\sqrt{\varepsilon}} \frac{1+\beta}{1-\beta}`; rho has no influence.
    """
    parameter("beta", beta, 0.0, 1.0)
    parameter("eps_root", eps_root, 0.0, np.inf, closed_below=False)
    return (1.0 + beta) / (1.0 - beta) / (4.0 * np.sqrt(eps_root))


def limit_bias(
    gradient: Floats,
    hvp: Product,
    h: float,
    beta: float,
    rho: float,
    eps: float,
    eps_root: float,
) -> Floats:
    r"""Bias term for many steps: :math:`\dot\theta = -(\nabla E + \mathrm{bias}) / D`.

    Parameters
    ----------
    gradient, hvp, beta, rho, eps, eps_root
        As in :func:`adam_terms`.
    h : float
        Step size.

    Returns
    -------
    (p,) float64
        :math:`\frac h2\Big\{\frac{1+\beta}{1-\beta}
        - \frac{1+\rho}{1-\rho}\frac{g^2}{D R}\Big\} G`. Inside,
        :math:`g^2/(DR) = 1 - \varepsilon/(g^2+\varepsilon)` (Remarks 3.2 and 4.3); outside it is
        :math:`1 - \varepsilon/(|g|+\varepsilon)`.
    """
    g = _checked(gradient, beta, rho, eps, eps_root)
    real("h", h)
    R = np.sqrt(g**2 + eps_root)
    D = R + eps
    # R = 0 only where g = 0 (epsilon outside), and there g^2 / R = |g| = 0.
    share = g**2 / (D * np.where(R > 0.0, R, 1.0))
    memory = (1.0 + beta) / (1.0 - beta) - (1.0 + rho) / (1.0 - rho) * share
    return 0.5 * h * memory * hvp(g / D)


def limit_field(
    gradient: Floats,
    hvp: Product,
    h: float,
    beta: float,
    rho: float,
    eps: float,
    eps_root: float,
) -> Floats:
    """Field for many steps: ``-(gradient + limit_bias) / D``, (p,) float64.

    Parameters
    ----------
    gradient, hvp, h, beta, rho, eps, eps_root
        As in :func:`limit_bias`.
    """
    bias = limit_bias(gradient, hvp, h, beta, rho, eps, eps_root)
    g = np.asarray(gradient, dtype=np.float64)
    return -(g + bias) / (np.sqrt(g**2 + eps_root) + eps)


def bias_potential(x: Any, beta: float, rho: float, eps_root: float) -> Floats:
    r"""Penalty on one gradient component that the bias acts as, epsilon inside (Figure 1).

    Parameters
    ----------
    x : array_like
        Gradient component, any shape.
    beta, rho : float
        Decays, in [0, 1).
    eps_root : float
        Constant inside the root, > 0.

    Returns
    -------
    float64 array of the shape of x
        :math:`\int_0^x \Big\{\frac{1+\beta}{1-\beta} - \frac{1+\rho}{1-\rho}
        + \frac{1+\rho}{1-\rho} \frac{\varepsilon}{y^2+\varepsilon}\Big\}\,
        d\sqrt{\varepsilon + y^2}`, in closed form.
    """
    value = real("x", x)
    parameter("eps_root", eps_root, 0.0, np.inf, closed_below=False)
    small = penalty_coefficient(beta, rho)
    start = np.sqrt(eps_root)
    s = np.sqrt(value**2 + eps_root)
    rise = value**2 / (s + start)  # s - start without cancellation
    return small * rise + (1.0 + rho) / (1.0 - rho) * start * rise / s
