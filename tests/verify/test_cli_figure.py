"""`stepbias figure`: the listing, the formats, and what is refused before anything is computed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stepbias.verify import paper_figures
from stepbias.verify.cli import app


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["figure", *(str(argument) for argument in arguments)])


@pytest.fixture
def nothing_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a figure is computed."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} was drawn")

    monkeypatch.setattr(paper_figures, "draw", refuse)


@pytest.mark.usefixtures("nothing_drawn")
@pytest.mark.parametrize("arguments", [(), ("--list",)])
def test_listing(arguments: tuple[str, ...]) -> None:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    for figure in paper_figures.FIGURES:
        assert figure.name in result.stdout
    for number in ("Figure 1", "Figure 2", "Figure 3", "Table 1", "Theorem 3.1"):
        assert number in result.stdout


@pytest.mark.parametrize(("suffix", "head"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")])  # fmt: skip
def test_formats(suffix: str, head: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{suffix}"
    result = call("bias-sign", "-o", path)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(path)
    assert path.read_bytes().startswith(head)


def test_default_is_an_svg_of_that_name_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("bias-sign")
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["bias-sign.svg"]
    assert (tmp_path / "bias-sign.svg").read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.usefixtures("nothing_drawn")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bilinear-stepsize",), "the nearest is 'bilinear-step-size'"),
        (("bias-sign", "-o", "a.jpeg"), "accepted: .svg, .pdf, .png"),
        (("bias-sign", "-o", "no/such/folder/a.svg"), "the folder does not exist"),
        (("bias-sign", "-o", "."), "is a folder"),
        (("-o", "a.svg"), "NAME is missing"),
    ],
)
def test_refused_before_anything_is_drawn(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("stepbias: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_listing_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom stepbias.verify.cli import app\napp(['figure'], standalone_mode=False)\n"
        "print('loaded:', *sorted(set(sys.modules) & {'numpy', 'numba', 'scipy', 'matplotlib', 'sympy'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]
