import threading
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfganomaly.data.loading
from edge_runtime.errors import OutputError
from edge_runtime.preprocessing import Preprocessing, prepare_image
from tfganomaly.data.items import ImageItem
from tfganomaly.data.loading import IMAGES_PER_TASK, count_channels, load_images
from tfganomaly.errors import DataError

WriteImages = Callable[..., list[Path]]
GREY = Preprocessing(8, 8, 1)


@pytest.fixture
def items(tmp_path: Path, write_images: WriteImages) -> list[ImageItem]:
    """More images than two threads take at a time, so that the queue is filled and emptied."""
    return [ImageItem(path.name, path) for path in write_images(tmp_path / "photos", 10 * IMAGES_PER_TASK + 3)]


def damage(item: ImageItem, content: bytes = b"no image") -> None:
    assert isinstance(item.source, Path)
    item.source.write_bytes(content)


def test_pixels_are_those_of_prepare_image_in_the_order_of_the_items(items: list[ImageItem]):
    preprocessing = Preprocessing(16, 12, 3)
    loaded = load_images(items, preprocessing)
    assert loaded.pixels.shape == (len(items), 16, 12, 3)
    assert loaded.pixels.dtype == np.uint8
    assert loaded.items == tuple(items)
    assert loaded.unreadable == ()
    np.testing.assert_array_equal(loaded.pixels, [prepare_image(item.source, preprocessing) for item in items])


@pytest.mark.parametrize("num_threads", [1, 2, 7])
def test_number_of_threads_does_not_change_the_result(items: list[ImageItem], num_threads: int):
    damage(items[20])
    expected = load_images(items, GREY, num_threads=3)
    loaded = load_images(items, GREY, num_threads=num_threads)
    np.testing.assert_array_equal(loaded.pixels, expected.pixels)
    assert (loaded.items, loaded.unreadable) == (expected.items, expected.unreadable)


def test_arrays_are_loaded_like_files():
    arrays = [np.full((28, 28), value, np.uint8) for value in range(40)]
    loaded = load_images([ImageItem(str(value), array) for value, array in enumerate(arrays)], GREY)
    np.testing.assert_array_equal(loaded.pixels[:, 0, 0, 0], np.arange(40))


def test_unreadable_images_are_named_and_left_out(items: list[ImageItem]):
    damage(items[3])
    damage(items[50], b"")
    loaded = load_images(items, GREY)
    assert len(loaded.pixels) == len(loaded.items) == len(items) - 2
    assert [name for name, _ in loaded.unreadable] == ["part3.png", "part50.png"]
    assert "part3.png" in loaded.unreadable[0][1]
    assert "empty" in loaded.unreadable[1][1]
    np.testing.assert_array_equal(loaded.pixels[3], prepare_image(items[4].source, GREY))


def test_unreadable_image_stops_when_asked(items: list[ImageItem]):
    damage(items[70])
    damage(items[9])
    with pytest.raises(DataError, match=r"part9.png"):
        load_images(items, GREY, on_error="stop")


def test_no_readable_image_is_an_error(items: list[ImageItem], tmp_path: Path):
    for item in items:
        damage(item)
    with pytest.raises(DataError, match=rf"None of the {len(items)} images can be read. Image .*part"):
        load_images(items, GREY)
    with pytest.raises(DataError, match=rf"None of the {len(items)} images can be read"):
        load_images(items, GREY, cache_path=tmp_path / "cache.pixels")
    assert list(tmp_path.glob("*cache*")) == []


def test_no_items_are_no_images(tmp_path: Path):
    loaded = load_images([], GREY, cache_path=tmp_path / "cache.pixels")
    assert loaded.pixels.shape == (0, 8, 8, 1)
    assert not (tmp_path / "cache.pixels").exists()


def test_progress_rises_to_the_total_in_the_callers_thread(items: list[ImageItem]):
    calls = []
    damage(items[0])
    load_images(items, GREY, progress=lambda done, total: calls.append((done, total, threading.current_thread())))
    assert [done for done, _, _ in calls] == sorted({done for done, _, _ in calls})
    assert calls[-1][:2] == (len(items), len(items))
    assert {thread for _, _, thread in calls} == {threading.current_thread()}


