"""The sign flow softened by epsilon, and what epsilon inside the root does to a derivative."""

from __future__ import annotations

import numpy as np
import pytest

from stepbias.theory import sign_descent


def test_sign_field_is_the_leading_field_of_full_batch_adam() -> None:
    g, eps = np.array([[0.3, -2.0, 1e-3]]), 0.01
    # M = g and R = |g| for every decay (Remark 3.2)
    expected = -g / (np.sqrt(g**2) + eps)
    np.testing.assert_allclose(sign_descent.sign_field(g, np.array([[eps]])), expected, rtol=1e-15)


@pytest.mark.parametrize("name", [name for name in sign_descent.FIELDS if name])
def test_wrong_fields_differ(name: str) -> None:
    g, eps = np.array([[0.3, -2.0]]), np.array([[0.1]])
    assert np.abs(sign_descent.FIELDS[name](g, eps) - sign_descent.sign_field(g, eps)).max() > 0.01


def test_one_component_has_one_norm() -> None:
    g, eps = np.array([[0.3]]), np.array([[0.1]])
    printed = sign_descent.FIELDS["norm of the gradient for its modulus"]
    np.testing.assert_allclose(printed(g, eps), sign_descent.sign_field(g, eps), rtol=1e-15)


def test_reciprocal_is_what_divides_a_step() -> None:
    square, eps = np.array([0.0, 0.25, 4.0]), 0.01
    inside = sign_descent.reciprocal(square, eps, "inside")
    np.testing.assert_allclose(inside, (square + eps) ** -0.5, rtol=1e-15)
    outside = sign_descent.reciprocal(square, eps, "outside")
    np.testing.assert_allclose(outside, [1 / 0.01, 1 / 0.51, 1 / 2.01], rtol=1e-15)
