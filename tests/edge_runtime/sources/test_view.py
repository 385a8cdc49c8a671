from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edge_runtime.errors import ImageError, OptionError
from edge_runtime.sources.pacing import parse_pacing
from edge_runtime.sources.view import View, parse_region

PIXELS = np.arange(48, dtype=np.uint8).reshape(6, 8)
FRAME = Image.fromarray(PIXELS)


def test_the_whole_frame_is_the_frame_itself() -> None:
    assert View().of(FRAME) is FRAME


def test_the_region_is_cut_out_then_turned_clockwise() -> None:
    np.testing.assert_array_equal(np.asarray(View((2, 1, 3, 4)).of(FRAME)), PIXELS[1:5, 2:5])
    for degrees in (90, 180, 270):
        turned = np.asarray(View((2, 1, 3, 4), degrees).of(FRAME))
        np.testing.assert_array_equal(turned, np.rot90(PIXELS[1:5, 2:5], -degrees // 90))


def test_a_region_outside_the_frame_is_an_error_of_that_frame() -> None:
    with pytest.raises(ImageError, match=r"'a\.png' has 8 x 6 pixels; --roi 6,0,3,3 does not lie in it"):
        View((6, 0, 3, 3)).of(FRAME, "a.png")


def test_a_region_is_four_numbers() -> None:
    assert parse_region(" 1, 2,30,40 ") == (1, 2, 30, 40)
    for text in ("1,2,3", "a,b,c,d", "-1,0,5,5", ""):
        with pytest.raises(OptionError, match="--roi"):
            parse_region(text)
    with pytest.raises(OptionError, match="--roi"):
        View((0, 0, 0, 5))
    with pytest.raises(OptionError, match="--rotate"):
        View(rotate_degrees=45)


def test_seconds_of_a_recording_are_so_many_of_its_frames() -> None:
    for text, frame_rate, frames in (
        ("2s", 25, 50),
        ("2s", 29.97, 60),
        ("2s", 30.0003, 60),
        ("50ms", 25, 2),
        ("10ms", 25, 1),
        ("2s", 0.2, 1),
        ("1min", 0.2, 12),
    ):
        pacing = parse_pacing(text)
        pacing.count_frames(frame_rate)
        assert [number for number in range(2 * frames) if pacing.takes(0.0)] == [0, frames]
        assert pacing.wait_seconds(0.0) == 0


def test_a_rate_is_a_time_or_a_number_of_frames() -> None:
    for text, seconds in (("2s", 2.0), ("500ms", 0.5), ("1.5 min", 90.0)):
        pacing = parse_pacing(text)
        assert pacing.every_seconds == pytest.approx(seconds)
        assert pacing.takes(10.0)
        assert pacing.wait_seconds(10.0) == pytest.approx(seconds)
        assert pacing.wait_seconds(10.0 + seconds) == 0
    pacing = parse_pacing("3")
    assert [pacing.takes(0.0) for _ in range(7)] == [True, False, False, True, False, False, True]
    assert parse_pacing(None).wait_seconds(0.0) == 0
    for text in ("0", "-1", "2h", "fast", "0s", "1e3"):
        with pytest.raises(OptionError, match="--every"):
            parse_pacing(text)
