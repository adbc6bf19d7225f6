"""Fields of traced rules: grouped by batch and step by step, against the literal sums, against Adam's own kernels, and against closed forms."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import stepbias as sb
from stepbias.kernels import rule_code, rule_tables
from stepbias.kernels.blocks import prepare
from stepbias.kernels.traced import DenseRule, GroupedRule
from stepbias.theory import memory_limits
from stepbias.theory.general_memory import literal_field, literal_terms
from stepbias.theory.optimizer import Optimizer
from stepbias.theory.rule import UpdateRule
from stepbias.theory.variants import LEADING, STATEMENT, Variant
from tests import reference
from tests.memory_rules import OPTIMIZERS, UNIT, adabelief, adam_rule, scale, terms, tolerance

Floats = NDArray[np.float64]

THETA = np.array([0.6, -0.4, 0.9])
H = 0.1
# One of every form: states read after and before the step, a counter, a gradient read twice, a feed with theta.
GROUPED = ["heavy ball", "AdamW outside", "NAdam warming", "Lion tanh", "coupled decay"]


@pytest.fixture
def step_by_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A switch: from here on no sums are grouped."""
    original = rule_code.rule_code

    def switch() -> None:
        monkeypatch.setattr(rule_code, "rule_code", lambda rule: original(rule, False))

    return switch


def loss_of(batches: int) -> sb.Loss:
    return sb.Loss.random("log-cosh", dim=3, batches=batches, seed=8)


def field(
    optimizer: Any, loss: sb.Loss, n: int, schedule: Any, variant: Variant = STATEMENT
) -> Floats:
    return reference.compiled_field(optimizer, loss, THETA, n, H, schedule, variant)


def assert_literal(
    optimizer: Optimizer, loss: sb.Loss, n: int, schedule: Any, variant: Variant = STATEMENT
) -> None:
    found = terms(optimizer, loss, THETA, n, schedule, short_memory=variant.short_memory)
    gap = np.abs(field(optimizer, loss, n, schedule, variant) - literal_field(found, H, variant))
    size = max(1.0, abs(variant.memory), abs(variant.discretization))
    assert np.all(
        gap <= tolerance(optimizer, n) * size * scale(optimizer, loss, THETA, n, schedule, H)
    )


