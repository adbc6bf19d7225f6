"""Check a certificate of a refutation with NumPy alone: python check_certificate.py FILE.

Recomputes the iterates at the finest stored step from the stored loss, compares their end with the stored one, and the slopes from the stored errors. Losses
that are no sums of functions of one projection each ("ridge") are evaluated by stepbias. Exit status: 0 if the certificate holds, 1 if it does not.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

SLOPE: dict[str, Callable[[Any], Any]] = {
    "sine": np.cos,
    "softplus": lambda z: 1 / (1 + np.exp(-z)),
    "log-cosh": np.tanh,
    "gaussian": lambda z: -z * np.exp(-z * z / 2),
    "square": lambda z: z,
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "abs": np.sign,
    "relu": lambda z: 1.0 * (z > 0),
}


def ridge_gradient(loss: Any, b: int, t: Any) -> Any:
    """Gradient of batch b at t: sum of amplitude phi'(w . t + offset) w, plus decay t."""
    total = loss["decay"] * t
    for phi, batch, first, last in loss["segments"]:
        if batch == b:
            w = np.array(loss["weight"])[:, first:last]
            z = t @ w + np.array(loss["offset"][first:last])
            total = total + w @ (np.array(loss["amplitude"][first:last]) * SLOPE[phi](z))
    return total


def end_of_iterates(c: Any, gradient: Callable[[int, Any], Any]) -> Any:
    """The last iterate, by the definition of the optimizer."""
    o, batch, steps = c["optimizer"], c["schedule"]["batch"], c["end"]["steps"]
    t, m, v = np.array([float.fromhex(x) for x in c["theta0"]]), 0.0, 0.0
    for n in range(steps):
        g = gradient(batch[n % len(batch)], t)
        m = o["beta"] * m + (1 - o["beta"]) * g
        v = o["rho"] * v + (1 - o["rho"]) * g * g
        mc, vc = (
            1 / (1 - o[k] ** (n + 1)) if o["bias_correction"] else 1.0 for k in ("beta", "rho")
        )
        t = t - c["horizon"] / steps * mc * m / (np.sqrt(vc * v + o["eps_root"]) + o["eps"])
    return t


def main(path: str) -> bool:
    """Whether the certificate holds; says what was found."""
    with open(path, encoding="utf-8") as file:
        c = json.load(file)
    good = True
    if c["quantity"] == "global" and c["loss"]["kind"] != "compiled":
        if c["loss"]["kind"] == "ridge":
            end = end_of_iterates(c, lambda b, t: ridge_gradient(c["loss"], b, t))
        else:
            from stepbias.theory.arithmetic import DOUBLE
            from stepbias.theory.plain_losses import plain_loss

            formula = plain_loss(c["loss"], DOUBLE)
            end = end_of_iterates(c, lambda b, t: formula.gradients(t)[b])
        iterate, flow = (
            np.array([float.fromhex(x) for x in c["end"][k]]) for k in ("iterate", "flow")
        )
        gap, size = np.linalg.norm(end - iterate), np.linalg.norm(iterate - flow)
        good = bool(gap <= 0.01 * size)  # 1 % of what is measured, as for every known error
        sys.stdout.write(f"iterate after {c['end']['steps']} steps: {gap:.1e} off the stored one, ")
        sys.stdout.write(f"which is {size:.3e} away from the flow\n")
    order = np.argsort(c["h"])
    window = order[[c["fit"]["used"][i] for i in order]][::-1]
    h, error, floor = (np.array(c[k])[window] for k in ("h", "error", "floor"))
    slopes = np.diff(np.log(error)) / np.diff(np.log(h))
    miss = c["expected_order"] - slopes
    miss = np.abs(miss) if c["exact"] else miss
    good = good and bool(miss[-1] > 0.1 and np.all(floor <= 0.01 * error))
    sys.stdout.write(f"slopes, finest last: {' '.join(f'{s:.3f}' for s in slopes)}; ")
    sys.stdout.write(f"claimed {c['expected_order']:g}\n")
    sys.stdout.write("the certificate holds\n" if good else "the certificate FAILS\n")
    return good


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1]) else 1)
