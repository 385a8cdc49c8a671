from __future__ import annotations

import pytest

from tfganomaly.batch_sizes import batches, images_at_once


@pytest.mark.parametrize(
    ("shape", "expected"), [((32, 32, 1), 64), ((128, 128, 3), 64), ((256, 256), 16), ((512, 512, 3), 4)]
)
def test_large_images_come_in_smaller_batches_of_as_many_pixels(shape: tuple[int, ...], expected: int) -> None:
    assert images_at_once(shape, 64) == expected


def test_there_is_always_one() -> None:
    assert images_at_once((4096, 4096, 3), 32) == 1


def test_batches_hold_each_image_once_in_order() -> None:
    parts = list(batches(70, (128, 128, 1)))
    assert [index for part in parts for index in range(part.start, part.stop)] == list(range(70))
    assert [part.stop - part.start for part in parts] == [32, 32, 6]
    assert list(batches(0, (128, 128, 1))) == []
