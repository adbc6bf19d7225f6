"""measure_order: right statements are confirmed, wrong ones are not, and arguments are checked first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels import measure as measure_module
from stepbias.theory.optimizers import AdamFamily
from stepbias.theory.variants import LEADING, Variant
from stepbias.verify import orders
from stepbias.verify.fit import fit_orders, pool_orders
from stepbias.verify.orders import default_steps
from stepbias.verify.relabelling import sweep_copies
from stepbias.verify.sweep import Sweep, sweep

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
    schedule = sb.Reshuffled(2, 3)
    fit = sb.measure_order(ADAM, LOSS, START, 0.25, LADDER, schedule)
    assert fit.h.tolist() == [0.25 / n for n in LADDER]
    assert fit.error.shape == fit.used.shape == (8,)
    assert fit.used.dtype == np.bool_
    assert fit.orders.tolist() == [fit.order]
    assert fit.level == 0.99
    assert fit.worst == 0
    expected = [sb.global_error(ADAM, LOSS, START, 0.25 / n, n, schedule) for n in LADDER[:5]]
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


# random orders -----------------------------------------------------------------------------------

DOUBLING = [64 * 2**k for k in range(6)]


def random_problems(count: int, seed: int) -> tuple[sb.Loss, Any]:
    loss = sb.Loss.random("sinusoid", dim=3, batches=3, problems=count, seed=seed)
    return loss, 0.3 * np.random.default_rng(seed).normal(size=(count, 3))


@pytest.mark.parametrize("single", [True, False])
def test_iid_errors_are_root_mean_squares_over_relabelled_copies(single: bool) -> None:
    loss, theta0 = random_problems(2, 1)
    schedule, steps = sb.IID(3, 5), [16, 32, 64, 128]
    beta, rho, eps_root = np.array([0.5, 0.3]), np.array([0.7, 0.8]), 1e-2
    optimizers = [sb.Adam(b, r, eps=0.0, eps_root=eps_root) for b, r in zip(beta, rho, strict=True)]
    if single:
        fit = sb.measure_order(optimizers[1], loss.select(1), theta0[1], 0.25, steps, schedule)
        assert fit.error.shape == fit.used.shape == fit.h.shape == (4,)
    else:
        every = sb.Adam(beta, rho, eps=0.0, eps_root=eps_root)
        fit = sb.measure_order(every, loss, theta0, 0.25, steps, schedule)
        assert fit.error.shape == fit.used.shape == (2, 4)
        assert fit.sweep.difference.shape == (2, 4, 3)
        assert fit.orders.shape == (2,)
    for k, row in [(1, fit.error)] if single else enumerate(fit.error):
        for n, error in zip(steps, row, strict=True):
            copies = [
                sb.global_error(
                    optimizers[k], loss.select(k), theta0[k], 0.25 / n, n, (schedule.indices(n) + s) % 3
                )
                for s in range(3)
            ]  # fmt: skip
            assert error == pytest.approx(np.sqrt(np.mean(np.square(copies))), rel=1e-9)


@pytest.mark.parametrize(("seed", "problem"), [(2, 22), (3, 89)])
def test_true_statements_are_not_refuted_on_iid_schedules(seed: int, problem: int) -> None:
    """Of 600 problems these two looked refuted on single draws: of order 2, with slopes that end at 1.95 and 1.58."""
    loss, theta0 = random_problems(150, seed)
    rows = np.arange(problem - 7, problem + 8)
    chosen = loss.select(rows)
    alone = sweep(ADAM, chosen, theta0[rows], 0.5, DOUBLING, sb.IID(3, seed))
    once = fit_orders(alone.h, alone.error, 2.0, floor=alone.floor, memory=alone.memory)
    assert once[7].verdict == "refuted"
    fit = sb.measure_order(ADAM, chosen, theta0[rows], 0.5, DOUBLING, sb.IID(3, seed))
    verdicts = [one.verdict for one in fit.fits]
    assert verdicts.count("refuted") == 0
    assert fit.verdict != "refuted"
    assert verdicts.count("confirmed") >= 5


@pytest.mark.parametrize("schedule", [sb.IID(3, 1), sb.Reshuffled(3, 1)])
def test_a_field_of_order_one_is_still_refuted_on_random_orders(
    schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "of_order", lambda order: LEADING)
    loss, theta0 = random_problems(12, 2)
    fit = sb.measure_order(ADAM, loss, theta0, 0.5, DOUBLING, schedule)
    assert fit.verdict == "refuted"
    assert [one.verdict for one in fit.fits].count("refuted") >= 8


class Looks:
    """Measurements whose errors are made up: by the number of the look and the problem, as a power of h."""

    def __init__(self, *powers: list[float]) -> None:
        self.powers = powers
        self.given: list[tuple[Any, ...]] = []

    def __call__(self, *given: Any, **options: Any) -> Sweep:
        found = sweep_copies(*given, **options)
        powers = np.array(self.powers[len(self.given)])[:, None]
        self.given.append(given)
        return replace(found, error=found.h**powers, floor=1e-12 * found.h**powers)


BAD, GOOD = 1.0, 2.0
STEPS = [128, 256, 512, 1024]


def explicit(entries: int) -> Any:
    return np.random.default_rng(3).integers(0, 3, (4, entries))


@pytest.mark.parametrize(
    "schedule", [sb.IID(3, 1), sb.Reshuffled(3, 1), explicit(4096)], ids=["iid", "reshuffled", "array"]
)  # fmt: skip
def test_what_looks_refuted_on_a_random_order_is_looked_at_again(
    schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks([GOOD, BAD, GOOD, BAD], [BAD, GOOD])
    monkeypatch.setattr(orders, "sweep_copies", looks)
    loss, theta0 = random_problems(4, 1)
    beta = np.array([0.5, 0.4, 0.3, 0.2])
    optimizer = sb.Adam(beta, 0.7, eps=0.0, eps_root=1e-2)
    fit = sb.measure_order(optimizer, loss, theta0, 0.5, STEPS, schedule)
    assert [one.verdict for one in fit.fits] == ["confirmed", "refuted", "confirmed", "inconclusive"]  # fmt: skip
    assert fit.fits[3].reason.startswith("looks refuted, interval [")
    assert "but at 4 times the steps it is confirmed: interval [" in fit.fits[3].reason
    assert fit.verdict == "refuted"
    assert fit.worst == 1
    # of the first look
    assert fit.error.shape == fit.used.shape == (4, 4)
    assert fit.h.tolist() == [0.5 / n for n in STEPS]
    _, (again, few, start, horizon, steps, order, _) = looks.given
    assert steps == [4 * n for n in STEPS]
    assert horizon == 0.5
    assert again.beta.tolist() == [0.4, 0.2]
    assert few.problems == 2
    np.testing.assert_array_equal(start, theta0[[1, 3]])
    np.testing.assert_array_equal(few.gradient(0, start), loss.gradient(0, theta0)[[1, 3]])
    if isinstance(schedule, np.ndarray):
        np.testing.assert_array_equal(order, schedule[[1, 3]])
    else:
        assert order == schedule


def test_second_looks_share_one_level(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = []

    def record(*given: Any, **options: Any) -> Any:
        levels.append(options["level"])
        return fit_orders(*given, **options)

    monkeypatch.setattr(orders, "fit_orders", record)
    monkeypatch.setattr(orders, "sweep_copies", Looks([BAD, BAD, GOOD, BAD], [BAD, BAD, GOOD]))
    loss, theta0 = random_problems(4, 1)
    fit = sb.measure_order(ADAM, loss, theta0, 0.5, STEPS, sb.IID(3, 1))
    assert levels == [0.99, pytest.approx(1.0 - 0.01 / 3, abs=1e-15)]
    assert [one.verdict for one in fit.fits].count("refuted") == 2
    assert {one.level for one in fit.fits} == {0.99}


def test_a_second_look_that_fails_a_check_refutes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks([BAD], [BAD])

    def broken(*given: Any, **options: Any) -> Sweep:
        found = looks(*given, **options)
        return found if len(looks.given) == 1 else replace(found, integrity=found.integrity + 1.0)

    monkeypatch.setattr(orders, "sweep_copies", broken)
    loss, theta0 = random_problems(1, 1)
    fit = sb.measure_order(ADAM, loss, theta0, 0.5, STEPS, sb.IID(3, 1))
    assert fit.verdict == "inconclusive"
    assert "the instrument fails its own check" in fit.fits[0].reason


def test_an_array_too_short_to_look_again_refutes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "sweep_copies", Looks([BAD]))
    loss, theta0 = random_problems(1, 1)
    fit = sb.measure_order(ADAM, loss.select(0), theta0[0], 0.5, STEPS, explicit(4095)[0])
    assert fit.verdict == "inconclusive"
    assert "cannot be looked at again at 4 times the steps" in fit.reason
    assert "accepted: (4096,) or longer" in fit.reason


@pytest.mark.parametrize(
    "schedule", [None, sb.Cyclic(3), np.tile([2, 0, 1], 400)], ids=["none", "cyclic", "array"]
)
def test_smooth_schedules_are_looked_at_once(
    schedule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks([BAD])
    monkeypatch.setattr(orders, "sweep_copies", looks)
    loss, theta0 = random_problems(1, 1)
    assert sb.measure_order(ADAM, loss, theta0, 0.5, STEPS, schedule).verdict == "refuted"
    assert len(looks.given) == 1


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
        ("device", "tpu", ValueError, "device = 'tpu'; accepted: 'cpu', 'cuda'"),
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
