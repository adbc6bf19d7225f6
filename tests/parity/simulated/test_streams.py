"""Random numbers and elementary functions: the simulator works in plain doubles, as the CPU's uncontracted code does, so the bits are equal."""

from __future__ import annotations

import pytest

from tests.parity import streams

# The products of the words overflow 64 bits by design.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")


def test_known_answers() -> None:
    streams.known_answers()


def test_words() -> None:
    streams.words()


@pytest.mark.parametrize("seed", streams.SEEDS)
def test_uniform_numbers(seed: int) -> None:
    streams.uniform(seed)


@pytest.mark.parametrize("seed", streams.SEEDS)
def test_normal_numbers(seed: int) -> None:
    streams.normal(seed, units=0)


@pytest.mark.parametrize("name", streams.ELEMENTARY)
def test_elementary_functions(name: str) -> None:
    # The inverse root is contracted on the CPU; both sides err by less than 4 units.
    streams.elementary(name, units=8 if name == "reciprocal_root" else 0)
