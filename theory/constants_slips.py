"""Misprints in the supplement's explicit constants: what is printed is refuted, the correction confirmed on the same problems."""

from __future__ import annotations

from dataclasses import replace

from stepbias.theory.constants_claims import DERIVATIVES, ROOT, STEP, SUPPLEMENT, bound
from stepbias.theory.statement import Statement, Verdict

_LONG = (
    DERIVATIVES,
    "epsilon inside, p = 1, slow motion over 90 steps, rho in (0.93, 0.985), M_1 / sqrt(epsilon) in (0.06, 0.4), losses and sqrt(epsilon) times 10^8",
)
_REGION = (
    "M_k over the region that the trajectories fill, as assumption (8) of the paper has it; with the supplement's suprema over all theta, far larger here, "
    "the printed form was not seen to fail on these problems"
)
_RATIONAL = "rational numbers of bounded size, drawn by a rule; exact arithmetic"


def _misprint(right: Statement, name: str, statement: str, latex: str) -> Statement:
    """The printed form of a corrected statement, on the same problems."""
    return Statement(
        id=f"constants/{name}",
        source=right.source.partition(", with ")[0],
        statement=statement,
        latex=latex,
        assumptions=(*right.assumptions, *([_REGION] if right.kind == "inequality" else [])),
        expected="misprint: some ratio > 1" if right.kind == "inequality" else "misprint: false",
        kind=right.kind,
        experiment=right.experiment,
        expected_verdict="refuted",
        slip=True,
        variant="printed",
    )


# (7.5), (7.4), C_26 ---------------------------------------------------------------------------------

_SQUARE = replace(
    bound(
        "past-square",
        "proof of Lemma SA-7.4, (7.5), with the term (n - k)^2 C_9^2 h^2 that the print lacks",
        "the square of a past gradient differs from its expansion by at most the three printed terms and (n - k)^2 C_9^2 h^2",
        r"|(\nabla_jE_k(\tilde\theta(t_k)))^2-(\nabla_jE_k(\tilde\theta(t_n)))^2-2h\nabla_jE_kU_{k,j}|\le 2M_1B_kh^2+2(n-k)C_9B_kh^3+B_k^2h^4+(n-k)^2C_9^2h^2",
        "past_square",
        "C9 x 0.8",
        "C13 x 0.8",
    ),
    slip=True,
)
_EXPANSION = replace(
    bound(
        "mean-square",
        "Lemma SA-7.4, (7.4), with C_26 completed by C_9^2 r_2",
        "the mean square over past gradients differs from R^2 + 2 h P by at most C_26 h^2",
        r"\Big|\sum_kw_k(\nabla_jE_k(\tilde\theta(t_k)))^2-R_j^2-2hP_j\Big|\le C_{26}h^2,\quad C_{26}=\dots+C_9^2\frac{\rho(1+\rho)}{(1-\rho)^2}",
        "mean_square_expansion",
        "C26 x 0.9",
        "C26 without M1 s r_1",
        "C26 without M1 C13 r_2",
        "C26 with r_1 for r_2",
    ),
    slip=True,
)
_LARGE = Statement(
    id="constants/mean-square-large-steps",
    source=f"{SUPPLEMENT}, Lemma SA-7.4, (7.4)",
    statement="for step sizes above 1, which the theorems allow (h < T), (7.4) holds with max(1, h^2) C_26",
    latex=r"\Big|\sum_kw_k(\nabla_jE_k(\tilde\theta(t_k)))^2-R_j^2-2hP_j\Big|\le\max(1,h^2)\,C_{26}h^2",
    assumptions=(DERIVATIVES, ROOT, "slow motion with 1 < h < 3"),
    expected="ratio <= 1",
    kind="inequality",
    experiment="constants.mean_square_large_steps",
    wrong=("C26 x 0.2",),
    slip=True,
)

_LONG_MEMORY = Statement(
    id="constants/local-long-memory",
    source=f"{SUPPLEMENT}, Theorems SA-3.3 and SA-5.3, with the factor M_1 on the last term of C_2 and C_4",
    statement="the local bound holds where its last term, M_1 (C_25^2 + R^2 C_26) / (2 R^3 q^2), leads",
    latex=rf"{STEP}}}\Big|\le\Big(\dots+M_1\frac{{C_{{25}}^2+R^2C_{{26}}}}{{2R^3(R+\varepsilon)^2}}\Big)h^3",
    assumptions=_LONG,
    expected="ratio <= 1",
    kind="inequality",
    experiment="constants.local_long_memory",
    wrong=("local x 0.25", "local without C26"),
    slip=True,
)

