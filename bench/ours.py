"""Our side of the two computations: the package as it is, called as a user (ensemble) or as its own kernels do (sums)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np

from bench.cases import BETA, EPS_ROOT, RHO, EnsembleCase, Floats, SumsCase
from bench.peers_numpy import THREADS, Sums
from stepbias import Adam, Loss, global_error
from stepbias.kernels.rule import make_rule
from stepbias.kernels.sums import make_sum_state, memory_sums

_BLOCK = 256  # entries per block, as in stepbias.kernels.blocks


@numba.njit(nogil=True)
def _blocks(  # type: ignore[no-untyped-def]
    rule, n, gradients, begin, stride, factors, block, state, mean, root, lags
):
    """``memory_sums`` on every ``stride``-th block of components, results into the large arrays."""
    m, width = block.shape
    for left in range(begin * width, gradients.shape[1], stride * width):
        for b in range(m):
            block[b] = gradients[b, left : left + width]
        memory_sums(rule, n, False, block, factors, state)
        mean[left : left + width] = state.mean
        root[left : left + width] = np.sqrt(state.square + rule.eps_root)
        for b in range(m):
            lags[b, left : left + width] = state.mean_lag[b]
            lags[m + b, left : left + width] = state.square_lag[b]


def sums_kernel(case: SumsCase, threads: int = THREADS) -> Callable[[], Sums]:
    """``stepbias.kernels.sums.memory_sums`` on blocks of components, shared by the threads."""
    g, n = case.gradients, case.step
    m, size = g.shape
    rule = make_rule(BETA, RHO, 0.0, EPS_ROOT, True, case.tables.batch, m)
    factors = np.ones(7)
    scratch = [(np.empty((m, _BLOCK)), make_sum_state(m, _BLOCK)) for _ in range(threads)]
    pool = ThreadPoolExecutor(threads)

    def run() -> Sums:
        out = Sums(np.empty(size), np.empty(size), np.empty((2 * m, size)))

        def work(thread: int) -> None:
            block, state = scratch[thread]
            _blocks(rule, n, g, thread, threads, factors, block, state, *out)

        others = [pool.submit(work, thread) for thread in range(1, threads)]
        work(0)  # the caller is a worker too: one wake-up less
        for other in others:
            other.result()
        return out

    return run


def ensemble_call(case: EnsembleCase) -> Callable[[], Floats]:
    """``stepbias.global_error`` with one Runge-Kutta step per piece."""
    adam = Adam(beta=BETA, rho=RHO, eps=0.0, eps_root=EPS_ROOT)
    loss = Loss.sinusoids(case.amplitude, case.frequency, case.phase)

    def run() -> Any:
        return global_error(adam, loss, case.theta0, case.h, case.steps, substeps=1)

    return run


SUMS_FORMS: dict[str, Callable[[SumsCase], Callable[[], Sums]]] = {
    "stepbias": sums_kernel,
    "stepbias, 1 thread": lambda case: sums_kernel(case, 1),
}
ENSEMBLE_FORMS: dict[str, Callable[[EnsembleCase], Callable[[], Floats]]] = {
    "stepbias": ensemble_call
}
