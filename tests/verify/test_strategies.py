"""The Hypothesis strategies stay within what they promise, cover it, and refuse bad limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import stepbias as sb
from stepbias.theory.optimizers import AdamFamily
from stepbias.verify import strategies

QUICK = settings(deadline=None, max_examples=50)
SEARCH = settings(
    deadline=None, max_examples=2000, database=None, suppress_health_check=list(HealthCheck)
)


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


@pytest.mark.parametrize("kind", [sb.Adam, sb.RMSProp])
@pytest.mark.parametrize("place", ["eps", "eps_root"])
def test_every_convention_is_drawn(kind: type, place: str) -> None:
    find(
        strategies.optimizers(),
        lambda o: isinstance(o, kind) and getattr(o, place) > 0.0 and float(o.rho) > 0.5,
        settings=SEARCH,
    )
    find(
        strategies.optimizers(),
        lambda o: isinstance(o, sb.Adam) and not o.bias_correction and getattr(o, place) > 0.0,
        settings=SEARCH,
    )


@pytest.mark.parametrize("kind", [sb.Cyclic, sb.Reshuffled, sb.IID])
def test_every_schedule_is_drawn(kind: type) -> None:
    found = find(strategies.schedules(3), lambda s: isinstance(s, kind), settings=SEARCH)
    assert found.m == 3


@pytest.mark.parametrize("family", sb.Loss.families())
def test_every_family_is_drawn(family: str) -> None:
    law = sb.Loss.random(family, 1).describe()
    find(strategies.losses(max_dim=1), lambda loss: loss.describe() == law, settings=SEARCH)


@QUICK
@given(st.integers(1, 6), st.sampled_from([None, 1, 5]), st.data())
def test_starts_have_their_shape(dim: int, problems: int | None, data: st.DataObject) -> None:
    found = data.draw(strategies.starts(dim, problems))
    assert found.shape == ((dim,) if problems is None else (problems, dim))
    assert found.dtype == np.float64
    assert np.all(np.isfinite(found))


def test_starts_scale() -> None:
    wide = find(strategies.starts(50, scale=100.0), lambda x: True, settings=SEARCH)
    unit = find(strategies.starts(50), lambda x: True, settings=SEARCH)
    np.testing.assert_allclose(wide, 100.0 * unit, rtol=1e-14)  # both from the simplest seed
    assert 0.5 < unit.std() < 2.0


@pytest.mark.parametrize(
    ("name", "arguments", "error", "words"),
    [
        ("losses", {"max_dim": 0}, ValueError, "max_dim = 0; accepted: an integer >= 1"),
        ("losses", {"max_dim": 2.0}, TypeError, "max_dim = 2.0 has type float; accepted"),
        ("losses", {"max_batches": 0}, ValueError, "max_batches = 0; accepted"),
        ("losses", {"problems": 0}, ValueError, "problems = 0; accepted: an integer >= 1"),
        ("losses", {"families": ("sine",)}, ValueError, "families = 'sine'; accepted: 'sinusoid'"),
        ("losses", {"families": ()}, ValueError, "families = (); accepted"),
        ("losses", {"families": "sinusoid"}, TypeError, "families = 'sinusoid'; accepted: a sequence"),
        ("optimizers", {"max_beta": 1.0}, ValueError, "max_beta = 1.0; accepted: a number in [0, 1)"),
        ("optimizers", {"max_rho": -0.1}, ValueError, "max_rho = -0.1; accepted"),
        ("optimizers", {"max_rho": "x"}, TypeError, "max_rho = 'x' has type str; accepted"),
        ("optimizers", {"min_eps": 0.0}, ValueError, "min_eps = 0.0; accepted: a number > 0"),
        ("optimizers", {"min_eps": 1.0, "max_eps": 0.1}, ValueError, "min_eps = 1.0 exceeds max_eps = 0.1"),
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
