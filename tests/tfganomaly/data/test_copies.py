from pathlib import Path

from tfganomaly.data.copies import find_copies


def test_copies_are_found_by_their_bytes_and_not_by_size_or_beginning(tmp_path: Path):
    head = bytes(1 << 16)
    contents = {"a": head + b"1", "b": head + b"2", "c": head + b"1", "d": b"3", "e": head + b"4"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = {name: tmp_path / name for name in contents}
    found = find_copies([paths["a"], paths["b"]], [paths["e"], paths["c"], paths["d"]])
    assert found == [paths["c"]]


def test_a_file_that_is_gone_is_a_copy_of_none(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"1")
    assert find_copies([tmp_path / "gone"], [tmp_path / "a", tmp_path / "gone"]) == []


def test_empty_files_are_no_copies(tmp_path: Path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"")
    assert find_copies([tmp_path / "a"], [tmp_path / "b"]) == []
