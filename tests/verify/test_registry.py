"""Claims are found by id and by prefix."""

from __future__ import annotations

import pytest

import stepbias as sb
from stepbias.verify.registry import CLAIMS, claims, find, find_one, find_trajectory_claim


def test_all_claims_are_listed_and_the_list_is_the_callers() -> None:
    listed = claims()
    assert find(None) == listed
    assert sb.claims() == listed
    listed.clear()
    assert len(claims()) == len(CLAIMS) > 60


def test_an_id_finds_itself_and_a_prefix_all_below_it() -> None:
    assert [c.id for c in find("adam-inside/bilinear")] == ["adam-inside/bilinear"]
    below = [c.id for c in find("rmsprop-outside")]
    assert below == [c.id for c in claims() if c.id.split("/")[0] == "rmsprop-outside"]
    assert len(below) > 5


def test_claims_come_in_the_order_asked_for_and_once() -> None:
    asked = ["rmsprop-inside/bilinear", "adam-inside/bilinear", "rmsprop-inside"]
    found = [c.id for c in find(asked)]
    assert found[:2] == asked[:2]
    assert set(found) == {*asked[:2], *(c.id for c in find("rmsprop-inside"))}
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("adam-inside/global-ordre", "adam-inside/global-order"),
        ("rmsprop-outside/bilinaer", "rmsprop-outside/bilinear"),
        ("adam-insid", "adam-"),  # no prefix: it ends inside a name
        ("", ""),
    ],
)
def test_an_unknown_id_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match="CLAIM = ") as caught:
        find([name])
    assert repr(name) in str(caught.value)
    assert f"nearest is '{nearest}" in str(caught.value)


@pytest.mark.parametrize("bad", [5, 2.5, object()])
def test_ids_that_are_no_sequence_are_named(bad: object) -> None:
    with pytest.raises(TypeError, match="CLAIM = "):
        find(bad)  # type: ignore[arg-type]


def test_one_claim_is_one() -> None:
    assert find_one("adam-inside/bilinear").id == "adam-inside/bilinear"
    with pytest.raises(ValueError, match=r"names [0-9]+ claims"):
        find_one("adam-inside")
    with pytest.raises(ValueError, match="experiment of its own"):
        find_trajectory_claim("validity/constant-in-memory")


def test_ids_are_distinct() -> None:
    assert len({c.id for c in CLAIMS}) == len(CLAIMS)
