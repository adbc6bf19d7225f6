"""The package as a whole: public names, start-up cost, packaging, and promises kept in step."""

from __future__ import annotations

import ast
import fnmatch
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import stepbias

ROOT = Path(__file__).parents[1]
ROOMS = ("theory", "kernels", "verify")
HEAVY = ("numpy", "numba", "scipy", "sympy", "matplotlib", "hypothesis", "jinja2", "rich")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", stepbias.__all__)
def test_public_name_resolves(name: str) -> None:
    assert getattr(stepbias, name) is getattr(stepbias, name)
    assert name in dir(stepbias)


@pytest.mark.parametrize("name", stepbias.__all__)
def test_public_name_is_no_room(name: str) -> None:
    # A sub-package of that name would replace the function at the second access.
    assert not (ROOT / "stepbias" / name).exists()
    assert name not in ROOMS


def test_public_callables_say_what_they_do() -> None:
    for name in stepbias.__all__:
        if name != "__version__":
            assert getattr(stepbias, name).__doc__, name


def test_stub_names_what_the_facade_loads() -> None:
    tree = ast.parse((ROOT / "stepbias" / "__init__.pyi").read_text(encoding="utf-8"))
    homes = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name  # the form that type checkers re-export
                homes[alias.name] = node.module
    rooms = {name for name, home in homes.items() if home == "stepbias.verify"}
    assert {*homes, "__version__"} == set(stepbias.__all__)
    for name, home in homes.items():
        if name not in rooms:
            assert getattr(import_module(str(home)), name) is getattr(stepbias, name)
    assert rooms == {"strategies", "testing"}


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        stepbias.no_such_name  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import stepbias",
        "import stepbias.verify.cli",
        "from stepbias.verify.cli import app; app(['--help'], standalone_mode=False)",
        "from stepbias.verify.cli import app; app(['verify', '--help'], standalone_mode=False)",
    ],
)
def test_start_up_imports_nothing_heavy(code: str) -> None:
    script = f"import sys\n{code}\nprint('loaded:', *sorted(set(sys.modules) & set({HEAVY})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]


def test_module_runs_as_the_command() -> None:
    command = [sys.executable, "-m", "stepbias", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: stepbias" in done.stdout


def test_every_package_is_listed() -> None:
    setuptools = project()["tool"]["setuptools"]
    found = {"stepbias"}
    for room in ROOMS:
        for path in (ROOT / room).rglob("__init__.py"):
            found.add("stepbias." + ".".join(path.parent.relative_to(ROOT).parts))
    assert set(setuptools["packages"]) == found
    for package in found - {"stepbias"}:
        folder = package.removeprefix("stepbias.").replace(".", "/")
        assert setuptools["package-dir"][package] == folder


def test_every_module_lies_in_a_package_and_every_data_file_is_listed() -> None:
    setuptools = project()["tool"]["setuptools"]
    for room in ROOMS:
        for path in (ROOT / room).rglob("*"):
            if path.is_dir() or "__pycache__" in path.parts or path.suffix in (".nbi", ".nbc"):
                continue
            inner = path.relative_to(ROOT / room).as_posix()
            if path.suffix == ".py":
                assert (path.parent / "__init__.py").exists(), path
                continue
            patterns = setuptools["package-data"].get(f"stepbias.{room}", [])
            assert any(fnmatch.fnmatch(inner, pattern) for pattern in patterns), path


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_reached_through_relative_links(room: str) -> None:
    link = ROOT / "stepbias" / room
    if not link.is_symlink():
        pytest.skip("a clone without link support: the installed mapping serves")
    assert link.readlink() == Path("..") / room


@pytest.mark.parametrize(
    ("room", "forbidden"), [("theory", ("kernels", "verify")), ("kernels", ("verify",))]
)
def test_dependencies_run_downwards(room: str, forbidden: tuple[str, ...]) -> None:
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                for upper in forbidden:
                    assert not f"{name}.".startswith(f"stepbias.{upper}."), f"{path}: {name}"


def test_version_is_the_project_s() -> None:
    assert stepbias.__version__ == project()["project"]["version"]


def test_readme_gives_the_test_command_that_ci_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line.strip().removeprefix("$ ") for line in readme]
    assert any(command.startswith("python -m pytest") for command in commands)
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
