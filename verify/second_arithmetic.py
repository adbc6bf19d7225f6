"""Iterates and modified flow of one problem once more: plain NumPy, another arithmetic, the sums as printed.

Nothing here is shared with the compiled kernels: weights are powers over the whole past (nothing is truncated), inner sums are taken term by term, the loss
is its formula in :mod:`stepbias.theory.plain_losses`. One evaluation of the field costs O(n m p), so that this is for one problem at a moderate number of
steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.kernels.plain import loss_data
from stepbias.theory.arithmetic import Arithmetic, Array
from stepbias.theory.optimizer import Optimizer
from stepbias.theory.optimizers import AdamFamily
from stepbias.theory.plain_losses import PlainLoss, plain_loss
from stepbias.theory.variants import STATEMENT, Variant
from stepbias.verify.second_rules import RuleField, RuleIterate, covers

Integers = NDArray[np.int64]

# Seconds of one array operation, and of one multiply-add of a longdouble: rough, for the choice of the number of steps only.
_CALL, _FLOP = 2e-6, 5e-9


@dataclass(frozen=True)
class Setting:
    """The numbers of an optimizer of the Adam family."""

    beta: float
    rho: float
    eps: float
    eps_root: float
    bias_correction: bool

    @classmethod
    def of(cls, optimizer: AdamFamily) -> Setting:
        """Of an optimizer with scalar parameters."""
        return cls(
            float(optimizer.beta),
            float(optimizer.rho),
            float(optimizer.eps),
            float(optimizer.eps_root),
            optimizer.bias_correction,
        )

    def under(self, variant: Variant) -> Setting:
        """What the flow of a variant uses in its place."""
        eps, eps_root = self.eps, self.eps_root
        if variant.swap_eps:
            eps, eps_root = eps_root, eps
        corrected = self.bias_correction != variant.flip_bias_correction
        return Setting(self.beta, self.rho, eps, eps_root, corrected)


def setting_of(optimizer: Any) -> Setting | Optimizer:
    """What :func:`replicate` needs of an optimizer."""
    return optimizer if isinstance(optimizer, Optimizer) else Setting.of(optimizer)


def comparable(optimizer: Any, variant: Variant, numbers: Arithmetic) -> str:
    """Why a measurement cannot be repeated in the second arithmetic, or nothing."""
    if variant.limit:
        return "the second arithmetic knows no coefficients of n -> infinity"
    if isinstance(optimizer, Optimizer) and not covers(numbers):
        return f"a rule cannot be run in {numbers.name}"
    return ""


class CompiledLoss:
    """A loss without a plain formula: its own float64 functions, sums of them in the wider arithmetic."""

    def __init__(self, loss: Loss, numbers: Arithmetic) -> None:
        self.loss = loss if loss.problems is None else loss.select(0)
        self.numbers, self.dim, self.batches = numbers, loss.dim, loss.batches

    def gradients(self, theta: Array) -> Array:
        """See :class:`stepbias.theory.plain_losses.PlainLoss`."""
        point = theta.astype(np.float64)
        rows = [self.loss.gradient(b, point) for b in range(self.batches)]
        return self.numbers.real(np.array(rows))

    def products(self, theta: Array, vectors: Array) -> Array:
        """See :class:`stepbias.theory.plain_losses.PlainLoss`."""
        point = theta.astype(np.float64)
        directions = vectors.astype(np.float64)
        rows = [
            [self.loss.hvp(b, point, v[b]) for b in range(self.batches)]
            for v in directions.reshape(-1, self.batches, self.dim)
        ]
        return self.numbers.real(np.array(rows).reshape(vectors.shape))


def loss_in(loss: Loss, numbers: Arithmetic) -> tuple[PlainLoss, str]:
    """The loss of one problem in an arithmetic, and how its derivatives are computed, in words."""
    data = loss_data(loss)
    if data is not None:
        try:
            return plain_loss(data, numbers), f"plain formula, {data['kind']}"
        except ValueError:  # a function that this arithmetic does not have
            pass
    return CompiledLoss(loss, numbers), "the loss's own float64 functions, sums in this arithmetic"


class _Weights:
    """Powers and class weights of one decay along a schedule."""

    def __init__(self, numbers: Arithmetic, decay: float, batch: Integers, batches: int) -> None:
        steps = len(batch)
        q = numbers.real(decay)
        self.power = numbers.real(np.zeros(steps))  # decay^i (1 - decay)
        self.total = numbers.real(
            np.zeros((steps, batches))
        )  # summed over the steps k <= n of batch b
        self.correction = numbers.real(np.ones(steps))
        running, power = numbers.real(np.zeros(batches)), numbers.real(1.0)
        for n in range(steps):
            self.power[n] = power * (1 - q)
            power = power * q
            running = q * running
            running[batch[n]] += 1 - q
            self.total[n] = running
            self.correction[n] = 1 / (1 - power)


class Field:
    """The modified field of one problem, its sums over the whole past.

    Parameters
    ----------
    numbers : Arithmetic
    setting : Setting
        Of the flow.
    loss : PlainLoss
    h : number of the arithmetic
    batch : (N,) int64
    variant : Variant
    """

    def __init__(
        self,
        numbers: Arithmetic,
        setting: Setting,
        loss: PlainLoss,
        h: Any,
        batch: Integers,
        variant: Variant,
    ) -> None:
        self.numbers, self.setting, self.loss, self.h = numbers, setting, loss, h
        self.mean, self.square = (
            _Weights(numbers, decay, batch, loss.batches) for decay in (setting.beta, setting.rho)
        )
        self.member = numbers.real((batch[:, None] == np.arange(loss.batches)).astype(float))
        self.factor = {k: numbers.real(float(v)) for k, v in asdict(variant).items()}
        for kind, terms in (("memory", ("L", "P")), ("discretization", ("Lbar", "Pbar"))):
            self.factor |= {term: self.factor[term] * self.factor[kind] for term in terms}
        self.short, self.leading = variant.short_memory, variant.bias == 0.0
        self.eps, self.eps_root = numbers.real(setting.eps), numbers.real(setting.eps_root)

    def _average(self, weights: _Weights, n: int, values: Array) -> Array:
        """Averages after the steps 0 .. n of the batches' values (m, p): (n + 1, p)."""
        result = weights.total[: n + 1] @ values
        if self.setting.bias_correction:
            result = weights.correction[: n + 1, None] * result
        return result

    def _lag(
        self, weights: _Weights, n: int, past: Array, now: Array, factors: tuple[Any, Any]
    ) -> Array:
        """What H_b multiplies: 2 sum over k of weight displacement_k, plus weight U^(n), (m, p)."""
        weight = self.member[: n + 1] * weights.power[: n + 1][::-1, None]
        lag = 2 * factors[0] * (weight.T @ past) + factors[1] * weights.total[n][:, None] * now
        return weights.correction[n] * lag if self.setting.bias_correction else lag

    def __call__(self, theta: Array, n: int) -> Array:
        """Right-hand side in the piece n at theta (p,)."""
        c, root_of = self.factor, self.numbers.sqrt
        g = self.loss.gradients(theta)
        means = self._average(self.mean, n, g)
        roots = root_of(self._average(self.square, n, g * g) + self.eps_root)
        M, R = c["M"] * means[n], c["R"] * roots[n]
        D = R + self.eps
        if self.leading:
            return -M / D
        U = means / (roots + self.eps)
        last = n - 1 if self.short else n
        displacement = 0 * U  # row k: the sum of U^(l) over k <= l < last
        if last > 0:
            displacement[:last] = np.cumsum(U[:last][::-1], axis=0)[::-1]
        lags = np.stack(
            [
                self._lag(self.mean, n, displacement, U[n], (c["L"], c["Lbar"])),
                self._lag(self.square, n, displacement, U[n], (c["P"], c["Pbar"])),
            ]
        )
        first, second = self.loss.products(theta, lags)
        numerator_lag = c["bias"] * first.sum(axis=0)
        square_lag = c["bias"] * (g * second).sum(axis=0)
        safe = np.where(R > 0, R, 1 + 0 * R)  # where R = 0 every gradient in memory is, and so is P
        bias = M * np.where(R > 0, square_lag / safe, 0 * R) / (2 * D * D) - numerator_lag / (2 * D)
        return self.h * bias - M / D


