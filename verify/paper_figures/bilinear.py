"""Figures of Adam on the bilinear model: trajectories in the plane, and their one-norms of the gradient where the loss is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.trajectories import flow, iterate
from stepbias.theory import bilinear_path
from stepbias.verify.matched_loss import LEVEL, PAPER, Case, passage
from stepbias.verify.paper_figures.style import (
    DASHED,
    GREY,
    INK,
    ORDERED,
    STYLE,
    open_figure,
    shades,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_EPSILON = 1e-6
# Long enough to settle, but for the largest step of Figure 3 at beta > rho, which leaves the window.
_STEPS, _TIME = 60_000, 4.0
_FLOW_TIME = 5.0
_FLOW_FROM = 1e-4  # the modified equation is drawn from this step on: at smaller ones it lies on the iterates
_DRAWN = 4000  # points of a drawn curve
# A wide pale band and a thin dashed line in the same colour: both are seen where they agree.
_BAND: dict[str, Any] = {"lw": 3.0, "alpha": 0.55, "solid_capstyle": "butt"}
_LINE: dict[str, Any] = {"lw": 1.2, "ls": DASHED}
_VIOLET = "#7b2d8b"  # the papers' colour of the line of minima


class Curve(NamedTuple):
    """One trajectory: its settings, label and colour."""

    case: Case
    label: str
    colour: Any


def _curves(cases: list[Case], labels: list[str]) -> list[Curve]:
    colours = ORDERED if len(cases) == len(ORDERED) else shades(len(cases))
    return [Curve(*parts) for parts in zip(cases, labels, colours, strict=True)]


def _figure_2() -> tuple[list[Curve], list[Curve]]:
    betas, rhos = (0.9, 0.99, 0.999), (0.9, 0.99, 0.999)
    left = [Case(beta, 0.999, _EPSILON, 1e-3) for beta in betas]
    right = [Case(0.9, rho, _EPSILON, 1e-3) for rho in rhos]
    return (
        _curves(left, [rf"$\beta = {beta:g}$" for beta in betas]),
        _curves(right, [rf"$\rho = {rho:g}$" for rho in rhos]),
    )


def _figure_3() -> tuple[list[Curve], list[Curve]]:
    sizes = (1e-5, 1e-4, 3e-4, 5e-4, 1e-3)
    labels = [f"$h = {_scientific(h)}$" for h in sizes]
    return (
        _curves([Case(0.995, 0.75, _EPSILON, h) for h in sizes], labels),
        _curves([Case(0.9, 0.999, _EPSILON, h) for h in sizes], labels),
    )


def _scientific(value: float) -> str:
    power = int(np.floor(np.log10(value) + 1e-9))
    factor = value / 10.0**power
    return rf"10^{{{power}}}" if abs(factor - 1.0) < 1e-9 else rf"{factor:g}\cdot 10^{{{power}}}"


def _iterates(case: Case) -> Floats:
    steps = _STEPS + round(_TIME / case.h)
    return iterate(case.optimizer, PAPER.loss, PAPER.theta, case.h, steps)


def _descent(path: Floats) -> Floats:
    """The part of a trajectory before its loss first stops falling, or it meets the line of minima, or becomes unusable."""
    with np.errstate(over="ignore", invalid="ignore"):
        product = path[:, 0] * path[:, 1]
        falls = (np.diff(product) < 0.0) & (product[1:] > PAPER.y / PAPER.x)
    return path if falls.all() else path[: int(np.argmin(falls)) + 1]


def _flow(case: Case) -> Floats:
    steps = round(_FLOW_TIME / case.h)
    return _descent(flow(case.optimizer, PAPER.loss, PAPER.theta, case.h, steps))


def _thinned(path: Floats) -> Floats:
    """At most ``_DRAWN`` points, the last one among them."""
    if len(path) <= _DRAWN:
        return path
    return path[np.unique(np.linspace(0, len(path) - 1, _DRAWN).round().astype(int))]


def _ground(axes: Axes, low: tuple[float, float], high: tuple[float, float]) -> None:
    """Level lines of the one-norm, the line of minima and the cross, in a window of the plane."""
    x, y = PAPER.x, PAPER.y
    s, t = (np.linspace(a, b, 201) for a, b in zip(low, high, strict=True))
    norm = np.array([[bilinear_path.one_norm(x, y, a, b) for a in s] for b in t])
    lines = axes.contour(s, t, norm, levels=[2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0], colors="#cfcfcf", linewidths=0.7)  # fmt: skip
    axes.clabel(lines, fontsize=6.5, colors=GREY)
    axes.plot(s, y / (x * s), color=_VIOLET, lw=1.6, label="minima")
    axes.plot(*bilinear_path.least_norm_minimum(x, y), "x", color=_VIOLET, ms=8, mew=2)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])


def _trajectories(axes: Axes, curves: list[Curve]) -> None:
    """Trajectories near the minima, and all of them from the start in a small frame."""
    low, high = (0.35, 0.6), (1.45, 2.1)
    _ground(axes, low, high)
    small = axes.inset_axes((0.70, 0.13, 0.30, 0.36))
    small.plot(s := np.linspace(0.2, 3.0, 200), PAPER.y / (PAPER.x * s), color=_VIOLET, lw=1.0)
    for curve in curves:
        path = _iterates(curve.case)
        first = len(_descent(path))
        shown = _thinned(path[: first + 1])
        axes.plot(*shown.T, color=curve.colour, label=curve.label, **_BAND)
        axes.plot(*_thinned(path[first:]).T, color=curve.colour, lw=0.5, alpha=0.6)
        axes.plot(*path[-1], "o", color=curve.colour, ms=5, mec="white", mew=0.7, zorder=5)
        small.plot(*shown.T, color=curve.colour, lw=1.4, alpha=0.55)
        if curve.case.h >= _FLOW_FROM:
            predicted = _thinned(_flow(curve.case))
            axes.plot(*predicted.T, color=curve.colour, zorder=4, **_LINE)
            small.plot(*predicted.T, color=curve.colour, lw=0.7, ls=DASHED)
        if (place := passage(path, PAPER)) is not None:
            axes.plot(*place.theta, "s", color=curve.colour, ms=4, mec="white", mew=0.7, zorder=5)
    small.plot(*PAPER.theta, "o", color=INK, ms=3)
    small.set_xlim(0.0, 3.1)
    small.set_ylim(0.0, 3.8)
    small.tick_params(labelsize=6)
    axes.set_xlabel(r"$\theta_1$")
    axes.set_ylabel(r"$\theta_2$")


def _two_panels(pair: tuple[list[Curve], list[Curve]], titles: tuple[str, str]) -> Figure:  # fmt: skip
    from matplotlib.lines import Line2D

    with mpl.rc_context(STYLE):
        figure = open_figure(8.8, 5.0)
        for axes, curves, title in zip(figure.subplots(1, 2), pair, titles, strict=True):
            _trajectories(axes, curves)
            axes.set_title(title)
            handles, labels = axes.get_legend_handles_labels()
            axes.legend(handles[1:], labels[1:], loc="lower left")
        entries = [
            Line2D([], [], color=_VIOLET, lw=1.6, label=r"minima $\theta_1\theta_2 = y/x$"),
            Line2D([], [], color=_VIOLET, marker="x", ls="none", ms=7, mew=2, label=r"least $\|\nabla E\|_1$ in the limit"),
            Line2D([], [], color=GREY, marker="s", ls="none", ms=4, label="loss 1/100 of the start"),
            Line2D([], [], color=GREY, marker="o", ls="none", ms=5, label="where it ends"),
            Line2D([], [], color="#cfcfcf", lw=0.9, label=r"level lines of $\|\nabla E\|_1$"),
            Line2D([], [], color=INK, label="modified equation, while its loss falls", **_LINE),
        ]  # fmt: skip
        figure.legend(handles=entries, loc="outside lower center", ncols=3)
    return figure


def hyperparameters() -> Figure:
    """Figure 2: three beta at rho = 0.999, three rho at beta = 0.9; h = 1e-3, epsilon = 1e-6 inside the root."""
    titles = (r"$\rho = 0.999$, $h = 10^{-3}$", r"$\beta = 0.9$, $h = 10^{-3}$")
    return _two_panels(_figure_2(), titles)


def step_size() -> Figure:
    """Figure 3: step sizes from 1e-5 to 1e-3 at (beta, rho) = (0.995, 0.75) and (0.9, 0.999)."""
    titles = (r"$\beta = 0.995 > \rho = 0.75$", r"$\beta = 0.9 < \rho = 0.999$")
    return _two_panels(_figure_3(), titles)


def _excess(path: Floats) -> tuple[Floats, Floats]:
    """Along a descent: the loss relative to the start, and by how many percent the one-norm exceeds that of the sign flow at the same loss."""
    x, y = PAPER.x, PAPER.y
    part = _thinned(_descent(path))
    product = part[:, 0] * part[:, 1]
    share = ((y - x * product) / (y - x * product[0])) ** 2
    level = np.array([bilinear_path.sign_flow_total(*PAPER.theta, p) for p in product])
    return share, 100.0 * (part.sum(axis=1) / level - 1.0)


def matched_loss() -> Figure:
    """One-norm of the gradient against the loss, relative to the trajectory without bias at the same loss, for the settings of Figures 2 and 3."""
    from matplotlib.lines import Line2D

    pairs = (*_figure_2(), *_figure_3())
    titles = (
        r"$\rho = 0.999$, $h = 10^{-3}$",
        r"$\beta = 0.9$, $h = 10^{-3}$",
        r"$\beta = 0.995 > \rho = 0.75$",
        r"$\beta = 0.9 < \rho = 0.999$",
    )
    with mpl.rc_context(STYLE):
        figure = open_figure(8.6, 6.2)
        panels = figure.subplots(2, 2, sharex=True)
        for axes, curves, title in zip(panels.flat, pairs, titles, strict=True):
            for curve in curves:
                share, excess = _excess(_iterates(curve.case))
                axes.plot(share, excess, color=curve.colour, label=curve.label, **_BAND)
                if curve.case.h >= _FLOW_FROM:
                    axes.plot(*_excess(_flow(curve.case)), color=curve.colour, **_LINE)
            axes.axhline(0.0, color=GREY, lw=0.6)
            axes.axvline(LEVEL, color=GREY, lw=0.6)
            axes.set_title(title)
            axes.legend(loc="best")
        panels[0, 0].set_xscale("log")
        panels[0, 0].set_xlim(1.0, 1e-4)
        for axes in panels[1]:
            axes.set_xlabel("loss, relative to the start")
        for axes in panels[:, 0]:
            axes.set_ylabel(r"excess of $\|\nabla E\|_1$ at equal loss, %")
        name = "modified equation, while its loss falls"
        note = Line2D([], [], color=INK, label=name, **_LINE)
        level = Line2D([], [], color=GREY, lw=0.6, label="the level at which the claims compare")
        figure.legend(handles=[note, level], loc="outside lower center", ncols=2)
    return figure
