"""The figures of the papers: what is drawn is what was computed; files are of the kind that was asked for, and always the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.integrate import quad

from stepbias.verify import paper_figures
from stepbias.verify.matched_loss import LEVEL, PAPER, follow
from stepbias.verify.paper_figures import bilinear, orders

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

NAMES = [figure.name for figure in paper_figures.FIGURES]


@pytest.fixture(scope="module")
def drawn() -> dict[str, Figure]:
    """Figures drawn so far; Figure 3 without its two smallest step sizes, and small ensembles: the tests are of the drawing."""
    return {}


@pytest.fixture
def figure(
    request: pytest.FixtureRequest, drawn: dict[str, Figure], monkeypatch: pytest.MonkeyPatch
) -> Figure:
    name = request.param
    if name not in drawn:
        whole = bilinear._figure_3()
        short = tuple([curve for curve in curves if curve.case.h >= 3e-4] for curves in whole)
        monkeypatch.setattr(bilinear, "_figure_3", lambda: short)
        monkeypatch.setattr(bilinear, "_STEPS", 2_000)
        monkeypatch.setattr(orders, "_PROBLEMS", 4)
        monkeypatch.setattr(orders, "_STEPS", (64, 256, 512, 1024))
        drawn[name] = paper_figures.draw(name)
    return drawn[name]


def labelled(axes: Axes) -> dict[str, Line2D]:
    """Lines that stand in the legend, by their label."""
    return {str(line.get_label()): line for line in axes.lines if not str(line.get_label()).startswith("_")}  # fmt: skip


def points(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_xydata(), dtype=float)


def panels(figure: Figure) -> list[Axes]:
    """The plots, without colour bars."""
    return [axes for axes in figure.axes if axes.get_xlabel() or axes.get_title(loc="left")]


@pytest.mark.parametrize("figure", NAMES, indirect=True)
def test_axes_are_named_and_lines_are_finite(figure: Figure) -> None:
    shown = panels(figure)
    assert shown
    assert any(axes.get_xlabel() for axes in shown)
    assert any(axes.get_ylabel() for axes in shown)
    for axes in shown:
        for line in axes.lines:
            assert np.isfinite(points(line)).all()


@pytest.mark.parametrize("figure", ["bias-potential"], indirect=True)
def test_bias_potential_is_the_integral_of_the_caption(figure: Figure) -> None:
    epsilons = (1e-5, 1e-2, 1.0, 100.0)
    for axes, epsilon in zip(panels(figure), epsilons, strict=True):
        lines = labelled(axes)
        assert len(lines) == 9
        for name, line in lines.items():
            rho = float(name.split("=")[1].strip(" $\\beta"))
            x, y = points(line)[-70]  # inside the panel

            def integrand(z: float, r: float = rho, e: float = epsilon) -> float:
                b = 0.95
                memory = (1 + b) / (1 - b) - (1 + r) / (1 - r) + (1 + r) / (1 - r) * e / (z * z + e)
                return memory * z / np.sqrt(e + z * z)

            value, _ = quad(integrand, 0.0, x, points=[min(np.sqrt(epsilon), x)], limit=200)
            assert y == pytest.approx(value, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("figure", ["bias-potential"], indirect=True)
def test_bias_potential_shows_every_rho_but_cuts_the_steepest(figure: Figure) -> None:
    for axes in panels(figure):
        low, high = axes.get_ylim()
        for name, line in labelled(axes).items():
            y = points(line)[:, 1]
            assert y.max() < high
            if "0.995" not in name and "0.99$" not in name:
                assert y.min() > low


@pytest.mark.parametrize("figure", ["bias-sign"], indirect=True)
def test_sign_of_the_coefficient_is_on_the_right_side(figure: Figure) -> None:
    (axes,) = panels(figure)
    (line,) = [points(line) for line in axes.lines if len(points(line)) > 2]
    np.testing.assert_array_equal(line[:, 0], line[:, 1])
    shown: Any = axes.collections[0]
    for beta, rho in ((0.9, 0.999), (0.9, 0.99), (0.995, 0.75), (0.99, 0.9), (0.2, 0.95)):
        coefficient = (1 + beta) / (1 - beta) - (1 + rho) / (1 - rho)
        place = 1.0 / (1.0 - beta), 1.0 / (1.0 - rho)
        (k,) = [k for k, path in enumerate(shown.get_paths()) if path.contains_point(place)]
        assert shown.levels[k] <= coefficient <= shown.levels[k + 1]


@pytest.mark.parametrize("figure", ["bilinear-hyperparameters", "bilinear-step-size"], indirect=True)  # fmt: skip
def test_trajectories_start_where_the_papers_do_and_pass_their_marks(figure: Figure) -> None:
    pairs = bilinear._figure_2() if len(figure.axes[0].lines) % 3 else bilinear._figure_3()
    for axes, curves in zip(panels(figure), pairs, strict=True):
        lines = labelled(axes)
        for curve in curves:
            if curve.label not in lines:
                continue  # step sizes that this test leaves out
            path = points(lines[curve.label])
            np.testing.assert_array_equal(path[0], PAPER.theta)
            assert (np.diff(path[:, 0] * path[:, 1]) < 0.0).all()  # the loss falls along the band
            place = follow(curve.case, PAPER)
            assert place is not None
            marks = [points(line)[0] for line in axes.lines if line.get_marker() == "s"]
            assert min(np.abs(mark - place.theta).max() for mark in marks) == 0.0
        minima = points(lines["minima"])
        np.testing.assert_allclose(minima.prod(axis=1), PAPER.y / PAPER.x, rtol=1e-12)


@pytest.mark.parametrize("figure", ["matched-loss"], indirect=True)
def test_matched_loss_shows_the_order_that_the_claims_judge(figure: Figure) -> None:
    def at_level(line: Line2D) -> float:
        share, excess = points(line).T
        return float(np.interp(np.log(LEVEL), np.log(share[::-1]), excess[::-1]))

    first, second, third, fourth = (
        [at_level(line) for line in labelled(axes).values()] for axes in panels(figure)
    )
    assert first == sorted(first, reverse=True)  # larger beta
    assert second == sorted(second)  # larger rho
    assert third == sorted(third, reverse=True)  # larger h, beta > rho
    assert fourth == sorted(fourth)
    assert max(third) < 0.0 < min(fourth)
    # against the norm at the passage, found by interpolation between the steps
    case = bilinear._figure_2()[0][0].case
    place = follow(case, PAPER)
    assert place is not None
    s, t = PAPER.theta
    bare = np.hypot(s - t, 2.0 * np.sqrt(place.theta.prod()))
    assert first[0] == pytest.approx(100.0 * (place.theta.sum() / bare - 1.0), rel=1e-3)


@pytest.mark.parametrize("figure", ["error-against-step-size"], indirect=True)
def test_the_bias_term_is_what_makes_the_order_two(figure: Figure) -> None:
    for axes in panels(figure):
        lines = labelled(axes)
        for name, order in (("leading field alone", 1), ("with the bias term", 2)):
            h, error = points(lines[name]).T
            slope = np.log(error[-2] / error[-1]) / np.log(h[-2] / h[-1])
            assert slope == pytest.approx(order, abs=0.25)
            guide = points(lines[f"slope {order}"])
            drawn = np.diff(np.log(guide[:, 1])) / np.diff(np.log(guide[:, 0]))
            np.testing.assert_allclose(drawn, order, rtol=1e-9)
            assert guide[-1, 1] == pytest.approx(error[-1])


@pytest.mark.parametrize("figure", ["bilinear-hyperparameters"], indirect=True)
@pytest.mark.parametrize(
    ("suffix", "head"), [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")]
)  # fmt: skip
def test_the_same_figure_gives_the_same_bytes(
    figure: Figure, suffix: str, head: bytes, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{k}{suffix}" for k in range(2)]
    for path in paths:
        paper_figures.write(figure, path, "name")
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith(head)
    assert b"CreationDate" not in first
    assert b"<dc:date>" not in first


def test_every_figure_is_described_and_found() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for one in paper_figures.FIGURES:
        assert paper_figures.find(one.name) is one
        assert "On the Implicit Bias of Adam" in one.source
    with pytest.raises(
        ValueError, match=r"NAME = 'bilinear'; accepted: .*matched-loss.* nearest is"
    ):
        paper_figures.find("bilinear")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.gif", r"has the suffix '.gif'; accepted: .svg, .pdf, .png"),
        ("a", r"has the suffix ''; accepted"),
        ("missing/a.svg", "the folder does not exist"),
        ("", "is a folder; accepted: the name of a file"),
    ],
)
def test_files_that_cannot_be_written_are_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        paper_figures.check_file(tmp_path / name)


def test_every_figure_has_its_picture_in_the_documentation() -> None:
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "figures.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"pictures/{name}.svg" in text
        assert (docs / "pictures" / f"{name}.svg").is_file()
        assert f"## {name}\n" in text
