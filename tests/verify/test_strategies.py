"""The Hypothesis strategies stay within what they promise, cover it, and refuse bad limits."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stepbias as sb
from stepbias.theory.optimizers import AdamFamily
from stepbias.verify import strategies

QUICK = settings(deadline=None, max_examples=50)
T = TypeVar("T")


@QUICK
@given(strategies.losses(max_dim=5, max_batches=3))
def test_losses_are_single_and_small(loss: sb.Loss) -> None:
    assert loss.problems is None
    assert 1 <= loss.dim <= 5
    assert 1 <= loss.batches <= 3
    assert np.all(np.isfinite(loss.gradient(loss.batches - 1, np.zeros(loss.dim))))


@QUICK
@given(strategies.losses(families=("log-cosh",), problems=4))
def test_losses_of_one_family_as_ensembles(loss: sb.Loss) -> None:
    assert loss.problems == 4
    assert "log cosh" in loss.describe()


@QUICK
@given(strategies.optimizers(max_beta=0.6, max_rho=0.8, min_eps=1e-3, max_eps=1e-1))
def test_optimizers_keep_their_limits(optimizer: AdamFamily) -> None:
    assert 0.0 <= float(optimizer.beta) <= 0.6
    assert 0.0 <= float(optimizer.rho) <= 0.8
    constants = sorted((float(optimizer.eps), float(optimizer.eps_root)))
    assert constants[0] == 0.0  # one place of epsilon at a time
    assert 1e-3 * (1 - 1e-12) <= constants[1] <= 1e-1 * (1 + 1e-12)


def examples(strategy: st.SearchStrategy[T]) -> list[T]:
    """Two hundred draws, the same ones every time."""
    found: list[T] = []

    @settings(deadline=None, max_examples=200, database=None, derandomize=True)
    @given(strategy)
    def collect(value: T) -> None:
        found.append(value)

    collect()
    return found


def test_every_convention_is_drawn() -> None:
    drawn = examples(strategies.optimizers())
    kinds = [(sb.Adam, True), (sb.Adam, False), (sb.RMSProp, False)]
    expected = {(*kind, outside) for kind in kinds for outside in (True, False)}
    assert {(type(o), o.bias_correction, float(o.eps) > 0.0) for o in drawn} == expected
    assert (
        {float(o.rho) > 0.5 for o in drawn} == {float(o.beta) > 0.5 for o in drawn} == {True, False}
    )


def test_every_schedule_is_drawn() -> None:
    drawn = examples(strategies.schedules(3))
    assert {type(schedule) for schedule in drawn} == {sb.Cyclic, sb.Reshuffled, sb.IID}
    assert {schedule.m for schedule in drawn} == {3}


def test_every_family_and_size_is_drawn() -> None:
    drawn = examples(strategies.losses(max_dim=3, max_batches=2))
    assert {loss.describe().split(",")[0] for loss in drawn} == set(sb.Loss.families())
    assert {loss.dim for loss in drawn} == {1, 2, 3}
    assert {loss.batches for loss in drawn} == {1, 2}


@QUICK
@given(st.integers(1, 6), st.sampled_from([None, 1, 5]), st.data())
def test_starts_have_their_shape(dim: int, problems: int | None, data: st.DataObject) -> None:
    found = data.draw(strategies.starts(dim, problems))
    assert found.shape == ((dim,) if problems is None else (problems, dim))
    assert found.dtype == np.float64
    assert np.all(np.isfinite(found))


def test_starts_scale() -> None:
    unit, wide = (np.array(examples(strategies.starts(50, scale=scale))) for scale in (1.0, 100.0))
    np.testing.assert_allclose(wide, 100.0 * unit, rtol=1e-14)  # the same seeds
    assert abs(unit.std() - 1.0) < 0.1


@pytest.mark.parametrize(
    ("name", "arguments", "error", "words"),
    [
        ("losses", {"max_dim": 0}, ValueError, "max_dim = 0; accepted: an integer >= 1"),
        ("losses", {"max_dim": 2.0}, TypeError, "max_dim = 2.0 has type float; accepted"),
        ("losses", {"max_batches": 0}, ValueError, "max_batches = 0; accepted"),
        ("losses", {"problems": 0}, ValueError, "problems = 0; accepted: an integer >= 1"),
        ("losses", {"families": ("sine",)}, ValueError, "families = 'sine'; accepted: 'sinusoid'"),
        ("losses", {"families": ()}, ValueError, "families = (); accepted"),
        (
            "losses",
            {"families": "sinusoid"},
            TypeError,
            "families = 'sinusoid'; accepted: a sequence",
        ),
        (
            "optimizers",
            {"max_beta": 1.0},
            ValueError,
            "max_beta = 1.0; accepted: a number in [0, 1)",
        ),
        ("optimizers", {"max_rho": -0.1}, ValueError, "max_rho = -0.1; accepted"),
        ("optimizers", {"max_rho": "x"}, TypeError, "max_rho = 'x' has type str; accepted"),
        ("optimizers", {"min_eps": 0.0}, ValueError, "min_eps = 0.0; accepted: a number > 0"),
        (
            "optimizers",
            {"min_eps": 1.0, "max_eps": 0.1},
            ValueError,
            "min_eps = 1.0 exceeds max_eps = 0.1",
        ),
        ("schedules", {"batches": 0}, ValueError, "batches = 0; accepted: an integer >= 1"),
        ("schedules", {"batches": "3"}, TypeError, "batches = '3' has type str; accepted"),
        ("starts", {"dim": 0}, ValueError, "dim = 0; accepted: an integer >= 1"),
        ("starts", {"dim": 2, "problems": 0}, ValueError, "problems = 0; accepted"),
        ("starts", {"dim": 2, "scale": np.nan}, ValueError, "scale = nan is not finite; accepted"),
        ("starts", {"dim": 2, "scale": 0.0}, ValueError, "scale = 0.0; accepted: a number > 0"),
    ],
)
def test_bad_limits_are_refused(
    name: str, arguments: dict[str, Any], error: type, words: str
) -> None:
    with pytest.raises(error) as caught:
        getattr(strategies, name)(**arguments)
    assert words in str(caught.value)


@QUICK
@given(strategies.optimizers(kinds=strategies.KINDS), st.integers(0, 20))
def test_every_kind_of_optimizer_has_a_field(optimizer: Any, n: int) -> None:
    loss = sb.Loss.random("log-cosh", dim=2, batches=2, seed=1)
    assert np.all(np.isfinite(sb.vector_field(optimizer, loss, [0.5, -0.3], n, 0.1)))


def test_kinds_are_checked() -> None:
    with pytest.raises(ValueError, match="kinds = 'lion'; accepted: 'adam'"):
        strategies.optimizers(kinds=("lion",))
    with pytest.raises(ValueError, match=r"kinds = \(\)"):
        strategies.optimizers(kinds=())
    with pytest.raises(TypeError, match="kinds = 'adam'"):
        strategies.optimizers(kinds="adam")  # type: ignore[arg-type]
