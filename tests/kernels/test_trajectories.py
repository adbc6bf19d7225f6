"""The public trajectories: against plain loops, other libraries and a tight ODE solver."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import stepbias as sb
from stepbias.kernels.trajectory import CLASSICAL, HEUN, Tableau
from stepbias.theory.optimizers import AdamFamily
from stepbias.verify import strategies
from tests import reference
from tests.reference import Floats

LOSS = sb.Loss.random("sinusoid", dim=3, batches=3, seed=6)
START = np.array([0.4, -0.3, 0.8])
ADAM = sb.Adam(0.8, 0.9, eps=0.0, eps_root=1e-2)


# the discrete iterates ---------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    strategies.optimizers(),
    strategies.losses(max_dim=5, max_batches=4),
    st.integers(0, 40),
    st.data(),
)
def test_iterates_are_a_plain_loop(
    optimizer: AdamFamily, loss: sb.Loss, steps: int, data: st.DataObject
) -> None:
    theta0 = data.draw(strategies.starts(loss.dim))
    schedule = data.draw(strategies.schedules(loss.batches)).indices(steps)
    h = 1e-3
    found = sb.iterate(optimizer, loss, theta0, h, steps, schedule)
    assert found.shape == (steps + 1, loss.dim)
    expected = reference.iterates(optimizer, loss, theta0, h, schedule)
    # Each of the <= 40 steps of size <= h/eps = 10 rounds a few times; curvature of at most ~100 over a distance of at most 1 amplifies little of it.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


def test_no_steps_is_the_start() -> None:
    for path in (sb.iterate, sb.flow):
        np.testing.assert_array_equal(path(ADAM, LOSS, START, 0.1, 0), START[None])
    assert sb.global_error(ADAM, LOSS, START, 0.1, 0) == 0.0


def test_longer_run_starts_with_the_shorter() -> None:
    for path in (sb.iterate, sb.flow):
        short, long = (path(ADAM, LOSS, START, 0.1, steps) for steps in (7, 12))
        np.testing.assert_array_equal(long[:8], short)


def by_gradients(update: Callable[[Floats, int], Floats], h: float, steps: int) -> Floats:
    """Iterates of a rule given by its update, a function of gradient and step; h is its own affair."""
    theta = START
    path = [theta]
    for n in range(steps):
        theta = theta + update(LOSS.gradient(n % 3, theta), n)
        path.append(theta)
    return np.array(path)


def torch_adam(h: float, beta: float, rho: float, eps: float) -> Callable[[Floats, int], Floats]:
    """``torch.optim.Adam`` as documented: exp_avg, exp_avg_sq, bias corrections, eps added to the root."""
    state = [np.zeros(3), np.zeros(3)]

    def update(g: Floats, n: int) -> Floats:
        state[0] = beta * state[0] + (1.0 - beta) * g
        state[1] = rho * state[1] + (1.0 - rho) * g * g
        denominator = np.sqrt(state[1]) / np.sqrt(1.0 - rho ** (n + 1)) + eps
        return np.asarray(-(h / (1.0 - beta ** (n + 1))) * state[0] / denominator)

    return update


def torch_rmsprop(h: float, alpha: float, eps: float) -> Callable[[Floats, int], Floats]:
    """``torch.optim.RMSprop`` as documented: square_avg, eps added to its root."""
    state = [np.zeros(3)]

    def update(g: Floats, _n: int) -> Floats:
        state[0] = alpha * state[0] + (1.0 - alpha) * g * g
        return np.asarray(-h * g / (np.sqrt(state[0]) + eps))

    return update


def fake_torch(kind: str, **group: Any) -> Any:
    return type(kind, (), {"param_groups": [group]})()


# Thirty steps of size 0.02: rounding of a few units a step, hardly amplified.
CLOSE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13}


def test_translated_torch_rules_give_torch_s_iterates() -> None:
    adam = sb.from_torch(fake_torch("Adam", betas=(0.8, 0.95), eps=1e-3))
    np.testing.assert_allclose(
        sb.iterate(adam, LOSS, START, 0.02, 30),
        by_gradients(torch_adam(0.02, 0.8, 0.95, 1e-3), 0.02, 30),
        **CLOSE,
    )
    rmsprop = sb.from_torch(fake_torch("RMSprop", alpha=0.9, eps=1e-3))
    np.testing.assert_allclose(
        sb.iterate(rmsprop, LOSS, START, 0.02, 30),
        by_gradients(torch_rmsprop(0.02, 0.9, 1e-3), 0.02, 30),
        **CLOSE,
    )


@pytest.mark.parametrize("kind", ["Adam", "RMSprop"])
def test_iterates_are_torch_s_own(kind: str) -> None:
    torch = pytest.importorskip(
        "torch", reason="torch is not installed (pip install stepbias[torch])"
    )
    weight = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    options: Any = {"Adam": {"betas": (0.8, 0.95)}, "RMSprop": {"alpha": 0.9}}[kind]
    optimizer = getattr(torch.optim, kind)([weight], lr=0.02, eps=1e-3, **options)
    path = [START]
    for n in range(30):
        weight.grad = torch.tensor(LOSS.gradient(n % 3, weight.detach().numpy()))
        optimizer.step()
        path.append(weight.detach().numpy().copy())
    found = sb.iterate(sb.from_torch(optimizer), LOSS, START, 0.02, 30)
    np.testing.assert_allclose(found, path, **CLOSE)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adam", {}),
        ("adam", {"b1": 0.8, "b2": 0.95, "eps": 1e-3}),
        ("adam", {"b1": 0.8, "b2": 0.95, "eps": 0.0, "eps_root": 1e-3}),
        ("adam", {"b1": 0.0, "b2": 0.0, "eps": 1e-2, "eps_root": 1e-3}),
        ("rmsprop", {}),
        ("rmsprop", {"decay": 0.8, "eps": 1e-3}),
        ("rmsprop", {"decay": 0.8, "eps": 1e-3, "eps_in_sqrt": False}),
        ("rmsprop", {"decay": 0.8, "eps": 1e-3, "bias_correction": True}),
    ],
)
def test_iterates_are_optax_s(name: str, options: dict[str, Any]) -> None:
    optax = pytest.importorskip(
        "optax", reason="optax is not installed (pip install stepbias[network])"
    )
    import jax

    with jax.enable_x64(True):
        rule = getattr(optax, name)(learning_rate=0.02, **options)
        theta = jax.numpy.asarray(START)
        assert theta.dtype == np.float64
        state, path = rule.init(theta), [START]
        for n in range(30):
            gradient = jax.numpy.asarray(LOSS.gradient(n % 3, np.asarray(theta)))
            updates, state = rule.update(gradient, state, theta)
            theta = optax.apply_updates(theta, updates)
            path.append(np.asarray(theta))
    found = sb.iterate(sb.from_optax(name, **options), LOSS, START, 0.02, 30)
    np.testing.assert_allclose(found, path, **CLOSE)


# the flow ----------------------------------------------------------------------------------------

OPTIMIZERS: list[AdamFamily] = [
    ADAM,
    sb.Adam(0.8, 0.9, eps=1e-1),
    sb.Adam(0.5, 0.9, 0.1, 1e-2, bias_correction=False),
    sb.RMSProp(0.9, 0.0, 1e-2),
]


def tight_flow(
    optimizer: AdamFamily, theta0: Floats, h: float, steps: int, order: int = 2
) -> Floats:
    """The modified equation piece by piece with a method of order 8 at its tightest tolerance."""
    path = [theta0]
    for n in range(steps):
        schedule = np.arange(n + 1) % LOSS.batches

        def field(_t: float, theta: Floats, n: int = n, schedule: Any = schedule) -> Floats:
            return sb.vector_field(optimizer, LOSS, theta, n, h, schedule, order)

        solved = solve_ivp(field, (n * h, (n + 1) * h), path[-1], "DOP853", rtol=3e-14, atol=1e-15)
        path.append(solved.y[:, -1])
    return np.array(path)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_flow_solves_the_modified_equation(optimizer: AdamFamily, order: int) -> None:
    # h = 1/64 and two steps of order 4 a piece: (1/128)^4 = 4e-9 times a constant below 100, accumulated over 12 pieces of length 1/64.
    exact = tight_flow(optimizer, START, 1 / 64, 12, order)
    found = sb.flow(optimizer, LOSS, START, 1 / 64, 12, order=order)
    np.testing.assert_allclose(found, exact, rtol=0.0, atol=1e-7)
    # and the tolerance sees the h-term: without it the paths part by far more
    other = sb.flow(optimizer, LOSS, START, 1 / 64, 12, order=3 - order)
    assert np.abs(other - exact).max() > 1e-4


@pytest.mark.parametrize(("tableau", "order"), [(CLASSICAL, 4), (HEUN, 3)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_integrator_has_its_order(optimizer: AdamFamily, tableau: Tableau, order: int) -> None:
    # Three pieces of the same length, so that the field jumps; only the number of substeps changes. No gradient component vanishes on the way.
    exact = tight_flow(optimizer, START, 0.05, 3)[-1]
    errors = [
        np.linalg.norm(
            reference.flow(optimizer, LOSS, START, 0.05, 3, tableau, substeps)[-1] - exact
        )
        for substeps in (4, 8, 16)
    ]
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    # The next order contributes a relative 1/substeps times a constant of a few.
    assert abs(slopes[-1] - order) < 0.25, (errors, slopes)


def test_public_flow_is_two_classical_steps_a_piece() -> None:
    np.testing.assert_array_equal(
        sb.flow(ADAM, LOSS, START, 0.1, 9),
        reference.flow(ADAM, LOSS, START, 0.1, 9, CLASSICAL, 2),
    )


def test_order_conditions_of_the_tableaus() -> None:
    for tableau, order in ((CLASSICAL, 4), (HEUN, 3)):
        b, c = tableau.weight, tableau.scale
        assert b.sum() == pytest.approx(1.0, abs=1e-15)
        for power in range(1, order):
            assert b @ c**power == pytest.approx(1.0 / (power + 1), abs=1e-15)
        assert b[1:] @ (c[1:] * c[:-1]) == pytest.approx(1.0 / 6.0, abs=1e-15)  # sum b_i a_ij c_j


# accumulation ------------------------------------------------------------------------------------

LONG = 2**18
FAR = 9.25  # far from 0: a plain sum rounds to units of 2^-49


@functools.cache
def slope_loss() -> sb.Loss:
    """E = sin(theta / 8 + 1) in one parameter, full batch."""
    return sb.Loss.sinusoids([[1.0]], [[0.125]], [[1.0]])


@numba.njit(error_model="numpy")
def plain_iterate(theta, h, steps, beta, rho, inner):  # type: ignore[no-untyped-def]
    """The optimizer in double precision without compensation."""
    m = v = 0.0
    for n in range(steps):
        g = 0.125 * np.cos(0.125 * theta + 1.0)
        m = beta * m + (1.0 - beta) * g
        v = rho * v + (1.0 - rho) * g * g
        mean, square = m / (1.0 - beta ** (n + 1)), v / (1.0 - rho ** (n + 1))
        theta -= h * mean / np.sqrt(square + inner)
    return theta


@numba.njit(error_model="numpy")
def plain_flow(theta, h, steps, inner):  # type: ignore[no-untyped-def]
    """The leading field by two classical steps a piece, without compensation."""
    part = 0.5 * h
    for _ in range(2 * steps):
        total = rate = 0.0
        for scale, weight in ((0.0, 1.0), (0.5, 2.0), (0.5, 2.0), (1.0, 1.0)):
            g = 0.125 * np.cos(0.125 * (theta + scale * part * rate) + 1.0)
            rate = -g / np.sqrt(g * g + inner)
            total += weight / 6.0 * rate
        theta += part * total
    return theta


def extended_iterate(
    theta: float, h: float, steps: int, beta: float, rho: float, inner: float
) -> Any:
    """The same in extended precision, NumPy scalars of 64 bits of mantissa."""
    number = np.longdouble
    one, x, slope = number(1), number(theta), number(0.125)
    b, r = number(beta), number(rho)
    m = v = number(0)
    power_b, power_r = one, one
    for _ in range(steps):
        g = slope * np.cos(slope * x + one)
        m = b * m + (one - b) * g
        v = r * v + (one - r) * g * g
        power_b, power_r = power_b * b, power_r * r
        x = x - number(h) * (m / (one - power_b)) / np.sqrt(v / (one - power_r) + number(inner))
    return x


def extended_flow(theta: float, horizon: float, inner: float, steps: int = 2**12) -> Any:
    """The leading flow in extended precision; (1/4096)^4 = 4e-15 times a fifth derivative below 1e-4 is far below a double's rounding."""
    number = np.longdouble
    x, slope, part = number(theta), number(0.125), number(horizon) / steps

    def rate(y: Any) -> Any:
        g = slope * np.cos(slope * y + number(1))
        return -g / np.sqrt(g * g + number(inner))

    for _ in range(steps):
        first = rate(x)
        second = rate(x + part / 2 * first)
        third = rate(x + part / 2 * second)
        x = x + part / 6 * (first + 2 * second + 2 * third + rate(x + part * third))
    return x


