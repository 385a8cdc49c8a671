from __future__ import annotations

import sys
import types
from collections.abc import Callable

import numpy as np
import pytest

from edge_runtime.errors import BackendError
from edge_runtime.interpreter import InterpreterBackend, load_backend
from edge_runtime.preprocessing import scale_pixels
from edge_runtime.quantization import dequantize, quantize
from tests.edge_runtime.tiny_model import INPUT_SCALE, LATENT_SIZE, tiny_flatbuffer


@pytest.mark.parametrize("quantized", [True, False])
def test_a_model_is_run_on_pixels_and_its_outputs_are_as_it_holds_them(quantized: bool) -> None:
    backend = load_backend(tiny_flatbuffer(16, 3, quantized=quantized), 1)
    assert backend.name.startswith("LiteRT ")
    assert backend.name.endswith("(CPU, 1 thread)")
    assert backend.input_details.shape == (1, 16, 16, 3)
    assert backend.input_details.dtype == ("int8" if quantized else "float32")
    outputs = backend.run(np.full((16, 16, 3), 191, np.uint8))
    assert [(output.shape, output.dtype.name) for output in outputs] == [
        (details.shape, details.dtype) for details in backend.output_details
    ]
    assert outputs[0].shape == outputs[1].shape == (1, 1, 1, LATENT_SIZE)
    # The blur of a plain surface is the surface, away from the border that the convolution fills with zeros.
    reconstruction = dequantize(outputs[2], backend.output_details[2])
    np.testing.assert_allclose(reconstruction[0, 1:-1, 1:-1], 191 / 127.5 - 1, atol=2 * INPUT_SCALE)


@pytest.mark.parametrize("quantized", [True, False])
def test_pixels_of_another_size_or_type_are_refused(quantized: bool) -> None:
    backend = load_backend(tiny_flatbuffer(16, quantized=quantized), 1)
    others = [np.zeros((16, 16, 1), dtype) for dtype in (np.float32, np.int16, np.int64, np.bool_)]
    for pixels in (np.zeros((16, 15, 1), np.uint8), np.zeros((16, 16, 3), np.uint8), *others):
        with pytest.raises(ValueError, match=r"uint8 \(16, 16, 1\) was expected"):
            backend.run(pixels)


def test_the_outputs_that_are_wanted_are_lent() -> None:
    backend = load_backend(tiny_flatbuffer(16), 1)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 1), np.uint8)
    latent, reconstructed_latent, reconstruction = backend.run(pixels)
    given = [output.copy() for output in backend.run_and_lend(pixels, (1, 0))]
    for output, expected in zip(given, (reconstructed_latent, latent), strict=True):
        np.testing.assert_array_equal(output, expected)
    np.testing.assert_array_equal(backend.run_and_lend(pixels, (2,))[0], reconstruction)
    assert backend.run_and_lend(pixels, ()) == []


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("quantized", [True, False])
def test_the_memory_that_is_read_and_written_is_the_interpreter_s_for_good(quantized: bool, threads: int) -> None:
    backend = load_backend(tiny_flatbuffer(16, quantized=quantized), threads)
    assert isinstance(backend, InterpreterBackend)
    interpreter = backend._interpreter
    (taken,), given = interpreter.get_input_details(), interpreter.get_output_details()
    kept = backend.run_and_lend(np.zeros((16, 16, 1), np.uint8), range(len(given)))  # holds what the latest run gave
    for pixels in np.random.default_rng(0).integers(0, 256, (20, 16, 16, 1), np.uint8):
        outputs = backend.run(pixels)
        content = interpreter.get_tensor(taken["index"])
        np.testing.assert_array_equal(content, quantize(scale_pixels(pixels), backend.input_details)[np.newaxis])
        for details, output, lent in zip(given, outputs, kept, strict=True):
            np.testing.assert_array_equal(output, interpreter.get_tensor(details["index"]))
            np.testing.assert_array_equal(lent, output)


