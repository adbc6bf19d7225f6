"""The left sides of the lemmas and theorems behind the explicit constants, measured along the flow: largest values over steps, components and times.

A quantity that its lemma bounds by a constant times the age n - k is kept as one number for every age. Beside every number stands a bound on its rounding:
values at the nodes carry a few roundings, which a derivative multiplies (:func:`stepbias.kernels.collocation.rounding_gain`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.collocation import (
    NODES,
    Piece,
    RidgePoints,
    flow_pieces,
    rounding_gain,
    rule,
    time_derivative,
)
from stepbias.kernels.loss import Loss
from stepbias.kernels.trajectories import iterate
from stepbias.theory.optimizers import Adam, RMSProp
from stepbias.theory.step_sums import Averages, averages
from stepbias.verify.experiments.constants_problems import Problem, ensemble

Floats = NDArray[np.float64]

# About ten roundings of a number, each 1.1e-16, as the sums over k and i make them.
_ROUNDING = 2e-15


@dataclass(eq=False)
class Left:
    """Largest left sides of B problems.

    Attributes
    ----------
    size : dict of (B,), or (B, steps) by age
        Entry [:, a - 1] belongs to age a = n - k.
    doubt : dict of the same
        Rounding.
    root : (B,)
        Lower bound on every R^(l) of a step so far on the flow, and on the roots over past gradients of flow and iterates.
    bounds : (B, 4)
        M_1 .. M_4 over the box of flow and iterates.
    resolved : (B,) bool
        The nodes resolve the flow.
    """

    size: dict[str, Floats] = field(default_factory=dict)
    doubt: dict[str, Floats] = field(default_factory=dict)
    root: Floats = field(default_factory=lambda: np.empty(0))
    bounds: Floats = field(default_factory=lambda: np.empty(0))
    resolved: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=np.bool_))

    def note(self, name: str, values: Floats, doubt: Floats) -> None:
        """Keep the largest: values (B, ...), doubt (B,)."""
        largest = np.abs(values).reshape(len(values), -1).max(axis=1)
        self._keep(name, largest, doubt)

    def note_by_age(self, name: str, values: Floats, doubt: Floats, steps: int) -> None:
        """Keep the largest for every age: values (B, ..., n, p) of the steps k = 0 .. n - 1, whose ages are n .. 1."""
        count = values.shape[-2]
        flat = np.abs(values).reshape(len(values), -1, count, values.shape[-1]).max(axis=(1, 3))
        rows = np.zeros((len(values), steps))
        rows[:, :count] = flat[:, ::-1]
        self._keep(name, rows, np.broadcast_to(doubt[:, None], rows.shape))

    def _keep(self, name: str, largest: Floats, doubt: Floats) -> None:
        known = self.size.get(name, np.zeros_like(largest))
        self.size[name] = np.maximum(known, largest)
        self.doubt[name] = np.maximum(self.doubt.get(name, np.zeros_like(largest)), doubt)


def measure(problems: list[Problem], nodes: int = NODES, lemmas: bool = True) -> Left:
    """Left sides of problems of one dimension and one number of steps; without ``lemmas`` only the global errors."""
    loss = ensemble(problems)
    h = np.array([one.h for one in problems])
    schedule = np.stack([one.schedule for one in problems])
    steps = schedule.shape[1]
    given = _averages(problems, steps)
    theta0 = np.zeros((len(problems), loss.dim))
    path = _iterates(problems, steps)
    work = _Walk(Left(), given, h, steps, nodes, _unit(problems), path)
    points = RidgePoints(loss)
    with np.errstate(all="ignore"):  # problems that break down are NaN, and excluded
        for piece in flow_pieces(points, given, theta0, h, schedule, nodes):
            work.step(piece, schedule, lemmas)
        work.iterates(points, schedule)
        return work.finish(loss)


def _averages(problems: list[Problem], steps: int) -> Averages:
    names = ("beta", "rho", "eps", "eps_root", "bias_correction")
    beta, rho, eps, eps_root, corrected = (_numbers(problems, name) for name in names)
    return averages(beta, rho, eps, eps_root, corrected, steps)


def _numbers(problems: list[Problem], name: str) -> Floats:
    """A number of every problem's optimizer, (B,)."""
    return np.array([getattr(one.optimizer, name) for one in problems], dtype=np.float64)


