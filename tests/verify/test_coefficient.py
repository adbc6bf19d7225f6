"""leading_coefficient: known coefficients, verdicts that can say no, and arguments checked first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

import stepbias as sb
from stepbias.kernels import measure as measure_module
from stepbias.theory.variants import LEADING, STATEMENT, Variant
from stepbias.verify.coefficient import CLEAR, Coefficient, judge_coefficient
from stepbias.verify.extrapolation_laws import draw
from stepbias.verify.problems import draw as draw_problems
from stepbias.verify.sweep import sweep
from tests.verify.campaign import a_cell

Floats = np.ndarray[Any, np.dtype[np.float64]]

H = 0.5 / 2.0 ** np.arange(5.0, 12.0)
LADDER = [48 * 2**k for k in range(6)]
LOSS = sb.Loss.random("sinusoid", dim=3, batches=2, seed=1)
START = np.array([0.1, 0.2, 0.3])
ADAM = sb.Adam(0.5, 0.7, eps=0.0, eps_root=1e-2)


# known coefficients ------------------------------------------------------------------------------

AMPLITUDE, PHASE, EPS = np.array([1.0, 0.7]), np.array([0.3, 1.1]), 0.05
SEPARABLE = sb.Loss.sinusoids(AMPLITUDE[None], np.eye(2), PHASE[None])
# beta = rho = 0 has no memory: the iterates are Euler's method for theta' = -f(theta), f = g / sqrt(g^2 + eps).
NO_MEMORY = sb.Adam(0.0, 0.0, eps=0.0, eps_root=EPS)


def derivatives_of_f(i: int, theta: Any) -> tuple[Any, Any, Any]:
    """f, f' and f'' of component i: g = a cos(theta + phase)."""
    g = AMPLITUDE[i] * np.cos(theta + PHASE[i])
    g1 = -AMPLITUDE[i] * np.sin(theta + PHASE[i])
    root = np.sqrt(g**2 + EPS)
    f1 = g1 * EPS / root**3
    return g / root, f1, -g * EPS / root**3 - 3.0 * EPS * g * g1**2 / root**5


def leading_end(i: int, start: float, horizon: float) -> float:
    path = solve_ivp(
        lambda _, x: -derivatives_of_f(i, x)[0], (0.0, horizon), [start], "DOP853", rtol=1e-13, atol=1e-14
    )  # fmt: skip
    return float(path.y[0, -1])


@pytest.mark.parametrize("power", [1, 2])
def test_euler_s_coefficients(power: int) -> None:
    """Euler's modified equation is F - h F'F / 2 + h^2 (F''FF / 12 + F'F'F / 3): Hairer, Lubich, Wanner, "Geometric Numerical Integration", IX.1.

    With one component the variational equation is solved by a factor F: a term h^k F_k of the field moves the end by h^k F(end) times the integral of
    F_k / F^2 over the path.
    """
    start, horizon = np.array([0.2, -0.4]), 0.5
    found = sb.leading_coefficient(
        NO_MEMORY, SEPARABLE, start, horizon, [2**k for k in range(3, 11)], power=power, order=power
    )
    for i in range(2):
        end = leading_end(i, start[i], horizon)
        (f_end, f1_end, _), (f_start, f1_start, _) = (
            derivatives_of_f(i, x) for x in (end, start[i])
        )
        if power == 1:
            expected = 0.5 * f_end * np.log(f_end / f_start)
        else:

            def square(x: float, i: int = i) -> float:
                f, f1, _ = derivatives_of_f(i, x)
                return float(f1**2 / f)

            integral = quad(square, start[i], end, epsabs=1e-14)[0]
            expected = f_end * ((f1_end - f1_start) / 12.0 + integral / 3.0)
        assert abs(found.value[i] - expected) <= found.bound[i]
        assert found.bound[i] <= 1e-4 * abs(expected)
    assert found.verdict == "refuted"  # neither coefficient is zero
    assert found.power == power


