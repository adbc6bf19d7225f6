"""Optimizers that are given by their update rule alone; fields, sums and code follow from the rule.

The rules are the definitions: a reader who wants to know what ``NAdam`` means here reads one function.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stepbias.theory.checks import choice, parameter
from stepbias.theory.optimizer import Optimizer, Parameter
from stepbias.theory.optimizers import check_scales
from stepbias.theory.tracing import sqrt, tanh

# rules: (g, state, n, theta, q) -> (direction, new_state) ----------------------------------------------


def gradient_descent(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """The gradient."""
    return g, ()


def heavy_ball(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """m <- beta m + g, direction m."""
    m = q.beta * state[0] + g
    return m, (m,)


def nesterov(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """m <- beta m + g, direction g + beta m."""
    m = q.beta * state[0] + g
    return g + q.beta * m, (m,)


def adamw(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """Adam's direction plus weight_decay theta."""
    m = q.beta * state[0] + (1 - q.beta) * g
    v = q.rho * state[1] + (1 - q.rho) * g**2
    mean, square = m / (1 - q.beta ** (n + 1)), v / (1 - q.rho ** (n + 1))
    return mean / (sqrt(square + q.eps_root) + q.eps) + q.weight_decay * theta, (m, v)


def nadam(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """Adam with Nesterov's look-ahead at a constant beta."""
    m = q.beta * state[0] + (1 - q.beta) * g
    v = q.rho * state[1] + (1 - q.rho) * g**2
    mean = q.beta * m / (1 - q.beta ** (n + 2)) + (1 - q.beta) * g / (1 - q.beta ** (n + 1))
    return mean / (sqrt(v / (1 - q.rho ** (n + 1)) + q.eps_root) + q.eps), (m, v)


def nadam_warming(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """Adam with Nesterov's look-ahead, mu_t = beta (1 - 0.96^(t psi) / 2) growing to beta; the third state is the product of the mu."""
    m = q.beta * state[0] + (1 - q.beta) * g
    v = q.rho * state[1] + (1 - q.rho) * g**2
    mu = q.beta * (1 - 0.5 * 0.96 ** ((n + 1) * q.psi))
    following = q.beta * (1 - 0.5 * 0.96 ** ((n + 2) * q.psi))
    product = state[2] * mu
    mean = following * m / (1 - product * following) + (1 - mu) * g / (1 - product)
    return mean / (sqrt(v / (1 - q.rho ** (n + 1)) + q.eps_root) + q.eps), (m, v, product)


def soft_sign(x: Any, delta: Any) -> Any:
    """x / sqrt(x^2 + delta)."""
    return x / sqrt(x**2 + delta)


def tanh_sign(x: Any, delta: Any) -> Any:
    """tanh(x / delta)."""
    return tanh(x / delta)


def lion_soft(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """S(beta_1 m + (1 - beta_1) g) + weight_decay theta, then m <- beta_2 m + (1 - beta_2) g."""
    mixed = q.beta_1 * state[0] + (1 - q.beta_1) * g
    m = q.beta_2 * state[0] + (1 - q.beta_2) * g
    return soft_sign(mixed, q.delta) + q.weight_decay * theta, (m,)


def lion_tanh(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """As :func:`lion_soft` with the hyperbolic tangent."""
    mixed = q.beta_1 * state[0] + (1 - q.beta_1) * g
    m = q.beta_2 * state[0] + (1 - q.beta_2) * g
    return tanh_sign(mixed, q.delta) + q.weight_decay * theta, (m,)


def signum_soft(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """m <- beta m + (1 - beta) g, direction S(m)."""
    m = q.beta * state[0] + (1 - q.beta) * g
    return soft_sign(m, q.delta), (m,)


def signum_tanh(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """As :func:`signum_soft` with the hyperbolic tangent."""
    m = q.beta * state[0] + (1 - q.beta) * g
    return tanh_sign(m, q.delta), (m,)


# optimizers -------------------------------------------------------------------------------------------


def _decays(**values: Parameter) -> None:
    for name, value in values.items():
        parameter(name, value, 0.0, 1.0)


class GradientDescent(Optimizer):
    r"""Gradient descent, :math:`\theta^{(n+1)} = \theta^{(n)} - h g_n`.

    References
    ----------
    D. G. T. Barrett and B. Dherin, "Implicit Gradient Regularization".
    """

    def __init__(self) -> None:
        self._fill("GradientDescent", gradient_descent, (), {})


class HeavyBall(Optimizer):
    r"""Heavy ball: :math:`m \leftarrow \beta m + g,\ \theta \leftarrow \theta - h m`, as PyTorch's SGD with momentum.

    Parameters
    ----------
    beta : float or (B,) array
        Decay of the momentum, in [0, 1).

    Raises
    ------
    ValueError, TypeError
        Naming the parameter, its value and what is accepted.

    References
    ----------
    B. T. Polyak, "Some methods of speeding up the convergence of iteration methods".
    """

    def __init__(self, beta: Parameter) -> None:
        _decays(beta=beta)
        self._fill("HeavyBall", heavy_ball, (0.0,), {"beta": beta})


class Nesterov(Optimizer):
    r"""Nesterov's momentum in the look-ahead variable: :math:`m \leftarrow \beta m + g,\ \theta \leftarrow \theta - h (g + \beta m)`, as PyTorch's SGD with
    ``nesterov=True``.

    Parameters
    ----------
    beta : float or (B,) array
        In [0, 1), constant: the memory of k / (k + 3) is not damped.

    Raises
    ------
    ValueError, TypeError
        Naming the parameter, its value and what is accepted.

    References
    ----------
    I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization and momentum in deep learning".
    """  # noqa: D205

    def __init__(self, beta: Parameter) -> None:
        _decays(beta=beta)
        self._fill("Nesterov", nesterov, (0.0,), {"beta": beta})


class AdamW(Optimizer):
    r"""Adam with decoupled weight decay, :math:`\theta \leftarrow \theta - h (M / (\sqrt{V + \varepsilon_{root}} + \varepsilon) + \lambda\theta)`.

    Parameters
    ----------
    beta, rho, eps, eps_root : float or (B,) array
        As in :class:`Adam`; PyTorch's defaults.
    weight_decay : float or (B,) array, default 0.01
        lambda, >= 0.

    Raises
    ------
    ValueError, TypeError
        Naming the parameter, its value and what is accepted.

    References
    ----------
    I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization".
    """

    def __init__(
        self,
        beta: Parameter = 0.9,
        rho: Parameter = 0.999,
        eps: Parameter = 1e-8,
        eps_root: Parameter = 0.0,
        weight_decay: Parameter = 0.01,
    ) -> None:
        _decays(beta=beta)
        check_scales(rho, eps, eps_root)
        parameter("weight_decay", weight_decay, 0.0, np.inf)
        values = {"beta": beta, "rho": rho, "eps": eps, "eps_root": eps_root}
        self._fill("AdamW", adamw, (0.0, 0.0), values | {"weight_decay": weight_decay})


class NAdam(Optimizer):
    r"""Adam with Nesterov's look-ahead.

    The numerator is :math:`\mu_{n+2} m / (1 - \Pi_{n+2}) + (1 - \mu_{n+1}) g / (1 - \Pi_{n+1})` with :math:`\Pi_t = \mu_1 \cdots \mu_t`.

    Parameters
    ----------
    beta, rho, eps, eps_root : float or (B,) array
        As in :class:`Adam`.
    psi : float, (B,) array or None, default None
        None: mu_t = beta. Else mu_t = beta (1 - 0.96^(t psi) / 2); PyTorch's ``momentum_decay``, 0.004 there. > 0.

    Raises
    ------
    ValueError, TypeError
        Naming the parameter, its value and what is accepted.

    References
    ----------
    T. Dozat, "Incorporating Nesterov Momentum into Adam".
    """

    def __init__(
        self,
        beta: Parameter = 0.9,
        rho: Parameter = 0.999,
        eps: Parameter = 1e-8,
        eps_root: Parameter = 0.0,
        psi: Parameter | None = None,
    ) -> None:
        _decays(beta=beta)
        check_scales(rho, eps, eps_root)
        values = {"beta": beta, "rho": rho, "eps": eps, "eps_root": eps_root}
        if psi is None:
            self._fill("NAdam", nadam, (0.0, 0.0), values)
            return
        parameter("psi", psi, 0.0, np.inf, closed_below=False)
        self._fill("NAdam", nadam_warming, (0.0, 0.0, 1.0), values | {"psi": psi})


class SmoothLion(Optimizer):
    r"""Lion with a smooth sign: direction :math:`S(\beta_1 m + (1-\beta_1) g) + \lambda\theta`, then :math:`m \leftarrow \beta_2 m + (1-\beta_2) g`.

    Parameters
    ----------
    beta_1, beta_2 : float or (B,) array
        In [0, 1).
    delta : float or (B,) array
        Width of the sign, > 0: the theory needs two continuous derivatives, so that the true sign (delta to 0) is not covered.
    weight_decay : float or (B,) array, default 0
        lambda, >= 0.
    shape : {"soft", "tanh"}
        S(x) = x / sqrt(x^2 + delta), or tanh(x / delta).

    Raises
    ------
    ValueError, TypeError
        Naming the parameter, its value and what is accepted.

    References
    ----------
    X. Chen et al., "Symbolic Discovery of Optimization Algorithms".
    """

    def __init__(
        self,
        beta_1: Parameter,
        beta_2: Parameter,
        delta: Parameter,
        weight_decay: Parameter = 0.0,
        shape: str = "soft",
    ) -> None:
        _decays(beta_1=beta_1, beta_2=beta_2)
        parameter("delta", delta, 0.0, np.inf, closed_below=False)
        parameter("weight_decay", weight_decay, 0.0, np.inf)
        rule = {"soft": lion_soft, "tanh": lion_tanh}[choice("shape", shape, ("soft", "tanh"))]
        values = {"beta_1": beta_1, "beta_2": beta_2, "delta": delta, "weight_decay": weight_decay}
        self._fill("SmoothLion", rule, (0.0,), values, {"shape": shape})


class SmoothSignum(Optimizer):
    r"""Sign descent with momentum and a smooth sign: :math:`m \leftarrow \beta m + (1-\beta) g`, direction :math:`S(m)`.

    Parameters
    ----------
    beta : float or (B,) array
        In [0, 1).
    delta : float or (B,) array
        Width of the sign, > 0.
    shape : {"soft", "tanh"}
        As in :class:`SmoothLion`.

    Raises
    ------
    ValueError, TypeError
        Naming the parameter, its value and what is accepted.

    References
    ----------
    J. Bernstein, Y.-X. Wang, K. Azizzadenesheli and A. Anandkumar, "signSGD: Compressed Optimisation for Non-Convex Problems".
    """

    def __init__(self, beta: Parameter, delta: Parameter, shape: str = "soft") -> None:
        _decays(beta=beta)
        parameter("delta", delta, 0.0, np.inf, closed_below=False)
        rule = {"soft": signum_soft, "tanh": signum_tanh}[choice("shape", shape, ("soft", "tanh"))]
        self._fill("SmoothSignum", rule, (0.0,), {"beta": beta, "delta": delta}, {"shape": shape})
