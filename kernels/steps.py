"""One step of an optimizer on a block: the discrete iterate."""

from __future__ import annotations

from stepbias.kernels.compensated import add
from stepbias.kernels.jit import inline, kernel
from stepbias.kernels.views import flat, rows
from stepbias.theory import adam

_mean_of = inline(adam.running_mean)
_direction = inline(adam.direction)


@kernel()
def adam_step(oracle_gradient, data, rule, n, h, position, moments):
    """Step n of the Adam family: updates ``position`` and ``moments`` (3, p, L), the mean and square (uncorrected) and the gradient."""
    n = min(n, rule.last)
    mean, mean_square, gradient = moments[0], moments[1], moments[2]
    oracle_gradient(rule.batch[n], position.high, data.ints, data.reals, data.work, gradient)
    mc, sc = rule.mean_correction[n], rule.square_correction[n]
    size = gradient.size
    step, new = flat(h), flat(gradient)
    average, average_square = flat(mean), flat(mean_square)
    high, low = flat(position.high), flat(position.low)
    for i in range(size):
        g = new[i]
        m = _mean_of(average[i], g, rule.beta)
        v = _mean_of(average_square[i], g * g, rule.rho)
        average[i] = m
        average_square[i] = v
        change = -step[i] * _direction(m * mc, v * sc, rule.eps, rule.eps_root)
        high[i], low[i] = add(high[i], low[i], change)


@kernel()
def traced_step(oracle_gradient, data, rule, n, h, position, moments):
    """Step n of a traced rule: updates ``position`` and ``moments`` (R + 2, p, L), the R states, the gradient and the direction."""
    count = moments.shape[0] - 2
    gradient = moments[count]
    oracle_gradient(rule.batch[n], position.high, data.ints, data.reals, data.work, gradient)
    every = rows(moments)
    direction = every[count + 1]
    high, low, step = flat(position.high), flat(position.low), flat(h)
    rule.step(n, rule.columns, every[count], high, every[:count], direction)
    for i in range(high.size):
        high[i], low[i] = add(high[i], low[i], -step[i] * direction[i])
