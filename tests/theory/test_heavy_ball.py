"""Heavy ball's coefficients: the sums of the derivation, the closed form, its limits, in fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest

from stepbias.theory import heavy_ball

BETAS = [Fraction(0), Fraction(1, 3), Fraction(9, 10), Fraction(999, 1000)]


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("n", [0, 1, 2, 7, 20])
def test_closed_form_is_the_sums(n: int, beta: Fraction) -> None:
    assert heavy_ball.coefficients(n, beta) == heavy_ball.literal_coefficients(n, beta)


@pytest.mark.parametrize("beta", BETAS)
def test_first_step_is_a_gradient_step(beta: Fraction) -> None:
    # theta' = -(g + (h/2) H g) is gradient descent's, whatever the momentum
    assert heavy_ball.coefficients(0, beta) == (1, Fraction(1, 2))


@pytest.mark.parametrize("n", [0, 3, 50])
def test_without_momentum_it_is_gradient_descent(n: int) -> None:
    zero = Fraction(0)
    assert heavy_ball.coefficients(n, zero) == (1, Fraction(1, 2))
    assert heavy_ball.limit_coefficients(n, zero) == (1, Fraction(1, 2))
    assert heavy_ball.start_shift(zero) == 0


@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_coefficients_tend_to_their_limits(beta: float) -> None:
    n = 400  # 0.9^400 < 1e-18
    for found, limit in zip(
        heavy_ball.coefficients(n, beta), heavy_ball.limit_coefficients(n, beta), strict=True
    ):
        assert found == pytest.approx(limit, rel=1e-13)  # a few roundings of numbers up to 1e3
    assert heavy_ball.gamma(n, beta) == pytest.approx(1.0, rel=1e-13)


@pytest.mark.parametrize("beta", [Fraction(1, 2), Fraction(9, 10)])
def test_start_shift_is_what_the_first_steps_lack(beta: Fraction) -> None:
    steps = 400
    limit = heavy_ball.limit_coefficients(0, beta)[0]
    lack = sum(limit - heavy_ball.coefficients(n, beta)[0] for n in range(steps))
    # the rest of the geometric series is beta^401 / (1 - beta)^2 < 5e-17
    assert float(lack - heavy_ball.start_shift(beta)) == pytest.approx(0.0, abs=1e-16)


@pytest.mark.parametrize("beta", BETAS)
def test_adam_with_a_large_epsilon_in_the_time_of_heavy_ball(beta: Fraction) -> None:
    root = Fraction(10**4, 7)
    step = heavy_ball.matching_step(beta, root)
    assert heavy_ball.time_changed(beta, step, root) == heavy_ball.limit_coefficients(0, beta)
    other = heavy_ball.time_changed(beta, 2 * step, root)
    assert other != heavy_ball.limit_coefficients(0, beta)


@pytest.mark.parametrize("name", [name for name in heavy_ball.FIELDS if name])
def test_wrong_fields_differ_from_the_statement(name: str) -> None:
    beta = Fraction(9, 10)
    assert any(
        heavy_ball.FIELDS[name](n, beta) != heavy_ball.coefficients(n, beta) for n in range(3)
    )


def test_tables_are_the_coefficients_step_by_step() -> None:
    lead, drag = heavy_ball.tables("", 3, 0.5)
    assert list(zip(lead, drag, strict=True)) == [heavy_ball.coefficients(n, 0.5) for n in range(3)]
    with pytest.raises(ValueError, match="field = 'none'; accepted: ''"):
        heavy_ball.tables("none", 3, 0.5)


@pytest.mark.parametrize("beta", [1.0, -0.1])
def test_momentum_outside_its_range_is_refused(beta: float) -> None:
    for function in (heavy_ball.coefficients, heavy_ball.literal_coefficients, heavy_ball.gamma):
        with pytest.raises(ValueError, match=f"beta = {beta}"):
            function(1, beta)
    with pytest.raises(ValueError, match="n = -1"):
        heavy_ball.coefficients(-1, 0.5)
