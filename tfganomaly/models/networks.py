"""The networks of GANomaly as chains of Keras layers, each built by one function.

The shapes in the comments are those of a 32 x 32 image with width 64 and latent size 100. Nothing has a bias, as
in the authors' code; weights start at N(0, 0.02) and batch-norm scales at N(1, 0.02).
"""

from __future__ import annotations

import keras
from keras import layers

from tfganomaly.models.layers import WholeMapConv2D, WholeMapConv2DTranspose

INITIAL_STDDEV = 0.02
# PyTorch's momentum 0.1 weighs the new value, Keras's the old one.
BATCH_NORM_MOMENTUM = 0.9
BATCH_NORM_EPSILON = 1e-5
SMALLEST_MAP = 4


def encoder(
    image_size: int,
    channels: int,
    latent_size: int,
    width: int,
    extra_layers: int = 0,
    slope: float = 0.2,
    name: str = "encoder",
) -> keras.Model:
    """Encodes an image to a latent vector.

    Args:
        image_size: Side of the input in pixels, a power of two, 32 or more.
        channels: Channels of the input.
        latent_size: Length of the latent vector.
        width: Channels after the first convolution; each halving of the image doubles them.
        extra_layers: 3 x 3 convolutions after the first one, at half the image's size.
        slope: Of the activation below zero; 0 is ReLU.
        name: The network's name, a prefix of its variables.

    Returns:
        A model from (B, image_size, image_size, channels) to (B, 1, 1, latent_size).
    """
    image = keras.Input((image_size, image_size, channels), name=f"{name}_image")
    feature = _encoder_stages(image, width, extra_layers, slope, name)  # (B, 4, 4, 256)
    latent = _whole_map_conv(latent_size, f"{name}_latent")(feature)  # (B, 1, 1, 100)
    return keras.Model(image, latent, name=name)


def decoder(
    image_size: int, channels: int, latent_size: int, width: int, extra_layers: int = 0, name: str = "decoder"
) -> keras.Model:
    """Decodes a latent vector to an image; the encoder's mirror.

    Returns:
        A model from (B, 1, 1, latent_size) to (B, image_size, image_size, channels), values in [-1, 1].
    """
    latent = keras.Input((1, 1, latent_size), name=f"{name}_latent")
    size, filters = SMALLEST_MAP, width * image_size // (2 * SMALLEST_MAP)
    tensor = _whole_map_transposed_conv(filters, f"{name}_up{size}")(latent)  # (B, 4, 4, 256)
    tensor = _norm_relu(tensor, f"{name}_up{size}")
    while size < image_size // 2:
        size, filters = size * 2, filters // 2
        tensor = _transposed_conv(filters, f"{name}_up{size}")(tensor)  # (B, 8, 8, 128), (B, 16, 16, 64)
        tensor = _norm_relu(tensor, f"{name}_up{size}")
    for index in range(extra_layers):
        tensor = _conv(filters, f"{name}_extra{index}", kernel=3, stride=1)(tensor)
        tensor = _norm_relu(tensor, f"{name}_extra{index}")
    tensor = _transposed_conv(channels, f"{name}_up{image_size}")(tensor)  # (B, 32, 32, channels)
    image = layers.Activation("tanh", name=f"{name}_tanh")(tensor)
    return keras.Model(latent, image, name=name)


def discriminator(
    image_size: int,
    channels: int,
    width: int,
    extra_layers: int = 0,
    slope: float = 0.2,
    name: str = "discriminator",
) -> keras.Model:
    """Judges real against reconstructed: the encoder with one output.

    Returns:
        A model from (B, image_size, image_size, channels) to `[logit, feature]`: the logit (B, 1) of "real", whose
        sigmoid is the paper's D(x), and the feature f(x), the (B, 4, 4, 256) map before the last convolution.
    """
    image = keras.Input((image_size, image_size, channels), name=f"{name}_image")
    feature = _encoder_stages(image, width, extra_layers, slope, name)  # (B, 4, 4, 256)
    logit = _whole_map_conv(1, f"{name}_logit")(feature)  # (B, 1, 1, 1)
    logit = layers.Reshape((1,), name=f"{name}_flat_logit")(logit)
    return keras.Model(image, [logit, feature], name=name)


