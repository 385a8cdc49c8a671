import sys
import types
from pathlib import Path

import numpy as np
import pytest

import tfganomaly.data.arrays
from tfganomaly.data.arrays import COLLECTIONS, class_label, keras_cache_folder, load_arrays, open_one_versus_rest
from tfganomaly.errors import DataError

Arrays = dict[str, np.ndarray]
MNIST, FASHION_MNIST, CIFAR10 = (COLLECTIONS[name] for name in ("mnist", "fashion-mnist", "cifar10"))


@pytest.fixture
def mnist_archive(tmp_path: Path, digits: Arrays) -> Path:
    np.savez(tmp_path / "mnist.npz", **digits)
    return tmp_path / "mnist.npz"


@pytest.mark.parametrize(
    ("collection", "text", "label"),
    [
        (FASHION_MNIST, "8", 8),
        (FASHION_MNIST, "bag", 8),
        (FASHION_MNIST, "Ankle boot", 9),
        (FASHION_MNIST, "tshirt", 0),
        (CIFAR10, "bird", 2),
        (MNIST, "0", 0),
    ],
)
def test_class_is_known_by_number_and_name(collection, text: str, label: int):
    assert class_label(collection, text) == label


@pytest.mark.parametrize("text", ["10", "-1", "boat", "", "1.5"])
def test_class_that_does_not_exist_lists_those_that_do(text: str):
    with pytest.raises(DataError, match=rf"cifar10 has no class '{text}'; expected one of: 0 airplane, .* 9 truck"):
        class_label(CIFAR10, text)


def test_protocol_pools_normals_and_tests_on_a_fifth_and_all_anomalous(mnist_archive: Path):
    dataset = open_one_versus_rest(MNIST, "8", archive=mnist_archive, validation_fraction=0.25)
    assert len(dataset.train) + len(dataset.validation) == 108  # 80 % of the 135 normal images of both parts
    assert len(dataset.validation) == 27
    assert len(dataset.test_good) == 27
    assert dataset.num_test_by_defect == {"8": 15}
    names = [item.name for item in dataset.train + dataset.validation + dataset.test]
    assert len(set(names)) == 150
    assert not any("/8/" in item.name for item in dataset.train + dataset.validation + dataset.test_good)
    assert dataset.source == "mnist:8"


def test_split_is_that_of_the_authors_code(mnist_archive: Path, digits: Arrays):
    dataset = open_one_versus_rest(MNIST, "3", archive=mnist_archive, seed=2)
    pooled = np.concatenate([digits["x_train"][digits["y_train"] != 3], digits["x_test"][digits["y_test"] != 3]])
    index = np.arange(len(pooled))
    np.random.seed(2)  # their lines, in their order
    np.random.shuffle(index)
    expected = pooled[index[: int(len(index) * 0.80)]]
    np.testing.assert_array_equal(np.stack([item.source for item in dataset.train + dataset.validation]), expected)


def test_item_names_lead_back_to_the_image(mnist_archive: Path, digits: Arrays):
    dataset = open_one_versus_rest(MNIST, "8", archive=mnist_archive)
    for item in (*dataset.train[:5], *dataset.test):
        part, label, index = item.name.split("/")
        np.testing.assert_array_equal(item.source, digits[f"x_{part}"][int(index)])
        assert digits[f"y_{part}"][int(index)] == int(label)


def test_seed_changes_the_split_and_validation_fraction_keeps_the_test_part(mnist_archive: Path):
    base = open_one_versus_rest(MNIST, "8", archive=mnist_archive, seed=0)
    assert base.test != open_one_versus_rest(MNIST, "8", archive=mnist_archive, seed=1).test
    assert base.test == open_one_versus_rest(MNIST, "8", archive=mnist_archive, validation_fraction=0.5).test


