"""Every kind of loss in the simulator: its gradients and Hessian-vector products, seen through everything that uses them."""

from __future__ import annotations

import pytest

from tests.parity import cases, comparisons


@pytest.fixture(params=cases.LOSSES)
def case(request: pytest.FixtureRequest) -> cases.Case:
    return cases.loss_case(request.param)


def test_at_a_point(case: cases.Case) -> None:
    comparisons.terms(case, 3)
    comparisons.field(case, 3)


def test_trajectories(case: cases.Case) -> None:
    comparisons.iterate(case)
    comparisons.flow(case, 2)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the simulator tells of NaN
def test_sines_end_where_their_arguments_cannot_be_reduced() -> None:
    comparisons.sine_limit()
