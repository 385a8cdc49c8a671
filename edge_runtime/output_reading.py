"""Finds latents and reconstruction among a model's raw outputs, and makes real numbers of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_runtime.errors import ArtefactError
from edge_runtime.quantization import TensorDetails, dequantize
from edge_runtime.scoring import ModelOutputs


@dataclass(frozen=True)
class OutputReader:
    """Where in a model's outputs is what.

    Attributes:
        details: Of all outputs, in the interpreter's order.
        latent: Position of the latent.
        reconstructed_latent: Position of the reconstructed latent.
        reconstruction: Position of the reconstruction; None where the model does not give it.
    """

    details: tuple[TensorDetails, ...]
    latent: int
    reconstructed_latent: int
    reconstruction: int | None

    @classmethod
    def from_names(
        cls, positions: Mapping[str, int], details: tuple[TensorDetails, ...], input_shape: tuple[int, ...]
    ) -> OutputReader:
        """Return the reader for the positions that an artefact's metadata names.

        Args:
            positions: By name, as in `ArtefactMetadata.outputs`.
            details: Of the model's outputs.
            input_shape: (1, H, W, C) of the model's input.

        Raises:
            ArtefactError: The model's outputs cannot be these; the text is the end of a sentence.
        """
        shapes = [tensor.shape for tensor in details]
        if max(positions.values()) >= len(shapes):
            raise ArtefactError(
                f"the model has {len(shapes)} outputs, the metadata names number {max(positions.values())}"
            )
        latent, reconstructed_latent = positions["latent"], positions["reconstructed_latent"]
        if len(shapes[latent]) != 4 or shapes[latent] != shapes[reconstructed_latent]:
            raise ArtefactError(f"the latents have shapes {shapes}, twice the same (1, h, w, nz) was expected")
        reconstruction = positions.get("reconstruction")
        if reconstruction is not None and shapes[reconstruction] != input_shape:
            raise ArtefactError(f"the reconstruction has shape {shapes[reconstruction]}, not the input's")
        return cls(details, latent, reconstructed_latent, reconstruction)

    def read(self, raw_outputs: Sequence[np.ndarray]) -> ModelOutputs:
        """Return the outputs of one image as real numbers.

        Args:
            raw_outputs: What `Backend.run` gave.
        """
        return ModelOutputs(
            latent=self._real(raw_outputs, self.latent),
            reconstructed_latent=self._real(raw_outputs, self.reconstructed_latent),
            reconstruction=None if self.reconstruction is None else self._real(raw_outputs, self.reconstruction),
        )

    def _real(self, raw_outputs: Sequence[np.ndarray], position: int) -> np.ndarray:
        return dequantize(raw_outputs[position], self.details[position])
