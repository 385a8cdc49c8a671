from pathlib import Path

import numpy as np
import pytest

from tfganomaly.data.pixel_cache import ENDING, SIGNATURE, read_cache, write_cache

SHAPE = (2, 3, 1)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "train.pixels"
    write_cache(path, "key", SHAPE, [np.full(SHAPE, 1, np.uint8), "damaged", np.full(SHAPE, 3, np.uint8)])
    return path


def test_what_was_written_is_read(cache: Path):
    pixels, unreadable = read_cache(cache, "key")
    np.testing.assert_array_equal(pixels, np.stack([np.full(SHAPE, 1), np.full(SHAPE, 3)]))
    assert not pixels.flags.writeable
    assert unreadable == {1: "damaged"}


def test_another_key_is_not_read(cache: Path):
    assert read_cache(cache, "other") is None


@pytest.mark.parametrize("size", [0, 5, 12, 30])
def test_truncated_file_is_not_read(cache: Path, size: int):
    cache.write_bytes(cache.read_bytes()[:size])
    assert read_cache(cache, "key") is None


def test_foreign_file_is_not_read(tmp_path: Path):
    (tmp_path / "a.pixels").write_bytes(b"x" * 100)
    assert read_cache(tmp_path / "a.pixels", "key") is None
    (tmp_path / "a.pixels").write_bytes(b"x" * 100 + ENDING.pack(50, SIGNATURE))
    assert read_cache(tmp_path / "a.pixels", "key") is None
    (tmp_path / "a.pixels").write_bytes(b"[]" + ENDING.pack(2, SIGNATURE))
    assert read_cache(tmp_path / "a.pixels", "key") is None
    assert read_cache(tmp_path / "gone.pixels", "key") is None


def test_failure_while_writing_keeps_the_earlier_file(cache: Path):
    before = cache.read_bytes()

    def images():
        yield np.zeros(SHAPE, np.uint8)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_cache(cache, "new", SHAPE, images())
    assert cache.read_bytes() == before
    assert list(cache.parent.iterdir()) == [cache]
