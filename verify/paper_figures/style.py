"""How the figures look: one style, colours that colour-blind readers can tell apart, one way to open a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
}

# Okabe and Ito's palette
INK, ORANGE, SKY, GREEN, BLUE, RED, PINK, GREY = (
    "#111111", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7", "#8a8a8a",
)  # fmt: skip
ORDERED = (BLUE, ORANGE, RED)
DASHED = (0, (4, 2))


def open_figure(width: float, height: float) -> Figure:
    """An empty figure, size in inches, that needs no display. To be called inside ``mpl.rc_context(STYLE)``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def shades(count: int) -> list[Any]:
    """``count`` colours from dark to light that also differ in grey: viridis without its palest end."""
    from matplotlib import colormaps

    return [colormaps["viridis"](float(x)) for x in np.linspace(0.0, 0.88, count)]
