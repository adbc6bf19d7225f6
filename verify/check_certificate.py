"""Check a certificate of a refutation: python check_certificate.py FILE.

NumPy alone recomputes the iterates at the finest step from the stored loss, and from the stored numbers the step sizes, the distance at the end, and what
refutes: the slopes, or a coefficient extrapolated from the signed differences. The flow needs the field with its memory: where stepbias can be imported, flow
and errors are recomputed at the coarser numbers of steps, by its second arithmetic and from the certificate alone; losses that are no sums of functions of
one projection each ("ridge") are evaluated by it too. What was not recomputed is said, and a certificate of whose measurement nothing was does not hold.
Exit status: 0 if the certificate holds, 1 if it does not, was not checked, or cannot be used.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

FORMAT = 2
# A known error may be this share of what is measured, as everywhere in stepbias.
KNOWN = 0.01
# A refuted slope misses the claim by more than this.
DELTA = 0.1
# A coefficient that is not zero exceeds its bound by this factor at least; neighbouring points of its extrapolation are this ratio apart; its bound is made
# for errors that fade like h^(1/2), with a margin of 2; and what the flow may be off by is this share of what the coefficient exceeds its bound by.
CLEAR, RATIO, SLOWEST, MARGIN, EXPLAINED = 3.0, 1.9, 0.5, 2.0, 0.25
# The end may be smaller than the largest distance of its run by this factor more than at the coarser steps; else the finest step is recomputed too, as far
# as this number of steps.
SMALL_END, MOST_STEPS = 3.0, 4096

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


class Findings:
    """What was found: failures, and what could not be checked."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.missing: list[str] = []
        self.recomputed = False  # something of the measurement itself

    def note(self, good: Any, text: str) -> None:
        """Say what was found, and keep it if it is a failure."""
        sys.stdout.write(f"{'' if good else 'FAILS: '}{text}\n")
        if not good:
            self.failed.append(text)


def hexadecimal(values: Sequence[str]) -> Any:
    """Doubles from their hexadecimal text."""
    return np.array([float.fromhex(x) for x in values])


def doubles(values: Any) -> Any:
    """Doubles from JSON, None as NaN."""
    return np.array(values, dtype=np.float64)


def ridge_gradient(loss: Any, b: int, t: Any) -> Any:
    """Gradient of batch b at t: sum of amplitude phi'(w . t + offset) w, plus decay t."""
    total = loss["decay"] * t
    for phi, batch, first, last in loss["segments"]:
        if batch == b:
            w = np.array(loss["weight"])[:, first:last]
            z = t @ w + np.array(loss["offset"][first:last])
            total = total + w @ (np.array(loss["amplitude"][first:last]) * SLOPE[phi](z))
    return total


def end_of_rule(c: Any, gradient: Callable[[int, Any], Any]) -> Any:
    """The last iterate of an optimizer that is given by its rule, from the rule's own function; None where stepbias cannot be imported."""
    try:
        from stepbias.theory.tracing import Parameters
        from stepbias.verify.certificate import setting_of_data
    except ImportError:
        return None
    optimizer: Any = setting_of_data(c["optimizer"])
    batch, steps = c["schedule"]["batch"], c["end"]["steps"]
    t = hexadecimal(c["theta0"])
    state, q = tuple(s + 0.0 * t for s in optimizer.initial), Parameters(dict(optimizer.values))
    for n in range(steps):
        direction, state = optimizer.update(gradient(batch[n % len(batch)], t), state, n, t, q)
        t = t - c["horizon"] / steps * direction
    return t


def end_of_iterates(c: Any, gradient: Callable[[int, Any], Any]) -> Any:
    """The last iterate, by the definition of the optimizer."""
    if "parameters" in c["optimizer"]:
        return end_of_rule(c, gradient)
    o, batch, steps = c["optimizer"], c["schedule"]["batch"], c["end"]["steps"]
    t, m, v = hexadecimal(c["theta0"]), 0.0, 0.0
    for n in range(steps):
        g = gradient(batch[n % len(batch)], t)
        m = o["beta"] * m + (1 - o["beta"]) * g
        v = o["rho"] * v + (1 - o["rho"]) * g * g
        mc, vc = (
            1 / (1 - o[k] ** (n + 1)) if o["bias_correction"] else 1.0 for k in ("beta", "rho")
        )
        t = t - c["horizon"] / steps * mc * m / (np.sqrt(vc * v + o["eps_root"]) + o["eps"])
    return t