needs_extended = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant,
    reason="this platform's long double is a double",
)


@needs_extended
def test_compensated_iterates_keep_the_digits() -> None:
    h, optimizer = 1.0 / LONG, sb.Adam(0.5, 0.7, 0.0, 0.01)
    exact = extended_iterate(FAR, h, LONG, 0.5, 0.7, 0.01)
    found = sb.iterate(optimizer, slope_loss(), [FAR], h, LONG)[-1, 0]
    plain = plain_iterate(FAR, h, LONG, 0.5, 0.7, 0.01)
    unit = np.spacing(FAR)
    # One unit: the final rounding, and rates of size < 1 that are wrong by a few parts in 2^53 over a time of 1.
    assert abs(found - exact) <= unit
    assert abs(plain - exact) > 8 * unit


@needs_extended
def test_compensated_flow_keeps_the_digits() -> None:
    steps, optimizer = LONG // 4, sb.Adam(0.5, 0.7, 0.0, 0.01)  # eight field evaluations a step
    exact = extended_flow(FAR, 1.0, 0.01)
    found = sb.flow(optimizer, slope_loss(), [FAR], 1.0 / steps, steps, order=1)[-1, 0]
    plain = plain_flow(FAR, 1.0 / steps, steps, 0.01)
    unit = np.spacing(FAR)
    assert abs(found - exact) <= unit
    assert abs(plain - exact) > 8 * unit