def test_the_bias_term_s_own_coefficient() -> None:
    """order=1, full batch: h w with w' = J w + F_1, F_1 the large-n O(h) term; its start-up transients are O(h^2)."""
    loss = sb.Loss.random("sinusoid", dim=3, seed=4)
    beta, rho, eps, horizon = 0.5, 0.7, 1e-2, 0.25
    optimizer = sb.Adam(beta, rho, eps=0.0, eps_root=eps)

    def leading(theta: Floats) -> Floats:
        g: Floats = loss.gradient(0, theta)
        return -g / np.sqrt(g**2 + eps)

    def bias(theta: Floats) -> Floats:
        g: Floats = loss.gradient(0, theta)
        root = np.sqrt(g**2 + eps)
        slow, fast = (1.0 + beta) / (1.0 - beta), (1.0 + rho) / (1.0 - rho)
        factor = slow - fast + fast * eps / root**2
        field: Floats = -0.5 * factor * (loss.hessian(0, theta) @ (g / root)) / root
        return field

    def variation(_: float, state: Floats) -> Floats:
        theta, w = state[:3], state[3:]
        d = 1e-5
        along = (leading(theta + d * w) - leading(theta - d * w)) / (2.0 * d)
        return np.concatenate([leading(theta), along + bias(theta)])

    state = np.concatenate([START, np.zeros(3)])
    path = solve_ivp(variation, (0.0, horizon), state, "DOP853", rtol=1e-10, atol=1e-12)
    # the derivative along w by central differences of width 1e-5: relative error about 1e-8
    expected = path.y[3:, -1]
    found = sb.leading_coefficient(optimizer, loss, START, horizon, LADDER, order=1)
    assert np.all(np.abs(found.value - expected) <= found.bound + 1e-7 * np.abs(expected))
    assert np.linalg.norm(found.bound) <= 1e-3 * np.linalg.norm(expected)
    assert found.verdict == "refuted"
    # at the finest step the difference is this coefficient up to O(h)
    assert found.scale == pytest.approx(np.linalg.norm(expected), rel=0.05)
    # and it is what the statement's scale is
    statement = sb.leading_coefficient(optimizer, loss, START, horizon, LADDER)
    assert statement.scale == found.scale
    assert statement.verdict == "confirmed", statement.explain()


# power of the test -------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_a_change_of_l_by_one_in_ten_thousand_is_refuted(batches: int) -> None:
    tally = {"statement": [], "L": [], "leading": []}  # type: dict[str, list[str]]
    for family in sb.Loss.families():
        cell = a_cell(
            family=family, batches=batches, schedule="cyclic", beta=0.7, rho=0.8, count=2, dim=2
        )
        drawn = draw_problems(cell)
        problem = (cell.optimizer(), drawn.loss, drawn.theta0, cell.horizon, [*LADDER, 3072], None)
        runs = {
            name: sweep(*problem, variant)
            for name, variant in (("statement", STATEMENT), ("L", Variant(L=1.0 + 1e-4)), ("leading", LEADING))
        }  # fmt: skip
        scale = np.linalg.norm(runs["leading"].difference[:, -1], axis=1) / runs["leading"].h[:, -1]
        for name, run in runs.items():
            judged = judge_coefficient(run.h, run.difference, run.floor, scale, memory=run.memory)
            tally[name] += judged.verdict
    assert "refuted" not in tally["statement"]
    assert set(tally["leading"]) == {"refuted"}
    assert tally["statement"].count("confirmed") >= 10
    assert tally["L"].count("refuted") >= 9


