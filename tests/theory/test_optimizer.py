"""``Optimizer.define``: what is accepted, what is refused, what is told."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.theory.optimizer import Optimizer
from stepbias.theory.rule import UpdateRule

NOT_SMOOTH = r"two continuous derivatives"


def momentum(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    m = q.beta * state[0] + g
    return m, (m,)


def test_parameters_are_attributes_and_nothing_changes() -> None:
    given = np.array([0.5, 0.9])
    optimizer = Optimizer.define(momentum, (0.0,), beta=given)
    given[0] = 7.0
    assert optimizer.beta.tolist() == [0.5, 0.9]
    assert optimizer.name == "momentum"
    assert optimizer.parameter_names == ("beta",)
    assert isinstance(optimizer.rule, UpdateRule)
    np.testing.assert_array_equal(optimizer.decay, [0.5, 0.9])
    assert optimizer.take(np.array([1, 1, 0])).beta.tolist() == [0.9, 0.9, 0.5]
    with pytest.raises(AttributeError, match="beta cannot be set"):
        optimizer.beta = 0.1
    with pytest.raises(ValueError, match="read-only"):
        optimizer.beta[0] = 0.1
    assert repr(optimizer) == "momentum(beta=<2 values>)"
    assert repr(Optimizer.define(momentum, [0.0], beta=0.25)) == "momentum(beta=0.25)"
    assert repr(pickle.loads(pickle.dumps(optimizer))) == repr(optimizer)


def test_a_rule_is_one_rule_for_all_parameters() -> None:
    calls = []

    def counted(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
        calls.append(type(g).__name__)
        return q.c * g, ()

    first, second = Optimizer.define(counted, (), c=1.0), Optimizer.define(counted, (), c=2.0)
    assert first.rule is second.rule
    assert calls.count("Traced") == 4  # twice each, to see that it does the same


ROUGH: dict[str, Callable[..., Any]] = {
    "absolute value": lambda g, s, n, t, q: (abs(g), ()),
    "maximum": lambda g, s, n, t, q: (max(g, 0.0), ()),
    "comparison": lambda g, s, n, t, q: (g if g > 0 else -g, ()),
    "equality": lambda g, s, n, t, q: (g if n == 0 else 2 * g, ()),
    "truth": lambda g, s, n, t, q: (g or t, ()),
    "sign": lambda g, s, n, t, q: (np.sign(g), ()),
    "NumPy's maximum": lambda g, s, n, t, q: (np.maximum(g, 0.0), ()),
    "rounding": lambda g, s, n, t, q: (round(g), ()),
    "remainder": lambda g, s, n, t, q: (g * (n % 2), ()),
    "value": lambda g, s, n, t, q: (float(g), ()),
}


@pytest.mark.parametrize("name", ROUGH)
def test_what_is_not_smooth_raises(name: str) -> None:
    with pytest.raises(TypeError, match=NOT_SMOOTH):
        Optimizer.define(ROUGH[name], ())


def test_a_root_of_a_square_is_an_absolute_value() -> None:
    with pytest.raises(ValueError, match=NOT_SMOOTH):
        Optimizer.define(lambda g, s, n, t, q: (sb.sqrt(g**2), ()), ())


HIDDEN = {"count": 0}


def _counting(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    HIDDEN["count"] += 1
    return g * HIDDEN["count"], ()


def _branching(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    return (g if type(g) is float else 2 * g), ()


BAD: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
    (3, (), {}, TypeError, "update = 3; accepted: a function"),
    (momentum, "ab", {"beta": 0.5}, TypeError, "state = 'ab'"),
    (momentum, 0.0, {"beta": 0.5}, TypeError, "state = 0.0"),
    (momentum, (np.nan,), {"beta": 0.5}, ValueError, "state = .*not finite"),
    (momentum, ((0.0, 1.0),), {"beta": 0.5}, ValueError, "state = "),
    (momentum, (0.0,), {}, AttributeError, "q.beta is no parameter; accepted: none"),
    (momentum, (0.0,), {"rho": 0.5}, AttributeError, "q.beta is no parameter; accepted: rho"),
    (momentum, (0.0,), {"beta": "x"}, TypeError, "beta = 'x'"),
    (momentum, (0.0,), {"beta": np.inf}, ValueError, "beta = inf"),
    (momentum, (0.0,), {"beta": np.ones((2, 2))}, ValueError, "beta has shape"),
    (momentum, (0.0,), {"beta": 0.5, "decay": 1.0}, ValueError, "'decay': this name is taken"),
    (momentum, (0.0, 0.0), {"beta": 0.5}, ValueError, "a tuple of 2 as state is"),
    (lambda g, s, n, t, q: g, (), {}, ValueError, "update returned .*accepted"),
    (lambda g, s, n, t, q: ("x", ()), (), {}, ValueError, "'x' of type str"),
    (lambda g, s, n, t, q: (g * True, ()), (), {}, TypeError, "unsupported operand"),
    (lambda g, s, n, t, q: (sb.log(g), ()), (), {}, ValueError, "finite and real for every g"),
    (lambda g, s, n, t, q: (1 / g, ()), (), {}, ValueError, "finite and real for every g"),
    (lambda g, s, n, t, q: (g / n, ()), (), {}, ValueError, "n = 0.*finite and real for every g"),
    (lambda g, s, n, t, q: (g**300, ()), (), {}, ValueError, "finite and real for every g"),
    (lambda g, s, n, t, q: (g**0.5, ()), (), {}, ValueError, "finite and real for every g"),
    (lambda g, s: (g, ()), (), {}, TypeError, r"accepted: a function \(g, state, n, theta, q\)"),
    (lambda g, s, n, t, q: (g / 0, ()), (), {}, ValueError, "not real and finite"),
    (lambda g, s, n, t, q: (g * float("inf"), ()), (), {}, ValueError, "the number inf"),
    (_counting, (), {}, ValueError, "when it is called again"),
    (_branching, (), {}, ValueError, "without branches"),
    (momentum, (0.0,), {"beta": 1.5}, ValueError, "grows by a factor 1.5 a step"),
    (momentum, (0.0,), {"beta": np.array([0.5, -1.5])}, ValueError, "grows by a factor"),
]


@pytest.mark.parametrize("case", range(len(BAD)))
def test_unusable_rules_are_refused(case: int) -> None:
    update, state, parameters, kind, told = BAD[case]
    with pytest.raises(kind, match=told):
        Optimizer.define(update, state, **parameters)


def _adagrad(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    total = state[0] + g**2
    return g / sb.sqrt(total + q.eps), (total,)


def _increasing(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    m = n / (n + 3) * state[0] + g
    return m, (m,)


@pytest.mark.parametrize(
    ("update", "parameters"),
    [(_adagrad, {"eps": 1e-3}), (_increasing, {}), (momentum, {"beta": 1.0})],
)
def test_memory_that_does_not_decay_is_told(update: Any, parameters: Any) -> None:
    with pytest.warns(UserWarning, match="does not decay") as caught:
        optimizer = Optimizer.define(update, (0.0,), **parameters)
    assert caught[0].filename == __file__
    assert optimizer.decay == pytest.approx(1.0, abs=1e-9)
    assert np.all(np.isfinite(sb.vector_field(optimizer, sb.Loss.bilinear(), [1.0, 2.0], 5, 0.1)))


def test_a_counter_is_no_memory() -> None:
    def update(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
        count, m = state[0] + 1, 0.5 * state[1] + 0.5 * g
        return m / (1 - 0.5**count), (count, m, state[2] + g**2)  # the third state is not read

    optimizer = Optimizer.define(update, (0.0, 0.0, 0.0))
    assert optimizer.rule.counters == (0,)
    assert optimizer.rule.live == (1,)
    assert optimizer.decay == 0.5


def test_decay_without_a_simple_form_is_estimated() -> None:
    def update(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
        m = 0.8 * sb.tanh(state[0]) + g
        return m, (m,)

    optimizer = Optimizer.define(update, (0.0,))
    # the factor is 0.8 (1 - tanh^2): its geometric mean lies below 0.8
    assert 0.1 < optimizer.decay < 0.8


# the shipped ones -----------------------------------------------------------------------------------


def test_defaults_and_names() -> None:
    assert (
        repr(sb.AdamW()) == "AdamW(beta=0.9, rho=0.999, eps=1e-08, eps_root=0.0, weight_decay=0.01)"
    )
    assert repr(sb.NAdam()) == "NAdam(beta=0.9, rho=0.999, eps=1e-08, eps_root=0.0)"
    assert sb.NAdam(psi=0.004).psi == 0.004
    lion = sb.SmoothLion(0.9, 0.99, 0.1, shape="tanh")
    assert (lion.weight_decay, lion.shape) == (0.0, "tanh")
    assert repr(sb.SmoothSignum(0.9, 0.1)) == "SmoothSignum(beta=0.9, delta=0.1, shape='soft')"
    assert repr(sb.GradientDescent()) == "GradientDescent()"
    assert isinstance(sb.Nesterov(0.5), sb.Optimizer)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: sb.HeavyBall(1.0), r"beta = 1.0; accepted"),
        (lambda: sb.HeavyBall(-0.1), r"beta = -0.1"),
        (lambda: sb.Nesterov(2.0), r"beta = 2.0"),
        (lambda: sb.AdamW(rho=1.0), r"rho = 1.0"),
        (lambda: sb.AdamW(eps=0.0), r"are both 0"),
        (lambda: sb.AdamW(weight_decay=-1.0), r"weight_decay = -1.0"),
        (lambda: sb.NAdam(psi=0.0), r"psi = 0.0"),
        (lambda: sb.NAdam(eps=-1.0), r"eps = -1.0"),
        (lambda: sb.SmoothLion(0.9, 0.99, 0.0), r"delta = 0.0"),
        (lambda: sb.SmoothLion(0.9, 1.0, 0.1), r"beta_2 = 1.0"),
        (lambda: sb.SmoothLion(0.9, 0.99, 0.1, shape="hard"), r"shape = 'hard'; accepted: 'soft', 'tanh'"),
        (lambda: sb.SmoothSignum(0.9, -1.0), r"delta = -1.0"),
        (lambda: sb.SmoothSignum(0.9, 0.1, "sign"), r"shape = 'sign'"),
    ],
)  # fmt: skip
def test_parameters_out_of_range_are_named(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


def test_a_rule_that_refers_to_something_is_traced_as_it_is_now() -> None:
    factor = [1.0]

    class Scaled:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, g: Any, s: Any, n: Any, t: Any, q: Any) -> Any:
            return factor[0] * g, ()

    update = Scaled()
    first = Optimizer.define(update, state=())
    factor[0] = 2.0
    second = Optimizer.define(update, state=())
    arguments = (3.0, 0.0, 0.0)  # g, n, theta
    assert [x.rule.function(*arguments)[0] for x in (first, second)] == [3.0, 6.0]
    # equal expressions are one rule, compiled once
    factor[0] = 1.0
    assert Optimizer.define(update, state=()).rule is first.rule


@pytest.mark.parametrize(
    "states",
    [
        lambda g, s: 1.2 * s / (1 + g * g) + g,  # only where gradients are small
        lambda g, s: s**2 + 0.5 * s + g,  # until it overflows
    ],
)
def test_memory_that_grows_somewhere_is_refused(states: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="grows by a factor"):
        Optimizer.define(lambda g, s, n, t, q: (s[0], (states(g, s[0]),)), (0.0,))


@pytest.mark.parametrize("name", ["", "x y", "1a"])
def test_parameter_names_are_those_of_attributes(name: str) -> None:
    with pytest.raises(ValueError, match=r"names that q\.name can have"):
        Optimizer.define(lambda g, s, n, t, q: (g, ()), (), **{name: 1.0})
