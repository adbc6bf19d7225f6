"""The two computations in JAX: what a careful user of XLA would write, in several forms; the fastest one counts.

The arrays are sharded over two host devices, which is how both cores are kept busy (one XLA device computes the small
operations of a scan on one thread). Tables that do not depend on theta are computed outside the timed region; arrays
are on the device before it, results stay there after it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

# XLA prefers 256-bit vectors by default; 512 was faster wherever it made a difference. Read at the first computation.
if "xla_cpu_prefer_vector_width" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_prefer_vector_width=512"

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from bench.cases import EPS_ROOT, SumsCase, Tables

DEVICES = int(os.environ.get("STEPBIAS_BENCH_DEVICES", "2"))  # 1: JAX as it comes
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", DEVICES)

Array = jax.Array
# (n, gradients (m, P), last) -> M, R (P,), lag vectors (2 m, P); n may be traced, last is a static bound n < last
SumsRule = Callable[[Any, Array, int], tuple[Array, Array, Array]]


def _mesh(devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]), ("cores",))


def compiled(
    function: Callable[..., Any], arrays: tuple[Any, ...], out_ranks: Any, devices: int
) -> Callable[[], Any]:
    """Jit ``function``, its last axes sharded over the devices, arguments in place."""
    mesh = _mesh(devices)

    def last(rank: int) -> Spec:
        return Spec(*[None] * (rank - 1), "cores")

    specs = tuple(last(a.ndim) for a in arrays)
    placed = [jax.device_put(a, NamedSharding(mesh, s)) for a, s in zip(arrays, specs, strict=True)]
    mapped = jax.shard_map(
        function,
        mesh=mesh,
        in_specs=specs,
        out_specs=jax.tree.map(last, out_ranks),
        check_vma=False,
    )
    run = jax.jit(mapped)
    return lambda: jax.block_until_ready(run(*placed))


# --- the memory sums --------------------------------------------------------------------------------------------------


def _weighted(matrix: Array, rows: Array) -> Array:
    """``matrix @ rows`` for few rows, written out so that XLA fuses it with what follows."""
    return sum(matrix[:, b, None] * rows[b] for b in range(rows.shape[0]))  # type: ignore[return-value]


def _present(mean: Array, square: Array, n: Any, g: Array) -> tuple[Array, Array]:
    return mean[n] @ g, jnp.sqrt(square[n] @ (g * g) + EPS_ROOT)


def divided(mean: Array, square: Array) -> Array:
    """U = M / sqrt(V + eps_root) as it is written: bound by the hardware's square root and division."""
    return mean / jnp.sqrt(square + EPS_ROOT)


def newton(mean: Array, square: Array) -> Array:
    """U = M (V + eps_root)^(-1/2) by Newton's method: multiplications only, the last bits as good as division."""
    x = square + EPS_ROOT
    guess = jnp.int64(0x5FE6EB50C7B537A9) - (lax.bitcast_convert_type(x, jnp.int64) >> 1)
    y, half = lax.bitcast_convert_type(guess, jnp.float64), 0.5 * x
    for _ in range(3):
        y = y * (1.5 - half * y * y)
    y = y + y * (0.5 - half * y * y)
    return mean * y


Direction = Callable[[Array, Array], Array]


def dense_rule(tables: Tables, lags: np.ndarray, direction: Direction = divided) -> SumsRule:
    """All steps below the static bound at once; ``lags`` (N, 2 m, N) or (1, 2 m, N) for one n."""
    mean, square, lag = map(jnp.asarray, (tables.mean_matrix, tables.square_matrix, lags))

    def rule(n: Any, g: Array, last: int) -> tuple[Array, Array, Array]:
        step = direction(_weighted(mean[:last], g), _weighted(square[:last], g * g))
        row = lag[n] if lag.shape[0] > 1 else lag[0]
        return *_present(mean, square, n, g), row[:, :last] @ step

    return rule


