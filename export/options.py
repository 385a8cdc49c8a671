"""Options of an export: declared once, here, as those of a training are in `tfganomaly.options`."""

from __future__ import annotations

from dataclasses import dataclass

from tfganomaly.options import check_options, option


@dataclass(frozen=True)
class ExportOptions:
    """What decides how a run becomes an artefact."""

    quantization: str = option(
        "qat",
        "qat: int8, fine-tuned with quantization in the loop; ptq: int8 from calibration images alone; float32: "
        "not quantized.",
        choices=("qat", "ptq", "float32"),
    )
    target: str = option("cpu", "The device that the graph is made for.", choices=("cpu",))
    calibration_images: int = option(
        500, "Training images that set the ranges of the quantized tensors.", minimum=1
    )
    fine_tuning_steps: int = option(300, "Steps of quantization-aware fine-tuning.", minimum=0)
    learning_rate: float = option(1e-5, "Step size of the fine-tuning.", minimum=0)
    max_auroc_drop: float = option(
        0.01, "Fail when the image AUROC falls by more than this against the run; needs labelled test images.", minimum=0
    )
    max_verdict_flips: float = option(
        0.05, "Fail when more than this share of the images gets another verdict than from the run.", minimum=0, maximum=1
    )
    seed: int = option(0, "Seed of the calibration images and of the fine-tuning.", minimum=0)

    def __post_init__(self) -> None:
        check_options(self)
