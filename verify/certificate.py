"""Certificates of refutations: start, steps and values of one problem as plain JSON, so that others can check them without this package.

A certificate holds the loss as a formula in words with its arrays, the optimizer's numbers, the start and the end points in hexadecimal doubles, the batch
of every step, the errors with their floors and the fit, and what the second arithmetic found. Where a coefficient of the signed differences refuted and not
the slope, these differences, the coefficient and its bound are there too. ``check_certificate.py`` in this folder checks a certificate: with NumPy alone the
iterates and what follows from the stored numbers, with this package also the flow and the errors, by :func:`recompute`, from the certificate alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.loss import Loss
from stepbias.kernels.plain import loss_data
from stepbias.theory import shipped
from stepbias.theory.arithmetic import Arithmetic, second
from stepbias.theory.claim import Claim
from stepbias.theory.optimizer import Optimizer
from stepbias.theory.optimizers import AnyOptimizer
from stepbias.theory.plain_losses import plain_loss
from stepbias.theory.schedules import Cyclic
from stepbias.theory.variants import Variant
from stepbias.verify.cells import Cell
from stepbias.verify.coefficient import CLEAR, Coefficient
from stepbias.verify.extrapolation import limit
from stepbias.verify.fit import MEMORY_LIMIT, OrderFit
from stepbias.verify.relabelling import shifts
from stepbias.verify.report import environment, plain
from stepbias.verify.second_arithmetic import Replica, Setting, replicate, setting_of

FORMAT = 2
FOLDER = "certificates"

_SCHEDULE = (
    "step n uses batch[n mod len(batch)], whatever the number of steps: runs of different lengths start with the same batches",
    "0-based steps and batches",
)
_MEASURED = {
    "global": "error: largest 2-norm of iterate - flow over the steps, for each step size h = horizon / steps",
    "local": "error: largest 2-norm of the one-step defect over the steps, the iterate put back on the flow before each, for each h = horizon / steps",
    "resolving-step": "h: values of epsilon; error: the step size from which on the second order shows",
}
_COPIES = "; root mean square over the {0} schedules batch[n] + s modulo {0}; end and second are those of s = 0"
_CHECK = (
    "python check_certificate.py FILE (in the folder verify of the package) recomputes with NumPy alone the iterates at end.steps from the loss, and the "
    "slopes from h and error over fit.used (or the coefficient from its differences); where stepbias can be imported also flow and errors at the coarser steps"
)


def _hex(values: Any) -> list[str]:
    return [float(x).hex() for x in values]


def _text(value: Any) -> str:
    """A number of any arithmetic with all its digits."""
    return str(value)


def certificate(
    claim: Claim,
    cell: Cell,
    number: int,
    loss: Loss,
    theta0: NDArray[np.float64],
    *,
    fit: OrderFit,
    steps: Sequence[int],
    iterate: NDArray[np.float64],
    difference: NDArray[np.float64],
    command: str,
    coefficient: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that is needed to check a refutation, but the second arithmetic's part (:func:`replica_data`).

    Parameters
    ----------
    claim, cell, number
        Claim, setting and draw.
    loss : Loss
        Of this problem alone.
    theta0 : (p,) float64
    fit : OrderFit
        The refuted fit.
    steps : sequence of int
        Step counts, in the order of the fit's points; for a resolving-step claim those of the largest epsilon.
    iterate, difference : (p,) float64
        At the horizon, at the finest step, on the cell's own schedule: the iterate, and iterate - flow (the last one-step defect of a local claim, whose
        flow is no end of these iterates and is left out).
    command : str
        Repeats the measurement.
    coefficient : dict, optional
        :func:`coefficient_data`, where the refutation rests on the coefficient and not on the slope.

    Returns
    -------
    dict
        Plain numbers, strings and lists; no infinities.
    """
    schedule = cell.schedule_object()
    periodic = isinstance(schedule, Cyclic)
    batch = schedule.indices(schedule.m if periodic else max(steps))
    data = loss_data(loss) or {
        "kind": "compiled",
        "formula": loss.describe(),
    }
    end = {"steps": max(steps), "iterate": _hex(iterate), "difference": _hex(difference)}
    if claim.kind != "local":
        end["flow"] = _hex(iterate - difference)
    made: dict[str, Any] = {
        "format": FORMAT,
        "certifies": "one problem refutes a claim that is stated for all",
        "version": environment()["version"],
        "claim": claim.id,
        "source": claim.source,
        "statement": claim.statement,
        "expected": claim.expected,
        "expected_order": claim.expected_order,
        "exact": claim.exact,
        "quantity": claim.kind,
        "measured": _MEASURED[claim.kind]
        + (_COPIES.format(shifts(cell)) if shifts(cell) > 1 else ""),
        "field": claim.latex,
        "variant": {"name": claim.variant.name, **asdict(claim.variant)},
        "optimizer": optimizer_data(cell.optimizer()),
        "loss": data,
        "theta0": _hex(theta0),
        "horizon": cell.horizon,
        "schedule": {
            "rule": repr(schedule),
            "meaning": "; ".join(_SCHEDULE),
            "batch": batch,
        },
        "steps": list(steps),
        "h": fit.h,
        "error": fit.error,
        "floor": fit.floor,
        "copies": shifts(cell),
        "end": end,
        "fit": {
            "verdict": fit.verdict,
            "order": fit.order,
            "interval": fit.interval,
            "level": fit.level,
            "used": fit.used,
            "slopes": fit.slopes,
            "memory": fit.memory,
            "reason": fit.reason,
        },
        "problem": {"cell": asdict(cell), "number": number},
        "replay": command,
        "check": _CHECK,
    }
    if coefficient is not None:
        made["coefficient"] = coefficient
    return dict(plain(made))


