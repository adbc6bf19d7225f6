"""Certificates: complete, checked by a script that knows NumPy only, and spoilt by any change of what they state."""

from __future__ import annotations

import copy
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepbias.theory.adam_claims import CLAIMS
from stepbias.theory.variants import LEADING, Variant
from stepbias.verify import certificate, check_certificate, escalation
from stepbias.verify.cells import Cell
from stepbias.verify.certificate import brief, cell_of, load, recompute, save
from stepbias.verify.escalation import escalate
from stepbias.verify.problems import draw
from tests.verify.campaign import a_cell

WRONG = replace(CLAIMS[0], variant=LEADING, wrong=())
SCRIPT = Path(check_certificate.__file__)


@pytest.fixture(scope="module")
def ridge() -> dict[str, Any]:
    """A certificate of a refuted problem with a ridge loss and a random schedule."""
    return made(WRONG, a_cell(count=2))


def made(claim: Any, cell: Cell) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(escalation, "_SECONDS", 0.3)
        outcome = escalate(claim, cell, draw(cell).numbers[0])
    assert outcome.certificate is not None, outcome.fit.reason
    return outcome.certificate


def test_the_script_checks_it_with_numpy_alone(ridge: dict[str, Any], tmp_path: Path) -> None:
    path = save(ridge, tmp_path)
    assert path.parent == tmp_path / "certificates"
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "check.py").write_text(
        "import sys\nsys.modules['stepbias'] = None\n" + SCRIPT.read_text(encoding="utf-8"),
        encoding="utf-8",
    )
    command = [sys.executable, "check.py", str(path)]
    environment = {**os.environ, "PYTHONPATH": ""}
    result = subprocess.run(
        command, cwd=alone, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "the certificate holds" in result.stdout
    spoilt = copy.deepcopy(ridge)
    spoilt["error"] = [e**2 for e in spoilt["error"]]
    path.write_text(json.dumps(spoilt), encoding="utf-8")
    result = subprocess.run(
        command, cwd=alone, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "FAILS" in result.stdout


def _shift(values: list[str], by: float) -> list[str]:
    return [(float.fromhex(x) + by).hex() for x in values]


def _spoil_end(c: dict[str, Any]) -> None:
    size = np.linalg.norm([float.fromhex(x) for x in c["end"]["difference"]])
    c["end"]["iterate"] = _shift(c["end"]["iterate"], 0.1 * float(size))


def _spoil_start(c: dict[str, Any]) -> None:
    c["theta0"] = _shift(c["theta0"], 1e-3)


def _spoil_loss(c: dict[str, Any]) -> None:
    c["loss"]["amplitude"][0] += 1e-2


def _spoil_optimizer(c: dict[str, Any]) -> None:
    c["optimizer"]["rho"] -= 1e-2


def _spoil_schedule(c: dict[str, Any]) -> None:
    c["schedule"]["batch"] = c["schedule"]["batch"][1:]


def _spoil_errors(c: dict[str, Any]) -> None:
    c["error"] = [h**2 for h in c["h"]]


def _spoil_floor(c: dict[str, Any]) -> None:
    c["floor"] = [0.1 * e for e in c["error"]]


@pytest.mark.parametrize(
    "spoil",
    [
        _spoil_end,
        _spoil_start,
        _spoil_loss,
        _spoil_optimizer,
        _spoil_schedule,
        _spoil_errors,
        _spoil_floor,
    ],
)
def test_what_is_changed_is_seen(
    ridge: dict[str, Any],
    tmp_path: Path,
    spoil: Callable[[dict[str, Any]], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = copy.deepcopy(ridge)
    assert check_certificate.main(str(save(changed, tmp_path)))
    spoil(changed)
    assert not check_certificate.main(str(save(changed, tmp_path)))
    assert "FAILS" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("claim", "cell"),
    [
        (WRONG, a_cell(family="tanh-network", schedule="cyclic", count=1)),
        (WRONG, a_cell(family="log-sum-exp", batches=1, schedule="cyclic", count=1)),
        (WRONG, a_cell(schedule="iid", count=1)),
        (
            replace(CLAIMS[2], id="adam-inside/bilinear", variant=Variant(L=0.5), wrong=()),
            a_cell(kind="bilinear", family="bilinear", batches=1, schedule="cyclic", count=1),
        ),
        (
            replace(CLAIMS[0], algorithm="rmsprop", variant=LEADING, wrong=()),
            a_cell(algorithm="rmsprop", beta=0.0, count=1, batches=1, schedule="cyclic"),
        ),
    ],
    ids=["tanh-network", "log-sum-exp", "iid", "bilinear", "rmsprop"],
)
def test_other_losses_and_schedules(claim: Any, cell: Cell, tmp_path: Path) -> None:
    c = made(claim, cell)
    assert check_certificate.main(str(save(c, tmp_path)))
    assert ("root mean square over the 2 schedules" in c["measured"]) == (cell.schedule == "iid")
    if cell.schedule == "cyclic":
        assert c["schedule"]["batch"] == list(range(cell.batches))


def test_everything_is_recomputed_from_the_file_alone(
    ridge: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = load(save(ridge, tmp_path))
    again = recompute(stored)
    assert str(again.error) == stored["second"]["error"]
    assert [str(x) for x in again.flow] == stored["second"]["flow"]
    stored["variant"]["bias"] = 1.0  # the theorem's field in place of the leading one
    assert float(recompute(stored).error) < 0.1 * float(again.error)


def test_cell_and_draw_repeat_the_escalation(ridge: dict[str, Any], tmp_path: Path) -> None:
    cell, number = cell_of(load(save(ridge, tmp_path)))
    assert cell == a_cell(count=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(escalation, "_SECONDS", 0.3)
        assert escalate(WRONG, cell, number).certificate == ridge


def test_the_command_repeats_the_measurement(ridge: dict[str, Any]) -> None:
    # the registered claim is true: the same problem, confirmed
    program, *rest = shlex.split(ridge["replay"])
    assert program == "python"
    result = subprocess.run([sys.executable, *rest], capture_output=True, text=True, check=True)
    assert "confirmed" in result.stdout


def test_it_says_all_that_was_asked(ridge: dict[str, Any]) -> None:
    assert ridge["claim"] == "adam-inside/global-order"
    assert ridge["variant"]["name"] == "bias x 0"
    assert ridge["fit"]["verdict"] == "refuted"
    assert len(ridge["h"]) == len(ridge["error"]) == len(ridge["floor"]) == len(ridge["steps"])
    assert ridge["end"]["steps"] == max(ridge["steps"]) == 4 * max(a_cell().steps)
    assert len(ridge["schedule"]["batch"]) == max(ridge["steps"])
    for key in ("statement", "source", "version", "replay", "check"):
        assert ridge[key]
    # hexadecimal doubles: iterate - difference is the flow to the last bit
    ends = {key: [float.fromhex(x) for x in ridge["end"][key]] for key in ("iterate", "flow")}
    difference = [float.fromhex(x) for x in ridge["end"]["difference"]]
    np.testing.assert_array_equal(np.subtract(ends["iterate"], difference), ends["flow"])
    error = ridge["error"][int(np.argmin(ridge["h"]))]
    assert np.linalg.norm(difference) <= error * (1 + 1e-9)


def test_the_brief_form_has_no_long_arrays(ridge: dict[str, Any]) -> None:
    short = brief(ridge)
    assert set(short["loss"]) == {"kind", "formula"}
    assert "batch" not in short["schedule"]
    assert len(json.dumps(short)) < 8000
    assert "weight" in ridge["loss"]  # the original is left alone


def test_compiled_losses_cannot_be_recomputed(ridge: dict[str, Any], tmp_path: Path) -> None:
    compiled = {**ridge, "loss": {"kind": "compiled", "formula": "user functions"}}
    with pytest.raises(ValueError, match="compiled function; accepted: a formula"):
        recompute(compiled)
    assert not check_certificate.main(str(save(compiled, tmp_path)))


def test_names_of_files(ridge: dict[str, Any], tmp_path: Path) -> None:
    assert save(ridge, tmp_path, 17).name == "adam-inside_global-order-17.json"
    number = ridge["problem"]["number"]
    assert save(ridge, tmp_path).name == f"adam-inside_global-order-cell0-draw{number}.json"


def test_other_files_are_refused(tmp_path: Path) -> None:
    for text in (
        "[1]",
        '{"format": 1}',
        f'{{"format": {certificate.FORMAT + 1}, "certifies": ""}}',
    ):
        (tmp_path / "x.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="is no certificate"):
            load(tmp_path / "x.json")
