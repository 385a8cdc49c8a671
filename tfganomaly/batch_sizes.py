"""How many images a network is handed at once: of large ones fewer, which take no more memory than small ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

USUAL_PIXELS = 128 * 128


def images_at_once(image_shape: Sequence[int], most: int) -> int:
    """Return `most` for images of up to 128 x 128 pixels, for larger ones as many as have no more pixels, at least 1.

    Args:
        image_shape: (H, W) or (H, W, C).
        most: How many small ones.
    """
    height, width = image_shape[:2]
    return max(1, most * USUAL_PIXELS // max(height * width, USUAL_PIXELS))


def batches(count: int, image_shape: Sequence[int], most: int = 32) -> Iterator[slice]:
    """Yield the slices that cut `count` images into batches of `images_at_once`; the last one may be shorter.

    Args:
        count: Images in all.
        image_shape: (H, W) or (H, W, C).
        most: How many small ones at once.
    """
    step = images_at_once(image_shape, most)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