def coefficient_data(found: Coefficient, memory: float) -> dict[str, Any] | None:
    """What the test of one problem's coefficient rests on; None where it refutes nothing.

    Parameters
    ----------
    found : Coefficient
        Of one problem.
    memory : float
        kappa of that problem, see :class:`stepbias.verify.sweep.Sweep`.

    Returns
    -------
    dict or None
        Of the lowest power with a component beyond ``factor`` bounds: ``power``; ``value`` and ``bound`` of every component; the ``component`` that is
        the largest against its bound, and the steps of its ``window``; and ``h``, ``difference``, ``floor`` as measured.
    """
    tiny = np.finfo(np.float64).tiny
    values = [*(one.value[0] for one in found.lower), found.value]
    bounds = [*(one.bound[0] for one in found.lower), found.bound]
    excess = [np.abs(v) / np.maximum(b, tiny) for v, b in zip(values, bounds, strict=True)]
    refuting = [q for q, x in enumerate(excess) if np.any(x > CLEAR)]
    if not refuting:
        return None
    power = refuting[0]
    value, bound = values[power], bounds[power]
    component = int(np.nanargmax(excess[power]))
    alone = found.difference[:, component : component + 1] / found.h[:, None] ** power
    coarsest = np.array([MEMORY_LIMIT / memory])
    window = limit(found.h[None], alone[None], (found.floor / found.h**power)[None], coarsest)
    return {
        "power": power,
        "factor": CLEAR,
        "value": value,
        "bound": bound,
        "component": component,
        "window": window.used[0],
        "h": found.h,
        "difference": found.difference,
        "floor": found.floor,
        "meaning": "difference: signed iterate - flow at the horizon. value: difference / h^power, extrapolated to h = 0 by the polynomial through the "
        "points of the window (those of the component that is the largest against its bound). The statement makes it zero; |value| > factor bound refutes it.",
    }


def optimizer_data(optimizer: AnyOptimizer) -> dict[str, Any]:
    """Name and numbers of an optimizer with scalar parameters, and its rule."""
    if isinstance(optimizer, Optimizer):
        return {
            "name": optimizer.name,
            "parameters": optimizer.settings,
            "rule": str(optimizer.rule.trace),
        }
    rule = (
        "m = beta m + (1 - beta) g, v = rho v + (1 - rho) g^2 from 0; both divided by 1 - decay^(n+1) if bias_correction; "
        "theta = theta - h m / (sqrt(v + eps_root) + eps)"
    )
    return {"name": type(optimizer).__name__, **asdict(Setting.of(optimizer)), "rule": rule}