def test_with_a_sign_change_and_epsilon_outside_nothing_is_confirmed() -> None:
    """The theorem does not apply: D is not smooth where a gradient component crosses zero."""
    loss = sb.Loss.random("sinusoid", dim=3, problems=48, seed=3)
    theta0 = np.random.default_rng(1).normal(size=(48, 3))
    path = sb.flow(sb.Adam(0.5, 0.7, eps=0.0, eps_root=1e-4), loss, theta0, 0.5 / 256, 256)
    gradients = np.array([loss.gradient(0, path[:, n]) for n in range(0, 200, 4)])
    crosses = np.any(gradients.min(axis=0) * gradients.max(axis=0) < 0.0, axis=1)
    assert crosses.sum() >= 5
    chosen = np.flatnonzero(crosses)
    optimizer = sb.Adam(0.5, 0.7, eps=1e-8)
    found = sb.leading_coefficient(optimizer, loss.select(chosen), theta0[chosen], 0.5, LADDER)
    assert "confirmed" not in found.verdict
    # nor without a measured memory, from the numbers alone
    blind = judge_coefficient(found.h, found.difference, found.floor, found.scale)
    assert "confirmed" not in blind.verdict


# the verdict on arrays ---------------------------------------------------------------------------


def series(*coefficients: float) -> Floats:
    """d(h) = sum c_k h^k with one component, (1, H, 1)."""
    d: Floats = sum((c * H**k for k, c in enumerate(coefficients)), np.zeros_like(H))
    return d[None, :, None]


def judged(difference: Floats, **changes: Any) -> Coefficient:
    given: dict[str, Any] = {"scale": np.ones(1), "floor": np.zeros((1, len(H)))} | changes
    return judge_coefficient(H[None], difference, **given)


def test_verdicts_on_a_line() -> None:
    assert judged(series(0.0, 0.0, 3.0, -1.0)).verdict == ("confirmed",)
    wrong = judged(series(0.0, 1e-6, 3.0, -1.0))
    assert wrong.verdict == ("refuted",)
    assert wrong.value[0, 0] == pytest.approx(1e-6, rel=1e-3)
    offset = judged(series(1e-9, 0.0, 3.0, -1.0))
    assert offset.verdict == ("refuted",)
    assert "h^0 is not zero" in offset.reason[0]


def test_second_power_needs_the_first_to_be_zero() -> None:
    fine = judged(series(0.0, 0.0, 3.0, -1.0), power=2, scale=None)
    assert fine.verdict == ("refuted",)
    assert fine.value[0, 0] == pytest.approx(3.0, rel=1e-9)
    spoiled = judged(series(0.0, 1e-3, 3.0, -1.0), power=2, scale=None)
    assert spoiled.verdict == ("inconclusive",)
    assert "coefficient of h^1 is not zero" in spoiled.reason[0]
    assert judged(series(0.0, 0.0, 0.0, 2.0, 1.0), power=2, scale=None).verdict == ("confirmed",)


@pytest.mark.parametrize("name", ["scale", "floor", "memory", "points"])
def test_what_cannot_be_known_is_inconclusive(name: str) -> None:
    difference, changes = series(0.0, 0.0, 3.0, -1.0), {}  # type: Floats, dict[str, Any]
    if name == "scale":
        changes["scale"] = np.full(1, 1e-20)
    elif name == "floor":
        changes["floor"] = np.full((1, len(H)), 1e-4)
    elif name == "memory":
        changes["memory"] = np.full(1, 0.11 / H.min())
    else:
        difference[0, 3:] = np.nan
    found = judged(difference, **changes)
    assert found.verdict == ("inconclusive",)
    words = {"memory": "needs h <=", "points": "3 usable steps"}.get(name, "is not small against")
    assert words in found.reason[0]
    # a wrong statement is not refuted on such data either
    wrong = series(0.0, 1e-6, 3.0, -1.0)
    wrong[np.isnan(difference)] = np.nan
    if name != "scale":
        assert judged(wrong, **changes).verdict != ("refuted",)


