r"""Statements on Adam's trajectories on the bilinear model, Figures 2 and 3 of Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam".

The figures show curves; as claims they say in which order the one-norms of the gradient stand where the curves have come down to the same loss. The level is
one hundredth of the starting loss, at the first passage: the residual is a tenth of what it was, epsilon is still small against the squared gradient, and
no trajectory has oscillated yet.

The direction follows from the bias (:func:`stepbias.theory.bilinear_path.imbalance_rate`) where no component of the gradient changes sign on the way, and
is asymptotic in h. At the figures' largest step, 0.001, a memory of 200 steps or more is not short against the path: the rule then fails for nearly equal
decays, and from many starts where a component does change sign. These are statements of their own, expected to be refuted.
"""

from __future__ import annotations

from stepbias.theory.adam_claims import PAPER
from stepbias.theory.statement import Statement

REVERSED = "order reversed"
SWAPPED = "beta and rho swapped"
LEADING = "without the bias term"
SETTLED = "limit for many steps"

_NORM = r"\|\nabla E(\theta)\|_1\big|_{E(\theta)=E(\theta^{(0)})/100}"
_ONE_SIDE = (
    "theta_1 theta_2 has the sign of y/x at the start and no component of the gradient changes sign before the loss is matched "
    "(starts are drawn so; a trajectory that does is excluded and counted)"
)
_SMALL = "epsilon is small against every squared gradient component down to the matched loss (1e-6 and 1e-8, the gradient above 0.01 on the draws)"
_UNEQUAL = "the two moduli differ by 5 % or more at the start (from equal ones every trajectory is the same curve)"
_LOSS = "loss (y - theta_1 theta_2 x)^2/2, full batch, epsilon inside the root; the papers' x, y and start, and random ones"
_WHERE = "at the first passage through 1/100 of the starting loss"


_CROSSES = "theta_1 theta_2 has the sign of -y/x at the start, so that one component of the gradient changes sign on the way (starts are drawn so)"
_MEMORY = (
    "h is small: at h = 0.001 the memories h/(1 - beta), h/(1 - rho) are at most 0.1 where they are drawn (and as in the figure), the paths 0.5 or "
    "longer; longer memories are judged at h = 0.0003 (what they do at 0.001 is the statement bilinear/long-memory)"
)


def _order(name: str, figure: str, statement: str, latex: str, *more: str) -> Statement:
    return Statement(
        id=f"bilinear/{name}",
        source=f"{PAPER}, {figure} and Section 6",
        statement=f"Adam on the bilinear model: {statement}, {_WHERE}",
        latex=latex,
        assumptions=(_LOSS, _ONE_SIDE, _SMALL, _UNEQUAL, *more),
        expected="smaller <= larger",
        kind="inequality",
        experiment=f"bilinear.{name.replace('-', '_')}",
        wrong=(REVERSED, SWAPPED),
    )


