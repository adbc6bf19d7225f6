"""The two computations in NumPy: loops over the steps, and weight matrices through BLAS; also the references.

The recursion form runs in any precision: in ``longdouble`` it is the reference that every other form is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from bench.cases import EPS_ROOT, EnsembleCase, Floats, SumsCase, Tables

THREADS = 2


class Sums(NamedTuple):
    """M, R (P,) and the lag vectors (2 m, P)."""

    mean: Floats
    root: Floats
    lags: Floats


SumsRule = Callable[[Tables, int, Floats], Sums]


# --- memory sums ------------------------------------------------------------------------------------------------------


def recursion(tables: Tables, n: int, g: Floats) -> Sums:
    """One pass with A_b <- beta (A_b + w_b U) for every batch; any precision."""
    square = g * g
    mean, mean_square = np.zeros((2, *g[0].shape), g.dtype)
    a, c = np.zeros((2, *g.shape), g.dtype)
    beta, rho = tables.beta, tables.rho
    for k in range(n + 1):
        b = tables.batch[k]
        mean = beta * mean + (1 - beta) * g[b]
        mean_square = rho * mean_square + (1 - rho) * square[b]
        root = np.sqrt(mean_square * tables.square_correction[k] + EPS_ROOT)
        step = mean * tables.mean_correction[k] / root
        if k < n:
            a = beta * (a + tables.mean_weight[k][:, None] * step)
            c = rho * (c + tables.square_weight[k][:, None] * step)
    first = (2 * a + tables.mean_weight[n][:, None] * step) * tables.mean_correction[n]
    second = (2 * c + tables.square_weight[n][:, None] * step) * tables.square_correction[n]
    return Sums(mean * tables.mean_correction[n], root, np.concatenate([first, second]))


def prefix_loop(tables: Tables, n: int, g: Floats) -> Sums:
    """One pass with prefix sums T_k, so that a step touches its own batch only; no temporaries."""
    square = g * g
    mean, mean_square, prefix, t, step = np.zeros((5, g.shape[1]))
    a, c = np.zeros((2, *g.shape))
    beta, rho = float(tables.beta), float(tables.rho)
    for k in range(n + 1):
        b = tables.batch[k]
        mean *= beta
        mean += np.multiply(g[b], 1 - beta, out=t)
        mean_square *= rho
        mean_square += np.multiply(square[b], 1 - rho, out=t)
        a[b] += np.multiply(prefix, (1 - beta) * beta ** (n - k), out=t)
        c[b] += np.multiply(prefix, (1 - rho) * rho ** (n - k), out=t)
        np.multiply(mean_square, tables.square_correction[k], out=t)
        t += EPS_ROOT
        np.sqrt(t, out=t)
        np.multiply(mean, tables.mean_correction[k], out=step)
        step /= t
        if k < n:
            prefix += step
    w, r = tables.mean_weight[n][:, None], tables.square_weight[n][:, None]
    first = (2 * (w * prefix - a) + w * step) * tables.mean_correction[n]
    second = (2 * (r * prefix - c) + r * step) * tables.square_correction[n]
    return Sums(mean * tables.mean_correction[n], t, np.concatenate([first, second]))


class Buffers(NamedTuple):
    """Scratch of the matrix form for N steps and P components."""

    step: Floats
    root: Floats


def matrices(mean: Floats, square: Floats, lag: Floats, g: Floats, buffers: Buffers) -> Sums:
    """U = (mean @ g) / sqrt(square @ g^2 + eps_root) for all steps at once, then lag @ U."""
    n = len(mean) - 1
    step, root = buffers.step[: n + 1], buffers.root[: n + 1]
    np.matmul(mean, g, out=step)
    np.matmul(square, g * g, out=root)
    root += EPS_ROOT
    np.sqrt(root, out=root)
    last_mean, last_root = step[n].copy(), root[n].copy()
    step /= root
    return Sums(last_mean, last_root, lag @ step)


def make_buffers(steps: int, size: int) -> Buffers:
    """Allocated once per thread."""
    return Buffers(*np.empty((2, steps, size)))


def sums_matrices(case: SumsCase) -> Callable[[], Sums]:
    """Weight matrices on all components at once; BLAS uses its own threads."""
    n, t = case.step, case.tables
    mean, square, lag = t.mean_matrix, t.square_matrix, t.lag_matrix(n)
    buffers = make_buffers(n + 1, case.gradients.shape[1])
    return lambda: matrices(mean, square, lag, case.gradients, buffers)


def sums_blocked(case: SumsCase, block: int = 128) -> Callable[[], Sums]:
    """Weight matrices on blocks of components that fit the cache, shared by two threads."""
    n, t, g = case.step, case.tables, case.gradients
    mean, square, lag = t.mean_matrix, t.square_matrix, t.lag_matrix(n)
    size = g.shape[1]
    scratch = [make_buffers(n + 1, block) for _ in range(THREADS)]
    pool = ThreadPoolExecutor(THREADS)

    def run() -> Sums:
        out = Sums(np.empty(size), np.empty(size), np.empty((len(lag), size)))

        def work(thread: int) -> None:
            for begin in range(thread * block, size, THREADS * block):
                part = slice(begin, begin + block)
                found = matrices(
                    mean, square, lag, np.ascontiguousarray(g[:, part]), scratch[thread]
                )
                out.mean[part], out.root[part], out.lags[:, part] = found

        with threadpool_limits(1):
            list(pool.map(work, range(THREADS)))
        return out

    return run


SUMS_FORMS: dict[str, Callable[[SumsCase], Callable[[], Sums]]] = {
    "numpy loop over l, A recursion": lambda c: lambda: recursion(c.tables, c.step, c.gradients),
    "numpy loop over l, prefix sums": lambda c: lambda: prefix_loop(c.tables, c.step, c.gradients),
    "numpy matrices": sums_matrices,
    "numpy matrices, blocks of 128, 2 threads": sums_blocked,
}


def sums_reference(case: SumsCase) -> Sums:
    """The recursion in extended precision."""
    tables = make_long_tables(case.tables)
    return recursion(tables, case.step, case.gradients.astype(np.longdouble))


def make_long_tables(tables: Tables) -> Tables:
    """The same schedule in extended precision."""
    from bench.cases import make_tables

    return make_tables(tables.batch, tables.batches, np.longdouble)


# --- ensemble ---------------------------------------------------------------------------------------------------------


def _products(curvature: Floats, frequency: Floats, vectors: Floats) -> Floats:
    """H_b v_b for every batch: curvature (m, q, B), frequency (q, p, B), vectors (m, p, B)."""
    inner = curvature * np.einsum("qpB,mpB->mqB", frequency, vectors)
    return np.einsum("mqB,qpB->mpB", inner, frequency)


def _errors(case: EnsembleCase, rule: SumsRule) -> Floats:
    """Iterates and flow in lockstep, vectorised over problems; ``rule`` evaluates the memory sums."""
    amplitude, frequency, phase, start = case.lanes_last
    t, h = case.tables, amplitude.dtype.type(case.h)
    shape = (t.batches, *start.shape)

    def field(n: int, theta: Floats) -> Floats:
        z = np.einsum("qpB,pB->qB", frequency, theta) + phase
        g = np.einsum("mqB,qpB->mpB", amplitude * np.cos(z), frequency)
        found = rule(t, n, g.reshape(t.batches, -1))
        mean, root = found.mean.reshape(start.shape), found.root.reshape(start.shape)
        first, second = found.lags.reshape(2, *shape)
        curvature = -amplitude * np.sin(z)
        lag = _products(curvature, frequency, first).sum(0)
        square_lag = (g * _products(curvature, frequency, second)).sum(0)
        return -mean / root + h / 2 * (mean * square_lag / root**3 - lag / root)

    iterate, flow = start.copy(), start.copy()
    mean, square = np.zeros((2, *start.shape), start.dtype)
    worst = np.zeros(start.shape[1], start.dtype)
    for n, b in enumerate(t.batch):
        z = np.einsum("qpB,pB->qB", frequency, iterate) + phase[b]
        g = np.einsum("qB,qpB->pB", amplitude[b] * np.cos(z), frequency)
        mean = t.beta * mean + (1 - t.beta) * g
        square = t.rho * square + (1 - t.rho) * g * g
        root = np.sqrt(square * t.square_correction[n] + EPS_ROOT)
        iterate = iterate - h * mean * t.mean_correction[n] / root
        k1 = field(n, flow)
        k2 = field(n, flow + h / 2 * k1)
        k3 = field(n, flow + h / 2 * k2)
        k4 = field(n, flow + h * k3)
        flow = flow + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        worst = np.maximum(worst, np.sqrt(((iterate - flow) ** 2).sum(0)))
    return worst


def ensemble_reference(case: EnsembleCase, problems: int) -> Floats:
    """The first problems in extended precision, sums by the recursion."""
    return _errors(case.first(problems, np.longdouble), recursion)


def ensemble_matrices(case: EnsembleCase) -> Callable[[], Floats]:
    """Weight matrices cut to the n + 1 steps that count, problems shared by two threads."""
    t = case.tables
    mean, square = t.mean_matrix, t.square_matrix
    lags = [t.lag_matrix(n) for n in range(case.steps)]
    halves = []
    for part in np.array_split(np.arange(len(case.theta0)), THREADS):
        arrays = (case.amplitude, case.frequency, case.phase, case.theta0)
        half = EnsembleCase(*(a[part] for a in arrays), case.h, t)
        halves.append((half, make_buffers(case.steps, half.theta0.size)))
    pool = ThreadPoolExecutor(THREADS)

    def work(half: tuple[EnsembleCase, Buffers]) -> Floats:
        part, buffers = half

        def rule(_: Tables, n: int, g: Floats) -> Sums:
            return matrices(mean[: n + 1], square[: n + 1], lags[n], g, buffers)

        return _errors(part, rule)

    def run() -> Floats:
        with threadpool_limits(1):
            return np.concatenate(list(pool.map(work, halves)))

    return run


ENSEMBLE_FORMS: dict[str, Callable[[EnsembleCase], Callable[[], Floats]]] = {
    "numpy matrices, 2 threads": ensemble_matrices
}
