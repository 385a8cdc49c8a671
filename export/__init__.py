"""Part of tfganomaly: turns a trained run into an int8 artefact. Alone in knowing tf_keras and tfmot.

    from export import ExportOptions, export_run

    result = export_run("runs/tiles", "tiles.tflite", ExportOptions(quantization="qat"))

The public names are loaded on first use, so `import export` costs nothing.
"""

from __future__ import annotations

from importlib import import_module

_HOMES = {
    "ExportError": "errors",
    "ExportOptions": "options",
    "ExportResult": "result",
    "ParityError": "errors",
    "ParityReport": "parity",
    "attach_metadata": "compiled_model",
    "export_run": "pipeline",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'export' has no attribute '{name}'")
    return getattr(import_module(f"export.{_HOMES[name]}"), name)
