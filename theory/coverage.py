"""What the papers state, item by item, and the claims that check it; what is not checked says why.

The three papers: Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam" ("main"), its supplement ("supplement"), and their "Backward Error Analysis of
Adaptive Gradient Algorithms" of the same month ("earlier"). "Beyond" are claims of this package on what the papers leave open.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Paper = Literal["main", "supplement", "earlier", "beyond"]

TITLES: dict[Paper, str] = {
    "main": "On the Implicit Bias of Adam",
    "supplement": "On the Implicit Bias of Adam, supplement",
    "earlier": "Backward Error Analysis of Adaptive Gradient Algorithms (the earlier version)",
    "beyond": "Beyond the papers",
}


class Item(NamedTuple):
    """One definition, equation, theorem, table, figure or passage.

    ``claims`` are ids of the registry, or "prefix/*" for those below a prefix that are named nowhere; ``reason`` says why there is none, or what else
    a reader should know.
    """

    place: str
    states: str
    claims: tuple[str, ...] = ()
    reason: str = ""


class Misprint(NamedTuple):
    """A slip of the pen: what is printed, what is meant, and the claim that shows it where there is something to show."""

    paper: Paper
    place: str
    printed: str
    meant: str
    claims: tuple[str, ...] = ()


NETWORKS = "a training run of a large convolutional network over hundreds to thousands of epochs on full batches of CIFAR; not run here"
CITED = "a result of another paper that is only cited"
NOTATION = "notation"


def below(prefix: str, *names: str) -> tuple[str, ...]:
    """Ids that share what stands before the slash."""
    return tuple(f"{prefix}/{name}" for name in names)


def theorem(algorithm: str, place: str) -> tuple[str, ...]:
    """The claims on the O(h^2) distance, and the control without the O(h) term."""
    names = (
        "global-order",
        "bilinear",
        "logistic-regression",
        "leading-field",
        "derived-from-rule",
    )
    return below(f"{algorithm}-{place}", *names)


def defect(algorithm: str, place: str) -> tuple[str, ...]:
    """The claims on one-step defects."""
    return below(f"{algorithm}-{place}", "local-defect", "local-defect-leading")


def items() -> dict[Paper, tuple[Item, ...]]:
    """All items of every paper, in its order."""
    from stepbias.theory import coverage_earlier, coverage_main, coverage_supplement

    return {
        "main": coverage_main.ITEMS,
        "supplement": coverage_supplement.ITEMS,
        "earlier": coverage_earlier.ITEMS,
        "beyond": coverage_supplement.BEYOND,
    }


def named() -> set[str]:
    """What items and misprints name, "prefix/*" included."""
    groups = [item.claims for group in items().values() for item in group]
    return {name for claims in (*groups, *(slip.claims for slip in MISPRINTS)) for name in claims}


def expand(names: tuple[str, ...], known: list[str]) -> list[str]:
    """Ids with "prefix/*" written out.

    Parameters
    ----------
    names : tuple of str
    known : list of str
        Ids of the registry.

    Raises
    ------
    ValueError
        For a name that no known id matches.
    """
    elsewhere = named()
    found: list[str] = []
    for name in names:
        if name.endswith("/*"):
            matches = [one for one in known if one.startswith(name[:-1])]
        else:
            matches = [one for one in known if one == name]
        if not matches:
            raise ValueError(f"claim = {name!r} is unknown; see `stepbias claims`")
        if name.endswith("/*"):
            matches = [one for one in matches if one not in elsewhere]
        found += [one for one in matches if one not in found]
    return found


def uncovered(known: list[str]) -> list[str]:
    """Known ids that no item and no misprint names."""
    covered = set(expand(tuple(sorted(named())), known))
    return [one for one in known if one not in covered]


MISPRINTS: tuple[Misprint, ...] = (
    Misprint(
        "main",
        "Section 1, modified loss of SGD",
        "the sum over k of |grad E|^2, without the index",
        "|grad E_k|^2 (so in the earlier version)",
        ("slips/epoch-norm-printed", "slips/epoch-norm-corrected"),
    ),
    Misprint(
        "main",
        "Section 1, sign flow",
        'the norm of the gradient in the denominator, together with "component-wise"',
        "the modulus of each component (so in the earlier version)",
        ("slips/sign-flow-norm-printed", "slips/sign-flow-modulus-corrected"),
    ),
    Misprint(
        "main",
        "Table 1, first row",
        "beta >= rho",
        "beta > rho (so in the text below the table): at beta = rho nothing is penalised when epsilon is small",
        (
            "full-batch/table-equal-decays-printed",
            "full-batch/table-equal-decays-corrected",
        ),
    ),
    Misprint(
        "main",
        "Section 5 (earlier: Section 4), equation of heavy ball",
        "no minus signs",
        "minus both terms",
        ("slips/heavy-ball-sign-printed", "slips/heavy-ball-sign-corrected"),
    ),
    Misprint(
        "main",
        "Section 1, equation of heavy ball",
        "theta on the left, theta~ on the right",
        "theta~ on both sides (so in the earlier version)",
    ),
    Misprint(
        "main",
        "assumption (8)",
        '"is 4 times continuously differentiable partial derivatives .."',
        '"and its" is missing between the two; so in the earlier version',
    ),
    Misprint(
        "main",
        "equation (7)",
        "the modified loss as a function of theta, in terms of theta~(t)",
        "theta throughout",
    ),
    Misprint(
        "main",
        "Section 2, large epsilon",
        '"the fraction with epsilon is the numerator"',
        '"in the numerator"',
    ),
    Misprint("main", "equation (12), Theorem 4.2", "no component index on the left", "theta~_j"),
    Misprint(
        "main",
        "Section 7, Figure 4",
        'the text takes the norm "at the first point the training loss drops below 0.01"',
        "the caption takes it at epoch 900",
    ),
    Misprint(
        "main",
        "Section 7, Figure 6",
        '"the bias term in (10)"',
        "equation (3); (10) is the theorem's bound",
    ),
    Misprint(
        "earlier",
        "Section 1, mini-batches",
        '"the training set is split in B batches"',
        "batches of size B (so in the later version)",
    ),
    Misprint(
        "earlier",
        "Figure 7",
        "the caption takes the accuracy when the loss drops below 0.1",
        "0.01 in the later version",
    ),
    Misprint(
        "earlier",
        "Remark 3.2, Section 7, Figures 3 to 8",
        'notes of the authors to themselves ("where exactly", "cite Pier?", "First half of Exp6")',
        "nothing",
    ),
)
