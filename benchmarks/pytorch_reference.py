"""GANomaly's networks and training step in PyTorch, arranged as its authors do: what ours is held against.

Written for this project from the paper and from facts about the authors' program (its state of 2019-10-09 and later).
The parity test takes its figures from here, the throughput benchmark its speed. The step keeps what costs the authors
time: the discriminator runs anew on images and reconstructions for each loss, and the generator's backward pass fills
the discriminator's gradients too, which are thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    import keras

    from tfganomaly.models.ganomaly import Ganomaly
    from tfganomaly.options import ModelOptions

INITIAL_STDDEV = 0.02
COLLAPSED_DISCRIMINATOR_LOSS = 1e-5
SMALLEST_MAP = 4


def encoder_stages(
    image_size: int, channels: int, width: int, extra_layers: int, slope: float
) -> tuple[nn.Sequential, int]:
    """The convolutions from the image to the 4 x 4 map, and the map's channels."""
    size, filters = image_size // 2, width
    stages: list[nn.Module] = [
        nn.Conv2d(channels, filters, 4, 2, 1, bias=False),
        nn.LeakyReLU(slope, inplace=True),
    ]
    for _ in range(extra_layers):
        stages += [
            nn.Conv2d(filters, filters, 3, 1, 1, bias=False),
            nn.BatchNorm2d(filters),
            nn.LeakyReLU(slope, inplace=True),
        ]
    while size > SMALLEST_MAP:
        stages += [
            nn.Conv2d(filters, 2 * filters, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * filters),
            nn.LeakyReLU(slope, inplace=True),
        ]
        size, filters = size // 2, 2 * filters
    return nn.Sequential(*stages), filters


