r"""Claims about the explicit constants of the error bounds: every lemma as an inequality along the flow, every theorem, and the misprints of the supplement.

Left side and right side of an inequality are compared problem by problem; what is reported is their largest ratio. Only slow motion (a denominator far above
M_1) brings it close to 1, and only there a wrong constant shows: on ordinary problems it is often many orders of magnitude below.
"""

from __future__ import annotations

from stepbias.theory.adam_claims import PAPER
from stepbias.theory.statement import Statement

SUPPLEMENT = f"{PAPER}, supplement"
_LAW = (
    "sinusoids in p = 1, 2, 3 parameters, up to 3 mini-batches in random order; two thirds in slow motion, one third ordinary, "
    "beta = 0.9, rho = 0.999, epsilon = 10^-8 among them; T = h, the sharpest choice"
)
DERIVATIVES = "M_1 .. M_4 bound all derivatives over the box that iterates and flow fill (computed from the loss)"
ROOT = "epsilon outside: R is the smallest root met on the flow by a step so far, and over past gradients"
_RESOLVED = "derivatives in time by collocation, 10 nodes a step; a check whose rounding exceeds 2 % of its bound is left out"
_ASSUMED = (DERIVATIVES, ROOT, _LAW, _RESOLVED)


def bound(
    name: str, where: str, statement: str, latex: str, experiment: str, *wrong: str
) -> Statement:
    """A lemma: left side <= right side."""
    return Statement(
        id=f"constants/{name}",
        source=f"{SUPPLEMENT}, {where}",
        statement=statement,
        latex=latex,
        assumptions=_ASSUMED,
        expected="ratio <= 1",
        kind="inequality",
        experiment=f"constants.{experiment}",
        wrong=wrong,
    )


_SUMS = r"U_{k,j}=\sum_i\nabla_{ij}E_k\sum_{l=k}^{n-1}F^{(l)}_i"

