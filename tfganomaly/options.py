"""Options of a training: declared once, here.

The flag of the command line, the key in a run's `config.json` and the documentation all come from these
fields (`cli.py` builds its click options from the metadata). Importing this module costs nothing heavy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_runtime.option_declaration import check_options, option
from tfganomaly.errors import OptionError
from tfganomaly.models.catalogue import MODELS, ModelTraits

SMALLEST_IMAGE_SIZE_PX = 32
LARGEST_SEED = 2**32 - 1
"""Of NumPy's frozen generator, which draws the split."""

# A recipe is what it changes in the defaults below.
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "inspection": {
        "model": "window_ganomaly",
        "image_size": 128,
        "latent_size": 64,
        "generator_width": 16,
        "contextual_loss_weight": 10.0,
        "epochs": 30,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "beta_1": 0.9,
        "resize_rule": "letterbox",
        "contrast_rule": "fitted",
        "score_factor": "image_statistics",
        "xla": False,
    },
    "paper": {},
    # For small devices: three to seven times faster there than the paper's width; better on some classes only.
    "paper-small": {"generator_width": 16, "discriminator_width": 16},
}
DEFAULT_RECIPE = "inspection"


@dataclass(frozen=True)
class ModelOptions:
    """What decides the networks and their losses; a saved model carries exactly these.

    The defaults are those of the paper and of its authors' code.
    """

    image_size: int = option(
        32,
        "Side of the square model input in pixels: a multiple of 32; for the paper's model a power of two.",
        minimum=SMALLEST_IMAGE_SIZE_PX,
    )
    channels: int | None = option(
        None, "1 for grey, 3 for RGB; decided from the images when not given.", value_type=int
    )
    latent_size: int = option(100, "Length of the latent vector (nz in the paper).", minimum=1)
    generator_width: int = option(64, "Channels of the generator's first layer (ngf).", minimum=2)
    discriminator_width: int = option(64, "Channels of the discriminator's first layer (ndf).", minimum=2)
    extra_layers: int = option(0, "Extra 3 x 3 convolutions at the widest resolution.", minimum=0)
    leaky_relu_slope: float = option(
        0.2, "Slope below zero of the encoders' and the discriminator's activation; 0 is ReLU.", minimum=0, maximum=1
    )
    adversarial_loss_weight: float = option(1.0, "Weight of the feature-matching loss.", minimum=0)
    contextual_loss_weight: float = option(50.0, "Weight of the reconstruction loss, L1.", minimum=0)
    latent_loss_weight: float = option(1.0, "Weight of the distance of the latent vectors.", minimum=0)

    def __post_init__(self) -> None:
        check_options(self)
        if self.image_size % SMALLEST_IMAGE_SIZE_PX:
            raise OptionError(
                f"--image-size is {self.image_size}; expected a multiple of {SMALLEST_IMAGE_SIZE_PX}: stages halve the "
                f"image up to five times."
            )
        if self.channels not in (None, 1, 3):
            raise OptionError(f"--channels is {self.channels}; expected 1 (grey) or 3 (RGB).")
        if self.generator_width % 2:
            raise OptionError(f"--generator-width is {self.generator_width}; expected an even number.")


@dataclass(frozen=True)
class TrainingOptions:
    """What decides how a model is trained; `config.json` of a run holds these and the model's."""

    model: str = option("ganomaly", "Which model to train.", choices=tuple(MODELS))
    recipe: str = option("paper", "The set of defaults to start from.", choices=tuple(RECIPES))
    epochs: int = option(15, "Passes over the training images, or rounds of what --steps-per-epoch says.", minimum=1)
    steps_per_epoch: int | None = option(
        None,
        "Steps an epoch, however many images there are. When not given, one pass over them; in the recipe inspection "
        "one and a half, but at least 20 and at most 100 steps.",
        minimum=1,
        value_type=int,
    )
    batch_size: int = option(64, "Images a step; the last partial batch is dropped.", minimum=1)
    learning_rate: float = option(2e-4, "Adam's step size, all networks.", minimum=1e-8)
    beta_1: float = option(0.5, "Adam's first decay rate, all networks.", minimum=0, maximum=0.9999)
    seed: int = option(0, "Seed of the split, the weights and the order of images.", minimum=0, maximum=LARGEST_SEED)
    resize_rule: str = option(
        "stretch",
        "How an image becomes square: stretch it, letterbox (keep the aspect ratio, fill the border) or crop "
        "(shorter side to size, then the centre, as the paper's authors do).",
        choices=("stretch", "letterbox", "crop"),
    )
    contrast_rule: str = option(
        "as_is",
        "fitted brings every image to the same mean and spread, so that lamp and exposure do not count, but stretches "
        "none further than it fits; normalised does whether it fits or not, as in earlier versions.",
        choices=("as_is", "fitted", "normalised"),
    )
    validation_fraction: float | None = option(
        None,
        "Share of the good training images held back for the threshold and for early stopping; when not given a tenth, "
        "but at least 20 images or a third of them.",
        minimum=0.01,
        maximum=0.5,
        value_type=float,
    )
    false_alarm_rate: float = option(
        0.01,
        "Share of good images that may be called anomalous; sets the threshold on held-back good images.",
        minimum=0.0001,
        maximum=0.5,
    )
    max_train_images: int | None = option(
        None, "Train on at most so many images, drawn with the seed.", minimum=1, value_type=int
    )
    early_stop_patience: int = option(
        0,
        "Stop when what is measured on held-back good images has not improved for so many epochs, and keep the best "
        "weights; 0 trains all epochs and keeps the last.",
        minimum=0,
    )
    score: str | None = option(
        None,
        "What decides: latent_l2 (the authors' code; usual in the paper's recipes), latent_l1 (the paper's text), "
        "reconstruction_l1, relative_latent_l2 (latent_l2 by how easy the image is to reconstruct; usual in "
        "inspection), feature_l2 (needs the discriminator, "
        "so it cannot be exported), weighted_sum (weights of the paper's loss), or a sum such as "
        "latent_l2=1,reconstruction_l1=0.5.",
        value_type=str,
    )
    score_factor: str = option(
        "none",
        "image_statistics makes the score the geometric mean of what --score says and of how unusual brightness and "
        "texture of the image's parts are against those of the good training images.",
        choices=("none", "image_statistics"),
    )
    xla: bool = option(
        True, "Compile the training step with XLA: faster for the paper's model, slower for window_ganomaly."
    )

    def __post_init__(self) -> None:
        check_options(self)


