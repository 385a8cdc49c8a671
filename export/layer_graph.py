"""Reads a flat functional Keras 3 model as a graph of calls of layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from edge_runtime.artefact import OUTPUT_NAMES
from export.errors import ExportError

Call = tuple[str, int]
"""One call of one layer: the layer's name, and which of its calls."""


@dataclass(frozen=True)
class LayerGraph:
    """A functional model as calls of layers, in an order in which each follows its sources.

    Attributes:
        layers: The layer of each call.
        sources: The calls whose tensors each call reads.
        inputs: The calls of the input layers.
        outputs: The call that makes each output, by name.
    """

    layers: Mapping[Call, keras.layers.Layer]
    sources: Mapping[Call, tuple[Call, ...]]
    inputs: tuple[Call, ...]
    outputs: Mapping[str, Call]

    @property
    def readers(self) -> Mapping[Call, int]:
        """How many calls read each call's tensor."""
        return Counter(source for needed in self.sources.values() for source in needed)


def read_graph(model: keras.Model) -> LayerGraph:
    """Reads the calls out of a functional model's configuration, the format of `.keras` files.

    Raises:
        ExportError: The model is not functional, not flat, or its inputs and outputs are not those of an
            encoder-decoder-encoder.
    """
    config = model.get_config()
    if "input_layers" not in config:
        raise ExportError(
            f"'{model.name}' is a {type(model).__name__}; expected a flat functional keras.Model as "
            f"`inference_graph()` returns it."
        )
    pending = {
        (entry["name"], number): tuple(_tensor_sources(node))
        for entry in config["layers"]
        for number, node in enumerate(entry["inbound_nodes"] or [{}])
    }
    layers: dict[Call, keras.layers.Layer] = {}
    sources: dict[Call, tuple[Call, ...]] = {}
    while pending:
        ready = [call for call, needed in pending.items() if all(source in layers for source in needed)]
        for call in ready:
            layers[call] = model.get_layer(call[0])
            sources[call] = pending.pop(call)
            if isinstance(layers[call], keras.Model):
                raise ExportError(
                    f"'{call[0]}' is a model inside the inference graph; expected a flat graph of layers, since "
                    f"quantization-aware training refuses nested models."
                )
    inputs = tuple(_calls_in(config["input_layers"]))
    outputs = outputs_by_name(
        {name: next(_calls_in(entry)) for name, entry in config["output_layers"].items()}
        if isinstance(config["output_layers"], Mapping)
        else list(_calls_in(config["output_layers"]))
    )
    if len(inputs) != 1:
        raise ExportError(f"The inference graph has {len(inputs)} inputs; expected one, the image.")
    return LayerGraph(layers, sources, inputs, outputs)


def _tensor_sources(node: Any) -> Iterator[Call]:
    """Yields the calls whose tensors stand in a serialized call's arguments."""
    if isinstance(node, Mapping):
        if node.get("class_name") == "__keras_tensor__":
            name, number, _ = node["config"]["keras_history"]
            yield name, number
        else:
            for value in node.values():
                yield from _tensor_sources(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _tensor_sources(value)


def _calls_in(entry: Any) -> Iterator[Call]:
    """Yields the calls of `input_layers` or `output_layers`: [name, call, tensor], alone, nested or by name."""
    if isinstance(entry, Mapping):
        for value in entry.values():
            yield from _calls_in(value)
    elif entry and isinstance(entry[0], str):
        yield entry[0], entry[1]
    else:
        for value in entry:
            yield from _calls_in(value)


def outputs_by_name(outputs: Any) -> dict[str, Any]:
    """Names a graph's outputs, which are a dict already or a list in the order of `OUTPUT_NAMES`.

    Raises:
        ExportError: The outputs are not those of an encoder-decoder-encoder.
    """
    if not isinstance(outputs, Mapping):
        values = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        outputs = dict(zip(OUTPUT_NAMES, values, strict=False)) if len(values) == len(OUTPUT_NAMES) else {}
    named = {name: outputs[name] for name in OUTPUT_NAMES if name in outputs}
    if len(named) != len(outputs) or not {"latent", "reconstructed_latent"} <= set(named):
        raise ExportError(
            f"The inference graph's outputs are {sorted(outputs) or 'not named'}; expected latent, "
            f"reconstructed_latent and, where the model has one, reconstruction."
        )
    return named
