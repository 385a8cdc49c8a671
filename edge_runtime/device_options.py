"""Options of the device that runs a model: declared once, here; the commands that run one make flags from them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_runtime.errors import OptionError
from edge_runtime.option_declaration import check_options, option

_DEVICE = re.compile(r"cpu|edgetpu(:(?P<which>\d{1,2}|usb(:\d{1,2})?|pci(:\d{1,2})?))?")


@dataclass(frozen=True)
class DeviceOptions:
    """What runs the model."""

    device: str = option(
        "cpu", "What runs the model: cpu, edgetpu, or one of several Edge TPUs: edgetpu:0, edgetpu:usb, edgetpu:pci."
    )
    fallback: str | None = option(
        None,
        "What to do when the Edge TPU cannot be used: go on with the CPU, instead of ending.",
        choices=("cpu",),
        value_type=str,
    )

    def __post_init__(self) -> None:
        check_options(self)
        if not _DEVICE.fullmatch(self.device):
            raise OptionError(
                f"--device is '{self.device}'; expected cpu, edgetpu, edgetpu:N, edgetpu:usb or edgetpu:pci."
            )

    @property
    def wants_edge_tpu(self) -> bool:
        """Whether an Edge TPU was asked for."""
        return self.device != "cpu"

    @property
    def delegate_device(self) -> str:
        """What libedgetpu takes as its option "device": "" (any), ":N", "usb", "usb:N", "pci" or "pci:N"."""
        match = _DEVICE.fullmatch(self.device)
        which = match.group("which") if match else None
        return "" if which is None else f":{which}" if which.isdigit() else which
