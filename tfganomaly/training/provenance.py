"""What a run was made with: versions, machine, git revision."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from edge_runtime.version import __version__
from tfganomaly.data.loading import available_processors

RECORDED_PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "pillow",
    "tf_keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
)


def provenance() -> dict[str, Any]:
    """What a training that begins now is made with: `versions`, `machine`, `git_revision`."""
    return {"versions": installed_versions(), "machine": machine(), "git_revision": git_revision()}


def provenance_of_resume(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was begun with, and under `resumed_with` each other provenance that a part of it was made with.

    Args:
        manifest: Of the run so far.

    Returns:
        As `provenance`, without what an older version did not record. Each entry of `resumed_with`, which is there
        only if it has one, holds of these fields those that differ.
    """
    now = provenance()
    begun = {name: manifest[name] for name in now if name in manifest}
    other = {name: value for name, value in now.items() if name not in begun or begun[name] != value}
    resumed_with = list(manifest.get("resumed_with", []))
    if other and other not in resumed_with:
        resumed_with.append(other)
    return {**begun, **({"resumed_with": resumed_with} if resumed_with else {})}


def installed_versions() -> dict[str, str]:
    """Versions of this project, of Python and of the packages that decide a result, where installed."""
    versions = {"tfganomaly": __version__, "python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def machine() -> dict[str, str | int | None]:
    """Processor, cores, those that this process may use, and system.

    On another processor, or with more or fewer cores, a result may differ in its last bits, and so in its course.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": available_processors(),
        "system": platform.platform(),
    }


def git_revision() -> str | None:
    """The git revision of the tree that this package runs from, `+changes` if it is modified; None elsewhere."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    revision = _git(root, "rev-parse", "HEAD")
    if revision is None:
        return None
    return revision + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
