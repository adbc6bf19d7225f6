r"""Adam after the descent, epsilon -> 0: the small stable oscillation, and where the modified flow comes to rest. Derived here.

**Oscillation.** On :math:`\lambda\theta^2/2` with epsilon = 0 the loss enters through the sign of the gradient's changes only: a solution is h times one that
depends on beta and rho alone. Put :math:`\theta^{(n)} = A\cos\omega n` with :math:`\delta_1 = 1-\beta`, :math:`\delta_2 = 1-\rho` small and
:math:`r = \delta_2/\delta_1`. The mean of g is :math:`\mathrm{Re}\,\lambda A\,\delta_1 e^{i\omega n}/(1-e^{-i\omega})`, that of :math:`g^2` is
:math:`v(1 + \mathrm{Re}\,\delta_2 e^{2i\omega n}/(1-e^{-2i\omega}))` with :math:`v = \lambda^2A^2/2`, to leading order. In the step -h m / sqrt(V) the
factor at frequency :math:`\omega` gives

.. math::

    (e^{i\omega}-1)\big(1-(1-\delta_1)e^{-i\omega}\big)
    = -\frac{h\lambda\delta_1}{\sqrt v}\Big(1 + \frac{\delta_2}{4}\frac{e^{-i\omega}}{1-e^{-2i\omega}}\Big).

The real part is :math:`4\sin^2(\omega/2) = h\lambda\delta_1/\sqrt v`: without damping, every frequency belongs to an amplitude. The imaginary part, one order
higher, balances the damping by beta against the growth by the modulation of the squares at twice the frequency, and leaves one of them:

.. math:: \cos^2(\omega/2) = r/8,\qquad \mathrm{rms}\,\theta = \frac{2h(1-\beta)}{8-r},\qquad r < 8,

both up to O(1 - beta). In several dimensions the same holds for every component of a state :math:`\theta = A s\cos\omega n` with signs s and
:math:`\mathrm{sign}(\nabla^2E\,s) = s`. For r >= 8 (beta much closer to 1 than rho) there is no such oscillation.

**Rest of the flow.** For epsilon -> 0 the flow after many steps descends on :math:`E + (h/2)\{(1+\beta)/(1-\beta) - (1+\rho)/(1-\rho)\}\|\nabla E\|_1`. For
rho > beta this has a kinked peak at a minimum of E, and on a quadratic its minima are where every component is off by :math:`h\,(1/(1-\rho) - 1/(1-\beta))`;
again for signs s with sign(H s) = s.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.checks import parameter, positive
from stepbias.theory.full_batch import penalty_coefficient

Floats = NDArray[np.float64]

FASTEST_RATIO = 8.0
"""(1 - rho) / (1 - beta) from which on there is no small oscillation."""


def ratio(beta: float, rho: float) -> float:
    """(1 - rho) / (1 - beta), how much longer the memory of the mean is than that of the squares.

    Parameters
    ----------
    beta, rho : float
        Decays, in [0, 1).
    """
    parameter("beta", beta, 0.0, 1.0)
    parameter("rho", rho, 0.0, 1.0)
    return (1.0 - rho) / (1.0 - beta)


def _small_ratio(beta: float, rho: float) -> float:
    r = ratio(beta, rho)
    if r >= FASTEST_RATIO:
        raise ValueError(
            f"(1 - rho) / (1 - beta) = {r:g} with beta = {beta!r} and rho = {rho!r}; accepted: below {FASTEST_RATIO:g}"
        )
    return r


def oscillation_rms(h: float, beta: float, rho: float) -> float:
    r"""Root mean square of one component in the stable oscillation, relative error O(1 - beta).

    Parameters
    ----------
    h : float
        Step size, > 0.
    beta, rho : float
        Decays in [0, 1), :math:`1-\rho < 8(1-\beta)`.

    Returns
    -------
    float
        :math:`2h(1-\beta)/(8-r)`, :math:`r = (1-\rho)/(1-\beta)`; per parameter.
    """
    positive("h", h)
    return 2.0 * h * (1.0 - beta) / (FASTEST_RATIO - _small_ratio(beta, rho))


def oscillation_frequency(beta: float, rho: float) -> float:
    r"""Frequency of the stable oscillation in radians per step, error O(1 - beta).

    Parameters
    ----------
    beta, rho : float
        As in :func:`oscillation_rms`.

    Returns
    -------
    float
        :math:`2\arccos\sqrt{r/8}`: from :math:`\pi` at r = 0 down to 0 at r = 8.
    """
    return 2.0 * math.acos(math.sqrt(_small_ratio(beta, rho) / FASTEST_RATIO))


def rest_displacement(h: float, beta: float, rho: float) -> float:
    r"""Distance, in every component, from a minimum of the loss to where the flow rests, relative error O(h / (1 - rho)).

    Parameters
    ----------
    h : float
        Step size, > 0.
    beta, rho : float
        Decays, in [0, 1).

    Returns
    -------
    float
        :math:`h\,(1/(1-\rho) - 1/(1-\beta))` for rho > beta, else 0; per parameter.
    """
    positive("h", h)
    return max(0.0, -0.5 * h * penalty_coefficient(beta, rho))


class _Field(NamedTuple):
    """The parts of the field for many steps, -u - (h/2) kappa G / D, and their derivatives in the gradient; each (p,)."""

    D: Floats
    slope: Floats  # of D
    u: Floats
    u_slope: Floats
    kappa: Floats
    kappa_slope: Floats
    G: Floats


def _field(
    g: Floats, hessian: Floats, beta: float, rho: float, eps: float, eps_root: float
) -> _Field:
    # R = 0 only where g = 0 (epsilon outside): the derivative of |g| is then taken to be 0
    R = np.maximum(np.sqrt(g**2 + eps_root), np.finfo(np.float64).tiny)
    D = R + eps
    slope = g / R
    u, u_slope = g / D, (D - g * slope) / D**2
    squares = (1.0 + rho) / (1.0 - rho)
    kappa = (1.0 + beta) / (1.0 - beta) - squares * u * slope
    bend = eps_root / R**3 if eps_root else 0.0
    return _Field(D, slope, u, u_slope, kappa, -squares * (u_slope * slope + u * bend), hessian @ u)


def limit_rate(
    gradient: Floats,
    hessian: Floats,
    h: float,
    beta: float,
    rho: float,
    eps: float,
    eps_root: float,
) -> Floats:
    r"""The field for many steps, as :func:`stepbias.theory.full_batch.limit_field`, from the Hessian and without checks of the arguments.

    A stiff solver asks for it some thousand times; the checks would take most of the time.

    Parameters
    ----------
    gradient : (p,) float64
    hessian : (p, p) float64
    h, beta, rho, eps, eps_root : float
        As in ``limit_field``.

    Returns
    -------
    (p,) float64
        :math:`-u - (h/2)\,\kappa\,G/D` with :math:`u = g/D`, :math:`G = \nabla^2E\,u`,
        :math:`\kappa = (1+\beta)/(1-\beta) - (1+\rho)/(1-\rho)\,g^2/(DR)`.
    """
    f = _field(gradient, hessian, beta, rho, eps, eps_root)
    return -f.u - 0.5 * h * f.kappa * f.G / f.D


def limit_jacobian(
    gradient: Floats,
    hessian: Floats,
    h: float,
    beta: float,
    rho: float,
    eps: float,
    eps_root: float,
) -> Floats:
    """Derivative of :func:`limit_rate` in theta without third derivatives of the loss, for the Newton iterations of a stiff solver.

    Where the field is stiff, in the layer in which a component of the gradient changes sign, they are small against the change of 1/D; elsewhere no Newton
    iteration needs them. A solver's result does not depend on this, only its speed.

    Parameters
    ----------
    gradient, hessian, h, beta, rho, eps, eps_root
        As in :func:`limit_rate`.

    Returns
    -------
    (p, p) float64
        Per time; exact for a quadratic loss.
    """
    f = _field(gradient, hessian, beta, rho, eps, eps_root)
    own = f.u_slope + 0.5 * h * (f.kappa_slope * f.G / f.D - f.kappa * f.G * f.slope / f.D**2)
    through = 0.5 * h * (f.kappa / f.D)[:, None] * (hessian @ (f.u_slope[:, None] * hessian))
    return -(own[:, None] * hessian) - through
