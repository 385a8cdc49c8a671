"""The Edge TPU's delegate: against fakes, and against a real shared library where there is a C compiler.

No Edge TPU was at hand when this was written; what a real one does is not tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge_runtime.artefact import write_artefact
from edge_runtime.device_options import DeviceOptions
from edge_runtime.edgetpu import devices
from edge_runtime.edgetpu.delegate import EdgeTpuSystem, device_backend_loader
from edge_runtime.edgetpu.devices import find_devices
from edge_runtime.edgetpu.library import find_library
from edge_runtime.errors import BackendError, DeviceError, OptionError
from edge_runtime.interpreter import load_backend
from tests.edge_runtime.edgetpu.edgetpu_machine import EdgeTpuMachine, elf_file
from tests.edge_runtime.tiny_model import tiny_flatbuffer, tiny_metadata

COMPILED = tiny_flatbuffer(8, custom_operation="edgetpu-custom-op")
# An interpreter of the CPU runs it, and it bears the mark of a compiled one.
RUNNABLE = tiny_flatbuffer(8) + b"edgetpu-custom-op"
EDGE_TPU = DeviceOptions("edgetpu")

LIBRARY_SOURCE = """
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* The head of TfLiteDelegate: data, Prepare, three functions for buffers, flags; the rest is zero. */
static int prepare(void* context, void* delegate) { return 0; }
static struct { void* data; int (*prepare)(void*, void*); void* functions[3]; int64_t flags; void* rest[8]; } delegate
    = {0, prepare, {0, 0, 0}, 0, {0}};
