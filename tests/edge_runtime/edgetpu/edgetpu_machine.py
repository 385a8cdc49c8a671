"""Makes folders that look like the file system of a machine with Edge TPUs."""

from __future__ import annotations

import struct
from pathlib import Path

ELF_MACHINES = {"x86_64": 0x3E, "aarch64": 0xB7}


def elf_file(machine: str = "x86_64", text: bytes = b"") -> bytes:
    return b"\x7fELF\x02\x01\x01" + b"\0" * 9 + struct.pack("<HH", 3, ELF_MACHINES[machine]) + b"\0" * 64 + text


class EdgeTpuMachine:
    def __init__(self, root: Path) -> None:
        self.root = root

    def add_library(self, content: bytes, folder: str = "usr/lib/aarch64-linux-gnu") -> Path:
        path = self.root / folder / "libedgetpu.so.1"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name("libedgetpu.so.1.0").write_bytes(content)
        path.symlink_to("libedgetpu.so.1.0")
        return path

    def add_package(self, version: str, state: str = "install ok installed") -> None:
        status = self.root / "var/lib/dpkg/status"
        status.parent.mkdir(parents=True, exist_ok=True)
        status.write_text(
            "Package: libc6\nStatus: install ok installed\nVersion: 2.36\n\n"
            f"Package: libedgetpu1-std\nStatus: {state}\nArchitecture: arm64\nVersion: {version}\n\n"
        )

    def add_usb(self, vendor: str = "1a6e", product: str = "089a", *, mode: int = 0o664) -> Path:
        folder = self.root / "sys/bus/usb/devices/2-1"
        folder.mkdir(parents=True)
        for name, value in (("idVendor", vendor), ("idProduct", product), ("busnum", "2"), ("devnum", "7")):
            (folder / name).write_text(f"{value}\n")
        node = self.root / "dev/bus/usb/002/007"
        node.parent.mkdir(parents=True)
        node.write_text("")
        node.chmod(mode)
        return node

    def add_pci_card(self, *, with_driver: bool) -> None:
        folder = self.root / "sys/bus/pci/devices/0000:01:00.0"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text("0x1ac1\n")
        (folder / "device").write_text("0x089a\n")
        if with_driver:
            (self.root / "dev").mkdir(exist_ok=True)
            (self.root / "dev/apex_0").write_text("")
