"""Paints synthetic defects into images of good parts: which kinds there are, and where what they change can be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tfganomaly.synthetic_defects import fills, shapes
from tfganomaly.synthetic_defects.fills import Fill
from tfganomaly.synthetic_defects.shapes import Shape

_FULL_COVER_SHARE = 0.6
_LEAST_OPACITY = 0.35
_RIM_SHARE = 0.2
_RIM_STRENGTH = 0.7


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
        self, image: np.ndarray, other_image: np.ndarray, rng: np.random.Generator, name: str | None = None
    ) -> np.ndarray:
        """Paints one defect.

        Args:
            image: float32 (S, S, C), square, of usual contrast: mean near 0, spread near 0.4.
            other_image: Another image of the same shape, for pieces that do not belong.
            rng: Source of every random choice.
            name: The kind; None: drawn by its share.

        Returns:
            A new float32 (S, S, C), not clipped. Where it differs from `image`, and nowhere else, is the defect.
        """
        if name is None:
            name = self.names[rng.choice(len(self.names), p=self._probabilities)]
        kind = self._kinds[name]
        alpha = kind.shapes[rng.integers(len(kind.shapes))](rng, image.shape[0])
        weights = np.array([weight for _, weight in kind.fills])
        fill, _ = kind.fills[rng.choice(len(kind.fills), p=weights / weights.sum())]
        opacity = np.float32(1 if rng.random() < _FULL_COVER_SHARE else rng.uniform(_LEAST_OPACITY, 1))
        change = fill(rng, image, other_image, alpha) - image
        painted = image + opacity * alpha[:, :, np.newaxis] * change
        if kind.can_have_rim and rng.random() < _RIM_SHARE:
            beside = np.clip(np.roll(alpha, tuple(rng.integers(-2, 3, 2)), (0, 1)) - alpha, 0, 1)
            tone = (alpha[:, :, np.newaxis] * change).sum((0, 1)) / max(float(alpha.sum()), 1.0)
            painted = painted - np.float32(_RIM_STRENGTH) * opacity * beside[:, :, np.newaxis] * tone
        return painted.astype(np.float32, copy=False)

    def paint_several(
        self, image: np.ndarray, other_image: np.ndarray, rng: np.random.Generator, most: int
    ) -> np.ndarray:
        """Paints one to `most` defects, one over the other; see `paint`."""
        for _ in range(rng.integers(1, most + 1)):
            image = self.paint(image, other_image, rng)
        return image