def gradient_of(c: Any) -> Callable[[int, Any], Any] | None:
    """Gradients of the stored loss; None where nothing here can evaluate it."""
    if c["loss"]["kind"] == "ridge":
        return lambda b, t: ridge_gradient(c["loss"], b, t)
    if c["loss"]["kind"] == "compiled":
        return None
    try:
        from stepbias.theory.arithmetic import DOUBLE
        from stepbias.theory.plain_losses import plain_loss
    except ImportError:
        return None
    formula = plain_loss(c["loss"], DOUBLE)
    return lambda b, t: formula.gradients(t)[b]


def check_form(c: Any, found: Findings) -> None:
    """Lengths, step sizes, and the end against the error there."""
    steps, h, error, floor = (doubles(c[key]) for key in ("steps", "h", "error", "floor"))
    if not len(steps) == len(h) == len(error) == len(floor) == len(c["fit"]["used"]) > 0:
        raise ValueError("steps, h, error, floor and fit.used differ in length, or are empty")
    if c["quantity"] == "resolving-step":
        epsilon = max(c["optimizer"]["eps"], c["optimizer"]["eps_root"])
        found.note(np.isclose(h.max(), epsilon, rtol=1e-12), "the largest h is the epsilon")
    else:
        given = np.allclose(h * steps, c["horizon"], rtol=1e-12, atol=0.0)
        found.note(given, "h = horizon / steps")
    finest = int(np.argmax(steps))
    found.note(c["end"]["steps"] == steps[finest], "the end is that of the finest step")
    difference, iterate = (hexadecimal(c["end"][key]) for key in ("difference", "iterate"))
    if c["quantity"] != "local":
        gap = np.abs(iterate - hexadecimal(c["end"]["flow"]) - difference)
        rounded = 2.0**-51 * (np.abs(iterate) + np.abs(difference))
        found.note(np.all(gap <= rounded), "end.difference is end.iterate - end.flow")
    if c["quantity"] != "resolving-step":
        # the largest of a run, and of c runs a root mean square of at least 1 / sqrt(c) of it
        size = float(np.linalg.norm(difference))
        most = np.sqrt(c["copies"]) * (error[finest] + 2.0 * floor[finest])
        text = f"the end is {size:.3e} away from the flow, the largest distance {error[finest]:.3e}"
        found.note(not size > most * (1.0 + 1e-9), text)


def check_iterates(c: Any, found: Findings) -> None:
    """The iterates at the finest step again."""
    gradient = gradient_of(c)
    if gradient is None:
        found.missing.append("the iterates")
        return
    steps, iterate = c["end"]["steps"], hexadecimal(c["end"]["iterate"])
    again = end_of_iterates(c, gradient)
    if again is None:
        found.missing.append("the iterates (stepbias cannot be imported)")
        return
    gap = float(np.linalg.norm(again - iterate))
    size = float(np.linalg.norm(hexadecimal(c["end"]["difference"])))
    if "coefficient" in c:
        size = min(size, excess(c["coefficient"])[1].max() * (c["horizon"] / steps))
    # or what so many additions round by
    allowed = max(KNOWN * size, steps * 2.0**-52 * (1.0 + float(np.abs(iterate).max())))
    found.note(gap <= allowed, f"iterate after {steps} steps: {gap:.1e} off the stored one")
    found.recomputed |= c["quantity"] == "global"


def check_slopes(c: Any, found: Findings) -> None:
    """Whether the stored errors miss the claimed order."""
    order = np.argsort(c["h"])
    window = order[[bool(c["fit"]["used"][i]) for i in order]][::-1]
    if len(window) < 2:
        raise ValueError(f"fit.used names {len(window)} points; accepted: two or more")
    h, error, floor = (doubles(c[k])[window] for k in ("h", "error", "floor"))
    if not (np.all(h > 0) and np.all(error > 0) and np.all(np.isfinite([h, error, floor]))):
        raise ValueError("h and error are not positive numbers where fit.used is true")
    slopes = np.diff(np.log(error)) / np.diff(np.log(h))
    miss = c["expected_order"] - slopes
    miss = np.abs(miss) if c["exact"] else miss
    text = f"slopes, finest last: {' '.join(f'{s:.3f}' for s in slopes)}; claimed {c['expected_order']:g}"
    found.note(miss[-1] > DELTA, text)
    found.note(np.all(floor <= KNOWN * error), "the errors stand clear of their floors")


