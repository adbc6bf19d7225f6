"""Full batch: the closed forms of the memory sums, how fast the field comes to its limit, the earlier version's split of the bias, and four decades of h."""

from __future__ import annotations

from stepbias.theory import full_batch_bias_claims
from stepbias.theory.adam_claims import PAPER
from stepbias.theory.full_batch_laws import EARLIER, LATE, POINTS, ROUNDING, statement

_LIMIT = (
    r"\dot\theta_j = -\frac{\nabla_jE + \mathrm{bias}_j}{D_j},\quad \mathrm{bias}_j = \frac h2\Big\{\frac{1+\beta}{1-\beta} - \frac{1+\rho}{1-\rho}"
    r"\frac{(\nabla_jE)^2}{D_jR_j}\Big\}\nabla_j\|\nabla E\|_{1,\varepsilon}"
)
_ADAM_SUMS = (
    r"L_j^{(n)} = \Big[\frac{\beta}{1-\beta} - \frac{(n+1)\beta^{n+1}}{1-\beta^{n+1}}\Big]\nabla_j\|\nabla E\|_{1,\varepsilon},\quad"
    r"P_j^{(n)} = \Big[\frac{\rho}{1-\rho} - \frac{(n+1)\rho^{n+1}}{1-\rho^{n+1}}\Big]\nabla_jE\,\nabla_j\|\nabla E\|_{1,\varepsilon}"
)
_RMSPROP_SUMS = (
    r"R_j^{(n)} = \sqrt{(\nabla_jE)^2(1-\rho^{n+1})+\varepsilon},\quad P_j^{(n)} = \sum_k \rho^{n-k}(1-\rho)\nabla_jE\sum_i\nabla_{ij}E"
    r"\sum_{l=k}^{n-1}\frac{\nabla_iE}{R_i^{(l)}}"
)


_ADAM_WRONG = (
    "n in place of n + 1",
    "no transients",
    "beta and rho swapped",
    "epsilon on the other side",
    "inner sums up to n",
    "P without the gradient",
)
_RMSPROP_WRONG = (
    "with bias correction",
    "no transients",
    "epsilon on the other side",
    "n in place of n + 1",
    "inner sums up to n",
    "Pbar without 1 - rho^(n+1)",
)

CLOSED_FORMS = (
    statement(
        "adam-sums",
        f"{PAPER}, Remark 3.2",
        "Adam: the closed forms of R, M, L, Lbar, P, Pbar equal the printed double sums of Theorem 3.1 at every n",
        _ADAM_SUMS,
        "identity",
        "closed_forms.adam_literal",
        "equal up to rounding",
        (POINTS, "n from 0 to 40, log-uniform", ROUNDING),
        wrong=_ADAM_WRONG,
    ),
    statement(
        "rmsprop-sums",
        f"{PAPER}, Remark 4.3; {EARLIER}, Remark 3.4",
        "RMSProp: the simplified R, P, Pbar equal the printed sums of Theorem 4.2 at every n",
        _RMSPROP_SUMS,
        "identity",
        "closed_forms.rmsprop_literal",
        "equal up to rounding",
        (POINTS, "n from 0 to 40, log-uniform", ROUNDING),
        wrong=_RMSPROP_WRONG,
    ),
    statement(
        "adam-sums-compiled",
        f"{PAPER}, Remark 3.2",
        "Adam: the closed forms equal the compiled sums of one batch, and of two equal batches, which know nothing of them",
        _ADAM_SUMS,
        "identity",
        "closed_forms.adam_kernels",
        "equal up to rounding",
        (POINTS, "Sums of sinusoids", "n from 0 to 3000, log-uniform", ROUNDING),
        wrong=_ADAM_WRONG,
    ),
    statement(
        "rmsprop-sums-compiled",
        f"{PAPER}, Remark 4.3",
        "RMSProp: the simplified sums equal the compiled ones of one batch, and of two equal batches",
        _RMSPROP_SUMS,
        "identity",
        "closed_forms.rmsprop_kernels",
        "equal up to rounding",
        (POINTS, "Sums of sinusoids", "n from 0 to 400, log-uniform", ROUNDING),
        wrong=_RMSPROP_WRONG,
    ),
    statement(
        "limit-field",
        f"{PAPER}, equations 2 and 3; outside the root: from Theorem SA-4.4",
        "After many steps the field is that of equations 2 and 3, and outside the root the same with the share of g^2 in D R",
        _LIMIT,
        "identity",
        "closed_forms.limit_field",
        "equal up to rounding",
        (POINTS, LATE, ROUNDING),
        wrong=(
            "h in place of h/2",
            "the other sign",
            "no term with epsilon",
            "2 beta/(1 - beta) for (1 + beta)/(1 - beta)",
            "2 rho/(1 - rho) for (1 + rho)/(1 - rho)",
            "beta and rho swapped",
            "unperturbed norm",
        ),
    ),
)

