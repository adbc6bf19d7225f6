"""The ensemble in JAX: scans over the steps around the memory sums of :mod:`bench.peers_jax`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from bench.cases import EPS_ROOT, EnsembleCase
from bench.peers_jax import (
    DEVICES,
    Array,
    Direction,
    SumsRule,
    blocked_rule,
    compiled,
    dense_rule,
    divided,
    loop_rule,
    newton,
    sincos,
    sine,
)

# theta of the block (p, B) -> gradients (m, p, B), and a function of vectors (m, p, B) to Hessian-vector products
Oracle = Callable[[Array], tuple[Array, Callable[[Array], Array]]]


def analytic(amplitude: Array, frequency: Array, phase: Array, *, library: bool = False) -> Oracle:
    """Hand-written derivatives on lanes; ``library``: ``jnp.sin`` and ``jnp.cos`` instead of polynomials."""

    def oracle(theta: Array) -> tuple[Array, Callable[[Array], Array]]:
        z = (frequency * theta).sum(1) + phase
        sin, cos = (jnp.sin(z), jnp.cos(z)) if library else sincos(z)
        curvature, slope = lax.optimization_barrier((-amplitude * sin, amplitude * cos))

        def products(vectors: Array) -> Array:
            inner = curvature * (frequency * vectors[:, None]).sum(2)
            return (inner[:, :, None] * frequency).sum(1)

        return (slope[:, :, None] * frequency).sum(1), products

    return oracle


def automatic(amplitude: Array, frequency: Array, phase: Array) -> Oracle:
    """``jax.grad`` and ``jax.linearize`` of the loss of one batch, vmapped over batches and problems."""

    def loss(theta: Array, a: Array, w: Array, c: Array) -> Array:
        return (a * sine(w @ theta + c)).sum()

    # points (m, p): every batch at a point of its own, so that one linearization serves all batches
    one = jax.vmap(jax.grad(loss), in_axes=(0, 0, None, 0))
    every = jax.vmap(one, in_axes=-1, out_axes=-1)

    def oracle(theta: Array) -> tuple[Array, Callable[[Array], Array]]:
        points = jnp.broadcast_to(theta, (amplitude.shape[0], *theta.shape))
        return jax.linearize(lambda x: every(x, amplitude, frequency, phase), points)

    return oracle


def errors(
    case: EnsembleCase, rule: SumsRule, segment: int, make_oracle: Callable[..., Oracle]
) -> Any:
    """Function of the block's arrays: iterates by one scan, then the flow, ``segment`` steps per scan."""
    t, h, steps = case.tables, case.h, case.steps
    beta, rho = float(t.beta), float(t.rho)
    batch, mc, sc = map(jnp.asarray, (t.batch, t.mean_correction, t.square_correction))

    def run(amplitude: Array, frequency: Array, phase: Array, start: Array) -> Array:
        oracle = make_oracle(amplitude, frequency, phase)

        def update(state: Any, n: Array) -> Any:
            theta, mean, square = state
            b = batch[n]
            one = make_oracle(amplitude[b][None], frequency, phase[b][None])
            g = one(theta)[0][0]
            mean = beta * mean + (1 - beta) * g
            square = rho * square + (1 - rho) * g * g
            theta = theta - h * mean * mc[n] / jnp.sqrt(square * sc[n] + EPS_ROOT)
            return (theta, mean, square), theta

        zero = jnp.zeros_like(start)
        _, iterates = lax.scan(update, (start, zero, zero), jnp.arange(steps))

        def field(n: Array, last: int, theta: Array) -> Array:
            g, products = oracle(theta)
            m = g.shape[0]
            mean, root, lags = rule(n, g.reshape(m, -1), last)
            mean, root = mean.reshape(theta.shape), root.reshape(theta.shape)
            lags = lags.reshape(2 * m, *theta.shape)
            lag = products(lags[:m]).sum(0)
            square_lag = (g * products(lags[m:])).sum(0)
            return -mean / root + h / 2 * (mean * square_lag / root**3 - lag / root)

        def advance(last: int, state: Any, x: Any) -> Any:
            theta, worst = state
            n, iterate = x
            k1 = field(n, last, theta)
            k2 = field(n, last, theta + h / 2 * k1)
            k3 = field(n, last, theta + h / 2 * k2)
            k4 = field(n, last, theta + h * k3)
            theta = theta + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            return (theta, jnp.maximum(worst, ((theta - iterate) ** 2).sum(0))), None

        state = (start, zero[0])
        for begin in range(0, steps, segment):
            end = min(steps, begin + segment)
            xs = (jnp.arange(begin, end), iterates[begin:end])
            state, _ = lax.scan(partial(advance, end), state, xs)
        return jnp.sqrt(state[1])

    return run


