"""What every benchmark prints beside its figures: the machine and the versions."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from tfganomaly.training.provenance import installed_versions


def describe_machine() -> dict[str, str | int | None]:
    """Processor, cores and package versions."""
    return {"processor": _processor(), "cores": os.cpu_count(), "system": platform.platform(), **installed_versions()}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
