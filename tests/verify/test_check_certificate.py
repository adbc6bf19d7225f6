"""The checker of certificates: every number that a refutation rests on is recomputed, and what was not is said."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepbias.theory.adam_claims import CLAIMS
from stepbias.theory.defect_claims import CLAIMS as DEFECTS
from stepbias.theory.variants import LEADING, STATEMENT, Variant
from stepbias.verify import check_certificate
from stepbias.verify.certificate import save
from tests.verify.campaign import a_cell, made

WRONG = replace(CLAIMS[0], variant=LEADING, wrong=())
LOCAL = replace(DEFECTS[0], variant=LEADING, wrong=())
# Half a percent of the O(h) term: the slopes at these steps still look like 2, the coefficient does not vanish.
SLIGHT = replace(CLAIMS[0], variant=Variant(bias=0.995), wrong=())
SMOOTH = a_cell(batches=1, schedule="cyclic", count=2)
SCRIPT = Path(check_certificate.__file__)


@pytest.fixture(scope="module")
def ridge() -> dict[str, Any]:
    """Of the slopes, a random schedule."""
    return made(WRONG, a_cell(count=2))


@pytest.fixture(scope="module")
def averaged() -> dict[str, Any]:
    """Of root mean squares over the copies of an i.i.d. schedule."""
    return made(WRONG, a_cell(schedule="iid", count=1))


@pytest.fixture(scope="module")
def local() -> dict[str, Any]:
    """Of the one-step defect."""
    return made(LOCAL, a_cell(schedule="cyclic", count=2))


@pytest.fixture(scope="module")
def slight() -> dict[str, Any]:
    """Of the coefficient of h alone."""
    return made(SLIGHT, SMOOTH)


Check = Callable[[dict[str, Any]], tuple[bool, str]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Verdict and words of the checker."""

    def run(certificate: dict[str, Any]) -> tuple[bool, str]:
        good = check_certificate.main(str(save(certificate, tmp_path)))
        return good, capsys.readouterr().out

    return run


