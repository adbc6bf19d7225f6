"""Items of "Backward Error Analysis of Adaptive Gradient Algorithms"."""

from __future__ import annotations

from stepbias.theory.coverage import CITED, NETWORKS, NOTATION, Item, below, theorem

ITEMS: tuple[Item, ...] = (
    Item(
        "Section 1, gradient descent",
        "The flow of E + (h/4) |grad E|^2 follows gradient descent one order better",
        ("special-cases/gradient-descent", "special-cases/gradient-flow"),
    ),
    Item(
        "Section 1, SGD over one epoch",
        "The modified loss, here with the index k",
        ("special-cases/epoch-order", "slips/epoch-norm-corrected"),
    ),
    Item(
        "Section 1, heavy ball",
        "The piecewise equation with gamma_n",
        (
            "special-cases/heavy-ball",
            "special-cases/heavy-ball-defect",
            "special-cases/heavy-ball-coefficients",
        ),
    ),
    Item("Section 1, gradient-norm penalty", "Zhao, Zhang and Hu penalise the norm", reason=CITED),
    Item(
        "Section 1, sign flow",
        "The first-order limit, here with the modulus",
        (
            "special-cases/adam-sign-flow",
            "special-cases/rmsprop-sign-flow",
            "slips/sign-flow-modulus-corrected",
        ),
    ),
    Item("Notation", "Derivatives, norms, the perturbed one-norm", reason=NOTATION),
    Item(
        "Definition 3.1, (1) and (2)",
        "RMSProp and Adam with epsilon inside the root",
        reason="definitions; the iterates of every claim rmsprop-inside/ and adam-inside/",
    ),
    Item(
        "Remark 3.2",
        "Why epsilon stands inside the root",
        (
            "special-cases/bounded-derivative",
            "adam-outside/sign-change",
            "adam-outside/no-sign-change",
        ),
    ),
    Item(
        "Assumption (3)",
        "Partial derivatives up to order 4 are bounded",
        ("adam-inside/kink-abs", "adam-inside/kink-relu"),
        "an assumption; the claims drop it",
    ),
    Item(
        "Theorem 3.3, (4)",
        "RMSProp, epsilon inside: O(h^2)",
        theorem("rmsprop", "inside"),
    ),
    Item(
        "Remark 3.4, finite n",
        "The sums of RMSProp on the full batch",
        below("full-batch", "rmsprop-sums", "rmsprop-sums-compiled"),
    ),
    Item(
        "Remark 3.4, many steps",
        "The factor of the one-norm's gradient, a sum of two parts called nonzero steps and memory",
        below(
            "full-batch",
            "earlier-split",
            "earlier-parts",
            "approach-rmsprop-leading",
            "approach-rmsprop-bias",
        ),
    ),
    Item(
        "Remark 3.4, nonzero steps",
        "This part is there in sign descent without memory too, and penalises the one-norm",
        ("special-cases/sign-descent",),
    ),
    Item(
        "Remark 3.4, small and large epsilon",
        "The modified losses of RMSProp",
        below("full-batch", "small-epsilon", "large-epsilon"),
    ),
    Item(
        "Example 3.5, (5)",
        "With a large epsilon RMSProp is gradient descent with step size h/sqrt(epsilon), and so is its equation in other time",
        ("special-cases/rmsprop-large-epsilon", "special-cases/heavy-ball-time-change"),
    ),
    Item("Theorem 3.6, (6) and (7)", "Adam, epsilon inside: O(h^2)", theorem("adam", "inside")),
    Item(
        "Remark 3.7, finite n",
        "The sums of Adam on the full batch",
        below("full-batch", "adam-sums", "adam-sums-compiled"),
    ),
    Item(
        "Remark 3.7, many steps",
        "The limit; beta = 0 is Remark 3.4; small and large epsilon",
        below(
            "full-batch",
            "earlier-adam",
            "limit-field",
            "approach-beta",
            "approach-rho",
            "small-epsilon",
            "large-epsilon",
            "large-epsilon-bias",
        ),
    ),
    Item(
        "Example 3.8",
        "With a large epsilon Adam is heavy ball with step size h (1-beta)/sqrt(epsilon)",
        ("special-cases/adam-large-epsilon", "special-cases/heavy-ball-time-change"),
    ),
    Item(
        "Section 4, first conclusion",
        "Heavy ball penalises the squared two-norm",
        (
            "special-cases/heavy-ball-many-steps",
            "special-cases/heavy-ball-settled",
            "slips/heavy-ball-sign-printed",
            "slips/heavy-ball-sign-corrected",
        ),
    ),
    Item(
        "Section 4, second conclusion, (8)",
        "Adam's equation after many steps, and for small epsilon; only for beta > rho the one-norm is penalised",
        below(
            "full-batch",
            "earlier-adam",
            "small-epsilon",
            "table-small-epsilon-beta",
            "table-small-epsilon-rho",
            "one-norm-flow",
        ),
    ),
    Item(
        "Section 4, third conclusion",
        "A conjecture that larger beta and smaller rho improve the test error",
        reason="a conjecture about generalisation, with no stated quantity",
    ),
    Item(
        "Section 5, Figures 1 and 2",
        "Trajectories on the bilinear model, as in the later version",
        below(
            "bilinear",
            "larger-beta",
            "larger-rho",
            "larger-step-beta-above-rho",
            "larger-step-rho-above-beta",
            "minimum-reached",
        ),
    ),
    Item(
        "Section 6, regimes", "Spikes, stable oscillation, divergence (Ma, Wu, E)", ("regimes/*",)
    ),
    Item(
        "Figures 3 and 4",
        "ResNet-50, CIFAR-10: one-norm and test accuracy over rho",
        reason=NETWORKS,
    ),
    Item(
        "Figures 5 and 6",
        "ResNet-50, CIFAR-10: one-norm and test accuracy over beta",
        reason=NETWORKS,
    ),
    Item("Figure 7", "ResNet-101, CIFAR-10: loss, one-norm and accuracy", reason=NETWORKS),
    Item("Figure 8", "ResNet-101, CIFAR-100: one-norm over epochs", reason=NETWORKS),
    Item(
        "Section 7",
        "ReLU violates the assumption; the constant of (7) grows as epsilon goes to zero",
        (
            "adam-inside/kink-relu",
            "adam-inside/eps-to-zero",
            "validity/constant-with-sign-change",
            "validity/constant-without-sign-change",
        ),
    ),
)
