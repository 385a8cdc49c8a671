"""Reads which score a user wants to decide: one component by name, or a weighted sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edge_runtime.errors import MetadataError
from edge_runtime.scoring import COMPONENTS, WEIGHTED_SUM, ScoreRule
from tfganomaly.errors import OptionError
from tfganomaly.models.catalogue import MODELS

USUAL_SCORE_RULES: Mapping[str, ScoreRule] = {name: ScoreRule(**traits.usual_score) for name, traits in MODELS.items()}
"""How the score of each model is made when the user asks for nothing else; known without TensorFlow."""


def choose_score(text: str | None, usual: ScoreRule) -> ScoreRule:
    """The rule that a `--score` text asks for.

    Args:
        text: A component such as "latent_l1"; "weighted_sum", which is `edge_runtime.scoring.WEIGHTED_SUM`; a sum such
            as "latent_l2=1,reconstruction_l1=0.5"; or None, which leaves the usual rule.
        usual: The rule of the model or recipe; its pooling and map stay.

    Raises:
        OptionError: An unknown name, a weight that is no number, or weights that make no score.
    """
    if text is None:
        return usual
    if text == "weighted_sum":
        return replace(usual, components=dict(WEIGHTED_SUM))
    components: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = (word.strip() for word in part.partition("="))
        try:
            components[name] = float(weight) if weight else 1.0
        except ValueError:
            raise OptionError(
                f"--score gives '{name}' the weight '{weight}'; expected a number, such as 0.5."
            ) from None
        if name not in COMPONENTS:
            raise OptionError(
                f"--score names '{name}'; expected {', '.join(COMPONENTS)}, weighted_sum, or a sum such as "
                f"latent_l2=1,reconstruction_l1=0.5."
            )
    try:
        return replace(usual, components=components)
    except MetadataError as error:
        raise OptionError(f"--score is '{text}'. {error}") from error