def replica_data(
    numbers: Arithmetic, words: str, found: Replica, error: float, floor: float, substeps: int
) -> dict[str, Any]:
    """The second arithmetic's part: its numbers as decimal strings, beside the kernels' at the same number of steps."""
    return {
        "arithmetic": numbers.name,
        "derivatives": words,
        "method": f"{substeps} classical Runge-Kutta steps a piece; sums over the whole past, as printed",
        "substeps": substeps,
        "steps": found.steps,
        "error": _text(found.error),
        "iterate": [_text(x) for x in found.iterate],
        "flow": [_text(x) for x in found.flow],
        "kernels": {"error": error, "floor": floor},
    }


def file_name(claim_id: str, problem: str) -> str:
    """CLAIM-PROBLEM.json with the claim's slash replaced."""
    return f"{claim_id.replace('/', '_')}-{problem}.json"


def save(
    made: dict[str, Any], directory: str | os.PathLike[str], problem: str | int | None = None
) -> Path:
    """Write a certificate to DIRECTORY/certificates/CLAIM-PROBLEM.json.

    Parameters
    ----------
    made : dict
    directory : path
        Of the run; made if it does not exist.
    problem : str or int, optional
        Name of the problem in the run; None: its cell and draw.
    """
    inside = made["problem"]
    name = f"cell{inside['cell']['index']}-draw{inside['number']}" if problem is None else problem
    path = Path(directory) / FOLDER / file_name(made["claim"], str(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(made, ensure_ascii=False, allow_nan=False, indent=None)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a certificate.

    Raises
    ------
    ValueError
        For a file that is none.
    """
    data = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(data, dict) or data.get("format") != FORMAT or "certifies" not in data:
        raise ValueError(f"path = {str(path)!r} is no certificate of format {FORMAT}")
    return data


def brief(made: dict[str, Any]) -> dict[str, Any]:
    """The certificate without its long arrays (loss and schedule), to be shown in a row."""
    loss = {key: made["loss"][key] for key in ("kind", "formula")}
    schedule = {key: made["schedule"][key] for key in ("rule", "meaning")}
    return {**made, "loss": loss, "schedule": schedule}


def cell_of(made: dict[str, Any]) -> tuple[Cell, int]:
    """Cell and draw of a certificate: what an escalation takes."""
    inside = dict(made["problem"]["cell"])
    inside = {key: tuple(v) if isinstance(v, list) else v for key, v in inside.items()}
    return Cell(**inside), int(made["problem"]["number"])


def setting_of_data(data: dict[str, Any]) -> Setting | Optimizer:
    """The optimizer of a certificate, as the second arithmetic takes it."""
    if "parameters" not in data:
        return Setting(**{k: v for k, v in data.items() if k not in ("name", "rule")})
    made = getattr(shipped, data["name"], None)
    if made is None:
        raise ValueError(
            f"optimizer = {data['name']!r} is not part of stepbias; accepted: its own optimizers"
        )
    return setting_of(made(**data["parameters"]))


def recompute(
    made: dict[str, Any],
    steps: int | None = None,
    numbers: Arithmetic | None = None,
    shift: int = 0,
) -> Replica:
    """Iterates and flow again from the certificate alone: no compiled code, no random numbers.

    Parameters
    ----------
    made : dict
    steps : int, optional
        None: where the second arithmetic was.
    numbers : Arithmetic, optional
        None: this machine's second arithmetic.
    shift : int
        Which of the relabelled copies of the schedule: batch[n] + shift modulo ``copies``.

    Raises
    ------
    ValueError
        For a loss that is known by compiled functions alone.
    """
    if made["loss"]["kind"] == "compiled":
        raise ValueError("the certificate's loss is a compiled function; accepted: a formula")
    used = second() if numbers is None else numbers
    count = made["second"]["steps"] if steps is None else steps
    setting = setting_of_data(made["optimizer"])
    variant = Variant(**{k: v for k, v in made["variant"].items() if k != "name"})
    batch = np.array(made["schedule"]["batch"], dtype=np.int64)
    if shift:
        batch = (batch + shift) % made["copies"]
    return replicate(
        used,
        setting,
        plain_loss(made["loss"], used),
        [float.fromhex(x) for x in made["theta0"]],
        made["horizon"] / count,
        batch[np.arange(count) % len(batch)],
        variant,
        local=made["quantity"] == "local",
        substeps=made["second"]["substeps"],
    )
