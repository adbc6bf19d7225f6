"""The command ``stepbias``.

Start-up imports typer and nothing numerical: every command imports what it needs when it runs, so
that help and usage errors are instant. Exit status: 0 every verdict is the expected one, 1 some
verdict is not, 2 unusable arguments (or files, or scikit-learn missing), 130 interrupted.
"""

from __future__ import annotations

import json as json_text
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from stepbias.verify.terminal import (
    console_on,
    forgive_letters,
    print_json,
    progress_bar,
    refuse,
    running,
    usage,
)

if TYPE_CHECKING:
    from stepbias.verify.report import Report

Profile = Literal["quick", "standard", "thorough"]
Device = Literal["cpu", "cuda"]
Format = Literal["html", "markdown", "latex", "json"]

_NARROW = 130  # columns below which the table leaves out what its notes say again
_SEEDS = 2**63 - 1  # the largest seed

# Rich help would double the start-up time (it imports a Markdown parser and a syntax highlighter).
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point of the script ``stepbias``."""
    app(prog_name="stepbias")


def _show(report: Report, stream: TextIO) -> None:
    """Print the table, the notes of each row and what is not as expected."""
    from stepbias.verify.screen import mutant_table, report_table, row_notes

    console = console_on(stream)
    console.print(report_table(report, narrow=console.width < _NARROW))
    for row in report.rows:
        console.print()
        for note in row_notes(row, report.meta):
            console.print(note)
        if row.mutants:
            console.print(mutant_table(row))
    console.print()
    if report.ok:
        console.print(f"all {len(report.rows)} verdicts are the expected ones")
    for line in report.unexpected:
        console.print(f"not as expected: {line}", markup=False)
    if not report.rows:
        console.print("no claim was run")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"stepbias {version('stepbias')}")
        raise typer.Exit


@app.callback()
def _stepbias(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Measure whether the modified equations of optimizers are right."""
    forgive_letters()


@app.command()
def verify(
    claims: Annotated[
        list[str] | None, typer.Argument(metavar="CLAIM", help="Ids (default: all claims).")
    ] = None,
    profile: Annotated[Profile, typer.Option(help="How many problems and step sizes.")] = "quick",
    mutants: Annotated[
        bool, typer.Option("--mutants", help="Also run the wrong variants, which must be refuted.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=_SEEDS, help="Seed of the random problems.")] = 0,
    device: Annotated[Device, typer.Option(help="Where the kernels run.")] = "cpu",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Store the run there.")
    ] = None,
    json: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the rows as JSON ('-': standard output)."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads (default: one for each core).")
    ] = None,
) -> None:
    """Run claims and print one row a claim."""
    with usage():
        if json not in (None, "-"):  # refused before the run, not after it
            if not json or Path(json).is_dir():
                raise ValueError(f"--json: {json!r} is not the name of a file")
            if not Path(json).absolute().parent.is_dir():
                raise ValueError(f"--json: the folder of {json!r} does not exist")
        from stepbias.verify.registry import find

        find(claims or None)
        from stepbias.kernels.gpu.device import require
        from stepbias.verify.runner import run_claims

        require(device)
    with running():
        with progress_bar() as progress:
            report = run_claims(
                claims or None,
                profile=profile,
                seed=seed,
                device=device,
                out=out,
                mutants=mutants,
                workers=workers,
                progress=progress,
            )
        # The file first, and the table also where the disk is full: neither must cost the other.
        try:
            if json == "-":
                print_json(report.json())
            elif json is not None:
                report.to_json(json)
        finally:
            _show(report, sys.stderr if json == "-" else sys.stdout)
    raise typer.Exit(0 if report.ok else 1)


