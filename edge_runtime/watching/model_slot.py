"""Holds the model that judges, and takes over a new artefact that is moved over the old one."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edge_runtime.detector import AnomalyDetector
from edge_runtime.errors import ArtefactError

DetectorLoader = Callable[[Path], AnomalyDetector]
_Signature = tuple[int, int, int]


@dataclass(frozen=True)
class LoadedModel:
    """A detector that has shown that it can judge.

    Attributes:
        detector: What judges.
        sha256: The first 12 hexadecimal digits of its file's SHA-256.
        content: The bytes of its file, so that it can be loaded again when another file is there.
    """

    detector: AnomalyDetector
    sha256: str
    content: bytes = field(repr=False)


class ModelSlot:
    """The artefact at a path, followed over its changes. Used by the loop's thread alone.

    Args:
        path: The artefact.
        load: Makes a detector of it.

    Attributes:
        current: What judges now.
        problem: Why the latest file was refused; empty when it was not.

    Raises:
        TfganomalyError: The artefact cannot be used. At the start that ends the watch; later it does not.
    """

    def __init__(self, path: Path, load: DetectorLoader) -> None:
        self.path = path
        self.problem = ""
        self.load = load
        self._signature = _signature(path)
        self._candidate: _Signature | None = None
        self.current = self._loaded()

    def look(self) -> LoadedModel | None:
        """See whether another file is there; call it about once a second, between two frames.

        A new file must look the same twice before it is read, so that one that is being copied is not taken for a
        damaged one.

        Returns:
            The new model if it was taken over. None when nothing changed or the new file was refused, which `problem`
            then says.
        """
        signature = _signature(self.path)
        if signature is None or signature == self._signature:
            self._candidate = None  # a file that is away for a moment is being replaced; the loaded one goes on
            return None
        if signature != self._candidate:
            self._candidate = signature
            return None
        if _content(self.path) == self.current.content:  # the same model with another date: what was set goes on
            self._signature, self._candidate, self.problem = signature, None, ""
            return None
        return self.reload()

    def reload(self) -> LoadedModel | None:
        """Read the file again, changed or not.

        Returns:
            The new model, or None when it was refused, which `problem` then says.
        """
        self._signature, self._candidate = _signature(self.path), None
        try:
            self.current = self._loaded()
        except Exception as error:  # whatever a file holds, the former model goes on
            self.problem = f"The new model was refused, the former one goes on: {error or type(error).__name__}"
            return None
        self.problem = ""
        return self.current

    def renew(self) -> LoadedModel | None:
        """Load the model again because the interpreter has failed, which says nothing of the model.

        Another file that is there by now is taken over if it works; else the present model goes on.

        Returns:
            The model; None while it does not work.
        """
        signature, content = _signature(self.path), _content(self.path)
        is_present = content == self.current.content
        if content and not is_present and self.reload() is not None:
            return self.current
        try:
            self.current = self._loaded() if is_present else self._loaded_from_memory()
        except Exception:  # an accelerator that is away fails in many ways
            return None
        if is_present:
            self._signature, self._candidate, self.problem = signature, None, ""
        return self.current

    def _loaded(self) -> LoadedModel:
        before = _content(self.path)
        detector = self.load(self.path)
        if _content(self.path) != before:
            raise ArtefactError(f"Artefact '{self.path}' changed while it was read. Move it into place in one step.")
        # A file can be sound and its model broken: it has to judge a picture before it judges parts.
        judge_test_picture(detector)
        return LoadedModel(detector, hashlib.sha256(before).hexdigest()[:12], before)

    def _loaded_from_memory(self) -> LoadedModel:
        with tempfile.TemporaryDirectory(prefix="tfganomaly-") as folder:
            path = Path(folder) / self.path.name
            path.write_bytes(self.current.content)
            detector = self.load(path)
        detector.path = self.path
        judge_test_picture(detector)
        return replace(self.current, detector=detector)


def judge_test_picture(detector: AnomalyDetector) -> None:
    """Judge a grey picture, which raises what it raises when the model or its interpreter does not work."""
    detector.detect(np.full(detector.preprocessing.input_shape, 127, np.uint8))


def _signature(path: Path) -> _Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # the loader says what is wrong with the file
