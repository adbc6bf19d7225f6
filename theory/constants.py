r"""The explicit constants of the error bounds for RMSProp and Adam, computed from what the theorems assume.

Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", supplement, Theorems SA-2.3 to SA-5.4 and Lemmas SA-6.1 to SA-7.5. With bounds M_1 .. M_4 on the
partial derivatives, a bound R from below on every sqrt(V + eps_root), q = R + eps, a horizon T and the moments of the weights

.. math:: r_i = (1-\rho) \sum_{k \ge 0} k^i \rho^k, \qquad b_1 = \beta / (1 - \beta),

every constant is a sum of a few products. "epsilon inside the root" is R = sqrt(epsilon), eps = 0 in all formulas; RMSProp is beta = 0. The supplement prints
C_1, C_5 .. C_29 for RMSProp with epsilon outside; D_1, D_2, D_3 are only said to exist, C_2, C_3, C_4 "similarly", and C_30, C_31 are the two further constants
that Adam's numerator needs: they are derived here by the same steps. Any T >= h is allowed: the smallest gives the sharpest constants.

The formulas hold for any exact or rounded numbers (float, Fraction); :func:`constants` is the checked entrance for floats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.checks import positive, real, whole
from stepbias.theory.constants_formulas import Assumed, Number, ledger
from stepbias.theory.optimizers import require_family


@dataclass(frozen=True)
class Constants:
    r"""Every constant by its name, and the terms that it is the sum of.

    Bounds hold for all steps n and components j, along the flow :math:`\tilde\theta(t)`, t in [t_n, t_{n+1}]; E_k is the loss of step k, D_j = R_j + eps the
    denominator, N_j the numerator (the gradient, or its mean M), F = N/D, :math:`U_{k,j} = \sum_i \nabla_{ij}E_k \sum_{l=k}^{n-1} F^{(l)}_i`,
    A = N (2P + Pbar) / (2 D^2 R) and B = (2L + Lbar) / (2D), so that theta' = -F + h (A - B).

    Attributes
    ----------
    C5, C6 : |P|, |Pbar| (Lemma SA-6.1)
    C28 : |theta' + F| / h
    D1 : |theta'| (Lemma SA-6.4)
    C7 : |d/dt grad_j E_k| (6.3)
    C8 : |sum_i Hessian_ij (theta_i' + F_i)| / h (6.4)
    C9 : |U_k| / (n - k) (6.5)
    C10, C14 : the two parts of |P'| (6.6)
    C11 : |R'| (6.12)
    C12, C13 : a part of, and the whole of |U_k'| / (n - k) (6.8)
    C15 : |Pbar'| (6.7)
    C16 : |d/dt D^-2 R^-1|
    C17, C18 : |A'|, |B'| (6.9), (6.10)
    D2 : |theta''| (Lemma SA-6.14)
    C19 : |d^2/dt^2 grad_j E_k| (6.17)
    C20, C21, C22, C23 : |R''|, |(D^-2)''|, |(R^-1)''|, |(D^-2 R^-1)''| (6.18) to (6.21)
    C24 : |U_k''| / (n - k) (6.22)
    leading_second : |(N/D)''|
    product_second : |Pbar''|; r_1 times it bounds |P''|
    A_second, B_second : |A''|, |B''|
    D3 : |theta'''| (Lemma SA-6.22)
    C25, C26 : |V of the past - R^2| / h, and less 2 h P, / h^2 (7.3), (7.4)
    C27 : |theta'' + F'| / h
    C29 : (7.7), F' against its value for theta' = -F, / h
    C30, C31 : |N of the past - M - h L| / h^2, |N of the past - M| / h; 0 for RMSProp
    local : C_1, C_2, C_3 or C_4, the local error / h^3 (Theorems SA-2.3, SA-3.3, SA-4.3, SA-5.3)
    spread : M_2/q (M_1^2/(R q) + 1), without its factor sqrt(p): how fast an error grows
    terms : dict name -> dict of the terms of its sum
    assumed : Assumed
    corrected : bool
    """

    assumed: Assumed
    corrected: bool
    C5: Number
    C6: Number
    C28: Number
    D1: Number
    C7: Number
    C8: Number
    C9: Number
    C10: Number
    C11: Number
    C12: Number
    C13: Number
    C14: Number
    C15: Number
    C16: Number
    C17: Number
    C18: Number
    D2: Number
    C19: Number
    C20: Number
    C21: Number
    C22: Number
    C23: Number
    C24: Number
    leading_second: Number
    product_second: Number
    A_second: Number
    B_second: Number
    D3: Number
    C25: Number
    C26: Number
    C27: Number
    C29: Number
    C30: Number
    C31: Number
    local: Number
    spread: Number
    terms: Mapping[str, Mapping[str, Number]] = field(repr=False)

    @property
    def q(self) -> Number:
        """R + eps, what no denominator comes below."""
        return self.assumed.root + self.assumed.eps

    @property
    def level(self) -> float:
        """d_1 (d_4, d_7, d_10): the global error is at most level e^(growth n h) h^2."""
        return float(self.local)

    @property
    def growth(self) -> float:
        """d_2 (d_5, d_8, d_11): (1 + X) sqrt(p) with X = spread sqrt(p); printed with a factor d_1 on X."""
        width = math.sqrt(self.assumed.dim)
        factor = 1.0 if self.corrected else self.level
        return (1.0 + float(self.spread) * width * factor) * width

    @property
    def difference(self) -> float:
        """d_3 (d_6, d_9, d_12): |e_{n+1} - e_n| is at most difference e^(growth n h) h^3."""
        return self.level * self.growth

    def global_bound(self, time: Any, h: float) -> NDArray[np.float64]:
        """d_1 e^(d_2 t) h^2 at the times t = n h (Theorems SA-2.4, SA-3.4, SA-4.4, SA-5.4); inf where it overflows."""
        with np.errstate(over="ignore"):
            return np.asarray(self.level * np.exp(self.growth * real("time", time)) * h**2)

    def named(self) -> dict[str, float]:
        """All constants by the names of the supplement, in which C_1 .. C_4 and d_1 .. d_12 belong to one algorithm each.

        The algorithm is read from the numbers: beta = 0 is RMSProp, eps = 0 is epsilon inside the root.
        """
        found = {
            name: float(getattr(self, name))
            for name in self.__dataclass_fields__
            if name[0] in "CD" and name[1:].isdigit()
        }
        algorithm = 2 * int(self.assumed.beta > 0) + int(self.assumed.eps == 0)
        found[f"C{algorithm + 1}"] = float(self.local)
        for k, value in enumerate((self.level, self.growth, self.difference)):
            found[f"d{3 * algorithm + k + 1}"] = value
        return found


def compute(a: Assumed, corrected: bool = True) -> Constants:
    """Every constant; the numbers are taken as they are, without checks.

    Parameters
    ----------
    a : Assumed
        With floats or fractions.
    corrected : bool
        False: as printed, that is C_26 without its term C_9^2 r_2, C_1 without the factor M_1 on its last term, d_2 with a factor d_1.
    """
    c = ledger(a, corrected)
    return Constants(assumed=a, corrected=corrected, terms=c.terms, **c.values)


def constants(
    optimizer: Any,
    dim: int,
    bounds: Sequence[float],
    horizon: float,
    root: float | None = None,
    *,
    corrected: bool = True,
) -> Constants:
    """The constants of the local and global error bounds of RMSProp and Adam.

    Parameters
    ----------
    optimizer : Adam or RMSProp
        With scalar parameters.
    dim : int
        p >= 1.
    bounds : four floats
        M_1 .. M_4 > 0 or = 0 (M_1 > 0): bounds on all partial derivatives of order 1 .. 4 of every mini-batch loss over a convex region that contains iterates
        and flow, as ``loss.bounds(lower, upper)`` gives them.
    horizon : float
        T > 0; any number that is at least the step size.
    root : float, optional
        R > 0, a lower bound on sqrt(V + eps_root) of every step so far at every time, and on the root over past gradients; by default sqrt(eps_root), which
        needs no knowledge of the gradients. Needed if eps_root is 0.
    corrected : bool, default True
        False: as printed in the supplement (see :func:`compute`).

    Returns
    -------
    Constants

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and what is accepted.

    References
    ----------
    Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", supplement, Theorems SA-2.3, SA-2.4, SA-3.3, SA-3.4, SA-4.3, SA-4.4, SA-5.3, SA-5.4.

    Examples
    --------
    >>> from stepbias.theory.optimizers import RMSProp
    >>> c = constants(RMSProp(rho=0.5, eps=0.0, eps_root=4.0), 1, (1.0, 1.0, 0.0, 0.0), horizon=0.1)
    >>> c.C9
    0.5
    """
    family = require_family(optimizer)
    numbers = {name: getattr(family, name) for name in ("beta", "rho", "eps", "eps_root")}
    for name, value in numbers.items():
        if np.ndim(value):
            raise ValueError(f"{name} has shape {np.shape(value)}; accepted: one number")
    limits = real("bounds", bounds, "four numbers M_1 .. M_4, M_1 > 0, the others >= 0")
    if limits.shape != (4,) or np.any(limits < 0.0) or limits[0] == 0.0:
        raise ValueError(
            f"bounds = {bounds!r}; accepted: four numbers M_1 .. M_4, M_1 > 0, the others >= 0"
        )
    if root is None and numbers["eps_root"] == 0.0:
        raise ValueError("root = None; accepted for eps_root = 0: a number > 0")
    lowest = math.sqrt(float(numbers["eps_root"])) if root is None else positive("root", root)
    if not isinstance(corrected, bool):
        raise TypeError(f"corrected = {corrected!r}; accepted: True or False")
    assumed = Assumed(
        whole("dim", dim, 1),
        tuple(float(M) for M in limits),  # type: ignore[arg-type]
        float(numbers["beta"]),
        float(numbers["rho"]),
        float(numbers["eps"]),
        lowest,
        positive("horizon", horizon),
    )
    return compute(assumed, corrected)
