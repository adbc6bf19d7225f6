"""The ridge traversal with every activation at once, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from stepbias.kernels.loss import Loss
from stepbias.kernels.ridge_source import ArrayRidge, segment_table
from stepbias.theory import activations as act


@pytest.mark.parametrize("p", [1, 3, 4, 5, 9])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_every_activation_and_segment_length(p: int, size: int) -> None:
    rng = np.random.default_rng(p)
    runs = [(kind, b, size) for b in range(2) for kind in range(6)]
    segments = segment_table(runs)
    units = 12 * size
    offset, amplitude = rng.normal(size=(5, units)), rng.normal(size=units)
    weight = rng.uniform(-1, 1, (5, p, units))
    loss = Loss(ArrayRidge(segments, offset, amplitude, weight, 2, "test"))
    theta = rng.uniform(-1, 1, (5, p))
    z = np.einsum("nj,nju->nu", theta, weight) + offset
    for b in range(2):
        value, gradient, hessian = np.zeros(5), np.zeros((5, p)), np.zeros((5, p, p))
        for kind, batch, start, stop in segments:
            if batch == b:
                run = slice(start, stop)
                slope, curve = act.SLOPES[kind](z[:, run])
                value += (amplitude[run] * act.VALUES[kind](z[:, run])).sum(axis=1)
                gradient += np.einsum("nu,nju->nj", amplitude[run] * slope, weight[:, :, run])
                scaled = amplitude[run] * curve * weight[:, :, run].transpose(1, 0, 2)
                hessian += np.einsum("jnu,nku->njk", scaled, weight[:, :, run])
        # up to 42 terms of size about 1, a few rounding units each
        assert np.abs(loss.value(b, theta) - value).max() < 1e-13
        assert np.abs(loss.gradient(b, theta) - gradient).max() < 1e-13
        assert np.abs(loss.hessian(b, theta) - hessian).max() < 1e-13


def test_a_batch_without_units_is_zero() -> None:
    segments = segment_table([(act.SINE, 1, 2)])
    loss = Loss(ArrayRidge(segments, np.zeros(2), np.ones(2), np.ones((3, 2)), 2, "test"))
    assert loss.value(0, np.ones(3)) == 0.0
    assert not loss.gradient(0, np.ones(3)).any()
    assert loss.gradient(1, np.ones(3)).any()
