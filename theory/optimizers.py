"""Optimizers of the Adam family, and their translation from other libraries."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.checks import choice, parameter
from stepbias.theory.optimizer import Optimizer

Parameter = float | NDArray[np.float64]


def check_scales(rho: Parameter, eps: Parameter, eps_root: Parameter) -> None:
    """``ValueError`` for a decay or a constant of the denominator out of range."""
    parameter("rho", rho, 0.0, 1.0)
    parameter("eps", eps, 0.0, np.inf)
    parameter("eps_root", eps_root, 0.0, np.inf)
    if np.ndim(eps) == np.ndim(eps_root) == 1 and np.shape(eps) != np.shape(eps_root):
        raise ValueError(
            f"eps has shape {np.shape(eps)}, eps_root {np.shape(eps_root)}; accepted: one number of problems B"
        )
    if np.any(np.add(eps, eps_root) == 0.0):
        raise ValueError(
            f"eps = {eps!r} and eps_root = {eps_root!r} are both 0; accepted: at least one of them positive"
        )


def _own(optimizer: Adam | RMSProp, *names: str) -> None:
    """Keep read-only copies of per-problem parameters: the caller's arrays may change after the check."""
    for name in names:
        value = getattr(optimizer, name)
        if np.ndim(value):
            copy = np.array(value, dtype=np.float64)
            copy.flags.writeable = False
            object.__setattr__(optimizer, name, copy)


@dataclass(frozen=True, eq=False)
class Adam:
    r"""Adam, component-wise, with both places of epsilon.

    .. math::

        \theta^{(n+1)} = \theta^{(n)} - h \frac{M}{\sqrt{V + \varepsilon_{root}} + \varepsilon},\quad
        M = \frac{(1-\beta)\sum_{k\le n} \beta^{n-k} g_k}{1-\beta^{n+1}},\quad
        V = \frac{(1-\rho)\sum_{k\le n} \rho^{n-k} g_k^2}{1-\rho^{n+1}}.

    Parameters
    ----------
    beta : float or (B,) array, default 0.9
        Decay of the gradient mean, in [0, 1).
    rho : float or (B,) array, default 0.999
        Decay of the mean square, in [0, 1).
    eps : float or (B,) array, default 1e-8
        Constant outside the square root, >= 0.
    eps_root : float or (B,) array, default 0
        Constant inside the square root, >= 0; not both may be 0.
    bias_correction : bool, default True
        Divide the means by 1 - beta^(n+1) and 1 - rho^(n+1).

    Raises
    ------
    ValueError, TypeError
        Naming the parameter, its value and what is accepted.

    References
    ----------
    Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Definition 2.1.

    Examples
    --------
    >>> Adam(beta=0.9, rho=0.95, eps=0.0, eps_root=1e-2).rho
    0.95
    """

    beta: Parameter = 0.9
    rho: Parameter = 0.999
    eps: Parameter = 1e-8
    eps_root: Parameter = 0.0
    bias_correction: bool = True

    def __post_init__(self) -> None:
        parameter("beta", self.beta, 0.0, 1.0)
        check_scales(self.rho, self.eps, self.eps_root)
        if not isinstance(self.bias_correction, bool):
            raise TypeError(f"bias_correction = {self.bias_correction!r}; accepted: True or False")
        _own(self, "beta", "rho", "eps", "eps_root")


@dataclass(frozen=True, eq=False)
class RMSProp:
    r"""RMSProp: Adam with beta = 0 and without bias correction.

    .. math:: \theta^{(n+1)} = \theta^{(n)} - h\, g_n \big/ \big(\sqrt{V + \varepsilon_{root}} + \varepsilon\big),\quad
        V = (1-\rho)\sum_{k\le n} \rho^{n-k} g_k^2.

    Parameters
    ----------
    rho, eps, eps_root : float or (B,) array
        As in :class:`Adam`.

    References
    ----------
    Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam", Definition 4.1 (epsilon inside) and its variant (outside).
    """

    rho: Parameter = 0.99
    eps: Parameter = 1e-8
    eps_root: Parameter = 0.0

    def __post_init__(self) -> None:
        check_scales(self.rho, self.eps, self.eps_root)
        _own(self, "rho", "eps", "eps_root")

    @property
    def beta(self) -> float:
        """Zero: the numerator is the last gradient alone."""
        return 0.0

    @property
    def bias_correction(self) -> bool:
        """False: the weights of the mean square sum to 1 - rho^(n+1)."""
        return False


AdamFamily = Adam | RMSProp
AnyOptimizer = Adam | RMSProp | Optimizer

_FAMILY_PARAMETERS = ("beta", "rho", "eps", "eps_root")


def require_optimizer(optimizer: Any) -> AnyOptimizer:
    """``optimizer`` itself, or ``TypeError`` if it is none."""
    if not isinstance(optimizer, AnyOptimizer):
        raise TypeError(
            f"optimizer = {optimizer!r} has type {type(optimizer).__name__}; "
            "accepted: an Adam or an RMSProp, or another optimizer of stepbias (Optimizer.define)"
        )
    return optimizer


