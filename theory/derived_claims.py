"""The theorems' fields derived once more, from the update rule alone: the explicit sums of Theorems 3.1 and 4.2 against the memoryless equation of the rule.

The rules below are the definitions of the four algorithms, component by component; nothing of the theorems' sums is in them.
"""

from __future__ import annotations

from typing import Any

from stepbias.theory.adam_claims import ALGORITHMS, NAME, PAPER, PLACES
from stepbias.theory.claim import Algorithm, Place
from stepbias.theory.statement import Statement
from stepbias.theory.tracing import sqrt
from stepbias.theory.variants import Variant


def adam(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """Definition 2.1, and its variant with epsilon outside the root."""
    m = q.beta * state[0] + (1 - q.beta) * g
    v = q.rho * state[1] + (1 - q.rho) * g**2
    mean, square = m / (1 - q.beta ** (n + 1)), v / (1 - q.rho ** (n + 1))
    return mean / (sqrt(square + q.eps_root) + q.eps), (m, v)


def rmsprop(g: Any, state: Any, n: Any, theta: Any, q: Any) -> Any:
    """Definition 4.1, and its variant with epsilon outside the root."""
    v = q.rho * state[0] + (1 - q.rho) * g**2
    return g / (sqrt(v + q.eps_root) + q.eps), (v,)


_THEOREM = {
    ("adam", "inside"): "Theorem 3.1",
    ("adam", "outside"): "supplement, (4.2)",
    ("rmsprop", "inside"): "Theorem 4.2",
    ("rmsprop", "outside"): "supplement, (2.2)",
}


def wrong_variants(algorithm: Algorithm) -> tuple[Variant, ...]:
    """Factors on the named terms of the explicit sums, near enough to 1 that only an identity tells them."""
    terms = ("L", "Lbar", "P", "Pbar") if algorithm == "adam" else ("Lbar", "P", "Pbar")
    changed: list[dict[str, Any]] = [{term: 1.0001} for term in terms]
    return tuple(Variant(**one) for one in changed)


def _derived(algorithm: Algorithm, place: Place) -> Statement:
    return Statement(
        id=f"{algorithm}-{place}/derived-from-rule",
        source=f"{PAPER}, {_THEOREM[algorithm, place]}",
        statement=(
            f"{NAME[algorithm]}, epsilon {place} the root: the explicit memory sums are what the update rule alone gives, the derivative of its recursion "
            "along the displacements it has made"
        ),
        latex=r"-\frac{M_j}{D_j} + h(\dots) = -\Big[F^{(n)} + h\sum_k \partial_k F^{(n)} \sum_{s=n-k}^{n-1} F^{(s)} + \tfrac h2 J^{(n)} F^{(n)}\Big]_j",
        assumptions=("random mini-batch losses, schedules, steps n up to 40 and hyper-parameters",),
        expected="equal to rounding",
        kind="identity",
        experiment=f"derived.{algorithm}_{place}",
        wrong=tuple(variant.name for variant in wrong_variants(algorithm)),
    )


CLAIMS: tuple[Statement, ...] = tuple(
    _derived(algorithm, place) for algorithm in ALGORITHMS for place in PLACES
)
