"""A finished run: its rows and the circumstances, as JSON, Markdown, HTML, LaTeX and a table."""

from __future__ import annotations

import json
import math
import os
import platform
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepbias.verify.rows import Row

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = 1
FILE = "report.json"

# fields of a row (and of the records inside it) whose numbers may be infinite or undefined
_NUMBERS = ("expected_order", "measured", "seconds", "h", "error", "floor", "orders")
_MAPPINGS = ("hardest", "resolution")


def plain(value: Any) -> Any:
    """Copy of ``value`` made of dict, list, str, int, float, bool and None only.

    JSON has no infinity and no NaN: every number that is not finite becomes ``None``.
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # NumPy arrays and scalars
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def _restored(value: Any, missing: float = math.nan) -> Any:
    """Undo :func:`plain` for numbers: ``None`` becomes ``missing``, through nested lists."""
    if isinstance(value, list):
        return [_restored(item, missing) for item in value]
    return missing if value is None else value


_KINDS = {"dict": dict, "list": list, "str": str, "int": int}


def _check_kinds(data: dict[str, Any]) -> None:
    """Refuse a row whose entries are of another kind than :class:`Row` says: rendering would fail on them much later."""
    for field_ in fields(Row):
        kind = str(field_.type).partition("[")[0]
        if kind in _KINDS and field_.name in data:
            value = data[field_.name]
            if not isinstance(value, _KINDS[kind]):
                raise ValueError(f"{field_.name!r} is {value!r:.40}, which is no {field_.type}")


def row_from_json(data: dict[str, Any]) -> Row:
    """Build a row from the dictionary that :meth:`Report.to_json` wrote.

    Parameters
    ----------
    data : dict
        One entry of ``"rows"``. A null end of the interval is read as infinite (it bounds
        nothing), every other null number as NaN.

    Returns
    -------
    Row

    Raises
    ------
    KeyError, TypeError, ValueError
        Where an entry is missing, or is no list, mapping, text or whole number though the row needs one.
    """
    data = dict(data)
    _check_kinds(data)
    lower, upper = data["interval"]
    data["interval"] = (_restored(lower, -math.inf), _restored(upper, math.inf))
    for name in _NUMBERS:
        if name in data:
            data[name] = _restored(data[name])
    for name in _MAPPINGS:
        if name in data:
            data[name] = {key: _restored(item) for key, item in data[name].items()}
    for name, key in (("strata", "median_order"), ("mutants", "measured")):
        data[name] = [{**entry, key: _restored(entry[key])} for entry in data.get(name, [])]
    return Row.from_dict(data)


def environment() -> dict[str, Any]:
    """Versions and machine facts that a number in a report depends on."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, Any] = {}
    for name, distribution in (("version", "stepbias"), ("numpy", "numpy"), ("numba", "numba")):
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:
            found[name] = "unknown"
    found["python"] = platform.python_version()
    found["platform"] = platform.platform()
    found["cores"] = os.cpu_count()
    return found


def _replace(path: Path, text: str) -> None:
    """Write a whole file or none of it: a killed run leaves no half report behind."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


@dataclass
class Report:
    """Rows of a run and the circumstances under which they were measured.

    Attributes
    ----------
    rows : list of Row
        One row a claim.
    meta : dict
        Versions, machine, seed, profile, device, ``started`` (ISO 8601), ``seconds``, laws of the
        random problems; see :func:`environment` for the part that every run records.
    """

    rows: list[Row]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def unexpected(self) -> list[str]:
        """One sentence for every verdict that is not the expected one, and every wrong variant that is not refuted.

        A variant that is visible on no problem was not tested, and refutes nothing either.
        """
        found = []
        for row in self.rows:
            if row.verdict != row.expected_verdict:
                found.append(f"{row.id}: {row.verdict}, expected {row.expected_verdict}")
            found += [
                f"{row.id}: its wrong variant {mutant.name!r} is {mutant.outcome}, expected refuted"
                for mutant in row.mutants
                if not mutant.visible or mutant.verdict != "refuted"
            ]
        return found

    @property
    def ok(self) -> bool:
        """Whether at least one claim was judged and every verdict is the expected one."""
        return bool(self.rows) and not self.unexpected

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON-ready dictionary with the keys ``format``, ``meta`` and ``rows``."""
        rows = [plain(row.as_dict()) for row in self.rows]
        return {"format": FORMAT, "meta": plain(self.meta), "rows": rows}

    def json(self) -> str:
        """Return the report as strict JSON text, one line a row."""
        document = self.as_dict()

        def dumped(value: Any) -> str:
            return json.dumps(value, ensure_ascii=False, allow_nan=False)

        rows = ",\n".join(dumped(row) for row in document["rows"])
        head = f'{{"format": {FORMAT},\n"meta": {dumped(document["meta"])},\n'
        return head + f'"rows": [\n{rows}\n]}}\n'

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write ``{"format", "meta", "rows"}`` as strict JSON (non-finite numbers are null)."""
        _replace(Path(path), self.json())

    @classmethod
    def from_json(cls, path: str | os.PathLike[str]) -> Report:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If the file is not a report of this format.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']!r}, this version reads {FORMAT}")
            if not isinstance(document["rows"], list) or not isinstance(document["meta"], dict):
                raise ValueError("rows must be a list, meta a dictionary")
            return cls([row_from_json(row) for row in document["rows"]], document["meta"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{os.fspath(path)!r} is not a stepbias report: {error}") from error

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Store the run in ``directory`` (made if missing) as ``report.json``."""
        Path(directory).mkdir(parents=True, exist_ok=True)
        self.to_json(Path(directory) / FILE)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Report:
        """Read a run stored by :meth:`save`.

        Raises
        ------
        ValueError
            If there is no ``report.json`` in ``directory``, or it is not a report.
        """
        path = Path(directory) / FILE
        if not path.is_file():
            raise ValueError(f"directory: got {os.fspath(directory)!r}, which holds no {FILE}")
        return cls.from_json(path)

    def to_markdown(self, path: str | os.PathLike[str]) -> None:
        """Write Markdown, and one SVG a claim in the folder ``<stem>_figures`` beside it."""
        from stepbias.verify.figures import draw, file_name, svg
        from stepbias.verify.render import markdown

        path = Path(path)
        folder = path.with_name(f"{path.stem}_figures")
        links: dict[str, str] = {}
        for row in self.rows:
            figure = draw(row)
            if figure is not None:
                folder.mkdir(parents=True, exist_ok=True)
                _replace(folder / file_name(row.id), svg(figure, row.id))
                links[row.id] = f"{folder.name}/{file_name(row.id)}"
        _replace(path, markdown(self, links))

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write one self-contained HTML page, figures inline."""
        from stepbias.verify.figures import draw, inline
        from stepbias.verify.render import html

        drawn = {row.id: figure for row in self.rows if (figure := draw(row)) is not None}
        _replace(Path(path), html(self, {key: inline(fig, key) for key, fig in drawn.items()}))

    def to_latex(self, path: str | os.PathLike[str]) -> None:
        """Write a LaTeX ``table`` with one line a claim; needs no package beyond LaTeX itself."""
        from stepbias.verify.render import latex

        _replace(Path(path), latex(self))

    def table(self) -> Table:
        """One line a claim, as a Rich table for the terminal."""
        from stepbias.verify.screen import report_table

        return report_table(self)
