"""Figures of the bias itself: its potential in one dimension, and the sign of its coefficient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from stepbias.theory.full_batch import bias_potential, penalty_coefficient
from stepbias.verify.paper_figures.style import DASHED, INK, STYLE, open_figure, shades

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Figure 1: beta, the list of rho, the two epsilon; two values between them.
_BETA = 0.95
_RHOS = (0.995, 0.99, 0.951, 0.95, 0.9, 0.8, 0.75, 0.5, 0.1)
_EPSILONS = (1e-5, 1e-2, 1.0, 100.0)
_EXTENT = 1.0
# The steepest lines leave the panel: those of the other rho would lie on the axis. In units of the largest value for rho = 0.1.
_CUT = -2.2


def potential() -> Figure:
    """Figure 1: x to the integral of the bias coefficient against d sqrt(epsilon + y^2)."""
    x = np.linspace(-_EXTENT, _EXTENT, 401)
    with mpl.rc_context(STYLE):
        figure = open_figure(8.2, 5.6)
        panels = figure.subplots(2, 2, sharex=True)
        for axes, epsilon in zip(panels.flat, _EPSILONS, strict=True):
            for rho, colour in zip(_RHOS, shades(len(_RHOS)), strict=True):
                equal = rho == _BETA
                axes.plot(
                    x,
                    bias_potential(x, _BETA, rho, epsilon),
                    color=INK if equal else colour,
                    lw=1.8 if equal else 1.3,
                    ls=DASHED if equal else "-",
                    label=rf"$\rho = {rho:g}$" + (r" $= \beta$" if equal else ""),
                )
            top = float(bias_potential(_EXTENT, _BETA, _RHOS[-1], epsilon))
            lowest = float(bias_potential(_EXTENT, _BETA, _RHOS[0], epsilon))
            axes.set_ylim(max(1.1 * min(lowest, 0.0), _CUT * top) - 0.05 * top, 1.15 * top)
            axes.axhline(0.0, color=INK, lw=0.5)
            axes.set_title(rf"$\varepsilon = {_power(epsilon)}$")
        for axes in panels[1]:
            axes.set_xlabel(r"gradient component $x$")
        for axes in panels[:, 0]:
            axes.set_ylabel("penalty, in units of $h/2$")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        title = rf"$\beta = {_BETA:g}$"
        figure.legend(handles, labels, title=title, loc="outside right center")
    return figure


def _power(value: float) -> str:
    """TeX of a power of ten, plainly where it is short."""
    return f"{value:g}" if 1e-3 < value < 1e3 else rf"10^{{{round(np.log10(value))}}}"


# Settings that are in use, or in the papers' figures: label, and its place in points.
_MARKED = (
    (0.9, 0.999, "usual default; Figures 2, 3", (0, 7)),
    (0.9, 0.9, "Figure 2", (-4, 7)),
    (0.9, 0.99, "Figure 2", (0, 7)),
    (0.99, 0.999, "Figure 2", (0, 7)),
    (0.999, 0.999, "Figure 2", (-4, 7)),
    (0.995, 0.75, "Figure 3", (0, 7)),
)


_LEVELS = (-4000, -1000, -300, -100, -30, -10, -3, 0, 3, 10, 30, 100, 300, 1000, 4000)


def sign() -> Figure:
    """Coefficient of (h/2) ||grad E||_1 for small epsilon over (beta, rho), both as memory lengths 1/(1 - decay)."""
    from matplotlib import colormaps

    memory = np.geomspace(1.0, 2000.0, 121)
    own = np.array([penalty_coefficient(1.0 - 1.0 / m, 0.0) for m in memory])
    coefficient = own[None, :] - own[:, None]  # [rho, beta]
    # the ends of the map are too dark for text
    colours = colormaps["PuOr"](np.linspace(0.15, 0.85, len(_LEVELS) - 1))
    with mpl.rc_context(STYLE):
        figure = open_figure(6.0, 4.6)
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        shown = axes.contourf(memory, memory, coefficient, levels=_LEVELS, colors=colours)
        axes.plot(memory, memory, color=INK, lw=1.5)
        _words(axes)
        decays = (0.0, 0.5, 0.9, 0.99, 0.999)
        for ticks, axis in ((axes.set_xticks, axes.xaxis), (axes.set_yticks, axes.yaxis)):
            ticks([1.0 / (1.0 - d) for d in decays], [f"{d:g}" for d in decays])
            axis.set_tick_params(which="minor", length=0)
        axes.set_xlabel(r"$\beta$  (at $1/(1-\beta)$ on a logarithmic scale)")
        axes.set_ylabel(r"$\rho$  (at $1/(1-\rho)$ on a logarithmic scale)")
        bar = figure.colorbar(shown, ax=axes, ticks=_LEVELS[1:-1])
        bar.set_label(r"$\frac{1+\beta}{1-\beta} - \frac{1+\rho}{1-\rho}$", fontsize=12)
    return figure


def _words(axes: Axes) -> None:
    """What the two sides and the line between them mean, and the marked settings."""
    center: dict[str, Any] = {"ha": "center", "va": "center"}
    hindered = "decrease of the\none-norm hindered\n($\\rho > \\beta$)"
    axes.text(3.4, 45, hindered, **center)
    axes.text(60, 1.6, "one-norm penalised\n($\\beta > \\rho$)", **center)
    line: dict[str, Any] = {"rotation": 45, "rotation_mode": "anchor", "ha": "center"}
    axes.text(35, 41, r"$\beta = \rho$: no bias", va="bottom", **line)
    for beta, rho, text, offset in _MARKED:
        place = 1.0 / (1.0 - beta), 1.0 / (1.0 - rho)
        axes.plot(*place, "o", ms=5, mfc="white", mec=INK)
        side = "right" if beta == rho else "center"
        axes.annotate(text, place, offset, textcoords="offset points", ha=side, fontsize=8)
