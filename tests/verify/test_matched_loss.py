"""Passages through a loss level on curves whose passage is known, and the law of the random models."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stepbias.theory import bilinear, bilinear_path
from stepbias.verify.matched_loss import LEVEL, PAPER, Case, Model, draw, follow, passage


def curved(steps: int) -> np.ndarray:
    """theta_1 = 2.8 exp(-u), theta_2 = 3.5 exp(-u/2), u = n / 500: the product is 9.8 exp(-1.5 u)."""
    u = np.arange(steps + 1) / 500.0
    return np.stack([2.8 * np.exp(-u), 3.5 * np.exp(-0.5 * u)], axis=1)


@pytest.mark.parametrize("finer", [1, 2, 3])
@pytest.mark.parametrize("share", [0.5, LEVEL])
def test_passage_of_a_known_curve(share: float, finer: int) -> None:
    product = bilinear_path.product_at(PAPER.x, PAPER.y, *PAPER.theta, share)
    u = math.log(9.8 / product) / 1.5
    total = 2.8 * math.exp(-u) + 3.5 * math.exp(-0.5 * u)
    expected = bilinear_path.one_norm_at(PAPER.x, PAPER.level(share), total)
    found = passage(curved(4000), PAPER, share, finer)
    assert found is not None
    assert found.steps == pytest.approx(500.0 * u, abs=1e-6 if finer == 1 else 1e-10)
    assert abs(found.norm - expected) <= found.uncertainty
    assert found.uncertainty <= (1e-4 if finer == 1 else 1e-9) * expected
    assert found.one_sided
    level = bilinear.value(PAPER.x, PAPER.y, *found.theta)
    assert level == pytest.approx(PAPER.level(share), rel=1e-9)


def test_the_first_passage_counts() -> None:
    path = curved(2000)
    there_and_back = np.concatenate([path, path[::-1], path])
    first, second = passage(path, PAPER), passage(there_and_back, PAPER)
    assert first is not None
    assert second is not None
    assert first.steps == second.steps


def test_no_passage() -> None:
    assert passage(curved(50), PAPER) is None


def test_a_passage_at_the_first_and_at_the_last_step() -> None:
    path = curved(4000)
    found = passage(path, PAPER)
    assert found is not None
    k = math.ceil(found.steps)
    # the polynomial's nodes end with the path, or begin with it
    assert passage(path[: k + 1], PAPER).norm == pytest.approx(found.norm, rel=1e-6)  # type: ignore[union-attr]
    late = Model(PAPER.x, PAPER.y, (float(path[k - 1, 0]), float(path[k - 1, 1])))
    share = PAPER.level(LEVEL) / late.level(1.0)
    assert passage(path[k - 1 :], late, share).norm == pytest.approx(found.norm, rel=1e-6)  # type: ignore[union-attr]


def test_a_change_of_sign_is_seen() -> None:
    model = Model(2.0, 1.5, (-0.5, 1.5))
    n = np.arange(2001)[:, None] / 1000.0
    path = np.array(model.theta) + n * np.array([1.0, 0.2])
    found = passage(path, model)
    assert found is not None
    assert not found.one_sided
    mirrored = passage(path * (1.0, -1.0), Model(2.0, -1.5, (-0.5, -1.5)))
    assert mirrored is not None
    assert mirrored.norm == pytest.approx(found.norm)
    assert not mirrored.one_sided


def test_a_detour_across_an_axis_is_seen() -> None:
    model = Model(2.0, 1.5, (0.4, 0.5))
    n = np.arange(2001) / 1000.0
    there = np.stack(
        [0.4 - n, np.full(n.shape, 0.5)], axis=1
    )  # out of the quadrant and, below, back again
    path = np.concatenate([there[:800], there[:800][::-1], np.array(model.theta) + n[:, None]])
    found, straight = passage(path, model), passage(np.array(model.theta) + n[:, None], model)
    assert found is not None
    assert straight is not None
    assert found.norm == pytest.approx(straight.norm)
    assert straight.one_sided
    assert not found.one_sided


def adam_by_hand(case: Case, model: Model, steps: int) -> np.ndarray:
    """Adam in plain Python on the printed gradient, nothing of the package."""
    (s, t), m, v = model.theta, [0.0, 0.0], [0.0, 0.0]
    path = [(s, t)]
    for n in range(1, steps + 1):
        r = model.x * (model.x * s * t - model.y)
        g = (r * t, r * s)
        m = [case.beta * a + (1 - case.beta) * b for a, b in zip(m, g, strict=True)]
        v = [case.rho * a + (1 - case.rho) * b * b for a, b in zip(v, g, strict=True)]
        move = [
            a / (1 - case.beta**n) / math.sqrt(b / (1 - case.rho**n) + case.epsilon)
            for a, b in zip(m, v, strict=True)
        ]
        s, t = s - case.h * move[0], t - case.h * move[1]
        path.append((s, t))
    return np.array(path)


@pytest.mark.parametrize("case", [Case(0.9, 0.999, 1e-6, 1e-2), Case(0.99, 0.9, 1e-8, 4e-3)])
def test_follow_against_adam_by_hand(case: Case) -> None:
    found = follow(case, PAPER)
    assert found is not None
    path = adam_by_hand(case, PAPER, math.ceil(found.steps) + 2)
    losses = bilinear.value(PAPER.x, PAPER.y, path[:, 0], path[:, 1])  # type: ignore[arg-type]
    k = int(np.argmax(losses <= PAPER.level(LEVEL)))
    assert k - 1 <= found.steps <= k
    norms = [bilinear_path.one_norm(PAPER.x, PAPER.y, *path[i]) for i in (k, k - 1)]
    assert norms[0] <= found.norm <= norms[1]
    weight = found.steps - (k - 1)
    straight = path[k - 1] + weight * (path[k] - path[k - 1])
    curvature = np.abs(np.diff(path[k - 2 : k + 3], 2, axis=0)).max()
    # linear interpolation errs by an eighth of the second difference, twice that allowed
    assert np.abs(straight - found.theta).max() <= 0.25 * curvature + 1e-12


def test_follow_goes_on_until_the_level_is_reached() -> None:
    slow = follow(Case(0.9, 0.999, 1e-6, 1e-3), PAPER, share=1e-4)
    assert slow is not None
    assert slow.steps * 1e-3 > 2.0 * PAPER.time(1e-4)


def test_follow_gives_up() -> None:
    # the denominator is ten thousand times the gradient: nothing moves
    assert follow(Case(0.0, 0.0, 1e12, 1e-2), PAPER) is None


def test_draws_follow_their_rule_and_their_generator() -> None:
    for one_sided in (True, False):
        for k in range(40):
            model = draw(np.random.Generator(np.random.Philox(k)), one_sided)
            s, t = model.theta
            assert model.one_sided is one_sided
            assert 0.5 <= abs(model.x) <= 2.0
            assert 0.5 <= abs(model.y) <= 2.0
            assert min(abs(s), abs(t)) >= 0.5
            assert max(abs(s), abs(t)) <= 4.0
            assert abs(math.log(abs(s / t))) >= 0.05
            assert model.time() >= 0.5
            assert model == draw(np.random.Generator(np.random.Philox(k)), one_sided)
    like = draw(np.random.Generator(np.random.Philox(1)), like=PAPER)
    assert (like.x, like.y) == (PAPER.x, PAPER.y)
    assert like.one_sided
