"""The models by name. What a new one needs beside a line here stands at the end of `docs/architecture.md`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from tfganomaly.options import ModelOptions

if TYPE_CHECKING:
    from tfganomaly.models.contract import AnomalyModel

MODEL_CLASSES = {
    "ganomaly": "tfganomaly.models.ganomaly:Ganomaly",
    "window_ganomaly": "tfganomaly.models.window_ganomaly:WindowGanomaly",
}


def create_model(name: str, options: ModelOptions) -> AnomalyModel:
    """Builds the model `name` with its networks initialised; `name` is a key of `MODEL_CLASSES`."""
    module_name, class_name = MODEL_CLASSES[name].split(":")
    model_class: type[AnomalyModel] = getattr(importlib.import_module(module_name), class_name)
    return model_class(options)


def register_all() -> None:
    """Imports every model's class, so that Keras can load whichever a file holds."""
    for path in MODEL_CLASSES.values():
        importlib.import_module(path.split(":")[0])
