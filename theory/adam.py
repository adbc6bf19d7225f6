"""The Adam family as scalar, component-wise formulas, compiled unchanged for every device.

One family covers the four algorithms of Cattaneo, Klusowski and Shigida, "On the Implicit Bias of Adam" (Definitions 2.1 and 4.1 and their variants
with epsilon outside the square root). With V the (bias-corrected) mean square and M the (bias-corrected) mean of the gradients,

    R = sqrt(V + eps_root),   D = R + eps,   step direction U = M / D,   theta <- theta - h U.

"Epsilon inside" is eps = 0, eps_root = epsilon; "outside" is eps = epsilon, eps_root = 0. RMSProp is beta = 0 without bias correction.
"""

from __future__ import annotations

import math


def decayed(mean: float, fresh: float, decay: float) -> float:
    """One step of a moving average whose new entry already carries its weight 1 - decay."""
    return decay * mean + fresh


def entering(new: float, decay: float) -> float:
    """What a new number adds to a moving average: the number with its weight 1 - decay."""
    return (1.0 - decay) * new


def running_mean(mean: float, new: float, decay: float) -> float:
    """Exponential moving average: ``decay * mean + (1 - decay) * new``."""
    return decay * mean + (1.0 - decay) * new


def lag(
    past: float,
    prefix: float,
    total: float,
    now: float,
    step: float,
    printed: float,
    barred: float,
) -> float:
    """What one batch's Hessian multiplies in 2 L + Lbar (or, with the weights of the mean square, in 2 P + Pbar), before bias correction.

    Parameters
    ----------
    past, now : float
        Weights of the batch in the average, in the steps before n and at step n.
    prefix : float
        T_n, the sum of U^(l) over l < n.
    total : float
        Sum over the batch's steps k < n of weight times T_k.
    step : float
        U^(n).
    printed, barred : float
        Factors on L and Lbar (P and Pbar); 1 in the statement.

    Notes
    -----
    The sum over k < n of weight (T_n - T_k) is ``past prefix - total``.
    """
    return 2.0 * printed * (past * prefix - total) + barred * now * step


def constant_lag(ages: float, now: float, step: float, printed: float, barred: float) -> float:
    """:func:`lag` where U does not depend on the step, so that T_n - T_k = (n - k) U; ``ages`` is the sum of weight times age."""
    return (2.0 * printed * ages + barred * now) * step


def relative_rate(after: float, before: float, eps: float, time: float) -> float:
    """|D'/D| from two values of R a time apart."""
    return abs(after - before) / ((before + eps) * time)


def root(square: float, eps_root: float) -> float:
    """R = sqrt(V + eps_root)."""
    return math.sqrt(square + eps_root)


def direction(mean: float, square: float, eps: float, eps_root: float) -> float:
    """U = M / D, the step direction of the leading order (and of the discrete update)."""
    return mean / (math.sqrt(square + eps_root) + eps)


def modified_rate(
    mean: float, root: float, eps: float, numerator_lag: float, square_lag: float, h: float
) -> float:
    """Right-hand side of the modified equation, one component.

    Parameters
    ----------
    mean, root : float
        M and R at the current parameters.
    eps : float
        The constant outside the root; D = R + eps.
    numerator_lag : float
        2 L + Lbar.
    square_lag : float
        2 P + Pbar.
    h : float
        Step size.

    Returns
    -------
    float
        ``-M/D + h (M (2P + Pbar) / (2 D^2 R) - (2L + Lbar) / (2 D))``. Where R = 0 every gradient in the memory vanishes, and so does
        P / R: the term is dropped there instead of dividing 0 by 0.

    Notes
    -----
    Theorems 3.1 and 4.2 (epsilon inside, D = R) and their variants for epsilon outside (D = R + eps).
    """
    denominator = root + eps
    weighted = square_lag / root if root > 0.0 else 0.0
    bias = mean * weighted / (2.0 * denominator * denominator) - numerator_lag / (2.0 * denominator)
    return h * bias - mean / denominator
