from __future__ import annotations

import numpy as np
from PIL import Image

from edge_runtime.watching.frame_checks import FrameChecks

RANDOM = np.random.default_rng(0)


def scene(level: float = 120, noise: float = 2, size: tuple[int, int] = (120, 160), mode: str = "L") -> Image.Image:
    shape = size if mode == "L" else (*size, 3)
    return Image.fromarray(np.clip(RANDOM.normal(level, noise, shape), 0, 255).astype(np.uint8))


def test_a_camera_that_sees_has_no_problem() -> None:
    checks = FrameChecks(frozen_frames=3)
    for mode in ("L", "RGB"):
        assert not any(checks.is_blind(scene(mode=mode)) for _ in range(20))
    assert checks.problem == ""


def test_equal_frames_are_a_frozen_picture_until_one_differs() -> None:
    checks = FrameChecks(frozen_frames=4)
    still = scene()
    assert [checks.is_blind(still) for _ in range(5)] == [False, False, False, True, True]
    assert "frozen" in checks.problem
    assert not checks.is_blind(scene())
    assert checks.problem == ""


def test_a_still_scene_with_the_noise_of_a_camera_is_not_frozen() -> None:
    checks = FrameChecks(frozen_frames=2)
    assert not any(checks.is_blind(scene(noise=0.7, size=(1080, 1920))) for _ in range(10))


def test_black_and_overexposed_frames_are_blind_at_once_and_reported_when_they_last() -> None:
    for level, word in ((1, "black"), (255, "overexposed")):
        checks = FrameChecks(patience_frames=3)
        assert checks.is_blind(scene(level))
        assert checks.problem == ""
        assert all(checks.is_blind(scene(level)) for _ in range(2))
        assert word in checks.problem
        assert not checks.is_blind(scene())
        assert checks.problem == ""


def test_a_bright_part_on_black_ground_is_seen() -> None:
    pixels = RANDOM.integers(0, 5, (100, 100)).astype(np.uint8)
    pixels[40:60, 40:60] = 180
    checks = FrameChecks()
    assert not any(checks.is_blind(Image.fromarray(pixels + number % 2)) for number in range(5))


def test_a_frame_is_blind_up_to_two_percent_of_pixels_that_are_not() -> None:
    for ground in (0, 255):
        for seeing, is_blind in ((5, True), (6, False)):  # of 256 pixels
            pixels = np.full((16, 16), ground, np.uint8)
            pixels[0, :seeing] = 128
            assert FrameChecks().is_blind(pixels) is is_blind
    half = np.zeros((16, 16), np.uint8)
    half[:, 8:] = 255  # black and white, but neither black nor overexposed
    assert not FrameChecks().is_blind(half)
