"""How the command line meets the world: what ends it with which exit status, progress, and letters that a stream cannot hold.

Like :mod:`stepbias.verify.cli` it imports nothing heavy before it is needed.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 150  # columns where the output is no terminal and so has no width of its own


def forgive_letters() -> None:
    """Let standard output and error replace letters that their encoding lacks: a table must not cost the run."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


@contextmanager
def usage() -> Iterator[None]:
    """Turn what the library says about bad arguments into one line and exit status 2.

    Only around the checks of arguments: elsewhere the same exceptions are bugs and keep their tracebacks, as encoding errors always do.
    ``STEPBIAS_TRACEBACK=1`` in the environment keeps all of them.
    """
    try:
        yield
    except UnicodeError:
        raise
    except (ValueError, TypeError, OSError) as error:
        refuse(str(error), error)


def refuse(message: str, error: Exception) -> NoReturn:
    """End with one line and exit status 2 on an error that the user can do something about."""
    if os.environ.get("STEPBIAS_TRACEBACK"):
        raise error
    typer.echo(f"stepbias: {' '.join(message.split())}", err=True)
    raise typer.Exit(2) from error


@contextmanager
def running() -> Iterator[None]:
    """Around the work itself: files that cannot be read or written, a missing scikit-learn and an interruption are no bugs."""
    try:
        yield
    except OSError as error:
        refuse(str(error), error)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "sklearn":
            raise
        message = "the data of this claim needs scikit-learn: pip install 'stepbias[data]'"
        refuse(message, error)
    except KeyboardInterrupt as error:
        typer.echo("stepbias: interrupted", err=True)
        raise typer.Exit(130) from error


def console_on(stream: TextIO) -> Console:
    """A console that is wide where the output is no terminal."""
    from rich.console import Console

    return Console(
        file=stream, width=None if stream.isatty() else _WIDE, highlight=False, soft_wrap=False
    )


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Progress with the time left on standard error, where that is a terminal."""
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = console_on(sys.stderr)
    if not console.is_terminal:
        yield lambda done, total, label: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("compiling", total=None)

        def advance(done: int, total: int, label: str) -> None:
            display.update(task, completed=done, total=total, description=label)

        yield advance


def print_json(text: str) -> None:
    """Write JSON to standard output; letters that it cannot hold as JSON's own escapes, which lose nothing."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    sys.stdout.write(text)
