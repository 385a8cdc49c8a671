from pathlib import Path

import numpy as np
import pytest

from edge_runtime.preprocessing import Preprocessing
from tfganomaly.data.items import ImageItem, InspectionDataset, fingerprint
from tfganomaly.data.pixel_cache import cache_key, record_type


def item(name: str, value: int = 0, defect: str = "good") -> ImageItem:
    return ImageItem(name, np.full((4, 4), value, np.uint8), is_anomalous=defect != "good", defect=defect)


def test_fingerprint_does_not_depend_on_the_order():
    assert fingerprint([item("a", 1), item("b", 2)]) == fingerprint([item("b", 2), item("a", 1)])


def test_fingerprint_changes_with_name_content_label_and_number():
    base = fingerprint([item("a", 1), item("b", 2)])
    assert len(base) == 64
    others = [
        [item("a", 1)],
        [item("a", 1), item("c", 2)],
        [item("a", 1), item("b", 3)],
        [item("a", 1), item("b", 2, "crack")],
    ]
    assert len({base, *map(fingerprint, others)}) == 5


def test_fingerprint_of_a_file_is_that_of_its_content(tmp_path: Path):
    first, second = tmp_path / "1.png", tmp_path / "2.png"
    first.write_bytes(b"same")
    second.write_bytes(b"same")
    assert fingerprint([ImageItem("x", first)]) == fingerprint([ImageItem("x", second)])
    second.write_bytes(b"other")
    assert fingerprint([ImageItem("x", first)]) != fingerprint([ImageItem("x", second)])


def test_fingerprint_of_a_missing_file_is_not_an_error(tmp_path: Path):
    assert fingerprint([ImageItem("x", tmp_path / "gone.png")]) != fingerprint([])


def test_fingerprint_sees_the_shape_of_an_array():
    flat, high = np.zeros((2, 8), np.uint8), np.zeros((8, 2), np.uint8)
    assert fingerprint([ImageItem("x", flat)]) != fingerprint([ImageItem("x", high)])


def test_items_with_arrays_can_be_compared_and_hashed():
    assert item("a", 1) == item("a", 1)
    assert len({item("a"), item("a"), item("b")}) == 2


def test_dataset_counts_its_parts():
    test = (item("t"), item("u", defect="crack"), item("v", defect="dent"), item("w", defect="dent"))
    dataset = InspectionDataset("parts", "/parts", (item("a"), item("b")), (item("c"),), test)
    assert [entry.name for entry in dataset.test_good] == ["t"]
    assert dataset.num_test_by_defect == {"crack": 1, "dent": 2}
    assert not dataset.has_masks


def test_a_name_that_is_not_utf8_counts_as_its_bytes_on_disk(tmp_path):
    path = tmp_path / b"m\xfcller.png".decode("utf-8", "surrogateescape")
    try:
        path.write_bytes(b"content")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    strange, other = (fingerprint([ImageItem(name, path)]) for name in (path.name, "m\ufffdller.png"))
    assert len(strange) == 64
    assert strange != other
    preprocessing = Preprocessing(8, 8, 1)
    record = record_type(preprocessing, with_texture=False)
    assert len(cache_key([ImageItem(path.name, path)], preprocessing, record)) == 64


def test_the_fingerprint_of_usual_names_never_changes():
    one = ImageItem("train/müller.png", np.arange(4, dtype=np.uint8).reshape(2, 2))
    assert fingerprint([one]) == "3dbbd0a8dd1cf328483027bde2dc4644bf17a7ce205bb6932bece86ff6321954"