_LEMMAS = (
    bound(
        "memory-sums",
        "Lemma SA-6.1",
        "|P| <= C_5 and |Pbar| <= C_6",
        r"|P^{(n)}_j|\le C_5=\frac{pM_1^2M_2}{R+\varepsilon}\frac{\rho}{1-\rho},\quad |\bar P^{(n)}_j|\le C_6=\frac{pM_1^2M_2}{R+\varepsilon}",
        "memory_sums",
        "C5 x 0.9",
        "C6 x 0.9",
        "C5 with rho for r_1",
    ),
    bound(
        "speed",
        "Lemma SA-6.4 and its proof",
        "the O(h) term of the field is at most C_28 h, its speed at most D_1",
        r"|\dot{\tilde\theta}_j+N_j/D_j|\le C_{28}h,\quad |\dot{\tilde\theta}_j|\le D_1=\frac{M_1}{R+\varepsilon}+T\,C_{28}",
        "speed",
        "C28 x 0.9",
        "C28 without 2L + Lbar",
        "D1 x 0.9",
        "D1 without bias",
    ),
    bound(
        "gradient-drift",
        "Lemma SA-6.5, (6.3) and (6.4)",
        "gradients along the flow change at most at the rate C_7, and as if it were the leading flow up to C_8 h",
        r"\Big|\frac{d}{dt}\nabla_jE_k\Big|\le C_7,\quad \Big|\sum_i\nabla_{ij}E_k(\dot{\tilde\theta}_i+F_i)\Big|\le C_8h",
        "gradient_drift",
        "C7 x 0.9",
        "C8 x 0.9",
    ),
    bound(
        "inner-sums",
        "Lemma SA-6.5, (6.5) and (6.8)",
        "the inner sums U_k are at most (n - k) C_9, their rates at most (n - k) C_13, that of each summand C_13",
        rf"|U_{{k,j}}|\le(n-k)C_9,\quad |\dot U_{{k,j}}|\le(n-k)C_{{13}},\quad {_SUMS}",
        "inner_sums",
        "C9 x 0.9",
        "C9 without p",
        "C13 without C12",
        "C13 without numerator",
        "C13 with p for p^2",
    ),
    bound(
        "memory-drift",
        "Lemma SA-6.5, (6.6) and (6.7)",
        "the rates of P and Pbar are at most C_10 + C_14 and C_15",
        r"|\dot P_j|\le C_{10}+C_{14},\quad |\dot{\bar P}_j|\le C_{15}",
        "memory_drift",
        "C10 x 0.5",
        "C14 x 0.5",
        "C15 without M2^2",
        "C15 without M3",
    ),
    bound(
        "root-drift",
        "proof of Lemma SA-6.5, (6.12)",
        "the rate of R is at most C_11, that of 1 / (D^2 R) at most C_16",
        r"|\dot R_j|\le C_{11}=\frac{D_1pM_1M_2}{R},\quad \Big|\frac{d}{dt}\frac{1}{D_j^2R_j}\Big|\le C_{16}",
        "root_drift",
        "C11 x 0.9",
        "C16 without D",
        "C16 without R",
    ),
    bound(
        "bias-drift",
        "Lemma SA-6.5, (6.9) and (6.10), and the start of the proof of Theorem SA-2.3",
        "the rates of the two parts of the O(h) term are at most C_17 and C_18, that of their difference C_27 = C_17 + C_18",
        r"|\dot{\mathcal A}_j|\le C_{17},\quad|\dot{\mathcal B}_j|\le C_{18},\quad "
        r"\mathcal A=\frac{N(2P+\bar P)}{2D^2R},\ \mathcal B=\frac{2L+\bar L}{2D}",
        "bias_drift",
        "C17 without numerator",
        "C17 without 2P + Pbar",
        "C18 x 0.9",
        "C18 without 2L",
        "C27 x 0.9",
    ),
    bound(
        "acceleration",
        "Lemmas SA-6.14 and SA-6.15, (6.17)",
        "the acceleration is at most D_2, the second derivative of a gradient at most C_19",
        r"|\ddot{\tilde\theta}_j|\le D_2,\quad \Big|\frac{d^2}{dt^2}\nabla_jE_k\Big|\le C_{19}=p^2M_3D_1^2+pM_2D_2",
        "acceleration",
        "D2 x 0.9",
        "D2 without numerator",
        "C19 without M3",
        "C19 without M2",
    ),
    bound(
        "root-second",
        "Lemma SA-6.15, (6.18) to (6.21)",
        "the second derivatives of R, D^-2, R^-1 and D^-2 R^-1 are at most C_20, C_21, C_22 and C_23",
        r"|\ddot R_j|\le C_{20},\ \Big|\frac{d^2}{dt^2}D_j^{-2}\Big|\le C_{21},\ \Big|\frac{d^2}{dt^2}R_j^{-1}\Big|\le C_{22},\ "
        r"\Big|\frac{d^2}{dt^2}D_j^{-2}R_j^{-1}\Big|\le C_{23}",
        "root_second",
        "C20 without M2^2",
        "C20 without M3",
        "C20 without D2",
        "C21 without R''",
        "C22 without R''",
        "C23 without (D^-2)''",
        "C23 without (R^-1)''",
    ),
    bound(
        "inner-sums-second",
        "Lemma SA-6.15, (6.22)",
        "the second derivatives of the inner sums U_k are at most (n - k) C_24",
        rf"|\ddot U_{{k,j}}|\le(n-k)C_{{24}},\quad {_SUMS}",
        "inner_sums_second",
        "C24 without M2 M3",
        "C24 without M2^2",
        "C24 without M1 M4",
        "C24 without M1 M3",
    ),
    bound(
        "third-derivative",
        "Lemma SA-6.22, made explicit",
        "the third derivative of the flow is at most D_3, the second derivatives of the parts of its field at most the parts of D_3",
        r"|\dddot{\tilde\theta}_j|\le D_3=\mathcal G+T(\mathcal A_2+\mathcal B_2),\quad "
        r"\Big|\frac{d^2}{dt^2}\frac ND\Big|\le\mathcal G,\ |\ddot{\mathcal A}|\le\mathcal A_2,\ |\ddot{\mathcal B}|\le\mathcal B_2",
        "third_derivative",
        "D3 x 0.9",
        "leading_second without numerator",
        "product_second without gradient",
        "product_second without cross",
        "product_second without U''",
        "A_second without 2P + Pbar",
        "A_second without cross",
        "B_second without 2L + Lbar",
    ),
    bound(
        "past-gradients",
        "Lemmas SA-7.1, SA-7.2 and SA-7.3",
        "a gradient at a past time differs from the one now by at most C_7 (n - k) h, and from its expansion h U_k by at most B_k h^2",
        r"|\nabla_jE_k(\tilde\theta(t_k))-\nabla_jE_k(\tilde\theta(t_n))-hU_{k,j}|\le"
        r"\Big((n-k)\big(\tfrac{C_{19}}2+C_8\big)+\tfrac{(n-k)(n-k-1)}2C_{13}\Big)h^2",
        "past_gradients",
        "C7 x 0.9",
        "C13 x 0.9",
        "C19 x 0.5",
        "C8 x 0.5",
    ),
    bound(
        "mean-square-drift",
        "Lemma SA-7.4, (7.3)",
        "the mean square over past gradients differs from R^2 by at most C_25 h",
        r"\Big|\sum_kw_k(\nabla_jE_k(\tilde\theta(t_k)))^2-R_j(\tilde\theta(t_n))^2\Big|\le C_{25}h,\quad C_{25}=2M_1C_7\frac{\rho}{1-\rho}",
        "mean_square",
        "C25 x 0.9",
    ),
    bound(
        "reciprocal",
        "Lemma SA-7.5",
        "1 / (sqrt(V of the past) + epsilon) differs from its expansion around 1/D by at most (C_25^2 + R^2 C_26) / (2 R^3 q^2) h^2",
        r"\Big|\frac1{\sqrt{\mathcal D_n}+\varepsilon}-\frac1{D_j}+\frac{hP_j}{D_j^2R_j}\Big|\le\frac{C_{25}^2+R^2C_{26}}{2R^3(R+\varepsilon)^2}h^2",
        "reciprocal",
        "C26 x 0.9",
    ),
    bound(
        "taylor",
        "proof of Theorem SA-2.3, (7.6) and (7.7)",
        "one step of the flow is its Taylor polynomial up to (D_3/6 + C_27/2) h^3, and the slope of N/D what the leading flow gives up to C_29 h",
        r"\Big|\tilde\theta_j(t_{n+1})-\tilde\theta_j(t_n)-h\dot{\tilde\theta}_j(t_n^+)+\tfrac{h^2}2\tfrac{d}{dt}\tfrac{N_j}{D_j}\Big|\le"
        r"\Big(\tfrac{D_3}6+\tfrac{C_{27}}2\Big)h^3,\quad "
        r"\Big|\tfrac{d}{dt}\tfrac{N_j}{D_j}-\tfrac{N_j\bar P_j}{D_j^2R_j}+\tfrac{\bar L_j}{D_j}\Big|\le C_{29}h",
        "taylor",
        "C27 without C18",
        "C29 x 0.9",
        "C29 without numerator",
    ),
    bound(
        "past-mean",
        "Theorems SA-4.3 and SA-5.3, proof as for SA-2.3",
        "Adam's mean over past gradients differs from M by at most C_31 h, and from M + h L by at most C_30 h^2",
        r"|\mathcal N_n-M_j|\le C_{31}h,\ |\mathcal N_n-M_j-hL_j|\le C_{30}h^2,\quad "
        r"C_{31}=b_1C_7,\ C_{30}=b_1\big(\tfrac{C_{19}}2+C_8\big)+b_1^2C_{13},\ b_1=\tfrac\beta{1-\beta}",
        "past_mean",
        "C31 x 0.9",
        "C30 without b_1",
        "C30 without b_1^2",
    ),
)

