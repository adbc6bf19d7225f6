"""The script of twenty lines that the documentation prints: it checks a certificate of a ridge loss, and it can say no."""

from __future__ import annotations

import ast
import copy
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepbias.theory.adam_claims import CLAIMS
from stepbias.theory.variants import LEADING
from stepbias.verify import check_certificate
from stepbias.verify.certificate import save
from tests.verify.campaign import a_cell, made

WRONG = replace(CLAIMS[0], variant=LEADING, wrong=())


@pytest.fixture(scope="module")
def ridge() -> dict[str, Any]:
    """Of the slopes, a random schedule."""
    return made(WRONG, a_cell(count=2))


@pytest.fixture(scope="module")
def averaged() -> dict[str, Any]:
    """Of root mean squares over the copies of an i.i.d. schedule."""
    return made(WRONG, a_cell(schedule="iid", count=1))


def _steps(c: dict[str, Any]) -> None:
    c["h"] = [1000.0 * h for h in c["h"]]


PAGE = Path(__file__).parents[2] / "docs" / "what-a-verdict-means.md"


@pytest.fixture(scope="module")
def short_script() -> str:
    """The script that the documentation prints for a reader who trusts nothing."""
    blocks = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    (code,) = (block for block in blocks if "json.load" in block)
    return str(code)


def in_short(code: str, certificate: dict[str, Any], folder: Path) -> tuple[int, str]:
    """Exit status and words of the short script."""
    path = save(certificate, folder)
    (folder / "short.py").write_text(code, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-I", "short.py", str(path)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not result.stderr
    return result.returncode, result.stdout


def test_the_short_script_is_short(short_script: str) -> None:
    lines = [line for line in short_script.splitlines() if line.strip()]
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 100
    assert ";" not in re.sub(r'f".*?"', "", short_script)
    tree = ast.walk(ast.parse(short_script))
    names = {x.name for node in tree if isinstance(node, ast.Import) for x in node.names}
    assert names == {"json", "sys", "numpy"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(ast.parse(short_script)))


@pytest.mark.parametrize("kind", ["ridge", "averaged"])
def test_the_short_script_checks_iterates_and_slopes(
    kind: str, short_script: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    certificate = request.getfixturevalue(kind)
    status, words = in_short(short_script, certificate, tmp_path)
    assert status == 0, words
    # the slopes that the long one tells
    h, error = (
        np.array(certificate[key])[certificate["fit"]["used"]][-2:] for key in ("h", "error")
    )
    told = np.log(error[1] / error[0]) / np.log(h[1] / h[0])
    last = float(words.split("slopes [")[1].split("]")[0].split()[-1])
    assert last == pytest.approx(told, abs=1e-6)


@pytest.mark.parametrize("without_momentum", [False, True])
def test_the_short_script_knows_both_optimizers(
    without_momentum: bool, short_script: str, tmp_path: Path
) -> None:
    outside = replace(next(c for c in CLAIMS if c.place == "outside"), variant=LEADING, wrong=())
    rmsprop = replace(next(c for c in CLAIMS if c.algorithm == "rmsprop"), variant=LEADING)
    claim = rmsprop if without_momentum else outside
    beta = 0.0 if without_momentum else 0.5
    cell = a_cell(
        algorithm=claim.algorithm, place=claim.place, beta=beta, family="log-cosh", count=2
    )
    status, words = in_short(short_script, made(claim, cell), tmp_path)
    assert status == 0, words


def test_the_short_script_knows_every_function(short_script: str) -> None:
    (table,) = (
        node.value
        for node in ast.walk(ast.parse(short_script))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SLOPE"
    )
    slopes = eval(ast.unparse(table), {"np": np})
    assert set(slopes) == set(check_certificate.SLOPE)
    z = np.linspace(-2.0, 2.0, 41)
    for name, slope in check_certificate.SLOPE.items():
        np.testing.assert_array_equal(1.0 * slopes[name](z), slope(z))


def _one_start(c: dict[str, Any]) -> None:
    c["theta0"][0] = (float.fromhex(c["theta0"][0]) + 1e-3).hex()


def _one_weight(c: dict[str, Any]) -> None:
    c["loss"]["weight"][0][0] *= 1.01


def _one_batch(c: dict[str, Any]) -> None:
    c["schedule"]["batch"][0] = 1 - c["schedule"]["batch"][0]


def _rho(c: dict[str, Any]) -> None:
    c["optimizer"]["rho"] += 1e-2


def _no_number(c: dict[str, Any]) -> None:
    c["error"] = [None] * len(c["error"])


def _end(c: dict[str, Any]) -> None:
    c["end"]["iterate"][1] = (float.fromhex(c["end"]["iterate"][1]) + 1e-5).hex()


def _claimed_order(c: dict[str, Any]) -> None:
    last = c["error"][-1] / c["h"][-1] ** 2
    c["error"] = [last * h**2 for h in c["h"]]


@pytest.mark.parametrize(
    "spoil",
    [_one_start, _one_weight, _one_batch, _rho, _end, _claimed_order, _steps, _no_number],
)
def test_the_short_script_sees_one_changed_number(
    spoil: Callable[..., None], ridge: dict[str, Any], short_script: str, tmp_path: Path
) -> None:
    changed = copy.deepcopy(ridge)
    spoil(changed)
    status, words = in_short(short_script, changed, tmp_path)
    assert status == 1, words