def excess(part: Any) -> tuple[Any, Any]:
    """Which components of a coefficient refute, and by how much every one exceeds its bound."""
    value, bound = np.abs(doubles(part["value"])), doubles(part["bound"])
    return value > max(part["factor"], CLEAR) * bound, value - bound


def extrapolated(h: Any, values: Any, floor: Any, s: int, n: int) -> tuple[float, float]:
    """Value at h = 0 of the polynomial through the points s .. s + n - 1, and what their floors add to it."""
    x = h[s : s + n]
    weight = [np.prod([b / (b - a) for b in x if b != a]) for a in x]
    return float(np.dot(weight, values[s : s + n])), float(np.abs(weight) @ floor[s : s + n])


def check_coefficient(c: Any, found: Findings) -> None:
    """Whether the stored differences have a coefficient that the claim says is zero: the value, and a bound on its error, again."""
    part, i = c["coefficient"], c["coefficient"]["component"]
    q, value, bound = part["power"], part["value"][i], part["bound"][i]
    h, difference, floor = (doubles(part[key]) for key in ("h", "difference", "floor"))
    says = c["quantity"] == "global" and c["expected_order"] > q >= 0 and not c["exact"]
    found.note(says and c["copies"] == 1, f"the claim makes the coefficient of h^{q} zero")
    same = [np.array_equal(x, doubles(c[key])) for x, key in ((h, "h"), (floor, "floor"))]
    found.note(all(same), "its steps and floors are those of the errors")
    sizes, finest = np.linalg.norm(difference, axis=1), int(np.argmin(h))
    within = not np.any(sizes > doubles(c["error"]) * (1.0 + 1e-9))
    found.note(within, "no difference at the end is larger than the largest of its run")
    gap = float(np.linalg.norm(difference[finest] - hexadecimal(c["end"]["difference"])))
    found.note(gap <= 2.0 * floor[finest], f"the finest difference: {gap:.1e} off that of the end")
    points: list[int] = []
    for k in np.argsort(h):
        usable = np.isfinite(floor[k]) and np.all(np.isfinite(difference[k]))
        if usable and (not points or h[k] >= RATIO * h[points[-1]]):
            points.append(int(k))
    inside = [place for place, k in enumerate(points) if part["window"][k]]
    n = len(inside)
    if n < 2 or n != sum(part["window"]) or inside[-1] - inside[0] != n - 1:
        raise ValueError("coefficient.window names no neighbouring points")
    s = inside[0]
    if s + n + 2 > len(points):
        raise ValueError("coefficient.window leaves no two coarser points to compare with")
    x, known = h[points], floor[points] / h[points] ** q
    at = [extrapolated(x, difference[points, i] / x**q, known, k, n) for k in range(s + 3)]
    change = max(abs(at[s][0] - at[s + 1][0]), abs(at[s + 1][0] - at[s + 2][0]) * x[s + 1] / x[s + n + 1])  # fmt: skip
    change = max([change, *(abs(at[s][0] - other) - its for other, its in at[:s])])
    again = MARGIN / ((x[s + 1] / x[s]) ** SLOWEST - 1.0) * change + at[s][1]
    text = f"coefficient of h^{q}, component {i}: {at[s][0]:.4g}, bound {again:.2g}; stored {value:.4g} and {bound:.2g}"
    stored = abs(at[s][0] - value) <= 1e-6 * abs(value) and bound >= again * (1.0 - 1e-6)
    refuted = abs(at[s][0]) > max(part["factor"], CLEAR) * max(bound, again)
    found.note(stored and refuted, text)
    memory = c["fit"]["memory"]
    found.note(memory is None or x[s] * memory <= 0.1 * (1.0 + 1e-9), "its steps are asymptotic")