_GROWTH = replace(
    bound(
        "global-growth",
        "Theorems SA-2.4, SA-3.4, SA-4.4 and SA-5.4, with d_2 = (1 + X) sqrt(p)",
        "the global bounds hold where errors grow like e^(X n h) and gradients stay bounded",
        r"\|e_n\|\le d_1e^{d_2nh}h^2,\quad \|e_{n+1}-e_n\|\le d_1d_2e^{d_2nh}h^3,\quad d_2=(1+X)\sqrt p",
        "global_growth",
        "d_2 without X",
    ),
    assumptions=(
        DERIVATIVES,
        ROOT,
        "T = h, the sharpest; p = 1, 360 steps, X n h between 10 and 11, beta <= 0.03, rho <= 0.1, "
        "epsilon 10^6 times the gradients (inside: its square); two mini-batches that oppose each other, in an order "
        "that keeps the iterates near one point",
    ),
    slip=True,
)

# steps of the proofs, in exact arithmetic -----------------------------------------------------------


def _exact(
    name: str, where: str, statement: str, latex: str, experiment: str, *wrong: str
) -> Statement:
    return Statement(
        id=f"constants/{name}",
        source=f"{SUPPLEMENT}, {where}",
        statement=statement,
        latex=latex,
        assumptions=(_RATIONAL,),
        expected="true",
        kind="exact",
        experiment=f"constants_exact.{experiment}",
        wrong=wrong,
        slip=True,
    )


_ELEMENTARY = _exact(
    "elementary-inequality",
    "proof of (7.5)",
    "|a^2 - b^2 - 2 b K h| <= 2 |b| |r| + 2 |K| h |r| + r^2 + K^2 h^2 with r = a - b - K h",
    r"|a^2-b^2-2bKh|\le2|b||r|+2|K|h|r|+r^2+K^2h^2,\quad r=a-b-Kh",
    "elementary",
    "without 2 |b| |r|",
    "without 2 |K| h |r|",
    "without r^2",
)
_INDUCTION = _exact(
    "induction-step",
    "last step of the proofs of Theorems SA-2.4, SA-3.4, SA-4.4 and SA-5.4",
    "(C_1 + X d_1) sqrt(p) <= C_1 d_2 with d_1 = C_1 and d_2 = (1 + X) sqrt(p)",
    r"(C_1+Xd_1)\sqrt p\le C_1d_2,\quad d_2=(1+X)\sqrt p,\ X=\frac{M_2\sqrt p}{R+\varepsilon}\Big(\frac{M_1^2}{R(R+\varepsilon)}+1\Big)",
    "induction",
    "d_2 = 1 + X",
    "d_2 = X sqrt(p)",
)
_STEPS = _exact(
    "large-steps",
    "last step of the proof of (7.4)",
    "the mean of (7.5) over all ages is at most max(1, h^2) C_26 h^2, also for h > 1",
    r"\sum_kw_k(7.5)_k\le\max(1,h^2)\,C_{26}h^2",
    "large_steps",
    "factor max(1, h)",
)
_FORM = _exact(
    "second-form-13",
    "Lemma SA-6.5, second expression for C_13",
    "C_13 = D_1 p^2 / q (M_1 M_3 + M_2^2 + M_1^2 M_2^2 / (q R)), q = R + epsilon",
    r"C_{13}=\frac{D_1p^2}{R+\varepsilon}\Big(M_1M_3+M_2^2+\frac{M_1^2M_2^2}{(R+\varepsilon)R}\Big)",
    "second_form",
    "R^2 for R q",
)
_UNITS = _exact(
    "units",
    "all constants",
    "every constant scales as what it bounds when all losses, epsilon and R are multiplied by one factor (which changes no trajectory)",
    r"E\to sE,\ \varepsilon\to s\varepsilon,\ R\to sR:\quad C_1\to C_1,\ C_5\to s^2C_5,\ \dots",
    "units",
    "C26 with C9 for C9^2",
    "C25 without M1",
)

# the limit of SA-2.5 --------------------------------------------------------------------------------

_LIMIT_ASSUMED = (
    "full batch, random gradients without small components, n = 120 steps, rho < 0.7",
)


