"""Special cases that the papers quote or derive: gradient descent, heavy ball, SGD over one epoch, large epsilon, sign descent; and misprints about them."""

from __future__ import annotations

from stepbias.theory import special_claims_descent, special_claims_epsilon, special_claims_shuffling
from stepbias.theory.adam_claims import BOUNDED, PAPER
from stepbias.theory.special_claims_descent import EARLIER, MANY_LATEX, MOMENTA
from stepbias.theory.special_claims_epsilon import MA, SIGN_LATEX, SIGN_RULE
from stepbias.theory.special_claims_shuffling import ORDERS
from stepbias.theory.statement import Statement, Verdict


def _slip(
    name: str,
    source: str,
    statement: str,
    latex: str,
    rule: str,
    experiment: str,
    order: float,
    variant: str,
    verdict: Verdict,
) -> Statement:
    return Statement(
        id=f"slips/{name}",
        source=source,
        statement=statement,
        latex=latex,
        assumptions=(BOUNDED, rule),
        expected=f"order >= {order:g}" + (" is refuted" if verdict == "refuted" else ""),
        kind="order",
        experiment=experiment,
        expected_order=order,
        expected_verdict=verdict,
        slip=True,
        variant=variant,
    )


_SLIPS = (
    _slip(
        "heavy-ball-sign-printed",
        f"{PAPER}, Section 5; {EARLIER}, Section 4",
        "As printed: the dynamics of heavy ball are close to theta' = grad E / (1-beta) + h (1+beta) / (4 (1-beta)^3) grad |grad E|^2",
        r"\dot\theta = \frac1{1-\beta}\nabla E + h\frac{1+\beta}{4(1-\beta)^3}\nabla\|\nabla E\|^2",
        MOMENTA,
        "special_cases_descent.heavy_ball_settled",
        2.0,
        "many steps, without minus signs",
        "refuted",
    ),
    _slip(
        "heavy-ball-sign-corrected",
        f"{PAPER}, Section 5; {EARLIER}, Section 4",
        "Corrected: both terms have a minus sign; at the end of the path, from a start moved by what the first steps lack",
        MANY_LATEX,
        MOMENTA,
        "special_cases_descent.heavy_ball_settled",
        2.0,
        "many steps",
        "confirmed",
    ),
    _slip(
        "epoch-norm-printed",
        f"{PAPER}, Section 1",
        "As printed: the modified loss of SGD adds (h/4m) sum over k of |grad E|^2, the same term m times",
        r"\tilde E_{\mathrm{SGD}} = E+\frac h{4m}\sum_k\|\nabla\hat E\|^2",
        ORDERS,
        "special_cases_shuffling.epoch_order",
        3.0,
        "without the index k",
        "refuted",
    ),
    _slip(
        "epoch-norm-corrected",
        f"{EARLIER}, Section 1",
        "Corrected: the gradient of the k-th mini-batch loss",
        r"\tilde E_{\mathrm{SGD}} = E+\frac h{4m}\sum_k\|\nabla\hat E_k\|^2",
        ORDERS,
        "special_cases_shuffling.epoch_order",
        3.0,
        "",
        "confirmed",
    ),
    _slip(
        "sign-flow-norm-printed",
        MA,
        "As printed: Adam follows to first order theta' = -grad E / (norm of grad E + epsilon)",
        r"\dot\theta = -\frac{\nabla E}{\|\nabla E\|+\varepsilon}",
        SIGN_RULE,
        "special_cases_epsilon.adam_sign_flow",
        1.0,
        "norm of the gradient for its modulus",
        "refuted",
    ),
    _slip(
        "sign-flow-modulus-corrected",
        f"{EARLIER}, Section 1 (Ma, Wu, E)",
        "Corrected: the modulus of each component",
        SIGN_LATEX,
        SIGN_RULE,
        "special_cases_epsilon.adam_sign_flow",
        1.0,
        "",
        "confirmed",
    ),
)

CLAIMS: tuple[Statement, ...] = (
    *special_claims_descent.CLAIMS,
    *special_claims_shuffling.CLAIMS,
    *special_claims_epsilon.CLAIMS,
    *_SLIPS,
)