def _in_chunks(function: Any, chunks: int) -> Any:
    """``lax.map`` over groups of problems (last axis)."""

    def run(*arrays: Array) -> Array:
        split = [jnp.moveaxis(a.reshape(*a.shape[:-1], chunks, -1), -2, 0) for a in arrays]
        return lax.map(lambda part: function(*part), tuple(split)).reshape(-1)

    return run


def _form(
    make_rule: Callable[[EnsembleCase], SumsRule],
    segment: int | None = None,
    oracle: Callable[..., Oracle] = analytic,
    devices: int = DEVICES,
    chunks: int = 1,
) -> Callable[[EnsembleCase], Callable[[], Array]]:
    def build(case: EnsembleCase) -> Callable[[], Array]:
        function = errors(case, make_rule(case), segment or case.steps, oracle)
        if chunks > 1:
            function = _in_chunks(function, chunks)
        return compiled(function, case.lanes_last, 1, devices)

    return build


def _dense(case: EnsembleCase, direction: Direction = divided) -> SumsRule:
    return dense_rule(case.tables, case.tables.lag_matrices(), direction)


def _blocks(case: EnsembleCase, block: int = 32, direction: Direction = divided) -> SumsRule:
    return blocked_rule(case.tables, case.tables.lag_matrices(), block, direction)


_library = partial(analytic, library=True)
_dense_newton = partial(_dense, direction=newton)

# sine and cosine are polynomials, square root and division the hardware's, unless the name says otherwise
ENSEMBLE_FORMS: dict[str, Callable[[EnsembleCase], Callable[[], Array]]] = {
    "jax loop over l, A recursion": _form(lambda c: loop_rule(c.tables, False)),
    "jax loop over l, A recursion, jnp.sin": _form(
        lambda c: loop_rule(c.tables, False), None, _library
    ),
    "jax loop over l, A recursion, Newton": _form(lambda c: loop_rule(c.tables, False, newton)),
    "jax loop over l, prefix sums": _form(lambda c: loop_rule(c.tables, True)),
    "jax matrices, masked": _form(_dense),
    "jax matrices, masked, jnp.sin": _form(_dense, None, _library),
    "jax matrices, segments of 32": _form(_dense, 32),
    "jax matrices, segments of 32, Newton": _form(_dense_newton, 32),
    "jax matrices, segments of 32, Newton, 2 chunks": _form(_dense_newton, 32, chunks=2),
    "jax matrices, segments of 32, jnp.sin": _form(_dense, 32, _library),
    "jax matrices, segments of 32, autodiff": _form(_dense, 32, automatic),
    "jax matrices, segments of 32, 1 device": _form(_dense, 32, devices=1),
    "jax matrices, blocks of 32": _form(_blocks),
    "jax matrices, blocks of 32, jnp.sin": _form(_blocks, None, _library),
    "jax matrices, blocks of 32, Newton": _form(partial(_blocks, direction=newton)),
    "jax matrices, blocks of 64, Newton": _form(partial(_blocks, block=64, direction=newton)),
}
