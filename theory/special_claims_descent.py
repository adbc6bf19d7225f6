"""Gradient descent and heavy ball on the full batch, as the papers quote them."""

from __future__ import annotations

from stepbias.theory.adam_claims import BOUNDED, PAPER
from stepbias.theory.statement import Statement

EARLIER = "Cattaneo, Klusowski, Shigida, Backward Error Analysis of Adaptive Gradient Algorithms"
ERROR = r"\max_{nh\le T}\|\tilde\theta(nh)-\theta^{(n)}\|"
FULL = "full batch; random losses of all families and normal starts, as drawn"

_DESCENT = (
    Statement(
        id="special-cases/gradient-descent",
        source=f"{PAPER}, Section 1 (Barrett and Dherin)",
        statement="Gradient descent stays O(h^2)-close to the flow of E + (h/4) |grad E|^2",
        latex=ERROR + r" = O(h^2),\quad \dot\theta = -\nabla\big(E + \tfrac h4\|\nabla E\|^2\big)",
        assumptions=(BOUNDED, FULL),
        expected="order >= 2",
        kind="order",
        experiment="special_cases_descent.gradient_descent",
        wrong=("no bias term", "bias term with the other sign", "h/2 in place of h/4"),
        expected_order=2.0,
    ),
    Statement(
        id="special-cases/gradient-flow",
        source=f"{PAPER}, Section 1",
        statement="Gradient descent is only O(h)-close to the gradient flow: the modified loss gains exactly one order",
        latex=ERROR + r" \sim h,\quad \dot\theta = -\nabla E",
        assumptions=(BOUNDED, FULL),
        expected="order = 1",
        kind="order",
        experiment="special_cases_descent.gradient_descent",
        expected_order=1.0,
        exact=True,
        variant="no bias term",
    ),
)

# heavy ball -----------------------------------------------------------------------------------------

_GHOSH = f"{PAPER}, Section 1 (Ghosh, Lyu, Zhang, Wang, Theorem 4.1, full batch)"
_BALL_LATEX = (
    r"\dot\theta = -\frac{1-\beta^{n+1}}{1-\beta}\nabla E - \frac{h\gamma_n(1+\beta)}{2(1-\beta)^3}\nabla^2E\,\nabla E,\quad "
    r"\gamma_n = 1-\beta^{2n+2}-4(n+1)\beta^{n+1}\frac{1-\beta}{1+\beta}"
)
MANY_LATEX = (
    r"\dot\theta = -\frac{1}{1-\beta}\nabla E - h\frac{1+\beta}{4(1-\beta)^3}\nabla\|\nabla E\|^2"
)
MOMENTA = "beta in 0.5, 0.7, 0.9 in turn"

