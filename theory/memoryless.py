"""The memoryless equation of an optimizer with memory: scalar, component-wise pieces, compiled unchanged for every device.

With F^(n) the direction of step n when every parameter in its memory is one and the same theta, T_k the sum of F^(l) over l < k, and d F^(n) the change of
F^(n) when the theta of step k moves by

    W_k = 2 (T_n - T_k) + F^(n)

(both the gradient of step k, by the Hessian times W_k, and the theta that the rule sees), the equation is theta' = -(F^(n) + h/2 d F^(n)). The part of
T_n - T_k is the memory term, that of F^(n) the discretization term.

Sources: M. D. Cattaneo and B. Shigida, "How Memory in Optimization Algorithms Implicitly Modifies the Loss", for the memory term; E. Hairer, C. Lubich
and G. Wanner, "Geometric Numerical Integration", chapter IX, for the discretization term.
"""

from __future__ import annotations

_TINY = 1e-290  # stands for 0 under a division whose result is then taken as 0


def rate(direction: float, change: float, h: float) -> float:
    """Right-hand side: -(F + h/2 d F)."""
    return -(direction + 0.5 * h * change)


def displacement(
    end: float, prefix: float, step: float, memory: float, discretization: float
) -> float:
    """W_k = 2 (T_n - T_k) + F^(n), with factors on its two parts, 1 in the statement.

    Parameters
    ----------
    end, prefix : float
        T_n and T_k.
    step : float
        F^(n).
    memory, discretization : float
    """
    return 2.0 * memory * (end - prefix) + discretization * step


def half_inverse(r: float) -> float:
    """1 / (2 r) for r > 0, and 0 at 0: the derivative of a square root that vanishes with all that it is made of.

    Without a branch, which would keep a compiler from vectorising the loop around it.
    """
    return (r > 0.0) * (0.5 / max(r, _TINY))


def change_by(slope: float, after: float, before: float) -> float:
    """What the change of one argument does to the direction, without its sign."""
    return abs(slope * (after - before))


def carried(state: float, decay: float, entry: float, fed: float, offset: float) -> float:
    """A state that is a weighted sum over the past, one step later."""
    return decay * state + (entry * fed + offset)


def fed_change(
    slope: float, by_gradient: float, bent: float, by_position: float, moved: float
) -> float:
    """What a state does to the direction when the gradients of a batch move by ``bent``, the Hessian times the weighted W_k, and theta by ``moved``.

    Parameters
    ----------
    slope : float
        Derivative of the direction in the state.
    by_gradient, by_position : float
        Derivatives of what enters the state.
    bent, moved : float
    """
    return slope * (by_gradient * bent + by_position * moved)
