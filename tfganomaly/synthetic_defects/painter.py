"""Paints synthetic defects into images of good parts: which kinds there are, and where what they change can be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.preprocessing import PicturePart
from tfganomaly.synthetic_defects import fills, shapes
from tfganomaly.synthetic_defects.fills import Fill
from tfganomaly.synthetic_defects.shapes import Shape

_FULL_COVER_SHARE = 0.6
_LEAST_OPACITY = 0.35
_RIM_SHARE = 0.2
_RIM_STRENGTH = 0.7
_MOST_DRAWINGS = 8


FillWeights = Sequence[tuple[Fill, float]]
"""What a defect can be filled with, and how often."""


@dataclass(frozen=True)
class DefectKind:
    """One kind of defect.

    Attributes:
        shapes: What it can look like in outline, each equally likely.
        fills: What it can be filled with, by weight.
        can_have_rim: Whether an edge of the opposite tone may stand beside it, as in slanting light.
    """

    shapes: tuple[Shape, ...]
    fills: FillWeights
    can_have_rim: bool = False


_THIN: FillWeights = ((fills.tone_step, 4.0), (fills.flat_tone, 1.0))
_SMALL: FillWeights = (
    (fills.tone_step, 0.35),
    (fills.contrast_change, 0.1),
    (fills.foreign_piece, 0.15),
    (fills.displaced_piece, 0.1),
    (fills.flat_tone, 0.15),
    (fills.blurred, 0.05),
    (fills.grain, 0.1),
)
_LARGE: FillWeights = (
    (fills.tone_step, 0.25),
    (fills.contrast_change, 0.2),
    (fills.foreign_piece, 0.12),
    (fills.displaced_piece, 0.13),
    (fills.flat_tone, 0.1),
    (fills.blurred, 0.1),
    (fills.grain, 0.1),
)

TRAINING_KINDS: Mapping[str, DefectKind] = {
    "scratch": DefectKind((shapes.straight_line,), _THIN, can_have_rim=True),
    "crack": DefectKind((shapes.jagged_line,), _THIN, can_have_rim=True),
    "fibre": DefectKind((shapes.wavy_line,), _THIN, can_have_rim=True),
    "pits": DefectKind((shapes.dots,), _THIN, can_have_rim=True),
    "blob": DefectKind((shapes.blob,), _SMALL),
    "stain": DefectKind((shapes.patches,), _SMALL),
    "changed part": DefectKind((shapes.cut_off_part,), _LARGE),
    "border": DefectKind((shapes.border_piece,), _LARGE),
    "shading": DefectKind((shapes.soft_bump, shapes.dent), ((fills.tone_step, 1.0),)),
}
"""What training paints."""

SELECTION_KINDS: Mapping[str, DefectKind] = {
    "ring": DefectKind((shapes.ring,), ((fills.tone_step, 0.6), (fills.blurred, 0.4))),
    "twist": DefectKind((shapes.blob, shapes.soft_bump), ((fills.twisted, 1.0),)),
    "weave": DefectKind((shapes.blob, shapes.patches), ((fills.weave, 1.0),)),
    "smear": DefectKind((shapes.blob, shapes.border_piece), ((fills.smeared, 1.0),)),
}
"""What training never paints: by how well these are found, what is chosen without labels is chosen."""

USUAL_SHARES: Mapping[str, float] = {
    "scratch": 0.11,
    "crack": 0.11,
    "fibre": 0.08,
    "pits": 0.10,
    "blob": 0.15,
    "stain": 0.10,
    "changed part": 0.20,
    "border": 0.10,
    "shading": 0.05,
}
"""How often training paints each of its kinds."""


class DefectPainter:
    """Paints defects of some kinds; every random choice comes from the generator that is handed in.

    Args:
        kinds: What to paint.
        shares: How often each kind is drawn; None: all equally often.
    """

    def __init__(self, kinds: Mapping[str, DefectKind], shares: Mapping[str, float] | None = None) -> None:
        self.names: Sequence[str] = tuple(kinds)
        self._kinds = kinds
        weights = np.array([1.0 if shares is None else shares[name] for name in self.names])
        self._probabilities = weights / weights.sum()

    def paint(
        self,
        image: np.ndarray,
        other_image: np.ndarray,
        rng: np.random.Generator,
        name: str | None = None,
        part: PicturePart | None = None,
    ) -> np.ndarray:
        """Paints one defect.

        Args:
            image: float32 (S, S, C), square, of usual contrast: mean near 0, spread near 0.4.
            other_image: Another image of the same shape, for pieces that do not belong.
            rng: Source of every random choice.
            name: The kind; None: drawn by its share.
            part: The rows and columns that show the picture, in which the defect lies; None: all.

        Returns:
            A new float32 (S, S, C), not clipped. Where it differs from `image`, and nowhere else, is the defect.
        """
        if name is None:
            name = self.names[rng.choice(len(self.names), p=self._probabilities)]
        kind = self._kinds[name]
        alpha = _drawn_within(part, kind.shapes[rng.integers(len(kind.shapes))], rng, image.shape[0])
        weights = np.array([weight for _, weight in kind.fills])
        fill, _ = kind.fills[rng.choice(len(kind.fills), p=weights / weights.sum())]
        opacity = np.float32(1 if rng.random() < _FULL_COVER_SHARE else rng.uniform(_LEAST_OPACITY, 1))
        change = fill(rng, image, other_image, alpha) - image
        painted = image + opacity * alpha[:, :, np.newaxis] * change
        if kind.can_have_rim and rng.random() < _RIM_SHARE:
            beside = _only_within(part, np.clip(shapes.moved(alpha, *rng.integers(-2, 3, 2)) - alpha, 0, 1))
            tone = (alpha[:, :, np.newaxis] * change).sum((0, 1)) / max(float(alpha.sum()), 1.0)
            painted = painted - np.float32(_RIM_STRENGTH) * opacity * beside[:, :, np.newaxis] * tone
        return painted.astype(np.float32, copy=False)

    def paint_several(
        self,
        image: np.ndarray,
        other_image: np.ndarray,
        rng: np.random.Generator,
        most: int,
        part: PicturePart | None = None,
    ) -> np.ndarray:
        """Paints one to `most` defects, one over the other; see `paint`."""
        for _ in range(rng.integers(1, most + 1)):
            image = self.paint(image, other_image, rng, part=part)
        return image


def _drawn_within(part: PicturePart | None, shape: Shape, rng: np.random.Generator, side_px: int) -> np.ndarray:
    """A shape in the picture: float32 (side_px, side_px), 0 outside `part`.

    It is drawn for the whole square, then looked at through a window of the picture's size, at the place at which the
    shape's centre keeps its share of height and width: what lies at the square's edge comes to lie at the picture's.
    Where hardly anything is left, such as of two lines far apart, it is drawn anew.
    """
    drawn = shape(rng, side_px)
    if part is None or drawn[part].shape == drawn.shape:
        return drawn
    rows, columns = part[0].stop - part[0].start, part[1].stop - part[1].start
    for _ in range(_MOST_DRAWINGS - 1):
        inside = _window_on(drawn, rows, columns)
        if np.abs(inside).mean() >= np.abs(drawn).mean() / 2:
            break
        drawn = shape(rng, side_px)
    alpha = np.zeros_like(drawn)
    alpha[part] = _window_on(drawn, rows, columns)
    return alpha


def _window_on(drawn: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The window (rows, columns) of a square in which the centre of what is drawn lies as it does in the square."""
    cover, side_px = np.abs(drawn), len(drawn)
    shares = np.arange(side_px) / (side_px * max(float(cover.sum()), 1e-6))
    top = int(cover.sum(axis=1) @ shares * (side_px - rows))
    left = int(cover.sum(axis=0) @ shares * (side_px - columns))
    return drawn[top : top + rows, left : left + columns]


def _only_within(part: PicturePart | None, values: np.ndarray) -> np.ndarray:
    if part is None:
        return values
    kept = np.zeros_like(values)
    kept[part] = values[part]
    return kept
