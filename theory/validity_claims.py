r"""How the constant C in "distance <= C h^2" grows where the theorems' assumptions wear out; derived here, measured by the engine.

C is the limit of max_n |iterate - flow| / h^2 for h -> 0, here for full-batch Adam with epsilon inside the root.

**epsilon -> 0, a gradient component changes sign.** In the layer of duration sqrt(epsilon)/a around the sign change (a the rate at which the component moves)
every h comes with 1/sqrt(epsilon): the distance is h F(h / sqrt(epsilon)) with F(x) ~ x for x -> 0, hence C = c epsilon^{-1/2} (1 + O(sqrt(epsilon))).

**epsilon -> 0, no component near 0.** Every term of the expansion is smooth in epsilon at 0: C(epsilon) = C(0) + O(epsilon).

**rho -> 1.** The next term of the expansion holds the second moments of the two memories; that of rho is rho (1 + rho) / (1 - rho)^2, hence
C = c (1 - rho)^{-2} (1 + O(1 - rho)) at a fixed beta and a fixed horizon.

**T -> 0.** The distance is the sum of local errors c(t) h^3 over T / h steps, and the first steps, whose coefficients still depend on n, add O(h^3):
C = c(0) T (1 + O(T)).
"""

from __future__ import annotations

from stepbias.theory.adam_claims import PAPER
from stepbias.theory.statement import Statement

_SOURCE = f"{PAPER}, Theorem 3.1, the constant in its bound; law derived in stepbias.theory.validity_claims"
GROWTH = 0.02
"""Between epsilon = 2.5e-5 and a quarter of it C(0) (1 + K epsilon) shows the exponent 1.4e-5 K: below this for any K < 1500, where a power 1/2 shows 0.5."""
_CONSTANT = r"C = \lim_{h\to 0} h^{-2} \max_{nh\le T}\|\tilde\theta(nh)-\theta^{(n)}\|"
_EXTRAPOLATED = (
    "C is extrapolated from three step sizes; their last two differences bound its error"
)


def _law(
    name: str,
    words: str,
    latex: str,
    order: float,
    in_what: str,
    wrong: tuple[str, ...],
    where: str,
) -> Statement:
    return Statement(
        id=f"validity/{name}",
        source=_SOURCE,
        statement=f"Adam with epsilon inside the root, full batch: {words}",
        latex=rf"{_CONSTANT},\quad {latex}",
        assumptions=(_EXTRAPOLATED, where),
        expected=f"order = {order:g} in {in_what}",
        kind="order",
        experiment=f"validity.{name.replace('-', '_')}",
        wrong=wrong,
        expected_order=order,
        exact=True,
    )


_CROSSING = "a gradient component changes sign once on the path, cleanly (surveyed; other draws are excluded)"
_AWAY = "no gradient component comes near 0 on the path (surveyed; other draws are excluded)"

CLAIMS: tuple[Statement, ...] = (
    _law(
        "constant-with-sign-change",
        "where a gradient component changes sign, the constant grows like epsilon^(-1/2); 1/C is measured",
        r"1/C \sim \varepsilon^{1/2}",
        0.5,
        "epsilon",
        ("C epsilon^(1/4)", "C epsilon^(-1/4)"),
        _CROSSING,
    ),
    Statement(
        id="validity/constant-without-sign-change",
        source=_SOURCE,
        statement="Adam with epsilon inside the root, full batch: where no gradient component comes near 0, the constant has a limit as epsilon -> 0",
        latex=rf"{_CONSTANT},\quad C(\varepsilon) = C(0) + O(\varepsilon)",
        assumptions=(_EXTRAPOLATED, _AWAY),
        expected=f"|growth exponent| <= {GROWTH:g}",
        kind="inequality",
        experiment="validity.constant_without_sign_change",
        wrong=("a sign change",),
    ),
    _law(
        "constant-in-memory",
        "the constant grows like (1 - rho)^(-2); 1/C is measured",
        r"1/C \sim (1-\rho)^2",
        2.0,
        "1 - rho",
        ("C (1 - rho)", "C / sqrt(1 - rho)"),
        _AWAY,
    ),
    _law(
        "constant-in-horizon",
        "the constant is proportional to a short horizon",
        r"C \sim T",
        1.0,
        "T",
        ("C T", "C / sqrt(T)"),
        _AWAY,
    ),
)
