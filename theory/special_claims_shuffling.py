"""One epoch of SGD in the mean over its orders, as the papers quote it."""

from __future__ import annotations

from stepbias.theory.adam_claims import BOUNDED, PAPER
from stepbias.theory.statement import Statement

_SMITH = f"{PAPER}, Section 1 (Smith, Dherin, Barrett, De)"
_MEAN = r"\Big\|\frac1{m!}\sum_\sigma\theta^{(m)}_\sigma-\tilde\theta(mh)\Big\|"
EPOCH_LATEX = r"\dot\theta = -\nabla\Big(E+\frac h{4m}\sum_k\|\nabla\hat E_k\|^2\Big)"
ORDERS = "the mean is over all m! orders; m in 2, 3, 4, 5, 7 in turn"
_WRONG_EPOCHS = (
    "without the index k",
    "no bias term",
    "bias term with the other sign",
    "h/4 without 1/m",
    "h/2 in place of h/4",
)

CLAIMS: tuple[Statement, ...] = (
    Statement(
        id="special-cases/epoch-order",
        source=_SMITH,
        statement="After one epoch of SGD the mean over all orders is O(h^3)-close to the flow of E + (h/4m) sum |grad E_k|^2 at time m h, at fixed m",
        latex=_MEAN + r" = O(h^3),\quad " + EPOCH_LATEX,
        assumptions=(BOUNDED, ORDERS),
        expected="order >= 3",
        kind="order",
        experiment="special_cases_shuffling.epoch_order",
        wrong=_WRONG_EPOCHS,
        expected_order=3.0,
    ),
    Statement(
        id="special-cases/epoch-coefficient",
        source=f"{_SMITH}; the coefficient is derived in stepbias.theory.shuffling",
        statement="The distance is h^3 D + O(h^4), D being a double sum over the batches (m^2) and a single one (m): no triple sum is left",
        latex=r"\frac1{m!}\sum_\sigma\theta^{(m)}_\sigma-\tilde\theta(mh)-h^3D = O(h^4),\quad "
        r"D=\sum_{a,b}\tfrac1{12}\{2H_aH_bg_a-H_aH_ag_b-H_aH_bg_b+T_a[g_a,g_b]-T_a[g_b,g_b]\}-\sum_a\{\tfrac13H_aH_ag_a+\tfrac1{12}T_a[g_a,g_a]\}",
        assumptions=(BOUNDED, ORDERS),
        expected="order >= 4",
        kind="order",
        experiment="special_cases_shuffling.epoch_coefficient",
        wrong=("no double sum", "no single sum", "single sum with the other sign"),
        expected_order=4.0,
    ),
    Statement(
        id="special-cases/epoch-growth",
        source=f"{_SMITH}; derived in stepbias.theory.shuffling",
        statement=(
            "At a small fixed h the distance over (m h)^3 falls like 1/m as the epoch grows: O(m^3 h^3) holds, and the distance itself grows like m^2. "
            "Copies of a few batches; the correction to the power is 1/k for k copies"
        ),
        latex=r"\frac1{(mh)^3}" + _MEAN + r" \sim \frac1m,\quad " + EPOCH_LATEX,
        assumptions=(
            "one-dimensional quadratics, four random ones in 4, 8, .., 256 copies; the mean over all orders to 60 digits; h = 1e-7",
            "draws whose single sum exceeds four times the double one are excluded and counted",
        ),
        expected="order = 1 in 1/m",
        kind="order",
        experiment="special_cases_shuffling.epoch_growth",
        wrong=("without the index k", "no bias term"),
        expected_order=1.0,
        exact=True,
    ),
    Statement(
        id="special-cases/epoch-bound",
        source=f"{_SMITH}; the constant is proved in stepbias.theory.shuffling",
        statement="The distance is at most C (m h)^3 with an explicit constant of the first four derivatives, for few batches and for many",
        latex=_MEAN
        + r" \le C\,(mh)^3,\quad C = \tfrac13(L^2G+KG^2)+\tfrac1{4m}(2L^2G+KG^2)+O(h),\quad "
        + EPOCH_LATEX,
        assumptions=(
            "derivatives bounded on a box about the start that holds everything (bounds of the family; else excluded and counted)",
            "all orders for m from 2 to 6; for m = 12 and 24 the mean over 256 random ones, each walked both ways, with an interval of 5 standard errors",
        ),
        expected="distance <= bound",
        kind="inequality",
        experiment="special_cases_shuffling.epoch_bound",
        wrong=_WRONG_EPOCHS,
    ),
)
