"""SymPy expressions as straight-line Python that Numba compiles well."""

from __future__ import annotations

from typing import Any

import sympy
from sympy.printing.pycode import PythonCodePrinter


class CodePrinter(PythonCodePrinter):
    """SymPy's printer, with floating constants (integers would overflow) and integer exponents (products and divisions instead of calls of pow)."""

    def __init__(self) -> None:
        super().__init__({"fully_qualified_modules": False, "strict": True})

    def _print_Integer(self, expr: Any) -> str:
        return repr(float(expr))

    def _print_Rational(self, expr: Any) -> str:
        return repr(float(expr))

    def _print_Float(self, expr: Any) -> str:
        return repr(float(expr))

    def _print_Half(self, expr: Any) -> str:
        return "0.5"

    def _print_Pow(self, expr: Any, rational: bool = False) -> str:
        base, power = expr.as_base_exp() if not expr.base.is_Rational else (expr.base, expr.exp)
        if power.is_Integer and abs(int(power)) <= 64:
            text = f"({self._print(base)})"
            if (
                power < 0
            ):  # as a division: Numba's negative powers test for zero, and the loop stays scalar
                return f"(1.0/{text}**{-int(power)})" if power < -1 else f"(1.0/{text})"
            return f"{text}**{int(power)}"
        return str(super()._print_Pow(sympy.Pow(base, power, evaluate=False), rational=rational))

    def _print_root(self, expr: Any) -> str:
        return f"sqrt({self._print(expr.args[0])})"

    def _print_half_inverse(self, expr: Any) -> str:
        return f"half_inverse({self._print(expr.args[0])})"