class Encoder(nn.Module):
    """Image (B, C, H, W) to latent vector (B, nz, 1, 1)."""

    def __init__(
        self, image_size: int, channels: int, latent_size: int, width: int, extra_layers: int, slope: float
    ) -> None:
        super().__init__()
        self.stages, filters = encoder_stages(image_size, channels, width, extra_layers, slope)
        self.latent = nn.Conv2d(filters, latent_size, SMALLEST_MAP, 1, 0, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Encodes."""
        return self.latent(self.stages(images))


class Decoder(nn.Module):
    """Latent vector (B, nz, 1, 1) to image (B, C, H, W) in [-1, 1]."""

    def __init__(self, image_size: int, channels: int, latent_size: int, width: int, extra_layers: int) -> None:
        super().__init__()
        size, filters = SMALLEST_MAP, width * image_size // (2 * SMALLEST_MAP)
        stages: list[nn.Module] = [
            nn.ConvTranspose2d(latent_size, filters, SMALLEST_MAP, 1, 0, bias=False),
            nn.BatchNorm2d(filters),
            nn.ReLU(inplace=True),
        ]
        while size < image_size // 2:
            stages += [
                nn.ConvTranspose2d(filters, filters // 2, 4, 2, 1, bias=False),
                nn.BatchNorm2d(filters // 2),
                nn.ReLU(inplace=True),
            ]
            size, filters = 2 * size, filters // 2
        for _ in range(extra_layers):
            stages += [nn.Conv2d(filters, filters, 3, 1, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]
        stages += [nn.ConvTranspose2d(filters, channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.stages = nn.Sequential(*stages)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Decodes."""
        return self.stages(latents)


class Discriminator(nn.Module):
    """Image to the probability of "real" (B,) and the feature map (B, 4 * width, 4, 4)."""

    def __init__(self, image_size: int, channels: int, width: int, extra_layers: int, slope: float) -> None:
        super().__init__()
        self.stages, filters = encoder_stages(image_size, channels, width, extra_layers, slope)
        self.classifier = nn.Conv2d(filters, 1, SMALLEST_MAP, 1, 0, bias=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Judges."""
        feature = self.stages(images)
        return torch.sigmoid(self.classifier(feature)).view(-1), feature


@dataclass(frozen=True)
class Outputs:
    """What the generator gives: z, x_hat and z_hat, channels first."""

    latent: torch.Tensor
    reconstruction: torch.Tensor
    reconstructed_latent: torch.Tensor


class PytorchGanomaly:
    """The networks with both optimizers and the authors' step.

    Args:
        options: Sizes and loss weights, as our model takes them; `channels` decided.
        learning_rate: Of Adam, both networks.
        beta_1: First decay rate of Adam, both networks.
    """

    def __init__(self, options: ModelOptions, learning_rate: float = 2e-4, beta_1: float = 0.5) -> None:
        self.options = options
        assert options.channels is not None
        shape = (options.image_size, options.channels)
        generator = (*shape, options.latent_size, options.generator_width, options.extra_layers)
        slope = options.leaky_relu_slope
        self.encoder, self.decoder = Encoder(*generator, slope), Decoder(*generator)
        self.reconstruction_encoder = Encoder(*generator, slope)
        self.generator = nn.ModuleList([self.encoder, self.decoder, self.reconstruction_encoder])
        self.discriminator = Discriminator(*shape, options.discriminator_width, options.extra_layers, slope)
        for network in (self.generator, self.discriminator):
            network.apply(_draw_initial_weights)
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), learning_rate, (beta_1, 0.999))
        self.discriminator_optimizer = torch.optim.Adam(self.discriminator.parameters(), learning_rate, (beta_1, 0.999))

    def generate(self, images: torch.Tensor) -> Outputs:
        """Encodes, decodes, encodes again."""
        latent = self.encoder(images)
        reconstruction = self.decoder(latent)
        return Outputs(latent, reconstruction, self.reconstruction_encoder(reconstruction))

    def training_step(self, images: torch.Tensor) -> dict[str, float]:
        """One step of both networks on float32 (B, C, H, W) in [-1, 1]; returns the losses under our names."""
        outputs = self.generate(images)
        real, _ = self.discriminator(images)
        reconstructed, _ = self.discriminator(outputs.reconstruction.detach())

        self.generator_optimizer.zero_grad()
        real_feature = self.discriminator(images)[1]
        reconstructed_feature = self.discriminator(outputs.reconstruction)[1]
        adversarial = nn.functional.mse_loss(reconstructed_feature, real_feature)
        contextual = nn.functional.l1_loss(outputs.reconstruction, images)
        latent = nn.functional.mse_loss(outputs.reconstructed_latent, outputs.latent)
        generator_loss = (
            self.options.adversarial_loss_weight * adversarial
            + self.options.contextual_loss_weight * contextual
            + self.options.latent_loss_weight * latent
        )
        generator_loss.backward(retain_graph=True)
        self.generator_optimizer.step()

        self.discriminator_optimizer.zero_grad()
        cross_entropy = nn.functional.binary_cross_entropy
        discriminator_loss = 0.5 * (
            cross_entropy(real, torch.ones_like(real)) + cross_entropy(reconstructed, torch.zeros_like(reconstructed))
        )
        discriminator_loss.backward()
        self.discriminator_optimizer.step()
        if discriminator_loss.item() < COLLAPSED_DISCRIMINATOR_LOSS:
            self.discriminator.apply(_draw_initial_weights)
        return {
            "generator_loss": generator_loss.item(),
            "adversarial_loss": adversarial.item(),
            "contextual_loss": contextual.item(),
            "latent_loss": latent.item(),
            "discriminator_loss": discriminator_loss.item(),
        }

    @torch.no_grad()
    def outputs(self, images: np.ndarray, training_mode: bool = False) -> dict[str, np.ndarray]:
        """What scores are made of, in our layout.

        Args:
            images: float32 (B, H, W, C) in [-1, 1].
            training_mode: Batch norm by the batch's own statistics, as the authors' evaluation does it.

        Returns:
            `latent` and `reconstructed_latent` (B, 1, 1, nz), `reconstruction` (B, H, W, C), `feature_distance` (B,).
        """
        modules = (self.generator, self.discriminator)
        for module in modules:
            module.train(training_mode)
        tensor = channels_first(images)
        made = self.generate(tensor)
        difference = self.discriminator(tensor)[1] - self.discriminator(made.reconstruction)[1]
        for module in modules:
            module.train(True)
        return {
            "latent": _channels_last(made.latent),
            "reconstructed_latent": _channels_last(made.reconstructed_latent),
            "reconstruction": _channels_last(made.reconstruction),
            "feature_distance": difference.square().mean(dim=(1, 2, 3)).numpy(),
        }

    def load_weights_of(self, model: Ganomaly) -> None:
        """Takes over the weights and running statistics of our model."""
        for ours, theirs in network_pairs(model, self):
            for parameter, value in zip(_state(theirs), keras_weights_in_torch_layout(ours), strict=True):
                with torch.no_grad():
                    parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))

    def weights_of(self, network: nn.Module) -> list[np.ndarray]:
        """Weights of one network in the order of `keras_weights_in_torch_layout`, as copies."""
        return [parameter.detach().numpy().copy() for parameter in _state(network)]


def network_pairs(model: Ganomaly, reference: PytorchGanomaly) -> Sequence[tuple[keras.Model, nn.Module]]:
    """Our networks and theirs, side by side."""
    return (
        (model.encoder, reference.encoder),
        (model.decoder, reference.decoder),
        (model.reconstruction_encoder, reference.reconstruction_encoder),
        (model.discriminator, reference.discriminator),
    )


def keras_weights_in_torch_layout(network: keras.Model) -> list[np.ndarray]:
    """The variables of a Keras network, layer by layer, kernels (out, in, h, w) or for transposed ones (in, out, h, w).

    Keras keeps (h, w, in, out), and (h, w, out, in) for a transposed convolution, so one permutation serves both.
    Of a batch norm: scale, offset, running mean, running variance.
    """
    values = [weight for layer in network.layers for weight in layer.get_weights()]
    return [value.transpose(3, 2, 0, 1) if value.ndim == 4 else value for value in values]


def channels_first(images: np.ndarray) -> torch.Tensor:
    """Images (B, H, W, C) as PyTorch takes them, (B, C, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _channels_last(tensor: torch.Tensor) -> np.ndarray:
    return tensor.permute(0, 2, 3, 1).numpy()


def _state(network: nn.Module) -> list[torch.Tensor]:
    return [value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")]


def _draw_initial_weights(layer: nn.Module) -> None:
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(layer.weight, 0.0, INITIAL_STDDEV)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, INITIAL_STDDEV)
        nn.init.zeros_(layer.bias)
