"""An order fit in words and as a picture."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from stepbias.verify.fit_input import Status

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from stepbias.verify.fit import OrderFit


def explain(fit: OrderFit) -> str:
    """Describe the fit in a paragraph; see `OrderFit.explain`."""
    from stepbias.verify.fit import DELTA, MEMORY_LIMIT

    usable = (fit.status == Status.USED) | (fit.status == Status.COARSE)
    parts = []
    claim = f"Claim: error = O(h^{fit.expected:g})"
    if fit.exact:
        claim += ", and no higher order"
    parts.append(f"{claim}.")
    text = f"{int(usable.sum())} of {len(fit.h)} points are usable"
    if usable.any():
        text += f" (h from {fit.h[usable].max():.4g} down to {fit.h[usable].min():.4g})"
    dropped = Counter(int(s) for s in fit.status[~usable])
    if dropped:
        text += "; dropped: " + ", ".join(f"{n} {Status.TEXT[s]}" for s, n in dropped.items())
    parts.append(f"{text}.")
    if len(fit.slopes):
        listed = " ".join(f"{s:.2f}" for s in fit.slopes)
        parts.append(f"Local slopes from coarse to fine: {listed}.")
    if fit.used.any() and np.isfinite(fit.interval).all():
        if fit.powers:
            terms = " + ".join(f"a_{q:g} h^{q:g}" for q in fit.powers)
            model = f"C h^p (1 + {terms})"
        else:
            model = "C h^p"
        parts.append(
            f"The {int(fit.used.sum())} finest usable points under |error| = {model}, the window "
            f"and model with the smallest bound among all tried, give p = {fit.order:.3f} and "
            f"C = {fit.constant:.4g} at h -> 0."
        )
        parts.append(
            f"The bound [{fit.interval[0]:.3f}, {fit.interval[1]:.3f}] is the hull of that "
            f"estimate with its residual width (t quantile at level {fit.level:g}) and the stated "
            f"floors, of the other windows and models of comparable width, and of the slope at the "
            f"finest step with a term of neighbouring order allowed for "
            f"(-{fit.hidden[0]:.3f}, +{fit.hidden[1]:.3f}). It bounds bias; it is not a regression "
            f"interval."
        )
    if fit.sampling is not None and usable.any():
        low, high = 100.0 * fit.sampling[usable].min(), 100.0 * fit.sampling[usable].max()
        parts.append(
            f"Sampling errors of {low:.2g} to {high:.2g} % were given: they weight the fit, no width "
            f"is smaller than they imply, and scatter within them counts neither as drift nor as a "
            f"runaway."
        )
    if fit.memory is not None:
        limit = MEMORY_LIMIT / fit.memory
        parts.append(f"Memory rate {fit.memory:.4g}: a refutation needs h <= {limit:.3g}.")
    parts.append(f"Orders closer than {DELTA} are not told apart; level {fit.level:g}.")
    parts.append(f"Verdict: {fit.verdict}, because {fit.reason}.")
    return " ".join(parts)


def plot(fit: OrderFit, ax: Axes | None = None) -> Axes:
    """Draw the fit in logarithmic axes; see `OrderFit.plot`."""
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots()[1]
    size = np.abs(fit.error)
    shown = np.isfinite(size) & (size > 0.0)
    rest = shown & ~fit.used
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.plot(fit.h[rest], size[rest], "o", mfc="none", color="0.5", label="not used")
    ax.plot(fit.h[fit.used & shown], size[fit.used & shown], "o", color="C0", label="used")
    if np.isfinite(fit.constant) and fit.constant > 0.0:
        grid = np.geomspace(fit.h.min(), fit.h.max(), 50)
        ax.plot(grid, fit.constant * grid**fit.order, "-", color="C0", lw=1,
                label=f"order {fit.order:.2f}")  # fmt: skip
    below = fit.floor > 0.0
    if below.any():
        order = np.argsort(fit.h[below])
        ax.plot(fit.h[below][order], fit.floor[below][order], ":", color="C3", label="floor")
    ax.set_xlabel("h")
    ax.set_ylabel("|error|")
    ax.set_title(f"claim O(h^{fit.expected:g}): {fit.verdict}")
    ax.legend()
    return ax
