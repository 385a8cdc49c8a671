import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tfganomaly.data.sources import canonical_source, open_dataset
from tfganomaly.errors import DataError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def mnist_archive(tmp_path: Path, digits: dict[str, np.ndarray]) -> Path:
    np.savez(tmp_path / "mnist.npz", **digits)
    return tmp_path / "mnist.npz"


def test_folder_is_opened_and_opens_again_from_elsewhere(layout_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(layout_folder.parent)
    dataset = open_dataset("brackets", seed=3)
    monkeypatch.chdir("/")
    assert open_dataset(dataset.source, seed=3) == dataset


def test_seed_and_fraction_reach_every_kind_of_source(layout_folder: Path, mnist_archive: Path):
    for source, archive in ((str(layout_folder), None), ("mnist:8", mnist_archive)):
        base = open_dataset(source, archive=archive)
        assert open_dataset(source, archive=archive, seed=1).validation != base.validation
        half = open_dataset(source, archive=archive, validation_fraction=0.5)
        assert abs(len(half.validation) - len(half.train)) <= 1
        assert half.test == base.test


@pytest.mark.parametrize("source", ["mnist:8", "MNIST:8"])
def test_collection_is_opened_by_name(source: str, mnist_archive: Path):
    assert open_dataset(source, archive=mnist_archive).source == "mnist:8"


@pytest.mark.parametrize("source", ["fashion-mnist:bag", "fashion_mnist:Bag", "FashionMNIST:8"])
def test_collection_and_class_may_be_written_in_several_ways(source: str, idx_folder: Path):
    dataset = open_dataset(source, archive=idx_folder)
    assert dataset.source == "fashion-mnist:8"
    assert dataset.num_test_by_defect == {"bag": 15}
    assert canonical_source(source) == canonical_source(dataset.source) == dataset.source


def test_a_folder_has_one_canonical_source_too(layout_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(layout_folder)
    for source in ("brackets", "./brackets/", "~/brackets", "link", str(layout_folder)):
        assert canonical_source(source) == open_dataset(source).source
    assert canonical_source("ELPV") == "elpv"
    assert canonical_source("./elpv") == str(tmp_path / "elpv")


def test_cifar10_is_in_colour(cifar_archive: Path):
    dataset = open_dataset("cifar-10:bird", archive=cifar_archive)
    assert dataset.train[0].source.shape == (32, 32, 3)
    assert dataset.num_test_by_defect == {"bird": 6}


@pytest.mark.parametrize(
    ("source", "example"), [("mnist", "mnist:8"), ("mnist:", "mnist:8"), ("cifar10", "cifar10:ship")]
)
def test_collection_without_a_class_says_how_to_name_one(source: str, example: str):
    with pytest.raises(DataError, match=rf"which class is the anomaly; expected for example '{example}'\.$"):
        open_dataset(source)


@pytest.mark.parametrize("source", ["nowhere", "minst:8", "./elpv"])
def test_unknown_source_lists_what_there_is(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"There is no folder '{source}'. Expected a folder .* elpv, mnist:8"):
        open_dataset(source)


def test_an_empty_name_is_not_the_folder_at_hand():
    for read in (open_dataset, canonical_source):
        with pytest.raises(DataError, match="The name of the data is empty"):
            read("")


def test_folder_named_like_a_collection_can_be_opened(
    tmp_path: Path, write_images: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
):
    write_images(tmp_path / "mnist", 4)
    monkeypatch.chdir(tmp_path)
    assert open_dataset("mnist").source == str(tmp_path / "mnist")


def test_archive_for_a_folder_is_an_error(layout_folder: Path, mnist_archive: Path):
    for source in (str(layout_folder), "elpv"):
        with pytest.raises(DataError, match=r"An archive was given .* leave it out"):
            open_dataset(source, archive=mnist_archive)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_impossible_fraction_is_an_error(fraction: float, layout_folder: Path, mnist_archive: Path):
    for source, archive in ((str(layout_folder), None), ("mnist:8", mnist_archive)):
        with pytest.raises(DataError, match=r"validation fraction"):
            open_dataset(source, archive=archive, validation_fraction=fraction)


def test_reading_data_loads_neither_tensorflow_nor_keras(layout_folder: Path, idx_folder: Path):
    script = f"""
import sys
from pathlib import Path
from edge_runtime.preprocessing import Preprocessing
from tfganomaly.data.items import fingerprint
from tfganomaly.data.loading import load_images
from tfganomaly.data.sources import open_dataset
for source, archive in (({str(layout_folder)!r}, None), ("fashion-mnist:bag", Path({str(idx_folder)!r}))):
    dataset = open_dataset(source, archive=archive, validation_fraction=0.1)
    print(len(load_images(dataset.train, Preprocessing(8, 8, 1)).pixels), len(fingerprint(dataset.train)))
print(sorted({{"tensorflow", "keras", "sklearn", "ai_edge_litert"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["18 64", "97 64", "[]"]
