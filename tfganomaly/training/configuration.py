"""Decides what a training does: from options and data, or at a resume from what the run was begun with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_runtime.scoring import ScoreRule
from tfganomaly.data.items import InspectionDataset
from tfganomaly.data.loading import count_channels
from tfganomaly.data.sources import canonical_source, open_dataset
from tfganomaly.errors import OptionError, RunError
from tfganomaly.models.catalogue import MODELS
from tfganomaly.options import models_and_recipes, resolve_options
from tfganomaly.score_choice import USUAL_SCORE_RULES, choose_score
from tfganomaly.training.run_folder import RunConfig, RunFolder


def new_config(
    source: str, recipe: str, given: Mapping[str, Any], archive: Path | None
) -> tuple[RunConfig, InspectionDataset]:
    """The configuration of a training that begins, `channels` decided, and its data.

    Args:
        source: As `tfganomaly.data.sources.open_dataset` takes it.
        recipe: The set of defaults.
        given: Fields of `TrainingOptions` and `ModelOptions` that differ from the recipe.
        archive: A local file for a named data set.

    Raises:
        OptionError: An option is unknown, out of its bounds, or has no effect on the model.
        DataError: There is no such data, or it is empty, mixed up or damaged.
    """
    training, model = resolve_options(recipe, given)
    dataset = open_dataset(
        source, archive=archive, validation_fraction=training.validation_fraction, seed=training.seed
    )
    if model.channels is None:
        model = dataclasses.replace(model, channels=count_channels(dataset.train))
    rule = _chosen_score(training.score, USUAL_SCORE_RULES[training.model], training.model)
    config = RunConfig(training, model, dataset.source, str(archive.resolve()) if archive else None, rule)
    return config, dataset


def resumed_config(
    folder: RunFolder, source: str, recipe: str | None, given: Mapping[str, Any], archive: Path | None
) -> RunConfig:
    """The run's own configuration; of the options given again only the epochs and the deciding score may differ.

    So may the place of the archive, whose contents are compared later. Epochs cannot be taken back.

    Raises:
        OptionError: Another option differs, or there would be fewer epochs than are finished.
        RunError: There is no run, it is damaged, or it was begun with other data.
        DataError: `source` names a collection, but no class of it.
    """
    config = folder.read_config()
    recorded = {**dataclasses.asdict(config.training), **dataclasses.asdict(config.model)}
    for name, value in {**given, "recipe": recipe}.items():
        if value is not None and value != recorded[name] and name not in ("epochs", "score"):
            flag = "--" + name.replace("_", "-")
            raise OptionError(
                f"{flag} is {value}, but the run '{folder.path}' was begun with {recorded[name]}. Leave it out, or "
                f"train into a new folder."
            )
    if canonical_source(source) != canonical_source(config.data_source):
        raise RunError(
            f"the run '{folder.path}' was begun with the data '{config.data_source}', not '{source}'. Name the same "
            f"data, or train into a new folder."
        )
    finished, epochs = len(folder.read_history()), given.get("epochs")
    if epochs is not None and epochs < finished:
        raise OptionError(
            f"--epochs is {epochs}, but the run '{folder.path}' has been trained for {finished} already. Give at least "
            f"{finished}, leave it out, or train into a new folder."
        )
    changed = {name: given[name] for name in ("epochs", "score") if given.get(name) is not None}
    return dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, **changed),
        score_rule=_chosen_score(changed.get("score"), config.score_rule, config.training.model),
        data_archive=str(archive.resolve()) if archive else config.data_archive,
    )


def _chosen_score(text: str | None, usual: ScoreRule, model: str) -> ScoreRule:
    rule = choose_score(text, usual)
    if rule.needs_discriminator and not MODELS[model].has_discriminator:
        others = models_and_recipes(lambda other: other.has_discriminator)
        raise OptionError(
            f"--score is {text}, which needs the discriminator, and the model {model} has none. Take latent_l2, "
            f"latent_l1, reconstruction_l1 or relative_latent_l2, or {others}."
        )
    return rule