def test_a_problem_that_overflowed_is_inconclusive_and_alone() -> None:
    difference = np.repeat(series(0.0, 0.0, 3.0, -1.0), 3, axis=0)
    difference[1] = np.nan
    difference[2, :, 0] = 1e200
    h, memory = np.repeat(H[None], 3, axis=0), np.array([1.0, np.nan, np.inf])
    found = judge_coefficient(h, difference, np.zeros_like(h), np.ones(3), memory=memory)
    assert found.verdict == ("confirmed", "inconclusive", "inconclusive")
    assert found.reason[1].startswith("0 usable steps")
    assert "3 problems: 1 confirmed, 2 inconclusive" in found.explain()


def test_without_a_scale_the_difference_is_the_scale() -> None:
    assert judged(series(0.0, 0.0, 3.0), scale=None).verdict == ("confirmed",)
    coarse = 0.1 * 3.0 * H[None] ** 2
    assert judged(series(0.0, 0.0, 3.0), scale=None, floor=coarse).verdict == ("inconclusive",)
    assert np.isnan(judged(series(0.0, 0.0, 3.0), scale=np.zeros(1)).scale[0])


def test_an_irregular_coefficient_is_never_confirmed() -> None:
    """d = h (noise of a size that matters): every step has another coefficient."""
    rng = np.random.default_rng(0)
    size = 10.0 ** rng.uniform(-0.7, 1.0, (2000, 1, 1))
    h = np.repeat(H[None], 2000, axis=0)
    noise = rng.uniform(-1.0, 1.0, (2000, len(H), 2))
    difference = h[:, :, None] * size * noise + 3.0 * (h**2)[:, :, None]
    verdicts = judge_coefficient(h, difference, np.zeros_like(h), np.ones(2000)).verdict
    assert "confirmed" not in verdicts


def test_false_verdicts_are_rare_on_synthetic_expansions() -> None:
    """A coefficient of a twentieth of the scale is not confirmed to be zero, zero is not refuted: 0.5 % each."""
    data = draw(8_000, 11)
    verdicts = np.array(
        judge_coefficient(
            data.h, data.difference, data.floor, data.scale, memory=data.memory
        ).verdict
    )
    size = np.linalg.norm(data.limit, axis=1)
    zero, plain = size == 0.0, size >= 0.05
    assert (verdicts[zero] == "refuted").mean() <= 0.005
    assert (verdicts[plain] == "confirmed").mean() <= 0.005
    assert (verdicts[zero] == "confirmed").mean() >= 0.5
    assert (verdicts[plain] == "refuted").mean() >= 0.5


def test_between_one_and_three_bounds_nothing_is_said() -> None:
    floor = np.full((1, len(H)), 1e-9)
    bound = judged(series(0.0, 0.0, 3.0), floor=floor).bound[0, 0]
    for factor, verdict in ((0.5, "confirmed"), (2.0, "inconclusive"), (1.1 * CLEAR, "refuted")):
        assert judged(series(0.0, factor * bound, 3.0), floor=floor).verdict == (verdict,)


# the public record -------------------------------------------------------------------------------


def test_single_problem_and_ensemble_agree() -> None:
    loss = sb.Loss.random("sinusoid", dim=3, batches=2, problems=4, seed=1)
    theta0 = 0.3 * np.random.default_rng(0).normal(size=(4, 3))
    found = sb.leading_coefficient(ADAM, loss, theta0, 0.25, LADDER)
    alone = sb.leading_coefficient(ADAM, loss.select(2), theta0[2], 0.25, LADDER)
    assert found.value.shape == found.bound.shape == (4, 3)
    assert found.h.shape == found.floor.shape == found.used.shape == (4, 6)
    assert found.difference.shape == (4, 6, 3)
    assert alone.value.shape == alone.bound.shape == (3,)
    assert alone.difference.shape == (6, 3)
    np.testing.assert_allclose(alone.value, found.value[2], rtol=1e-12, atol=1e-300)
    assert alone.verdict == found.verdict[2]
    assert found.problem(2).explain() == alone.explain()
    np.testing.assert_array_equal(
        found.difference, sweep(ADAM, loss, theta0, 0.25, LADDER).difference
    )
    assert found.explain().startswith("4 problems: ")
    with pytest.raises(AttributeError):
        found.power = 3  # type: ignore[misc]