@dataclass(frozen=True)
class Replica:
    """What the second arithmetic found at one number of steps.

    Attributes
    ----------
    error : number of the arithmetic
        Largest 2-norm of iterate - flow over the steps (of the one-step defect if ``local``).
    iterate, flow : (p,)
        The two end points.
    """

    steps: int
    error: Any
    iterate: Array
    flow: Array


def replicate(
    numbers: Arithmetic,
    setting: Setting | Optimizer,
    loss: PlainLoss,
    theta0: Sequence[float] | NDArray[np.float64],
    h: float,
    batch: Integers,
    variant: Variant = STATEMENT,
    *,
    local: bool = False,
    substeps: int = 2,
) -> Replica:
    """Both trajectories of one problem over ``len(batch)`` steps.

    Parameters
    ----------
    numbers : Arithmetic
    setting : Setting or Optimizer
        Of the optimizer; an optimizer that is given by its rule needs an arithmetic with complex numbers, see :func:`comparable`.
    loss : PlainLoss
        In the same arithmetic.
    theta0 : (p,) float64
    h : float
        Step size, the same double as the kernels use.
    batch : (N,) int64
        Batch of every step.
    variant : Variant
        The field of the flow.
    local : bool
        Put the iterate back on the flow before every step.
    substeps : int
        Classical Runge-Kutta steps on every piece.
    """
    step = numbers.real(h)
    field: Field | RuleField
    advance: _Iterate | RuleIterate
    if isinstance(setting, Optimizer):
        field = RuleField(setting, loss, step, batch, variant)
        advance = RuleIterate(setting, loss, step)
    else:
        field = Field(numbers, setting.under(variant), loss, step, batch, variant)
        advance = _Iterate(numbers, setting, loss, step)
    flow = numbers.real(np.array(theta0, dtype=np.float64))
    iterate = flow
    largest = numbers.real(0.0)
    with np.errstate(all="ignore"):
        for n, b in enumerate(batch):
            iterate = advance(flow if local else iterate, int(b))
            for _ in range(substeps):
                flow = _runge_kutta(field, flow, step / substeps, n)
            gap = iterate - flow
            size = numbers.sqrt((gap * gap).sum())
            if not size <= largest:  # a NaN stays
                largest = size
                if size != size:
                    break
    return Replica(len(batch), largest, iterate, flow)


