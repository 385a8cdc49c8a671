from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_runtime.errors import ImageError
from edge_runtime.image_files import find_images, natural_order


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_folders_are_searched_in_depth_and_in_natural_order(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("b/part10.png", "b/part2.PNG", "b/part1.jpeg", "a.tif", "c/d/e.bmp")))
    touch(tmp_path / "b" / "notes.txt", tmp_path / ".hidden" / "f.png", tmp_path / "b" / "._part3.png")
    names = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert names == ["a.tif", "b/part1.jpeg", "b/part2.PNG", "b/part10.png", "c/d/e.bmp"]


def test_files_and_folders_can_be_mixed_and_no_file_comes_twice(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "a" / "2.png", tmp_path / "3.dat")
    found = find_images([tmp_path / "3.dat", str(tmp_path / "a" / "2.png"), tmp_path / "a"])
    assert [path.name for path in found] == ["3.dat", "2.png", "1.png"]
    assert find_images(str(tmp_path / "a" / "1.png")) == [tmp_path / "a" / "1.png"]


def test_nothing_to_find_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"Folder '.*' is empty\. Files with .*\.png"):
        find_images(tmp_path)
    touch(tmp_path / "a.txt", tmp_path / "b.csv")
    with pytest.raises(ImageError, match=r"holds no images, only 2 other file\(s\)"):
        find_images([tmp_path])
    with pytest.raises(ImageError, match=r"'.*none' does not exist"):
        find_images(tmp_path / "none")
    with pytest.raises(ImageError, match="No image was given"):
        find_images([])


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs symbolic links")
def test_a_folder_that_links_to_itself_ends(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert find_images(tmp_path) == [tmp_path / "a.png"]


def test_natural_order_compares_numbers_as_numbers_in_each_folder() -> None:
    names = ["run10/a.png", "run9/b2.png", "run9/b10.png", "run9/B3.png", "a.png", "run/z.png"]
    assert sorted(names, key=natural_order) == [
        "a.png", "run/z.png", "run9/b2.png", "run9/B3.png", "run9/b10.png", "run10/a.png",
    ]  # fmt: skip