def blocked_rule(
    tables: Tables, lags: np.ndarray, block: int, direction: Direction = divided
) -> SumsRule:
    """Blocks of steps, as many as step n needs (a loop with a dynamic trip count)."""
    mean, square, lag = map(jnp.asarray, (tables.mean_matrix, tables.square_matrix, lags))
    count = -(-mean.shape[0] // block) * block
    padded = [jnp.pad(a, ((0, count - a.shape[0]), (0, 0))) for a in (mean, square)]
    lag = jnp.pad(lag, ((0, 0), (0, 0), (0, count - lag.shape[2])))

    def rule(n: Any, g: Array, last: int) -> tuple[Array, Array, Array]:
        row = lag[n] if lag.shape[0] > 1 else lag[0]
        squares = g * g

        def body(i: Any, total: Array) -> Array:
            w, r = (lax.dynamic_slice_in_dim(a, i * block, block) for a in padded)
            step = direction(_weighted(w, g), _weighted(r, squares))
            return total + lax.dynamic_slice_in_dim(row, i * block, block, 1) @ step

        zero = jnp.zeros((2 * g.shape[0], g.shape[1]))
        return *_present(mean, square, n, g), lax.fori_loop(0, n // block + 1, body, zero)

    return rule


def loop_rule(tables: Tables, prefix: bool, rule_of: Direction = divided) -> SumsRule:
    """A loop over the steps l <= n (dynamic trip count); with prefix sums a step touches its own batch only."""
    batch, w, r, mc, sc = map(
        jnp.asarray,
        (
            tables.batch,
            tables.mean_weight,
            tables.square_weight,
            tables.mean_correction,
            tables.square_correction,
        ),
    )
    beta, rho = float(tables.beta), float(tables.rho)
    age = np.arange(len(tables.batch))
    powers = jnp.asarray(np.stack([(1 - beta) * beta**age, (1 - rho) * rho**age], 1)[:, :, None])

    def rule(n: Any, g: Array, last: int) -> tuple[Array, Array, Array]:
        square, zero = g * g, jnp.zeros_like(g[0])

        def averages(k: Any, mean: Array, mean_square: Array) -> tuple[Array, Array]:
            b = batch[k]
            return beta * mean + (1 - beta) * g[b], rho * mean_square + (1 - rho) * square[b]

        def direction(k: Any, mean: Array, mean_square: Array) -> Array:
            return rule_of(mean * mc[k], mean_square * sc[k])

        def plain(k: Any, state: Any) -> Any:
            mean, mean_square = averages(k, *state[:2])
            u = direction(k, mean, mean_square)
            a = beta * (state[2] + w[k][:, None] * u)
            c = rho * (state[3] + r[k][:, None] * u)
            return mean, mean_square, a, c

        def prefixed(k: Any, state: Any) -> Any:
            mean, mean_square = averages(k, *state[:2])
            sums = state[3].at[batch[k]].add(powers[n - k] * state[2])
            return mean, mean_square, state[2] + direction(k, mean, mean_square), sums

        if prefix:
            both = jnp.zeros((g.shape[0], 2, g.shape[1]))
            state = lax.fori_loop(0, n, prefixed, (zero, zero, zero, both))
            total = state[2]
            sums = state[3].at[batch[n]].add(powers[0] * total)
            a = w[n][:, None] * total - sums[:, 0]
            c = r[n][:, None] * total - sums[:, 1]
        else:
            state = lax.fori_loop(0, n, plain, (zero, zero, jnp.zeros_like(g), jnp.zeros_like(g)))
            a, c = state[2:]
        mean, mean_square = averages(n, *state[:2])
        u = direction(n, mean, mean_square)
        first = (2 * a + w[n][:, None] * u) * mc[n]
        second = (2 * c + r[n][:, None] * u) * sc[n]
        root = jnp.sqrt(mean_square * sc[n] + EPS_ROOT)
        return mean * mc[n], root, jnp.concatenate([first, second])

    return rule


def _sums(case: SumsCase, rule: SumsRule, devices: int = DEVICES) -> Callable[[], Any]:
    n = case.step
    return compiled(lambda g: rule(n, g, n + 1), (case.gradients,), (1, 1, 2), devices)


def _one_lag(case: SumsCase) -> np.ndarray:
    return case.tables.lag_matrix(case.step)[None]


def _blocks(block: int, direction: Direction = divided, devices: int = DEVICES) -> Any:
    return lambda c: _sums(c, blocked_rule(c.tables, _one_lag(c), block, direction), devices)


SUMS_FORMS: dict[str, Callable[[SumsCase], Callable[[], Any]]] = {
    "jax loop over l, A recursion": lambda c: _sums(c, loop_rule(c.tables, False)),
    "jax loop over l, prefix sums": lambda c: _sums(c, loop_rule(c.tables, True)),
    "jax loop over l, prefix sums, Newton": lambda c: _sums(c, loop_rule(c.tables, True, newton)),
    "jax matrices": lambda c: _sums(c, dense_rule(c.tables, _one_lag(c))),
    "jax matrices, Newton": lambda c: _sums(c, dense_rule(c.tables, _one_lag(c), newton)),
    "jax matrices, blocks of 32 steps": _blocks(32),
    "jax matrices, blocks of 32 steps, Newton": _blocks(32, newton),
    "jax matrices, blocks of 64 steps": _blocks(64),
    "jax matrices, blocks of 64 steps, Newton": _blocks(64, newton),
    "jax matrices, blocks of 64 steps, 1 device": _blocks(64, devices=1),
}


# --- sine and cosine --------------------------------------------------------------------------------------------------


@jax.custom_jvp
def sine(x: Array) -> Array:
    """Sine by polynomials, which XLA vectorises (its float64 ``jnp.sin`` calls the scalar library)."""
    return sincos(x)[0]


@sine.defjvp
def _sine_jvp(primals: Any, tangents: Any) -> Any:
    return sine(primals[0]), cosine(primals[0]) * tangents[0]


@jax.custom_jvp
def cosine(x: Array) -> Array:
    """Cosine by polynomials."""
    return sincos(x)[1]


@cosine.defjvp
def _cosine_jvp(primals: Any, tangents: Any) -> Any:
    return cosine(primals[0]), -sine(primals[0]) * tangents[0]


_SINE = (
    1.58969099521155010221e-10,
    -2.50507602534068634195e-08,
    2.75573137070700676789e-06,
    -1.98412698298579493134e-04,
    8.33333333332248946124e-03,
    -1.66666666666666324348e-01,
)
_COSINE = (
    -1.13596475577881948265e-11,
    2.08757232129817482790e-09,
    -2.75573143513906633035e-07,
    2.48015872894767294178e-05,
    -1.38888888888741095749e-03,
    4.16666666666666019037e-02,
)


def sincos(x: Array) -> tuple[Array, Array]:
    """Reduction by pi/2 in three parts, then the polynomials of fdlibm (public domain coefficients)."""
    k = jnp.round(x * (2 / np.pi))
    x = ((x - k * 1.5707963267341256) - k * 6.077100506303966e-11) - k * 2.0222662487959506e-21
    y = x * x
    s = x + x * y * jnp.polyval(jnp.array(_SINE), y, unroll=8)
    c = 1 - 0.5 * y + y * y * jnp.polyval(jnp.array(_COSINE), y, unroll=8)
    quadrant = k.astype(jnp.int64)
    odd = (quadrant & 1) == 1
    sin, cos = jnp.where(odd, c, s), jnp.where(odd, s, c)
    return jnp.where((quadrant & 2) == 2, -sin, sin), jnp.where(
        ((quadrant + 1) & 2) == 2, -cos, cos
    )
