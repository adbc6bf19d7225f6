"""Many numbers of steps in one launch, global errors and one-step defects, the statement and wrong variants."""

from __future__ import annotations

import pytest

from stepbias.kernels.gpu import layout, run
from stepbias.theory.variants import LEADING, STATEMENT, Variant
from tests.parity import comparisons
from tests.parity.cases import loss_case, rule_case

# Every factor and every substitution; a variant that swaps has tables of its own.
VARIANTS = {
    "statement": (STATEMENT, "per problem"),
    "leading": (LEADING, "adam inside"),
    "swapped and short": (Variant(swap_eps=True, short_memory=True), "adam, both, uncorrected"),
    "factors": (Variant(1.25, 1.5, 0.5, 0.75, 2.0, 3.0, 0.5), "adam outside"),
}


@pytest.mark.parametrize("kind", ["global", "local"])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_result_of_a_lockstep_run(name: str, kind: str) -> None:
    variant, optimizer = VARIANTS[name]
    case = rule_case(optimizer, "explicit per problem")
    comparisons.ladder(case, variant, local=kind == "local")


@pytest.mark.parametrize(
    ("name", "kind"), [("statement", "global"), ("swapped and short", "local")]
)
def test_sweep(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variant, optimizer = VARIANTS[name]
    launches = []
    launch = layout.Block.launch

    def counted(block: layout.Block, *arguments: object, **options: int) -> None:
        launches.append(block.count)
        launch(block, *arguments, **options)

    monkeypatch.setattr(layout.Block, "launch", counted)
    case = rule_case(optimizer, "explicit per problem")
    comparisons.sweeps(case, variant, kind)
    # All step counts at once; then the drift along the iterates at the finest.
    assert launches == [len(comparisons.COUNTS) * case.problems, case.problems]


def test_ladder_of_a_loss_without_random_parameters() -> None:
    comparisons.ladder(loss_case("bilinear"))


def test_solver_is_not_checked_unless_asked_for() -> None:
    case = rule_case("adam inside", "cyclic")
    found = run.measure_ladder([case.ensemble(3, 0.02)], [3], methods=[None], check=False)[0]
    assert not found.solver.any()
    assert found.error.all()