def test_threads_end_when_the_caller_interrupts(items: list[ImageItem]):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_images(items, GREY, progress=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("load_images")]


def test_warnings_are_not_muted_afterwards(items: list[ImageItem]):
    before = list(warnings.filters)
    for _ in range(3):
        load_images(items, GREY, num_threads=4)
    assert list(warnings.filters) == before


def test_cache_file_gives_the_same_images_as_a_memory_map(items: list[ImageItem], tmp_path: Path):
    damage(items[30])
    expected = load_images(items, GREY)
    loaded = load_images(items, GREY, cache_path=tmp_path / "cache.pixels")
    assert isinstance(loaded.pixels, np.memmap)
    np.testing.assert_array_equal(loaded.pixels, expected.pixels)
    assert (loaded.items, loaded.unreadable) == (expected.items, expected.unreadable)


def test_cache_file_is_used_again(items: list[ImageItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    damage(items[30])
    first = load_images(items, GREY, cache_path=tmp_path / "cache.pixels")
    monkeypatch.setattr(tfganomaly.data.loading, "prepare_image", None)  # reading would fail
    calls = []
    second = load_images(items, GREY, cache_path=tmp_path / "cache.pixels", progress=lambda *call: calls.append(call))
    np.testing.assert_array_equal(second.pixels, first.pixels)
    assert (second.items, second.unreadable) == (first.items, first.unreadable)
    assert calls == [(len(items), len(items))]
    with pytest.raises(DataError, match=r"part30.png"):
        load_images(items, GREY, cache_path=tmp_path / "cache.pixels", on_error="stop")


def test_cache_file_of_other_images_is_replaced(items: list[ImageItem], tmp_path: Path):
    cache = tmp_path / "cache.pixels"
    load_images(items, GREY, cache_path=cache)
    assert len(load_images(items[:5], GREY, cache_path=cache).pixels) == 5
    assert load_images(items[:5], Preprocessing(4, 4, 3), cache_path=cache).pixels.shape == (5, 4, 4, 3)
    Image.new("L", (20, 20), 77).save(items[2].source)
    np.testing.assert_array_equal(load_images(items[:5], GREY, cache_path=cache).pixels[2], np.full((8, 8, 1), 77))


def test_unwritable_cache_file_is_a_clear_error(items: list[ImageItem], tmp_path: Path):
    with pytest.raises(OutputError, match=r"does not exist"):
        load_images(items, GREY, cache_path=tmp_path / "gone" / "cache.pixels")


def test_memory_stays_flat_with_a_cache_file(tmp_path: Path):
    shared = np.zeros((64, 64, 3), np.uint8)
    items = [ImageItem(str(number), shared) for number in range(3000)]  # 37 MB of pixels
    tracemalloc.start()
    loaded = load_images(items, Preprocessing(64, 64, 3), cache_path=tmp_path / "cache.pixels", num_threads=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert loaded.pixels.nbytes == 3000 * 64 * 64 * 3
    assert peak < 8e6


def test_channels_are_three_for_colour_and_one_for_grey(tmp_path: Path):
    grey = np.random.RandomState(0).randint(0, 255, (32, 32), dtype=np.uint8)
    colour = np.stack([grey, grey[::-1], grey.T], axis=2)
    Image.fromarray(np.stack([grey] * 3, axis=2)).save(tmp_path / "grey_saved_as_rgb.jpg")
    assert count_channels([ImageItem("a", grey)]) == 1
    assert count_channels([ImageItem("a", tmp_path / "grey_saved_as_rgb.jpg")]) == 1
    assert count_channels([ImageItem("a", grey), ImageItem("b", colour)]) == 3


def test_channels_are_told_from_the_readable_images(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"no image")
    damaged = ImageItem("a", tmp_path / "a.png")
    assert count_channels([damaged, ImageItem("b", np.zeros((4, 4), np.uint8))]) == 1
    with pytest.raises(DataError, match=r"None of the 1 images can be read. Image .*a.png"):
        count_channels([damaged])
    with pytest.raises(DataError, match=r"None of the 0 images can be read"):
        count_channels([])