def test_explain_states_the_rule_and_the_numbers() -> None:
    text = sb.leading_coefficient(ADAM, LOSS, START, 0.25, LADDER).explain()
    for words in (
        "coefficient of h^1 in iterate(T) - flow(T) is zero",
        "norm of the bound",
        "leading field's own coefficient has norm",
        "beyond 3 bounds",
        "Verdict: confirmed",
    ):
        assert words in text
    short = sb.leading_coefficient(ADAM, LOSS, START, 0.25, [64, 128]).explain()
    assert "inconclusive: 2 usable steps" in short


def test_steps_of_the_tool_are_whole_cycles() -> None:
    loss = sb.Loss.random("log-cosh", dim=1, batches=3, seed=1)
    found = sb.leading_coefficient(sb.Adam(0.0, 0.3, eps=0.0, eps_root=0.1), loss, [0.4], 0.25)
    counts = np.rint(0.25 / found.h).astype(int)
    assert np.all(counts % 3 == 0)
    assert counts.max() >= 2048
    assert found.verdict in ("confirmed", ("confirmed",)), found.explain()


@pytest.mark.parametrize(
    "schedule", [sb.Cyclic(2), np.tile([1, 0], 800), np.tile([[0, 1]], (1, 800))]
)
def test_schedules_with_a_period_are_accepted(schedule: Any) -> None:
    found = sb.leading_coefficient(ADAM, LOSS, START, 0.25, LADDER, schedule)
    assert found.verdict in ("confirmed", ("confirmed",)), found.explain()


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("schedule", sb.Reshuffled(2, 1), ValueError, "schedule = Reshuffled(m=2, seed=1); accepted: the full batch"),
        ("schedule", sb.IID(2, 1), ValueError, "schedule = IID(m=2, seed=1); accepted: the full batch"),
        ("schedule", [0, 1, 1] * 30, ValueError, "schedule does not repeat after 2 steps; accepted"),
        ("schedule", [0] * 20, ValueError, "schedule has shape (20,); accepted"),
        ("steps", [8, 15, 32, 64], ValueError, "steps = 15; accepted: multiples of the 2 batches"),
        ("steps", 8, TypeError, "steps = 8; accepted: a sequence"),
        ("steps", [8, 8], ValueError, "repeats a count"),
        ("horizon", 0.0, ValueError, "horizon = 0.0; accepted: a number > 0"),
        ("power", 0, ValueError, "power = 0; accepted: an integer from 1 to 2"),
        ("power", 3, ValueError, "power = 3; accepted: an integer from 1 to 2"),
        ("power", True, TypeError, "power = True is a bool"),
        ("power", 1.0, TypeError, "power = 1.0 has type float"),
        ("order", 3, ValueError, "order = 3; accepted: 1 (leading field) or 2"),
        ("optimizer", None, TypeError, "optimizer = None"),
        ("loss", None, TypeError, "loss = None"),
        ("theta0", [0.1, 0.2], ValueError, "theta0 has shape (2,); accepted"),
        ("device", "tpu", ValueError, "device = 'tpu'; accepted: 'cpu', 'cuda'"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_before_work(
    name: str, value: Any, error: type, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any) -> None:
        raise AssertionError("work was begun before the arguments were checked")

    monkeypatch.setattr(measure_module, "for_each_block", work)
    plain: dict[str, Any] = {
        "optimizer": ADAM, "loss": LOSS, "theta0": START, "horizon": 0.25, "steps": [8, 16, 32, 64],
    }  # fmt: skip
    with pytest.raises(error) as caught:
        sb.leading_coefficient(**(plain | {name: value}))
    assert words in str(caught.value)