def parameter_names(optimizer: AnyOptimizer) -> tuple[str, ...]:
    """Parameters that may be given per problem."""
    return optimizer.parameter_names if isinstance(optimizer, Optimizer) else _FAMILY_PARAMETERS


def decay_of(optimizer: AnyOptimizer) -> Parameter:
    """Factor by which the slowest memory shrinks in a step; one per problem where the parameters are."""
    if isinstance(optimizer, Optimizer):
        return optimizer.decay
    found = np.maximum(optimizer.beta, optimizer.rho)
    return float(found) if np.ndim(found) == 0 else np.asarray(found, dtype=np.float64)


def take_optimizer(optimizer: AnyOptimizer, rows: NDArray[np.int64]) -> AnyOptimizer:
    """The optimizer of the problems ``rows``: entries of parameters that are given per problem."""
    if isinstance(optimizer, Optimizer):
        return optimizer.take(rows)
    chosen: dict[str, Any] = {
        one.name: np.asarray(getattr(optimizer, one.name))[rows]
        for one in fields(optimizer)
        if np.ndim(getattr(optimizer, one.name))
    }
    return replace(optimizer, **chosen) if chosen else optimizer


def require_family(optimizer: Any) -> AdamFamily:
    """``optimizer`` itself, or ``TypeError`` if it is not of the Adam family."""
    if not isinstance(optimizer, Adam | RMSProp):
        raise TypeError(
            f"optimizer = {optimizer!r} has type {type(optimizer).__name__}; accepted: an Adam or an RMSProp"
        )
    return optimizer


def from_torch(optimizer: Any) -> AdamFamily:
    """Translate a ``torch.optim.Adam`` or ``torch.optim.RMSprop`` instance.

    PyTorch adds eps outside the root and does not correct RMSprop's mean. The learning rate is not part of the result.

    Raises
    ------
    TypeError
        For another class.
    ValueError
        For an option that the family does not cover (weight decay, amsgrad, maximize, momentum, centered) or for groups that differ.
    """
    groups = getattr(optimizer, "param_groups", None)
    name = type(optimizer).__name__
    if not groups or name not in ("Adam", "RMSprop"):
        raise TypeError(f"optimizer = {name}; accepted: torch.optim.Adam or torch.optim.RMSprop")
    for option in ("weight_decay", "amsgrad", "maximize", "momentum", "centered"):
        for group in groups:
            if group.get(option):
                raise ValueError(f"{option} = {group[option]!r}; accepted: {option} switched off")
    results = [
        Adam(float(g["betas"][0]), float(g["betas"][1]), float(g["eps"]))
        if name == "Adam"
        else RMSProp(rho=float(g["alpha"]), eps=float(g["eps"]))
        for g in groups
    ]
    settings = {(o.beta, o.rho, o.eps) for o in results}
    if len(settings) > 1:
        raise ValueError(
            f"param_groups use different settings {sorted(settings)}; accepted: equal ones"
        )
    return results[0]


_OPTAX_DEFAULTS: dict[str, dict[str, Any]] = {
    "adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "eps_root": 0.0},
    "rmsprop": {"decay": 0.9, "eps": 1e-8, "eps_in_sqrt": True, "bias_correction": False},
}
# Options that the family does not cover; accepted where they are switched off.
_OPTAX_OFF: dict[str, tuple[str, ...]] = {
    "adam": ("mu_dtype", "nesterov"),
    "rmsprop": ("initial_scale", "centered", "momentum", "nesterov"),
}


def from_optax(name: str, **kwargs: Any) -> AdamFamily:
    """Translate ``optax.adam`` or ``optax.rmsprop`` with that library's defaults and conventions.

    Parameters
    ----------
    name : {"adam", "rmsprop"}
    **kwargs
        As in Optax; ``learning_rate`` is ignored. ``optax.rmsprop`` puts eps inside the root unless ``eps_in_sqrt=False``.

    Raises
    ------
    ValueError
        For another name, or an option that the family does not cover.
    """
    choice("name", name, tuple(_OPTAX_DEFAULTS))
    kwargs.pop("learning_rate", None)
    options = dict(_OPTAX_DEFAULTS[name])
    for key, value in kwargs.items():
        if key in options:
            options[key] = value
        elif key not in _OPTAX_OFF[name] or not (
            value is None or (isinstance(value, int | float) and value == 0)
        ):
            raise ValueError(f"{key} = {value!r}; accepted for optax.{name}: {', '.join(options)}")
    for key in ("b1", "b2", "decay"):
        if key in options:
            parameter(key, options[key], 0.0, 1.0)
    for key in ("eps_in_sqrt", "bias_correction"):
        if not isinstance(options.get(key, False), bool):
            raise TypeError(f"{key} = {options[key]!r}; accepted: True or False")
    if name == "adam":
        return Adam(options["b1"], options["b2"], options["eps"], options["eps_root"])
    eps = parameter("eps", options["eps"], 0.0, np.inf)
    inside, outside = (eps, 0.0) if options["eps_in_sqrt"] else (0.0, eps)
    if options["bias_correction"]:
        return Adam(0.0, options["decay"], outside, inside)
    return RMSProp(options["decay"], outside, inside)
