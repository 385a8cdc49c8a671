import itertools
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tfganomaly.data.elpv import open_elpv, read_labels
from tfganomaly.errors import DataError, MissingExtraError


@pytest.fixture
def elpv_package() -> None:
    pytest.importorskip("elpv_dataset", reason="the package elpv-dataset is not installed")


def cell_number(name: str) -> int:
    return int(Path(name).stem.removeprefix("cell"))


def test_real_cells_have_the_published_numbers(elpv_package: None):
    dataset = open_elpv()
    assert (len(dataset.train), len(dataset.validation), len(dataset.test_good)) == (1085, 121, 302)
    assert dataset.num_test_by_defect == {"defective-mono": 313, "defective-poly": 402}
    names = [item.name for item in dataset.train + dataset.validation + dataset.test]
    assert len(set(names)) == 1508 + 715
    with Image.open(dataset.train[0].source) as image:
        assert (image.size, image.mode) == ((300, 300), "L")


def test_real_cells_are_held_back_in_runs_of_neighbours(elpv_package: None):
    dataset = open_elpv()
    part_of_cell = {}
    for part, items in (("train", dataset.train), ("validation", dataset.validation), ("test", dataset.test_good)):
        part_of_cell.update({cell_number(item.name): part for item in items})
    runs = [part for part, _ in itertools.groupby(part_of_cell[number] for number in sorted(part_of_cell))]
    assert len(runs) < 95  # 31 test runs and 13 validation runs at most; a random split would give about 500
    assert Counter(runs)["test"] <= 35


def test_real_cells_of_another_seed_are_split_otherwise(elpv_package: None):
    assert open_elpv(seed=0) == open_elpv(seed=0)
    assert open_elpv(seed=0).test_good != open_elpv(seed=1).test_good
    assert open_elpv(seed=0).test_anomalous == open_elpv(seed=1).test_anomalous


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "elpv_dataset", None)
    with pytest.raises(MissingExtraError, match=r"elpv_dataset.*pip install 'tfganomaly\[demo\]'"):
        open_elpv()


def test_labels_are_read_in_order(tmp_path: Path):
    for name in ("b.png", "a.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "labels.csv").write_text("b.png  1.0   mono\n\na.png  0.3333333333333333   poly\n")
    cells = read_labels(tmp_path / "labels.csv")
    assert [(cell.path.name, cell.module_type) for cell in cells] == [("b.png", "mono"), ("a.png", "poly")]
    assert cells[1].defect_probability == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "cannot be read"),
        ("", "are empty"),
        ("a.png 1.0\n", "Line 1 of .* is 'a.png 1.0'; expected an image's path, a probability and a module type"),
        ("a.png high mono\n", "Line 1 of"),
        ("gone.png 1.0 mono\n", "gone.png' of elpv-dataset is missing"),
    ],
)
def test_damaged_package_is_a_clear_error(tmp_path: Path, content: str | None, part: str):
    if content is not None:
        (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(DataError, match=part) as error:
        read_labels(tmp_path / "labels.csv")
    assert "--force-reinstall elpv-dataset" in str(error.value)
