"""Builds the models of the catalogue by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tfganomaly.models.catalogue import MODELS
from tfganomaly.options import ModelOptions

if TYPE_CHECKING:
    from tfganomaly.models.contract import AnomalyModel


def create_model(name: str, options: ModelOptions) -> AnomalyModel:
    """Builds the model `name` with its networks initialised; `name` is a key of `MODELS`."""
    module_name, class_name = MODELS[name].class_path.split(":")
    model_class: type[AnomalyModel] = getattr(importlib.import_module(module_name), class_name)
    return model_class(options)


def register_all() -> None:
    """Imports every model's class, so that Keras can load whichever a file holds."""
    for traits in MODELS.values():
        importlib.import_module(traits.class_path.split(":")[0])
