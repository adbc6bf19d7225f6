"""What the public trajectories refuse, before any block is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels import measure as measure_module
from stepbias.kernels import trajectories

LOSS = sb.Loss.random("sinusoid", dim=3, batches=3, seed=6)
START = np.array([0.4, -0.3, 0.8])
ADAM = sb.Adam(0.8, 0.9, eps=0.0, eps_root=1e-2)


PATHS: dict[str, Any] = {"iterate": sb.iterate, "flow": sb.flow, "global_error": sb.global_error}
POINTS: dict[str, Any] = {"vector_field": sb.vector_field, "memory_terms": sb.memory_terms}
FUNCTIONS = PATHS | POINTS


@pytest.fixture(autouse=True)
def _nothing_started(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the tests of refusals no block may be computed."""
    if "refused" not in request.node.name:
        return

    def work(*_: Any) -> None:
        raise AssertionError("work was begun before the arguments were checked")

    monkeypatch.setattr(trajectories, "for_each_block", work)
    monkeypatch.setattr(measure_module, "for_each_block", work)


def call(name: str, **changes: Any) -> Any:
    """The function with one argument replaced; theta0 and steps stand for theta and n where it takes those."""
    given_arguments: dict[str, Any] = {
        "optimizer": ADAM,
        "loss": LOSS,
        "theta0": START,
        "h": 0.1,
        "steps": 4,
        "schedule": None,
    } | changes
    if name in POINTS:
        given_arguments["theta"] = given_arguments.pop("theta0")
        given_arguments["n"] = given_arguments.pop("steps")
    if name == "memory_terms":
        del given_arguments["h"]
    return FUNCTIONS[name](**given_arguments)


BAD: list[tuple[str, Any, type, str]] = [
    ("optimizer", None, TypeError, "optimizer = None"),
    ("optimizer", "adam", TypeError, "optimizer = 'adam'"),
    ("loss", 3.0, TypeError, "loss = 3.0"),
    ("theta0", [0.1, np.nan, 0.2], ValueError, "theta"),
    ("theta0", [0.1, np.inf, 0.2], ValueError, "inf, 0.2] is not finite"),
    ("theta0", [0.1, 0.2], ValueError, "shape (2,); accepted: (3,) or (B, 3)"),
    ("theta0", 1.0, ValueError, "shape (); accepted: (3,)"),
    ("theta0", np.zeros((2, 2, 3)), ValueError, "shape (2, 2, 3); accepted: (3,)"),
    ("theta0", np.zeros((0, 3)), ValueError, "0 problems"),
    ("theta0", [[1.0, 2.0, 3.0], [1.0]], ValueError, "rows of unequal lengths"),
    ("theta0", ["a", "b", "c"], TypeError, "['a', 'b', 'c'] has type list"),
    ("theta0", None, TypeError, "None has type NoneType"),
    ("theta0", [1j, 0.0, 0.0], TypeError, "[1j, 0.0, 0.0] has type list"),
    ("h", 0.0, ValueError, "h = 0.0; accepted: a number > 0"),
    ("h", -0.1, ValueError, "h = -0.1; accepted: a number > 0"),
    ("h", np.nan, ValueError, "h = nan is not finite"),
    ("h", np.inf, ValueError, "h = inf is not finite"),
    ("h", [0.1, -0.1], ValueError, "h = [0.1, -0.1]; accepted"),
    ("h", [[0.1]], ValueError, "h = [[0.1]]; accepted"),
    ("h", "0.1", TypeError, "h = '0.1' has type str"),
    ("h", None, TypeError, "h = None has type NoneType"),
    ("steps", -1, ValueError, " = -1; accepted: an integer >= 0"),
    ("steps", 3.0, TypeError, " = 3.0 has type float; accepted: an integer >= 0"),
    ("steps", True, TypeError, " = True is a bool; accepted: an integer >= 0"),
    ("steps", "4", TypeError, " = '4' has type str; accepted: an integer >= 0"),
    ("steps", None, TypeError, " = None has type NoneType; accepted"),
    ("schedule", [0, 1, 2, 3, 0], ValueError, "schedule contains 3; accepted: indices 0 .. 2"),
    ("schedule", [0, 1, -1, 2, 0], ValueError, "schedule contains -1; accepted"),
    ("schedule", [0, 1, 2], ValueError, "schedule has shape (3,); accepted: ("),
    ("schedule", [0.0] * 5, TypeError, "schedule = [0.0, 0.0, 0.0, 0.0, 0.0]; accepted: Cyclic"),
    ("schedule", "cyclic", TypeError, "schedule = 'cyclic'; accepted: Cyclic"),
    ("schedule", sb.Cyclic(2), ValueError, "schedule = Cyclic(m=2) has m = 2; the loss has 3"),
    ("schedule", np.zeros((2, 5), int), ValueError, "theta"),
    ("device", "tpu", ValueError, "device = 'tpu'; accepted: 'cpu', 'cuda'"),
    ("device", "tpu", ValueError, "device = 'tpu'; accepted: 'cpu'"),
    ("device", None, ValueError, "device = None; accepted: 'cpu'"),
]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("name", "value", "error", "words"), BAD)
def test_bad_arguments_are_refused(
    function: str, name: str, value: Any, error: type, words: str
) -> None:
    if name == "h" and function == "memory_terms":
        pytest.skip("memory_terms has no step size")
    changes = {name: value}
    if name == "schedule" and np.ndim(value) == 2:  # two schedules for three problems
        changes["theta0"] = np.zeros((3, 3))
    with pytest.raises(error) as caught:
        call(function, **changes)
    message = str(caught.value)
    shown = {"theta0": "theta", "steps": "n"}.get(name, name) if function in POINTS else name
    assert shown in message
    assert words in message
    assert "accepted" in message or "the loss has" in message


@pytest.mark.parametrize("function", ["flow", "vector_field", "global_error"])
@pytest.mark.parametrize("order", [0, 3, True, 2.0, "2", None])
def test_other_orders_are_refused(function: str, order: Any) -> None:
    with pytest.raises(ValueError, match=rf"order = {order!r}; accepted: 1 .* or 2"):
        call(function, order=order)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("steps", [10**12, 2**63, 10**30])
def test_more_steps_than_memory_are_refused(function: str, steps: int) -> None:
    with pytest.raises(
        ValueError, match=r"(steps|n \+ 1) = \d+ needs .* GiB .*accepted: what fits"
    ):
        call(function, steps=steps)


@pytest.mark.parametrize("function", ["iterate", "flow"])
def test_trajectories_larger_than_memory_are_refused(
    function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tables of the weights fit, the trajectories of the problems do not.
    monkeypatch.setattr(
        "stepbias.kernels.blocks.os.sysconf", lambda name: 4096 if "SIZE" in name else 4
    )
    with pytest.raises(
        ValueError, match=r"steps = 9 needs .* GiB for the trajectory \(global_error"
    ):
        call(function, theta0=np.zeros((100, 3)), steps=9)


@pytest.mark.parametrize(
    ("substeps", "error"), [(0, ValueError), (-2, ValueError), (1.0, TypeError), (True, TypeError)]
)
def test_bad_substeps_are_refused(substeps: Any, error: type) -> None:
    with pytest.raises(error, match=rf"substeps = {substeps!r}.*accepted: an integer >= 1"):
        call("global_error", substeps=substeps)
