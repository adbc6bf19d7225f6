"""One figure a claim: error against step size for every problem, with the slopes and the floor."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepbias.verify.rows import Row
from stepbias.verify.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

_LINE, _USED, _WORST, _FIT, _EXPECTED = "#9db2c8", "#2f5d8a", "#d1495b", "#111111", "#e08e0b"
_FLOOR = "#7a7a7a"
_MANY = 300  # more lines than this are embedded as pixels: the file stays small
_STYLE: dict[Any, Any] = {"font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False}


class _Curve(NamedTuple):
    """Drawable points of one problem, coarse to fine; each array has shape (points,)."""

    h: Floats
    error: Floats
    floor: Floats
    used: NDArray[np.bool_]


def _curve(row: Row, k: int) -> _Curve:
    """Problem ``k`` with the points that a logarithmic axis can show (a missing floor is NaN)."""
    h = np.asarray(row.h[k] if k < len(row.h) else row.h[0], dtype=float)
    error = np.abs(np.asarray(row.error[k], dtype=float))
    floor = (
        np.asarray(row.floor[k], dtype=float) if k < len(row.floor) else np.full(h.shape, np.nan)
    )
    used = np.asarray(row.used[k], dtype=bool) if k < len(row.used) else np.zeros(h.shape, bool)
    good = np.isfinite(error) & (error > 0) & (h > 0)
    order = np.argsort(-h[good])
    return _Curve(h[good][order], error[good][order], floor[good][order], used[good][order])


def _center(curves: list[_Curve], slope: float) -> float:
    """Median over the problems of log C in error = C h^slope, from the used points."""
    levels = [
        np.median(np.log(c.error[c.used]) - slope * np.log(c.h[c.used]))
        for c in curves
        if c.used.any()
    ]
    return float(np.median(levels))


def _slopes(axes: Axes, row: Row, curves: list[_Curve]) -> None:
    """The fitted and the expected slope through the middle of the used points."""
    spans = [c.h[c.used] for c in curves if c.used.any()]
    if not spans:
        return
    low, high = min(s.min() for s in spans), max(s.max() for s in spans)
    h = np.array([low, high])
    if np.isfinite(row.measured):
        fitted = np.exp(_center(curves, row.measured)) * h**row.measured
        label = f"fitted slope {number(row.measured, 3)}"
        axes.plot(h, fitted, color=_FIT, lw=1.6, label=label, zorder=5)
    if np.isfinite(row.expected_order):
        level = np.exp(_center(curves, row.expected_order))
        axes.plot(
            h,
            level * h**row.expected_order,
            color=_EXPECTED,
            lw=1.6,
            ls=(0, (4, 2)),
            label=f"expected slope {number(row.expected_order, 3)}",
            zorder=6,
        )


def _floor(axes: Axes, curves: list[_Curve]) -> None:
    """The known solver and rounding errors at each step size: their median and the largest."""
    h = np.concatenate([c.h for c in curves])
    floor = np.concatenate([c.floor for c in curves])
    good = np.isfinite(floor) & (floor > 0)
    if not good.any():
        return
    steps = np.unique(h[good])
    if steps.size > 64:  # every problem has its own steps: an envelope over bins of h
        edges = np.geomspace(steps[0], steps[-1] * (1 + 1e-12), 33)
        middle = np.sqrt(edges[1:] * edges[:-1])
        bins = np.clip(np.digitize(h, edges) - 1, 0, middle.size - 1)
    else:
        middle, bins = steps, np.searchsorted(steps, h).clip(0, steps.size - 1)
    seen = [k for k in range(middle.size) if (good & (bins == k)).any()]
    levels = [floor[good & (bins == k)] for k in seen]
    style: dict[str, Any] = {"color": _FLOOR, "zorder": 4}
    typical, top = [np.median(level) for level in levels], [level.max() for level in levels]
    axes.plot(middle[seen], typical, lw=1.2, ls="-.", label="floor (median)", **style)
    if len(curves) > 1:
        axes.plot(middle[seen], top, lw=1.2, ls=":", label="floor (largest)", **style)


def _worst(row: Row) -> int | None:
    """Position in the row of the problem that it names as its worst.

    Problems are numbered over the whole run, so the number differs from the position where draws
    were excluded; the order tells which one is meant.
    """
    number_in_run, order = row.worst.get("problem"), row.worst.get("order", row.worst.get("value"))
    matches = [
        k for k in range(len(row.error)) if order is None or row.orders[k : k + 1] == [order]
    ]
    if number_in_run in matches:
        return int(number_in_run)
    return matches[0] if order is not None and matches else None


def _errors(axes: Axes, row: Row, curves: list[_Curve]) -> None:
    """All points of all problems, the used ones emphasised, the worst problem in its own colour."""
    from matplotlib.collections import LineCollection

    many = len(curves) > _MANY
    alpha = float(np.clip(12 / max(len(curves), 1), 0.08, 0.8))
    lines = [np.column_stack([c.h, c.error]) for c in curves]
    axes.add_collection(
        LineCollection(lines, colors=_LINE, linewidths=0.6, alpha=max(alpha, 0.25), rasterized=many)
    )
    for which, style in ((False, {"color": _LINE, "ms": 2.0}), (True, {"color": _USED, "ms": 3.0})):
        h = np.concatenate([c.h[c.used == which] for c in curves])
        error = np.concatenate([c.error[c.used == which] for c in curves])
        axes.plot(
            h,
            error,
            ls="none",
            marker="o",
            mew=0,
            alpha=max(alpha, 0.5) if which else 0.8,
            rasterized=many,
            label="used points" if which else "points not used",
            **style,  # type: ignore[arg-type]
        )
    k = _worst(row)
    if k is not None and len(curves) > 1:
        worst = _curve(row, k)
        axes.plot(
            worst.h,
            worst.error,
            color=_WORST,
            lw=1.1,
            label=f"worst: problem {row.worst.get('problem', k)}",
            zorder=7,
        )


def _open_up(axes: Axes, curves: list[_Curve]) -> None:
    """Give an axis whose points all share one value a range (autoscaling leaves it empty)."""
    for values, limit in (
        (np.concatenate([c.h for c in curves]), axes.set_xlim),
        (np.concatenate([c.error for c in curves]), axes.set_ylim),
    ):
        if values.min() == values.max():
            limit(values[0] / 10, values[0] * 10)


def _histogram(axes: Axes, row: Row, orders: Floats) -> None:
    """Orders of the single problems, outliers included."""
    shown = np.append(orders, [x for x in (row.expected_order, row.measured) if np.isfinite(x)])
    low, high = float(shown.min()), float(shown.max())
    pad = 0.05 * max(high - low, 0.1)
    bins = np.linspace(low - pad, high + pad, int(np.clip(orders.size // 3, 12, 40)) + 1)
    axes.hist(orders, bins=bins.tolist(), color=_USED, alpha=0.75)
    if np.isfinite(row.expected_order):
        axes.axvline(row.expected_order, color=_EXPECTED, lw=1.6, ls=(0, (4, 2)))
    if np.isfinite(row.measured):
        axes.axvline(row.measured, color=_FIT, lw=1.4)
    axes.set_xlabel("order of a problem")
    axes.set_ylabel("problems")


def draw(row: Row) -> Figure | None:
    """Draw error against step size, and the distribution of the orders where there are many.

    Parameters
    ----------
    row : Row
        Uses ``h``, ``error``, ``floor``, ``used`` (lists over problems), ``orders``, ``worst``.

    Returns
    -------
    matplotlib.figure.Figure or None
        None for a row that has no point to draw (a claim that is not about an order).
    """
    curves = [_curve(row, k) for k in range(len(row.error))] if row.h else []
    curves = [curve for curve in curves if curve.h.size]
    if not curves:
        return None
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    orders = np.asarray(row.orders, dtype=float)
    orders = orders[np.isfinite(orders)]
    with mpl.rc_context(_STYLE):
        wide = orders.size >= 8
        figure = Figure(figsize=(8.4 if wide else 5.6, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        if wide:
            left, right = figure.subplots(1, 2, width_ratios=(2.2, 1.0))
            _histogram(right, row, orders)
        else:
            left = figure.subplots()
        left.set_xscale("log")
        left.set_yscale("log")
        _errors(left, row, curves)
        _slopes(left, row, curves)
        _floor(left, curves)
        _open_up(left, curves)
        left.set_xlabel(row.points.get("x", "step size h"))
        left.set_ylabel("error")
        title = f"{row.id}: {row.verdict}, {len(curves)} problem{'s' if len(curves) > 1 else ''}"
        left.set_title(title, loc="left", fontsize=9.5)
        figure.legend(frameon=False, fontsize=8, loc="outside lower left", ncols=4 if wide else 3)
    return figure


def file_name(claim: str) -> str:
    """File name of a claim's figure: its id with every character that links dislike replaced."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", claim) + ".svg"


def svg(figure: Figure, salt: str) -> str:
    """SVG text of a figure; the same figure and ``salt`` give the same bytes."""
    import matplotlib as mpl

    buffer = io.StringIO()
    metadata: dict[str, Any] = {"Date": None, "Creator": "stepbias"}
    with mpl.rc_context({**_STYLE, "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata=metadata, dpi=150)
    return buffer.getvalue()


def inline(figure: Figure, claim: str) -> str:
    """The ``<svg>`` element alone, its ids prefixed so that several can share one page."""
    text = svg(figure, claim)
    text = text[text.index("<svg") :]
    prefix = file_name(claim).removesuffix(".svg") + "-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'href="#', f'href="#{prefix}', text)
    return re.sub(r"url\(#", f"url(#{prefix}", text)