@app.command("claims")
def list_claims(
    slips: Annotated[
        bool, typer.Option("--slips", help="Only the misprints, as printed and as corrected.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """List the claims."""
    with running():
        from stepbias.verify.registry import claims

        chosen = [claim for claim in claims() if claim.slip or not slips]
        if json:
            keys = ("id", "source", "statement", "latex", "expected", "slip")
            entries: list[dict[str, Any]] = [
                {key: getattr(claim, key) for key in keys}
                | {"assumptions": list(claim.assumptions), "mutants": list(claim.mutants)}
                for claim in chosen
            ]
            print_json(json_text.dumps(entries, ensure_ascii=False, indent=2) + "\n")
            return
        if not chosen:
            typer.echo("this version has no misprints among its claims")
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("claim", overflow="fold", min_width=24)
        for name in ("source", "statement", "expected"):
            table.add_column(name, overflow="fold")
        table.add_column("wrong variants", justify="right")
        for claim in chosen:
            texts = (claim.id, claim.source, claim.statement, claim.expected)
            table.add_row(*(Text(text) for text in texts), str(len(claim.mutants)))
        console_on(sys.stdout).print(table)


@app.command()
def report(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="A stored run.")
    ],
    format: Annotated[
        Format, typer.Option("--format", help="What to write into DIR (json: standard output).")
    ] = "html",
) -> None:
    """Render a stored run."""
    with usage():
        from stepbias.verify.report import Report

        stored = Report.load(directory)
    with running():
        if format == "json":
            print_json(stored.json())
            return
        suffix, write = {
            "html": ("html", stored.to_html),
            "markdown": ("md", stored.to_markdown),
            "latex": ("tex", stored.to_latex),
        }[format]
        path = directory / f"report.{suffix}"
        write(path)
        typer.echo(path)


@app.command()
def replay(
    claim: Annotated[str, typer.Argument(metavar="CLAIM", help="Id of the claim.")],
    seed: Annotated[int, typer.Option(min=0, max=_SEEDS, help="Seed of the run.")],
    problem: Annotated[int, typer.Option(min=0, help="Number of the problem in the run.")],
    profile: Annotated[Profile, typer.Option(help="Profile of the run.")] = "quick",
) -> None:
    """Run one problem of a claim again and print all of it."""
    with usage():
        from stepbias.verify.registry import find_one

        find_one(claim)
    with running():
        from stepbias.verify import wording
        from stepbias.verify.report import Report
        from stepbias.verify.runner import NoSuchProblemError
        from stepbias.verify.runner import replay as run_again
        from stepbias.verify.screen import points_table

        try:
            row = run_again(claim, seed=seed, problem=problem, profile=profile)
        except NoSuchProblemError as error:
            refuse(str(error), error)
        console = console_on(sys.stdout)
        for heading, text in (
            ("claim", row.id),
            ("source", row.source),
            ("statement", row.statement),
            ("problem", f"{problem} of seed {seed}, profile {profile}"),
            ("law", row.law),
            ("settings", wording.worst(row)),
        ):
            if text:
                console.print(f"{heading}: {text}", markup=False)
        for index in range(len(row.h)):
            console.print()
            console.print(points_table(row, index))
        console.print()
        if row.verdict == "confirmed":  # the notes below give the reason of the other verdicts
            console.print(f"why: {row.reason}", markup=False)
        _show(Report([row]), sys.stdout)
    raise typer.Exit(0 if row.verdict == row.expected_verdict else 1)


@app.command()
def instruments(
    claim: Annotated[
        str, typer.Argument(metavar="CLAIM", help="Id of a claim that is confirmed.")
    ] = "adam-inside/global-order",
    profile: Annotated[Profile, typer.Option(help="How many problems and step sizes.")] = "quick",
    seed: Annotated[int, typer.Option(min=0, max=_SEEDS, help="Seed of the random problems.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads (default: one for each core).")
    ] = None,
) -> None:
    """Judge a claim with a sound instrument and with broken ones.

    Exit status 1 where the sound one does not confirm, a broken one does, or a fault that should act is seen on no problem.
    """
    with usage():
        from stepbias.verify.registry import find_trajectory_claim

        find_trajectory_claim(claim)
    with running():
        from stepbias.verify.instruments import NothingShownError, run_faults
        from stepbias.verify.screen import fault_table

        try:
            with progress_bar() as progress:
                rows = run_faults(claim, profile, seed, workers=workers, progress=progress)
        except NothingShownError as error:
            typer.echo(f"stepbias: {error}", err=True)
            raise typer.Exit(1) from error
        console = console_on(sys.stdout)
        console.print(fault_table(rows))
        failures = [f"{row.name}: {row.failure}" for row in rows if row.failure]
        for line in failures:
            console.print(f"not as expected: {line}", markup=False)
    raise typer.Exit(1 if failures else 0)


@app.command()
def search(
    claim: Annotated[str, typer.Argument(metavar="CLAIM", help="Id of the claim.")],
    examples: Annotated[int, typer.Option(min=1, help="How many settings to try.")] = 200,
    seed: Annotated[int, typer.Option(min=0, max=_SEEDS, help="Seed of the search.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", file_okay=False, help="Store what was found there."),
    ] = None,
) -> None:
    """Search for a counter-example to a claim (exit status 1: one was found)."""
    with usage():
        from stepbias.verify.registry import find_trajectory_claim

        find_trajectory_claim(claim)
    with running():
        from stepbias.verify.search import search as search_for

        with progress_bar() as progress:
            result = search_for(claim, examples=examples, seed=seed, out=out, progress=progress)
        for line in result.lines():
            typer.echo(line)
    raise typer.Exit(1 if result.found is not None else 0)


@app.command()
def figure(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Which one (default: list them).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="SVG, PDF or PNG, by its suffix (default: NAME.svg).",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--list", help="List the figures.")] = False,
) -> None:
    """Draw a figure of the papers from our own data."""
    with usage():
        from stepbias.verify import paper_figures

        if name is None and out is not None and not every:
            raise ValueError("NAME is missing; `stepbias figure` lists the figures")
        if name is not None:
            name = paper_figures.find(name).name
            path = paper_figures.check_file(out or Path(f"{name}.svg"))
    with running():
        if name is None or every:
            from rich.table import Table

            table = Table(box=None, pad_edge=False, header_style="bold")
            table.add_column("figure", no_wrap=True)
            for column in ("source", "shows"):
                table.add_column(column, overflow="fold")
            for entry in paper_figures.FIGURES:
                table.add_row(entry.name, entry.source, entry.shows)
            console_on(sys.stdout).print(table)
            return
        paper_figures.write(paper_figures.draw(name), path, name)
        typer.echo(path)


if __name__ == "__main__":
    main()
