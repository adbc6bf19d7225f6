"""measure_order: right statements are confirmed, wrong ones are not, and arguments are checked first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels import measure as measure_module
from stepbias.theory.optimizers import AdamFamily
from stepbias.theory.variants import Variant
from stepbias.verify.fit import fit_orders, pool_orders
from stepbias.verify.orders import default_steps
from stepbias.verify.sweep import sweep

LOSS = sb.Loss.random("sinusoid", dim=3, batches=2, seed=1)
START = np.array([0.1, 0.2, 0.3])
ADAM = sb.Adam(0.5, 0.7, eps=0.0, eps_root=1e-2)
LADDER = [16, 32, 64, 128, 181, 256, 362, 512]

FOUR: dict[str, AdamFamily] = {
    "Adam, epsilon inside": ADAM,
    "Adam, epsilon outside": sb.Adam(0.5, 0.7, eps=1e-1),
    "RMSProp, epsilon inside": sb.RMSProp(0.7, eps=0.0, eps_root=1e-2),
    "RMSProp, epsilon outside": sb.RMSProp(0.7, eps=1e-1),
}


@pytest.mark.parametrize("name", FOUR)
def test_theorems_are_confirmed(name: str) -> None:
    fit = sb.measure_order(FOUR[name], LOSS, START, 0.25, LADDER)
    assert fit.verdict == "confirmed", fit.explain()
    assert abs(fit.order - 2.0) < 0.1
    assert fit.interval[0] <= fit.order <= fit.interval[1]


@pytest.mark.parametrize("name", FOUR)
def test_leading_field_alone_is_of_order_one(name: str) -> None:
    fit = sb.measure_order(FOUR[name], LOSS, START, 0.25, LADDER, order=1)
    assert fit.verdict == "confirmed", fit.explain()
    assert abs(fit.order - 1.0) < 0.1


@pytest.mark.parametrize("name", FOUR)
@pytest.mark.parametrize(("order", "expected"), [(2, 3.0), (1, 2.0)])
def test_one_step_defects_are_confirmed(name: str, order: int, expected: float) -> None:
    fit = sb.measure_order(FOUR[name], LOSS, START, 0.25, LADDER, order=order, kind="local")
    assert fit.verdict == "confirmed", fit.explain()
    assert abs(fit.order - expected) < 0.15


@pytest.mark.parametrize(
    "variant",
    [
        Variant(bias=0.0),
        Variant(bias=-1.0),
        Variant(P=0.5),
        Variant(Lbar=0.0),
        Variant(short_memory=True),
        Variant(swap_eps=True),
        Variant(flip_bias_correction=True),
    ],
    ids=lambda variant: str(variant.name),
)
@pytest.mark.parametrize("name", FOUR)
def test_wrong_variants_are_not_confirmed(name: str, variant: Variant) -> None:
    found = sweep(FOUR[name], LOSS, START, 0.25, LADDER, variant=variant)
    fit = fit_orders(found.h, found.error, 2.0, floor=found.floor, memory=found.memory)[0]
    assert fit.verdict != "confirmed", fit.explain()
    if variant.bias <= 0.0:
        assert fit.verdict == "refuted", fit.explain()


def test_order_two_is_not_order_one() -> None:
    # order=1 is judged on both sides: an error of order 2 would not do.
    found = sweep(ADAM, LOSS, START, 0.25, LADDER)
    fit = fit_orders(found.h, found.error, 1.0, exact=True, floor=found.floor, memory=found.memory)[
        0
    ]
    assert fit.verdict == "refuted", fit.explain()


def test_too_coarse_a_ladder_is_inconclusive() -> None:
    # A memory of 1000 steps and at most 32 of them.
    fit = sb.measure_order(sb.Adam(0.9, 0.999, eps_root=1e-2), LOSS, START, 0.5, [4, 8, 16, 32])
    assert fit.verdict == "inconclusive"
    assert fit.reason


def test_single_problem_s_record() -> None:
    fit = sb.measure_order(ADAM, LOSS, START, 0.25, LADDER, sb.IID(2, 3))
    assert fit.h.tolist() == [0.25 / n for n in LADDER]
    assert fit.error.shape == fit.used.shape == (8,)
    assert fit.used.dtype == np.bool_
    assert fit.orders.tolist() == [fit.order]
    assert fit.level == 0.99
    assert fit.worst == 0
    expected = [sb.global_error(ADAM, LOSS, START, 0.25 / n, n, sb.IID(2, 3)) for n in LADDER[:5]]
    np.testing.assert_array_equal(fit.error[:5], expected)
    assert fit.explain() == fit.fits[0].explain()


def test_ensemble_is_pooled() -> None:
    loss = sb.Loss.random("sinusoid", dim=3, batches=2, problems=6, seed=1)
    theta0 = 0.3 * np.random.default_rng(0).normal(size=(6, 3))
    fit = sb.measure_order(ADAM, loss, theta0, 0.25, LADDER)
    assert fit.error.shape == fit.used.shape == (6, 8)
    assert fit.orders.shape == (6,)
    assert len(fit.fits) == 6
    pooled = pool_orders(fit.fits, 2.0)
    assert (fit.order, fit.verdict) == (pooled.order, pooled.verdict)
    assert fit.fits[fit.worst] in fit.fits
    alone = sb.measure_order(ADAM, loss.select(4), theta0[4], 0.25, LADDER)
    np.testing.assert_array_equal(fit.error[4], alone.error)
    assert fit.orders[4] == alone.order
    assert "6 problems" in fit.explain()
    assert f"Worst problem {fit.worst}" in fit.explain()


def test_one_row_is_an_ensemble_of_one() -> None:
    fit = sb.measure_order(ADAM, LOSS, START[None], 0.25, LADDER)
    assert fit.error.shape == (1, 8)
    assert fit.verdict == sb.measure_order(ADAM, LOSS, START, 0.25, LADDER).verdict


def test_order_of_the_ladder_does_not_matter() -> None:
    forward, backward = (
        sb.measure_order(ADAM, LOSS, START, 0.25, steps) for steps in (LADDER, LADDER[::-1])
    )
    assert forward.order == pytest.approx(backward.order, rel=1e-12)
    assert forward.verdict == backward.verdict
    assert backward.h.tolist() == forward.h.tolist()[::-1]


def test_default_ladder_resolves_the_memory() -> None:
    counts = default_steps(10.0, 1.0)
    assert counts == sorted(set(counts))
    assert counts[-1] == 2048  # 128 * 10 steps, rounded up to a power of 2
    assert counts[0] == 32
    assert default_steps(1000.0, 1.0)[-1] == 2**14  # the limit of cost
    assert default_steps(1.0, 1e-3)[-1] == 2**11
    fit = sb.measure_order(sb.Adam(0.0, 0.3, eps=0.0, eps_root=0.1), LOSS, START, 0.25)
    assert fit.h.tolist() == [0.25 / n for n in default_steps(1.0 / 0.7, 0.25)]
    assert fit.verdict == "confirmed"


def test_plot_draws_every_problem() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    loss = sb.Loss.random("sinusoid", dim=2, batches=2, problems=3, seed=1)
    axes = sb.measure_order(ADAM, loss, np.zeros((3, 2)), 0.25, LADDER[:4]).plot()
    assert len(axes.lines) >= 3
    axes.figure.clear()


# arguments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("optimizer", None, TypeError, "optimizer = None"),
        ("loss", None, TypeError, "loss = None"),
        ("theta0", [0.1, np.nan, 0.3], ValueError, "theta0 = [0.1, nan, 0.3] is not finite"),
        ("theta0", [0.1, 0.2], ValueError, "theta0 has shape (2,); accepted"),
        ("theta0", [["a"]], TypeError, "theta0 = [['a']]"),
        ("horizon", 0.0, ValueError, "horizon = 0.0; accepted: a number > 0"),
        ("horizon", -1.0, ValueError, "horizon = -1.0; accepted: a number > 0"),
        ("horizon", np.inf, ValueError, "horizon = inf is not finite; accepted: a number > 0"),
        ("horizon", "1", TypeError, "horizon = '1' has type str; accepted: a number > 0"),
        ("horizon", None, TypeError, "horizon = None has type NoneType; accepted"),
        ("horizon", [0.5, 1.0], ValueError, "horizon = [0.5, 1.0]; accepted: a number > 0"),
        ("steps", 8, TypeError, "steps = 8; accepted: a sequence"),
        ("steps", [8, 8], ValueError, "steps = [8, 8] repeats"),
        ("steps", [8, 0], ValueError, "steps = 0; accepted: an integer >= 1"),
        ("steps", [8, 16.0], TypeError, "steps = 16.0 has type float"),
        ("steps", [], ValueError, "steps = [] is empty"),
        ("steps", [8, 10**14], ValueError, "steps = 100000000000000 needs"),
        ("schedule", [0] * 20, ValueError, "schedule has shape (20,); accepted: (32,) or longer"),
        ("schedule", [2] * 40, ValueError, "schedule contains 2; accepted: indices 0 .. 1"),
        ("schedule", sb.Cyclic(5), ValueError, "has m = 5; the loss has 2"),
        ("schedule", 1.5, TypeError, "schedule = 1.5; accepted: Cyclic"),
        ("order", 0, ValueError, "order = 0; accepted: 1 (leading field) or 2"),
        ("order", True, ValueError, "order = True; accepted: 1"),
        ("order", "2", ValueError, "order = '2'; accepted: 1"),
        ("kind", "defect", ValueError, "kind = 'defect'; accepted: 'global', 'local'"),
        ("kind", None, ValueError, "kind = None; accepted: 'global', 'local'"),
        ("device", "cuda", ValueError, "device = 'cuda'; accepted: 'cpu'"),
        ("device", 0, ValueError, "device = 0; accepted: 'cpu'"),
    ],
)
def test_bad_arguments_are_refused_before_work(
    name: str, value: Any, error: type, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: Any) -> None:
        raise AssertionError("work was begun before the arguments were checked")

    monkeypatch.setattr(measure_module, "for_each_block", work)
    plain: dict[str, Any] = {
        "optimizer": ADAM,
        "loss": LOSS,
        "theta0": START,
        "horizon": 0.25,
        "steps": [8, 16, 32],
    }
    with pytest.raises(error) as caught:
        sb.measure_order(**(plain | {name: value}))
    assert words in str(caught.value)
