"""Makes the flatbuffer that was asked for out of a lowered graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_runtime.flatbuffer import FlatbufferInspection, inspect_flatbuffer
from edge_runtime.scoring import ScoreRule
from export.activation_ranges import observe_ranges, ranges_between
from export.conversion import (
    convert_quantization_aware,
    convert_to_float32,
    convert_with_calibration,
    output_positions,
)
from export.disturbance import Purpose, with_disturbed
from export.edgetpu_graph import adapt_to_edgetpu
from export.errors import ExportError
from export.fake_quantization import add_fake_quantization
from export.fine_tuning_result import FineTuningResult
from export.images import ExportImages
from export.input_levels import calibration_inputs, int8_inputs, taking_int8_inputs
from export.lazy_images import scaled
from export.lowering import LoweredGraph
from export.options import ExportOptions
from export.quantization_aware import AgreementCheck, FineTuningSettings, fine_tune

# Of the way from the ranges of good images to those that hold disturbed ones too.
RANGE_SHARES = (0.0, 0.2, 0.35, 0.5, 0.7, 1.0)
# More would only make the check of each step slower.
_MOST_CHECK_IMAGES = 256
_PIXELS_A_STEP = 32 * 64 * 64
_FEWEST_IMAGES_A_STEP, _MOST_IMAGES_A_STEP = 4, 32


@dataclass(frozen=True)
class BuiltModel:
    """A model as TFLite, not yet an artefact.

    Attributes:
        flatbuffer: The file's bytes.
        quantization: "qat", "ptq" or "float32".
        inspection: What is in it.
        output_positions: Position of each output by name.
        fine_tuning: How the fine-tuning went; None without.
    """

    flatbuffer: bytes = field(repr=False)
    quantization: str
    inspection: FlatbufferInspection = field(repr=False)
    output_positions: dict[str, int]
    fine_tuning: FineTuningResult | None = None

    @property
    def title(self) -> str:
        """Short name for columns of a report."""
        return "float32" if self.quantization == "float32" else f"int8 ({self.quantization})"


def build_model(
    quantization: str,
    graph: LoweredGraph,
    images: ExportImages,
    score_rule: ScoreRule,
    options: ExportOptions,
    progress: Callable[[str, int, int], None],
) -> BuiltModel:
    """Quantizes as asked for and converts.

    Args:
        quantization: "qat", "ptq" or "float32".
        graph: The float graph.
        images: Good images for ranges and fine-tuning.
        score_rule: How scores are made.
        options: Target, number of images, length of the fine-tuning.
        progress: Told about the stages.

    Raises:
        ExportError: The converter refused the graph, or left a tensor in float where all must be integer.
    """
    fine_tuning = None
    calibration = draw_calibration_images(images.train, options)
    if quantization == "float32":
        progress("convert", 0, 1)
        flatbuffer = convert_to_float32(graph)
    elif quantization == "ptq":
        progress("convert", 0, 1)
        flatbuffer = convert_with_calibration(graph, scaled(calibration))
    else:
        held_back = images.held_back[:: -(-len(images.held_back) // _MOST_CHECK_IMAGES)]
        agreement = AgreementCheck(graph, held_back, score_rule, options.seed)
        int8_graph = taking_int8_inputs(graph)
        quantized_model = calibrate(int8_graph, calibration, agreement, options.seed, progress)
        fine_tuning = fine_tune(
            graph,
            quantized_model,
            images.train,
            agreement,
            FineTuningSettings(
                options.fine_tuning_steps,
                options.fine_tuning_batch_size or _usual_batch_size(graph),
                options.learning_rate,
                options.encoder_loss_weight,
                options.seed,
            ),
            lambda *count: progress("fine-tune", *count),
        )
        progress("convert", 0, 1)
        flatbuffer = convert_quantization_aware(int8_graph, quantized_model)
    if options.target == "edgetpu" and quantization != "float32":
        flatbuffer = adapt_to_edgetpu(flatbuffer)
    inspection = inspect_flatbuffer(flatbuffer)
    if quantization != "float32":
        check_all_integer(inspection)
    progress("convert", 1, 1)
    return BuiltModel(flatbuffer, quantization, inspection, output_positions(flatbuffer), fine_tuning)


def calibrate(
    graph: LoweredGraph,
    calibration: np.ndarray,
    agreement: AgreementCheck,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> Any:
    """Quantizes with the ranges that keep the scores best.

    Ranges of good images alone clip what a defect does. Where a model answers a defect with values many times larger
    than a good image's, ranges that hold them leave good images too few levels. What lies between is tried, and the
    plain extremes of good images, which post-training quantization takes: the ranges are chosen whose scores agree best
    with the float graph's.

    Args:
        graph: The graph for int8 inputs.
        calibration: uint8 `(N, H, W, C)`, good images that ranges are taken from.
        agreement: What the two are compared by.
        seed: Decides disturbances, and which values are sampled.
        progress: Told about the images done.

    Returns:
        What `add_fake_quantization` makes of the graph with the best of these ranges.
    """
    with_copies = with_disturbed(calibration, seed, Purpose.RANGES)
    narrow, wide = (
        observe_ranges(graph, images, seed, lambda *count: progress("observe ranges", *count))
        for images in (calibration_inputs(scaled(calibration)), with_copies.changed(int8_inputs))
    )
    all_ranges = [ranges_between(narrow.least_squares, wide.least_squares, share) for share in RANGE_SHARES]
    all_ranges.append(narrow.extremes)
    candidates = []
    for number, ranges in enumerate(all_ranges, start=1):
        quantized_model = add_fake_quantization(graph, ranges)
        candidates.append((agreement.of(quantized_model)().disagreement, quantized_model))
        progress("choose ranges", number, len(all_ranges))
    return min(candidates, key=lambda candidate: candidate[0])[1]


def check_all_integer(inspection: FlatbufferInspection) -> None:
    """Refuses an int8 file in which anything is computed in float.

    Raises:
        ExportError: Names the float tensors.
    """
    names = [tensor.name for tensor in inspection.float_tensors]
    if names:
        raise ExportError(
            f"The int8 file still has {len(names)} float tensors, such as {', '.join(names[:3])}; expected none. "
            f"A layer has no int8 form; export with --quantization float32, or replace the layer."
        )


def _usual_batch_size(graph: LoweredGraph) -> int:
    """As many images as hold the pixels of 32 of 64 x 64: a large image has many windows, each of which teaches."""
    height, width, _ = graph.input_shape
    return int(np.clip(_PIXELS_A_STEP // (height * width), _FEWEST_IMAGES_A_STEP, _MOST_IMAGES_A_STEP))


def draw_calibration_images(pixels: np.ndarray, options: ExportOptions) -> np.ndarray:
    """The images from which int8 ranges are taken, drawn with the seed from uint8 (N, H, W, C)."""
    if len(pixels) <= options.calibration_images:
        return pixels
    rng = np.random.default_rng(options.seed)
    return pixels[np.sort(rng.choice(len(pixels), options.calibration_images, replace=False))]
