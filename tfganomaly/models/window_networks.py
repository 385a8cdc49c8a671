"""The networks of the window-wise GANomaly: fully convolutional, one latent vector for each window of the image.

The shapes in the comments are those of a 128 x 128 image with width 16 and latent size 64. Windows stand 8 pixels
apart; what a window's vector knows of the rest of the image comes from two coarser stages that are added back in.
"""

from __future__ import annotations

import keras
from keras import layers

WINDOW_STRIDE_PX = 8
COARSEST_STRIDE_PX = 32
# Quicker than Keras's 0.99: a training is some thousand steps.
BATCH_NORM_MOMENTUM = 0.95


def window_encoder(image_shape: tuple[int, int, int], latent_size: int, width: int, name: str) -> keras.Model:
    """Encodes an image to a map of latent vectors.

    Args:
        image_shape: (H, W, C), both sides divisible by `COARSEST_STRIDE_PX`.
        latent_size: Length of a latent vector.
        width: Channels after the first convolution.
        name: The network's name, a prefix of its layers.

    Returns:
        A model from (B, H, W, C) to (B, H / 8, W / 8, latent_size).
    """
    image = keras.Input(image_shape, name=f"{name}_image")
    tensor = _halved(image, width, f"{name}_stride2")  # (B, 64, 64, 16)
    tensor = _halved(tensor, 2 * width, f"{name}_stride4")  # (B, 32, 32, 32)
    tensor = _halved(tensor, 4 * width, f"{name}_stride8")  # (B, 16, 16, 64)
    fine = _refined(tensor, 4 * width, f"{name}_stride8_refined")
    tensor = _halved(fine, 4 * width, f"{name}_stride16")  # (B, 8, 8, 64)
    middle = _refined(tensor, 4 * width, f"{name}_stride16_refined")
    tensor = _halved(middle, 6 * width, f"{name}_stride32")  # (B, 4, 4, 96)
    coarse = _refined(tensor, 6 * width, f"{name}_stride32_refined")
    middle = _joined(middle, coarse, 4 * width, f"{name}_context16")  # (B, 8, 8, 64)
    middle = _refined(middle, 4 * width, f"{name}_context16_refined")
    fine = _joined(fine, middle, 4 * width, f"{name}_context8")  # (B, 16, 16, 64)
    fine = _refined(fine, 4 * width, f"{name}_context8_refined")
    latent = layers.Conv2D(latent_size, 1, name=f"{name}_latent_conv")(fine)  # (B, 16, 16, 64)
    return keras.Model(image, latent, name=name)


def window_decoder(image_shape: tuple[int, int, int], latent_size: int, width: int, name: str) -> keras.Model:
    """Decodes a map of latent vectors to an image.

    Returns:
        A model from (B, H / 8, W / 8, latent_size) to (B, H, W, C), values in [-1, 1].
    """
    height, width_px, channels = image_shape
    latent = keras.Input((height // WINDOW_STRIDE_PX, width_px // WINDOW_STRIDE_PX, latent_size), name=f"{name}_latent")
    tensor = _mixed(latent, 4 * width, f"{name}_stride8_mixed")  # (B, 16, 16, 64)
    tensor = _doubled(tensor, 2 * width, f"{name}_stride4")  # (B, 32, 32, 32)
    tensor = _doubled(tensor, width, f"{name}_stride2")  # (B, 64, 64, 16)
    tensor = layers.Conv2DTranspose(channels, 4, 2, "same", name=f"{name}_image_conv")(tensor)  # (B, 128, 128, C)
    image = layers.Activation("tanh", name=f"{name}_tanh")(tensor)
    return keras.Model(latent, image, name=name)


def _halved(tensor: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    return _convolved(tensor, filters, 4, 2, name)


def _refined(tensor: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    return _convolved(tensor, filters, 3, 1, name)


def _mixed(tensor: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    return _convolved(tensor, filters, 1, 1, name)


def _convolved(tensor: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    convolution = layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=f"{name}_conv")
    return _relu(_norm(convolution(tensor), name), name)


def _doubled(tensor: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    convolution = layers.Conv2DTranspose(filters, 4, 2, "same", use_bias=False, name=f"{name}_conv")
    return _relu(_norm(convolution(tensor), name), name)


def _joined(fine: keras.KerasTensor, coarse: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Adds the coarse map, doubled, to the fine one."""
    convolution = layers.Conv2DTranspose(filters, 4, 2, "same", use_bias=False, name=f"{name}_conv")
    doubled = _norm(convolution(coarse), name)
    return _relu(layers.Add(name=f"{name}_add")([fine, doubled]), name)


def _norm(tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{name}_norm")(tensor)


def _relu(tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(name=f"{name}_relu")(tensor)
