"""Convolutions that run as one matrix product where the kernel covers the whole map.

The layers between the 4 x 4 map and the latent vector are convolutions in name only. XLA on a CPU runs them so, and
their gradients as convolutions over a padded 1 x 1 map, nearly all of which is zeros. As matrix products they take a
twentieth off a training step. Weights and results are those of Keras's layers; on a larger map, where there are several
windows, they are Keras's layers.
"""

from __future__ import annotations

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="tfganomaly")
class WholeMapConv2D(layers.Conv2D):
    """`Conv2D` without padding, stride or bias."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """(B, h, w, C) to (B, 1, 1, filters) where the kernel is h x w."""
        height, width, channels, filters = self.kernel.shape
        if tuple(inputs.shape[1:3]) != (height, width):
            return super().call(inputs)
        flat = ops.reshape(inputs, (-1, height * width * channels))
        product = ops.matmul(flat, ops.reshape(self.kernel, (height * width * channels, filters)))
        return ops.reshape(product, (-1, 1, 1, filters))


@keras.saving.register_keras_serializable(package="tfganomaly")
class WholeMapConv2DTranspose(layers.Conv2DTranspose):
    """`Conv2DTranspose` without padding, stride or bias."""

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """(B, 1, 1, C) to (B, h, w, filters), the kernel's h x w."""
        height, width, filters, channels = self.kernel.shape
        if tuple(inputs.shape[1:3]) != (1, 1):
            return super().call(inputs)
        kernel = ops.transpose(ops.reshape(self.kernel, (height * width * filters, channels)))
        product = ops.matmul(ops.reshape(inputs, (-1, channels)), kernel)
        return ops.reshape(product, (-1, height, width, filters))
