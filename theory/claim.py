"""A claim is data: what is stated, by whom, under which assumptions, what is expected, and which wrong variants must be refuted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stepbias.theory.variants import STATEMENT, Variant

# "adam", "rmsprop", or a name of `stepbias.theory.memory_claims`
Algorithm = str
Place = Literal["inside", "outside"]
Problems = Literal[
    "random",
    "bilinear",
    "regression",
    "cyclic",
    "sign-change",
    "no-sign-change",
    "kink-abs",
    "kink-relu",
    "resolving-step",
]
Kind = Literal["global", "local", "resolving-step"]


@dataclass(frozen=True)
class Claim:
    """One checkable statement about the distance between iterates and flow.

    Parameters
    ----------
    id : str
        "algorithm-place/quantity".
    source, statement, latex : str
        Where it stands, in words, as a formula.
    assumptions : tuple of str
        Each with how it is checked on a given problem.
    expected : str
        In words; ``expected_order`` and ``exact`` are what the engine reads.
    expected_order : float
        The claim is error = O(h^expected_order); two-sided if ``exact``.
    algorithm, place : str
        "adam", "rmsprop" or another shipped optimizer; epsilon "inside" or "outside" the root.
    problems : str
        Which problems it is measured on.
    variant : Variant
        The field of the flow.
    wrong : tuple of Variant
        Wrong variants; the engine must refute them on the same problems.
    slip : bool
        The statement is a misprint that the tool refutes.
    kind : str
        The measured quantity: "global", max over n of |iterate - flow|; "local", the largest one-step defect with the gradient history taken along the
        flow; "resolving-step", the step size from which on the second order shows, as a function of epsilon, which then stands where h does.
    batches : tuple of int
        Numbers of mini-batches of its random losses.
    """

    id: str
    source: str
    statement: str
    latex: str
    assumptions: tuple[str, ...]
    expected: str
    expected_order: float
    algorithm: Algorithm
    place: Place
    problems: Problems
    exact: bool = False
    variant: Variant = STATEMENT
    wrong: tuple[Variant, ...] = ()
    slip: bool = False
    kind: Kind = "global"
    batches: tuple[int, ...] = (1, 2, 3, 4)

    @property
    def mutants(self) -> tuple[str, ...]:
        """Names of the wrong variants."""
        return tuple(variant.name for variant in self.wrong)
