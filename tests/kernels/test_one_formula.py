"""No formula is written for the GPU: arithmetic that stands in both a CPU and a GPU file is found and must be a traversal's own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "kernels"
# Fewer operations than this are no formula: a product and a sum make a dot product, two sums an address.
OPERATIONS = 3
# What both traversals have to write themselves.
TRAVERSAL = {
    "_ + _ * _ * _": "the start of a Runge-Kutta stage",
}


class _Shape(ast.NodeVisitor):
    """Arithmetic of a file with its names, numbers and indices left out."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Note the whole expression, and look into what stands inside its calls and indices."""
        count, text = _outline(node)
        if count >= OPERATIONS and set(text) - set("_* "):  # a chain of products weights something
            self.found.add(text)
        for part in ast.walk(node):
            if isinstance(part, ast.Call):
                for argument in part.args:
                    self.visit(argument)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        """Addresses are no formulas."""
        self.visit(node.value)

    def visit_Slice(self, node: ast.Slice) -> None:
        """Addresses are no formulas."""


_SIGN = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}


def _outline(node: ast.expr) -> tuple[int, str]:
    """Number of operations and the expression with ``_`` for whatever is not arithmetic."""
    if isinstance(node, ast.BinOp) and type(node.op) in _SIGN:
        left, right = _outline(node.left), _outline(node.right)
        sign = _SIGN[type(node.op)]
        texts = [
            f"({text})" if isinstance(side, ast.BinOp) and _weaker(side, node, place) else text
            for place, (side, (_, text)) in enumerate(((node.left, left), (node.right, right)))
        ]
        return left[0] + right[0] + 1, f"{texts[0]} {sign} {texts[1]}"
    if isinstance(node, ast.UnaryOp):
        return _outline(node.operand)
    return 0, "_"


def _weaker(side: ast.BinOp, node: ast.BinOp, place: int) -> bool:
    products = (ast.Mult, ast.Div, ast.Pow)
    sums = not isinstance(side.op, products)
    return sums and (isinstance(node.op, products) or place == 1)


def formulas(path: Path) -> set[str]:
    """Outlines of all arithmetic that is not an address."""
    shape = _Shape()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Return | ast.Expr):
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            if not names & ADDRESSES and node.value is not None:
                shape.visit(node.value)
    return shape.found


# Names of whole numbers that say where something lies.
ADDRESSES = {"i", "j", "k", "o", "t", "w", "at", "row", "before", "source", "target", "method"}


def test_no_formula_stands_in_a_cpu_and_a_gpu_file() -> None:
    cpu = {path.name: formulas(path) for path in sorted(KERNELS.glob("*.py"))}
    twice = [
        f"{path.name} and {name}: {text}"
        for path in sorted((KERNELS / "gpu").glob("*.py"))
        if path.name not in ("run.py", "layout.py")  # the host's layout: sizes and places
        for name, others in cpu.items()
        for text in sorted(formulas(path) & others)
        if text not in TRAVERSAL
    ]
    assert not twice, "\n".join(twice)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "x = mc * (2.0 * f * (past * prefix - total) + g * now * u)",
            {"_ * (_ * _ * (_ * _ - _) + _ * _ * _)"},
        ),
        ("i = j * lanes + lane", set()),
        ("y = out[j * lanes + lane + 2 * m] + a", set()),
        ("y = f(a * b + c * d) + 1.0", {"_ * _ + _ * _"}),
    ],
)
def test_what_counts_as_a_formula(tmp_path: Path, text: str, expected: set[str]) -> None:
    path = tmp_path / "file.py"
    path.write_text(text)
    assert formulas(path) == expected
