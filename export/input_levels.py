"""Lets an int8 file take each grey value as it is: the level is the pixel less 128.

The float graph takes x = p / 127.5 - 1, in which every one of the 256 grey values p lies half-way between two levels of
a step of 1/127.5. An int8 graph takes x' = x - 1/255 = (p - 128) / 127.5 instead, a level for each of them, and the
convolution that reads the picture adds the missing half a grey level again in its bias. Where that convolution pads,
zero stands for 1/255, which is all that remains of the difference.

A step of 1/128, which also keeps the values off half-way, leaves them up to half a grey level off, dark ones darker and
bright ones brighter with a jump of two levels at mid-grey. Where contrast is stretched around mid-grey that was two
fifths of the variance of an int8 score's error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tf_keras

from export.lazy_images import ImageSequence, LazyImages
from export.lowering import LoweredGraph

HALF_GREY_LEVEL = 1 / 255
LOWEST_INT8_INPUT, HIGHEST_INT8_INPUT = -128 / 127.5, 127 / 127.5


def int8_inputs(images: Any) -> Any:
    """Return what an int8 graph takes for scaled images.

    Args:
        images: float32 `(B, H, W, C)` in [-1, 1], an array or a tensor.

    Returns:
        The same half a grey level darker, in [-128/127.5, 127/127.5]: every pixel on a level of the int8 input.
    """
    return images - np.float32(HALF_GREY_LEVEL)


def calibration_inputs(images: ImageSequence) -> LazyImages:
    """Make of good images what ranges are taken from: as an int8 graph takes them, with a range that two pixels pin.

    Args:
        images: float32 `(B, H, W, C)` in [-1, 1].

    Returns:
        The same in [-128/127.5, 127/127.5] with both ends among the values of the first, whatever the images hold.
    """

    def make(index: int) -> np.ndarray:
        inputs: np.ndarray = int8_inputs(images[index : index + 1][0])
        if index == 0:
            inputs.flat[0], inputs.flat[1] = LOWEST_INT8_INPUT, HIGHEST_INT8_INPUT
        return inputs

    return LazyImages(len(images), make)


def taking_int8_inputs(graph: LoweredGraph) -> LoweredGraph:
    """Return the graph for `int8_inputs`: the function of `graph`, with biases that make up for half a grey level.

    Args:
        graph: Its first layers, if they are convolutions or dense, give or get a bias. To others the picture is half a
            grey level darker.

    Returns:
        A graph with weights of its own; `graph` is not touched.
    """
    readers = [node.outbound_layer for node in graph.model.layers[0].outbound_nodes]
    making_up = {layer.name for layer in readers if _sees_every_input_alike(layer)}

    def copied(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in making_up:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    model = tf_keras.models.clone_model(graph.model, clone_function=copied)
    for layer, copy in zip(graph.model.layers, model.layers, strict=True):
        weights = layer.get_weights()
        if layer.name in making_up:
            kernel, bias = weights if layer.use_bias else (*weights, 0.0)
            weights = [kernel, bias + HALF_GREY_LEVEL * kernel.sum(axis=tuple(range(kernel.ndim - 1)))]
        copy.set_weights(weights)
    return LoweredGraph(model, graph.output_names)


def _sees_every_input_alike(layer: Any) -> bool:
    """Whether every output sums the inputs with the whole kernel, unlike in a transposed convolution."""
    return type(layer) in (tf_keras.layers.Conv2D, tf_keras.layers.Dense)
