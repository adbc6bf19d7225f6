"""Broken instruments on purpose: what a verifier must notice about itself before it is believed.

A wrong *statement* is a :class:`stepbias.theory.variants.Variant`; here the statement is right and the measurement of it is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numba import cfunc
from numpy.typing import NDArray

from stepbias.kernels.blocks import Ensemble
from stepbias.kernels.loss import Loss
from stepbias.kernels.measure import Method
from stepbias.kernels.oracle import PRODUCTS, Oracle, Source

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Fault:
    """One broken part of the measurement; every switch is off by default.

    Parameters
    ----------
    name : str
    what : str
        What is broken, in words.
    method : Method, optional
        How the flow and the coarser flow are integrated, instead of :func:`stepbias.kernels.measure.resolution`.
    single : bool
        Round the iterate to float32 after every step.
    late_schedule : bool
        The flow's tables are those of the schedule one step before: step n uses the batch of step n - 1.
    late_step : bool
        The flow reads the tables of step n - 1 at step n.
    start : float
        Offset of the flow's start in every component.
    products : float
        Factor on every Hessian-vector product.
    quadratic : bool
        The sampler hands out quadratic losses. Nothing in one measurement; read where problems are drawn.
    """

    name: str
    what: str
    method: Method | None = None
    single: bool = False
    late_schedule: bool = False
    late_step: bool = False
    start: float = 0.0
    products: float = 1.0
    quadratic: bool = False

    def ensemble(self, ensemble: Ensemble) -> Ensemble:
        """The ensemble whose loss has the wrong Hessian-vector products."""
        if self.products == 1.0:
            return ensemble
        return replace(
            ensemble, loss=Loss(ScaledProducts(ensemble.loss.source, float(self.products)))
        )

    def flow_ensemble(self, ensemble: Ensemble) -> Ensemble:
        """The ensemble whose schedule the flow follows."""
        if not self.late_schedule or ensemble.schedule.shape[-1] == 0:
            return ensemble
        late = ensemble.schedule.copy()
        late[..., 1:] = ensemble.schedule[..., :-1]
        return replace(ensemble, schedule=late)


class ScaledProducts:
    """A source whose Hessian-vector products are wrong by a factor; gradients, values and data are those of the true one."""

    def __init__(self, source: Source, factor: float) -> None:
        self.source = source
        self.factor = factor
        self.dim = source.dim
        self.batches = source.batches
        self.problems = source.problems

    @property
    def oracle(self) -> Oracle:
        """That of the source with the other products."""
        return _scaled(self.source.oracle, self.factor)

    def work_size(self, lanes: int) -> int:
        """That of the source."""
        return self.source.work_size(lanes)

    def pack(self, indices: Integers) -> tuple[Integers, Floats]:
        """Data of the source."""
        return self.source.pack(indices)

    def bounds(self, lower: Floats, upper: Floats) -> tuple[Any, Any, Any, Any] | None:
        """Those of the true derivatives."""
        return self.source.bounds(lower, upper)

    def describe(self) -> str:
        """What is wrong with it."""
        return f"Hessian-vector products x {self.factor:g} of: {self.source.describe()}"


@lru_cache(maxsize=32)
def _scaled(oracle: Oracle, factor: float) -> Oracle:
    """Compiled for this process only: Numba cannot store a function that closes over another's address."""
    true = oracle.products

    def products(
        theta: Any,
        ints: Any,
        reals: Any,
        work: Any,
        first: Any,
        second: Any,
        out_first: Any,
        out_second: Any,
    ) -> None:
        true(theta, ints, reals, work, first, second, out_first, out_second)
        out_first *= factor
        out_second *= factor

    return oracle._replace(products=cfunc(PRODUCTS, nopython=True, error_model="numpy")(products))
