"""Units on disk: whole or absent."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from stepbias.verify.store import Arrays, Store

KEY = "adam-inside/global-order-000-Px0.5"
ARRAYS: Arrays = {
    "error": np.array([[1.0, np.nan, np.inf], [5e-324, -0.0, 1 / 3]]),
    "numbers": np.array([3, 5]),
    "names": np.array(["moves less than 0.2", "ä"]),
    "none": np.empty((0, 2)),
}


def only_file(folder: Path) -> Path:
    (path,) = folder.rglob("*.npz")
    return path


def test_a_unit_comes_back_bit_for_bit(tmp_path: Path) -> None:
    Store(tmp_path, "tag").put(KEY, ARRAYS)
    back = Store(tmp_path, "tag").get(KEY)
    assert back is not None
    assert set(back) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def test_another_key_or_run_finds_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path, "tag")
    assert store.get(KEY) is None
    store.put(KEY, ARRAYS)
    assert store.get(KEY + "x") is None
    assert Store(tmp_path, "other").get(KEY) is None


def test_without_a_directory_nothing_is_kept() -> None:
    store = Store(None, "tag")
    store.put(KEY, ARRAYS)
    assert store.folder is None
    assert store.get(KEY) is None


def test_a_written_unit_leaves_no_part_behind_and_replaces_the_old(tmp_path: Path) -> None:
    store = Store(tmp_path, "tag")
    store.put(KEY, ARRAYS)
    store.put(KEY, {"error": np.zeros(1)})
    back = store.get(KEY)
    assert back is not None
    assert list(back) == ["error"]
    assert only_file(tmp_path).parent == store.folder


def test_a_write_that_dies_leaves_the_old_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, "tag")
    store.put(KEY, ARRAYS)

    def dies(file: Path, **_: object) -> None:
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", dies)
    with pytest.raises(KeyboardInterrupt):
        store.put(KEY, {"error": np.zeros(1)})
    back = store.get(KEY)
    assert back is not None
    assert set(back) == set(ARRAYS)


@pytest.mark.parametrize("kept", [0, 1, 30, 0.5, -1])
def test_a_file_cut_short_counts_as_absent(tmp_path: Path, kept: float) -> None:
    store = Store(tmp_path, "tag")
    store.put(KEY, ARRAYS)
    path = only_file(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else int(kept)])
    assert store.get(KEY) is None


def test_flipped_bits_and_foreign_files_count_as_absent(tmp_path: Path) -> None:
    store = Store(tmp_path, "tag")
    store.put(KEY, ARRAYS)
    path = only_file(tmp_path)
    content = bytearray(path.read_bytes())
    place = content.index(np.float64(1 / 3).tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert store.get(KEY) is None
    path.write_bytes(b"not an archive at all")
    assert store.get(KEY) is None
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("error.npy", b"not an array")
    assert store.get(KEY) is None
