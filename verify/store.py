"""Finished units of a run on disk: a killed run goes on with the units that are missing."""

from __future__ import annotations

import hashlib
import os
import zlib
from functools import cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

# What a truncated or overwritten archive raises.
_DAMAGED = (OSError, EOFError, ValueError, KeyError, BadZipFile, zlib.error, RuntimeError)

Arrays = dict[str, NDArray[np.float64]]


@cache
def source_hash() -> str:
    """Of the package's own code: units computed by other code are not reused."""
    digest = hashlib.sha256()
    rooms = Path(__file__).resolve().parent.parent
    for room in ("theory", "kernels", "verify"):
        for path in sorted((rooms / room).rglob("*.py")):
            digest.update(path.relative_to(rooms).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


class Store:
    """One file per unit, written whole or not at all.

    Parameters
    ----------
    directory : path or None
        None: nothing is stored.
    tag : str
        Names the run (source, profile, seed): units of another run are not reused.
    """

    def __init__(self, directory: str | os.PathLike[str] | None, tag: str) -> None:
        self.folder = None if directory is None else Path(directory) / "units" / tag
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / (key.replace("/", "_") + ".npz")

    def get(self, key: str) -> Arrays | None:
        """The unit's arrays, or None if it is not stored (or the file is damaged)."""
        path = self._path(key)
        if path is None or not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file) as data:
                arrays = {name: data[name] for name in data.files}
        except _DAMAGED:
            return None
        return arrays if all(isinstance(a, np.ndarray) for a in arrays.values()) else None

    def put(self, key: str, arrays: Arrays) -> None:
        """Store a unit: written beside its place, then renamed."""
        path = self._path(key)
        if path is None:
            return
        partial = path.with_suffix(".part.npz")
        np.savez(partial, allow_pickle=False, **arrays)
        partial.replace(path)
