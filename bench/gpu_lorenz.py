"""The classical ensemble of Lorenz systems with a fixed step: up to eight million trajectories of a thousand steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench import lorenz
from bench.gpu_clock import Clock, said, timed
from stepbias.kernels.gpu import device
from stepbias.kernels.gpu.integrate import prepare

_LARGEST = 8_388_608  # 2^23
# Floating-point instructions of one step in the compiled kernel (sm_90): 27 multiply-adds, 10 additions, 7 products.
_INSTRUCTIONS = 44
LITERATURE = {
    "what": "the same ensemble at 8,388,608 trajectories in fp32, kernel time in milliseconds on another card (V100)",
    "hand-written C++": 94,
    "DiffEqGPU.jl": 145,
    "diffrax": 10038,
}


def _one(trajectories: int, steps: int, real: Any, rate: float | None) -> dict[str, Any]:
    given = prepare(
        lorenz.field,
        lorenz.START,
        lorenz.ensemble(trajectories),
        lorenz.T_END,
        steps,
        dtype=real,
    )
    found = timed(given.run, 0.5)
    ends = given.end()
    if not np.isfinite(ends).all():
        raise FloatingPointError("trajectories that are not finite")
    row = {
        "trajectories": trajectories,
        **found,
        "steps_per_second": trajectories * steps / found["seconds"],
        "first_end": [float(value) for value in ends[0]],
    }
    if rate is not None:
        row["share_of_ceiling"] = trajectories * steps * _INSTRUCTIONS / rate / found["seconds"]
    return row


def _rate(rates: dict[str, Any] | None, name: str) -> float | None:
    return None if rates is None else float(rates[f"multiply_add_{name}"]["per_second"])


def small_equations(toy: bool, clock: Clock, rates: dict[str, Any] | None) -> dict[str, Any]:
    """Section (d): arrays on the device before the clock starts, end points left there.

    ``share_of_ceiling`` is the time of a step's floating-point instructions at the rate of section (a), over the time measured. ``first_end`` is the end
    of the first trajectory, which has the same parameter at every size: the two precisions must agree on it.
    """
    steps = 10 if toy else lorenz.STEPS
    counts = (3, 5) if toy else [2**k for k in range(10, 24)]
    found: dict[str, Any] = {
        "steps": steps,
        "t_end": lorenz.T_END,
        "method": "classical Runge-Kutta, order 4",
        "instructions_per_step": _INSTRUCTIONS,
        "literature": LITERATURE,
    }
    assert toy or counts[-1] == _LARGEST
    for name, real in (("fp32", np.float32), ("fp64", np.float64)):
        rows = found[name] = []
        for count in counts:
            if clock.left() < 10.0:
                rows.append({"trajectories": count, "absent": "no time left"})
                continue
            try:
                rows.append(_one(count, steps, real, _rate(rates, name)))
            except Exception as error:  # one size must not lose the others
                rows.append({"trajectories": count, "error": said(error)})
            device.release()
    return found