def test_class_without_images_is_a_clear_error(tmp_path: Path, digits: Arrays):
    np.savez(tmp_path / "mnist.npz", **{**digits, "y_train": digits["y_train"] % 5, "y_test": digits["y_test"] % 5})
    with pytest.raises(DataError, match=r"None of the 150 images of mnist is of class 7"):
        open_one_versus_rest(MNIST, "7", archive=tmp_path / "mnist.npz")


def test_archive_may_be_one_of_the_idx_files(idx_folder: Path, digits: Arrays):
    arrays = load_arrays(FASHION_MNIST, idx_folder / "train-images-idx3-ubyte.gz")
    np.testing.assert_array_equal(arrays.train_images, digits["x_train"])


def test_file_of_another_collection_is_a_clear_error(cifar_archive: Path):
    with pytest.raises(DataError, match=r"of shape \(32, 32, 3\); mnist has \(28, 28\). Is it another collection"):
        load_arrays(MNIST, cifar_archive)


def test_file_of_another_collection_of_that_shape_is_told_by_its_first_labels(tmp_path: Path, digits: Arrays):
    digits["y_train"][: len(MNIST.first_labels)] = MNIST.first_labels
    np.savez(tmp_path / "fashion-mnist.npz", **digits)
    with pytest.raises(DataError, match=r"holds mnist, not fashion-mnist"):
        load_arrays(FASHION_MNIST, tmp_path / "fashion-mnist.npz")
    load_arrays(MNIST, tmp_path / "fashion-mnist.npz")


def test_missing_archive_is_a_clear_error(tmp_path: Path):
    with pytest.raises(DataError, match=r"There is no '.*gone.npz'. Expected the file or folder of mnist"):
        load_arrays(MNIST, tmp_path / "gone.npz")


def test_folder_without_arrays_is_a_clear_error(tmp_path: Path):
    with pytest.raises(DataError, match=r"holds no cifar10: expected cifar10.npz, idx files .*data_batch_1"):
        load_arrays(CIFAR10, tmp_path)


def test_unknown_kind_of_file_is_a_clear_error(tmp_path: Path):
    (tmp_path / "mnist.rar").write_bytes(b"Rar!")
    with pytest.raises(DataError, match=r"is no kind of file in which mnist comes; expected .npz"):
        load_arrays(MNIST, tmp_path / "mnist.rar")


def test_mnist_is_found_where_keras_keeps_it(no_keras_cache_of_this_machine: Path, digits: Arrays):
    cache = no_keras_cache_of_this_machine / "datasets"
    cache.mkdir()
    np.savez(cache / "mnist.npz", **digits)
    np.testing.assert_array_equal(load_arrays(MNIST).train_images, digits["x_train"])


def test_fashion_mnist_is_found_where_keras_keeps_it(
    no_keras_cache_of_this_machine: Path, idx_folder: Path, digits: Arrays, monkeypatch: pytest.MonkeyPatch
):
    (no_keras_cache_of_this_machine / "datasets").mkdir()
    idx_folder.rename(no_keras_cache_of_this_machine / "datasets" / "fashion-mnist")
    collection = types.SimpleNamespace(**{**vars(FASHION_MNIST), "system_places": ()})
    np.testing.assert_array_equal(load_arrays(collection).train_images, digits["x_train"])


def test_a_download_that_stopped_is_gone_on_with(
    no_keras_cache_of_this_machine: Path, idx_folder: Path, digits: Arrays, monkeypatch: pytest.MonkeyPatch
):
    (no_keras_cache_of_this_machine / "datasets").mkdir()
    cached = no_keras_cache_of_this_machine / "datasets" / "fashion-mnist"
    idx_folder.rename(cached)
    next(cached.glob("t10k-images*")).unlink()
    collection = types.SimpleNamespace(**{**vars(FASHION_MNIST), "system_places": ()})
    monkeypatch.setattr(tfganomaly.data.arrays, "_download", lambda collection: "fetched")
    assert load_arrays(collection) == "fetched"


