r"""RMSProp with epsilon outside the root, full batch, after many steps and for a small epsilon.

Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", supplement, section SA-2.5: the modified equation becomes

.. math:: \dot\theta_j = -\operatorname{sign} \nabla_j E + h \frac{\rho}{1-\rho} \frac{\sum_i \nabla_{ij}E \operatorname{sign}\nabla_i E}{|\nabla_j E|}
    = -\frac{1}{|\nabla_j E|} \Big\{ \nabla_j E - h \frac{\rho}{1-\rho} \nabla_j \|\nabla E\|_1 \Big\};

the second expression is printed with a plus in the braces.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.constants_formulas import moments

Floats = NDArray[np.float64]


def limit_field(
    gradient: Floats, hessian: Floats, rho: float, h: float, sign: float = -1.0
) -> Floats:
    """The second expression.

    Parameters
    ----------
    gradient : (p,) float64
        No component 0.
    hessian : (p, p) float64
    rho, h : float
    sign : float
        In the braces: -1; +1 as printed.

    Returns
    -------
    (p,) float64
    """
    norm_slope = hessian @ np.sign(gradient)  # gradient of the 1-norm of the gradient
    return -(gradient + sign * h * moments(rho)[0] * norm_slope) / np.abs(gradient)


def limit_field_first(gradient: Floats, hessian: Floats, rho: float, h: float) -> Floats:
    """The first expression, as printed."""
    pull = hessian @ np.sign(gradient) / np.abs(gradient)
    return -np.sign(gradient) + h * moments(rho)[0] * pull
