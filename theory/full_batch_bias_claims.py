"""Full batch: what the bias penalises for small and large epsilon, the signs of Table 1, and the potential of Figure 1."""

from __future__ import annotations

from stepbias.theory.adam_claims import PAPER
from stepbias.theory.full_batch_laws import AWAY, LATE, NUMERICAL, POINTS, statement

LIMITS = (
    statement(
        "small-epsilon",
        f"{PAPER}, equation 5",
        "|grad_j E| times the flow after many steps is minus the gradient of E + (h/2)((1+beta)/(1-beta) - (1+rho)/(1-rho)) |grad E|_1, "
        "up to the first order in epsilon",
        r"|\nabla_jE|\,\dot\theta_j = -\nabla_j\Big\{E + \frac h2\Big(\frac{1+\beta}{1-\beta}-\frac{1+\rho}{1-\rho}\Big)\|\nabla E\|_1\Big\} + O(\varepsilon)",
        "order",
        "limits.small",
        "order = 1 in epsilon",
        (POINTS, AWAY, LATE, NUMERICAL),
        expected_order=1.0,
        exact=True,
        wrong=(
            "beta and rho swapped",
            "h in place of h/2",
            "the other sign",
            "two-norm",
            "no norm",
        ),
    ),
    statement(
        "large-epsilon",
        f"{PAPER}, equation 7",
        "sqrt(epsilon) times the flow after many steps is minus the gradient of E + h/(4 sqrt(epsilon)) (1+beta)/(1-beta) |grad E|^2, "
        "up to the first order in 1/epsilon",
        r"\sqrt\varepsilon\,\dot\theta = -\nabla\Big\{E + \frac{h}{4\sqrt\varepsilon}\frac{1+\beta}{1-\beta}\|\nabla E\|^2\Big\} + O(1/\varepsilon)",
        "order",
        "limits.large",
        "order = 1 in 1/epsilon",
        (POINTS, "Epsilon inside", AWAY, LATE, NUMERICAL),
        expected_order=1.0,
        exact=True,
        wrong=(
            "rho in place of beta",
            "rho as for small epsilon",
            "h/2 in place of h/4",
            "the other sign",
            "no norm",
        ),
    ),
    statement(
        "large-epsilon-bias",
        f"{PAPER}, equations 6 and 7",
        "The bias alone is h/(4 D) (1+beta)/(1-beta) grad |grad E|^2, D = sqrt(epsilon) or epsilon outside the root, "
        "relative to itself up to the first order in 1/epsilon",
        r"\mathrm{bias} = \frac{h}{4D}\frac{1+\beta}{1-\beta}\nabla\|\nabla E\|^2\,(1 + O(1/\varepsilon)),\quad D = \sqrt\varepsilon \text{ or } \varepsilon",
        "order",
        "limits.large_bias",
        "order = 1 in 1/epsilon",
        (POINTS, AWAY, LATE, NUMERICAL),
        expected_order=1.0,
        exact=True,
        wrong=(
            "rho in place of beta",
            "rho as for small epsilon",
            "h/2 in place of h/4",
            "the other sign",
        ),
    ),
)

_SIGN = "The coefficient is read off the compiled field: its bias, times -2 D / h, projected on the norm's gradient"
_SHORT = "Over a twentieth of the shortest time in which a gradient component can change by its own size; extrapolated to h = 0 from two step sizes"

