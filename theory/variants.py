"""Named terms of the modified equation, and wrong variants of it that a verifier must refute.

A variant multiplies named terms by factors or makes a named substitution. It is a run-time switch of the very code that evaluates the theorem.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

TERMS = ("M", "R", "L", "Lbar", "P", "Pbar", "bias")


@dataclass(frozen=True)
class Variant:
    """Factors on the terms of the modified equation, and substitutions.

    Parameters
    ----------
    M, R, L, Lbar, P, Pbar : float, default 1
        Factor on the term where it stands in the equation (the memory sums keep their own M and R).
    bias : float, default 1
        Factor on the whole O(h) term; 0 leaves the leading field, the statement of order 1.
    flip_bias_correction : bool
        Drop the bias correction of Adam's means, or add it to RMSProp's.
    swap_eps : bool
        Put the constants inside the root outside, and the reverse.
    short_memory : bool
        End the inner sums at n - 2 instead of n - 1.
    memory, discretization : float, default 1
        Factor on the memory term (of Adam: on L and P) and on the discretization term (on Lbar and Pbar).
    limit : bool
        Every step has the coefficients of n -> infinity: the past of the schedule has no beginning.
    """

    M: float = 1.0
    R: float = 1.0
    L: float = 1.0
    Lbar: float = 1.0
    P: float = 1.0
    Pbar: float = 1.0
    bias: float = 1.0
    flip_bias_correction: bool = False
    swap_eps: bool = False
    short_memory: bool = False
    memory: float = 1.0
    discretization: float = 1.0
    limit: bool = False

    @property
    def factors(self) -> NDArray[np.float64]:
        """What the kernels read, float64 ``(9,)``.

        The factors in the order of ``TERMS``, those of L .. Pbar times that of their kind; then ``memory`` and ``discretization`` themselves, for rules without
        such terms.
        """
        kinds = {"L": self.memory, "P": self.memory}
        kinds |= {"Lbar": self.discretization, "Pbar": self.discretization}
        own = [getattr(self, name) * kinds.get(name, 1.0) for name in TERMS]
        return np.array([*own, self.memory, self.discretization], dtype=np.float64)

    @property
    def of_adam_only(self) -> tuple[str, ...]:
        """Names of what differs from the statement and only the Adam family has."""
        names = (*TERMS[:-1], "flip_bias_correction", "swap_eps")
        return tuple(name for name in names if getattr(self, name) != getattr(STATEMENT, name))

    @property
    def name(self) -> str:
        """What differs from the statement, or "statement"."""
        changed = [
            field.name
            if getattr(self, field.name) is True
            else f"{field.name} x {getattr(self, field.name):g}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return ", ".join(changed) or "statement"


STATEMENT = Variant()
LEADING = Variant(bias=0.0)


def of_order(order: int) -> Variant:
    """The theorem's field (2) or its leading part (1)."""
    if isinstance(order, bool) or not isinstance(order, int | np.integer) or order not in (1, 2):
        raise ValueError(f"order = {order!r}; accepted: 1 (leading field) or 2 (the theorem's)")
    return STATEMENT if order == 2 else LEADING