def _iterates(problems: list[Problem], steps: int) -> Floats:
    """theta^(n), (B, steps + 1, p), by the compiled kernels."""
    out = np.empty((len(problems), steps + 1, problems[0].dim))
    for adam in (True, False):
        rows = [k for k, one in enumerate(problems) if one.is_adam is adam]
        if not rows:
            continue
        chosen = [problems[k] for k in rows]
        rho, eps, eps_root = (_numbers(chosen, name) for name in ("rho", "eps", "eps_root"))
        beta = _numbers(chosen, "beta")
        out[rows] = iterate(
            Adam(beta, rho, eps, eps_root) if adam else RMSProp(rho, eps, eps_root),
            ensemble(chosen),
            np.zeros((len(rows), out.shape[2])),
            np.array([one.h for one in chosen]),
            steps,
            np.stack([one.schedule for one in chosen]),
        )
    return out


def _unit(problems: list[Problem]) -> Floats:
    """Relative rounding of gradients and Hessians: the argument z of a sinusoid is rounded, which tan z or its inverse multiplies."""
    tangent = np.array([np.abs(np.tan(one.phase[0, 0])) for one in problems])
    return np.asarray(_ROUNDING * (1.0 + tangent + 1.0 / tangent))


class _Walk:
    """One walk along the pieces of the flow."""

    def __init__(
        self,
        left: Left,
        given: Averages,
        h: Floats,
        steps: int,
        nodes: int,
        unit: Floats,
        path: Floats,
    ) -> None:
        self.left, self.given, self.h, self.steps, self.nodes = left, given, h, steps, nodes
        self.unit, self.path = unit, path
        self.gap = 0.5 * float(np.diff(rule(nodes).x).max())  # distance of a time from a node
        # gradients of all batches at t_0, t_1, .. and of every step's batch along the iterates
        self.at_nodes: list[Floats] = []
        self.low = self.high = np.full((len(h), path.shape[2]), 0.0)
        self.root = np.full(len(h), np.inf)
        self.speed = np.zeros(len(h))
        self.tail = np.zeros(len(h))
        self.error = np.zeros((len(h), path.shape[2]))
        self.first = np.zeros(len(h))

    def step(self, piece: Piece, schedule: NDArray[np.int64], lemmas: bool) -> None:
        """Everything that is said about step n."""
        if not self.at_nodes:
            self.low, self.high = piece.theta[:, 0], piece.theta[:, 0]
        self.at_nodes.append(piece.gradients[:, 0])
        self._assumptions(piece)
        if lemmas:
            self._sums(piece)
            self._first_derivatives(piece)
            self._second_derivatives(piece)
            self._past(piece, schedule[:, : piece.n + 1])
        self._global(piece)

    def _relative(self, values: Floats, order: int = 0) -> Floats:
        """Rounding of values (B, Q, ...), or of their derivative of this order."""
        size = np.abs(values).reshape(len(values), -1).max(axis=1)
        gain = rounding_gain(self.nodes, order) / self.h**order if order else 1.0
        return np.asarray(self.unit * size * gain)

    def _slope(self, values: Floats, order: int = 1) -> Floats:
        return time_derivative(values, self.h, self.nodes, order)

    def _assumptions(self, piece: Piece) -> None:
        """Box, R and resolution."""
        last = np.stack([piece.theta.min(axis=1), self.path[:, piece.n + 1], self.low])
        self.low = last.min(axis=0)
        last = np.stack([piece.theta.max(axis=1), self.path[:, piece.n + 1], self.high])
        self.high = last.max(axis=0)
        self.speed = np.maximum(self.speed, np.abs(piece.rate).max(axis=(1, 2)))
        R = piece.sums.R
        between = np.abs(self._slope(R)).max(axis=(1, 2, 3)) * self.h * self.gap
        self.root = np.minimum(self.root, R.min(axis=(1, 2, 3)) - between)
        # the last two coefficients of the rate in Chebyshev polynomials, relative to its size
        chebyshev = np.linalg.inv(
            np.polynomial.chebyshev.chebvander(2.0 * rule(self.nodes).x - 1.0, self.nodes - 1)
        )[-2:]
        tail = np.abs(chebyshev @ piece.rate).max(axis=(1, 2))
        self.tail = np.maximum(self.tail, tail / np.abs(piece.rate).max(axis=(1, 2)))

    def _sums(self, piece: Piece) -> None:
        """Lemmas SA-6.1, SA-6.4, (6.3) to (6.5)."""
        s, note = piece.sums, self.left.note
        note("P", s.P, self._relative(s.P))
        note("Pbar", s.Pbar, self._relative(s.Pbar))
        note("rate", piece.rate, self._relative(piece.rate))
        note("bias", s.A - s.B, self._relative(s.A) + self._relative(s.B))
        drift = (piece.hessians @ piece.rate[:, :, None, :, None])[..., 0]
        note("gradient'", drift, self._relative(drift))
        bias = self.h[:, None, None] * (s.A - s.B)
        rest = (piece.hessians @ bias[:, :, None, :, None])[..., 0] / self.h[:, None, None, None]
        note("gradient' + Hessian F", rest, self._relative(rest))
        if piece.n:
            self.left.note_by_age("U", s.U[:, :, :-1], self._relative(s.U), self.steps)

    def _first_derivatives(self, piece: Piece) -> None:
        """(6.6) to (6.12), (6.15), Lemma SA-6.14, (7.7)."""
        s, note = piece.sums, self.left.note
        past = s.V / (s.R + np.sqrt(self.given.eps_root)[:, None, None, None])  # R - sqrt(eps_root)
        R1 = self._slope(past)
        inverse = -(2.0 / s.D**3 / s.R + 1.0 / s.D**2 / s.R**2) * R1
        each = (piece.hessians[:, :, :, None] @ s.F[:, :, None, :, :, None])[..., 0]
        F = s.F[:, :, -1]
        for name, values in (
            ("P'", s.P),
            ("Pbar'", s.Pbar),
            ("A'", s.A),
            ("B'", s.B),
            ("rate'", piece.rate),
            ("(Hessian F)'", each),
        ):
            note(name, self._slope(values), self._relative(values, 1))
        note("R'", R1, self._relative(past, 1))
        note("(D^-2 R^-1)'", inverse, self._relative(past, 1) * _largest(inverse, R1))
        note("bias'", self._slope(s.A - s.B), self._relative(s.A, 1) + self._relative(s.B, 1))
        if piece.n:
            self.left.note_by_age(
                "U'", self._slope(s.U)[:, :, :-1], self._relative(s.U, 1), self.steps
            )
        slope = self._slope(F)[:, 0]
        d, r, n = s.D[:, 0, -1], s.R[:, 0, -1], s.N[:, 0, -1]
        simple = n * s.Pbar[:, 0] / (d**2 * r) - s.Lbar[:, 0] / d
        note("(7.7)", (slope - simple) / self.h[:, None], self._relative(F, 1) / self.h)
        time = self.h[:, None]
        end = piece.increment[:, -1]
        taylor = end - time * piece.rate[:, 0] + 0.5 * time**2 * slope
        doubt = self._relative(piece.increment) + 0.5 * self.h**2 * self._relative(F, 1)
        note("(7.6)", taylor / time**3, doubt / self.h**3)

    def _second_derivatives(self, piece: Piece) -> None:
        """Lemmas SA-6.15 and SA-6.22."""
        s, note = piece.sums, self.left.note
        past = s.V / (s.R + np.sqrt(self.given.eps_root)[:, None, None, None])
        R1, R2 = self._slope(past), self._slope(past, 2)
        doubt = self._relative(past, 2)
        square = 6.0 * R1**2 / s.D**4 - 2.0 * R2 / s.D**3  # (D^-2)''
        single = 2.0 * R1**2 / s.R**3 - R2 / s.R**2  # (R^-1)''
        product = square / s.R + 4.0 * R1**2 / (s.D**3 * s.R**2) + single / s.D**2
        note("R''", R2, doubt)
        for name, values in (
            ("(D^-2)''", square),
            ("(R^-1)''", single),
            ("(D^-2 R^-1)''", product),
        ):
            note(name, values, doubt * _largest(values, R2))
        for name, values in (
            ("gradient''", piece.gradients),
            ("F''", s.F[:, :, -1]),
            ("P''", s.P),
            ("Pbar''", s.Pbar),
            ("A''", s.A),
            ("B''", s.B),
            ("rate''", piece.rate),
        ):
            note(name, self._slope(values, 2), self._relative(values, 2))
        if piece.n:
            self.left.note_by_age(
                "U''", self._slope(s.U, 2)[:, :, :-1], self._relative(s.U, 2), self.steps
            )

    def _past(self, piece: Piece, schedule: NDArray[np.int64]) -> None:
        """Lemmas SA-7.1 to SA-7.5 and the local theorems, at t_n."""
        n, s, h, note = piece.n, piece.sums, self.h[:, None], self.left.note
        rows = np.arange(len(self.h))[:, None]
        at_nodes = np.stack(self.at_nodes, axis=1)  # (B, n + 1, m, p), batch b at t_k
        then = at_nodes[rows, np.arange(n + 1), schedule]  # of step k at t_k, (B, n + 1, p)
        now = piece.own_gradients[:, 0]
        small = self._relative(now)
        R, D, P = s.R[:, 0, -1], s.D[:, 0, -1], s.P[:, 0]
        first, second = self.given.first[:, n, : n + 1], self.given.second[:, n, : n + 1]
        if n:
            U = s.U[:, 0]
            by_age = self.left.note_by_age
            by_age("(7.1)", (then - now)[:, :-1] / h[..., None], small / self.h, self.steps)
            moved = at_nodes[:, :-1] - at_nodes[:, 1:]  # all batches between t_l and t_{l+1}
            each = (piece.hessians[:, :1] @ s.F[:, 0, :-1, None, :, None])[..., 0]
            rest = moved - self.h[:, None, None, None] * each
            rest = np.moveaxis(rest, 2, 1) / self.h[:, None, None, None] ** 2
            by_age("(7.2)", rest, small / self.h**2, self.steps)
            by_age(
                "(7.3)",
                (then - now - h[..., None] * U)[:, :-1] / h[..., None] ** 2,
                small / self.h**2,
                self.steps,
            )
            squares = then**2 - now**2 - 2.0 * h[..., None] * now * U
            doubt = small * np.abs(now).max(axis=(1, 2)) / self.h**2
            by_age("(7.5)", squares[:, :-1] / h[..., None] ** 2, doubt, self.steps)
        # V of the past less R^2, from differences: the constant inside the root cancels exactly
        excess = (second[:, :, None] * (then - now) * (then + now)).sum(axis=1)
        doubt = small * np.abs(now).max(axis=(1, 2))
        note("V of the past", excess / h, doubt / self.h)
        note("V of the past - 2hP", (excess - 2.0 * h * P) / h**2, doubt / self.h**2)
        root = np.sqrt((second[:, :, None] * then**2).sum(axis=1) + self.given.eps_root[:, None])
        self.root = np.minimum(self.root, root.min(axis=1))
        eps = self.given.eps[:, None]
        inverse = -excess / ((root + R) * (root + eps) * D)  # 1/(root + eps) - 1/D
        rest = inverse + h * P / (D**2 * R)
        shrunk = doubt / (R.min(axis=1) * D.min(axis=1) ** 2)
        note("D^-1 of the past", rest / h**2, shrunk / self.h**2)
        mean = (first[:, :, None] * then).sum(axis=1)
        lag = (first[:, :, None] * (then - now)).sum(axis=1)
        note("N of the past", lag / h, small / self.h)
        note("N of the past - hL", (lag - h * s.L[:, 0]) / h**2, small / self.h**2)
        local = piece.increment[:, -1] + h * mean / (root + eps)
        note("local", local / h**3, self._relative(piece.increment) / self.h**3)

    def _global(self, piece: Piece) -> None:
        """Theorems SA-2.4, SA-3.4, SA-4.4, SA-5.4: e_n at t_{n+1}, and its change; and R along the iterates."""
        error = piece.theta[:, -1] - self.path[:, piece.n + 1]
        values = np.linalg.norm(error, axis=1)
        change = np.linalg.norm(error - self.error, axis=1)
        self.error = error
        if piece.n == 0:
            self.first = values
        # iterates are sums of n + 1 steps, each rounded at the size of theta and of the step; roundings grow as errors do
        size = np.abs(self.path).max(axis=(1, 2))
        doubt = self.unit * size + (piece.n + 1) * self._relative(piece.increment)
        doubt = doubt * np.maximum(1.0, values / ((piece.n + 1) * self.first))
        for name, found in (("error", values), ("change of the error", change)):
            rows = np.zeros((len(values), self.steps))
            rows[:, piece.n] = found
            self.left._keep(name, rows, np.where(rows > 0.0, doubt[:, None], 0.0))

    def iterates(self, points: RidgePoints, schedule: NDArray[np.int64]) -> None:
        """R over past gradients along the iterates, as the global theorems assume."""
        gradients, _ = points(self.path[:, :-1])
        rows, steps = np.arange(len(schedule))[:, None], np.arange(self.steps)
        square = self.given.second @ gradients[rows, steps, schedule] ** 2
        root = np.sqrt(square + self.given.eps_root[:, None, None])
        self.root = np.minimum(self.root, root.min(axis=(1, 2)))

    def finish(self, loss: Loss) -> Left:
        """Bounds over the box, and what was resolved."""
        margin = (self.speed * self.h * self.gap)[:, None]
        low, high = self.low - margin, self.high + margin
        finite = np.asarray(np.isfinite(low + high).all(axis=1))
        low, high = (np.where(finite[:, None], end, 0.0) for end in (low, high))
        bounds = loss.bounds(low, high)
        assert bounds is not None  # sinusoids have them
        self.left.bounds = np.stack(bounds, axis=1)
        self.left.root = self.root
        self.left.resolved = np.asarray(finite & (self.tail < _TAIL))
        return self.left


# Coefficients of the rate at the end of the Chebyshev series: where they are larger, ten nodes do not resolve the flow.
_TAIL = 1e-7


def _largest(values: Floats, slope: Floats) -> Floats:
    """Largest |values| / |slope| of every problem: how an error of the slope enters."""
    size = np.abs(slope).reshape(len(slope), -1).max(axis=1)
    return np.asarray(np.abs(values).reshape(len(values), -1).max(axis=1) / size)
