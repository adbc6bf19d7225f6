"""The optimizer of docs/how-to-add-an-optimizer.md: fewer than twenty lines, and what the page says of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to-add-an-optimizer.md"


def test_the_page_adds_an_optimizer_in_fewer_than_twenty_lines() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code.strip().splitlines()) < 20
    printed: list[Any] = []
    scope: dict[str, Any] = {"print": lambda *values: printed.append(values)}
    exec(code, scope)
    fit = scope["fit"]
    assert fit.verdict == "confirmed"
    assert printed[0] == ("confirmed", 2.0)
