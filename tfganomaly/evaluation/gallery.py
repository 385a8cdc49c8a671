"""The report's galleries: which images are worth looking at, and their pictures as small inline JPEGs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from edge_runtime.calibration import Calibration
from edge_runtime.errors import ImageError
from edge_runtime.heatmap import colour_ramp, heatmap_overlay
from edge_runtime.image_figures import cell_figures
from edge_runtime.outline import TRUE_COLOUR, draw_outline
from edge_runtime.preprocessing import (
    LEAST_SPREAD,
    NORMALISED_SPREAD,
    Preprocessing,
    prepare_detail,
    prepare_image,
    read_image,
    scale_pixels,
    unscale_pixels,
)
from edge_runtime.scoring import anomaly_maps
from tfganomaly.evaluation.masks import read_mask, resize_mask
from tfganomaly.evaluation.projection import to_picture
from tfganomaly.evaluation.result import EvaluationResult, ImageResult
from tfganomaly.evaluation.scorer import Scorer
from tfganomaly.evaluation.wording import words

THUMBNAIL_SIDE_PX = 256
MOST_DEFECT_TYPES = 20
"""So many types of defect get pictures of their own, which keeps the page at a few megabytes."""

_SMALL_SIDE_PX = 96
_JPEG_QUALITY = 84
_UNSEEN_GREY = 128


@dataclass(frozen=True)
class Panel:
    """One picture of a card: caption and data URI."""

    caption: str
    data_uri: str


@dataclass(frozen=True)
class Card:
    """One image of a gallery.

    Attributes:
        name: The image's name in the data set.
        defect: "good" or the type of defect.
        score: Raw score.
        times_threshold: The score in thresholds, such as "1.8 × threshold".
        verdict: "found", "missed", "false alarm" or "passed".
        is_right: Whether the verdict is the truth.
        panels: Input, reconstruction (where the model gives it) and heatmap.
    """

    name: str
    defect: str
    score: float
    times_threshold: str
    verdict: str
    is_right: bool
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Section:
    """One gallery: title, a sentence about what was chosen, and the cards."""

    title: str
    explanation: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Choice:
    """What a gallery will show, before anything is drawn."""

    title: str
    explanation: str
    images: tuple[ImageResult, ...]


def choose_images(result: EvaluationResult, images_per_section: int) -> list[Choice]:
    """Chooses the clearest hits, the worst misses, the worst false alarms and the calmest good images.

    Where nothing was missed, or no false alarm given, the closest to it are shown instead. Without images of a class
    its galleries are left out.

    Args:
        result: What was measured.
        images_per_section: At most so many images each.
    """
    rising = sorted(result.images, key=lambda image: image.score)
    falling = rising[::-1]
    found = [image for image in falling if image.item.is_anomalous and image.is_called_anomalous]
    missed = [image for image in rising if image.item.is_anomalous and not image.is_called_anomalous]
    false_alarms = [image for image in falling if not image.item.is_anomalous and image.is_called_anomalous]
    passed = [image for image in rising if not image.item.is_anomalous and not image.is_called_anomalous]
    choices: list[tuple[str, str, list[ImageResult]]] = []
    if found:
        choices.append(("Defects found", _of_all(found, images_per_section, "highest"), found))
    if missed:
        choices.append(("Defects missed", _of_all(missed, images_per_section, "lowest"), missed))
    elif found:
        text = "No defect was missed. These are the ones with the lowest scores."
        choices.append(("Defects closest to being missed", text, found[::-1]))
    if false_alarms:
        choices.append(("False alarms", _of_all(false_alarms, images_per_section, "highest"), false_alarms))
    elif passed:
        text = "There was no false alarm. These are the good images with the highest scores."
        choices.append(("Good images closest to a false alarm", text, passed[::-1]))
    if passed:
        choices.append(("Calmest good images", _of_all(passed, images_per_section, "lowest"), passed))
    return [Choice(title, text, tuple(images[:images_per_section])) for title, text, images in choices]


def choose_images_by_defect(result: EvaluationResult, images_per_end: int) -> list[Choice]:
    """Chooses of each type of defect the images with the highest and with the lowest scores.

    Args:
        result: What was measured.
        images_per_end: At most so many with the highest and so many with the lowest scores of each type.

    Returns:
        One choice a type, in alphabetical order, its images from the highest score to the lowest; at most
        `MOST_DEFECT_TYPES`. None where there is only one type, which the other galleries show already.
    """
    if len(result.defects) < 2:
        return []
    choices = []
    for name, defect in list(result.defects.items())[:MOST_DEFECT_TYPES]:
        falling = sorted(
            (image for image in result.images if image.item.is_anomalous and image.item.defect == name),
            key=lambda image: -image.score,
        )
        shown = falling
        text = f"{defect.num_images - defect.misses} of {defect.num_images} found"
        if len(falling) > 2 * images_per_end:
            shown = falling[:images_per_end] + falling[-images_per_end:]
            text += f"; the {images_per_end} with the highest and the {images_per_end} with the lowest scores"
        choices.append(Choice(words(name), text + ".", tuple(shown)))
    return choices


def build_gallery(choices: Sequence[Choice], result: EvaluationResult, scorer: Scorer) -> list[Section]:
    """Runs the model on the chosen images and draws them.

    Raises:
        ImageError: An image that was scored a moment ago cannot be read any more.
    """
    return [
        Section(choice.title, choice.explanation, tuple(_card(image, result, scorer) for image in choice.images))
        for choice in choices
    ]


def colour_scale(calibration: Calibration) -> str:
    """Returns the heatmap's colours on grey, from calm to where the outline begins, as a data URI."""
    width, height = 240, 12
    ramp = colour_ramp(calibration, width)
    grey = Image.new("L", (width, height), 150)
    scale = Preprocessing(height=height, width=width, channels=1)
    drawn = heatmap_overlay(grey, np.tile(ramp, (height, 1)), scale, calibration, with_outline=False)
    return _data_uri(drawn, "PNG")


