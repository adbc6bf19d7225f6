"""The integrator of small equations, in Numba's simulator: orders, precision, layout, and what it refuses.

The simulator is chosen when Numba is imported, so the runs happen in a process of their own: this file as a program.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from stepbias.kernels.gpu import device
from stepbias.kernels.gpu.integrate import in_precision, integrate
from stepbias.kernels.trajectory import CLASSICAL, HEUN, Tableau

Floats = NDArray[Any]

SIGMA = 10.0
RHO = np.array(
    [[0.5], [5.0], [11.0], [16.0], [20.9]]
)  # five: the second block of four is part-filled
START = np.array([1.0, 0.0, 0.0])
T_END = 0.5
STEPS = (64, 128)
ORDERS: dict[str, tuple[Tableau, int]] = {
    "classical": (CLASSICAL, 4),
    "heun": (HEUN, 3),
    # the midpoint's rate twice, the second time better: the first weight is 0, and the sum begins later
    "midpoint": (Tableau(np.array([0.0, 0.5, 0.5]), np.array([0.0, 0.5, 0.5])), 2),
}


def lorenz(t: Any, state: Any, parameters: Any) -> Any:
    x, y, z = state
    return SIGMA * (y - x), x * (parameters[0] - z) - y, x * y - 8.0 / 3.0 * z


def wave(t: Any, state: Any, parameters: Any) -> Any:
    return (math.cos(t),)


def square(t: Any, state: Any, parameters: Any) -> Any:
    return 2 * state[1], state[0] * state[0]


# what is refused: the argument changed, and a part of the message
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "field no function": ({"field": 3}, "TypeError: field = 3"),
    "field too short": ({"field": wave}, "ValueError: field returns (1.0,)"),
    "field no tuple": ({"field": lambda t, x, p: list(x)}, "ValueError: field returns ["),
    "field fails": ({"field": lambda t, x: x}, "ValueError: field fails"),
    "start 3-d": ({"start": np.zeros((2, 2, 2))}, "ValueError: start has shape (2, 2, 2)"),
    "start empty": ({"start": np.zeros((0, 3))}, "ValueError: start has shape (0, 3)"),
    "start NaN": ({"start": [1.0, math.nan, 0.0]}, "ValueError: start"),
    "parameters text": ({"parameters": "rho"}, "TypeError: parameters"),
    "sizes": ({"start": np.ones((2, 3))}, "ValueError: leading axes disagree (start: 2"),
    "t_end two": ({"t_end": [1.0, 2.0]}, "ValueError: t_end has shape"),
    "t_end inf": ({"t_end": math.inf}, "ValueError: t_end"),
    "steps 0": ({"steps": 0}, "ValueError: steps = 0"),
    "steps 1.5": ({"steps": 1.5}, "TypeError: steps = 1.5"),
    "tableau name": ({"tableau": "rk4"}, "TypeError: tableau = 'rk4'"),
    "tableau start": ({"tableau": Tableau(np.ones(1), np.ones(1))}, "ValueError: tableau ="),
    "tableau sum": (
        {"tableau": Tableau(np.zeros(1), np.array([0.5]))},
        "ValueError: tableau.weight",
    ),
    "dtype half": ({"dtype": np.float16}, "ValueError: dtype"),
    "dtype text": ({"dtype": "number"}, "ValueError: dtype = 'number'"),
}  # fmt: skip


def _refusal(changes: dict[str, Any]) -> str:
    given: dict[str, Any] = {
        "field": lorenz, "start": START, "parameters": RHO, "t_end": 1.0, "steps": 4,
    } | changes  # fmt: skip
    try:
        integrate(**given)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


def run_all(out: Path) -> None:
    """Everything that needs the simulator."""
    run = partial(integrate, lorenz, START, RHO, T_END)
    found = {
        f"{name} {steps}": run(steps, tableau=tableau)
        for name, (tableau, _) in ORDERS.items()
        for steps in STEPS
    }
    found["single"] = run(STEPS[0], dtype=np.float32)
    found["alone"] = integrate(lorenz, START, RHO[3], T_END, STEPS[0])
    found["rows"] = integrate(lorenz, np.tile(START, (5, 1)), RHO, T_END, STEPS[0])
    found["back"] = integrate(lorenz, found["classical 128"], RHO, -T_END, STEPS[1])
    found["wave"] = integrate(wave, [[0.0], [1.0]], [], 2.0, 32)
    with np.errstate(over="ignore", invalid="ignore"):
        found["overflow"] = integrate(square, [[1.0, 0.5], [1e300, 1.0]], [], 0.25, 8)
    np.savez(out / "found.npz", allow_pickle=False, **found)
    said = {name: _refusal(changes) for name, (changes, _) in BAD.items()}
    device.SIMULATED_MEMORY = 250  # one array less than five trajectories need
    said["memory"] = _refusal({})
    (out / "said.json").write_text(json.dumps(said))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("integrate")
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "STEPBIAS_CUDA_BLOCK": "4"}
    subprocess.run([sys.executable, __file__, str(out)], check=True, env=environment)
    return out


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Floats]:
    with np.load(folder / "found.npz") as data:
        return dict(data)


@pytest.fixture(scope="module")
def exact() -> Floats:
    """SciPy's end points; tolerances of 1e-13 leave errors of about 1e-12 beside those from 1e-9 on that are judged."""

    def end(rho: float) -> Floats:
        solved = solve_ivp(
            lorenz, (0.0, T_END), START, method="DOP853", rtol=1e-13, atol=1e-13, args=((rho,),)
        )
        return np.asarray(solved.y[:, -1])

    return np.stack([end(rho) for rho in RHO[:, 0]])