def _limit(
    name: str, sign: str, verdict: Verdict, variant: str, wrong: tuple[str, ...]
) -> Statement:
    return Statement(
        id=f"constants/{name}",
        source=f"{SUPPLEMENT}, section SA-2.5, last display",
        statement="RMSProp, epsilon outside, full batch: for many steps and a small epsilon the field is "
        f"-1/|g| (g {sign} h rho/(1-rho) grad |g|_1), up to O(epsilon)",
        latex=r"\dot\theta_j\to-\frac1{|\nabla_jE|}\Big\{\nabla_jE"
        + sign
        + r"h\frac{\rho}{1-\rho}\nabla_j\|\nabla E\|_1\Big\}",
        assumptions=_LIMIT_ASSUMED,
        expected="order = 1 in epsilon" if not variant else "misprint: order 0 in epsilon",
        kind="order",
        experiment="constants_limit.rmsprop_limit",
        wrong=wrong,
        expected_order=1.0,
        exact=True,
        expected_verdict=verdict,
        slip=True,
        variant=variant,
    )


CLAIMS: tuple[Statement, ...] = (
    _SQUARE,
    _misprint(
        _SQUARE,
        "past-square-printed",
        "(7.5) as printed, without (n - k)^2 C_9^2 h^2",
        r"|(\nabla_jE_k(\tilde\theta(t_k)))^2-(\nabla_jE_k(\tilde\theta(t_n)))^2-2h\nabla_jE_kU_{k,j}|\le 2M_1B_kh^2+2(n-k)C_9B_kh^3+B_k^2h^4",
    ),
    _EXPANSION,
    _misprint(
        _EXPANSION,
        "mean-square-printed",
        "(7.4) with C_26 as printed, without C_9^2 r_2",
        r"\Big|\sum_kw_k(\nabla_jE_k(\tilde\theta(t_k)))^2-R_j^2-2hP_j\Big|\le C_{26}h^2",
    ),
    _LARGE,
    _LONG_MEMORY,
    _misprint(
        _LONG_MEMORY,
        "local-long-memory-printed",
        "the local bound with the last term of C_2 and C_4 as printed for C_1, without the factor M_1",
        rf"{STEP}}}\Big|\le\Big(\dots+\frac{{C_{{25}}^2+R^2C_{{26}}}}{{2R^3(R+\varepsilon)^2}}\Big)h^3",
    ),
    _ELEMENTARY,
    _misprint(
        _ELEMENTARY,
        "elementary-inequality-printed",
        "the same without K^2 h^2, as printed",
        r"|a^2-b^2-2bKh|\le2|b||r|+2|K|h|r|+r^2,\quad r=a-b-Kh",
    ),
    _INDUCTION,
    _misprint(
        _INDUCTION,
        "induction-step-printed",
        "the same with d_2 = (1 + X d_1) sqrt(p), as printed (d_5, d_8, d_11 alike), for C_1 < 1",
        r"(C_1+Xd_1)\sqrt p\le C_1d_2,\quad d_2=(1+Xd_1)\sqrt p",
    ),
    _GROWTH,
    replace(
        _misprint(
            _GROWTH,
            "global-growth-printed",
            "the bound on the change of the error in a step, with d_2 = (1 + X d_1) sqrt(p) as printed (d_8 and d_11 alike; d_5 is not legible and taken to be "
            "alike), all constants with T = n h at the last step and M_1 .. M_4 over the region of the trajectories; the bound on the error itself holds here",
            r"\|e_{n+1}-e_n\|\le d_1d_2e^{d_2nh}h^3,\quad d_2=(1+Xd_1)\sqrt p",
        ),
        assumptions=tuple(
            words.replace("T = h, the sharpest", "T = n h")
            for words in (*_GROWTH.assumptions, _REGION)
        ),
        experiment="constants.global_growth_change",
    ),
    _STEPS,
    _misprint(
        _STEPS,
        "large-steps-printed",
        "the mean of (7.5) over all ages is at most C_26 h^2 for every h that the theorems allow, h > 1 among them",
        r"\sum_kw_k(7.5)_k\le C_{26}h^2",
    ),
    _FORM,
    _misprint(
        _FORM,
        "second-form-13-printed",
        "C_13 with (R + epsilon)^2 R under M_1^2 M_2^2, as the second expression reads",
        r"C_{13}=\frac{D_1p^2}{R+\varepsilon}\Big(M_1M_3+M_2^2+\frac{M_1^2M_2^2}{(R+\varepsilon)^2R}\Big)",
    ),
    _UNITS,
    _misprint(
        _UNITS,
        "units-printed",
        "the same for the constants as printed: the last term of C_1 lacks a factor M_1",
        r"E\to sE,\ \varepsilon\to s\varepsilon,\ R\to sR:\quad C_1\to C_1",
    ),
    _limit(
        "rmsprop-limit",
        "-",
        "confirmed",
        "",
        ("without the O(h) term", "O(h) term x 0.5"),
    ),
    _limit("rmsprop-limit-printed", "+", "refuted", "printed", ()),
)
