"""Assertions for test suites."""

from __future__ import annotations

from numpy.typing import ArrayLike

from stepbias.verify.fit import OrderFit, fit_order


def assert_order(
    h: ArrayLike,
    error: ArrayLike,
    expected: float,
    exact: bool = False,
    floor: ArrayLike | None = None,
    level: float = 0.99,
    memory: float | None = None,
    verdict: str = "confirmed",
    sampling: ArrayLike | None = None,
) -> OrderFit:
    """Raise AssertionError with `OrderFit.explain` unless the fit ends with `verdict`.

    Parameters
    ----------
    h, error, expected, exact, floor, level, memory, sampling
        As in `stepbias.fit_order`.
    verdict : "confirmed" | "refuted" | "inconclusive"
        The verdict asked for; a negative control asks for "refuted".

    Returns
    -------
    OrderFit
    """
    if verdict not in ("confirmed", "refuted", "inconclusive"):
        raise ValueError(
            f"verdict must be 'confirmed', 'refuted' or 'inconclusive', got {verdict!r}"
        )
    fit = fit_order(h, error, expected, exact, floor, level, memory, sampling)
    if fit.verdict != verdict:
        raise AssertionError(fit.explain())
    return fit
