"""Items of the supplement of "On the Implicit Bias of Adam", and claims beyond the papers."""

from __future__ import annotations

from stepbias.theory.coverage import NETWORKS, NOTATION, Item, below, defect, theorem

_ASSUMED = "an assumption; each claim says how it is checked on its problems"
_ALGORITHMS = (
    ("2", "RMSProp", "outside", "rmsprop"),
    ("3", "RMSProp", "inside", "rmsprop"),
    ("4", "Adam", "outside", "adam"),
    ("5", "Adam", "inside", "adam"),
)


def _section(number: str, name: str, place: str, algorithm: str) -> tuple[Item, ...]:
    sums = f"({number}.1), ({number}.2)" + ("" if number == "2" else f", ({number}.3)")
    key = f"{algorithm}-{place}"
    long_memory = (
        ("constants/local-long-memory", "constants/local-long-memory-printed")
        if place == "inside"
        else ()
    )
    return (
        Item(
            f"Definition SA-{number}.1, {sums}",
            f"{name}, epsilon {place}: the iteration, the piecewise equation and its sums",
            theorem(algorithm, place)[:1],
        ),
        Item(
            f"Assumption SA-{number}.2",
            "Bounded derivatives" + ("; R bounded away from 0" if place == "outside" else ""),
            ("adam-outside/sign-change",) if key == "adam-outside" else (),
            _ASSUMED if key != "adam-outside" else f"{_ASSUMED}; the claim drops it",
        ),
        Item(
            f"Theorem SA-{number}.3",
            "Local: past gradients along the flow miss one step by at most C h^3",
            (*defect(algorithm, place), f"constants/local-{key}", *long_memory),
        ),
        Item(
            f"Theorem SA-{number}.4",
            "Global: the distance is at most d e^(d' n h) h^2, with its constants",
            (
                *theorem(algorithm, place),
                f"constants/global-{key}",
                "constants/global-growth",
                "constants/global-growth-printed",
            ),
        ),
    )


_SECTIONS = {number: _section(number, *rest) for number, *rest in _ALGORITHMS}

_LEMMAS: tuple[Item, ...] = (
    Item("Lemma SA-6.1, (6.1), (6.2)", "|P| <= C_5, |Pbar| <= C_6", ("constants/memory-sums",)),
    Item("Lemma SA-6.4", "The flow's speed is bounded by D_1", ("constants/speed",)),
    Item(
        "Lemma SA-6.5, (6.3), (6.4)",
        "How fast gradients change along the flow",
        ("constants/gradient-drift",),
    ),
    Item(
        "Lemma SA-6.5, (6.5), (6.8), (6.13)",
        "The inner sums and their rates",
        ("constants/inner-sums",),
    ),
    Item(
        "Lemma SA-6.5, (6.6), (6.7), (6.11)", "The rates of P and Pbar", ("constants/memory-drift",)
    ),
    Item(
        "Lemma SA-6.5, (6.12), (6.14) to (6.16)",
        "The rates of R and of its reciprocals",
        ("constants/root-drift",),
    ),
    Item(
        "Lemma SA-6.5, (6.9), (6.10)",
        "The rates of the two parts of the O(h) term",
        ("constants/bias-drift",),
    ),
    Item(
        "Lemma SA-6.5, constant C_13",
        "Two expressions for it",
        ("constants/second-form-13", "constants/second-form-13-printed"),
    ),
    Item("Lemma SA-6.14", "The flow's acceleration is bounded by D_2", ("constants/acceleration",)),
    Item("Lemma SA-6.15, (6.17)", "Second derivatives of gradients", ("constants/acceleration",)),
    Item(
        "Lemma SA-6.15, (6.18) to (6.21)",
        "Second derivatives of R and of its reciprocals",
        ("constants/root-second",),
    ),
    Item(
        "Lemma SA-6.15, (6.22)",
        "Second derivatives of the inner sums",
        ("constants/inner-sums-second",),
    ),
    Item(
        "Lemma SA-6.22",
        "The flow's third derivative is bounded by D_3",
        ("constants/third-derivative",),
    ),
    Item(
        "Lemmas SA-7.1, (7.1), SA-7.2, (7.2), SA-7.3",
        "Past gradients by expansion about now",
        ("constants/past-gradients",),
    ),
    Item(
        "Lemma SA-7.4, (7.3)",
        "The mean square over past gradients, to O(h)",
        ("constants/mean-square-drift",),
    ),
    Item(
        "Lemma SA-7.4, (7.4)",
        "The mean square over past gradients, to O(h^2)",
        (
            "constants/mean-square",
            "constants/mean-square-printed",
            "constants/mean-square-large-steps",
            "constants/large-steps",
            "constants/large-steps-printed",
        ),
    ),
    Item(
        "Lemma SA-7.4, (7.5) and the inequality before it",
        "The square of a past gradient, to O(h^2)",
        (
            "constants/past-square",
            "constants/past-square-printed",
            "constants/elementary-inequality",
            "constants/elementary-inequality-printed",
        ),
    ),
    Item(
        "Lemma SA-7.5",
        "The reciprocal of the root over past gradients, to O(h^2)",
        ("constants/reciprocal",),
    ),
    Item(
        "SA-7.6, (7.6), (7.7)", "The flow's Taylor expansion over one step", ("constants/taylor",)
    ),
    Item("SA-7.6, constant C_1", "Its last term", ("constants/units", "constants/units-printed")),
)

