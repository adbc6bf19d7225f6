"""The theorems as slopes: the modified equation is followed to O(h^2), the leading field to O(h), wrong variants no better."""

from __future__ import annotations

import numpy as np
import pytest

import stepbias as sb
from stepbias.kernels.blocks import prepare
from stepbias.kernels.measure import measure
from stepbias.theory.optimizers import AdamFamily
from stepbias.theory.variants import LEADING, STATEMENT, Variant
from tests.reference import Floats

PROBLEMS = 16


def slopes(errors: list[Floats]) -> Floats:
    """Successive orders under halving of the step size, (halvings, B)."""
    table = np.array(errors)
    return np.asarray(np.log2(table[:-1] / table[1:]))


def mild_sinusoids(dim: int, batches: int, seed: int) -> tuple[sb.Loss, Floats]:
    """Normal amplitudes and frequencies of size one half: curvature of order one over a unit of time."""
    rng = np.random.default_rng(seed)
    shape = (PROBLEMS, batches, 5)
    loss = sb.Loss.sinusoids(
        rng.normal(size=shape),
        0.5 * rng.normal(size=(PROBLEMS, 5, dim)),
        rng.uniform(0.0, 2.0 * np.pi, shape),
    )
    return loss, rng.normal(size=(PROBLEMS, dim))


@pytest.mark.parametrize(("beta", "rho", "eps"), [(0.9, 0.95, 1e-2), (0.7, 0.9, 1e-4)])
def test_long_memory_reaches_the_theorem_s_order(beta: float, rho: float, eps: float) -> None:
    # p = 5, m = 3, T = 1. With a memory of 10 to 20 steps the second order shows from about 2^-9 on, and has settled to a few percent at 2^-11.
    loss, theta0 = mild_sinusoids(5, 3, seed=1)
    optimizer = sb.Adam(beta, rho, eps=0.0, eps_root=eps)
    for order in (2, 1):
        errors = [
            sb.global_error(optimizer, loss, theta0, 1.0 / n, n, order=order)
            for n in (2**9, 2**10, 2**11)
        ]
        median = np.median(slopes(errors), axis=1)
        assert abs(median[-1] - order) < 0.05, (order, median)
        assert abs(median[-1] - order) < abs(median[0] - order)  # still closing in


FOUR: dict[str, AdamFamily] = {
    "Adam, epsilon inside": sb.Adam(0.5, 0.7, eps=0.0, eps_root=1e-2),
    "Adam, epsilon outside": sb.Adam(0.5, 0.7, eps=1e-1),
    "RMSProp, epsilon inside": sb.RMSProp(0.7, eps=0.0, eps_root=1e-2),
    "RMSProp, epsilon outside": sb.RMSProp(0.7, eps=1e-1),
}


def median_order(
    optimizer: AdamFamily, loss: sb.Loss, theta0: Floats, variant: Variant, local: bool = False
) -> float:
    """Median order between h = 1/512 and 1/1024, T = 1/2, over an ensemble."""
    errors = []
    for steps in (256, 512):
        ensemble = prepare(
            optimizer, loss, theta0, 0.5 / steps, steps, sb.Reshuffled(loss.batches, 7), "cpu"
        )
        errors.append(measure(ensemble, steps, variant, check=False, local=local).error)
    return float(np.median(slopes(errors)))


@pytest.mark.parametrize("family", sb.Loss.families())
@pytest.mark.parametrize("name", FOUR)
def test_every_algorithm_on_every_family(name: str, family: str) -> None:
    loss = sb.Loss.random(family, dim=3, batches=2, problems=PROBLEMS, seed=11)
    theta0 = np.random.default_rng(1).normal(size=(PROBLEMS, 3))
    # A memory of three steps: the next order contributes about 3 h kappa = a few percent.
    assert abs(median_order(FOUR[name], loss, theta0, STATEMENT) - 2.0) < 0.1
    assert abs(median_order(FOUR[name], loss, theta0, LEADING) - 1.0) < 0.1


@pytest.mark.parametrize("name", FOUR)
def test_one_step_defects_are_one_order_higher(name: str) -> None:
    loss, theta0 = mild_sinusoids(3, 2, seed=3)
    assert abs(median_order(FOUR[name], loss, theta0, STATEMENT, local=True) - 3.0) < 0.15
    assert abs(median_order(FOUR[name], loss, theta0, LEADING, local=True) - 2.0) < 0.1


WRONG = [
    Variant(bias=-1.0),
    Variant(L=0.5),
    Variant(Lbar=0.0),
    Variant(P=0.5),
    Variant(Pbar=0.0),
    Variant(short_memory=True),
    Variant(flip_bias_correction=True),
    Variant(swap_eps=True),
    Variant(M=0.9),
    Variant(R=0.9),
]


@pytest.mark.parametrize("variant", WRONG, ids=lambda variant: str(variant.name))
@pytest.mark.parametrize("name", FOUR)
def test_wrong_variants_lose_the_second_order(name: str, variant: Variant) -> None:
    if variant.L == 0.5 and name.startswith("RMSProp"):
        pytest.skip("L of RMSProp is 0")
    loss, theta0 = mild_sinusoids(3, 2, seed=3)
    # A wrong O(1) term gives order 0, a wrong O(h) term order 1.
    assert median_order(FOUR[name], loss, theta0, variant) < 1.2