CLAIMS: tuple[Statement, ...] = (
    Statement(
        id="bilinear/imbalance-rate",
        source=f"{PAPER}, Remark 3.2 on the model of Section 6; derived in stepbias.theory.bilinear_path",
        statement=(
            "Adam's modified field for epsilon to 0 changes |theta_1| - |theta_2| at the rate -h (l_n(beta) - l_n(rho)) (|theta_1| - |theta_2|) / "
            "|theta_1 theta_2|, l_n the mean age of a moving average: the imbalance, and with it the one-norm at a given loss, shrinks for beta > rho "
            "and grows for rho > beta"
        ),
        latex=r"\frac{d}{dt}(|\theta_1|-|\theta_2|) = -h\,(\ell_n(\beta)-\ell_n(\rho))\,\frac{|\theta_1|-|\theta_2|}{|\theta_1\theta_2|},\quad "
        r"\ell_n(\beta)=\frac{\beta}{1-\beta}-\frac{(n+1)\beta^{n+1}}{1-\beta^{n+1}}",
        assumptions=("theta_1 theta_2 has the sign of y/x", "epsilon = 1e-40 stands for 0"),
        expected="difference within rounding",
        kind="identity",
        experiment="bilinear_flow.imbalance_rate",
        wrong=(SWAPPED, LEADING, SETTLED),
    ),
    _order(
        "larger-beta",
        "Figure 2",
        "the larger beta, the smaller the one-norm of the gradient",
        rf"\beta<\beta' \Rightarrow {_NORM}(\beta') \le {_NORM}(\beta)",
    ),
    _order(
        "larger-rho",
        "Figure 2",
        "the larger rho, the larger the one-norm of the gradient",
        rf"\rho<\rho' \Rightarrow {_NORM}(\rho) \le {_NORM}(\rho')",
    ),
    _order(
        "larger-step-beta-above-rho",
        "Figure 3",
        "for beta > rho, the larger the step size, the smaller the one-norm of the gradient",
        rf"\beta>\rho,\ h<h' \Rightarrow {_NORM}(h') \le {_NORM}(h)",
        _MEMORY,
    ),
    _order(
        "larger-step-rho-above-beta",
        "Figure 3",
        "for rho > beta, the larger the step size, the larger the one-norm of the gradient",
        rf"\rho>\beta,\ h<h' \Rightarrow {_NORM}(h) \le {_NORM}(h')",
        _MEMORY,
    ),
    Statement(
        id="bilinear/minimum-reached",
        source=f"{PAPER}, Figures 2 and 3",
        statement=(
            "Adam on the bilinear model: the larger beta, the smaller rho, and with the step size as the sign of beta - rho says, the nearer is the minimum "
            "that is reached to the limit of the points of least one-norm at a given loss (the figures' cross), measured by ||theta_1| - |theta_2||"
        ),
        latex=r"\big||\theta_1^{(\infty)}|-|\theta_2^{(\infty)}|\big|\ \text{decreases in }\beta,\ \text{increases in }\rho",
        assumptions=(
            _LOSS,
            "theta_1 theta_2 has the sign of y/x at the start (starts are drawn so)",
            _UNEQUAL,
            "the trajectory settles: residual below 1e-6 of y, the minimum changing by less than 1e-6 over the second half (others are excluded and counted)",
        ),
        expected="smaller <= larger",
        kind="inequality",
        experiment="bilinear.minimum_reached",
        wrong=(REVERSED, SWAPPED),
    ),
    Statement(
        id="bilinear/other-quadrants",
        source=f"{PAPER}, Figure 2 and Section 6, without the assumption that sqrt(epsilon) is small against all components of the gradient",
        statement=(
            "dropped: no component of the gradient changes sign. Adam on the bilinear model, step size 0.0001: the larger beta, the smaller the one-norm "
            f"of the gradient, and the larger rho, the larger, {_WHERE}"
        ),
        latex=rf"\beta<\beta' \Rightarrow {_NORM}(\beta') \le {_NORM}(\beta),\quad \rho<\rho' \Rightarrow {_NORM}(\rho) \le {_NORM}(\rho')",
        assumptions=(
            _LOSS,
            _CROSSES,
            _UNEQUAL,
            "the figure's settings: beta varied at rho = 0.999, rho varied at beta = 0.9",
        ),
        expected="smaller <= larger, as on one side",
        kind="inequality",
        experiment="bilinear.other_quadrants",
        wrong=(REVERSED, SWAPPED),
    ),
    Statement(
        id="bilinear/other-quadrants-large-step",
        source=f"{PAPER}, Figure 2 and Section 6, without that assumption and with its step size, 0.001",
        statement=(
            "dropped: no component of the gradient changes sign, and h small against 1 - rho. Adam on the bilinear model, step size 0.001: the larger rho, "
            f"the larger the one-norm of the gradient, {_WHERE}"
        ),
        latex=rf"\rho<\rho' \Rightarrow {_NORM}(\rho) \le {_NORM}(\rho')",
        assumptions=(_LOSS, _CROSSES, _UNEQUAL),
        expected="fails from many starts, where rho = 0.999 remembers the whole path; at h = 0.0001 it holds (bilinear/other-quadrants)",
        kind="inequality",
        experiment="bilinear.other_quadrants_large_step",
        expected_verdict="refuted",
    ),
    Statement(
        id="bilinear/long-memory",
        source=f"{PAPER}, Section 6, without the condition that h is small against the memory (the caption of Figure 3 has beta significantly larger than rho)",
        statement=(
            "dropped: h small against 1 - beta and 1 - rho. Adam on the bilinear model, step size 0.0003 against 0.001: the larger has the smaller one-norm "
            f"of the gradient if beta > rho and the larger one if rho > beta, {_WHERE}"
        ),
        latex=rf"h<h' \Rightarrow \mathrm{{sign}}(\beta-\rho)\,\big({_NORM}(h)-{_NORM}(h')\big) \ge 0",
        assumptions=(
            _LOSS,
            _ONE_SIDE,
            _UNEQUAL,
            "(beta, rho) = (0.995, 0.99), (0.999, 0.9), (0.99, 0.995), (0.9, 0.9999)",
        ),
        expected="fails: terms of higher order in h outweigh the bias, and from h = 0.0003 down they do not",
        kind="inequality",
        experiment="bilinear.long_memory",
        expected_verdict="refuted",
    ),
    Statement(
        id="bilinear/flow-at-matched-loss",
        source=f"{PAPER}, Theorem 3.1 on the model of Section 6",
        statement=(
            "The modified equation of Adam (epsilon inside the root) predicts the one-norm of the gradient at matched loss to O(h^2), "
            f"on the bilinear model, {_WHERE}"
        ),
        latex=rf"{_NORM}(\theta) - {_NORM}(\tilde\theta) = O(h^2)",
        assumptions=(_LOSS, _ONE_SIDE, _UNEQUAL),
        expected="order >= 2",
        kind="order",
        experiment="bilinear_flow.flow_at_matched_loss",
        expected_order=2.0,
        wrong=(LEADING, SWAPPED),
    ),
)