# the global error --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_global_error_is_the_largest_distance(optimizer: AdamFamily, order: int) -> None:
    schedule = sb.IID(3, seed=1)
    gap = sb.iterate(optimizer, LOSS, START, 0.02, 40, schedule) - sb.flow(
        optimizer, LOSS, START, 0.02, 40, schedule, order
    )
    found = sb.global_error(optimizer, LOSS, START, 0.02, 40, schedule, order)
    assert isinstance(found, float)
    # The stored paths are rounded to doubles of size 1, the lockstep difference is not.
    assert found == pytest.approx(np.linalg.norm(gap, axis=1).max(), abs=1e-15)


def test_substeps_refine_the_flow_only() -> None:
    coarse, fine, finest = (
        sb.global_error(ADAM, LOSS, START, 0.02, 10, substeps=substeps) for substeps in (1, 4, 16)
    )
    assert abs(fine - finest) < abs(coarse - finest) / 16


# one loss, many problems; numbers of steps of a narrow type ------------------------------------------


@pytest.mark.parametrize("family", sb.Loss.families())
def test_a_single_loss_is_the_same_in_every_lane(family: str) -> None:
    loss = sb.Loss.random(family, dim=2, batches=2, seed=3)
    start, sizes = np.array([0.1, 0.2]), np.array([0.01, 0.02, 0.01])
    many = sb.flow(ADAM, loss, start, sizes, 4)
    for k, h in enumerate(sizes):
        assert np.array_equal(many[k], sb.flow(ADAM, loss, start, h, 4))
    terms = sb.memory_terms(ADAM, loss, np.tile(start, (3, 1)), 4)
    assert np.array_equal(terms.L[2], sb.memory_terms(ADAM, loss, start, 4).L)


@pytest.mark.parametrize("steps", [np.uint8(255), np.int8(127)])
def test_steps_of_a_narrow_type_do_not_overflow(steps: Any) -> None:
    for function in (sb.iterate, sb.flow):
        assert np.array_equal(
            function(ADAM, LOSS, START, 1e-3, steps), function(ADAM, LOSS, START, 1e-3, int(steps))
        )
