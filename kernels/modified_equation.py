"""``modified_equation``: the formula of an optimizer's modified equation, and its value."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.trajectories import vector_field
from stepbias.theory.optimizers import AnyOptimizer, require_optimizer
from stepbias.theory.variants import of_order

if TYPE_CHECKING:
    from stepbias.theory.equation import Equation


class ModifiedEquation:
    """The modified equation of one optimizer; calling it gives :func:`stepbias.vector_field`.

    Attributes
    ----------
    optimizer : Adam, RMSProp or Optimizer
    order : int
    """

    def __init__(self, optimizer: AnyOptimizer, order: int) -> None:
        self.optimizer = optimizer
        self.order = order

    @cached_property
    def _equation(self) -> Equation:
        from stepbias.theory.equation import equation_of  # SymPy: only for those who ask

        return equation_of(self.optimizer, self.order)

    def sympy(self) -> Any:
        """Right-hand side of one component, a SymPy expression.

        Adam and RMSProp: in the sums M_j, R_j, L_j, Lbar_j, P_j, Pbar_j, in epsilon and h. A rule whose states are weighted sums over the past: in these sums
        X_r, their changes Y_r, the step's own gradient g and its change Z, theta, n, the parameters and h. Any other rule: -F_j - h/2 Fdot_j. ``where`` says
        what each symbol is.
        """
        return self._equation.rate

    @property
    def where(self) -> dict[Any, str]:
        """Symbol -> what it stands for, LaTeX."""
        return dict(self._equation.where)

    def latex(self) -> str:
        """The equation in LaTeX, and a line for every sum in it."""
        return self._equation.latex()

    def __call__(
        self, loss: Any, theta: Any, n: int, h: Any, schedule: Any = None
    ) -> NDArray[np.float64]:
        """The field at step n, (p,) or (B, p): :func:`stepbias.vector_field`."""
        return vector_field(self.optimizer, loss, theta, n, h, schedule, self.order)

    def __repr__(self) -> str:
        return f"modified_equation({self.optimizer!r}, order={self.order})"


def modified_equation(optimizer: Any, order: int = 2) -> ModifiedEquation:
    """The modified equation of an optimizer, as a formula and as a function.

    Parameters
    ----------
    optimizer : Adam, RMSProp or Optimizer
    order : {2, 1}
        2: the memoryless equation with its O(h) term; 1: its leading part alone.

    Returns
    -------
    ModifiedEquation
        ``.latex()``, ``.sympy()``, ``.where``; called with (loss, theta, n, h, schedule) it gives the field.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is accepted.

    References
    ----------
    Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Theorems 3.1 and 4.2; Cattaneo, Shigida, "How Memory in Optimization Algorithms Implicitly
    Modifies the Loss".

    Examples
    --------
    >>> import stepbias as sb
    >>> print(sb.modified_equation(sb.GradientDescent()).sympy())
    -Z*h/2 - g
    """
    of_order(order)
    return ModifiedEquation(require_optimizer(optimizer), int(order))
