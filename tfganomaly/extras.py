"""Check for the packages of an optional extra before work starts that needs them."""

from __future__ import annotations

import importlib.util

from tfganomaly.errors import MissingExtraError

MODULES_OF_EXTRA: dict[str, tuple[str, ...]] = {
    "train": ("tensorflow", "keras", "tensorboard", "sklearn", "matplotlib", "jinja2", "rich"),
    "export": ("tensorflow", "keras", "tf_keras", "tensorflow_model_optimization"),
    "demo": ("tensorflow", "keras", "tf_keras", "tensorflow_model_optimization", "elpv_dataset"),
}
"""The modules by which an extra of the workstation is known as installed; of the device: `edge_runtime.extras`."""


def require_extra(extra: str, *modules: str) -> None:
    """Raise one clear line unless the packages of an extra are installed.

    The modules are looked up, not imported: the check takes milliseconds even for TensorFlow, so that a
    command can make it before anything else.

    Example:
        ```python
        require_extra("train")                      # all of the extra
        require_extra("demo", "elpv_dataset")       # only what is needed here
        ```

    Args:
        extra: Name of the extra, as in `pip install 'tfganomaly[train]'`.
        *modules: Top-level modules that are needed. None given: all of `MODULES_OF_EXTRA[extra]`.

    Raises:
        MissingExtraError: At least one of the modules is not installed; the message names the missing ones
            and the command that installs them.
    """
    missing = [module for module in modules or MODULES_OF_EXTRA[extra] if not _is_installed(module)]
    if missing:
        names = ", ".join(missing)
        verb = "is" if len(missing) == 1 else "are"
        raise MissingExtraError(
            f"This needs {names}, which {verb} not installed. Install with: pip install 'tfganomaly[{extra}]'"
        )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # an import hook that forbids the module, as an isolated process uses
        return False
    except ValueError:  # already imported, without a spec: a stand-in that somebody put into sys.modules
        return True
