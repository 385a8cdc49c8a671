"""Hold a part of the good images back from training, so that no image has a near twin on the other side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from tfganomaly.errors import DataError

Item = TypeVar("Item")

MIN_HELD_BACK = 2
"""Calibration needs two scores to know a range."""

USUAL_FRACTION = 0.1
USUAL_MIN_HELD_BACK = 20
"""Where nobody says how many: so many are held back of few images too, but at most a third. The highest of 3 scores is
exceeded by a quarter of the good parts, the highest of 10 by an eleventh."""

RUN_LENGTH = 16
"""Images in one run. Bursts of one part are usually shorter, so that few are cut by the two ends of a run."""


def hold_out_runs(
    items: Sequence[Item], fraction: float | None, seed: int, *, run_length: int = RUN_LENGTH
) -> tuple[list[Item], list[Item]]:
    """Split a sequence in natural order by holding contiguous runs back.

    Photographs that follow each other are often of one part, one tile or one minute. A random choice would
    put nearly equal images on both sides; the held-back scores would then look better than those of new
    parts, and the threshold that is chosen from them would be too low. So runs of neighbours are held back:
    the order is cut into as many equal stretches as there are runs, and within each stretch the seed places
    one run. That keeps the held-back images spread over the whole order (a lamp that faded during the day is
    seen at every stage).

    Args:
        items: The images in the order in which they were made, as far as their names tell.
        fraction: Share to hold back, 0 < fraction < 1, or None for the usual one; see `held_back_count`.
        seed: Places the runs. The same seed gives the same split on every machine.
        run_length: Images in a run, at most.

    Returns:
        What is kept and what is held back, both in the order of `items`.

    Raises:
        DataError: Too few images to hold any back.
    """
    num_held_back = held_back_count(len(items), fraction)
    num_kept = len(items) - num_held_back
    num_runs = min(-(-num_held_back // run_length), max(num_kept // 2, 1))  # so that each run fits its stretch
    random = np.random.RandomState(seed)  # its stream is frozen by NumPy's policy; Generator's is not
    stretch_ends = [round(len(items) * (run + 1) / num_runs) for run in range(num_runs)]
    held_back: set[int] = set()
    stretch_start = taken = 0
    for run, stretch_end in enumerate(stretch_ends):
        length = round(num_held_back * (run + 1) / num_runs) - taken
        start = random.randint(stretch_start, stretch_end - length + 1)
        held_back.update(range(start, start + length))
        stretch_start, taken = stretch_end, taken + length
    return _split(items, held_back)


def hold_out_blocks(
    items: Sequence[Item], blocks: Sequence[str], fraction: float | None, seed: int
) -> tuple[list[Item], list[Item]]:
    """Split a sequence by holding whole blocks back, for data that says which images belong together.

    Args:
        items: The images.
        blocks: For each image the name of its block, such as the tile it shows.
        fraction: Share to hold back, 0 < fraction < 1, or None for the usual one. Blocks are drawn until it is
            reached; one with which more than twice as many would be held back is passed over. Where only such blocks
            remain it is left at fewer, or the smallest is taken.
        seed: Draws the blocks.

    Returns:
        What is kept and what is held back, both in the order of `items`.

    Raises:
        DataError: Too few images, or so few blocks that nothing would be left to train on.
    """
    num_held_back = held_back_count(len(items), fraction)
    names = list(dict.fromkeys(blocks))
    np.random.RandomState(seed).shuffle(names)
    sizes = Counter(blocks)
    most_held_back = min(2 * num_held_back, len(items) - 1)
    chosen: set[str] = set()
    count = 0
    for name in names:  # one that does not fit now fits later neither
        if count < num_held_back and count + sizes[name] <= most_held_back:
            chosen.add(name)
            count += sizes[name]
    for name in sorted((name for name in names if name not in chosen), key=lambda name: sizes[name]):
        if count >= MIN_HELD_BACK:
            break
        chosen.add(name)
        count += sizes[name]
    held_back = {index for index, block in enumerate(blocks) if block in chosen}
    if len(held_back) == len(items):
        raise DataError(
            f"The {len(items)} good images belong to {len(sizes)} block(s); holding whole blocks back would "
            "leave none to train on. Add images of other blocks."
        )
    return _split(items, held_back)


def held_back_count(count: int, fraction: float | None) -> int:
    """Return how many of `count` images are to be held back, `MIN_HELD_BACK` at least.

    Args:
        count: How many images there are.
        fraction: Share to hold back; None: `USUAL_FRACTION`, and of few images `USUAL_MIN_HELD_BACK` or a third,
            whichever is less.

    Raises:
        DataError: `fraction` is not between 0 and 1, or there are too few images to hold any back.
    """
    if fraction is not None and not 0.0 < fraction < 1.0:
        raise DataError(f"The validation fraction is {fraction}; a number between 0 and 1 was expected, such as 0.1.")
    if count <= MIN_HELD_BACK:
        raise DataError(
            f"There are too few good images ({count}) to hold any back: at least {MIN_HELD_BACK + 1} are "
            f"needed, {MIN_HELD_BACK} of them to choose the threshold. Some hundred make a useful model."
        )
    if fraction is None:
        wanted = max(round(count * USUAL_FRACTION), min(USUAL_MIN_HELD_BACK, count // 3))
    else:
        wanted = round(count * fraction)
    return min(max(wanted, MIN_HELD_BACK), count - 1)


def _split(items: Sequence[Item], held_back: set[int]) -> tuple[list[Item], list[Item]]:
    kept = [item for index, item in enumerate(items) if index not in held_back]
    return kept, [items[index] for index in sorted(held_back)]
