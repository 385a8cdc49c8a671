"""Converts between pixels, real numbers and the integers that a quantized tensor holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_runtime.errors import BackendError
from edge_runtime.preprocessing import scale_pixels

_UINT8 = np.dtype(np.uint8)
# A little more than half: where a value is half-way in theory, what was rounded on the way does not decide.
_HALF_STEP = np.float32(0.501)
_LIMITS = {
    name: (np.float32(np.iinfo(name).min), np.float32(np.iinfo(name).max)) for name in ("int8", "uint8", "int16")
}


@dataclass(frozen=True)
class TensorDetails:
    """An input or output of a model. A real number is `scale` * (integer - `zero_point`).

    Attributes:
        name: Its name in the flatbuffer.
        shape: Its shape, the batch dimension of 1 included.
        dtype: "float32", "int8", "uint8" or "int16".
        scale: Step between two integers; 0 for float32.
        zero_point: The integer that stands for 0.0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0

    @classmethod
    def from_interpreter(cls, details: Mapping[str, Any]) -> TensorDetails:
        """Return the description of a tensor out of `get_input_details()` or `get_output_details()`.

        Raises:
            BackendError: The tensor is neither float32 nor an integer with one scale.
        """
        tensor = cls(
            name=str(details["name"]),
            shape=tuple(int(size) for size in details["shape"]),
            dtype=np.dtype(details["dtype"]).name,
            scale=float(details["quantization"][0]),
            zero_point=int(details["quantization"][1]),
        )
        if tensor.dtype != "float32" and (tensor.dtype not in ("int8", "uint8", "int16") or tensor.scale <= 0):
            raise BackendError(
                f"The model's tensor '{tensor.name}' is {tensor.dtype} with scale {tensor.scale:g}; "
                "float32, or int8, uint8 or int16 with one scale above 0, was expected. Export it again."
            )
        return tensor


def quantize(values: np.ndarray, tensor: TensorDetails) -> np.ndarray:
    """Return real numbers as the tensor's integers, rounded and **clipped** to its range.

    Without the clipping a value at the end of the range wraps around, white becomes black, and nothing
    complains. What lies half-way between two integers is rounded down: in an int8 export all pixels do, and the model
    is made for the lower level of each, the pixel less 128.

    Args:
        values: float32 array of any shape.
        tensor: Whose scale and zero point to use.

    Returns:
        An array of the same shape and of the tensor's dtype; float32 tensors get the values as they are.
    """
    if tensor.dtype == "float32":
        return np.asarray(values, np.float32)
    lowest, highest = _LIMITS[tensor.dtype]
    steps = np.asarray(values, np.float32) / np.float32(tensor.scale)
    steps -= _HALF_STEP
    np.ceil(steps, out=steps)
    steps += np.float32(tensor.zero_point)
    np.maximum(steps, lowest, out=steps)
    np.minimum(steps, highest, out=steps)
    return steps.astype(tensor.dtype)


def dequantize(integers: np.ndarray, tensor: TensorDetails) -> np.ndarray:
    """Return what a tensor's integers stand for, as float32 of the same shape."""
    if tensor.dtype == "float32":
        return np.asarray(integers, np.float32)
    values = integers.astype(np.float32)
    values -= np.float32(tensor.zero_point)
    values *= np.float32(tensor.scale)
    return values


class PixelLevels:
    """Fills an input tensor with pixels.

    Pixels are scaled and quantized one by one, so a table of what the tensor holds for each of their 256 values gives
    the same as `quantize(scale_pixels(pixels), tensor)`, to the bit and at a fraction of its cost.

    Args:
        tensor: The model's input, (1, H, W, C).
        content: What to fill: its content, of its shape and dtype, in one piece.
    """

    def __init__(self, tensor: TensorDetails, content: np.ndarray) -> None:
        levels = quantize(scale_pixels(np.arange(256, dtype=np.uint8)), tensor)
        self._shape = tensor.shape[1:]
        self._content = content[0]
        self._look_up = levels.take
        # The quicker way, for levels of 8 bits.
        self._bytes = levels.tobytes() if levels.itemsize == 1 else b""
        self._memory = memoryview(content).cast("B")

    def write(self, pixels: np.ndarray) -> None:
        """Write one picture into the tensor's content.

        Args:
            pixels: uint8 (H, W, C).

        Raises:
            ValueError: The pixels are of another shape or type.
        """
        if pixels.dtype != _UINT8 or pixels.shape != self._shape:
            raise ValueError(f"The pixels are {pixels.dtype} {pixels.shape}; uint8 {self._shape} was expected.")
        if self._bytes:
            self._memory[:] = pixels.tobytes().translate(self._bytes)
        else:
            self._look_up(pixels, None, self._content, "clip")  # no pixel is clipped; the other modes copy once more