_DISTANCE = "Nine n or so, at which what is expected falls from 3e-2 to 1e-8"

APPROACH = (
    statement(
        "approach-beta",
        f"{PAPER}, Remark 3.2 ('rapidly becomes')",
        "Adam with rho = 0: the field's distance from its limit is proportional to n beta^n",
        r"\|F^{(n)} - F^{(\infty)}\| \sim n\beta^n",
        "order",
        "approach.mean",
        "order = 1 in n beta^n",
        (POINTS, _DISTANCE),
        expected_order=1.0,
        exact=True,
        wrong=("beta/(1 - beta) + 1/1000", "no Lbar"),
    ),
    statement(
        "approach-rho",
        f"{PAPER}, Remark 3.2 ('rapidly becomes')",
        "Adam with beta < rho^3: the field's distance from its limit is proportional to n rho^n",
        r"\|F^{(n)} - F^{(\infty)}\| \sim n\rho^n",
        "order",
        "approach.square",
        "order = 1 in n rho^n",
        (POINTS, _DISTANCE),
        expected_order=1.0,
        exact=True,
        wrong=("rho/(1 - rho) + 1/1000", "no Pbar"),
    ),
    statement(
        "approach-rmsprop-leading",
        f"{PAPER}, Remark 4.3 ('rapidly becomes')",
        "RMSProp: the leading field's distance from that of Adam is proportional to rho^n",
        r"\Big\|\frac{g}{\sqrt{(1-\rho^{n+1})g^2+\varepsilon}} - \frac{g}{\sqrt{g^2+\varepsilon}}\Big\| \sim \rho^n",
        "order",
        "approach.rmsprop_leading",
        "order = 1 in rho^n",
        (POINTS, _DISTANCE),
        expected_order=1.0,
        exact=True,
        wrong=("epsilon on the other side", "a thousandth less"),
    ),
    statement(
        "approach-rmsprop-bias",
        f"{PAPER}, Remark 4.3 ('with beta = 0')",
        "RMSProp: the bias's distance from that of Adam with beta = 0 is proportional to n rho^n",
        r"\|B^{(n)} - B^{(\infty)}\| \sim n\rho^n",
        "order",
        "approach.rmsprop_bias",
        "order = 1 in n rho^n",
        (POINTS, _DISTANCE),
        expected_order=1.0,
        exact=True,
        wrong=("rho/(1 - rho) + 1/1000", "no Pbar"),
    ),
    statement(
        "rmsprop-adam",
        f"{PAPER}, Section 4 ('up to rapidly vanishing terms')",
        "The iterates of RMSProp and of Adam with beta = 0 are as far apart as h: the first steps differ",
        r"\max_n\|\theta_{\mathrm{RMSProp}}^{(n)} - \theta_{\mathrm{Adam},\,\beta=0}^{(n)}\| \sim h",
        "order",
        "approach.trajectories",
        "order = 1 in h",
        (
            POINTS,
            "Epsilon inside, 1e-2 to 1; time 1, its second half; memories up to 10 steps; the defaults are reported",
        ),
        expected_order=1.0,
        exact=True,
        wrong=("start moved",),
    ),
    statement(
        "rmsprop-adam-start",
        f"{PAPER}, Section 4 ('up to rapidly vanishing terms'), made precise",
        "RMSProp is Adam with beta = 0 from a start moved by h times the sum of the first steps' differences, to the second order",
        r"\theta_{\mathrm{Adam}}^{(0)} = \theta^{(0)} - h\sum_{l\ge0}"
        r"\Big(\frac{g}{\sqrt{(1-\rho^{l+1})g^2+\varepsilon}} - \frac{g}{\sqrt{g^2+\varepsilon}}\Big)",
        "order",
        "approach.moved_start",
        "order = 2 in h",
        (
            POINTS,
            "Epsilon inside, 1e-2 to 1; time 1, its second half; memories up to 10 steps; the defaults are reported",
        ),
        expected_order=2.0,
        exact=True,
        wrong=("start not moved", "the other sign", "beta = 1/2", "another rho"),
    ),
)

