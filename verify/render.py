"""Markdown, HTML and LaTeX texts of a report, from the templates beside this file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stepbias.verify import wording

if TYPE_CHECKING:
    from stepbias.verify.report import Report

_TEMPLATES = Path(__file__).parent / "templates"

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "≤": r"\ensuremath{\le}",
    "≥": r"\ensuremath{\ge}",
    "∞": r"\ensuremath{\infty}",
    "·": r"\ensuremath{\cdot}",
    "×": r"\ensuremath{\times}",
    "²": r"\ensuremath{^2}",
    "³": r"\ensuremath{^3}",
    "–": "--",
    "‖": r"\ensuremath{\|}",
    "∇": r"\ensuremath{\nabla}",
    "β": r"\ensuremath{\beta}",
    "ρ": r"\ensuremath{\rho}",
    "ε": r"\ensuremath{\varepsilon}",
    "θ": r"\ensuremath{\theta}",
    "κ": r"\ensuremath{\kappa}",
}


def escape_markdown(text: object) -> str:
    """Text that Markdown shows as it is, also inside a table cell."""
    return re.sub(r"([\\`*_<>\[\]|])", r"\\\1", " ".join(str(text).split()))


def escape_latex(text: object) -> str:
    """Text that LaTeX typesets as it is."""
    return "".join(_LATEX.get(character, character) for character in " ".join(str(text).split()))


@cache
def _environment(kind: str) -> Environment:
    options: dict[str, Any] = {
        "loader": FileSystemLoader(_TEMPLATES),
        "undefined": StrictUndefined,
        "trim_blocks": True,
        "lstrip_blocks": True,
        "keep_trailing_newline": True,
        "autoescape": kind == "html",
    }
    if kind == "latex":  # braces and percent signs are LaTeX's own
        options |= {
            "block_start_string": "((*",
            "block_end_string": "*))",
            "variable_start_string": "(((",
            "variable_end_string": ")))",
            "comment_start_string": "((=",
            "comment_end_string": "=))",
        }
    made = Environment(**options)
    made.filters["md"] = escape_markdown
    made.filters["tex"] = escape_latex
    made.filters["number"] = wording.number
    made.filters["percent"] = wording.percent
    return made


def _render(kind: str, template: str, report: Report, **more: Any) -> str:
    return (
        _environment(kind)
        .get_template(template)
        .render(
            report=report,
            meta=_facts(report.meta),
            unexpected=report.unexpected,
            wording=wording,
            replay={row.id: wording.replay_command(row, report.meta) for row in report.rows},
            **more,
        )
    )


def _facts(meta: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The circumstances of a run, one printable value a name; lists and mappings spelt out."""
    facts = []
    for key, value in meta.items():
        if isinstance(value, Mapping):
            facts += [(f"{key}: {name}", str(entry)) for name, entry in value.items()]
        elif isinstance(value, list | tuple):
            facts += [(key, str(entry)) for entry in value]
        elif isinstance(value, float):
            facts.append((key, wording.number(value)))
        else:
            facts.append((key, str(value)))
    return facts


def markdown(report: Report, figures: Mapping[str, str]) -> str:
    """Markdown text; ``figures`` maps a claim's id to the relative address of its SVG."""
    return _render("markdown", "report.md.j2", report, figures=figures)


def html(report: Report, figures: Mapping[str, str]) -> str:
    """HTML page; ``figures`` maps a claim's id to its ``<svg>`` element."""
    return _render("html", "report.html.j2", report, figures=figures)


def latex(report: Report) -> str:
    """LaTeX table."""
    return _render("latex", "report.tex.j2", report)