def check_flow(c: Any, found: Findings) -> None:
    """Flow and errors again, by the second arithmetic of stepbias."""
    try:
        from stepbias.verify.certificate import recompute
    except ImportError:
        found.missing.append("the flow (stepbias cannot be imported)")
        return
    if c["loss"]["kind"] == "compiled":
        found.missing.append("the flow (the loss is a compiled function)")
        return
    for other in (c["second"], *c["second"].get("others", [])):
        check_second(other, recompute(c, other["steps"]), found)
    if c["quantity"] == "resolving-step":
        found.missing.append("the steps from which on the order shows")
        return

    def again(k: int) -> float:
        runs = [recompute(c, c["steps"][k], shift=s) for s in range(c["copies"])]
        compare(c, k, runs, found)
        end = float(np.linalg.norm(doubles(runs[0].iterate - runs[0].flow)))
        return c["error"][k] / max(end, np.finfo(float).tiny)

    order = np.argsort(c["steps"])
    finite = [int(k) for k in order if c["error"][k] is not None and c["floor"][k] is not None]
    shares = [again(k) for k in finite[:2]]
    found.recomputed |= bool(shares)
    finest = finite[-1] if finite else 0
    end = float(np.linalg.norm(hexadecimal(c["end"]["difference"])))
    if (
        c["quantity"] == "global"
        and shares
        and c["error"][finest] > SMALL_END * max(shares) * end
        and finest not in finite[:2]
    ):
        # the largest distance may have been reached before the end; the end alone does not tell it
        if c["steps"][finest] <= MOST_STEPS:
            again(finest)
        else:
            found.missing.append("the error at the finest step, far larger than at the end")
            found.recomputed = False


def compare(c: Any, k: int, runs: Sequence[Any], found: Findings) -> None:
    """The error and the signed difference at one number of steps against what was recomputed."""
    steps, error, floor = c["steps"][k], c["error"][k], c["floor"][k]
    other = float(np.sqrt(np.mean([float(run.error) ** 2 for run in runs])))
    text = f"error at {steps} steps: {other:.6g}, stored {error:.6g}"
    found.note(abs(error - other) <= floor + KNOWN * other, text)
    if "coefficient" in c:
        part = c["coefficient"]
        refutes, beyond = excess(part)
        gap = doubles(runs[0].iterate - runs[0].flow) - doubles(part["difference"][k])
        off = np.abs(gap) / c["h"][k] ** part["power"]
        good = np.all(off[refutes] <= EXPLAINED * beyond[refutes])
        found.note(
            good, f"difference at {steps} steps, over h^{part['power']}: {off.max():.1e} off"
        )


def check_second(stored: Any, again: Any, found: Findings) -> None:
    """What the second arithmetic and the kernels found at one number of steps."""
    error, size = float(again.error), float(stored["error"])
    ends = (
        np.linalg.norm(doubles([float(x) for x in stored[key]]) - doubles(getattr(again, key)))
        for key in ("iterate", "flow")
    )
    good = abs(error - size) <= KNOWN * error and all(gap <= KNOWN * error for gap in ends)
    kernels = stored["kernels"]
    good &= abs(kernels["error"] - error) <= kernels["floor"] + KNOWN * error
    text = f"second arithmetic at {again.steps} steps: error {error:.6g}, stored {size:.6g}"
    found.note(good, f"{text}, by the kernels {kernels['error']:.6g}")


def main(path: str) -> bool:
    """Whether the certificate holds; says what was found."""
    found = Findings()
    checks = [check_form, check_iterates, check_slopes, check_flow]
    try:
        with open(path, encoding="utf-8") as file:
            c = json.load(file)
        if not isinstance(c, dict) or c.get("format") != FORMAT or "certifies" not in c:
            raise ValueError(f"it is no certificate of format {FORMAT}")
        if "coefficient" in c:
            checks[2] = check_coefficient
        with np.errstate(all="ignore"):  # what is not finite fails the comparisons
            for check in checks:
                check(c, found)
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as why:
        sys.stdout.write(f"the certificate cannot be used: {type(why).__name__}: {why}\n")
        return False
    for what in found.missing:
        sys.stdout.write(f"not checked: {what}\n")
    if found.failed:
        sys.stdout.write("the certificate FAILS\n")
    elif not found.recomputed:
        sys.stdout.write("NOT CHECKED: nothing of what was measured could be recomputed\n")
    else:
        sys.stdout.write("the certificate holds\n")
    return not found.failed and found.recomputed


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python check_certificate.py FILE")
    sys.exit(0 if main(sys.argv[1]) else 1)
