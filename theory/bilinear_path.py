r"""Adam on the loss :math:`E = (y - \theta_1\theta_2 x)^2/2` in closed form: what its bias changes, and how that shows in the one-norm of the gradient.

With q = y - theta_1 theta_2 x the gradient is -q x (theta_2, theta_1), so that

.. math:: \|\nabla E\|_1 = \sqrt{2E}\,|x|\,(|\theta_1| + |\theta_2|),\quad
    (|\theta_1| + |\theta_2|)^2 = (|\theta_1| - |\theta_2|)^2 + 4|\theta_1\theta_2|,

and E with the sign of q fixes the product. At one and the same loss on one side of the minima the one-norm is therefore an increasing function of
:math:`\big||\theta_1| - |\theta_2|\big|`. Where theta_1 theta_2 has the sign of y/x, the leading field of Adam for epsilon to 0 moves both
moduli at the same rate and leaves their difference alone; what moves it is the bias (:func:`imbalance_rate`).

The model: Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Section 6, Figures 2 and 3.
"""

from __future__ import annotations

import math

from stepbias.theory.checks import parameter, whole
from stepbias.theory.full_batch import mean_lag


def one_norm(x: float, y: float, s: float, t: float) -> float:
    """One-norm of the gradient at theta = (s, t)."""
    return abs(x * (y - x * s * t)) * (abs(s) + abs(t))


def product_at(x: float, y: float, s: float, t: float, share: float) -> float:
    """The product theta_1 theta_2 where the loss is ``share`` times that at (s, t), on the same side of the minima.

    Parameters
    ----------
    x, y, s, t : float
        x not 0.
    share : float
        In [0, 1]; 0: the minima, theta_1 theta_2 = y / x.
    """
    return (y + math.sqrt(share) * (x * s * t - y)) / x


def one_norm_at(x: float, loss: float, total: float) -> float:
    """One-norm of the gradient where the loss is ``loss`` and abs(theta_1) + abs(theta_2) = ``total``."""
    return math.sqrt(2.0 * loss) * abs(x) * total


def sign_flow_total(s: float, t: float, product: float) -> float:
    r"""abs(theta_1) + abs(theta_2) of the leading field's trajectory from (s, t) where theta_1 theta_2 is ``product``, epsilon to 0.

    Returns
    -------
    float
        :math:`\sqrt{(|s| - |t|)^2 + 4 |product|}`: without bias the difference of the moduli stays what it is.
    """
    return math.hypot(abs(s) - abs(t), 2.0 * math.sqrt(abs(product)))


def least_norm_minimum(x: float, y: float) -> tuple[float, float]:
    r"""Limit, for the loss to 0, of the points of least one-norm among those of equal loss: the papers' cross.

    Parameters
    ----------
    x, y : float
        x y > 0.

    Returns
    -------
    (float, float)
        On every level set the least one-norm is at theta_1 = theta_2 (or its mirror image -theta), in the limit :math:`\sqrt{y/x}`.

    Raises
    ------
    ValueError
        If x y <= 0: theta_1 = -theta_2 then.
    """
    if not x * y > 0.0:
        raise ValueError(f"x y = {x * y!r}; accepted: a number > 0")
    side = math.sqrt(y / x)
    return side, side


def sign_flow_time(s: float, t: float, product: float) -> float:
    r"""Time that the leading field for epsilon to 0, both moduli at rate 1, takes from (s, t) to where theta_1 theta_2 is ``product``.

    Parameters
    ----------
    s, t : float
        Of equal sign as ``product`` says: s t * product > 0.
    product : float

    Returns
    -------
    float
        The smaller root of :math:`(|s| \mp \tau)(|t| \mp \tau) = |product|`; minus where :math:`|s t|` is the larger.

    Raises
    ------
    ValueError
        If s t and ``product`` differ in sign: a component changes sign on the way.
    """
    if not s * t * product > 0.0:
        raise ValueError(f"s t * product = {s * t * product!r}; accepted: a number > 0")
    total, gap = abs(s) + abs(t), abs(s * t) - abs(product)
    # tau^2 -+ total tau +- gap = 0, the root without cancellation
    return 2.0 * abs(gap) / (total + math.sqrt(total * total - 4.0 * gap))


def imbalance_rate(s: float, t: float, n: int, h: float, beta: float, rho: float) -> float:
    r"""Rate of abs(theta_1) - abs(theta_2) under the modified field of Adam at step n, epsilon to 0.

    Parameters
    ----------
    s, t : float
        Not 0; s t of the sign of y / x.
    n : int
        Step, >= 0.
    h : float
        Step size.
    beta, rho : float
        Decays, in [0, 1).

    Returns
    -------
    float
        :math:`-h\,(\ell_n(\beta) - \ell_n(\rho))\,(|s| - |t|)/|s t|` with :math:`\ell_n` the mean age (:func:`stepbias.theory.full_batch.mean_lag`),
        which increases with the decay: the imbalance shrinks for beta > rho and grows for rho > beta, at every step from n = 1 on, whatever x and y.

    Notes
    -----
    The field is :math:`-\mathrm{sign}\,g_j - h(\ell_n(\beta) - \ell_n(\rho))\,G_j/|g_j|` with :math:`G = \nabla\|\nabla E\|_1` (Remark 3.2 for epsilon
    small). With :math:`r = x(x\theta_1\theta_2 - y)`, both moduli positive, :math:`G_1/|g_1| = \pm x^2(\theta_1+\theta_2)/|r| + 1/\theta_2` and
    :math:`G_2/|g_2|` the same with :math:`1/\theta_1`: the large parts cancel in the difference.
    """
    parameter("beta", beta, 0.0, 1.0)
    parameter("rho", rho, 0.0, 1.0)
    whole("n", n, 0)
    if s * t == 0.0:
        raise ValueError(f"s t = {s * t!r}; accepted: a number other than 0")
    return -h * (mean_lag(beta, n) - mean_lag(rho, n)) * (abs(s) - abs(t)) / abs(s * t)
