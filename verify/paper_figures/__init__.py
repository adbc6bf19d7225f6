"""Figures of the papers, drawn from our own data: which there are, where they come from, and how they are written to a file.

Importing this package loads nothing heavy; a figure's module is imported when it is drawn.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = "Cattaneo, Klusowski, Shigida, On the Implicit Bias of Adam"
FORMATS = (".svg", ".pdf", ".png")


class PaperFigure(NamedTuple):
    """A figure: its name, where it comes from, what it shows, and the function "module.function" of this package that draws it."""

    name: str
    source: str
    shows: str
    function: str


FIGURES: tuple[PaperFigure, ...] = (
    PaperFigure(
        "bias-potential",
        f"{PAPER}, Figure 1",
        "what Adam's bias penalises in one dimension, for nine rho and from small to large epsilon",
        "bias.potential",
    ),
    PaperFigure(
        "bias-sign",
        f"{PAPER}, Table 1 and Remark 3.2",
        "the coefficient of the one-norm of the gradient over (beta, rho), with the line where it changes sign",
        "bias.sign",
    ),
    PaperFigure(
        "bilinear-hyperparameters",
        f"{PAPER}, Figure 2",
        "Adam on the bilinear model for three beta and three rho, with the modified equation",
        "bilinear.hyperparameters",
    ),
    PaperFigure(
        "bilinear-step-size",
        f"{PAPER}, Figure 3",
        "Adam on the bilinear model for step sizes from 1e-5 to 1e-3, beta > rho and rho > beta",
        "bilinear.step_size",
    ),
    PaperFigure(
        "matched-loss",
        f"{PAPER}, Figures 2 and 3 as numbers",
        "one-norm of the gradient on these trajectories where their loss is the same, and what the modified equation predicts",
        "bilinear.matched_loss",
    ),
    PaperFigure(
        "error-against-step-size",
        f"{PAPER}, Theorem 3.1",
        "distance between Adam and its modified equation, with the bias term (order 2) and without it (order 1)",
        "orders.error_against_step_size",
    ),
)


def find(name: str) -> PaperFigure:
    """The figure of this name.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    for figure in FIGURES:
        if figure.name == name:
            return figure
    names = [figure.name for figure in FIGURES]
    near = get_close_matches(name, names, n=1, cutoff=0.0)[0]
    raise ValueError(
        f"NAME = {name!r}; accepted: {', '.join(names)} (the nearest is {near!r}; `stepbias figure` lists them)"
    )


def check_file(path: Path) -> Path:
    """``path`` if a figure can be written there.

    Raises
    ------
    ValueError
        For a suffix that is not .svg, .pdf or .png, a folder, or a file in a folder that does not exist.
    """
    if path.is_dir():
        raise ValueError(f"FILE = {str(path)!r} is a folder; accepted: the name of a file")
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"FILE = {str(path)!r} has the suffix {path.suffix!r}; accepted: {', '.join(FORMATS)}"
        )
    if not path.absolute().parent.is_dir():
        raise ValueError(
            f"FILE = {str(path)!r}: the folder does not exist; accepted: a file in an existing folder"
        )
    return path


def draw(name: str) -> Figure:
    """Compute and draw a figure.

    Parameters
    ----------
    name : str
        One of ``FIGURES``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        For an unknown name.
    """
    module, function = find(name).function.split(".")
    figure: Figure = getattr(import_module(f"{__name__}.{module}"), function)()
    # every drawing moves the axes a little further: after the first one they stay
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def write(figure: Figure, path: Path, name: str) -> None:
    """Write a figure as SVG, PDF or PNG, by the suffix; the same figure gives the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : Path
        See :func:`check_file`.
    name : str
        Salt of the ids in SVG.
    """
    import matplotlib as mpl

    from stepbias.verify.paper_figures.style import STYLE

    # no date and no version of the library that wrote it
    metadata: dict[str, dict[str, Any]] = {
        ".svg": {"Date": None, "Creator": "stepbias"},
        ".pdf": {"CreationDate": None, "Creator": "stepbias", "Producer": None},
        ".png": {"Software": "stepbias"},
    }
    suffix = path.suffix.lower()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(path, format=suffix[1:], metadata=metadata[suffix], dpi=150)
