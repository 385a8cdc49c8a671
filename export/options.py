"""Options of an export: declared once, here; costs nothing heavy to import."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.option_declaration import check_options, option
from tfganomaly.errors import OptionError

QUANTIZATIONS = ("qat", "ptq", "float32")
TARGETS = ("cpu", "edgetpu")
# Ranges and fine-tuning see no more distinct images, so that a large data set costs no more memory or time.
MOST_TRAIN_IMAGES = 4096


@dataclass(frozen=True)
class ExportOptions:
    """What decides how a run becomes an artefact."""

    quantization: str = option(
        "qat",
        "qat: int8, fine-tuned to keep the scores (quantization-aware training). ptq: int8 without fine-tuning, "
        "faster to make. float32: not quantized.",
        choices=QUANTIZATIONS,
    )
    target: str = option(
        "cpu",
        "The kind of processor that the file is for. edgetpu: only operations that a Coral Edge TPU has, a report of "
        "what maps, and a second file from the compiler where there is one.",
        choices=TARGETS,
    )
    edgetpu_compiler: str = option(
        "auto",
        "The vendor's edgetpu_compiler; auto looks for it on PATH, none exports without compiling.",
        of_use_with=("target", "edgetpu"),
    )
    allow_off_chip: bool = option(
        False,
        "With --target edgetpu: export a model whose parameters do not fit on the chip, too; the rest is sent anew for "
        "each image, which is slow.",
        of_use_with=("target", "edgetpu"),
    )
    calibration_images: int = option(
        256, "Good training images from which the int8 ranges are taken.", minimum=2, maximum=MOST_TRAIN_IMAGES
    )
    fine_tuning_steps: int = option(
        400,
        "Steps of quantization-aware fine-tuning; 0 only calibrates.",
        minimum=0,
        maximum=100_000,
        of_use_with=("quantization", "qat"),
    )
    fine_tuning_batch_size: int | None = option(
        None,
        "Images a step of fine-tuning; when not given 32 of 64 x 64 pixels or less, and fewer of larger ones.",
        minimum=2,
        maximum=1024,
        value_type=int,
        of_use_with=("quantization", "qat"),
    )
    learning_rate: float = option(
        3e-5, "Adam's first step size of fine-tuning.", minimum=0, maximum=1, of_use_with=("quantization", "qat")
    )
    encoder_loss_weight: float = option(
        0.1,
        "Weight of the training's encoder loss on good images in fine-tuning, beside the agreement with the run: their "
        "scores sink a little, so that int8 detects no worse; 0 keeps to the run's scores alone.",
        minimum=0,
        maximum=10,
        of_use_with=("quantization", "qat"),
    )
    parity_images: int = option(
        1000, "Test images, drawn with the seed, on which run and artefact are compared.", minimum=20
    )
    max_auroc_drop: float = option(
        0.02,
        "The export fails if the artefact's image AUROC is lower than the run's by more than this; 1 allows all.",
        minimum=0,
        maximum=1,
    )
    max_verdict_flips: float = option(
        0.05,
        "The export fails if run and artefact, each with its own threshold, disagree on a larger share of images "
        "than this; 1 allows all, and above 0 a single image is always allowed.",
        minimum=0,
        maximum=1,
    )
    compare: bool = option(False, "Compare with post-training quantization too in the parity report.")
    seed: int = option(0, "Seed of fine-tuning and of every choice of images.", minimum=0)

    def __post_init__(self) -> None:
        check_options(self)
        if self.target == "edgetpu" and self.quantization == "float32":
            raise OptionError(
                "--target edgetpu is given with --quantization float32; the Edge TPU computes in int8 only. Use qat or "
                "ptq."
            )