SPLIT = (
    statement(
        "earlier-split",
        f"{EARLIER}, Remark 3.4",
        "RMSProp's bias after many steps is the sum of the parts 'nonzero steps' and 'memory'",
        r"h\frac{\frac{\rho}{1-\rho}g^2-\frac\varepsilon2}{g^2+\varepsilon}"
        r" = h\frac{-\varepsilon/2}{g^2+\varepsilon} + h\frac{\frac{\rho}{1-\rho}g^2}{g^2+\varepsilon}",
        "identity",
        "earlier_version.split",
        "equal up to rounding",
        (POINTS, "Epsilon inside", LATE, ROUNDING),
        wrong=(
            "epsilon in place of epsilon/2",
            "memory of the other sign",
            "1/(1 - rho) in place of rho/(1 - rho)",
        ),
    ),
    statement(
        "earlier-parts",
        f"{EARLIER}, Remark 3.4",
        "The part 'nonzero steps' is the bias of the method without memory, rho = 0; the part 'memory' is what the sum P contributes",
        r"h\frac{-\varepsilon/2}{g^2+\varepsilon}G = R\,B_{\rho=0},\quad h\frac{\frac{\rho}{1-\rho}g^2}{g^2+\varepsilon}G = h\frac{gP}{R^2}",
        "identity",
        "earlier_version.parts",
        "equal up to rounding",
        (POINTS, "Epsilon inside", LATE, ROUNDING),
        wrong=("the parts exchanged", "half of Pbar counted as memory"),
    ),
    statement(
        "earlier-adam",
        f"{EARLIER}, Remark 3.7",
        "Adam's bias after many steps as the earlier version writes it",
        r"h\frac{\frac{1+\rho}{1-\rho}g^2 - \frac{1+\beta}{1-\beta}(g^2+\varepsilon)}{2(g^2+\varepsilon)^{3/2}}\nabla_j\|\nabla E\|_{1,\varepsilon}",
        "identity",
        "earlier_version.adam",
        "equal up to rounding",
        (POINTS, "Epsilon inside", LATE, ROUNDING),
        wrong=("beta and rho swapped", "2 in the denominator left out"),
    ),
)

ORDER = (
    statement(
        "four-decades",
        f"{PAPER}, Theorem 3.1, full batch",
        "Adam, epsilon inside: the error is a straight line of slope 2 over four decades of h (two in the quick profile)",
        r"\max_n\|\tilde\theta(nh)-\theta^{(n)}\| \sim h^2",
        "order",
        "four_decades.line",
        "order = 2 in h",
        (
            "Every loss family in turn, p in 2, 3, 5; (beta, rho, epsilon) = (0.5, 0.7, 1) over the time 2, h from 2e-2, "
            "and (0.9, 0.95, 0.01) over the time 1, h from 1e-3; the defaults are reported; wrong variants over two decades",
        ),
        expected_order=2.0,
        exact=True,
        wrong=("no bias", "the other sign", "no L", "no Lbar", "no P", "no Pbar"),
    ),
)

CLAIMS = (*CLOSED_FORMS, *APPROACH, *SPLIT, *ORDER, *full_batch_bias_claims.CLAIMS)
