"""Large epsilon, the sign flow, sign descent without memory, and epsilon inside the root."""

from __future__ import annotations

from stepbias.theory.adam_claims import BOUNDED, PAPER
from stepbias.theory.special_claims_descent import EARLIER, ERROR, FULL
from stepbias.theory.statement import Statement

_INSIDE = (
    "epsilon inside the root, from 1e3 to 1e6, against squared gradient components of order 1 to 20"
)

_LARGE_EPSILON = (
    Statement(
        id="special-cases/adam-large-epsilon",
        source=f"{PAPER}, Example 2.3; {EARLIER}, Example 3.8",
        statement=(
            "With a large epsilon and after the bias correction is over, Adam is heavy ball with step size h (1-beta) / sqrt(epsilon): "
            "from two equal iterates on, the distance over a fixed path is of order 1/epsilon (sqrt(V + epsilon) = sqrt(epsilon) (1 + V / (2 epsilon) - ..))"
        ),
        latex=r"\max_n\|\theta^{(n)}_{\mathrm{Adam}}-\theta^{(n)}_{\mathrm{HB}}\| \sim \varepsilon^{-1},\quad \eta = h\frac{1-\beta}{\sqrt\varepsilon}",
        assumptions=(FULL, _INSIDE, "from step 400 on: beta^400 < 2^-60"),
        expected="order = 1 in 1/epsilon",
        kind="order",
        experiment="special_cases_epsilon.adam_large_epsilon",
        wrong=(
            "step h / sqrt(epsilon)",
            "step h / (sqrt(epsilon) (1 - beta))",
            "from the first step",
        ),
        expected_order=1.0,
        exact=True,
    ),
    Statement(
        id="special-cases/rmsprop-large-epsilon",
        source=f"{EARLIER}, Example 3.5; {PAPER}, Example 2.3 with beta = 0",
        statement="With a large epsilon RMSProp is gradient descent with step size h / sqrt(epsilon) from the first step on: the distance is O(1/epsilon)",
        latex=r"\max_n\|\theta^{(n)}_{\mathrm{RMSProp}}-\theta^{(n)}_{\mathrm{GD}}\| \sim \varepsilon^{-1},\quad \eta = h/\sqrt\varepsilon",
        assumptions=(FULL, _INSIDE),
        expected="order = 1 in 1/epsilon",
        kind="order",
        experiment="special_cases_epsilon.rmsprop_large_epsilon",
        wrong=("step h / epsilon", "step h (1 - rho) / sqrt(epsilon)"),
        expected_order=1.0,
        exact=True,
    ),
)

# the sign flow --------------------------------------------------------------------------------------

MA = f"{PAPER}, Section 1 (Ma, Wu, E)"
SIGN_LATEX = r"\dot\theta_j = -\frac{\nabla_jE}{|\nabla_jE|+\varepsilon}"
SIGN_RULE = "full batch, epsilon outside the root, 1 and 0.1 (at 1e-8 reported, not judged)"
_WRONG_SIGNS = ("norm of the gradient for its modulus", "epsilon inside the root")


def _sign_flow(algorithm: str, name: str, where: str) -> Statement:
    return Statement(
        id=f"special-cases/{algorithm}-sign-flow",
        source=MA,
        statement=f"{name} is O(h)-close to the sign flow softened by epsilon, and no closer{where}",
        latex=ERROR + r" \sim h,\quad " + SIGN_LATEX,
        assumptions=(BOUNDED, SIGN_RULE),
        expected="order = 1",
        kind="order",
        experiment=f"special_cases_epsilon.{algorithm}_sign_flow",
        wrong=_WRONG_SIGNS,
        expected_order=1.0,
        exact=True,
    )


_SIGN = (
    _sign_flow("adam", "Adam", ", where beta is not rho"),
    _sign_flow("rmsprop", "RMSProp", ""),
    Statement(
        id="special-cases/sign-descent",
        source=f"{EARLIER}, Remark 3.4 (the part called nonzero steps)",
        statement=(
            "Steps of the size h g / sqrt(g^2 + epsilon), which have no memory, have a bias term too: beside -g, -(h/2) epsilon / (g^2 + epsilon) "
            "times the gradient of the perturbed one-norm; with it the distance is O(h^2)"
        ),
        latex=ERROR
        + r" = O(h^2),\quad \dot\theta_j = -\frac{1}{\sqrt{|\nabla_jE|^2+\varepsilon}}\Big[\nabla_jE"
        r"+\frac h2\frac{\varepsilon}{|\nabla_jE|^2+\varepsilon}\nabla_j\|\nabla E\|_{1,\varepsilon}\Big]",
        assumptions=(BOUNDED, "full batch, rho = 0, epsilon inside the root, 0.1 and 0.01"),
        expected="order >= 2",
        kind="order",
        experiment="special_cases_epsilon.sign_descent_without_memory",
        wrong=("no bias term", "bias term with the other sign", "half of the bias term"),
        expected_order=2.0,
    ),
    Statement(
        id="special-cases/bounded-derivative",
        source=f"{PAPER}, Remark 2.2",
        statement="With epsilon inside the root the derivative of x -> 1 / sqrt(x + epsilon) is bounded for x >= 0; with epsilon outside it is not",
        latex=r"\sup_{x\ge0}\Big|\frac{d}{dx}\frac1{\sqrt{x+\varepsilon}}\Big| = \tfrac12\varepsilon^{-3/2}",
        assumptions=(
            "difference quotients over x from 1e-40 to 1e6, in 100 digits; epsilon from 1e-12 to 1e2",
        ),
        expected="quotients <= epsilon^(-3/2) / 2",
        kind="inequality",
        experiment="special_cases_epsilon.bounded_derivative",
        wrong=("outside",),
    ),
)

CLAIMS: tuple[Statement, ...] = (*_LARGE_EPSILON, *_SIGN)
