from pathlib import Path

import numpy as np
import pytest

from edge_runtime.preprocessing import Preprocessing
from tfganomaly.data.pixel_cache import ENDING, SIGNATURE, read_cache, record_type, write_cache

RECORD = record_type(Preprocessing(2, 3, 1), with_texture=False)


def record(value: int) -> np.ndarray:
    filled = np.empty((), RECORD)
    filled["pixels"] = value
    return filled


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "train.pixels"
    write_cache(path, "key", RECORD, [record(1), "damaged", record(3)])
    return path


def test_what_was_written_is_read(cache: Path):
    records, unreadable = read_cache(cache, "key", RECORD)
    np.testing.assert_array_equal(records["pixels"], np.stack([np.full((2, 3, 1), 1), np.full((2, 3, 1), 3)]))
    assert not records.flags.writeable
    assert unreadable == {1: "damaged"}


def test_another_key_is_not_read(cache: Path):
    assert read_cache(cache, "other", RECORD) is None


@pytest.mark.parametrize("size", [0, 5, 12, 30])
def test_truncated_file_is_not_read(cache: Path, size: int):
    cache.write_bytes(cache.read_bytes()[:size])
    assert read_cache(cache, "key", RECORD) is None


def test_foreign_file_is_not_read(tmp_path: Path):
    (tmp_path / "a.pixels").write_bytes(b"x" * 100)
    assert read_cache(tmp_path / "a.pixels", "key", RECORD) is None
    (tmp_path / "a.pixels").write_bytes(b"x" * 100 + ENDING.pack(50, SIGNATURE))
    assert read_cache(tmp_path / "a.pixels", "key", RECORD) is None
    (tmp_path / "a.pixels").write_bytes(b"[]" + ENDING.pack(2, SIGNATURE))
    assert read_cache(tmp_path / "a.pixels", "key", RECORD) is None
    assert read_cache(tmp_path / "gone.pixels", "key", RECORD) is None


def test_failure_while_writing_keeps_the_earlier_file(cache: Path):
    before = cache.read_bytes()

    def images():
        yield record(0)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_cache(cache, "new", RECORD, images())
    assert cache.read_bytes() == before
    assert list(cache.parent.iterdir()) == [cache]
