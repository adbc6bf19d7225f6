"""The four main theorems on Adam and RMSProp, each on random losses, on the bilinear model and on a regression, with their negative control."""

from __future__ import annotations

from stepbias.theory.claim import Algorithm, Claim, Place, Problems
from stepbias.theory.variants import LEADING, Variant

PAPER = "Cattaneo, Klusowski, Shigida, On the Implicit Bias of Adam"
_THEOREM: dict[tuple[Algorithm, Place], str] = {
    ("adam", "inside"): "Theorem 3.1",
    ("adam", "outside"): "supplement, Theorem SA-4.4",
    ("rmsprop", "inside"): "Theorem 4.2",
    ("rmsprop", "outside"): "supplement, Theorem SA-2.4",
}
NAME = {"adam": "Adam", "rmsprop": "RMSProp"}
_ON: dict[str, str] = {
    "random": "random smooth mini-batch losses",
    "bilinear": "the bilinear model (y - t1 t2 x)^2 / 2, full batch",
    "regression": "logistic regression with mini-batches on the breast-cancer data",
}
BOUNDED = "partial derivatives up to order 4 are bounded on the path (every loss here is smooth; a path that overflows is excluded)"
AWAY = "no R^(l) of a step still in memory comes near 0 on the path (surveyed along coarse iterates; draws below the limit are excluded and counted)"


def field_latex(place: Place) -> str:
    """The modified equation of Adam and RMSProp, one formula for both."""
    cubed, single = (
        (r"R_j^3", "R_j")
        if place == "inside"
        else (r"(R_j+\varepsilon)^2 R_j", r"(R_j+\varepsilon)")
    )
    return (
        rf"\dot\theta_j = -\frac{{M_j}}{{{single}}} + h\Big(\frac{{M_j(2P_j+\bar P_j)}}{{2 {cubed}}}"
        rf" - \frac{{2L_j+\bar L_j}}{{2 {single}}}\Big)"
    )


def wrong_variants(algorithm: Algorithm) -> tuple[Variant, ...]:
    """Wrong variants that differ from the statement for this algorithm (L of RMSProp is 0)."""
    common = (
        Variant(bias=0.0),
        Variant(bias=-1.0),
        Variant(Lbar=0.0),
        Variant(Pbar=0.0),
        Variant(P=0.5),
        Variant(flip_bias_correction=True),
        Variant(swap_eps=True),
        Variant(short_memory=True),
    )
    return (*common, Variant(L=0.5)) if algorithm == "adam" else common


def _theorem(algorithm: Algorithm, place: Place, problems: Problems) -> Claim:
    suffix = {
        "random": "global-order",
        "bilinear": "bilinear",
        "regression": "logistic-regression",
    }[problems]
    return Claim(
        id=f"{algorithm}-{place}/{suffix}",
        source=f"{PAPER}, {_THEOREM[algorithm, place]}",
        statement=(
            f"{NAME[algorithm]} with epsilon {place} the root stays O(h^2)-close to the piecewise modified equation, "
            f"uniformly over 0 <= n <= T/h; on {_ON[problems]}"
        ),
        latex=r"\max_{nh\le T}\|\tilde\theta(nh)-\theta^{(n)}\| = O(h^2),\quad "
        + field_latex(place),
        assumptions=(BOUNDED,) if place == "inside" else (BOUNDED, AWAY),
        expected="order >= 2",
        expected_order=2.0,
        algorithm=algorithm,
        place=place,
        problems=problems,
        wrong=wrong_variants(algorithm),
    )


def _control(algorithm: Algorithm, place: Place) -> Claim:
    return Claim(
        id=f"{algorithm}-{place}/leading-field",
        source=f"{PAPER}, {_THEOREM[algorithm, place]} without its O(h) term",
        statement=f"{NAME[algorithm]} with epsilon {place} the root is only O(h)-close to the leading field alone",
        latex=r"\max_{nh\le T}\|\tilde\theta(nh)-\theta^{(n)}\| \sim h,\quad \dot\theta_j = -M_j/D_j",
        assumptions=(BOUNDED,) if place == "inside" else (BOUNDED, AWAY),
        expected="order = 1",
        expected_order=1.0,
        algorithm=algorithm,
        place=place,
        problems="random",
        exact=True,
        variant=LEADING,
    )


ALGORITHMS: tuple[Algorithm, ...] = ("adam", "rmsprop")
PLACES: tuple[Place, ...] = ("inside", "outside")
_PROBLEMS: tuple[Problems, ...] = ("random", "bilinear", "regression")

CLAIMS: tuple[Claim, ...] = tuple(
    claim
    for algorithm in ALGORITHMS
    for place in PLACES
    for claim in (
        *(_theorem(algorithm, place, problems) for problems in _PROBLEMS),
        _control(algorithm, place),
    )
)