# theorems -------------------------------------------------------------------------------------------

STEP = r"\Big|\tilde\theta_j(t_{n+1})-\tilde\theta_j(t_n)+h\frac{\mathcal N_n}{\sqrt{\mathcal D_n}"
_THEOREMS = {
    "rmsprop-outside": ("RMSProp, epsilon outside", "SA-2.3", "SA-2.4", "C_1", "d_1", "d_2", "d_3"),
    "rmsprop-inside": ("RMSProp, epsilon inside", "SA-3.3", "SA-3.4", "C_2", "d_4", "d_5", "d_6"),
    "adam-outside": ("Adam, epsilon outside", "SA-4.3", "SA-4.4", "C_3", "d_7", "d_8", "d_9"),
    "adam-inside": ("Adam, epsilon inside", "SA-5.3", "SA-5.4", "C_4", "d_10", "d_11", "d_12"),
}


def _tex(constant: str) -> str:
    letter, number = constant.split("_")
    return f"{letter}_{{{number}}}"


def _local(algorithm: str) -> Statement:
    name, theorem, _, constant, *_ = _THEOREMS[algorithm]
    place = r"+\varepsilon" if algorithm.endswith("outside") else ""
    is_adam = algorithm.startswith("adam")
    wrong = ("local x 0.7", "local without C30") if is_adam else ("local x 0.4",)
    return bound(
        f"local-{algorithm}",
        f"Theorem {theorem}, with the factor M_1 on the last term of {constant} that the print lacks",
        f"{name}: the flow misses a step over its own past gradients by at most {constant} h^3",
        rf"{STEP}{place}}}\Big|\le {_tex(constant)}h^3",
        "local_" + algorithm.replace("-", "_"),
        *wrong,
    )


def _global(algorithm: str) -> Statement:
    name, _, theorem, _, level, growth, difference = _THEOREMS[algorithm]
    a, b, c = _tex(level), _tex(growth), _tex(difference)
    return bound(
        f"global-{algorithm}",
        f"Theorem {theorem}, with {growth} = (1 + X) sqrt(p)",
        f"{name}: the distance of flow and iterate is at most {level} exp({growth} n h) h^2, its change in a step {difference} exp({growth} n h) h^3",
        rf"\|e_n\|\le {a}e^{{{b}nh}}h^2,\quad \|e_{{n+1}}-e_n\|\le {c}e^{{{b}nh}}h^3",
        "global_" + algorithm.replace("-", "_"),
        "local x 0.1",
    )


CLAIMS: tuple[Statement, ...] = (
    *_LEMMAS,
    *(_local(algorithm) for algorithm in _THEOREMS),
    *(_global(algorithm) for algorithm in _THEOREMS),
)
