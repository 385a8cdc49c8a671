"""Part of tfganomaly: runs an exported model on a device: stdlib, numpy, Pillow and LiteRT, no TensorFlow.

    from edge_runtime import AnomalyDetector

    detector = AnomalyDetector("tiles.tflite")
    detection = detector.detect("part_0815.png")
    print(detection.score, detection.is_anomaly)

The public names are loaded on first use, so `import edge_runtime` costs nothing.
"""

from __future__ import annotations

from importlib import import_module

from edge_runtime.version import __version__

_HOMES = {
    "AnomalyDetector": "detector",
    "Artefact": "artefact",
    "ArtefactError": "errors",
    "ArtefactMetadata": "artefact",
    "BackendError": "errors",
    "Calibration": "calibration",
    "CalibrationError": "errors",
    "Detection": "detection",
    "ImageError": "errors",
    "MetadataError": "errors",
    "ModelOutputs": "scoring",
    "OutputError": "errors",
    "Preprocessing": "preprocessing",
    "ScoreRule": "scoring",
    "TfganomalyError": "errors",
    "calibrate_artefact": "calibrating.recalibration",
    "HeatmapFolder": "inspection",
    "contact_sheet": "contact_sheet",
    "find_images": "image_files",
    "heatmap_overlay": "heatmap",
    "inspect_images": "inspection",
    "inspect_tflite_file": "flatbuffer",
    "prepare_image": "preprocessing",
    "read_artefact": "artefact",
    "write_artefact": "artefact",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'edge_runtime' has no attribute '{name}'")
    return getattr(import_module(f"edge_runtime.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
