"""One step at a time: the defect of the modified equation and of its leading part, for Adam and RMSProp.

The defect of step n is what one step of the optimizer from flow(n h) misses of flow((n + 1) h), the gradient history being that of the flow at its own
past times. It enters no later step, so there is no factor exp(d T): sharper than the global error, and cheaper to resolve.
"""

from __future__ import annotations

from stepbias.theory.adam_claims import (
    ALGORITHMS,
    AWAY,
    BOUNDED,
    NAME,
    PAPER,
    PLACES,
    field_latex,
    wrong_variants,
)
from stepbias.theory.claim import Algorithm, Claim, Place
from stepbias.theory.variants import LEADING

_THEOREM: dict[tuple[Algorithm, Place], str] = {
    ("adam", "inside"): "supplement, Theorem SA-5.3",
    ("adam", "outside"): "supplement, Theorem SA-4.3",
    ("rmsprop", "inside"): "supplement, Theorem SA-3.3",
    ("rmsprop", "outside"): "supplement, Theorem SA-2.3",
}
_DEFECT = r"\max_{nh\le T}\|\tilde\theta((n+1)h)-\tilde\theta(nh)+h\,\mathcal M_n/\mathcal D_n\|"
_ALONG = (
    r"\quad \mathcal M_n,\mathcal D_n\ \text{from}\ \nabla E_k(\tilde\theta(kh)),\ k\le n,\quad "
)


def _assumptions(place: Place) -> tuple[str, ...]:
    return (BOUNDED,) if place == "inside" else (BOUNDED, AWAY)


def _defect(algorithm: Algorithm, place: Place) -> Claim:
    return Claim(
        id=f"{algorithm}-{place}/local-defect",
        source=f"{PAPER}, {_THEOREM[algorithm, place]}",
        statement=(
            f"{NAME[algorithm]} with epsilon {place} the root: one step from the flow, with the gradient history taken along the flow, "
            "misses the flow by O(h^3), uniformly over 0 <= n <= T/h; on random smooth losses, full batch and cyclic mini-batches"
        ),
        latex=_DEFECT + r" = O(h^3)," + _ALONG + field_latex(place),
        assumptions=_assumptions(place),
        expected="order >= 3",
        expected_order=3.0,
        algorithm=algorithm,
        place=place,
        problems="cyclic",
        wrong=wrong_variants(algorithm),
        kind="local",
    )


def _leading_defect(algorithm: Algorithm, place: Place) -> Claim:
    return Claim(
        id=f"{algorithm}-{place}/local-defect-leading",
        source=f"{PAPER}, {_THEOREM[algorithm, place]} without the O(h) term of the field",
        statement=(
            f"{NAME[algorithm]} with epsilon {place} the root: one step from the flow of the leading field alone misses that flow by O(h^2) and no less"
        ),
        latex=_DEFECT + r" \sim h^2," + _ALONG + r"\dot\theta_j = -M_j/D_j",
        assumptions=_assumptions(place),
        expected="order = 2",
        expected_order=2.0,
        algorithm=algorithm,
        place=place,
        problems="cyclic",
        exact=True,
        variant=LEADING,
        kind="local",
    )


CLAIMS: tuple[Claim, ...] = tuple(
    claim
    for algorithm in ALGORITHMS
    for place in PLACES
    for claim in (_defect(algorithm, place), _leading_defect(algorithm, place))
)