@pytest.mark.parametrize("quantized", [True, False])
def test_outputs_stay_as_they_are_when_the_next_image_is_run(quantized: bool) -> None:
    backend = load_backend(tiny_flatbuffer(16, quantized=quantized), 1)
    first = backend.run(np.full((16, 16, 1), 255, np.uint8))
    kept = [output.copy() for output in first]
    backend.run(np.zeros((16, 16, 1), np.uint8))
    for output, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(output, copy)


def test_the_number_of_threads_does_not_change_the_result() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 1), np.uint8)
    one, two = (load_backend(tiny_flatbuffer(32), threads).run(pixels) for threads in (1, 2))
    for output, other in zip(one, two, strict=True):
        np.testing.assert_array_equal(output, other)
    with pytest.raises(BackendError, match="1 or more"):
        load_backend(tiny_flatbuffer(8), 0)


def test_loading_says_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    load_backend(tiny_flatbuffer(8), 1)
    assert capfd.readouterr().err == ""


def test_what_is_no_model_is_one_clear_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BackendError, match=r"LiteRT .* cannot load the model") as caught:
        load_backend(b"\0\0\0\0TFL3" + b"\0" * 100, 1)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


class FakeInterpreter:
    """Stands for tflite_runtime's interpreter and for models that no interpreter here can make."""

    load_error: Exception | None = None
    num_inputs = 1

    def __init__(self, model_content: bytes, num_threads: int) -> None:
        self.model_content = model_content

    def allocate_tensors(self) -> None:
        print("WARNING: a line that must not be lost", file=sys.stderr, flush=True)
        if self.load_error is not None:
            raise self.load_error

    def get_input_details(self) -> list[dict[str, object]]:
        details = {"name": "t", "index": 0, "shape": [1, 2], "dtype": np.float32, "quantization": (0.0, 0)}
        return [details] * self.num_inputs

    def get_output_details(self) -> list[dict[str, object]]:
        return self.get_input_details()

    def tensor(self, index: int) -> Callable[[], np.ndarray]:
        return lambda: np.zeros((1, 2), np.float32)

    def invoke(self) -> None:
        raise RuntimeError("node 3 failed\nto prepare")


def test_other_lines_on_standard_error_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    InterpreterBackend(b"", 1, "fake", FakeInterpreter)
    assert "must not be lost" in capfd.readouterr().err


def test_a_model_for_the_edge_tpu_says_so() -> None:
    class EdgeTpuModel(FakeInterpreter):
        load_error = RuntimeError(
            "Encountered unresolved custom op: edgetpu-custom-op. Node number 0 failed to prepare."
        )

    with pytest.raises(BackendError, match="compiled for the Edge TPU"):
        InterpreterBackend(b"", 1, "fake", EdgeTpuModel)


def test_a_model_with_two_inputs_and_a_failing_run_are_clear() -> None:
    class TwoInputs(FakeInterpreter):
        num_inputs = 2

    with pytest.raises(BackendError, match="2 inputs; one image was expected"):
        InterpreterBackend(b"", 1, "fake", TwoInputs)
    with pytest.raises(BackendError, match="cannot run the model: node 3 failed to prepare"):
        InterpreterBackend(b"", 1, "fake", FakeInterpreter).run(np.zeros(2, np.uint8))


def test_tflite_runtime_takes_over_where_litert_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = types.ModuleType("tflite_runtime"), types.ModuleType("tflite_runtime.interpreter")
    package.__version__ = "2.14.0"  # type: ignore[attr-defined]
    module.Interpreter = FakeInterpreter  # type: ignore[attr-defined]
    module.load_delegate = None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", package)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", module)
    assert load_backend(b"", 2).name == "tflite_runtime 2.14.0 (CPU, 2 threads)"


def test_no_interpreter_at_all_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", None)
    with pytest.raises(BackendError, match="pip install ai-edge-litert") as caught:
        load_backend(b"", 1)
    assert "tflite_runtime" in str(caught.value)