@pytest.mark.parametrize("name", ORDERS)
def test_order(name: str, found: dict[str, Floats], exact: Floats) -> None:
    coarse, fine = (np.linalg.norm(found[f"{name} {n}"] - exact, axis=1) for n in STEPS)
    # the next term of the error moves the slope by a multiple of h = 1/128 times the fastest rate, about 15
    np.testing.assert_allclose(np.log2(coarse / fine), ORDERS[name][1], atol=0.25)


def test_the_classical_method_is_accurate(found: dict[str, Floats], exact: Floats) -> None:
    # h^4 times derivatives of the order of 15^5
    assert np.abs(found["classical 128"] - exact).max() < 1e-4 / 2**4
    assert found["classical 128"].dtype == np.float64


def test_single_precision_is_near_double(found: dict[str, Floats]) -> None:
    single, double = found["single"], found["classical 64"]
    assert single.dtype == np.float32
    difference = np.abs(single - double).max() / np.abs(double).max()
    # 64 steps, each of which rounds at the size of the state; not the same numbers either
    assert 1e-9 < difference < 64 * 2.0**-24


def test_a_trajectory_does_not_depend_on_its_neighbours(found: dict[str, Floats]) -> None:
    assert found["alone"].shape == (3,)
    np.testing.assert_array_equal(found["alone"], found["classical 64"][3])
    np.testing.assert_array_equal(found["rows"], found["classical 64"])


def test_a_run_backwards_returns(found: dict[str, Floats]) -> None:
    # backwards the fastest rate, 13.7, is a growth: exp(13.7 / 2) times the error of the run forwards, 1e-6
    np.testing.assert_allclose(found["back"], np.tile(START, (5, 1)), atol=1e-3)


def test_the_field_sees_the_time(found: dict[str, Floats]) -> None:
    # Simpson's rule on steps of 1/16: error (1/16)^4 / 2880 times 2
    np.testing.assert_allclose(found["wave"][:, 0], np.array([0.0, 1.0]) + np.sin(2.0), atol=1.1e-8)


def test_an_overflow_stays_in_its_trajectory(found: dict[str, Floats]) -> None:
    assert np.isfinite(found["overflow"][0]).all()
    assert not np.isfinite(found["overflow"][1]).all()


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str, folder: Path) -> None:
    said = json.loads((folder / "said.json").read_text())[name]
    assert said.startswith(BAD[name][1])
    assert "accepted:" in said


def test_what_does_not_fit_is_refused(folder: Path) -> None:
    said = json.loads((folder / "said.json").read_text())["memory"]
    assert said.startswith("ValueError: start describes 5 trajectories")


def test_refused_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "why_not", lambda: "no driver here")
    with pytest.raises(device.DeviceError, match="no driver here"):
        integrate(lorenz, START, RHO, 1.0, 4)


def test_constants_of_the_field_take_the_precision_of_the_run() -> None:
    half = 0.5

    def field(t: Any, state: Any, parameters: Any) -> Any:
        return (0.1 * state[0] + SIGMA, half * state[1])

    numbers = tuple(np.array([3.0, 5.0], dtype=np.float32))
    rates = in_precision(field, np.float32)(np.float32(0.0), numbers, ())
    assert rates[0] == np.float32(0.1) * np.float32(3.0) + np.float32(10.0)
    changed = in_precision(field, np.float32)
    assert {type(c) for c in changed.__code__.co_consts if c is not None} <= {np.float32, int}
    assert type(changed.__globals__["SIGMA"]) is np.float32
    assert [type(cell.cell_contents) for cell in changed.__closure__ or ()] == [np.float32]
    assert in_precision(field, np.float64) is field
    assert type(SIGMA) is float


if __name__ == "__main__":
    run_all(Path(sys.argv[1]))