_HEAVY_BALL = (
    Statement(
        id="special-cases/heavy-ball",
        source=_GHOSH,
        statement="Heavy ball stays O(h^2)-close to its piecewise equation with n-dependent coefficients, from the first step on",
        latex=ERROR + " = O(h^2),\\quad " + _BALL_LATEX,
        assumptions=(BOUNDED, FULL, MOMENTA),
        expected="order >= 2",
        kind="order",
        experiment="special_cases_descent.heavy_ball_steps",
        wrong=(
            "no bias term",
            "bias term with the other sign",
            "h/2 in place of h/4",
            "many steps",
        ),
        expected_order=2.0,
    ),
    Statement(
        id="special-cases/heavy-ball-defect",
        source=_GHOSH,
        statement=(
            "One step of heavy ball from the flow, with the momentum of gradients along it, misses the flow by O(h^3), at every n: "
            "this tells gamma_n of the first steps, which an O(h^2) distance over many steps does not"
        ),
        latex=r"\max_n\Big\|\tilde\theta(t_{n+1})-\tilde\theta(t_n)+h\sum_{k\le n}\beta^{n-k}\nabla E(\tilde\theta(t_k))\Big\| = O(h^3),\quad "
        + _BALL_LATEX,
        assumptions=(BOUNDED, FULL, MOMENTA),
        expected="order >= 3",
        kind="order",
        experiment="special_cases_descent.heavy_ball_defect",
        wrong=(
            "no bias term",
            "gamma = 1",
            "gamma without its second part",
            "n for n + 1 in gamma",
            "beta^(n+1) for beta^(2n+2) in gamma",
        ),
        expected_order=3.0,
    ),
    Statement(
        id="special-cases/heavy-ball-coefficients",
        source=f"{_GHOSH}; derived in stepbias.theory.heavy_ball",
        statement="The sums that backward error analysis gives for heavy ball are the closed form with gamma_n, for every n",
        latex=r"\sum_{k\le n}\beta^{n-k}\sum_{s=k}^{n-1}\sigma_s+\tfrac12\sigma_n^2 = \frac{\gamma_n(1+\beta)}{2(1-\beta)^3},\quad "
        r"\sigma_s=\sum_{k\le s}\beta^{s-k}",
        assumptions=("n = 0 .. 12; beta rational, random, and 9/10",),
        expected="equal, in fractions",
        kind="exact",
        experiment="special_cases_descent.heavy_ball_coefficients",
        wrong=(
            "gamma = 1",
            "gamma without its second part",
            "n for n + 1 in gamma",
            "beta^(n+1) for beta^(2n+2) in gamma",
        ),
    ),
    Statement(
        id="special-cases/heavy-ball-many-steps",
        source=f"{PAPER}, Section 5, with its signs corrected",
        statement="From the first step on, the equation for many steps is only O(h)-close: the first steps lack momentum",
        latex=ERROR + r" \sim h,\quad " + MANY_LATEX,
        assumptions=(BOUNDED, FULL, MOMENTA),
        expected="order = 1",
        kind="order",
        experiment="special_cases_descent.heavy_ball_steps",
        expected_order=1.0,
        exact=True,
        variant="many steps",
    ),
    Statement(
        id="special-cases/heavy-ball-settled",
        source=f"{PAPER}, Section 5, with its signs corrected; the start is derived in stepbias.theory.heavy_ball",
        statement=(
            "After many steps the equation for many steps is O(h^2)-close if it starts at theta^(0) + h beta / (1-beta)^2 grad E(theta^(0)): "
            "the squared two-norm is penalised with the coefficient h (1+beta) / (4 (1-beta)^3)"
        ),
        latex=r"\|\tilde\theta(T)-\theta^{(N)}\| = O(h^2),\quad \tilde\theta(0)=\theta^{(0)}+\frac{h\beta}{(1-\beta)^2}\nabla E(\theta^{(0)}),\quad "
        + MANY_LATEX,
        assumptions=(BOUNDED, FULL, MOMENTA, "beta^N < 2e-10"),
        expected="order >= 2",
        kind="order",
        experiment="special_cases_descent.heavy_ball_settled",
        wrong=(
            "many steps, no bias term",
            "many steps, bias term with the other sign",
            "many steps, (1 - beta)^2 for (1 - beta)^3",
        ),
        expected_order=2.0,
    ),
    Statement(
        id="special-cases/heavy-ball-time-change",
        source=f"{PAPER}, Example 2.3; {EARLIER}, Examples 3.5 and 3.8",
        statement=(
            "Adam's equation for a large epsilon, in the step size h (1-beta) / sqrt(epsilon) and the time that goes with it, "
            "is heavy ball's equation for many steps; at beta = 0 it is that of gradient descent"
        ),
        latex=r"\eta = \frac{h(1-\beta)}{\sqrt\varepsilon}:\quad \frac{d\theta}{d(n\eta)} = -\frac{\nabla E}{1-\beta} - "
        r"\eta\frac{1+\beta}{4(1-\beta)^3}\nabla\|\nabla E\|^2",
        assumptions=("beta and sqrt(epsilon) rational, random; beta = 0",),
        expected="equal, in fractions",
        kind="exact",
        experiment="special_cases_descent.time_change",
        wrong=(
            "step h / sqrt(epsilon)",
            "step h (1 - beta) / epsilon",
            "step h / (sqrt(epsilon) (1 - beta))",
        ),
    ),
)

CLAIMS: tuple[Statement, ...] = (*_DESCENT, *_HEAVY_BALL)
