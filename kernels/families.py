"""Random loss families: each is a sentence about the law of its parameters, and a function that expands the draws.

Numbers come from a counter-based generator: draw i of problem k is a function of (seed, family, k, i), so problem k of one ensemble is problem k of
every other with
the same seed, family and sizes. Parameters are sums and products of uniform numbers: the same bits whatever the number of lanes.

Amplitudes and phases of a batch are a part common to all batches plus the batch's own, so that batches differ but are related; frequencies are common.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.draws import Draws
from stepbias.kernels.ridge_source import ArrayRidge, RidgeSource, Units, segment_table
from stepbias.theory import activations, checks

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_ROWS = 8  # units of one batch
_BOWLS = 4  # quadratic units of the perturbed quadratic
_KINKS = 1  # kinked units of a kinked family


class Layout(NamedTuple):
    """Activation of every group of units of a batch, with the number of units."""

    groups: tuple[tuple[int, int], ...]

    @property
    def units(self) -> int:
        """Units of one batch."""
        return sum(count for _, count in self.groups)


def _related(common: Floats, own: Floats) -> Floats:
    """(m, q, L) from a common (q, L) and an own (m, q, L) part."""
    return common[None] + own


def _waves(draws: Draws, dim: int, batches: int, amplitude: float) -> Units:
    """Units with amplitudes of any sign and phases of a whole turn: what sine rows need."""
    weight = draws.signed(0.5, 1.5, dim, _ROWS)
    a = amplitude * _related(
        draws.signed(0.5, 1.0, _ROWS), draws.uniform(-0.4, 0.4, batches, _ROWS)
    )
    c = _related(draws.uniform(-3.1, 3.1, _ROWS), draws.uniform(-0.8, 0.8, batches, _ROWS))
    return c, a, weight


def _bowls(draws: Draws, dim: int, batches: int, rows: int, amplitude: float) -> Units:
    """Units with positive amplitudes: convex losses."""
    weight = draws.signed(0.5, 1.5, dim, rows)
    a = amplitude * _related(draws.uniform(0.7, 1.3, rows), draws.uniform(-0.4, 0.4, batches, rows))
    c = _related(draws.uniform(-1.5, 1.5, rows), draws.uniform(-0.8, 0.8, batches, rows))
    return c, a, weight


def _join(parts: list[Units], batches: int) -> Units:
    """Lay the groups out batch after batch; every batch has the same rows."""
    lanes = parts[0][0].shape[-1]
    c = np.concatenate([part[0] for part in parts], axis=1)
    a = np.concatenate([part[1] for part in parts], axis=1)
    weight = np.concatenate([part[2] for part in parts], axis=1)
    dim, units = weight.shape[:2]
    repeated = np.broadcast_to(weight[:, None], (dim, batches, units, lanes)).reshape(
        dim, batches * units, lanes
    )
    return c.reshape(-1, lanes), a.reshape(-1, lanes), repeated


def _sinusoid(draws: Draws, dim: int, batches: int) -> Units:
    return _join([_waves(draws, dim, batches, 0.5)], batches)


def _convex(draws: Draws, dim: int, batches: int) -> Units:
    return _join([_bowls(draws, dim, batches, _ROWS, 0.5)], batches)


def _perturbed_quadratic(draws: Draws, dim: int, batches: int) -> Units:
    return _join(
        [_bowls(draws, dim, batches, _BOWLS, 0.25), _waves(draws, dim, batches, 0.2)], batches
    )


def _kinked(draws: Draws, dim: int, batches: int, size: float) -> Units:
    """Sine rows and a concave kinked unit, common to all batches, with an amplitude of size up to ``size``.

    Concave, a ridge: in a valley floor the jump points back from both sides, the flow may be held on the kink and the iterates chatter about it.
    """
    smooth = _waves(draws, dim, batches, 0.5)
    weight = draws.signed(0.5, 1.5, dim, _KINKS)
    a = draws.uniform(-size, -0.4 * size, _KINKS)
    c = draws.uniform(-1.5, 1.5, _KINKS)
    shape = (batches, *a.shape)
    return _join([smooth, (np.broadcast_to(c, shape), np.broadcast_to(a, shape), weight)], batches)


def _with_abs(draws: Draws, dim: int, batches: int) -> Units:
    return _kinked(draws, dim, batches, 0.8)


def _with_relu(draws: Draws, dim: int, batches: int) -> Units:
    return _kinked(draws, dim, batches, 1.6)


class RidgeFamily(NamedTuple):
    """A random family of ridge losses."""

    number: int
    layout: Layout
    expand: Callable[[Draws, int, int], Units]
    law: str


_ROW_LAW = "|w_ij| uniform in (0.5, 1.5), signs fair, common to all batches"
_CONVEX_LAW = f"{_ROW_LAW}; a_bi = 0.5 (A_i + B_bi), A uniform in (0.7, 1.3), B in (-0.4, 0.4); c_bi = C_i + D_bi, C uniform in (-1.5, 1.5), D in (-0.8, 0.8)"
_WAVE_LAW = "A_i of size uniform in (0.5, 1) and fair sign, B uniform in (-0.4, 0.4); c_bi = C_i + D_bi, C uniform in (-3.1, 3.1), D in (-0.8, 0.8)"

RIDGE_FAMILIES: dict[str, RidgeFamily] = {
    "sinusoid": RidgeFamily(
        1,
        Layout(((activations.SINE, _ROWS),)),
        _sinusoid,
        f"E_b = sum over i < {_ROWS} of a_bi sin(w_i . theta + c_bi); {_ROW_LAW}; a_bi = 0.5 (A_i + B_bi), {_WAVE_LAW}",
    ),
    "logistic": RidgeFamily(
        2,
        Layout(((activations.SOFTPLUS, _ROWS),)),
        _convex,
        f"E_b = sum over i < {_ROWS} of a_bi log(1 + exp(w_i . theta + c_bi)); {_CONVEX_LAW}",
    ),
    "log-cosh": RidgeFamily(
        3,
        Layout(((activations.LOG_COSH, _ROWS),)),
        _convex,
        f"E_b = sum over i < {_ROWS} of a_bi log cosh(w_i . theta + c_bi); {_CONVEX_LAW}",
    ),
    "perturbed-quadratic": RidgeFamily(
        4,
        Layout(((activations.SQUARE, _BOWLS), (activations.SINE, _ROWS))),
        _perturbed_quadratic,
        f"E_b = sum over i < {_BOWLS} of a_bi (w_i . theta + c_bi)^2 / 2 + sum over {_ROWS} more i of a_bi sin(w_i . theta + c_bi); {_ROW_LAW}; "
        "quadratic rows as in the convex families with 0.25 for 0.5; sine rows a_bi = 0.2 (A_i + B_bi), "
        + _WAVE_LAW,
    ),
}

_KINK_LAW = f"the sinusoid family + {_KINKS} unit a phi(w . theta + c) common to all batches; |w_j| uniform in (0.5, 1.5), c in (-1.5, 1.5), signs fair"
KINKED_FAMILIES: dict[str, RidgeFamily] = {
    "sinusoid + abs": RidgeFamily(
        8,
        Layout(((activations.SINE, _ROWS), (activations.ABS, _KINKS))),
        _with_abs,
        f"{_KINK_LAW}; phi = |z|, a in (-0.8, -0.32)",
    ),
    "sinusoid + relu": RidgeFamily(
        9,
        Layout(((activations.SINE, _ROWS), (activations.RELU, _KINKS))),
        _with_relu,
        f"{_KINK_LAW}; phi = max(z, 0), a in (-1.6, -0.64)",
    ),
}
"""Losses without bounded derivatives, for the claims that drop this assumption; no families of :meth:`Loss.random`."""

_LAWS = RIDGE_FAMILIES | KINKED_FAMILIES


class RandomRidge(RidgeSource):
    """A random family of ridge losses.

    Parameters
    ----------
    family : str
        A key of :data:`RIDGE_FAMILIES` or :data:`KINKED_FAMILIES`.
    dim, batches : int
    problems : int or None
    seed : int
    """

    def __init__(
        self, family: str, dim: int, batches: int, problems: int | None, seed: int
    ) -> None:
        groups = _LAWS[family].layout.groups
        runs = [(kind, b, count) for b in range(batches) for kind, count in groups]
        super().__init__(dim, batches, problems, segment_table(runs))
        self.family = family
        self.seed = seed

    def draw(self, indices: Integers) -> Units:
        """See :meth:`RidgeSource.draw`."""
        family = _LAWS[self.family]
        count = family.layout.units * (self.dim + 2 * self.batches + 2)
        return family.expand(
            Draws(self.seed, family.number, indices, count), self.dim, self.batches
        )

    def describe(self) -> str:
        """The law of the family and the seed."""
        return f"{self.family}, seed {self.seed}: {_LAWS[self.family].law}"


FAMILIES = (
    "sinusoid",
    "logistic",
    "log-cosh",
    "log-sum-exp",
    "perturbed-quadratic",
    "tanh-network",
)


def random_source(family: Any, dim: Any, batches: Any, problems: Any, seed: Any) -> Any:
    """Check the arguments of ``Loss.random`` and build its source."""
    if not isinstance(family, str):
        raise TypeError(f"family = {family!r}; accepted: one of {', '.join(FAMILIES)}")
    if family not in FAMILIES:
        near = difflib.get_close_matches(family, FAMILIES, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"family = {family!r}; accepted: {', '.join(FAMILIES)} (nearest: {near!r})"
        )
    dim = checks.whole("dim", dim, 1)
    batches = checks.whole("batches", batches, 1)
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    if problems is not None:
        problems = checks.whole("problems", problems, 1)
    if family == "log-sum-exp":
        from stepbias.kernels.softmax_loss import RandomSoftmax

        return RandomSoftmax(dim, batches, problems, seed)
    if family == "tanh-network":
        from stepbias.kernels.tanh_network import RandomTanhNetwork

        return RandomTanhNetwork(dim, batches, problems, seed)
    return RandomRidge(family, dim, batches, problems, seed)


def sinusoid_source(amplitude: Any, frequency: Any, phase: Any) -> ArrayRidge:
    """Check the arguments of ``Loss.sinusoids`` and build its source."""
    arrays = {"amplitude": amplitude, "frequency": frequency, "phase": phase}
    checked = {name: checks.real(name, value) for name, value in arrays.items()}
    for name, array in checked.items():
        if array.ndim not in (2, 3) or 0 in array.shape:
            shape = "(q, p)" if name == "frequency" else "(m, q)"
            raise ValueError(
                f"{name} has shape {array.shape}; accepted: {shape} or with a leading B, nothing empty"
            )
    a, w, c = checked.values()
    batches, rows = a.shape[-2:]
    if c.shape[-2:] != (batches, rows):
        raise ValueError(
            f"phase has shape {c.shape}, amplitude {a.shape}; accepted: the same (m, q)"
        )
    if w.shape[-2] != rows:
        raise ValueError(
            f"frequency has shape {w.shape}; accepted: ({rows}, p), a row for each column of amplitude"
        )
    leading = {name: array.shape[0] for name, array in checked.items() if array.ndim == 3}
    if len(set(leading.values())) > 1:
        raise ValueError(
            f"leading axes differ: {leading}; accepted: one B for all arrays that have it"
        )
    weight = np.concatenate([np.swapaxes(w, -1, -2)] * batches, axis=-1)
    offset, scale = (array.reshape(*array.shape[:-2], batches * rows) for array in (c, a))
    runs = [(activations.SINE, b, rows) for b in range(batches)]
    origin = f"sum of {rows} given sinusoids in {w.shape[-1]} variables"
    segments = segment_table(runs)
    return ArrayRidge(segments, offset, scale, np.ascontiguousarray(weight), batches, origin)