def test_an_archive_may_be_the_folder_that_holds_the_file(tmp_path: Path, digits: Arrays):
    np.savez(tmp_path / "mnist.npz", **digits)
    np.testing.assert_array_equal(load_arrays(MNIST, tmp_path).train_images, digits["x_train"])


@pytest.mark.parametrize("place", ["cifar-10-batches-py-target/cifar-10-batches-py", "cifar-10-batches-py"])
def test_cifar10_is_found_where_keras_unpacks_it(
    no_keras_cache_of_this_machine: Path, cifar_batches: dict[str, bytes], place: str
):
    folder = no_keras_cache_of_this_machine / "datasets" / place
    folder.mkdir(parents=True)
    for name, content in cifar_batches.items():
        (folder / name).write_bytes(content)
    assert load_arrays(CIFAR10).train_images.shape == (50, 32, 32, 3)


def test_keras_folder_is_in_the_home_folder_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert keras_cache_folder() == tmp_path / ".keras" / "datasets"


def put_stand_in_for_keras(monkeypatch: pytest.MonkeyPatch, load_data) -> None:
    """Put a module in place of `keras.datasets.mnist`, as the real one loads TensorFlow and uses the network."""
    module = types.ModuleType("keras.datasets.mnist")
    module.load_data = load_data
    monkeypatch.setitem(sys.modules, "keras", types.ModuleType("keras"))
    monkeypatch.setitem(sys.modules, "keras.datasets", types.ModuleType("keras.datasets"))
    monkeypatch.setitem(sys.modules, "keras.datasets.mnist", module)


def test_what_is_not_on_the_machine_is_fetched_by_keras(monkeypatch: pytest.MonkeyPatch, digits: Arrays):
    put_stand_in_for_keras(
        monkeypatch, lambda: ((digits["x_train"], digits["y_train"]), (digits["x_test"], digits["y_test"]))
    )
    np.testing.assert_array_equal(load_arrays(MNIST).train_images, digits["x_train"])


def test_failed_download_says_where_to_put_the_file(
    monkeypatch: pytest.MonkeyPatch, no_keras_cache_of_this_machine: Path
):
    def fail() -> None:
        raise Exception("URL fetch failure on https://example.org: None -- Network is unreachable\nmore")

    put_stand_in_for_keras(monkeypatch, fail)
    with pytest.raises(DataError) as error:
        load_arrays(MNIST)
    message = str(error.value)
    assert "\n" not in message
    assert "could not be downloaded (URL fetch failure" in message
    assert f"Put it at '{no_keras_cache_of_this_machine / 'datasets' / 'mnist.npz'}'" in message
    assert "--archive" in message


def test_every_collection_has_ten_classes_and_a_keras_module():
    for collection in COLLECTIONS.values():
        assert len(set(collection.class_names)) == 10
        assert collection.keras_module in ("mnist", "fashion_mnist", "cifar10")


def test_real_mnist_has_the_published_numbers(mnist_file: Path):
    assert tuple(load_arrays(MNIST, mnist_file).train_labels[:16]) == MNIST.first_labels
    dataset = open_one_versus_rest(MNIST, "8", archive=mnist_file)
    assert (len(dataset.train), len(dataset.validation)) == (45486, 5054)
    assert (len(dataset.test_good), len(dataset.test_anomalous)) == (12635, 6825)


def test_real_fashion_mnist_has_the_published_numbers(fashion_mnist_folder: Path):
    assert str(fashion_mnist_folder) in FASHION_MNIST.system_places
    assert tuple(load_arrays(FASHION_MNIST).train_labels[:16]) == FASHION_MNIST.first_labels
    dataset = open_one_versus_rest(FASHION_MNIST, "bag")
    assert (len(dataset.train), len(dataset.validation)) == (45360, 5040)
    assert (len(dataset.test_good), dataset.num_test_by_defect) == (12600, {"bag": 7000})
    assert tfganomaly.data.arrays.class_label(FASHION_MNIST, "bag") == 8
