"""Measurements of statements: each module holds the experiments of one subject, each function is one experiment."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from stepbias.theory.statement import Statement
from stepbias.verify.samples import Samples, Setting

Experiment = Callable[[str, Setting], Samples]


def experiment_of(claim: Statement) -> Experiment:
    """The function that measures a statement."""
    module, name = claim.experiment.split(".")
    found: Experiment = getattr(import_module(f"{__name__}.{module}"), name)
    return found


def measure(claim: Statement, variant: str, setting: Setting) -> Samples:
    """Measure a statement, or a wrong variant of it.

    Raises
    ------
    ValueError
        If the experiment does not return what the statement's kind is judged by.
    """
    found = experiment_of(claim)(variant, setting)
    found.require(claim.kind)
    return found
