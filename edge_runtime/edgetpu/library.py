"""Finds the Edge TPU's runtime library and reads what it is, without running any of it.

A library that does not fit can end the process the moment it is loaded, and that cannot be caught: so it is looked
at first.
"""

from __future__ import annotations

import os
import platform
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIBRARY_NAME = "libedgetpu.so.1"

# ELF header: e_ident, then e_type and e_machine as 16-bit numbers (System V ABI).
_MACHINES = {0x3E: "x86_64", 0xB7: "aarch64", 0x28: "armv7l", 0x03: "i386"}
_SAME_MACHINE = {"arm64": "aarch64", "AMD64": "x86_64", "armv6l": "armv7l", "i686": "i386"}
_MAX_READ_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class EdgeTpuLibrary:
    """A library file as it lies on the disk.

    Attributes:
        path: Where it was found.
        real_path: The file behind all links.
        package: Debian package and version that installed it, such as "libedgetpu1-std 16.0"; empty when unknown.
        runtime_version: The version that its own text names, such as "14"; empty when unknown.
        machine: What processor it is for: "x86_64", "aarch64" ...; empty when it is no ELF file.
    """

    path: Path
    real_path: Path
    package: str = ""
    runtime_version: str = ""
    machine: str = ""

    @property
    def description(self) -> str:
        """One line for people."""
        facts = [self.package, self.runtime_version and f"runtime version {self.runtime_version}", self.machine]
        link = "" if self.real_path == self.path else f" -> {self.real_path.name}"
        return f"{self.path}{link} ({', '.join(filter(None, facts)) or 'version unknown'})"

    @property
    def fits_this_machine(self) -> bool:
        """Whether it is for this processor, as far as can be told."""
        here = platform.machine()
        return not self.machine or self.machine == _SAME_MACHINE.get(here, here)

    @property
    def is_known_to_crash(self) -> bool:
        """Whether it is the vendor's last build, made for a TFLite of 2021, whose structures were smaller."""
        return self.package.endswith(" 16.0")


def find_library(root: Path = Path("/"), search_path: str | None = None) -> EdgeTpuLibrary | None:
    """Return the library that the dynamic linker would take, or None.

    Args:
        root: Where the file system begins; tests give a folder.
        search_path: Folders to look into first, separated by colons; None: `LD_LIBRARY_PATH`.
    """
    first = os.environ.get("LD_LIBRARY_PATH", "") if search_path is None else search_path
    for folder in [*map(Path, filter(None, first.split(":"))), *_linker_folders(root)]:
        path = folder / LIBRARY_NAME
        if os.path.exists(path):  # noqa: PTH110 - `Path.exists` raises where a folder may not be searched
            return _described(path, root)
    return None


def _linker_folders(root: Path) -> Iterator[Path]:
    configured = [root / "etc/ld.so.conf", *sorted((root / "etc/ld.so.conf.d").glob("*.conf"))]
    for file in configured:
        try:
            lines = file.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            folder = line.partition("#")[0].strip()
            if folder.startswith("/"):
                yield root / folder.lstrip("/")
    yield from sorted((root / "usr/lib").glob("*-linux-gnu*"))
    yield from (root / folder for folder in ("lib", "usr/lib", "usr/lib64", "usr/local/lib"))


def _described(path: Path, root: Path) -> EdgeTpuLibrary:
    real_path = path.resolve()
    try:
        with real_path.open("rb") as file:
            content = file.read(_MAX_READ_BYTES)
    except OSError:
        content = b""
    version = re.search(rb"RuntimeVersion\((\d+)\)", content)
    machine = ""
    if content[:4] == b"\x7fELF" and len(content) >= 20:
        order = ">" if content[5] == 2 else "<"
        number = struct.unpack_from(f"{order}H", content, 18)[0]
        machine = _MACHINES.get(number, f"ELF machine {number}")
    return EdgeTpuLibrary(path, real_path, _debian_package(root), version[1].decode() if version else "", machine)


def _debian_package(root: Path) -> str:
    """Return name and version of the installed package of the library, as dpkg notes them."""
    try:
        status = (root / "var/lib/dpkg/status").read_text("utf-8", errors="replace")
    except OSError:
        return ""
    for paragraph in re.finditer(r"^Package: (libedgetpu1-\S+)\n(?:.+\n)*", status, re.MULTILINE):
        version = re.search(r"^Version: (\S+)$", paragraph[0], re.MULTILINE)
        if version and re.search(r"^Status: .* installed$", paragraph[0], re.MULTILINE):
            return f"{paragraph[1]} {version[1]}"
    return ""
