"""Says in a block of plain lines why an Edge TPU cannot be used on this machine, and what to do about it."""

from __future__ import annotations

from edge_runtime.edgetpu.devices import EdgeTpuDevices
from edge_runtime.edgetpu.library import LIBRARY_NAME, EdgeTpuLibrary

CRASH_WARNING = (
    "this is the vendor's build 16.0, which is known to crash with today's TFLite: if the process ends here, "
    "install a maintained build (16.0TF2.13 or newer)"
)


def diagnosis(library: EdgeTpuLibrary | None, devices: EdgeTpuDevices, problem: str) -> str:
    """Return the block.

    Args:
        library: What `find_library` found.
        devices: What `find_devices` found.
        problem: What the loader said, in one line.
    """
    found = [device.description for device in devices.devices]
    lines = [
        f"  library   {library.description if library else f'{LIBRARY_NAME} not found'}",
        *(f"  device    {device.description}, {device.node}" for device in devices.devices),
        *(["  device    none: no USB 1a6e:089a or 18d1:9302, no /dev/apex_*"] if not found else []),
        f"  user      groups {', '.join(devices.groups) or 'none'}",
        f"  loader    {problem}",
    ]
    return "\n".join([*lines, *(f"  to do     {advice}" for advice in _advice(library, devices))])


def _advice(library: EdgeTpuLibrary | None, devices: EdgeTpuDevices) -> list[str]:
    advice = []
    if library is None:
        advice.append(
            "install the Edge TPU runtime, package libedgetpu1-std built for today's TFLite (16.0TF2.13 or newer); "
            "see docs/coral.md"
        )
    elif not library.fits_this_machine:
        advice.append(f"the library is for {library.machine}: install the one for this processor")
    elif library.is_known_to_crash:
        advice.append("replace the vendor's build 16.0 with a maintained one (16.0TF2.13 or newer); see docs/coral.md")
    if devices.pci_cards_without_driver:
        advice.append("a PCIe card is there without its driver: install gasket-dkms, then `sudo modprobe apex`")
    elif not devices.devices:
        advice.append("connect the Edge TPU (a USB stick wants a USB 3 port and a short cable); `lsusb` must show it")
    closed = [device for device in devices.devices if not device.is_openable]
    if closed:
        group = "apex" if "apex_" in closed[0].node.name else "plugdev"
        advice.append(
            f"you may not open {closed[0].node}: run `sudo usermod -aG {group} $USER`, log in anew"
            + (
                ""
                if group in devices.known_groups
                else f" (the group {group} does not exist yet: the runtime makes it)"
            )
        )
    if library is not None and devices.devices and not closed:
        advice.append("end other programs that use the Edge TPU, then unplug it and plug it in again")
    return [*advice, "to go on without it, add --fallback cpu"]