def alone(certificate: dict[str, Any], folder: Path) -> tuple[int, str]:
    """Exit status and words of the script where stepbias cannot be imported."""
    path = save(certificate, folder)
    (folder / "check.py").write_text(
        "import sys\nsys.modules['stepbias'] = None\n" + SCRIPT.read_text(encoding="utf-8"),
        encoding="utf-8",
    )
    result = subprocess.run(
        [sys.executable, "check.py", str(path)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not result.stderr
    return result.returncode, result.stdout


def _flow(c: dict[str, Any]) -> None:
    c["end"]["flow"] = [(8.0).hex() for _ in c["end"]["flow"]]


def _difference(c: dict[str, Any]) -> None:
    c["end"]["difference"] = [(8.0).hex() for _ in c["end"]["difference"]]


def _both(c: dict[str, Any]) -> None:
    _flow(c)
    gap = [float.fromhex(x) - 8.0 for x in c["end"]["iterate"]]
    c["end"]["difference"] = [x.hex() for x in gap]


def _larger_errors(c: dict[str, Any]) -> None:
    c["error"] = [7.0 * h for h in c["h"]]


def _smaller_errors(c: dict[str, Any]) -> None:
    c["error"] = [1e-3 * e for e in c["error"]]
    c["floor"] = [1e-3 * f for f in c["floor"]]


def _steps(c: dict[str, Any]) -> None:
    c["h"] = [1000.0 * h for h in c["h"]]


def _horizon(c: dict[str, Any]) -> None:
    c["horizon"] *= 2.0


def _variant(c: dict[str, Any]) -> None:
    c["variant"] = {"name": "statement", **asdict(STATEMENT)}


def _start(c: dict[str, Any]) -> None:
    c["theta0"] = [(5.0 + float.fromhex(x)).hex() for x in c["theta0"]]


def _second(c: dict[str, Any]) -> None:
    c["second"]["error"] = str(1.05 * float(c["second"]["error"]))


def _kernels(c: dict[str, Any]) -> None:
    c["second"]["kernels"]["error"] *= 1.05


@pytest.mark.parametrize(
    "spoil",
    [
        _flow, _difference, _both, _larger_errors, _smaller_errors, _steps, _horizon, _variant,
        _start, _second, _kernels,
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["ridge", "averaged"])
def test_what_is_changed_is_seen(
    kind: str, spoil: Callable[..., None], request: pytest.FixtureRequest, check: Check
) -> None:
    changed = copy.deepcopy(request.getfixturevalue(kind))
    good, words = check(changed)
    assert good, words
    spoil(changed)
    good, words = check(changed)
    assert not good, words
    assert "FAILS" in words


@pytest.mark.parametrize("spoil", [_flow, _both, _smaller_errors, _steps, _start])
def test_numpy_alone_sees_what_contradicts_the_file(
    ridge: dict[str, Any], tmp_path: Path, spoil: Callable[..., None]
) -> None:
    changed = copy.deepcopy(ridge)
    spoil(changed)
    status, words = alone(changed, tmp_path)
    assert status == 1
    assert "FAILS" in words


def test_numpy_alone_says_what_it_could_not_recompute(
    ridge: dict[str, Any], tmp_path: Path
) -> None:
    status, words = alone(ridge, tmp_path)
    assert status == 0
    assert "not checked: the flow" in words


@pytest.mark.parametrize("spoil", [_difference, _larger_errors, _smaller_errors, _steps, _start])
def test_defects_are_recomputed(
    local: dict[str, Any], spoil: Callable[..., None], check: Check
) -> None:
    good, words = check(local)
    assert good, words
    changed = copy.deepcopy(local)
    spoil(changed)
    good, words = check(changed)
    assert not good, words


def test_defects_are_not_checked_by_numpy_alone(local: dict[str, Any], tmp_path: Path) -> None:
    status, words = alone(local, tmp_path)
    assert status == 1
    assert "NOT CHECKED" in words
    assert "holds" not in words


def test_a_resolving_step_is_not_recomputed(ridge: dict[str, Any], check: Check) -> None:
    changed = copy.deepcopy(ridge)
    changed["quantity"] = "resolving-step"
    changed["h"] = [1e-2 * 1.6**-k for k in range(len(changed["h"]))][::-1]
    good, words = check(changed)
    assert not good
    assert "NOT CHECKED" in words


def test_a_compiled_loss_is_not_checked(ridge: dict[str, Any], check: Check) -> None:
    good, words = check({**ridge, "loss": {"kind": "compiled", "formula": "user functions"}})
    assert not good
    assert "NOT CHECKED" in words


def _unused(c: dict[str, Any]) -> None:
    c["fit"]["used"] = [False] * len(c["fit"]["used"])


def _one_point(c: dict[str, Any]) -> None:
    c["fit"]["used"] = [True] + [False] * (len(c["fit"]["used"]) - 1)


def _short(c: dict[str, Any]) -> None:
    c["error"] = c["error"][:-1]


def _none(c: dict[str, Any]) -> None:
    c["error"] = [None] * len(c["error"])


def _no_optimizer(c: dict[str, Any]) -> None:
    del c["optimizer"]


def _text(c: dict[str, Any]) -> None:
    c["end"]["iterate"] = ["x"]


def _other_format(c: dict[str, Any]) -> None:
    c["format"] = 0


@pytest.mark.parametrize(
    "spoil", [_unused, _one_point, _short, _none, _no_optimizer, _text, _other_format]
)
def test_what_cannot_be_used_is_said(
    ridge: dict[str, Any], spoil: Callable[..., None], check: Check
) -> None:
    changed = copy.deepcopy(ridge)
    spoil(changed)
    good, words = check(changed)
    assert not good
    assert "holds" not in words


@pytest.mark.parametrize("text", ["[1]", "{}", "no json", '{"format": 2}'])
def test_other_files_are_refused_in_words(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    assert not check_certificate.main(str(tmp_path / "x.json"))
    assert "cannot be used" in capsys.readouterr().out
    assert not check_certificate.main(str(tmp_path / "missing.json"))


def test_a_coefficient_that_is_not_zero_is_checked(
    slight: dict[str, Any], check: Check, tmp_path: Path
) -> None:
    assert slight["fit"]["reason"].startswith("the coefficient of h is not zero")
    # why the slopes do not do: they are those of the claim
    assert slight["fit"]["interval"][1] > slight["expected_order"] - 0.1
    good, words = check(slight)
    assert good, words
    assert "coefficient of h^1" in words
    status, words = alone(slight, tmp_path)
    assert status == 0, words
    value = np.array(slight["coefficient"]["value"])
    assert np.all(np.isfinite(value))


def _differences(c: dict[str, Any]) -> None:
    # as if the error were of order h^2
    part = c["coefficient"]
    part["difference"] = [
        [x * h / max(part["h"]) for x in row]
        for row, h in zip(part["difference"], part["h"], strict=True)
    ]


def _value(c: dict[str, Any]) -> None:
    c["coefficient"]["value"] = [10.0 * x for x in c["coefficient"]["value"]]


def _bound(c: dict[str, Any]) -> None:
    c["coefficient"]["bound"] = [0.01 * x for x in c["coefficient"]["bound"]]


def _wide_bound(c: dict[str, Any]) -> None:
    c["coefficient"]["bound"] = [0.5 * abs(x) for x in c["coefficient"]["value"]]


def _floors(c: dict[str, Any]) -> None:
    c["coefficient"]["floor"] = [0.1 * h for h in c["coefficient"]["h"]]


def _no_window(c: dict[str, Any]) -> None:
    c["coefficient"]["window"] = [False] * len(c["coefficient"]["window"])


def _scaled(c: dict[str, Any]) -> None:
    part = c["coefficient"]
    for key in ("difference", "value", "bound", "floor"):
        part[key] = (10.0 * np.array(part[key])).tolist()


def _mild_variant(c: dict[str, Any]) -> None:
    c["variant"]["bias"] = 1.0


@pytest.mark.parametrize(
    "spoil",
    [
        _differences, _value, _bound, _wide_bound, _floors, _no_window, _scaled, _mild_variant,
        _start, _steps,
    ],
)  # fmt: skip
def test_what_a_coefficient_rests_on_is_seen(
    slight: dict[str, Any], spoil: Callable[..., None], check: Check
) -> None:
    changed = copy.deepcopy(slight)
    spoil(changed)
    good, words = check(changed)
    assert not good, words


def test_errors_of_another_law_are_seen_at_the_finest_step(
    slight: dict[str, Any], check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = copy.deepcopy(slight)
    del changed["coefficient"]
    h = np.array(changed["h"])
    first, second = np.argsort(-h)[:2]
    forged = changed["error"][second] * h / h[second]  # order 1, of the true size where it is cheap
    forged[first] = changed["error"][first]
    changed["error"] = forged.tolist()
    changed["fit"]["used"] = [True] * len(h)
    good, words = check(changed)
    assert not good
    assert f"FAILS: error at {changed['end']['steps']} steps" in words
    monkeypatch.setattr(check_certificate, "MOST_STEPS", 1024)
    good, words = check(changed)
    assert not good
    assert "NOT CHECKED" in words


def test_a_constant_that_is_not_zero_is_checked(check: Check) -> None:
    cell = replace(SMOOTH, steps=(32, 64, 128, 256, 512, 1024, 2048))
    c = made(replace(CLAIMS[0], variant=Variant(M=1.0 + 1e-7), wrong=()), cell)
    assert c["coefficient"]["power"] == 0
    good, words = check(c)
    assert good, words
    assert "coefficient of h^0" in words


def test_a_small_coefficient_is_compared_by_its_own_size(check: Check) -> None:
    cell = replace(SMOOTH, steps=(32, 64, 128, 256, 512, 1024, 2048))
    c = made(replace(CLAIMS[0], variant=Variant(bias=0.9995), wrong=()), cell)
    good, words = check(c)
    assert good, words
    c["variant"]["bias"] = 1.0  # the theorem's field: errors within 1 % of those stored
    good, words = check(c)
    failed = [line for line in words.splitlines() if line.startswith("FAILS: ")]
    assert failed
    assert all("over h^1" in line for line in failed), words
    assert not good


def test_it_is_plain_json(slight: dict[str, Any]) -> None:
    assert json.loads(json.dumps(slight, allow_nan=False)) == slight
