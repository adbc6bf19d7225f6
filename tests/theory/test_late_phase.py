from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from stepbias.theory import full_batch, late_phase

Floats = NDArray[np.float64]


def _unit_adam(beta: float, rho: float, start: float, steps: int) -> Floats:
    """Adam on theta^2/2 with h = 1 and no epsilon: plain, and apart from the package."""
    mean = square = 0.0
    theta = start
    path = np.empty(steps)
    for n in range(steps):
        mean = beta * mean + (1.0 - beta) * theta
        square = rho * square + (1.0 - rho) * theta * theta
        corrected = mean / (1.0 - beta ** (n + 1)), square / (1.0 - rho ** (n + 1))
        theta -= corrected[0] / math.sqrt(corrected[1])
        path[n] = theta
    return path


@pytest.mark.parametrize("r", [0.5, 1.0, 3.0])
def test_amplitude_and_frequency_of_the_oscillation(r: float) -> None:
    rest = 0.01
    beta, rho = 1.0 - rest, 1.0 - r * rest
    late = _unit_adam(beta, rho, 7.3, 30_000)[-8192:]
    rms = math.sqrt(np.mean((late - late.mean()) ** 2))
    # relative error O(1 - beta); 1.1 (1 - beta) at r = 3
    assert rms == pytest.approx(late_phase.oscillation_rms(1.0, beta, rho), rel=2.0 * rest)
    spectrum = np.abs(np.fft.rfft((late - late.mean()) * np.hanning(len(late))))
    found = 2.0 * math.pi * int(np.argmax(spectrum)) / len(late)
    assert found == pytest.approx(late_phase.oscillation_frequency(beta, rho), rel=2.0 * rest)


def test_limits_of_the_frequency() -> None:
    assert late_phase.oscillation_frequency(0.5, 1.0 - 2.0**-53) == pytest.approx(math.pi, rel=1e-7)
    assert late_phase.oscillation_frequency(0.9, 0.2000001) < 0.01


@pytest.mark.parametrize(("beta", "rho"), [(0.9, 0.2), (0.99, 0.5)])
def test_no_small_oscillation_from_ratio_8_on(beta: float, rho: float) -> None:
    with pytest.raises(ValueError, match=r"\(1 - rho\) / \(1 - beta\) = .*accepted: below 8"):
        late_phase.oscillation_rms(0.1, beta, rho)


def test_the_flow_stands_still_at_its_rest() -> None:
    """On a quadratic, epsilon small against the squared gradient there, the field vanishes at the derived place, up to epsilon."""
    h, beta, rho, eps = 1e-3, 0.5, 0.99, 1e-16
    hessian = np.array([[2.0, 0.5], [0.5, 1.0]])
    place = np.full(2, late_phase.rest_displacement(h, beta, rho))
    rate = full_batch.limit_field(hessian @ place, lambda v: hessian @ v, h, beta, rho, 0.0, eps)
    # eps / g^2 of the bias, which is as large as g; and its rounding
    bound = 200.0 * h * eps / (hessian @ place).min() ** 3 + 1e-12
    assert np.all(np.abs(rate) < bound)
    assert late_phase.rest_displacement(h, 0.99, 0.5) == 0.0
    assert late_phase.rest_displacement(h, 0.9, 0.9) == 0.0


@pytest.mark.parametrize(("eps", "eps_root"), [(0.0, 1e-3), (0.1, 0.0), (0.05, 0.01)])
def test_rate_is_the_field_and_jacobian_its_derivative(eps: float, eps_root: float) -> None:
    rng = np.random.default_rng(5)
    factor = rng.normal(size=(3, 3))
    hessian = factor @ factor.T
    rest = (0.01, 0.9, 0.99, eps, eps_root)
    for theta in 0.1 * rng.normal(size=(4, 3)):

        def field(at: Floats) -> Floats:
            return full_batch.limit_field(hessian @ at, lambda v: hessian @ v, *rest)

        rate = late_phase.limit_rate(hessian @ theta, hessian, *rest)
        assert rate == pytest.approx(field(theta), rel=1e-12, abs=1e-13)
        d = 1e-6
        numeric = np.stack(
            [(field(theta + d * e) - field(theta - d * e)) / (2.0 * d) for e in np.eye(3)], axis=1
        )
        # central differences: d^2 times third derivatives, and roundings over d
        exact = late_phase.limit_jacobian(hessian @ theta, hessian, *rest)
        assert exact == pytest.approx(numeric, abs=1e-6 * np.abs(numeric).max())


def test_rate_where_a_component_vanishes() -> None:
    rate = late_phase.limit_rate(np.array([0.0, 1.0]), np.eye(2), 0.01, 0.9, 0.99, 1e-8, 0.0)
    assert rate[0] == 0.0
    assert np.isfinite(
        late_phase.limit_jacobian(np.array([0.0, 1.0]), np.eye(2), 0.01, 0.9, 0.99, 1e-8, 0.0)
    ).all()


@pytest.mark.parametrize("name", ["beta", "rho"])
def test_decays_are_checked(name: str) -> None:
    given = {"beta": 0.9, "rho": 0.9} | {name: 1.0}
    with pytest.raises(ValueError, match=f"{name} = 1.0; accepted"):
        late_phase.oscillation_rms(0.1, **given)
    with pytest.raises(ValueError, match=f"{name} = 1.0; accepted"):
        late_phase.rest_displacement(0.1, **given)
    with pytest.raises(ValueError, match=r"h = 0\.0; accepted"):
        late_phase.rest_displacement(0.0, 0.9, 0.99)
