"""Sets up an emulated 64-bit Arm machine in a folder: Debian's Python 3.11 for arm64, the wheels, QEMU's user mode.

Neither root nor docker nor binfmt is needed. The emulator is Debian trixie's (10.0): bookworm's 7.2 crashes or computes
wrong numbers. Packages come from the Debian mirror in this machine's own apt sources, wheels from pip's index.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PYTHON_PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6", "libgcc-s1")
CONSTRAINTS = ROOT / "constraints/python3.11.txt"
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
_TIMEOUT_SECONDS = 300


class Aarch64Machine:
    """The folder and how a program is run in it."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site"
        self.python = folder / "python"

    def run(self, arguments: list[str], timeout_seconds: float = 240) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_"))}
        return subprocess.run(
            [str(self.python), *arguments],
            env={**environment, "PYTHONPATH": f"{self.site}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )


def set_up_aarch64_machine() -> Aarch64Machine:
    """Return the machine, from the cache if it has been set up before. Skips the test where that is impossible."""
    if platform.machine() != "x86_64":
        pytest.skip(f"the emulator is set up on x86-64 only, this is {platform.machine()}")
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    mirror = debian_mirror()
    if missing or mirror is None or not KEYRING.exists():
        pytest.skip("not a Debian system with a mirror in its apt sources")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    recipe = Path(__file__).read_bytes() + CONSTRAINTS.read_bytes() + "".join(base_dependencies()).encode()
    # The folder is named in the wrapper, so another place is another machine.
    folder = cache / f"tfganomaly-aarch64-{hashlib.sha256(recipe).hexdigest()[:12]}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            _set_up(folder, mirror)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            shutil.rmtree(folder, ignore_errors=True)
            reason = (error.stderr or b"").decode("utf-8", errors="replace").strip().rpartition("\n")[2]
            if not _is_offline(mirror):
                raise AssertionError(f"the emulated machine could not be set up: {error} {reason}") from error
            pytest.skip(f"no connection to the Debian mirror: {reason}")
        (folder / "complete").touch()
    return Aarch64Machine(folder)


def base_dependencies() -> list[str]:
    """Return what `pip install tfganomaly` asks for, from pyproject.toml."""
    block = re.search(r"^dependencies = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text("utf-8"), re.M | re.S)
    assert block is not None
    return re.findall(r'"([^"]+)"', block[1])


def debian_mirror() -> str | None:
    """Return the address of the Debian archive that this machine's apt uses."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for file in files:
        try:
            text = file.read_text("utf-8", errors="replace")
        except OSError:
            continue
        for address in re.findall(r"^(?:URIs:|deb(?:\s+\[[^\]]*\])?)\s+(https?://\S+)", text, re.M):
            if re.fullmatch(r".*/debian/?", address):
                return address
    return None


def _set_up(folder: Path, mirror: str) -> None:
    arm = _AptState(folder / "apt-arm64", mirror, "bookworm", "arm64")
    root = folder / "root"
    root.mkdir()
    for package in arm.download_with_needs(PYTHON_PACKAGES):
        _run(["dpkg-deb", "-x", str(package), str(root)])
    for name in ("bin", "sbin", "lib"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    host = _AptState(folder / "apt-amd64", mirror, "trixie", "amd64")
    emulator = _extract_file(host.download("qemu-user"), "./usr/bin/qemu-aarch64", folder / "qemu-aarch64")
    _install_wheels(folder / "site")
    wrapper = folder / "python"
    wrapper.write_text(f'#!/bin/sh\nexec "{emulator}" -cpu cortex-a72 -L "{root}" "{root}/usr/bin/python3.11" "$@"\n')
    wrapper.chmod(0o755)
    shutil.rmtree(folder / "apt-arm64")
    shutil.rmtree(folder / "apt-amd64")


class _AptState:
    """apt with lists, cache and status of its own, for one architecture; the machine's own are not touched."""

    def __init__(self, folder: Path, mirror: str, suite: str, architecture: str) -> None:
        for name in ("state/lists/partial", "cache/archives/partial", "packages"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n")
        self._folder = folder
        self._options = [
            f"-oDir::State={folder}/state",
            f"-oDir::State::status={folder}/status",
            f"-oDir::Cache={folder}/cache",
            f"-oDir::Etc::sourcelist={folder}/sources.list",
            "-oDir::Etc::sourceparts=/dev/null",
            "-oDir::Etc::preferences=/dev/null",
            "-oDir::Etc::preferencesparts=/dev/null",
            f"-oAPT::Architecture={architecture}",
            f"-oAPT::Architectures::={architecture}",
            "-oAPT::Install-Recommends=0",
            "-oAPT::Sandbox::User=",
            "-oAcquire::Languages=none",
            "-oAcquire::Retries=3",
            "-oDebug::NoLocking=1",
        ]
        _run(["apt-get", *self._options, "-qq", "-oAPT::Update::Error-Mode=any", "update"])

    def download_with_needs(self, packages: tuple[str, ...]) -> list[Path]:
        _run(["apt-get", *self._options, "-qq", "-y", "--download-only", "install", *packages])
        return sorted((self._folder / "cache/archives").glob("*.deb"))

    def download(self, package: str) -> Path:
        _run(["apt-get", *self._options, "-qq", "download", package], cwd=self._folder / "packages")
        (file,) = (self._folder / "packages").glob("*.deb")
        return file


def _extract_file(package: Path, member: str, target: Path) -> Path:
    """Take one file out of a Debian package."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for entry in archive:
                if entry.name == member:
                    content = archive.extractfile(entry)
                    assert content is not None
                    with target.open("wb") as file:
                        shutil.copyfileobj(content, file)
                    break
        process.kill()
    target.chmod(0o755)
    return target


def _install_wheels(site: Path) -> None:
    """Install what the runtime needs, with the needs of that, as pip would on the device."""

    platforms = [argument for name in PLATFORMS for argument in ("--platform", name)]
    abis = [argument for name in ("cp311", "abi3", "none") for argument in ("--abi", name)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    python = ["--implementation", "cp", "--python-version", "3.11", *abis, *platforms, "--only-binary=:all:"]
    _run([*pip, "--target", str(site), *python, "--constraint", str(CONSTRAINTS), *base_dependencies()])


def _run(command: list[str], cwd: Path | None = None) -> None:
    subprocess.run(
        command, cwd=cwd, check=True, capture_output=True, timeout=_TIMEOUT_SECONDS, stdin=subprocess.DEVNULL
    )


def _is_offline(mirror: str) -> bool:
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        urlopen(f"{mirror.rstrip('/')}/dists/trixie/Release", timeout=10).close()
    except (HTTPError, URLError, TimeoutError, OSError):
        return True
    return False
