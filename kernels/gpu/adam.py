"""Adam and RMSProp on the GPU: a step, the field, and the clock of the denominator, for one lane."""

from __future__ import annotations

from functools import cache
from typing import Any

from stepbias.kernels import compensated
from stepbias.kernels.gpu.bind import device
from stepbias.kernels.gpu.family import Family
from stepbias.kernels.gpu.local import device_function
from stepbias.kernels.gpu.oracle import DeviceOracle
from stepbias.kernels.gpu.state import PER_BATCH, PER_COMPONENT, State
from stepbias.kernels.gpu.sums import averages, entry, table_step, tables
from stepbias.theory import adam

_mean_of, _direction, _root, _rate, _relative_rate = (
    device(f)
    for f in (
        adam.running_mean,
        adam.direction,
        adam.root,
        adam.modified_rate,
        adam.relative_rate,
    )
)
_add = device(compensated.add)


def _sizes(dim: int, batches: int) -> dict[str, int]:
    return {
        name: PER_COMPONENT.get(name, 1) * dim * (batches if name in PER_BATCH else 1)
        for name in State._fields
    }


@device_function
def _start(lane, lanes, dim, state):
    """Averages begin at zero, as they are allocated."""


@cache
def _step(oracle: DeviceOracle) -> Any:
    """Device function: step n of the optimizer, :func:`stepbias.kernels.trajectory.advance_iterate`."""
    gradient_of = oracle.gradient

    @device_function
    def advance(rules, r, n, lane, lanes, dim, h, data, extra, state):
        part, row = dim * lanes, rules.start[r] + table_step(rules, r, n)
        # the position of the iterate and its gradient are the first and the last third of their arrays
        gradient = state.moments[2 * part :]
        gradient_of(rules.batch[row], lane, lanes, dim, state.high, data, extra, gradient)
        mc, sc = rules.mean_correction[row], rules.square_correction[row]
        for j in range(dim):
            i = j * lanes + lane
            g = gradient[i]
            m = _mean_of(state.moments[i], g, rules.beta[r])
            v = _mean_of(state.moments[part + i], g * g, rules.rho[r])
            state.moments[i], state.moments[part + i] = m, v
            change = -h * _direction(m * mc, v * sc, rules.eps[r], rules.eps_root[r])
            state.high[i], state.low[i] = _add(state.high[i], state.low[i], change)

    return advance


@cache
def field(oracle: DeviceOracle, batches: int) -> Any:
    """Device function: the modified field at ``theta`` into ``state.rate``, R into ``state.root``."""
    gradients_of, products_of = oracle.gradients, oracle.products
    sums_of, averages_of = entry(batches), averages(batches)

    @device_function
    def evaluate(rules, r, n, short, factors, lane, lanes, dim, h, theta, data, extra, state):
        part = dim * lanes
        gradients_of(lane, lanes, dim, theta, data, extra, state.gradients)
        second_order = factors[6] != 0.0
        for j in range(dim):
            i = j * lanes + lane
            if second_order:
                sums_of(rules, r, n, short, factors, i, part, state.gradients, state)
            else:
                mean, square = averages_of(rules, r, n, i, part, state.gradients)
                state.mean[i], state.square[i] = mean, square
        if second_order:
            products_of(
                lane, lanes, dim, theta, data, extra,
                state.mean_lag, state.square_lag, state.first, state.second,
            )  # fmt: skip
        for j in range(dim):
            i = j * lanes + lane
            lag, square_lag = 0.0, 0.0
            if second_order:
                for b in range(batches):
                    lag += state.first[b * part + i]
                    square_lag += state.gradients[b * part + i] * state.second[b * part + i]
            root = _root(state.square[i], rules.eps_root[r])
            state.root[i] = root
            state.rate[i] = _rate(
                factors[0] * state.mean[i], factors[1] * root, rules.eps[r],
                factors[6] * lag, factors[6] * square_lag, h,
            )  # fmt: skip

    return evaluate


@device_function
def _begin(lane, lanes, dim, state):
    """Keep R at the beginning of a piece."""
    for j in range(dim):
        i = j * lanes + lane
        state.start_root[i] = state.root[i]


@device_function
def _observe(rules, r, lane, lanes, dim, h, position, state, watch):
    """The smallest R and the largest |D'/D|."""
    for j in range(dim):
        i = j * lanes + lane
        before = state.start_root[i]
        drift = _relative_rate(state.root[i], before, rules.eps[r], h)
        watch.root[lane] = min(watch.root[lane], before)
        watch.drift[lane] = max(watch.drift[lane], drift)
        watch.size[lane] = max(watch.size[lane], abs(state.high[position + i]))


@cache
def _before(batches: int) -> Any:
    averages_of = averages(batches)

    @device_function
    def before(rules, r, n, lane, lanes, dim, state):
        for j in range(dim):
            i = j * lanes + lane
            _, square = averages_of(rules, r, n, i, dim * lanes, state.gradients)
            state.start_root[i] = _root(square, rules.eps_root[r])

    return before


@cache
def _after(batches: int) -> Any:
    averages_of = averages(batches)

    @device_function
    def after(rules, r, n, lane, lanes, dim, h, state, out):
        for j in range(dim):
            i = j * lanes + lane
            _, square = averages_of(rules, r, n, i, dim * lanes, state.gradients)
            root = _root(square, rules.eps_root[r])
            rate = _relative_rate(root, state.start_root[i], rules.eps[r], h)
            if rate > out[lane] or rate != rate:
                out[lane] = rate

    return after


@device_function
def _settle(lane, state, drift):
    """The rates are relative already."""


ADAM = Family(
    state=State,
    sizes=_sizes,
    zeroed=tuple(PER_COMPONENT),
    tables=tables,
    start=_start,
    step=_step,
    field=field,
    begin=_begin,
    observe=_observe,
    before=_before,
    after=_after,
    settle=_settle,
)
