"""What every benchmark prints beside its figures: the machine and the versions."""

from __future__ import annotations

from tfganomaly.training.provenance import installed_versions, machine


def describe_machine() -> dict[str, str | int | None]:
    """Processor, cores and package versions."""
    return {**machine(), **installed_versions()}