ITEMS: tuple[Item, ...] = (
    Item(
        "SA-1.1",
        "Overview: which theorems are proved and which follow alike",
        reason="no statement of its own",
    ),
    Item("SA-1.2", "Derivatives, the horizon T, the step size h", reason=NOTATION),
    *_SECTIONS["2"],
    Item(
        "Proof of Theorem SA-2.4, (2.3) to (2.7)",
        "The induction; its last step asks for a relation of the constants",
        ("constants/induction-step", "constants/induction-step-printed"),
    ),
    Item(
        "SA-2.5, finite n",
        "The sums of RMSProp on the full batch, epsilon outside",
        below("full-batch", "rmsprop-sums", "rmsprop-sums-compiled"),
    ),
    Item(
        "SA-2.5, many steps and a small epsilon",
        "The one-norm's decrease is hindered with the coefficient rho / (1-rho)",
        ("constants/rmsprop-limit", "constants/rmsprop-limit-printed"),
    ),
    *_SECTIONS["3"],
    *_SECTIONS["4"],
    Item(
        "Proof of Theorem SA-4.4, (4.4) to (4.9)",
        "The same induction, with the mean over past gradients",
        ("constants/past-mean", "constants/induction-step", "constants/induction-step-printed"),
    ),
    *_SECTIONS["5"],
    *_LEMMAS,
    Item("SA-8.1", "The networks of Section 7", reason=NETWORKS),
    Item("SA-8.2", "Their data augmentation", reason=NETWORKS),
)

_METHODS = (
    "gradient-descent", "heavy-ball", "nesterov", "adamw", "nadam", "lion", "signum",
)  # fmt: skip

BEYOND: tuple[Item, ...] = (
    Item(
        "Other methods",
        "Memoryless equations: O(h^2) with the coefficients of each step, O(h) with those of many steps where the leading field changes",
        tuple(f"{name}/*" for name in _METHODS),
    ),
    Item(
        "The limit of many steps from the first one, mini-batches",
        "Adam and RMSProp keep only the first order",
        ("adam-inside/limit-mini-batch", "rmsprop-inside/limit-mini-batch"),
    ),
    Item(
        "The constant of Theorem 3.1",
        "How it depends on the horizon and on 1/(1-rho)",
        ("validity/*",),
    ),
    Item(
        "The bilinear model",
        "The rate behind Figures 2 and 3; starts, memories and steps where the order that they show fails",
        ("bilinear/*",),
    ),
)
