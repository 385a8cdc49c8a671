import itertools

import pytest

from tfganomaly.data.hold_out import held_back_count, hold_out_blocks, hold_out_runs
from tfganomaly.errors import DataError


def runs_of(numbers: list[int]) -> list[list[int]]:
    grouped = itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    return [[number for _, number in group] for _, group in grouped]


def test_runs_are_contiguous_and_of_the_stated_length():
    kept, held_back = hold_out_runs(range(1000), 0.1, seed=0, run_length=10)
    assert sorted(kept + held_back) == list(range(1000))
    assert len(held_back) == 100
    lengths = [len(run) for run in runs_of(held_back)]
    assert sum(lengths) == 100
    assert all(length % 10 == 0 for length in lengths)  # two runs may touch at the border of their stretches


def test_runs_are_spread_over_the_whole_order():
    _, held_back = hold_out_runs(range(1000), 0.1, seed=3, run_length=10)
    for stretch in range(10):
        in_stretch = [number for number in held_back if stretch * 100 <= number < (stretch + 1) * 100]
        assert len(in_stretch) == 10


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    assert hold_out_runs(range(200), 0.1, seed=1) == hold_out_runs(range(200), 0.1, seed=1)
    assert hold_out_runs(range(200), 0.1, seed=1) != hold_out_runs(range(200), 0.1, seed=2)


def test_the_split_of_a_seed_never_changes():
    # A run trained with an earlier version must find its own split again.
    assert hold_out_runs(range(40), 0.25, seed=0, run_length=5)[1] == [12, 13, 14, 15, 16, 35, 36, 37, 38, 39]


def test_at_least_two_images_are_held_back_and_one_is_kept():
    kept, held_back = hold_out_runs(range(3), 0.01, seed=0)
    assert (len(kept), len(held_back)) == (1, 2)
    kept, held_back = hold_out_runs(range(5), 0.99, seed=0)
    assert (len(kept), len(held_back)) == (1, 4)


def test_of_few_images_more_than_a_tenth_is_held_back_unless_a_fraction_is_given():
    usual = {count: held_back_count(count, None) for count in (3, 6, 30, 60, 100, 200, 500)}
    assert usual == {3: 2, 6: 2, 30: 10, 60: 20, 100: 20, 200: 20, 500: 50}
    assert held_back_count(30, 0.1) == 3


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_images_are_a_clear_error(count: int):
    with pytest.raises(DataError, match=rf"too few good images \({count}\).*at least 3"):
        hold_out_runs(range(count), 0.1, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_fraction_that_is_none_is_a_clear_error(fraction: float):
    with pytest.raises(DataError, match=r"validation fraction .* between 0 and 1"):
        hold_out_runs(range(10), fraction, seed=0)


def test_every_size_and_fraction_gives_the_count_that_was_asked_for():
    for count in range(3, 80):
        for fraction in (0.01, 0.1, 0.33, 0.5, 0.8, 0.95):
            for run_length in (1, 4, 16):
                kept, held_back = hold_out_runs(range(count), fraction, seed=count, run_length=run_length)
                assert len(held_back) == min(max(round(count * fraction), 2), count - 1)
                assert sorted(kept + held_back) == list(range(count))


def test_blocks_stay_together():
    blocks = [f"tile{number // 6}" for number in range(120)]
    kept, held_back = hold_out_blocks(range(120), blocks, 0.1, seed=0)
    assert len(held_back) == 12
    assert not {blocks[number] for number in kept} & {blocks[number] for number in held_back}
    assert kept == sorted(kept)
    assert held_back == sorted(held_back)


def test_a_single_block_cannot_be_split():
    with pytest.raises(DataError, match=r"10 good images belong to 1 block"):
        hold_out_blocks(range(10), ["tile"] * 10, 0.1, seed=0)


@pytest.mark.parametrize("seed", range(6))
def test_a_block_that_would_hold_back_far_too_many_is_passed_over(seed: int):
    blocks = ["day1"] * 900 + ["day2"] * 100
    kept, held_back = hold_out_blocks(range(1000), blocks, 0.1, seed)
    assert held_back == list(range(900, 1000))
    assert len(kept) == 900


@pytest.mark.parametrize("seed", range(6))
def test_fewer_are_held_back_rather_than_most_of_the_images(seed: int):
    blocks = ["day1"] * 900 + ["day2"] * 100
    kept, held_back = hold_out_blocks(range(1000), blocks, 0.15, seed)
    assert (len(kept), len(held_back)) == (900, 100)


def test_of_blocks_that_are_all_larger_than_wanted_the_smallest_is_held_back():
    _, held_back = hold_out_blocks(range(100), ["a"] * 50 + ["b"] * 30 + ["c"] * 20, 0.1, seed=0)
    assert held_back == list(range(80, 100))


@pytest.mark.parametrize("seed", range(4))
def test_of_two_blocks_one_is_left_to_train_on(seed: int):
    kept, held_back = hold_out_blocks(range(10), ["a"] * 6 + ["b"] * 4, 0.5, seed)
    assert {len(kept), len(held_back)} == {4, 6}
