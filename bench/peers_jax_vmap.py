"""The ensemble as JAX's documentation teaches it: one problem, ``jax.grad`` and ``jax.jvp``, a scan over steps; then ``jit`` of ``vmap``.

This is the peer that the performance goal names. The forms of :mod:`bench.peers_jax_ensemble` are what is left when every part of it is rewritten by hand
(derivatives, sine and cosine, square root, sharding over two devices, segments of the time axis).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from bench.cases import EPS_ROOT, EnsembleCase
from bench.peers_jax import Array, SumsRule, dense_rule, loop_rule


def one_problem(case: EnsembleCase, rule: SumsRule) -> Callable[..., Array]:
    """Function (amplitude (m, q), frequency (q, p), phase (m, q), theta0 (p,)) -> max over n of the distance."""
    t, h, steps = case.tables, case.h, case.steps
    beta, rho = float(t.beta), float(t.rho)
    batch, mc, sc = map(jnp.asarray, (t.batch, t.mean_correction, t.square_correction))

    def run(amplitude: Array, frequency: Array, phase: Array, start: Array) -> Array:
        def loss(theta: Array, a: Array, c: Array) -> Array:
            return jnp.sum(a * jnp.sin(frequency @ theta + c))

        def gradients(theta: Array) -> Array:
            return jax.vmap(jax.grad(loss), (None, 0, 0))(theta, amplitude, phase)

        def products(theta: Array, vectors: Array) -> Array:
            def one(a: Array, c: Array, v: Array) -> Array:
                return jax.jvp(lambda x: jax.grad(loss)(x, a, c), (theta,), (v,))[1]

            return jax.vmap(one)(amplitude, phase, vectors)

        def field(n: Array, theta: Array) -> Array:
            g = gradients(theta)
            m = g.shape[0]
            mean, root, lags = rule(n, g, steps)
            lag = products(theta, lags[:m]).sum(0)
            square_lag = (g * products(theta, lags[m:])).sum(0)
            return -mean / root + h / 2 * (mean * square_lag / root**3 - lag / root)

        def step(state: Any, n: Array) -> Any:
            theta, mean, square, flow, worst = state
            g = jax.grad(loss)(theta, amplitude[batch[n]], phase[batch[n]])
            mean = beta * mean + (1 - beta) * g
            square = rho * square + (1 - rho) * g * g
            theta = theta - h * mean * mc[n] / jnp.sqrt(square * sc[n] + EPS_ROOT)
            k1 = field(n, flow)
            k2 = field(n, flow + h / 2 * k1)
            k3 = field(n, flow + h / 2 * k2)
            k4 = field(n, flow + h * k3)
            flow = flow + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            worst = jnp.maximum(worst, jnp.linalg.norm(theta - flow))
            return (theta, mean, square, flow, worst), None

        zero = jnp.zeros_like(start)
        return lax.scan(step, (start, zero, zero, start, 0.0), jnp.arange(steps))[0][4]

    return run


def _form(
    make_rule: Callable[[EnsembleCase], SumsRule],
) -> Callable[[EnsembleCase], Callable[[], Array]]:
    def build(case: EnsembleCase) -> Callable[[], Array]:
        function = jax.jit(jax.vmap(one_problem(case, make_rule(case))))
        arrays = [jnp.asarray(a) for a in (case.amplitude, case.frequency, case.phase, case.theta0)]
        return lambda: jax.block_until_ready(function(*arrays))

    return build


ENSEMBLE_FORMS: dict[str, Callable[[EnsembleCase], Callable[[], Array]]] = {
    "jax jit vmap, scan": _form(lambda c: loop_rule(c.tables, False)),
    "jax jit vmap, dense weights": _form(lambda c: dense_rule(c.tables, c.tables.lag_matrices())),
}