def _of_all(images: Sequence[ImageResult], shown: int, extreme: str) -> str:
    if len(images) == 1:
        return "There is one."
    if len(images) <= shown:
        return f"All {len(images)}, the one with the {extreme} score first."
    return f"The {shown} with the {extreme} scores of {len(images)}."


def _card(image: ImageResult, result: EvaluationResult, scorer: Scorer) -> Card:
    if image.item.is_anomalous:
        verdict = "found" if image.is_right else "missed"
    else:
        verdict = "passed" if image.is_right else "false alarm"
    times = f"{image.score / result.threshold:.2f} × threshold" if result.threshold > 0 else ""
    return Card(
        name=image.item.name,
        defect=image.item.defect,
        score=image.score,
        times_threshold=times,
        verdict=verdict,
        is_right=image.is_right,
        panels=_panels(image, scorer),
    )


def _panels(image: ImageResult, scorer: Scorer) -> tuple[Panel, ...]:
    preprocessing = scorer.preprocessing
    picture = read_image(image.item.source)
    pixels = prepare_image(picture, preprocessing)[np.newaxis]
    outputs = scorer.model_outputs(pixels)
    textures = None
    if scorer.score_rule.needs_textures:
        textures = cell_figures(prepare_detail(picture, preprocessing))[np.newaxis]
    anomaly_map = anomaly_maps(scorer.score_rule, scale_pixels(pixels), outputs, textures)[0]

    thumbnail = picture.copy()
    thumbnail.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX), Image.Resampling.BILINEAR)
    # A picture of 28 pixels is enlarged here, pixels kept as squares, so that map and outline get drawn finely.
    enlargement = THUMBNAIL_SIDE_PX // max(thumbnail.size) if max(thumbnail.size) < _SMALL_SIDE_PX else 1
    size = (thumbnail.width * enlargement, thumbnail.height * enlargement)
    shown = thumbnail.resize(size, Image.Resampling.NEAREST)

    panels = [Panel("input", _data_uri(shown))]
    if outputs.reconstruction is not None:
        values = _as_photographed(outputs.reconstruction[0], picture, preprocessing)
        reconstruction = unscale_pixels(values).astype(np.float32)
        channels = [
            to_picture(reconstruction[:, :, channel], preprocessing, picture.size, thumbnail.size)
            for channel in range(preprocessing.channels)
        ]
        drawn = np.rint(np.nan_to_num(np.stack(channels, axis=-1), nan=_UNSEEN_GREY)).astype(np.uint8)
        drawn_image = Image.fromarray(drawn[:, :, 0] if preprocessing.channels == 1 else drawn)
        panels.append(Panel("reconstruction", _data_uri(drawn_image.resize(size, Image.Resampling.NEAREST))))

    overlay = heatmap_overlay(shown, anomaly_map, preprocessing, scorer.calibration)
    mask = _mask(image, size)
    panels.append(Panel("heatmap", _data_uri(overlay if mask is None else draw_outline(overlay, mask, TRUE_COLOUR))))
    return tuple(panels)


def _as_photographed(values: np.ndarray, picture: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Returns what a model drew, float32 (H, W, C) in [-1, 1], in the brightness and contrast of the picture itself."""
    if preprocessing.contrast_rule == "as_is":
        return values
    pixels = scale_pixels(prepare_image(picture, replace(preprocessing, contrast_rule="as_is")))
    return values * (max(float(pixels.std()), LEAST_SPREAD) / NORMALISED_SPREAD) + float(pixels.mean())


def _mask(image: ImageResult, size: tuple[int, int]) -> np.ndarray | None:
    if image.item.mask is None:
        return None
    try:
        mask = read_mask(image.item.mask)
    except ImageError:  # the evaluation has named it in its warnings
        return None
    return resize_mask(mask, size) if mask.any() else None


def _data_uri(image: Image.Image, image_format: str = "JPEG") -> str:
    target = io.BytesIO()
    # Full colour resolution, or the thin outline turns grey.
    options = {"quality": _JPEG_QUALITY, "subsampling": 0} if image_format == "JPEG" else {}
    image.save(target, format=image_format, **options)
    encoded = base64.b64encode(target.getvalue()).decode("ascii")
    return f"data:image/{image_format.lower()};base64,{encoded}"
