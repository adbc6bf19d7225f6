"""The table of what the papers state: complete in itself."""

from __future__ import annotations

import re

import pytest

from stepbias.theory import coverage
from stepbias.theory.coverage import Item

ITEMS = [(paper, item) for paper, group in coverage.items().items() for item in group]


@pytest.mark.parametrize(
    ("paper", "item"), ITEMS, ids=[f"{paper}: {item.place}" for paper, item in ITEMS]
)
def test_an_item_has_claims_or_says_why_not(paper: str, item: Item) -> None:
    assert item.states
    assert item.claims or item.reason
    assert len(set(item.claims)) == len(item.claims)


def test_places_are_distinct() -> None:
    for paper, group in coverage.items().items():
        places = [item.place for item in group]
        assert len(set(places)) == len(places), paper


# numbered equations of each paper, as they are counted there
NUMBERED = {
    "main": [f"({k})" for k in range(1, 13)],
    "supplement": [f"({s}.{k})" for s, last in ((2, 7), (3, 3), (4, 9), (5, 3), (6, 22), (7, 7)) for k in range(1, last + 1)],
    "earlier": [f"({k})" for k in range(1, 9)],
}  # fmt: skip


def spanned(places: str) -> set[str]:
    """Numbers named in a text, with "(6.3) to (6.10)" written out."""
    found = set(re.findall(r"\(\d+(?:\.\d+)?\)", places))
    for first, last in re.findall(r"(\(\d+\.\d+\)) to (\(\d+\.\d+\))", places):
        section, low = first.strip("()").split(".")
        high = last.strip("()").split(".")[1]
        found |= {f"({section}.{k})" for k in range(int(low), int(high) + 1)}
    return found


@pytest.mark.parametrize("paper", list(NUMBERED))
def test_every_numbered_equation_is_placed(paper: coverage.Paper) -> None:
    named = spanned("; ".join(item.place for item in coverage.items()[paper]))
    assert set(NUMBERED[paper]) <= named, sorted(set(NUMBERED[paper]) - named)


NAMED = {
    "main": ["Definition 2.1", "Remark 2.2", "Example 2.3", "Theorem 3.1", "Remark 3.2", "Definition 4.1", "Theorem 4.2", "Remark 4.3", "Table 1",
             "Figure 1", "Figures 2 and 3", "Figure 4", "Figure 5", "Figure 6", "Figure 7"],
    "supplement": [*(f"{kind} SA-{s}.{k}" for s in (2, 3, 4, 5) for kind, k in (("Definition", 1), ("Assumption", 2), ("Theorem", 3), ("Theorem", 4))),
                   "SA-2.5", "Lemma SA-6.1", "Lemma SA-6.4", "Lemma SA-6.5", "Lemma SA-6.14", "Lemma SA-6.15", "Lemma SA-6.22", "SA-7.1", "SA-7.2", "SA-7.3",
                   "Lemma SA-7.4", "Lemma SA-7.5", "SA-7.6", "SA-8.1", "SA-8.2"],
    "earlier": ["Definition 3.1", "Remark 3.2", "Theorem 3.3", "Remark 3.4", "Example 3.5", "Theorem 3.6", "Remark 3.7", "Example 3.8",
                "Figures 1 and 2", "Figures 3 and 4", "Figures 5 and 6", "Figure 7", "Figure 8"],
}  # fmt: skip


@pytest.mark.parametrize("paper", list(NAMED))
def test_every_named_statement_is_placed(paper: coverage.Paper) -> None:
    places = "; ".join(item.place for item in coverage.items()[paper])
    assert [name for name in NAMED[paper] if name not in places] == []


def test_expand() -> None:
    known = ["a/one", "a/two", "ab/three"]
    assert coverage.expand(("a/*",), known) == ["a/one", "a/two"]
    assert coverage.expand(("a/two", "a/*"), known) == ["a/two", "a/one"]
    # what has a place of its own is not repeated
    assert coverage.expand(("bilinear/*",), ["bilinear/larger-beta", "bilinear/x"]) == [
        "bilinear/x"
    ]
    for unknown in ("a", "a/three", "b/*", "a/o*"):
        with pytest.raises(ValueError, match="is unknown"):
            coverage.expand((unknown,), known)


def test_misprints_that_change_a_statement_name_both_forms() -> None:
    for slip in coverage.MISPRINTS:
        assert slip.printed
        assert slip.meant
        assert len(slip.claims) in (0, 2)
