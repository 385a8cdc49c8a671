"""Runs a flatbuffer: the seam between this package and whatever executes the model.

Everything above talks to a `Backend`. Tests put a fake in its place; another device is another `Backend`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ctypes import c_byte
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from edge_runtime.errors import BackendError
from edge_runtime.quantization import PixelLevels, TensorDetails

_STANDARD_ERROR_LOCK = threading.Lock()
_MODULES = (("LiteRT", "ai_edge_litert.interpreter"), ("tflite_runtime", "tflite_runtime.interpreter"))


class Backend(Protocol):
    """Something that runs one model on one image at a time. Not to be shared between threads."""

    @property
    def name(self) -> str:
        """What runs the model, for people: "LiteRT 2.3.0 (CPU, 2 threads)"."""

    @property
    def input_details(self) -> TensorDetails:
        """The model's one input, of shape (1, H, W, C)."""

    @property
    def output_details(self) -> tuple[TensorDetails, ...]:
        """The model's outputs in the interpreter's order."""

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Run the model on one image.

        Args:
            pixels: uint8 (H, W, C), as `prepare_image` returns them.

        Returns:
            The outputs as the model holds them, integers where it is quantized, with shape and dtype as in
            `output_details`; own copies. `quantization.dequantize` makes real numbers of those that are wanted.

        Raises:
            BackendError: The model cannot be run.
            ValueError: The pixels are of another shape or type.
        """

    def run_and_lend(self, pixels: np.ndarray, wanted: Sequence[int]) -> list[np.ndarray]:
        """Run the model on one image and show some of its outputs where they lie, which saves copies.

        Args:
            pixels: As in `run`.
            wanted: Positions of the outputs in `output_details`.

        Returns:
            These outputs in the order asked for. They hold what they do until the model is run again, and are given up
            before the backend is.

        Raises:
            BackendError, ValueError: As `run`.
        """


BackendLoader = Callable[[bytes, int], Backend]


def load_backend(flatbuffer: bytes, num_threads: int = 1) -> Backend:
    """Return a backend for the CPU: LiteRT, or tflite_runtime where LiteRT is not installed.

    Args:
        flatbuffer: A TFLite model.
        num_threads: CPU threads for one inference, 1 or more.

    Raises:
        BackendError: Neither package is installed, or the model cannot be loaded.
    """
    if num_threads < 1:
        raise BackendError(f"The number of threads is {num_threads}; 1 or more was expected.")
    library, interpreter_class, _ = find_interpreter()
    return InterpreterBackend(flatbuffer, num_threads, library, interpreter_class)


class InterpreterBackend:
    """A TFLite interpreter behind the `Backend` seam, on the CPU or with a delegate.

    Args:
        flatbuffer: A TFLite model.
        num_threads: CPU threads for one inference.
        library: Name and version of the package that `interpreter_class` comes from.
        interpreter_class: `Interpreter` of ai_edge_litert or tflite_runtime.
        delegate: What takes over a part of the model, such as the Edge TPU's; None: nothing does.
        device: What people call the device that the delegate stands for.

    Raises:
        BackendError: The model cannot be loaded, or has more than one input.
    """

    def __init__(
        self,
        flatbuffer: bytes,
        num_threads: int,
        library: str,
        interpreter_class: Any,
        delegate: Any = None,
        device: str = "CPU",
    ) -> None:
        delegates = {} if delegate is None else {"experimental_delegates": [delegate]}
        try:
            with native_notes_hidden():
                self._interpreter = interpreter_class(model_content=flatbuffer, num_threads=num_threads, **delegates)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _cannot_load(library, error) from error
        self.name = f"{library} ({device}, {num_threads} thread{'s' if num_threads > 1 else ''})"
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        if len(inputs) != 1:
            raise BackendError(f"The model has {len(inputs)} inputs; one image was expected. Export it again.")
        self.input_details = TensorDetails.from_interpreter(inputs[0])
        self.output_details = tuple(TensorDetails.from_interpreter(output) for output in outputs)
        try:
            self._outputs = [self._memory_of(output) for output in outputs]
            self._levels = PixelLevels(self.input_details, self._memory_of(inputs[0]))
        except ValueError as error:  # a tensor whose size is known only when the model runs
            raise _cannot_load(library, error) from error

    def run(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Run the model on one image; see `Backend.run`."""
        self._infer(pixels)
        return [output.copy() for output in self._outputs]

    def run_and_lend(self, pixels: np.ndarray, wanted: Sequence[int]) -> list[np.ndarray]:
        """Run the model on one image and lend outputs; see `Backend.run_and_lend`."""
        self._infer(pixels)
        outputs = self._outputs
        return [outputs[position] for position in wanted]

    def _infer(self, pixels: np.ndarray) -> None:
        self._levels.write(pixels)
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise BackendError(f"{self.name} cannot run the model: {_one_line(error)}") from error

    def _memory_of(self, tensor: Mapping[str, Any]) -> np.ndarray:
        """A tensor as it lies in the interpreter's memory, where it stays until `allocate_tensors` is called again.

        The interpreter's own views do the same but keep it from running while one is held, and to make them for each
        image costs as much as the rest of the way in and out of a small model.
        """
        view = self._interpreter.tensor(tensor["index"])()
        memory = (c_byte * view.nbytes).from_address(view.ctypes.data)
        return np.frombuffer(memory, view.dtype).reshape(view.shape)


