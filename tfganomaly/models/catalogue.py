"""The models by name, with what the rest must know of each before it is built; importing this costs nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ModelTraits:
    """What is known of a model without TensorFlow.

    Attributes:
        class_path: Module and class, "package.module:Class".
        has_discriminator: Whether a score can be made from the discriminator's feature.
        usual_score: Arguments of the `ScoreRule` when the user asks for no other score; none: the rule's defaults.
        without_effect: Names of the model options that it has no part for; to take them and do nothing would be a lie.
        needed_contrast_rule: The only contrast rule it learns from, or None where any will do.
        needs_power_of_two: Whether the side of its input must be a power of two.
    """

    class_path: str
    has_discriminator: bool
    usual_score: Mapping[str, Any] = field(default_factory=dict)
    without_effect: frozenset[str] = frozenset()
    needed_contrast_rule: str | None = None
    needs_power_of_two: bool = False


MODELS: Mapping[str, ModelTraits] = {
    "ganomaly": ModelTraits(
        class_path="tfganomaly.models.ganomaly:Ganomaly",
        has_discriminator=True,
        needs_power_of_two=True,
    ),
    "window_ganomaly": ModelTraits(
        class_path="tfganomaly.models.window_ganomaly:WindowGanomaly",
        has_discriminator=False,
        usual_score={"components": {"relative_latent_l2": 1.0}, "pooling": "top", "map_source": "latent"},
        without_effect=frozenset(
            {"adversarial_loss_weight", "discriminator_width", "extra_layers", "leaky_relu_slope"}
        ),
        needed_contrast_rule="fitted",
    ),
}