class _Iterate:
    """The discrete iterates of the Adam family."""

    def __init__(self, numbers: Arithmetic, setting: Setting, loss: PlainLoss, h: Any) -> None:
        self.numbers, self.loss, self.h = numbers, loss, h
        self.corrected = setting.bias_correction
        self.decays = numbers.real(np.array([setting.beta, setting.rho]))
        self.powers = 1 + 0 * self.decays  # beta^n and rho^n
        self.eps, self.eps_root = numbers.real(setting.eps), numbers.real(setting.eps_root)
        self.state: tuple[Array, Array] | None = None

    def __call__(self, theta: Array, b: int) -> Array:
        """One step from theta (p,) with the gradient of batch b."""
        g = self.loss.gradients(theta)[b]
        beta, rho = self.decays
        before = (0 * g, 0 * g) if self.state is None else self.state
        m = beta * before[0] + (1 - beta) * g
        v = rho * before[1] + (1 - rho) * g * g
        self.state, self.powers = (m, v), self.powers * self.decays
        mean, square = m, v
        if self.corrected:
            mean, square = m / (1 - self.powers[0]), v / (1 - self.powers[1])
        return theta - self.h * mean / (self.numbers.sqrt(square + self.eps_root) + self.eps)


def _runge_kutta(field: Field | RuleField, theta: Array, h: Any, n: int) -> Array:
    """One classical step of order 4 inside the piece n."""
    k1 = field(theta, n)
    k2 = field(theta + h / 2 * k1, n)
    k3 = field(theta + h / 2 * k2, n)
    k4 = field(theta + h * k3, n)
    return theta + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def affordable(
    steps: Sequence[int],
    loss: Loss,
    numbers: Arithmetic,
    seconds: float,
    leading: bool = False,
    *,
    substeps: int = 2,
) -> int:
    """The largest of the step counts that takes about ``seconds`` at most; the smallest if none does."""

    def cost(count: int) -> float:
        m, p = loss.batches, loss.dim
        units = getattr(loss.source, "units", 32 * m)
        past = 0.5 * count * p * ((2 * m + 6) if leading else (6 * m + 20))
        operations = past + 6 * m * p * units
        return 4 * substeps * count * (60 * _CALL + numbers.cost * _FLOP * operations)

    fitting = [count for count in steps if cost(count) <= seconds]
    return max(fitting) if fitting else min(steps)