@pytest.mark.parametrize("batches", [1, 2, 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_field_is_the_literal_one(name: str, batches: int) -> None:
    optimizer, loss = OPTIMIZERS[name](), loss_of(batches)
    schedule = sb.Reshuffled(batches, seed=2).indices(9)
    for n in range(9):
        assert_literal(optimizer, loss, n, schedule)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_variants_change_the_literal_field_alike(name: str) -> None:
    optimizer, loss = OPTIMIZERS[name](), loss_of(2)
    schedule = sb.IID(2, seed=5).indices(12)
    for variant in (
        Variant(memory=-1.5),
        Variant(discretization=0.25),
        Variant(bias=0.5),
        Variant(short_memory=True),
        LEADING,
    ):
        for n in (0, 1, 7, 11):
            assert_literal(optimizer, loss, n, schedule, variant)


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("name", GROUPED)
def test_grouped_and_step_by_step_agree(
    name: str, batches: int, step_by_step: Callable[[], None]
) -> None:
    loss, schedule = loss_of(batches), sb.Reshuffled(batches, seed=3).indices(41)
    optimizer = OPTIMIZERS[name]()
    first = {(n, v.name): field(optimizer, loss, n, schedule, v)
             for n in (0, 5, 40) for v in (STATEMENT, Variant(short_memory=True))}  # fmt: skip
    rule = prepare(optimizer, loss, THETA, H, 41, schedule, "cpu").rule(optimizer, 0)
    assert isinstance(rule, GroupedRule)
    step_by_step()
    rule = prepare(optimizer, loss, THETA, H, 41, schedule, "cpu").rule(optimizer, 0)
    assert isinstance(rule, DenseRule)
    for n in (0, 5, 40):
        size = scale(optimizer, loss, THETA, n, schedule, H)
        for variant in (STATEMENT, Variant(short_memory=True)):
            other = field(optimizer, loss, n, schedule, variant)
            gap = np.abs(other - first[n, variant.name])
            assert np.all(gap <= tolerance(optimizer, n) * size)


FORGETFUL: dict[str, Callable[[], Optimizer]] = {
    "heavy ball": lambda: sb.HeavyBall(0.5),
    "NAdam": lambda: sb.NAdam(0.5, 0.6, 1e-2),
    "Lion": lambda: sb.SmoothLion(0.4, 0.6, 0.1, 0.5),
    "AdaBelief": lambda: Optimizer.define(
        adabelief, (0.0, 0.0), beta=0.5, rho=0.6, eps=1e-2, weight_decay=0.3
    ),
}


@pytest.mark.parametrize("name", FORGETFUL)
def test_steps_beyond_the_window_do_not_show(name: str) -> None:
    """0.6^82 < 2^-60: of 261 steps the kernels take 83, and some more for states that feed each other (which settle over as many again)."""
    optimizer, loss, n = FORGETFUL[name](), loss_of(3), 260
    schedule = sb.IID(3, seed=6).indices(n + 1)
    rule = prepare(optimizer, loss, THETA, H, n + 1, schedule, "cpu").rule(optimizer, 0)
    assert 2 * rule.window < n
    for variant in (STATEMENT, Variant(short_memory=True)):
        found = terms(optimizer, loss, THETA, n, schedule, short_memory=variant.short_memory)
        gap = np.abs(
            field(optimizer, loss, n, schedule, variant) - literal_field(found, H, variant)
        )
        # a few roundings a step of F (at most 2) and of sums of the window's steps times the Hessian and 1/D (at most 10 together)
        assert np.all(gap <= 8.0 * UNIT * n * (2.0 + 10.0 * H))


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize(("eps", "eps_root"), [(0.0, 1e-2), (1e-2, 0.0), (1e-2, 1e-3)])
def test_adam_by_its_rule_is_adam(
    grouped: bool, batches: int, eps: float, eps_root: float, step_by_step: Callable[[], None]
) -> None:
    if not grouped:
        step_by_step()
    ours = Optimizer.define(adam_rule, (0.0, 0.0), beta=0.8, rho=0.9, eps=eps, eps_root=eps_root)
    adam = sb.Adam(0.8, 0.9, eps, eps_root)
    loss, schedule = loss_of(batches), sb.Reshuffled(batches, seed=4).indices(61)
    for n in (0, 1, 2, 9, 40):
        size = scale(ours, loss, THETA, n, schedule, H)
        for variant in (STATEMENT, Variant(memory=0.5), Variant(discretization=-1.0), LEADING):
            gap = field(ours, loss, n, schedule, variant) - field(adam, loss, n, schedule, variant)
            assert np.all(np.abs(gap) <= tolerance(ours, n) * size)
    start, steps = np.array([[0.6, -0.4, 0.9], [0.1, 0.2, -0.3]]), 60
    paths = [sb.iterate(o, loss, start, 0.05, steps, schedule) for o in (ours, adam)]
    # one rounding of the position's size a step, and the field's own error, amplified by at most e^(steps h |H| / D) < 50
    np.testing.assert_allclose(paths[0], paths[1], rtol=0.0, atol=50.0 * 8.0 * steps * UNIT)


def product_of(loss: sb.Loss) -> Callable[[Floats], Floats]:
    return lambda v: loss.hvp(0, THETA, v)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_heavy_ball_on_the_full_batch(beta: float) -> None:
    """The O(h) term at step n is gamma_n times its limit, exactly."""
    loss, optimizer = loss_of(1), sb.HeavyBall(beta)
    limit = memory_limits.heavy_ball(loss.gradient(0, THETA), product_of(loss), beta)
    for n in range(9):
        part = 1.0 - beta ** (n + 1)
        expected = -(
            part * limit.leading + H * memory_limits.heavy_ball_gamma(beta, n) * limit.correction
        )
        found = field(optimizer, loss, n, np.zeros(9, dtype=np.int64))
        # gamma_n is a difference of numbers of order one that is as small as (1 - beta)^3
        allowed = 64.0 * UNIT * (np.abs(limit.leading) + H * np.abs(limit.correction))
        assert np.all(np.abs(found - expected) <= allowed)


LIMITS: dict[str, tuple[Callable[[], Any], Callable[[Floats, Any], memory_limits.LimitField]]] = {
    "gradient descent": (sb.GradientDescent, memory_limits.gradient_descent),
    "heavy ball": (lambda: sb.HeavyBall(0.6), lambda g, H: memory_limits.heavy_ball(g, H, 0.6)),
    "Nesterov": (lambda: sb.Nesterov(0.6), lambda g, H: memory_limits.nesterov(g, H, 0.6)),
    "Adam": (lambda: sb.Adam(0.6, 0.7, 1e-2), lambda g, H: memory_limits.adamw(g, H, 0.6, 0.7, 1e-2)),
    "AdamW": (
        lambda: sb.AdamW(0.6, 0.7, 1e-2, 1e-3, 0.3),
        lambda g, H: memory_limits.adamw(g, H, 0.6, 0.7, 1e-2, 1e-3, 0.3, THETA),
    ),
    "NAdam": (
        lambda: sb.NAdam(0.6, 0.7, 0.0, 1e-2),
        lambda g, H: memory_limits.nadam(g, H, 0.6, 0.7, 0.0, 1e-2),
    ),
    "NAdam warming": (
        lambda: sb.NAdam(0.6, 0.7, 0.0, 1e-2, psi=5.0),
        lambda g, H: memory_limits.nadam(g, H, 0.6, 0.7, 0.0, 1e-2),
    ),
    "Lion": (
        lambda: sb.SmoothLion(0.6, 0.7, 0.1, 0.5, "tanh"),
        lambda g, H: memory_limits.smooth_lion(g, H, 0.6, 0.7, 0.1, 0.5, "tanh", THETA),
    ),
    "Signum": (
        lambda: sb.SmoothSignum(0.6, 0.1),
        lambda g, H: memory_limits.smooth_signum(g, H, 0.6, 0.1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_full_batch_limits(name: str) -> None:
    make, closed = LIMITS[name]
    loss = loss_of(1)
    expected = closed(loss.gradient(0, THETA), product_of(loss)).rate(H)
    n = 250  # 0.7^250 and 0.96^(5 n) are below 1e-22
    found = field(make(), loss, n, np.zeros(n + 1, dtype=np.int64))
    size = np.abs(expected).max() + 1.0
    assert np.all(np.abs(found - expected) <= 64.0 * UNIT * (n + 8) * size)


SETTLING: dict[str, Callable[[], Optimizer]] = {
    "heavy ball": lambda: sb.HeavyBall(0.6),
    "AdamW": lambda: sb.AdamW(0.5, 0.6, 1e-2, 0.0, 0.3),
    "NAdam": lambda: sb.NAdam(0.5, 0.6, 1e-2),
    "Lion": lambda: sb.SmoothLion(0.4, 0.6, 0.1, 0.5),
    "growing decay": OPTIMIZERS["coupled decay"],
}


@pytest.mark.parametrize("name", SETTLING)
def test_settled_tables_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full batch: the sums collapse once no direction in memory depends on its step, to the same field."""
    loss, n, optimizer = loss_of(1), 260, SETTLING[name]()
    schedule = np.zeros(n + 1, dtype=np.int64)
    rule = prepare(optimizer, loss, THETA, H, n + 1, None, "cpu").rule(optimizer, 0)
    collapsed = field(optimizer, loss, n, schedule)
    monkeypatch.setattr(rule_tables, "_TABLES", OrderedDict())  # not those just made
    monkeypatch.setattr(rule_tables, "_constant_from", lambda *_: n + 1)
    summed = field(optimizer, loss, n, schedule)
    again = prepare(optimizer, loss, THETA, H, n + 1, None, "cpu").rule(optimizer, 0)
    assert again.settled == n + 1
    assert (rule.settled <= n) == (name != "growing decay")
    # the window holds 82 steps; U, the Hessian and 1/D are of order 10 at most here, and T_n - T_k loses a unit of T_n
    allowed = 8.0 * UNIT * n * (np.abs(summed).max() + 10.0 * H * n)
    assert np.all(np.abs(collapsed - summed) <= allowed)


@pytest.mark.parametrize("order", [[1, 0], [2, 0, 1], [0, 0, 1]], ids=str)
@pytest.mark.parametrize("name", SETTLING)
def test_an_order_that_repeats_changes_nothing(
    name: str, order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mini-batches: from where every direction in memory is that of the step m later, one cycle gives the same field as the whole window."""
    loss, optimizer, steps = loss_of(len(order)), SETTLING[name](), 400
    schedule = np.resize(order, steps)
    rule = prepare(optimizer, loss, THETA, H, steps, schedule, "cpu").rule(optimizer, 0)
    assert isinstance(rule, GroupedRule)
    if name == "growing decay":
        assert rule.repeats == steps
        return
    # two windows, the coefficients' own transient, and a cycle
    assert 2 * rule.window <= rule.repeats <= 3 * rule.window + len(order)
    # fields are asked for at the last step: the tables that end there
    at = range(rule.repeats + 1, rule.repeats + 1 + len(order))
    kept = {n: field(optimizer, loss, n, schedule[: n + 1]) for n in at}
    monkeypatch.setattr(rule_tables, "_TABLES", OrderedDict())  # not those just made
    monkeypatch.setattr(rule_tables, "one_cycle_pays", lambda *_: False)
    for n, one_cycle in kept.items():
        summed = field(optimizer, loss, n, schedule[: n + 1])
        allowed = 8.0 * UNIT * n * (np.abs(summed).max() + 10.0 * H * n)
        assert np.all(np.abs(one_cycle - summed) <= allowed)
        leading = field(optimizer, loss, n, schedule[: n + 1], LEADING)
        # what is compared is there: the O(h) part is far above what is allowed
        assert np.abs(summed - leading).max() > 1e6 * allowed


def test_a_large_start_is_forgotten_first() -> None:
    """The cycle waits until what is left of the start vanishes beside gradients of order 1."""
    loss, schedule = loss_of(2), np.resize([0, 1], 600)

    def define(start: float) -> Optimizer:
        return Optimizer.define(lambda g, s, n, theta, q: (0.6 * s[0] + g, (0.6 * s[0] + g,)), (start,))  # fmt: skip

    near, far = (
        prepare(define(s), loss, THETA, H, 600, schedule, "cpu").rule(define(s), 0)
        for s in (1.0, 1e30)
    )
    assert near.repeats + 100 < far.repeats < 600
    n = far.repeats
    one_cycle = field(define(1e30), loss, n, schedule)
    without = field(define(0.0), loss, n, schedule)
    assert np.all(np.abs(one_cycle - without) <= 64.0 * UNIT * n)


def test_bias_corrected_rules_settle_at_once() -> None:
    for optimizer in (sb.AdamW(0.9, 0.999), sb.AdamW(0.5, 0.9, 0.0, 1.0)):
        rule = prepare(optimizer, loss_of(1), THETA, H, 3000, None, "cpu").rule(optimizer, 0)
        assert rule.settled == 0
    heavy = sb.HeavyBall(0.9)
    rule = prepare(heavy, loss_of(1), THETA, H, 3000, None, "cpu").rule(heavy, 0)
    # settled where 0.9^n is below the rounding of the weights, a few units over 1 - 0.9
    assert 1e-15 < 0.9 ** (rule.settled - rule.window) < 1e-13
    assert (
        prepare(optimizer, loss_of(2), THETA, H, 3000, None, "cpu").rule(optimizer, 0).settled
        == 3000
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_problems_do_not_depend_on_their_neighbours(name: str) -> None:
    optimizer = OPTIMIZERS[name]()
    count, steps = 37, 12
    losses = sb.Loss.random("log-cosh", dim=3, batches=2, problems=count, seed=1)
    start = np.random.Generator(np.random.Philox(key=3)).normal(size=(count, 3))
    together = sb.global_error(optimizer, losses, start, 0.02, steps)
    for k in (0, 17, 36):
        alone = sb.global_error(optimizer, losses.select([k]), start[[k]], 0.02, steps)
        assert alone[0] == together[k]


def test_parameters_per_problem() -> None:
    beta = np.array([0.5, 0.9, 0.5])
    losses = sb.Loss.random("log-cosh", dim=2, batches=2, problems=3, seed=1)
    start = np.array([[0.1, 0.2], [0.3, -0.4], [0.5, 0.6]])
    together = sb.vector_field(sb.HeavyBall(beta), losses, start, 6, 0.1)
    for k in range(3):
        alone = sb.vector_field(sb.HeavyBall(beta[k]), losses.select([k]), start[[k]], 6, 0.1)
        np.testing.assert_array_equal(alone[0], together[k])
    with pytest.raises(ValueError, match=r"leading axes disagree"):
        sb.vector_field(sb.HeavyBall(beta), losses.select([0, 1]), start[:2], 6, 0.1)


def test_a_component_without_gradient_stays_where_it_is() -> None:
    """R = 0: every gradient in the memory vanishes, and so does the change of R."""
    loss = sb.Loss.from_sympy(["sin(x)", "cos(x)"], "x y")
    for optimizer in (sb.AdamW(0.8, 0.9, 1e-2, 0.0, 0.0), sb.NAdam(0.8, 0.9, 1e-2)):
        found = sb.vector_field(optimizer, loss, [0.3, 0.7], 5, 0.1)
        assert found[1] == 0.0
        assert np.isfinite(found[0])


def test_a_code_serves_all_parameters() -> None:
    first, second = sb.AdamW(0.8, 0.9), sb.AdamW(0.5, 0.6, 1e-3, 1e-2, 0.2)
    assert rule_code.rule_code(first.rule) is rule_code.rule_code(second.rule)


def test_coefficients_must_be_finite() -> None:
    def update(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
        return g / (n - 20), ()  # the comparison at definition does not ask at n = 20

    optimizer = Optimizer.define(update, ())
    sb.iterate(optimizer, sb.Loss.bilinear(), [1.0, 2.0], 0.1, 20)
    with pytest.raises(ValueError, match=r"coefficient .* = inf at step n = 20"):
        sb.iterate(optimizer, sb.Loss.bilinear(), [1.0, 2.0], 0.1, 21)


def test_rules_of_one_linear_form_are_told_apart() -> None:
    forms = {name: make().rule for name, make in OPTIMIZERS.items()}
    assert [name for name, rule in forms.items() if rule.linear is None] == ["AdaBelief"]
    after = {name for name, rule in forms.items() if rule.linear and rule.linear.after}
    assert "Lion soft" not in after
    assert {"heavy ball", "AdamW inside", "NAdam", "Signum tanh"} <= after
    assert forms["NAdam warming"].counters == (2,)
    assert isinstance(forms["NAdam"], UpdateRule)


def test_memory_terms_are_adams() -> None:
    with pytest.raises(TypeError, match=r"optimizer = HeavyBall.*accepted: an Adam or an RMSProp"):
        sb.memory_terms(sb.HeavyBall(0.9), sb.Loss.bilinear(), [1.0, 2.0], 3)


@pytest.mark.parametrize(
    "variant", [Variant(L=0.5), Variant(M=2.0), Variant(swap_eps=True), Variant(flip_bias_correction=True)],
    ids=lambda v: str(v.name),
)  # fmt: skip
def test_terms_that_only_adam_has_are_refused(variant: Variant) -> None:
    with pytest.raises(
        ValueError, match=r"variant = .* with optimizer = HeavyBall.*Adam and RMSProp only"
    ):
        field(sb.HeavyBall(0.9), loss_of(1), 3, np.zeros(4, dtype=np.int64), variant)
    assert replace(variant, L=1.0, M=1.0, swap_eps=False, flip_bias_correction=False) == STATEMENT


def test_tables_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 1000)  # a machine with a megabyte
    with pytest.raises(ValueError, match=r"steps = 5000 needs .* GiB for the tables of 2 states"):
        sb.global_error(sb.AdamW(), sb.Loss.bilinear(), [1.0, 2.0], 1e-4, 5000)


def _against_the_literal(
    optimizer: Optimizer, loss: sb.Loss, theta: Any, steps: tuple[int, ...]
) -> None:
    for n in steps:
        schedule = sb.Cyclic(loss.batches).indices(n + 1)
        found = sb.vector_field(optimizer, loss, theta, n, 0.01, schedule)
        expected = literal_field(literal_terms(optimizer, loss, theta, n, schedule), 0.01)
        # sums of at most n + 1 terms of the size of the largest
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("length", [2, 3, 10])
def test_a_delay_line_forgets_after_its_own_length(length: int, batches: int) -> None:
    """Its states shrink by the factor 0, and still remember."""

    def delayed(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
        return 0.3 * g + state[0], (*state[1:], g)

    optimizer = Optimizer.define(delayed, state=(0.0,) * length)
    loss = sb.Loss.random("sinusoid", 3, batches, seed=1)
    _against_the_literal(optimizer, loss, np.array([0.4, -0.7, 1.1]), (1, 7, 25))


def test_states_in_a_chain_remember_longer_than_one() -> None:
    def chained(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
        new = [q.b * state[0] + g]
        for s in state[1:]:
            new.append(q.b * s + new[-1] ** 2 / 4 + new[-1])
        return new[-1], tuple(new)

    optimizer = Optimizer.define(chained, state=(0.0,) * 4, b=0.2)
    loss = sb.Loss.random("sinusoid", 2, 2, seed=3)
    _against_the_literal(optimizer, loss, np.array([0.3, -0.2]), (30, 90))


def test_memory_that_never_fades_is_not_taken_for_constant() -> None:
    def adagrad(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
        v = state[0] + g**2
        return g / (v + 0.1) ** 0.5, (v,)

    with pytest.warns(UserWarning, match="does not decay"):
        optimizer = Optimizer.define(adagrad, state=(0.0,))
    loss = sb.Loss.random("sinusoid", 3, 1, seed=1)
    _against_the_literal(optimizer, loss, np.array([0.4, -0.7, 1.1]), (5, 50))


def test_a_narrow_smooth_sign_is_not_taken_for_constant() -> None:
    """Gradients of the size of its width: there its direction still grows with the steps."""
    loss = sb.Loss.from_sympy(["1e-6 * (sin(x) * y + y**2 / 2)"], "x y")
    _against_the_literal(
        sb.SmoothSignum(0.9, 1e-6, "tanh"), loss, np.array([0.4, -0.7]), (1, 3, 10)
    )
