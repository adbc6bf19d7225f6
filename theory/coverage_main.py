"""Items of "On the Implicit Bias of Adam"."""

from __future__ import annotations

from stepbias.theory.coverage import CITED, NETWORKS, NOTATION, Item, below, theorem

_BIAS = below("full-batch", "limit-field", "approach-beta", "approach-rho", "four-decades")

ITEMS: tuple[Item, ...] = (
    Item(
        "Section 1, gradient descent",
        "The flow of E + (h/4) |grad E|^2 follows gradient descent one order of h better than the gradient flow",
        below("special-cases", "gradient-descent", "gradient-flow"),
    ),
    Item(
        "Section 1, higher corrections",
        "Miyagawa has the correction of every order for gradient descent",
        reason=CITED,
    ),
    Item(
        "Section 1, SGD over one epoch",
        "The mean over all orders of the batches follows the flow of E + (h/4m) sum |grad E_k|^2 to O(m^3 h^3)",
        (
            *below(
                "special-cases", "epoch-order", "epoch-coefficient", "epoch-growth", "epoch-bound"
            ),
            *below("slips", "epoch-norm-printed", "epoch-norm-corrected"),
        ),
        "the bound is not sharp: the distance grows like m^2 h^3",
    ),
    Item(
        "Section 1, heavy ball",
        "Heavy ball follows a piecewise equation with coefficients that depend on n through beta^n and gamma_n",
        below("special-cases", "heavy-ball", "heavy-ball-defect", "heavy-ball-coefficients"),
    ),
    Item(
        "Section 1, gradient-norm penalty",
        "Zhao, Zhang and Hu add lambda |grad E| to the loss, not its square",
        reason=CITED,
    ),
    Item(
        "Section 1, sign flow",
        "To first order Adam and RMSProp on the full batch follow a sign descent softened by epsilon (Ma, Wu, E)",
        (
            *below("special-cases", "adam-sign-flow", "rmsprop-sign-flow"),
            *below("slips", "sign-flow-norm-printed", "sign-flow-modulus-corrected"),
        ),
    ),
    Item(
        "Section 1, contributions",
        "What Sections 2 to 7 state: an equation of second order; the one-norm penalised or not; observations on networks",
        reason="checked where it is stated",
    ),
    Item("Notation", "Derivatives, norms, the perturbed one-norm", reason=NOTATION),
    Item(
        "Definition 2.1, (1)",
        "Adam with epsilon inside the root",
        reason="a definition; the iterates of every claim adam-inside/",
    ),
    Item(
        "Remark 2.2, derivative",
        "With epsilon inside the root the derivative of 1/sqrt(x + epsilon) is bounded",
        ("special-cases/bounded-derivative",),
    ),
    Item(
        "Remark 2.2, epsilon outside",
        "With epsilon outside no component of the gradient may come close to zero or change sign",
        below("adam-outside", "sign-change", "no-sign-change"),
    ),
    Item(
        "Remark 2.2, practice",
        "Where libraries put epsilon; that networks behave alike with either",
        reason=f"facts about other software, and {NETWORKS}",
    ),
    Item(
        "Section 2, (2) and (3)",
        "After many steps full-batch Adam follows -(grad E + bias)/sqrt(|grad E|^2 + epsilon), to O(h^2), with the bias term of (3)",
        (*_BIAS, "adam-inside/limit-full-batch"),
    ),
    Item(
        "Section 2, (4) and (5), small epsilon",
        "The bias is a multiple of the gradient of the one-norm, which is penalised for beta > rho and the reverse for rho > beta; the modified loss",
        below("full-batch", "small-epsilon", "norm-rate", "one-norm-flow"),
    ),
    Item(
        "Section 2, (6) and (7), large epsilon",
        "The perturbed one-norm becomes the squared two-norm, rho drops out, and the flow is that of a modified loss",
        below("full-batch", "large-epsilon", "large-epsilon-bias", "square-norm-flow"),
    ),
    Item(
        "Table 1",
        "Which norm is penalised, for small and large epsilon and the two orders of beta and rho",
        below(
            "full-batch",
            "table-small-epsilon-beta",
            "table-small-epsilon-rho",
            "table-large-epsilon",
            "table-equal-decays-printed",
            "table-equal-decays-corrected",
        ),
    ),
    Item(
        "Figure 1",
        "What the bias penalises in one dimension",
        below("full-batch", "figure-1-integral", "figure-1-shape"),
    ),
    Item(
        "Example 2.3",
        "With a large epsilon and after some steps Adam is heavy ball with step size h (1-beta)/sqrt(epsilon), and so is its equation in other time",
        below(
            "special-cases", "adam-large-epsilon", "rmsprop-large-epsilon", "heavy-ball-time-change"
        ),
        '"exactly the equations of Theorem 4.1" is true of their limit for many steps',
    ),
    Item(
        "Section 2, last sentence",
        "All of it holds for RMSProp with beta = 0",
        below("full-batch", "approach-rmsprop-leading", "approach-rmsprop-bias"),
    ),
    Item(
        "Assumption (8)",
        "Partial derivatives up to order 4 are bounded",
        below("adam-inside", "kink-abs", "kink-relu"),
        "an assumption; the claims drop it",
    ),
    Item(
        "Theorem 3.1, (9) and (10)",
        "Adam, epsilon inside: O(h^2), with the six memory sums",
        theorem("adam", "inside"),
    ),
    Item(
        "Remark 3.2",
        "The sums of Adam on the full batch in closed form; (9) rapidly becomes (2)",
        below(
            "full-batch",
            "adam-sums",
            "adam-sums-compiled",
            "limit-field",
            "approach-beta",
            "approach-rho",
        ),
        '"rapidly": like n beta^n and n rho^n',
    ),
    Item(
        "Definition 4.1, (11)",
        "RMSProp with epsilon inside the root",
        reason="a definition; the iterates of every claim rmsprop-inside/",
    ),
    Item(
        "Section 4, first paragraph",
        "Up to rapidly vanishing terms RMSProp's equation is that of Adam with beta = 0",
        below("full-batch", "rmsprop-adam", "rmsprop-adam-start"),
        "the trajectories stay O(h) apart: the first steps differ",
    ),
    Item(
        "Theorem 4.2, (12)",
        "RMSProp, epsilon inside: O(h^2), with its memory sums",
        theorem("rmsprop", "inside"),
    ),
    Item(
        "Remark 4.3",
        "The sums of RMSProp on the full batch; many steps are beta = 0 of (2) and (3)",
        (
            *below(
                "full-batch",
                "rmsprop-sums",
                "rmsprop-sums-compiled",
                "approach-rmsprop-leading",
                "approach-rmsprop-bias",
            ),
            "rmsprop-inside/limit-full-batch",
        ),
    ),
    Item(
        "Section 5, first conclusion",
        "After many steps heavy ball penalises the squared two-norm; Adam with rho > beta and RMSProp do not, if epsilon is small",
        (
            *below("special-cases", "heavy-ball-many-steps", "heavy-ball-settled"),
            *below("slips", "heavy-ball-sign-printed", "heavy-ball-sign-corrected"),
            "full-batch/table-small-epsilon-rho",
        ),
    ),
    Item(
        "Section 5, second conclusion",
        "Only for beta > rho the one-norm is penalised; larger beta or smaller rho lead to smaller norms",
        (
            *below("full-batch", "table-small-epsilon-beta", "one-norm-flow"),
            *below("bilinear", "larger-beta", "larger-rho"),
        ),
    ),
    Item(
        "Section 5, third conclusion",
        "A conjecture that larger beta and smaller rho improve the test error",
        reason="a conjecture about generalisation, with no stated quantity",
    ),
    Item(
        "Section 6 and Figures 2 and 3",
        "On the bilinear model larger beta leads to smaller one-norms and larger rho to larger ones; larger h to smaller ones exactly for beta > rho",
        below(
            "bilinear",
            "larger-beta",
            "larger-rho",
            "larger-step-beta-above-rho",
            "larger-step-rho-above-beta",
            "minimum-reached",
            "flow-at-matched-loss",
        ),
    ),
    Item(
        "Section 7, regimes",
        "Spikes for rho well above beta, stable oscillation near beta = rho, divergence for beta well above rho; the equation describes the second",
        ("regimes/*",),
    ),
    Item(
        "Section 7, effective learning rate",
        "Adam's does not depend on beta, heavy ball's does",
        ("full-batch/adam-sums", "special-cases/heavy-ball-many-steps"),
        "Adam's leading field on the full batch is g/D at every n: neither beta nor rho is in it",
    ),
    Item("Figure 4", "ResNet-50, CIFAR-10: one-norm and test accuracy over rho", reason=NETWORKS),
    Item("Figure 5", "ResNet-50, CIFAR-10: one-norm and test accuracy over beta", reason=NETWORKS),
    Item(
        "Figure 6", "ResNet-101, CIFAR-10: loss, one-norm and accuracy over epochs", reason=NETWORKS
    ),
    Item("Figure 7", "ResNet-101, CIFAR-100: one-norm over epochs", reason=NETWORKS),
    Item(
        "Section 8, ReLU",
        "The assumption fails for ReLU networks",
        below("adam-inside", "kink-abs", "kink-relu"),
        "what is left then: order 1",
    ),
    Item("Section 8, edge of stability", "Large Hessians near the end of training", reason=CITED),
    Item(
        "Section 8, the constant",
        "The constant of (10) grows without bound as epsilon goes to zero, except early in training",
        (
            "adam-inside/eps-to-zero",
            *below("validity", "constant-with-sign-change", "constant-without-sign-change"),
        ),
    ),
)
