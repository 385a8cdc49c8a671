"""The same network in LiteRT, ONNX Runtime and OpenVINO behind one call, and the cost of a process's first score.

    python benchmarks/int8_runtimes.py litert model.tflite 64x64x3

runs as a process of its own, as a device would: it loads one model, runs one grey image and prints when that was done
(`time.monotonic`) and the largest resident memory, as JSON. It imports nothing but numpy and the runtime. Linux only.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

Run = Callable[[np.ndarray], list[np.ndarray]]
"""From an image, float32 (H, W, C) in [-1, 1], to the model's outputs, float32 (1, h, w, C), in the file's order."""

PEERS = {"onnxruntime": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino", "nncf")}
INSTALLATION = "pip install 'tfganomaly[peers]'"


@dataclass(frozen=True)
class ModelFile:
    """One network as one runtime takes it.

    Attributes:
        runtime: "litert", "onnxruntime" or "openvino".
        path: The file.
        image_shape: (H, W, C).
    """

    runtime: str
    path: Path
    image_shape: tuple[int, int, int]

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, OpenVINO's weights included."""
        weights = self.path.with_suffix(".bin")
        return self.path.stat().st_size + (weights.stat().st_size if self.path.suffix == ".xml" else 0)

    def load(self, threads: int) -> Run:
        """Loads it for the CPU."""
        loaders = {"litert": _load_litert, "onnxruntime": _load_onnxruntime, "openvino": _load_openvino}
        return loaders[self.runtime](self.path, threads)

    def first_score(self, core: int) -> tuple[float, float]:
        """Seconds from the start of a fresh process on one core to its first outputs, and its peak memory in MB."""
        shape = "x".join(str(size) for size in self.image_shape)
        started = monotonic()
        child = subprocess.run(
            ["taskset", "--cpu-list", str(core), sys.executable, __file__, self.runtime, str(self.path), shape],
            capture_output=True,
            check=True,
            text=True,
        )
        report = json.loads(child.stdout.splitlines()[-1])
        return report["done_at_seconds"] - started, report["peak_rss_mb"]


def missing_packages(runtime: str) -> list[str]:
    """What has to be installed before a peer can take part; empty if nothing."""
    return [package for package in PEERS[runtime] if importlib.util.find_spec(package) is None]


def peer_files(
    peers: Sequence[str], graph: Any, images: np.ndarray, folder: Path, remark: str = ""
) -> dict[str, ModelFile]:
    """Quantizes a network for each peer, with the same calibration images.

    Args:
        peers: Names out of `PEERS`.
        graph: The lowered float graph.
        images: float32 (N, H, W, C).
        folder: Where to write.
        remark: Follows the names.

    Returns:
        By name for a table. Outputs are in the graph's order.
    """
    if not peers:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    from onnx_graph import write_onnx

    float_onnx = folder / "float.onnx"
    write_onnx(graph, float_onnx)
    files = {}
    if "onnxruntime" in peers:
        files[f"ONNX Runtime int8{remark}"] = ModelFile("onnxruntime", folder / "int8.onnx", graph.input_shape)
        quantize_for_onnxruntime(float_onnx, images, folder / "int8.onnx")
    if "openvino" in peers:
        files[f"OpenVINO int8{remark}"] = ModelFile("openvino", folder / "int8.xml", graph.input_shape)
        quantize_for_openvino(float_onnx, images, folder / "int8.xml")
    return files


def quantize_for_onnxruntime(float_onnx: Path, images: np.ndarray, path: Path) -> None:
    """Static quantization as ONNX Runtime's documentation has it for a CPU: QDQ, uint8 by int8, per channel.

    Args:
        float_onnx: The float network.
        images: float32 (N, H, W, C), the calibration images.
        path: Where to write.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        """Hands out one image after the other."""

        def __init__(self) -> None:
            self._images = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            """The next image, None after the last."""
            image = next(self._images, None)
            return None if image is None else {"image": _channels_first(image)}

    prepared = path.with_name(f"{path.stem}_prepared.onnx")
    quant_pre_process(str(float_onnx), str(prepared))
    quantize_static(
        str(prepared),
        str(path),
        Images(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


def quantize_for_openvino(float_onnx: Path, images: np.ndarray, path: Path) -> None:
    """Post-training quantization by NNCF with its defaults; `path` ends in .xml, the weights lie beside it."""
    import nncf
    import openvino

    model = openvino.Core().read_model(float_onnx)
    dataset = nncf.Dataset([_channels_first(image) for image in images], lambda image: image)
    openvino.save_model(nncf.quantize(model, dataset, subset_size=len(images)), path)


def _channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1))[np.newaxis]


def _channels_last(output: np.ndarray) -> np.ndarray:
    return output.transpose(0, 2, 3, 1)


def _load_litert(path: Path, threads: int) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (taken,), given = interpreter.get_input_details(), interpreter.get_output_details()

    def run(image: np.ndarray) -> list[np.ndarray]:
        """From float32 to float32, as the others are asked; a device saves the way there, its pixels are uint8."""
        interpreter.set_tensor(taken["index"], _quantized(image[np.newaxis], taken))
        interpreter.invoke()
        return [_dequantized(interpreter.get_tensor(output["index"]), output) for output in given]

    return run


def _quantized(values: np.ndarray, tensor: Mapping[str, Any]) -> np.ndarray:
    scale, zero_point = tensor["quantization"]
    if not scale:
        return values
    limits = np.iinfo(tensor["dtype"])
    # In our files each pixel lies half-way between two levels and belongs to the lower one.
    levels = np.ceil(values / np.float32(scale) - np.float32(0.501))
    return np.clip(levels + zero_point, limits.min, limits.max).astype(tensor["dtype"])


def _dequantized(integers: np.ndarray, tensor: Mapping[str, Any]) -> np.ndarray:
    scale, zero_point = tensor["quantization"]
    return (integers - np.float32(zero_point)) * np.float32(scale) if scale else integers


def _load_onnxruntime(path: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda image: [_channels_last(output) for output in session.run(None, {"image": _channels_first(image)})]


def _load_openvino(path: Path, threads: int) -> Run:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    outputs = range(len(request.model_outputs))

    def run(image: np.ndarray) -> list[np.ndarray]:
        request.infer([_channels_first(image)])
        return [_channels_last(request.get_output_tensor(index).data) for index in outputs]

    return run


def _peak_rss_mb() -> float:
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def _main(runtime: str, path: str, shape: str) -> None:
    height, width, channels = (int(size) for size in shape.split("x"))
    run = ModelFile(runtime, Path(path), (height, width, channels)).load(threads=1)
    run(np.zeros((height, width, channels), np.float32))
    print(json.dumps({"done_at_seconds": monotonic(), "peak_rss_mb": _peak_rss_mb()}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
