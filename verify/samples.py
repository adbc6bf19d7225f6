"""What an experiment is asked for, and what it returns: plain arrays over problems, so that they can be stored and judged apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepbias.theory.checks import choice, whole
from stepbias.theory.statement import Kind

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bools = NDArray[np.bool_]
Texts = NDArray[np.str_]

_PROFILES = ("quick", "standard", "thorough")


@dataclass(frozen=True)
class Setting:
    """The circumstances of one run of an experiment.

    Parameters
    ----------
    profile : {"quick", "standard", "thorough"}
    seed : int
    device : {"cpu", "cuda"}
    finer : int
        1; more when what looks refuted is measured again: finer steps, a tighter solver, more digits.
    only : int, optional
        Measure this problem alone.
    """

    profile: str = "quick"
    seed: int = 0
    device: str = "cpu"
    finer: int = 1
    only: int | None = None

    def __post_init__(self) -> None:
        choice("profile", self.profile, _PROFILES)
        whole("seed", self.seed, 0)
        whole("finer", self.finer, 1)

    def again(self, problem: int, finer: int) -> Setting:
        """The same run, of one problem alone and finer."""
        return replace(self, finer=finer, only=problem)

    def count(self, quick: int, standard: int, thorough: int) -> int:
        """Number of problems of the profile, whichever of them are asked for."""
        return (quick, standard, thorough)[_PROFILES.index(self.profile)]

    def numbers(self, quick: int, standard: int, thorough: int) -> Integers:
        """Numbers of the problems to measure: 0 .. count - 1 of the profile, or the one that was asked for."""
        every = np.arange(self.count(quick, standard, thorough), dtype=np.int64)
        return every if self.only is None else every[every == self.only]

    def rng(self, name: str, problem: int) -> np.random.Generator:
        """Generator of one problem: a function of the seed, a name and the problem's number only."""
        keys = np.random.SeedSequence([self.seed, crc32(name.encode()), int(problem)])
        return np.random.Generator(np.random.Philox(keys))


def _reals() -> Floats:
    return np.empty(0)


def _integers() -> Integers:
    return np.empty(0, dtype=np.int64)


def _bools() -> Bools:
    return np.empty(0, dtype=np.bool_)


def _texts() -> Texts:
    return np.empty(0, dtype=np.str_)


_KINDS: dict[str, Any] = {"Integers": np.int64, "Bools": np.bool_, "Texts": np.str_}


