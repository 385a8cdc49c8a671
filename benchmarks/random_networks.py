"""The paper's network with drawn weights, in the forms whose cost is compared: latency does not depend on training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tf_keras

from export.lowering import LoweredGraph, lower_graph
from export.transposed_convolutions import replace_transposed_convolutions


@dataclass(frozen=True)
class Network:
    """What a network is but for its weights.

    Attributes:
        image_size: Side of its input in pixels.
        channels: Channels of its input.
        width: Channels after its first convolution (ngf).
        latent_size: Length of the latent vector (nz).
        leaky_relu_slope: Of its encoders' activation; 0 is ReLU.
    """

    image_size: int
    channels: int
    width: int
    latent_size: int
    leaky_relu_slope: float = 0.2

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.image_size, self.image_size, self.channels

    def __str__(self) -> str:
        size = self.image_size
        return f"{size} x {size} x {self.channels}, width {self.width}, latent size {self.latent_size}"


def draw_network(network: Network, seed: int = 0) -> keras.Model:
    """Builds the inference graph with kernels and batch norm statistics of the size that training gives them."""
    from tfganomaly.models.ganomaly import Ganomaly
    from tfganomaly.options import ModelOptions

    options = ModelOptions(
        image_size=network.image_size,
        channels=network.channels,
        latent_size=network.latent_size,
        generator_width=network.width,
        discriminator_width=2,
        leaky_relu_slope=network.leaky_relu_slope,
    )
    model = Ganomaly(options).inference_graph()
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 2.0, variable.shape))
        elif variable.name == "kernel":
            variable.assign(rng.normal(0, 1.2 / np.sqrt(np.prod(variable.shape[:-1])), variable.shape))
        else:
            variable.assign(rng.normal(0, 0.3, variable.shape))
    return model


def draw_images(network: Network, count: int, seed: int = 1) -> np.ndarray:
    """Noise over squares of 4 pixels: float32 (count, H, W, C) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    side, channels = network.image_size, network.channels
    squares = rng.uniform(-1, 1, (count, side // 4, side // 4, channels)).repeat(4, axis=1).repeat(4, axis=2)
    return np.clip(squares + rng.normal(0, 0.1, squares.shape), -1, 1).astype(np.float32)


def forms(network: Network) -> dict[str, LoweredGraph]:
    """The graph as export writes it, and what each of its choices changes, by name."""
    plain = lower_graph(draw_network(network))
    exported = replace_transposed_convolutions(plain)
    relu = draw_network(dataclasses.replace(network, leaky_relu_slope=0.0))
    return {
        "as exported": exported,
        "transposed convolutions kept": plain,
        "PReLU": _with_prelu(exported),
        "fused ReLU (another function)": replace_transposed_convolutions(lower_graph(relu)),
        "no reconstruction output": LoweredGraph(
            tf_keras.Model(exported.model.input, exported.model.outputs[:2]), exported.output_names[:2]
        ),
    }


def _with_prelu(graph: LoweredGraph) -> LoweredGraph:
    def clone(layer: Any) -> Any:
        if not isinstance(layer, tf_keras.layers.LeakyReLU):
            return layer.__class__.from_config(layer.get_config())
        slope = tf_keras.initializers.Constant(float(layer.alpha))
        return tf_keras.layers.PReLU(slope, shared_axes=[1, 2], name=layer.name)

    model = tf_keras.models.clone_model(graph.model, clone_function=clone)
    for layer in graph.model.layers:
        if layer.get_weights():
            model.get_layer(layer.name).set_weights(layer.get_weights())
    return LoweredGraph(model, graph.output_names)