const char* marker = "RuntimeVersion(14)";
void* tflite_plugin_create_delegate(char** keys, char** values, size_t count, void (*report)(const char*)) {
  if (getenv("EDGETPU_TEST_CRASH")) abort();
  if (count == 1 && strcmp(keys[0], "device") == 0 && strcmp(values[0], "usb") == 0) return &delegate;
  report("no device of this kind");
  return NULL;
}
void tflite_plugin_destroy_delegate(void* delegate) {}
"""


@pytest.fixture
def machine(tmp_path: Path) -> EdgeTpuMachine:
    return EdgeTpuMachine(tmp_path / "root")


class FakeLoader:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.calls: list[tuple[str, dict[str, str]]] = []

    def __call__(self, library: str, options: dict[str, str]) -> Any:
        self.calls.append((library, options))
        if self.error is not None:
            raise self.error
        return object()


def load(
    machine: EdgeTpuMachine, loader: FakeLoader, options: DeviceOptions = EDGE_TPU, flatbuffer: bytes = COMPILED
) -> tuple[Any, list[str]]:
    said: list[str] = []
    system = EdgeTpuSystem(machine.root, "", loader)
    return device_backend_loader(options, said.append, system)(flatbuffer, 1), said


def failure(machine: EdgeTpuMachine, loader: FakeLoader, flatbuffer: bytes = COMPILED) -> DeviceError:
    with pytest.raises(DeviceError) as caught:
        load(machine, loader, flatbuffer=flatbuffer)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("device", "for_delegate"),
    [("edgetpu", ""), ("edgetpu:0", ":0"), ("edgetpu:usb", "usb"), ("edgetpu:pci", "pci"), ("edgetpu:usb:1", "usb:1")],
)
def test_a_device_is_named_as_the_delegate_wants_it(machine: EdgeTpuMachine, device: str, for_delegate: str) -> None:
    library = machine.add_library(elf_file())
    loader = FakeLoader(ValueError("none"))
    with pytest.raises(DeviceError):
        load(machine, loader, DeviceOptions(device))
    assert loader.calls == [(str(library), {"device": for_delegate})]


@pytest.mark.parametrize("device", ["", "gpu", "edgetpu:", "edgetpu:x", "edgetpu:usb:", "cpu:1", "edgetpu:100"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(OptionError, match="expected cpu, edgetpu"):
        DeviceOptions(device)


def test_the_cpu_needs_no_delegate() -> None:
    assert device_backend_loader(DeviceOptions(), print) is load_backend


def test_no_library_says_what_to_install(machine: EdgeTpuMachine) -> None:
    error = failure(machine, FakeLoader(OSError("libedgetpu.so.1: cannot open shared object file")))
    assert "No Edge TPU runtime (libedgetpu.so.1) is installed" in str(error)
    assert "libedgetpu.so.1 not found" in error.details
    assert "install the Edge TPU runtime" in error.details
    assert "none: no USB 1a6e:089a or 18d1:9302, no /dev/apex_*" in error.details
    assert "--fallback cpu" in error.details


def test_a_library_without_a_device_says_what_it_found(machine: EdgeTpuMachine) -> None:
    machine.add_library(elf_file(text=b"x BuildLabel(y), RuntimeVersion(14) z"))
    machine.add_package("16.0TF2.17.1-1.bookworm")
    error = failure(machine, FakeLoader(ValueError("Failed to load delegate from libedgetpu.so.1\n")))
    assert "finds no Edge TPU that it can use" in str(error)
    assert "libedgetpu.so.1.0 (libedgetpu1-std 16.0TF2.17.1-1.bookworm, runtime version 14, x86_64)" in error.details
    assert "connect the Edge TPU" in error.details


def test_a_library_that_cannot_be_loaded_is_told_apart(machine: EdgeTpuMachine) -> None:
    machine.add_library(elf_file("aarch64" if os.uname().machine == "x86_64" else "x86_64"))
    error = failure(machine, FakeLoader(OSError("wrong ELF class")))
    assert "cannot be loaded" in str(error)
    assert "wrong ELF class" in error.details
    assert "install the one for this processor" in error.details


def test_the_library_is_said_before_it_is_loaded(machine: EdgeTpuMachine) -> None:
    machine.add_library(elf_file())
    machine.add_package("16.0")
    said: list[str] = []

    def load_delegate(library: str, options: dict[str, str]) -> Any:
        assert len(said) == 1  # whatever comes now, the user has read it
        raise ValueError

    system = EdgeTpuSystem(machine.root, "", load_delegate)
    with pytest.raises(DeviceError) as caught:
        device_backend_loader(EDGE_TPU, said.append, system)(COMPILED, 1)
    assert "libedgetpu1-std 16.0" in said[0]
    assert "known to crash" in said[0]
    assert "replace the vendor's build" in caught.value.details


def test_a_removed_package_is_not_taken_for_an_installed_one(machine: EdgeTpuMachine) -> None:
    machine.add_library(elf_file())
    machine.add_package("16.0", "deinstall ok config-files")
    library = find_library(machine.root, "")
    assert library is not None
    assert library.package == ""
    assert not library.is_known_to_crash


def test_the_library_is_looked_for_where_the_linker_looks(machine: EdgeTpuMachine, tmp_path: Path) -> None:
    assert find_library(machine.root, "") is None
    last = machine.add_library(elf_file(), "usr/local/lib")
    assert find_library(machine.root, "").path == last  # type: ignore[union-attr]
    configuration = machine.root / "etc/ld.so.conf.d/coral.conf"
    configuration.parent.mkdir(parents=True)
    configuration.write_text("# Coral\n/opt/coral # here\n")
    configured = machine.add_library(elf_file(), "opt/coral")
    assert find_library(machine.root, "").path == configured  # type: ignore[union-attr]
    first = EdgeTpuMachine(tmp_path).add_library(b"not ELF", "mine")
    found = find_library(machine.root, f":{first.parent}")
    assert found is not None
    assert found.path == first
    assert found.fits_this_machine
    assert "version unknown" in found.description


def test_a_folder_that_cannot_be_looked_into_is_passed_over(machine: EdgeTpuMachine) -> None:
    library = machine.add_library(elf_file())
    found = find_library(machine.root, f"/{'x' * 300}:/mine")  # one that may not be searched fails alike
    assert found is not None
    assert found.path == library


@pytest.mark.parametrize(
    ("vendor", "product", "words"),
    [("1a6e", "089a", "before its firmware is loaded"), ("18d1", "9302", "USB 18d1:9302, ready")],
)
def test_a_usb_device_is_seen_and_its_user_told(
    machine: EdgeTpuMachine, monkeypatch: pytest.MonkeyPatch, vendor: str, product: str, words: str
) -> None:
    machine.add_library(elf_file())
    node = machine.add_usb(vendor, product)
    loader = FakeLoader(ValueError("none"))
    assert words in failure(machine, loader).details
    assert "end other programs that use the Edge TPU" in failure(machine, loader).details
    monkeypatch.setattr(devices.os, "access", lambda path, mode: False)  # root could open it
    details = failure(machine, loader).details
    assert f"you may not open {node}: run `sudo usermod -aG plugdev $USER`" in details


def test_a_pcie_card_is_seen_with_and_without_its_driver(tmp_path: Path) -> None:
    bare, driven = EdgeTpuMachine(tmp_path / "a"), EdgeTpuMachine(tmp_path / "b")
    bare.add_pci_card(with_driver=False)
    driven.add_pci_card(with_driver=True)
    assert find_devices(bare.root).pci_cards_without_driver == 1
    assert "gasket-dkms" in failure(bare, FakeLoader(OSError("none"))).details
    found = find_devices(driven.root)
    assert found.pci_cards_without_driver == 0
    assert [device.description for device in found.devices] == ["PCIe apex_0"]


def test_foreign_usb_devices_and_damaged_entries_are_passed_over(machine: EdgeTpuMachine) -> None:
    machine.add_usb("1d6b", "0002")
    (machine.root / "sys/bus/usb/devices/3-1").mkdir()
    (machine.root / "sys/bus/usb/devices/3-1/idVendor").write_bytes(b"\xff")
    assert find_devices(machine.root).devices == ()


def test_the_fallback_goes_on_with_the_cpu_and_says_so(machine: EdgeTpuMachine) -> None:
    loader = FakeLoader(OSError("none"))
    backend, said = load(machine, loader, DeviceOptions("edgetpu", "cpu"), RUNNABLE)
    assert backend.name.endswith("(CPU, 1 thread)")
    assert said[-1].startswith("WARNING: No Edge TPU runtime")
    assert "Going on with the CPU" in said[-1]
    with pytest.raises(BackendError, match="edgetpu-custom-op"):
        load(machine, loader, DeviceOptions("edgetpu", "cpu"))


def test_a_compiled_model_without_the_delegate_names_its_operation() -> None:
    with pytest.raises(BackendError, match=r"compiled for the Edge TPU \(edgetpu-custom-op\)"):
        load_backend(COMPILED)


def test_a_model_that_was_not_compiled_is_refused_before_anything_is_loaded(machine: EdgeTpuMachine) -> None:
    loader = FakeLoader()
    assert "not compiled for the Edge TPU" in str(failure(machine, loader, tiny_flatbuffer(8)))
    assert loader.calls == []


@pytest.fixture(scope="module")
def built_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    folder = tmp_path_factory.mktemp("library")
    (folder / "delegate.c").write_text(LIBRARY_SOURCE)
    library = folder / "libedgetpu.so.1"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), str(folder / "delegate.c")]
    subprocess.run(command, check=True, capture_output=True)
    return library


def test_a_real_library_is_loaded_and_used(built_library: Path) -> None:
    said: list[str] = []
    system = EdgeTpuSystem(search_path=str(built_library.parent))
    backend = device_backend_loader(DeviceOptions("edgetpu:usb"), said.append, system)(RUNNABLE, 1)
    assert backend.name.endswith("(edgetpu:usb, 1 thread)")
    assert "runtime version 14" in said[0]
    pixels = np.full((8, 8, 1), 128, np.uint8)
    for output, expected in zip(backend.run(pixels), load_backend(RUNNABLE).run(pixels), strict=True):
        np.testing.assert_array_equal(output, expected)


def test_a_real_library_that_finds_nothing_or_takes_nothing_says_so(built_library: Path) -> None:
    system = EdgeTpuSystem(search_path=str(built_library.parent))
    with pytest.raises(DeviceError, match="finds no Edge TPU 'pci'") as caught:
        device_backend_loader(DeviceOptions("edgetpu:pci"), print, system)(COMPILED, 1)
    assert "no device of this kind" in caught.value.details
    with pytest.raises(DeviceError, match=r"does not take the model: .*edgetpu-custom-op"):
        device_backend_loader(DeviceOptions("edgetpu:usb"), print, system)(COMPILED, 1)


def test_another_library_of_that_name_is_no_delegate(built_library: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.c").write_text("int unused;\n")
    library = tmp_path / "libedgetpu.so.1"
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler is not None
    subprocess.run([compiler, "-shared", "-o", str(library), str(tmp_path / "empty.c")], check=True)
    with pytest.raises(DeviceError, match="cannot be loaded") as caught:
        device_backend_loader(EDGE_TPU, print, EdgeTpuSystem(search_path=str(tmp_path)))(COMPILED, 1)
    assert "is no delegate of TFLite" in caught.value.details


@pytest.mark.parametrize("command", ["inspect", "calibrate", "benchmark"])
def test_a_command_ends_with_the_diagnosis_as_one_block(tmp_path: Path, command: str) -> None:
    from click.testing import CliRunner

    from cli import main

    if find_library() is not None:
        pytest.skip("an Edge TPU runtime is installed here")
    model, image = tmp_path / "compiled.tflite", tmp_path / "part.png"
    write_artefact(model, COMPILED, tiny_metadata(8))
    Image.new("L", (8, 8)).save(image)
    images = [] if command == "benchmark" else [str(image)]
    done = CliRunner().invoke(main, [command, str(model), *images, "--device", "edgetpu"])
    assert done.exit_code == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("scoring", "timing"))]
    assert lines[0].startswith("Error: No Edge TPU runtime")
    assert [line.split()[0] for line in lines[1:]] == [
        "library",
        "device",
        "user",
        "loader",
        *["to"] * (len(lines) - 5),
    ]
    assert len(lines) >= 8


def test_a_crash_in_the_library_leaves_its_name_behind(built_library: Path) -> None:
    code = (
        "import sys\n"
        "from edge_runtime.edgetpu.delegate import device_backend_loader\n"
        "from edge_runtime.device_options import DeviceOptions\n"
        "say = lambda line: print(line, file=sys.stderr, flush=True)\n"
        "device_backend_loader(DeviceOptions('edgetpu'), say)(b'....TFL3edgetpu-custom-op', 1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "LD_LIBRARY_PATH": str(built_library.parent), "EDGETPU_TEST_CRASH": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode < 0
    assert f"Edge TPU library: {built_library}" in done.stderr
