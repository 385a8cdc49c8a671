"""Lists the Edge TPUs that the system sees, and whether this user may open them."""

from __future__ import annotations

import grp
import os
from dataclasses import dataclass
from pathlib import Path

# Vendor and product; the second is what the stick calls itself once a program has loaded its firmware.
_USB_IDS = {("1a6e", "089a"): "before its firmware is loaded", ("18d1", "9302"): "ready"}
_PCI_ID = ("0x1ac1", "0x089a")


@dataclass(frozen=True)
class EdgeTpuDevice:
    """One Edge TPU.

    Attributes:
        description: What was found, for people.
        node: The device file that is opened.
        is_openable: Whether this user may read and write it.
    """

    description: str
    node: Path
    is_openable: bool


@dataclass(frozen=True)
class EdgeTpuDevices:
    """What was found.

    Attributes:
        devices: Edge TPUs with a device file.
        pci_cards_without_driver: How many PCIe cards are there that no driver has taken.
        groups: The groups of this user.
        known_groups: Those of "plugdev" and "apex" that exist on this system.
    """

    devices: tuple[EdgeTpuDevice, ...]
    pci_cards_without_driver: int
    groups: tuple[str, ...]
    known_groups: tuple[str, ...]


def find_devices(root: Path = Path("/")) -> EdgeTpuDevices:
    """Look into `/sys` and `/dev`; nothing is opened.

    Args:
        root: Where the file system begins; tests give a folder.
    """
    usb = [device for folder in sorted((root / "sys/bus/usb/devices").glob("*")) if (device := _usb(folder, root))]
    apex = [
        EdgeTpuDevice(f"PCIe {node.name}", node, os.access(node, os.R_OK | os.W_OK))
        for node in sorted((root / "dev").glob("apex_*"))
    ]
    cards = [
        folder
        for folder in (root / "sys/bus/pci/devices").glob("*")
        if (_text(folder / "vendor"), _text(folder / "device")) == _PCI_ID
    ]
    return EdgeTpuDevices(
        devices=(*usb, *apex),
        pci_cards_without_driver=max(0, len(cards) - len(apex)),
        groups=tuple(sorted(filter(None, map(_group_name, {*os.getgroups(), os.getegid()})))),
        known_groups=tuple(group.gr_name for group in grp.getgrall() if group.gr_name in ("apex", "plugdev")),
    )


def _usb(folder: Path, root: Path) -> EdgeTpuDevice | None:
    vendor, product = _text(folder / "idVendor"), _text(folder / "idProduct")
    state = _USB_IDS.get((vendor, product))
    bus, number = _text(folder / "busnum"), _text(folder / "devnum")
    if state is None or not bus.isdigit() or not number.isdigit():
        return None
    node = root / f"dev/bus/usb/{int(bus):03d}/{int(number):03d}"
    return EdgeTpuDevice(f"USB {vendor}:{product}, {state}", node, os.access(node, os.R_OK | os.W_OK))


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return ""
