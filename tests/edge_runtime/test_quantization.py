from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import BackendError
from edge_runtime.preprocessing import scale_pixels
from edge_runtime.quantization import PixelLevels, TensorDetails, dequantize, quantize

INT8 = TensorDetails("image", (1, 2, 2, 1), "int8", 1 / 128, 0)


def test_values_beyond_the_range_are_clipped_and_never_wrap_around() -> None:
    values = np.array([-9, -1.01, -1, 0, 1, 1.01, 9, 1e30, -1e30], np.float32)
    assert quantize(values, INT8).tolist() == [-128, -128, -128, 0, 127, 127, 127, 127, -128]
    uint8 = TensorDetails("image", (1,), "uint8", 1 / 128, 128)
    assert quantize(values, uint8).tolist() == [0, 0, 0, 128, 255, 255, 255, 255, 0]


def test_values_are_rounded_and_not_cut() -> None:
    tensor = TensorDetails("image", (1,), "int8", 0.1, 5)
    assert quantize(np.array([0.26, 0.24, -0.26, 0.0], np.float32), tensor).tolist() == [8, 7, 2, 5]


@given(
    value=st.floats(-1, 1),
    dtype=st.sampled_from(["int8", "uint8", "int16"]),
    zero_point=st.integers(0, 60),
)
def test_there_and_back_is_exact_to_half_a_step(value: float, dtype: str, zero_point: int) -> None:
    tensor = TensorDetails("t", (1,), dtype, 0.03, zero_point)
    back = dequantize(quantize(np.array([value], np.float32), tensor), tensor)
    lowest, highest = (0.03 * (float(limit) - zero_point) for limit in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    assert back.dtype == np.float32
    assert abs(back[0] - np.clip(value, lowest, highest)) <= 0.0151


def test_every_integer_comes_back_as_itself() -> None:
    integers = np.arange(-128, 128).astype(np.int8)
    for tensor in (INT8, TensorDetails("t", (1,), "int8", 0.0123, -7)):
        np.testing.assert_array_equal(quantize(dequantize(integers, tensor), tensor), integers)


def test_values_half_way_between_two_integers_belong_to_the_lower_one() -> None:
    tensor = TensorDetails("image", (1,), "int8", 1 / 127.5, 0)
    assert quantize(scale_pixels(np.arange(256, dtype=np.uint8)), tensor).tolist() == list(range(-128, 128))


def test_levels_of_earlier_exports_are_the_nearest() -> None:
    pixels = np.arange(256)
    nearest = np.clip(np.rint((pixels / 127.5 - 1) * 128), -128, 127)
    assert quantize(scale_pixels(pixels.astype(np.uint8)), INT8).tolist() == nearest.tolist()


def test_float_tensors_pass_through() -> None:
    tensor = TensorDetails("t", (2,), "float32")
    values = np.array([1.5, -2.5], np.float32)
    np.testing.assert_array_equal(quantize(values, tensor), values)
    np.testing.assert_array_equal(dequantize(values, tensor), values)


@pytest.mark.parametrize(
    ("dtype", "quantization"), [(np.int8, (0.0, 0)), (np.int64, (0.1, 0)), (np.float64, (0.0, 0)), (np.bool_, (0.0, 0))]
)
def test_tensors_without_a_usable_scale_are_refused(dtype: type, quantization: tuple[float, int]) -> None:
    details = {"name": "odd", "shape": np.array([1, 2]), "dtype": dtype, "quantization": quantization}
    with pytest.raises(BackendError, match="tensor 'odd' is"):
        TensorDetails.from_interpreter(details)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point"),
    [("int8", 1 / 128, 0), ("int8", 0.0123, -7), ("uint8", 1 / 128, 128), ("int16", 1 / 32768, 0), ("float32", 0.0, 0)],
)
def test_pixels_are_scaled_and_quantized_by_table_to_the_bit(dtype: str, scale: float, zero_point: int) -> None:
    tensor = TensorDetails("image", (1, 16, 16, 3), dtype, scale, zero_point)
    content = np.zeros((1, 16, 16, 3), dtype)
    levels = PixelLevels(tensor, content)
    pixels = np.random.default_rng(0).permutation(np.repeat(np.arange(256, dtype=np.uint8), 3)).reshape(16, 16, 3)
    for picture in (pixels, pixels[::-1, ::-1], np.asfortranarray(pixels)):  # also such that do not lie in a row
        levels.write(picture)
        np.testing.assert_array_equal(content[0], quantize(scale_pixels(picture), tensor))
