"""Problems on which the growth rate of the global error bounds shows."""

from __future__ import annotations

import numpy as np
import pytest

from stepbias.kernels.trajectories import iterate
from stepbias.theory import constants_slips
from stepbias.verify.experiments import measure as measure_claim
from stepbias.verify.experiments.constants_growth import growing
from stepbias.verify.experiments.constants_problems import ALGORITHMS, ensemble
from stepbias.verify.samples import Setting

SETTING = Setting("quick", 0)
CLAIM, PRINTED = (
    next(c for c in constants_slips.CLAIMS if c.id == f"constants/global-growth{end}")
    for end in ("", "-printed")
)


@pytest.mark.parametrize("number", range(4))
def test_gradients_stay_while_neighbours_part(number: int) -> None:
    one = growing(SETTING, number)
    assert one.algorithm == ALGORITHMS[number]
    loss, steps = ensemble([one]), len(one.schedule)

    def path(start: float) -> np.ndarray:
        found = iterate(one.optimizer, loss, np.full((1, 1), start), one.h, steps, one.schedule)
        return np.asarray(found[0, :, 0])

    here = path(0.0)
    slope = abs(loss.gradient(0, np.zeros((1, 1)))[0, 0])
    along = [
        abs(loss.gradient(int(b), np.full((1, 1), x))[0, 0])
        for b, x in zip(one.schedule, here[:-1], strict=True)
    ]
    assert 0.2 * slope < min(along) <= max(along) < 5.0 * slope
    assert set(one.schedule) == {0, 1}
    # a start that is off by a ten-thousandth of a step: X n h is 10, the mean curvature about 0.8 of the largest
    off = 1e-4 * np.abs(np.diff(here)).max()
    assert 500.0 < abs(path(off)[-1] - here[-1]) / off < 2e4


def test_a_problem_is_a_function_of_seed_and_number() -> None:
    again = growing(Setting("thorough", 0, only=5), 5)
    assert np.array_equal(again.schedule, growing(SETTING, 5).schedule)
    assert growing(Setting("quick", 1), 5).rho != again.rho


def test_without_its_growth_the_bound_fails_everywhere() -> None:
    right = measure_claim(CLAIM, "", SETTING)
    assert np.all(right.left < 0.2)
    assert 0.0 < right.caught["X in d_2"][0] < 1.0
    wrong = measure_claim(CLAIM, "d_2 without X", SETTING)
    assert np.all(wrong.left > 10.0)


def test_the_printed_rate_fails_although_its_constants_have_the_whole_horizon() -> None:
    printed = measure_claim(PRINTED, PRINTED.variant, SETTING)
    assert np.any(printed.left - printed.uncertainty > 1.0)
