r"""What is left when an assumption of the theorems is dropped: claims of their own, each derived here before it is measured.

**A gradient component changes sign, epsilon outside and far below h** (full batch; the theorem asks for R >= R_0 > 0). Let g be that component,
with slope -a in time near its zero. While |g| is below the change of g within the memory, g^2 and g are averages over both signs, and the step m /
sqrt(v) differs from the field's -sign(g) by O(1), for O(1/(1-beta) + 1/(1-rho)) steps of size h: the distance gains O(h), and no less, since the
iterate lags the flow by about the mean age of the gradients. What the O(h) term does there depends on

    (h/2) {(1+rho)/(1-rho) - (1+beta)/(1-beta)} d_j||grad E||_1 / |g|        (epsilon -> 0),

which is not integrable at g = 0. For beta = rho the bracket is zero and the flow passes: **order exactly 1**. For rho > beta and a positive second
derivative E_jj the term grows like E_jj/|g| against the motion and holds the flow at |g| = O(h): it never passes, the iterate does, and the
distance does not go to 0 at all. (RMSProp is beta = 0 < rho, so no such claim is made for it.) The control is the same setting without a change of
sign: order 2.

**A kink is crossed, epsilon inside** (|x| or ReLU units; the theorem asks for bounded derivatives). The gradient jumps by J on the kink. The field
uses J at once, the optimizer's averages follow within the memory: O(1/(1-beta) + 1/(1-rho)) steps with a rate wrong by O(J). The sum is O(h), and
so is the offset between the kink and the nearest step: **order exactly 1** after the crossing, with a coefficient that varies with the offset by
the part that one step is of the memory: the claim is measured with one long memory. The epsilon is not small: a component of the smooth part that
comes near 0 leaves a distance of order h^2 / sqrt(epsilon), which hides the kink until h is far smaller. The kinked unit is concave: on a valley
floor the jump points back from both sides, and the flow may be held on the kink. Where the path does not cross, the losses are smooth and the
theorem stands.

**epsilon -> 0, inside.** For every epsilon > 0 the order is 2. A component that changes sign at rate a has D = sqrt(a^2 t^2 + epsilon), a layer of
duration sqrt(epsilon)/a. In the layer's own time the problem depends on h and epsilon through x = h / sqrt(epsilon) only, up to O(sqrt(epsilon)):
the distance is h F(x) with F(x) ~ x as x -> 0 and F = O(1) beyond. The step h_c below which (distance)/h stays below a level c < max F, one c for all
epsilons, is therefore F^{-1}(c) sqrt(epsilon) (1 + O(sqrt(epsilon))): **order exactly 1/2 in epsilon**. (The step where the local slope passes 1.5 has
the same order, but the slope may linger there, and its place is then ill-conditioned; F falls with slope 0.3 to 0.9 where c is read off.)

F = O(1) needs E_jj > 0. For beta = rho the field's O(h) term in the layer multiplies the rate dg/dt by 1 + E_jj (h/2) (1+rho)/(1-rho) epsilon / D^3,
and epsilon / D^3 is 1 / sqrt(epsilon) at g = 0. Where E_jj < 0 and h > 2 sqrt(epsilon) (1-rho) / ((1+rho) |E_jj|) the factor is negative and the
flow is held on g = 0: the distance is then O(1), not O(h). (E_jj > 0 makes the crossing faster.)
"""

from __future__ import annotations

from stepbias.theory.adam_claims import AWAY, BOUNDED, PAPER, field_latex
from stepbias.theory.claim import Claim, Place, Problems
from stepbias.theory.variants import Variant

_ERROR = r"\max_{nh\le T}\|\tilde\theta(nh)-\theta^{(n)}\|"
_SOURCE = {
    "outside": f"{PAPER}, supplement, Theorem SA-4.4",
    "inside": f"{PAPER}, Theorem 3.1",
}
_CROSSES = (
    "dropped: R stays away from 0. One gradient component changes sign once, in the middle of the path, the others and its ends stay away from 0 "
    "(surveyed along coarse iterates; other draws are excluded and counted)"
)


def _first_order(problems: Problems, place: Place, what: str, dropped: str) -> Claim:
    return Claim(
        id=f"adam-{place}/{problems}",
        source=f"{_SOURCE[place]}, an assumption dropped; derived in stepbias.theory.dropped_claims",
        statement=f"Adam with epsilon {place} the root, full batch, {what}: the iterates are O(h)-close to the modified equation and no closer",
        latex=rf"{_ERROR} \sim h,\quad {field_latex(place)}",
        assumptions=(BOUNDED, dropped) if problems == "sign-change" else (dropped,),
        expected="order = 1",
        expected_order=1.0,
        algorithm="adam",
        place=place,
        problems=problems,
        exact=True,
    )


_SIGN_CHANGE = _first_order(
    "sign-change",
    "outside",
    "beta = rho, epsilon far below h, a gradient component changes sign on the path",
    _CROSSES,
)
_NO_SIGN_CHANGE = Claim(
    id="adam-outside/no-sign-change",
    source=f"{_SOURCE['outside']}; the control of adam-outside/sign-change",
    statement="Adam with epsilon outside the root, full batch, beta = rho, epsilon far below h, no gradient component near 0: O(h^2)-close",
    latex=rf"{_ERROR} = O(h^2),\quad {field_latex('outside')}",
    assumptions=(BOUNDED, AWAY),
    expected="order >= 2",
    expected_order=2.0,
    algorithm="adam",
    place="outside",
    problems="no-sign-change",
    # For beta = rho the terms of L and P cancel, so a variant has to touch one of them alone.
    wrong=(Variant(L=0.5), Variant(P=0.5), Variant(Lbar=0.0), Variant(Pbar=0.0)),
)


def _kink(problems: Problems, unit: str) -> Claim:
    return _first_order(
        problems,
        "inside",
        f"a sinusoid loss with a concave {unit} unit whose kink the path crosses",
        "dropped: bounded derivatives. The path crosses the kink once, in its middle and not slowly, and ends away from it "
        "(surveyed along coarse iterates; other draws are excluded and counted)",
    )


_EPS_TO_ZERO = Claim(
    id="adam-inside/eps-to-zero",
    source=f"{_SOURCE['inside']}, uniformity in epsilon dropped; derived in stepbias.theory.dropped_claims",
    statement=(
        "Adam with epsilon inside the root, full batch, beta = rho, a gradient component changes sign on the path where its own second derivative is positive: "
        "the order is 2 for every epsilon, but the step h_c below which the distance stays below c h shrinks like the root of epsilon"
    ),
    latex=r"h_c(\varepsilon) \sim \varepsilon^{1/2},\quad "
    rf"h_c = \sup\{{h : {_ERROR} < c\,h'\ \text{{for all}}\ h' \le h\}}",
    assumptions=(
        BOUNDED,
        _CROSSES.replace("dropped: R stays away from 0. ", ""),
        "E_jj > 0 for the component j that changes sign, on its change of sign",
    ),
    expected="order = 0.5",
    expected_order=0.5,
    algorithm="adam",
    place="inside",
    problems="resolving-step",
    exact=True,
    kind="resolving-step",
)

CLAIMS: tuple[Claim, ...] = (
    _SIGN_CHANGE,
    _NO_SIGN_CHANGE,
    _kink("kink-abs", "|z|"),
    _kink("kink-relu", "max(z, 0)"),
    _EPS_TO_ZERO,
)
