"""Turns a missing optional package into one line that names the command which installs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edge_runtime.errors import MissingExtraError


@contextmanager
def needs_extra(extra: str, package: str) -> Iterator[None]:
    """Guard the import of an optional package.

    Example:
        with needs_extra("camera", "OpenCV"):
            import cv2

    Args:
        extra: Name of the extra in pyproject.toml.
        package: What people call the package.

    Raises:
        MissingExtraError: The import inside the block failed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            f"This needs {package}, which cannot be imported ({error}). Install with: pip install 'tfganomaly[{extra}]'"
        ) from error