TABLE = (
    statement(
        "table-small-epsilon-beta",
        f"{PAPER}, Table 1 (small epsilon) and equation 4",
        "Small epsilon, beta > rho: the one-norm is penalised",
        r"\beta > \rho:\ \frac{1+\beta}{1-\beta} - \frac{1+\rho}{1-\rho} > 0",
        "inequality",
        "signs.penalised",
        "coefficient > 0",
        (POINTS, AWAY, LATE, _SIGN, "epsilon 1e-8 of the smallest squared component"),
        wrong=("beta and rho swapped",),
    ),
    statement(
        "table-small-epsilon-rho",
        f"{PAPER}, Table 1 (small epsilon) and equation 4",
        "Small epsilon, rho > beta: the decrease of the one-norm is hindered",
        r"\rho > \beta:\ \frac{1+\beta}{1-\beta} - \frac{1+\rho}{1-\rho} < 0",
        "inequality",
        "signs.hindered",
        "coefficient < 0",
        (POINTS, AWAY, LATE, _SIGN, "epsilon 1e-8 of the smallest squared component"),
        wrong=("beta and rho swapped",),
    ),
    statement(
        "table-large-epsilon",
        f"{PAPER}, Table 1 (large epsilon)",
        "Large epsilon: the squared two-norm is penalised, whatever beta and rho",
        r"\frac{1}{4\sqrt\varepsilon}\frac{1+\beta}{1-\beta} > 0",
        "inequality",
        "signs.large",
        "coefficient > 0",
        (POINTS, LATE, _SIGN, "epsilon 1e8 times the largest squared component"),
        wrong=("as for small epsilon",),
    ),
    statement(
        "table-equal-decays-printed",
        f"{PAPER}, Table 1, first row",
        "As printed: small epsilon, beta >= rho: the one-norm is penalised",
        r"\beta \ge \rho \Rightarrow \frac{1+\beta}{1-\beta} - \frac{1+\rho}{1-\rho} > 0",
        "exact",
        "signs.bracket",
        "refuted by beta = rho",
        ("Random fractions; every third problem has beta = rho",),
        variant="beta >= rho",
        expected_verdict="refuted",
        slip=True,
    ),
    statement(
        "table-equal-decays-corrected",
        f"{PAPER}, Table 1, first row, and the text below it",
        "Corrected: the one-norm is penalised exactly for beta > rho; at beta = rho its coefficient is exactly 0",
        r"\operatorname{sign}\Big(\frac{1+\beta}{1-\beta} - \frac{1+\rho}{1-\rho}\Big) = \operatorname{sign}(\beta-\rho)",
        "exact",
        "signs.bracket",
        "true in fractions",
        ("Random fractions; every third problem has beta = rho",),
        wrong=("beta >= rho", "rho > beta"),
        slip=True,
    ),
    statement(
        "norm-rate",
        f"{PAPER}, Section 2",
        "Small epsilon: at every theta and every n >= 1 the bias changes |grad E|_1 at a rate that is negative for beta > rho and positive for rho > beta",
        r"\nabla\|\nabla E\|_1\cdot\mathrm{bias\ of\ the\ flow} = -\frac h2\,c_n\sum_j \frac{(\nabla_j\|\nabla E\|_1)^2}{D_j},"
        r"\quad c_n = 2(\ell_n(\beta)-\ell_n(\rho)),\quad \ell_n(\beta) = \frac{\beta}{1-\beta}-\frac{(n+1)\beta^{n+1}}{1-\beta^{n+1}},"
        r"\quad \operatorname{sign} c_n = \operatorname{sign}(\beta-\rho)",
        "inequality",
        "signs.norm_rate",
        "rate * (beta - rho) < 0",
        (POINTS, AWAY, "n log-uniform from 1 on", NUMERICAL),
        wrong=("beta and rho swapped",),
    ),
    statement(
        "one-norm-flow",
        f"{PAPER}, Section 2 and second conclusion of Section 5",
        "Small epsilon: the flow ends with a smaller |grad E|_1 than its leading part for beta > rho, with a larger one for rho > beta",
        r"\lim_{h\to0}\frac{\|\nabla E(\tilde\theta(T))\|_1 - \|\nabla E(\theta^{\mathrm{lead}}(T))\|_1}{h}\,(\beta-\rho) < 0",
        "inequality",
        "signs.one_norm_flow",
        "change * (beta - rho) < 0",
        (POINTS, AWAY, _SHORT),
        wrong=("beta and rho swapped",),
    ),
    statement(
        "square-norm-flow",
        f"{PAPER}, Table 1 (large epsilon)",
        "Large epsilon: the flow ends with a smaller |grad E|^2 than its leading part, whatever beta and rho",
        r"\lim_{h\to0}\frac{\|\nabla E(\tilde\theta(T))\|^2 - \|\nabla E(\theta^{\mathrm{lead}}(T))\|^2}{h} < 0",
        "inequality",
        "signs.square_flow",
        "change < 0",
        (POINTS, AWAY, _SHORT),
        wrong=("as for small epsilon",),
    ),
)

_FIGURE = r"\int_0^x\Big\{\frac{1+\beta}{1-\beta}-\frac{1+\rho}{1-\rho}+\frac{1+\rho}{1-\rho}\frac{\varepsilon}{y^2+\varepsilon}\Big\}\,d\sqrt{\varepsilon+y^2}"
_FIGURE_LAW = (
    "beta = 0.95, rho from 0.995 to 0.1 and epsilon from 1e-5 to 100 as in the figure, and values between; x from 1e-3 to 30; "
    "problem 0 has (0.9, 0.999, 1e-8)"
)

FIGURE = (
    statement(
        "figure-1-integral",
        f"{PAPER}, Figure 1",
        "The potential of Figure 1, integrated numerically, is its closed form",
        _FIGURE
        + r" = \Big(\tfrac{1+\beta}{1-\beta}-\tfrac{1+\rho}{1-\rho}\Big)(s-\sqrt\varepsilon)"
        r" + \tfrac{1+\rho}{1-\rho}\sqrt\varepsilon\,\frac{s-\sqrt\varepsilon}{s},\ s=\sqrt{\varepsilon+x^2}",
        "identity",
        "potential.closed_form",
        "equal up to quadrature and rounding",
        (_FIGURE_LAW,),
        wrong=(
            "dy in place of d sqrt(epsilon + y^2)",
            "beta and rho swapped",
            "no term with epsilon",
        ),
    ),
    statement(
        "figure-1-shape",
        f"{PAPER}, Figure 1 and Section 2",
        "For rho <= beta the potential rises for ever; for rho > beta it rises up to sqrt(epsilon f/(s-f)), falls beyond, "
        "and is negative from a multiple of sqrt(epsilon) on",
        _FIGURE,
        "inequality",
        "potential.shape",
        "signs of increments and values",
        (_FIGURE_LAW, r"f = (1+beta)/(1-beta), s = (1+rho)/(1-rho)"),
        wrong=("turning at sqrt(epsilon)", "beta and rho swapped"),
    ),
)

CLAIMS = (*LIMITS, *TABLE, *FIGURE)