def draw_initial_weights(network: keras.Model, seed_pair: object) -> None:
    """Draws a network's trainable weights anew, in graph mode as well.

    As the authors do after the discriminator has collapsed: kernels N(0, 0.02), batch-norm scales N(1, 0.02),
    batch-norm offsets 0; running statistics and the optimiser's moments stay.

    Args:
        network: Whose weights are drawn.
        seed_pair: Two integers (2,), a tensor or a tuple. The same pair draws the same weights (others under XLA than
            without it: its normal distribution is computed differently).
    """
    import tensorflow as tf

    for index, variable in enumerate(network.trainable_variables):
        if variable.name == "beta":
            drawn = tf.zeros(variable.shape)
        else:
            seed = tf.random.experimental.stateless_fold_in(tf.cast(seed_pair, tf.int32), index)
            mean = 1.0 if variable.name == "gamma" else 0.0
            drawn = tf.random.stateless_normal(variable.shape, seed, mean, INITIAL_STDDEV)
        variable.assign(drawn)


def _encoder_stages(
    image: keras.KerasTensor, width: int, extra_layers: int, slope: float, name: str
) -> keras.KerasTensor:
    """Halves the image down to 4 x 4, doubling the channels from the second stage on."""
    size, filters = image.shape[1] // 2, width
    tensor = _conv(filters, f"{name}_down{size}")(image)  # (B, 16, 16, 64)
    tensor = _leaky_relu(slope, f"{name}_down{size}")(tensor)
    for index in range(extra_layers):
        tensor = _conv(filters, f"{name}_extra{index}", kernel=3, stride=1)(tensor)
        tensor = _batch_norm(f"{name}_extra{index}")(tensor)
        tensor = _leaky_relu(slope, f"{name}_extra{index}")(tensor)
    while size > SMALLEST_MAP:
        size, filters = size // 2, filters * 2
        tensor = _conv(filters, f"{name}_down{size}")(tensor)  # (B, 8, 8, 128), (B, 4, 4, 256)
        tensor = _batch_norm(f"{name}_down{size}")(tensor)
        tensor = _leaky_relu(slope, f"{name}_down{size}")(tensor)
    return tensor


def _norm_relu(tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(name=f"{name}_relu")(_batch_norm(name)(tensor))


def _conv(filters: int, name: str, kernel: int = 4, stride: int = 2) -> layers.Layer:
    return layers.Conv2D(
        filters, kernel, stride, "same", use_bias=False, kernel_initializer=_normal(), name=f"{name}_conv"
    )


def _transposed_conv(filters: int, name: str) -> layers.Layer:
    return layers.Conv2DTranspose(
        filters, 4, 2, "same", use_bias=False, kernel_initializer=_normal(), name=f"{name}_conv"
    )


def _whole_map_conv(filters: int, name: str) -> layers.Layer:
    return WholeMapConv2D(
        filters, SMALLEST_MAP, 1, "valid", use_bias=False, kernel_initializer=_normal(), name=f"{name}_conv"
    )


def _whole_map_transposed_conv(filters: int, name: str) -> layers.Layer:
    return WholeMapConv2DTranspose(
        filters, SMALLEST_MAP, 1, "valid", use_bias=False, kernel_initializer=_normal(), name=f"{name}_conv"
    )


def _batch_norm(name: str) -> layers.Layer:
    return layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM,
        epsilon=BATCH_NORM_EPSILON,
        gamma_initializer=_normal(mean=1.0),
        name=f"{name}_norm",
    )


def _leaky_relu(slope: float, name: str) -> layers.Layer:
    if not slope:
        return layers.ReLU(name=f"{name}_relu")
    return layers.LeakyReLU(negative_slope=slope, name=f"{name}_leaky_relu")


def _normal(mean: float = 0.0) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(mean, INITIAL_STDDEV)