@dataclass(frozen=True, eq=False)
class Samples:
    """B problems measured by an experiment.

    Attributes
    ----------
    numbers : (B,) int64
        Which problems.
    labels : (B,) str
        Settings of each, short.
    pooled : (B,) bool
        False: reported, not judged. Empty: all True.
    stratum : (B,) str
        Problems are also counted by this. Empty: none.
    group : (B,) int64
        Independent units; empty: every problem is one.
    hardness : (B, 4) float64
        beta, rho, epsilon, h; NaN where there is none. Empty: not given.
    excluded : dict of str to int
        Draws left out, by reason.
    x, error, floor : (B, H) float64
        Kind "order": the small quantity, the error, what is known to be wrong with it. NaN where there is no point.
    memory : (B,) float64
        Kind "order": the asymptotic range needs x * memory <= 0.1. Empty: not known.
    left, right : (B,) float64
        Kinds "inequality" (claim: left <= right) and "identity" (left: a difference; right: its rounding).
    uncertainty : (B,) float64
        Kind "inequality": bound on the error of right - left. Empty: 0.
    pvalue : (B,) float64
        Kind "inequality", where the sides are statistical: probability of such a sample if the claim is just false. Empty: 0, the uncertainty is a bound.
    scale : (B,) float64
        Kind "identity": size of what is compared. Empty: not given.
    truth : (B,) bool
        Kind "exact".
    certificate : (B,) str
        Kind "exact": the numbers that decide.
    caught : dict of str to (B,) float64
        Smallest relative error in a term that would have been caught; inf: none would, NaN: the term has no effect there.
    """

    numbers: Integers
    labels: Texts
    pooled: Bools = field(default_factory=_bools)
    stratum: Texts = field(default_factory=_texts)
    group: Integers = field(default_factory=_integers)
    hardness: Floats = field(default_factory=_reals)
    excluded: Mapping[str, int] = field(default_factory=dict)
    x: Floats = field(default_factory=_reals)
    error: Floats = field(default_factory=_reals)
    floor: Floats = field(default_factory=_reals)
    memory: Floats = field(default_factory=_reals)
    left: Floats = field(default_factory=_reals)
    right: Floats = field(default_factory=_reals)
    uncertainty: Floats = field(default_factory=_reals)
    pvalue: Floats = field(default_factory=_reals)
    scale: Floats = field(default_factory=_reals)
    truth: Bools = field(default_factory=_bools)
    certificate: Texts = field(default_factory=_texts)
    caught: Mapping[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.numbers)
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "caught":
                shapes = {name: np.shape(v) for name, v in value.items() if len(v) != count}
                if shapes:
                    raise ValueError(f"caught has shapes {shapes}; accepted: ({count},)")
            elif one.name != "excluded":
                kind: Any = _KINDS.get(str(one.type), np.float64)
                array: NDArray[Any] = np.asarray(value, dtype=kind)
                if array.size and len(array) != count:
                    raise ValueError(
                        f"{one.name} has shape {array.shape}; accepted: one row for each of the {count} numbers"
                    )
                object.__setattr__(self, one.name, array)
        if len(self.labels) != count:
            raise ValueError(f"labels has shape {self.labels.shape}; accepted: ({count},)")
        for name in ("uncertainty", "floor"):
            if np.any(getattr(self, name) < 0.0):
                raise ValueError(f"{name} has negative entries; accepted: sizes of errors, >= 0")
        shapes = {name: getattr(self, name).shape for name in ("x", "error", "floor")}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"x, error and floor have shapes {shapes}; accepted: one (B, H)")
        if not self.pooled.size:
            object.__setattr__(self, "pooled", np.ones(count, dtype=np.bool_))
        if not self.group.size:
            object.__setattr__(self, "group", self.numbers.copy())

    def require(self, kind: Kind) -> None:
        """``ValueError`` if what a statement of this kind is judged by is missing."""
        needed = {
            "order": ("x", "error", "floor"),
            "inequality": ("left", "right"),
            "identity": ("left", "right"),
            "exact": ("truth", "certificate"),
        }[kind]
        for name in needed:
            if len(self.numbers) and not getattr(self, name).size:
                raise ValueError(
                    f"the experiment gives no {name!r}; accepted for {kind!r}: {', '.join(needed)}"
                )

    def take(self, rows: Integers) -> Samples:
        """Some of the problems, all of them to be judged."""
        chosen = {
            one.name: getattr(self, one.name)[rows]
            for one in fields(self)
            if one.name not in ("excluded", "caught", "pooled") and len(getattr(self, one.name))
        }
        chosen = {"numbers": self.numbers[rows], "labels": self.labels[rows]} | chosen
        caught = {term: np.asarray(v)[rows] for term, v in self.caught.items()}
        return Samples(**chosen, excluded=self.excluded, caught=caught)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Plain arrays, for the store; :meth:`from_arrays` reads them."""
        found: dict[str, NDArray[Any]] = {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if one.name not in ("excluded", "caught")
        }
        found["excluded_reasons"] = np.array(list(self.excluded), dtype=np.str_)
        found["excluded_counts"] = np.array(list(self.excluded.values()), dtype=np.int64)
        return found | {f"caught_{term}": np.asarray(v) for term, v in self.caught.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Samples:
        """Inverse of :meth:`arrays`."""
        plain: dict[str, Any] = {
            one.name: arrays[one.name]
            for one in fields(cls)
            if one.name not in ("excluded", "caught")
        }
        reasons, counts = arrays["excluded_reasons"], arrays["excluded_counts"]
        plain["excluded"] = {str(r): int(c) for r, c in zip(reasons, counts, strict=True)}
        plain["caught"] = {
            name.removeprefix("caught_"): value
            for name, value in arrays.items()
            if name.startswith("caught_")
        }
        return cls(**plain)


def label(**values: Any) -> str:
    """``beta=0.9 rho=0.999 n=50``: settings of a problem in one line."""

    def shown(value: Any) -> str:
        return f"{value:g}" if isinstance(value, float | np.floating) else str(value)

    return " ".join(f"{name}={shown(value)}" for name, value in values.items())


def together(parts: ArrayLike) -> Floats:
    """Rows of unequal length as one (B, H) array, filled up with NaN at the end."""
    rows = [np.asarray(row, dtype=np.float64) for row in parts]  # type: ignore[union-attr]
    out = np.full((len(rows), max((len(row) for row in rows), default=0)), np.nan)
    for k, row in enumerate(rows):
        out[k, : len(row)] = row
    return out