def find_interpreter() -> tuple[str, Any, Any]:
    """Return name with version, `Interpreter` and `load_delegate` of the first package that can be imported.

    Raises:
        BackendError: None can be imported.
    """
    reasons = []
    for name, module_name in _MODULES:
        try:
            module = import_module(module_name)
        except (ImportError, OSError, SystemError, AttributeError) as error:  # tflite_runtime with numpy 2
            reasons.append(f"{module_name.partition('.')[0]}: {_one_line(error)}")
            continue
        version = getattr(import_module(module_name.partition(".")[0]), "__version__", "")
        return f"{name} {version}".strip(), module.Interpreter, module.load_delegate
    raise BackendError(
        f"No TFLite interpreter can be loaded ({'; '.join(reasons)}). Run `pip install ai-edge-litert`; on "
        "a 32-bit Raspberry Pi OS, `pip install tflite-runtime 'numpy<2'`."
    )


@contextmanager
def native_notes_hidden() -> Iterator[None]:
    """Keep the interpreter's "INFO: Created TensorFlow Lite XNNPACK delegate" out of the user's sight.

    It has no switch for that and writes straight to file descriptor 2. All other lines reach their place
    afterwards, unless the block fails: then its exception says the same. One thread at a time: two would take each
    other's pipe for standard error.
    """
    with _STANDARD_ERROR_LOCK:
        yield from _swapped_standard_error()


def _swapped_standard_error() -> Iterator[None]:
    try:
        stderr = os.dup(2)
    except OSError:  # a service without standard error
        yield
        return
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)  # a flood of messages is cut rather than waited for
    os.dup2(write_end, 2)
    dropped = b"INFO:"  # the start of the lines that are not passed on; an empty start is every line's
    try:
        yield
    except BaseException:
        dropped = b""
        raise
    finally:
        os.dup2(stderr, 2)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as messages:
            lines = [line for line in messages.read().splitlines(True) if not line.startswith(dropped)]
        with suppress(OSError):  # nobody reads standard error any more
            os.write(stderr, b"".join(lines))
        os.close(stderr)


def _cannot_load(library: str, error: Exception) -> BackendError:
    if "edgetpu-custom-op" in str(error):
        return BackendError(
            "The model was compiled for the Edge TPU (edgetpu-custom-op) and cannot run without it. Add --device "
            "edgetpu, or export the model for the CPU."
        )
    return BackendError(f"{library} cannot load the model: {_one_line(error)}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