def resolve_options(recipe: str, given: Mapping[str, Any]) -> tuple[TrainingOptions, ModelOptions]:
    """Lays the given values over a recipe's over the defaults.

    Args:
        recipe: A name in `RECIPES`.
        given: Field name to value; `None` counts as not given.

    Raises:
        OptionError: Unknown recipe, unknown option, one without effect, or a value outside its bounds.
    """
    if recipe not in RECIPES:
        raise OptionError(f"--recipe is {recipe!r}; expected one of {', '.join(RECIPES)}.")
    values = {**RECIPES[recipe], **{name: value for name, value in given.items() if value is not None}}
    values["recipe"] = recipe
    groups: list[dict[str, Any]] = []
    for group in (TrainingOptions, ModelOptions):
        names = {field.name for field in dataclasses.fields(group)}
        groups.append({name: values.pop(name) for name in list(values) if name in names})
    if values:
        raise OptionError(f"unknown option {', '.join(sorted(values))}; see `tfganomaly train --help`.")
    training, model = TrainingOptions(**groups[0]), ModelOptions(**groups[1])
    _check_against_the_model(training, model, given)
    return training, model


def _check_against_the_model(training: TrainingOptions, model: ModelOptions, given: Mapping[str, Any]) -> None:
    """Refuses what the model has no part for or cannot work with.

    Raises:
        OptionError: Names the option and the models, with their recipes, that take it.
    """
    traits = MODELS[training.model]
    said = f"the model {training.model} (with the recipe {training.recipe})"
    unused = sorted(name for name in traits.without_effect if given.get(name) is not None)
    if unused:
        takers = models_and_recipes(lambda other: unused[0] not in other.without_effect)
        flag = "--" + unused[0].replace("_", "-")
        raise OptionError(f"{flag} has no effect on {said}. Leave it out, or take {takers}.")
    contrast_rule = training.contrast_rule
    if traits.needed_contrast_rule not in (None, contrast_rule):
        takers = models_and_recipes(lambda other: other.needed_contrast_rule in (None, contrast_rule))
        raise OptionError(
            f"--contrast-rule is {contrast_rule}; {said} learns from images of the same mean and spread, and expects "
            f"{traits.needed_contrast_rule}. Give that, or take {takers}."
        )
    if traits.needs_power_of_two and model.image_size & (model.image_size - 1):
        takers = models_and_recipes(lambda other: not other.needs_power_of_two)
        raise OptionError(
            f"--image-size is {model.image_size}; {said} expects a power of two from {SMALLEST_IMAGE_SIZE_PX} (32, 64, "
            f"128, ...), since every stage halves the image. Give one, or take {takers}."
        )


def models_and_recipes(suits: Callable[[ModelTraits], bool]) -> str:
    """The models that suit, each with the recipes that train it: "the model ganomaly (recipe paper or paper-small)"."""
    recipes: dict[str, list[str]] = {name: [] for name, traits in MODELS.items() if suits(traits)}
    for recipe, changes in RECIPES.items():
        name = changes.get("model", TrainingOptions.model)
        if name in recipes:
            recipes[name].append(recipe)
    return " or ".join(
        f"the model {name}" + (f" (recipe {' or '.join(trained_by)})" if trained_by else "")
        for name, trained_by in recipes.items()
    )
