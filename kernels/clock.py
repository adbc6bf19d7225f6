"""How fast what the direction of a traced rule reads changes: the clock that a step size is held against.

The direction may stay while its numerator and its denominator change together (a sign does): their changes are added without signs, each times the
direction's derivative in it.
"""

from __future__ import annotations

from stepbias.kernels.copies import copy
from stepbias.kernels.jit import inline, inlined_kernel, kernel
from stepbias.kernels.views import flat
from stepbias.theory import memoryless

_change_by = inline(memoryless.change_by)


@inlined_kernel
def note(theta, gradient, states, response, state):
    """What the direction reads at a point, and its derivatives there; flat arrays."""
    copy(gradient, state.present[0])
    copy(theta, state.present[1])
    for r in range(states.shape[0]):
        copy(states[r], state.present[2 + r])
    for v in range(state.present.shape[0]):
        copy(response[1 + v], state.slopes[v])


@kernel()
def remember(state):
    """The last point noted is the one that changes are counted from."""
    copy(state.present, state.earlier)
    copy(state.slopes, state.earlier_slopes)


@kernel()
def moved(state, part, h, drift):
    """Raise ``drift`` (L,) to the largest change since the point remembered, over ``part`` h; h (p, L)."""
    lanes = drift.size
    step = flat(h)
    for i in range(step.size):
        total = 0.0
        for v in range(state.present.shape[0]):
            total += _change_by(
                state.earlier_slopes[v, i], state.present[v, i], state.earlier[v, i]
            )
        rate = total / (part * step[i])
        lane = i % lanes
        if rate > drift[lane] or rate != rate:
            drift[lane] = rate


@kernel()
def raise_peak(values, peak):
    """Raise ``peak`` (L,) to the largest |value|, flat over (component, lane)."""
    for i in range(values.size):
        peak[i % peak.size] = max(peak[i % peak.size], abs(values[i]))
