"""Figure of the theorem itself: distance between Adam and its modified equation against the step size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

from stepbias.kernels.loss import Loss
from stepbias.kernels.trajectories import global_error
from stepbias.theory.optimizers import Adam
from stepbias.verify.paper_figures.style import (
    BLUE,
    DASHED,
    INK,
    ORANGE,
    STYLE,
    open_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SETTINGS = ((0.7, 0.9, 1e-4), (0.9, 0.95, 1e-2))
_PROBLEMS, _DIM, _BATCHES, _HORIZON = 16, 5, 3, 1.0
_STEPS = tuple(2**k for k in range(5, 12))
_SEED = 3


def error_against_step_size() -> Figure:
    """Largest distance over [0, 1] on random sinusoid losses with three mini-batches, with and without the bias term."""
    loss = Loss.random("sinusoid", dim=_DIM, batches=_BATCHES, problems=_PROBLEMS, seed=_SEED)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([_SEED])))
    start = rng.standard_normal((_PROBLEMS, _DIM))
    h = np.array([_HORIZON / n for n in _STEPS])
    with mpl.rc_context(STYLE):
        figure = open_figure(8.4, 4.2)
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, (beta, rho, epsilon) in zip(panels, _SETTINGS, strict=True):
            adam = Adam(beta=beta, rho=rho, eps=0.0, eps_root=epsilon)
            for order, colour, label in (
                (1, ORANGE, "leading field alone"),
                (2, BLUE, "with the bias term"),
            ):
                error = np.array(
                    [global_error(adam, loss, start, x, n, order=order) for x, n in zip(h, _STEPS, strict=True)]
                )  # fmt: skip
                axes.plot(h, error, color=colour, lw=0.6, alpha=0.45)
                middle = np.exp(np.median(np.log(error), axis=1))
                axes.plot(h, middle, color=colour, lw=2.0, marker="o", ms=3.5, label=label)
                level = middle[-1] * (h / h[-1]) ** order
                axes.plot(h, level, color=INK, lw=1.0, ls=DASHED if order == 2 else ":", label=f"slope {order}")  # fmt: skip
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel("step size $h$")
            axes.set_title(rf"$\beta = {beta:g}$, $\rho = {rho:g}$, $\varepsilon = {epsilon:g}$ inside the root")  # fmt: skip
        panels[0].set_ylabel(r"$\max_n \| \tilde\theta(nh) - \theta^{(n)} \|$")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure
