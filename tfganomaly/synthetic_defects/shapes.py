"""Where a synthetic defect lies and how far it covers what was there: the shapes that defects are made of.

Every shape is float32 (H, W) in [0, 1], 0 outside the defect, 1 where it covers the image fully; a dent alone also
reaches below 0, where it changes the image the other way. Lengths are given as shares of the image's side, so that a
shape looks the same at any resolution.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Shape = Callable[[np.random.Generator, int], np.ndarray]
"""Called as `shape(rng, side_px)`; returns float32 (side_px, side_px) in [0, 1]."""

# Lines and dots are drawn at twice the size and averaged down, which makes their edges smooth.
_OVERSAMPLING = 2
_LARGEST_SHARE = 0.4
_SIDES = 4


def straight_line(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """One to three thin straight or evenly bent lines: scratches."""
    bend = rng.normal(0, 1.2) if rng.random() < 0.5 else 0.0
    return _lines(rng, side_px, lambda steps: np.full(steps, bend / steps))


def jagged_line(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """One to three thin lines that change direction at every step: cracks."""

    def turns(steps: int) -> np.ndarray:
        drawn = rng.normal(0, 0.45, steps)
        drawn[1:] -= 0.7 * drawn[:-1]  # a crack that turned left turns back: it keeps its direction as a whole
        return drawn

    return _lines(rng, side_px, turns)


def wavy_line(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """One to three thin lines that wander: hairs and fibres."""
    return _lines(rng, side_px, lambda steps: rng.normal(0, 0.15, steps))


def dots(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """Up to a dozen small round spots close to each other: pits, spatter, dust."""
    picture, drawing = _canvas(side_px)
    side = picture.width
    centre, spread = rng.uniform(0, side, 2), side * rng.uniform(0.02, 0.2)
    for _ in range(rng.integers(1, 13)):
        x, y = rng.normal(centre, spread)
        radius = side * log_uniform(rng, 0.003, 0.018)
        drawing.ellipse(_box(x, y, radius, radius * rng.uniform(0.5, 1)), fill=255)
    return _alpha(picture, rng.choice([0.0, 0.5, 1.0]))


def blob(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """An ellipse, smooth or ragged, from a hundredth to a fifth of the side: holes, drops, blisters."""
    squared_radius = _ellipse_field(rng, side_px, 0.012, 0.2)
    if rng.random() < 0.6:
        squared_radius = squared_radius * np.exp(0.5 * smooth_noise(rng, int(rng.integers(6, 30)), side_px))
    softness = rng.choice([0.08, 0.3, 0.8])
    return np.clip((1 - squared_radius) / softness + 0.5, 0, 1).astype(np.float32)


def patches(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """Irregular specks within an ellipse: stains, corrosion, residue."""
    noise = smooth_noise(rng, int(rng.integers(4, 40)), side_px)
    inside = _ellipse_field(rng, side_px, 0.08, 0.4) < 1
    return (np.clip((noise - rng.uniform(0.4, 1.2)) * rng.choice([2, 6]), 0, 1) * inside).astype(np.float32)


def ring(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """An elliptic ring: the rim of a dried drop, the imprint of a tool."""
    radius = np.sqrt(_ellipse_field(rng, side_px, 0.03, 0.25))
    return np.clip(1 - np.abs(radius - 1) / rng.uniform(0.06, 0.25), 0, 1).astype(np.float32)


def cut_off_part(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """What lies inside one to four lines, or outside where that is more than two fifths: a part of another making."""
    rows, columns = np.mgrid[:side_px, :side_px].astype(np.float32)
    alpha = np.ones((side_px, side_px), np.float32)
    waviness = smooth_noise(rng, int(rng.integers(4, 16)), side_px) * rng.choice([0, 0.008, 0.02]) * side_px
    softness_px = rng.choice([1, 2, 8])
    centre_x, centre_y = rng.uniform(0.1, 0.9, 2) * side_px
    for _ in range(rng.integers(1, 5)):
        is_askew = rng.random() < 0.5
        angle = rng.uniform(0, 2 * np.pi) if is_askew else rng.integers(4) * np.pi / 2 + rng.normal(0, 0.08)
        offset_px = side_px * log_uniform(rng, 0.02, 0.4)
        distance_px = (columns - centre_x) * np.cos(angle) + (rows - centre_y) * np.sin(angle)
        alpha = np.minimum(alpha, np.clip((offset_px - distance_px + waviness) / softness_px + 0.5, 0, 1))
    return (1 - alpha if alpha.mean() > _LARGEST_SHARE else alpha).astype(np.float32)


def border_piece(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """A ragged piece at one side of the image: a broken edge, a frayed one, a burr."""
    picture, drawing = _canvas(side_px)
    side = picture.width
    corners = int(rng.integers(5, 20))
    length, depth = side * rng.uniform(0.08, 0.7), side * log_uniform(rng, 0.02, 0.2)
    along = rng.uniform(-length / 2, side - length / 2) + np.linspace(0, length, corners)
    profile = np.sin(np.linspace(0, np.pi, corners)) ** rng.uniform(0.3, 1.5)
    inwards = np.maximum(0, depth * profile * (1 + 0.3 * rng.standard_normal(corners)))
    outline = [*zip(along, inwards, strict=True), (along[-1], -5), (along[0], -5)]
    drawing.polygon([(float(x), float(y)) for x, y in outline], fill=255)
    alpha = _alpha(picture, rng.choice([0.0, 0.5, 1.0]))
    return np.ascontiguousarray(np.rot90(alpha, int(rng.integers(_SIDES))))


def soft_bump(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """A smooth hill without any edge: shading by a bulge, a shadow, a worn place."""
    return np.exp(-_ellipse_field(rng, side_px, 0.06, 0.45)).astype(np.float32)


def dent(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """A smooth hill beside a smooth hollow, in [-1, 1]: one side of a dent catches the light, the other loses it."""
    hill = soft_bump(rng, side_px)
    reach_px = max(1, side_px // 20)
    slope = hill - moved(hill, *rng.integers(-reach_px, reach_px + 1, 2))
    return slope / max(float(np.abs(slope).max()), 1e-3)


def moved(values: np.ndarray, down_px: int, right_px: int) -> np.ndarray:
    """An array (H, W) or (H, W, C) moved down and to the right; what comes in goes on from the edge."""
    reach_px = max(abs(down_px), abs(right_px))
    padding = ((reach_px, reach_px), (reach_px, reach_px), *((0, 0),) * (values.ndim - 2))
    top, left = reach_px - down_px, reach_px - right_px
    return np.pad(values, padding, mode="edge")[top : top + values.shape[0], left : left + values.shape[1]]


def smooth_noise(rng: np.random.Generator, cells: int, side_px: int) -> np.ndarray:
    """Normal noise, one value a cell, interpolated: float32 (side_px, side_px), mean about 0, deviation about 0.7."""
    grid = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(grid.resize((side_px, side_px), Image.Resampling.BICUBIC))


def _lines(rng: np.random.Generator, side_px: int, turns: Callable[[int], np.ndarray]) -> np.ndarray:
    picture, drawing = _canvas(side_px)
    side = picture.width
    for _ in range(1 if rng.random() < 0.6 else rng.integers(2, 4)):
        length = side * log_uniform(rng, 0.06, 0.9)
        steps = max(3, int(length / (side * rng.uniform(0.012, 0.04))))
        angles = rng.uniform(0, 2 * np.pi) + np.cumsum(turns(steps))
        path = np.cumsum(np.stack([np.cos(angles), np.sin(angles)], axis=1), axis=0) * length / steps
        points = [tuple(point) for point in rng.uniform(0, side, 2) + path - path.mean(axis=0)]
        width = side * log_uniform(rng, 0.003, 0.016)
        widths = np.maximum(1, np.rint(width * (1 + 0.35 * rng.standard_normal(steps)))).astype(int)
        for start, end, segment_width in zip(points, points[1:], widths, strict=False):
            drawing.line([start, end], fill=255, width=int(segment_width))
    return _alpha(picture, rng.choice([0.0, 0.5, 0.75, 1.5]))


def _canvas(side_px: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("L", (_OVERSAMPLING * side_px, _OVERSAMPLING * side_px))
    return picture, ImageDraw.Draw(picture)


def _alpha(picture: Image.Image, blur_px: float) -> np.ndarray:
    if blur_px:
        picture = picture.filter(ImageFilter.GaussianBlur(float(_OVERSAMPLING * blur_px)))
    return np.asarray(picture.reduce(_OVERSAMPLING), np.float32) / np.float32(255)


def _ellipse_field(rng: np.random.Generator, side_px: int, smallest: float, largest: float) -> np.ndarray:
    """Squared distance from a random centre in units of a random ellipse, whose edge is at 1: float32 (H, W)."""
    rows, columns = np.mgrid[:side_px, :side_px].astype(np.float32)
    along_px = side_px * log_uniform(rng, smallest, largest)
    across_px = along_px * rng.uniform(0.35, 1)
    x, y = rng.uniform(0, side_px, 2)
    angle = rng.uniform(0, np.pi)
    along = ((columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)) / along_px
    across = ((rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)) / across_px
    return (along * along + across * across).astype(np.float32)


def _box(x: float, y: float, half_width: float, half_height: float) -> tuple[float, float, float, float]:
    return (float(x - half_width), float(y - half_height), float(x + half_width), float(y + half_height))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from `low` to `high`, both above 0, as likely to be in one octave as in any other."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
