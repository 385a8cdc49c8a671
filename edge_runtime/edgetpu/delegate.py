"""Runs a model on an Edge TPU through its delegate, or says why that does not work.

loader = device_backend_loader(DeviceOptions(device="edgetpu", fallback="cpu"), say=print)
detector = AnomalyDetector("parts.tflite", backend_loader=loader)
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.device_options import DeviceOptions
from edge_runtime.edgetpu.devices import find_devices
from edge_runtime.edgetpu.diagnosis import CRASH_WARNING, diagnosis
from edge_runtime.edgetpu.library import LIBRARY_NAME, find_library
from edge_runtime.edgetpu.rules import COMPILED_OPERATION
from edge_runtime.errors import BackendError, DeviceError
from edge_runtime.interpreter import Backend, BackendLoader, InterpreterBackend, find_interpreter, load_backend


@dataclass(frozen=True)
class EdgeTpuSystem:
    """The machine as the delegate meets it; tests put other roots and a fake loader in its place.

    Attributes:
        root: Where the file system begins.
        search_path: Folders in which the library is looked for first; None: `LD_LIBRARY_PATH`.
        load_delegate: The interpreter package's function; None: the installed one.
    """

    root: Path = Path("/")
    search_path: str | None = None
    load_delegate: Callable[[str, dict[str, str]], Any] | None = None


def device_backend_loader(
    options: DeviceOptions, say: Callable[[str], None], system: EdgeTpuSystem | None = None
) -> BackendLoader:
    """Return what makes the interpreter on the device that was asked for.

    Args:
        options: The device, and what to do when it cannot be used.
        say: Called with a line for people: which library is about to be loaded, and a fallback.
        system: The machine; None: this one.

    Returns:
        A loader for `AnomalyDetector`. It raises `DeviceError` when the Edge TPU cannot be used and there is no
        fallback, and `BackendError` when the model cannot be loaded at all.
    """
    if not options.wants_edge_tpu:
        return load_backend
    machine = system or EdgeTpuSystem()

    def load(flatbuffer: bytes, num_threads: int) -> Backend:
        try:
            return _load_on_edge_tpu(flatbuffer, num_threads, options, say, machine)
        except DeviceError as error:
            if options.fallback != "cpu":
                raise
            say(f"WARNING: {error} Going on with the CPU, as --fallback cpu says.")
            return load_backend(flatbuffer, num_threads)

    return load


def _load_on_edge_tpu(
    flatbuffer: bytes, num_threads: int, options: DeviceOptions, say: Callable[[str], None], system: EdgeTpuSystem
) -> Backend:
    if COMPILED_OPERATION.encode() not in flatbuffer:
        raise DeviceError(
            "The model was not compiled for the Edge TPU, so all of it would run on the CPU. Export it with --target "
            "edgetpu and compile it with edgetpu_compiler, or leave out --device."
        )
    package, interpreter_class, installed_load_delegate = find_interpreter()
    delegate = _load_delegate(system.load_delegate or _checked(installed_load_delegate), options, say, system)
    try:
        return InterpreterBackend(flatbuffer, num_threads, package, interpreter_class, delegate, options.device)
    except BackendError as error:
        raise DeviceError(
            f"The Edge TPU was found but does not take the model: {error}",
            diagnosis(find_library(system.root, system.search_path), find_devices(system.root), str(error)),
        ) from error


def _checked(load_delegate: Callable[[str, dict[str, str]], Any]) -> Callable[[str, dict[str, str]], Any]:
    """Return the interpreter package's function with a trial before it.

    LiteRT's own object for a delegate complains on standard error, in its finalizer, when its library cannot be loaded.
    """

    def load(library: str, options: dict[str, str]) -> Any:
        if not hasattr(ctypes.CDLL(library), "tflite_plugin_create_delegate"):
            raise OSError(f"{library} is no delegate of TFLite")
        return load_delegate(library, options)

    return load


def _load_delegate(
    load_delegate: Callable[[str, dict[str, str]], Any],
    options: DeviceOptions,
    say: Callable[[str], None],
    system: EdgeTpuSystem,
) -> Any:
    library = find_library(system.root, system.search_path)
    if library is not None:
        # A library that does not fit can end the process here, and then this line is all that the user has.
        say(f"Edge TPU library: {library.description}" + (f"; {CRASH_WARNING}" if library.is_known_to_crash else ""))
    try:
        return load_delegate(str(library.path) if library else LIBRARY_NAME, {"device": options.delegate_device})
    except (OSError, RuntimeError) as error:
        problem = " ".join(str(error).split())
        if library is None:
            message = f"No Edge TPU runtime ({LIBRARY_NAME}) is installed."
        else:
            message = f"The Edge TPU runtime '{library.path}' cannot be loaded."
    except ValueError as error:
        problem = " ".join(str(error).split())
        which = f" '{options.delegate_device.lstrip(':')}'" if options.delegate_device else ""
        message = f"The Edge TPU runtime is installed but finds no Edge TPU{which} that it can use."
    raise DeviceError(message, diagnosis(library, find_devices(system.root), problem))
