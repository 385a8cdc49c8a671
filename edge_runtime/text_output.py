"""Results as lines of plain text for a terminal; the command line prints them."""

from __future__ import annotations

from typing import Any

from edge_runtime.artefact import ArtefactMetadata
from edge_runtime.benchmark import BenchmarkResult
from edge_runtime.calibrating.recalibration import ArtefactCalibration
from edge_runtime.calibration import Calibration
from edge_runtime.detection import Detection
from edge_runtime.edgetpu.check import ON_CHIP_BYTES, EdgeTpuCheck, bytes_text
from edge_runtime.errors import ArtefactError
from edge_runtime.flatbuffer import FlatbufferInspection, TensorInfo
from edge_runtime.inspection import InspectionResult
from edge_runtime.printable_text import printable

INSPECTION_HEADER = "verdict     score         x threshold  ms        image"


def inspection_line(result: InspectionResult) -> str:
    """One row under `INSPECTION_HEADER`."""
    if result.detection is None:
        return printable(f"unreadable  {result.error}")
    detection = result.detection
    verdict = "ANOMALOUS" if detection.is_anomaly else "good"
    return printable(
        f"{verdict:10}  {detection.score:<12.6g}  {_times_threshold(detection):11}  "
        f"{detection.timings.total_ms:<8.2f}  {result.path}"
    )


def calibration_text(done: ArtefactCalibration, num_good_images: int) -> str:
    """What a calibration changed, and what to do with it.

    Args:
        done: What was done.
        num_good_images: How many good images were given, readable or not.
    """
    new, old = done.calibration, done.previous
    lines = [
        f"threshold    {new.threshold:.6g}  (was {old.threshold:.6g}), {_how_chosen(new)}",
        f"good scores  {new.score_min:.6g} to {new.score_max:.6g}, {new.num_images} of {num_good_images} images read",
        f"promise      {new.promise}",
    ]
    if new.defects:
        lines.append(f"defects      {_defects_found(new)}")
    if new.note:
        lines.append(f"note         {new.note}")
    return "\n".join([*lines, "next         tfganomaly inspect MODEL IMAGES, or tfganomaly watch MODEL SOURCE"])


def benchmark_text(result: BenchmarkResult) -> str:
    """The figures of a benchmark."""
    latency, inference = result.latency_ms, result.inference_ms
    return "\n".join(
        [
            f"latency      p50 {latency['p50']:.2f} ms, p95 {latency['p95']:.2f}, p99 {latency['p99']:.2f}, "
            f"mean {latency['mean']:.2f}  ({result.runs} images in memory)",
            f"inference    p50 {inference['p50']:.2f} ms of it",
            f"throughput   {result.images_per_second:.0f} images/s",
            f"cold start   {result.cold_start_ms:.0f} ms from a new process to its first score",
            f"memory       {result.peak_rss_mb:.0f} MB resident at most",
            f"size         {_sizes(result.file_bytes, result.model_bytes)}",
            f"backend      {result.backend}",
        ]
    )


def info_record(metadata: ArtefactMetadata, inspection: FlatbufferInspection, file_bytes: int) -> dict[str, Any]:
    """The JSON object that `info --format json` prints; see `info_text`."""
    return {"metadata": metadata.to_dict(), "file_bytes": file_bytes, **inspection.to_dict()}


def info_text(metadata: ArtefactMetadata, inspection: FlatbufferInspection, file_bytes: int) -> str:
    """What is in an artefact, for people.

    Args:
        metadata: What it says about itself.
        inspection: What its network is made of.
        file_bytes: Size of the whole file.
    """
    preprocessing, calibration = metadata.preprocessing, metadata.calibration
    operations = ", ".join(f"{count} {name}" for name, count in inspection.operation_counts.items())
    types = ", ".join(f"{count} {name}" for name, count in inspection.tensor_type_counts.items())
    lines = [
        f"model         {metadata.model} ({metadata.recipe}), {metadata.quantization}, for {metadata.target}",
        f"size          {_sizes(file_bytes, inspection.size_bytes)}",
        f"images        {preprocessing.width} x {preprocessing.height} "
        f"{'grey' if preprocessing.channels == 1 else 'RGB'}, {preprocessing.resize_rule}",
        f"score         {metadata.score_rule.formula}, {metadata.score_rule.pooling} over the latent map",
        f"threshold     {calibration.threshold:.6g}, {_how_chosen(calibration)}",
        *([f"promise       {calibration.promise}"] if calibration.promise else []),
        *([f"defects       {_defects_found(calibration)}"] if calibration.defects else []),
        *([f"note          {calibration.note}"] if calibration.note else []),
        f"good scores   {calibration.score_min:.6g} to {calibration.score_max:.6g} of {calibration.num_images} images",
        f"trained on    {metadata.data.get('source', 'unknown')}",
        f"operations    {operations}",
        f"tensors       {types}",
        *(f"input         {_tensor_line(tensor)}" for tensor in inspection.inputs),
        *(f"output        {_tensor_line(tensor)}  {name}" for name, tensor in _named_outputs(metadata, inspection)),
    ]
    lines += [f"at export     {name.replace('_', ' ')}: {_shown(value)}" for name, value in metadata.parity.items()]
    return "\n".join(map(printable, lines))


def edgetpu_text(check: EdgeTpuCheck) -> str:
    """Where each operation runs, one a line, and what to conclude."""
    width = max([9, *(len(verdict.name) for verdict in check.operations)])
    lines = [f"{'':>4} {'operation':{width}}  version  {'output':18}  runs on   why"]
    for verdict in check.operations:
        output = " x ".join(map(str, verdict.output_shape))
        line = (
            f"{verdict.position:>4} {verdict.name:{width}}  {verdict.version:<7}  {output:18}  "
            f"{verdict.runs_on:8}  {verdict.reason}"
        )
        lines.append(line.rstrip())
    if check.num_mapped and check.parameter_bytes is not None:
        lines.append(
            f"parameters: {bytes_text(check.parameter_bytes)} of {ON_CHIP_BYTES / 1024**2:.0f} MiB on the chip"
        )
    return "\n".join(map(printable, [*lines, *check.conclusions()]))


def _times_threshold(detection: Detection) -> str:
    """The score as a multiple of the threshold; of one at or below 0 that would mislead."""
    return f"{detection.score / detection.threshold:.2f}" if detection.threshold > 0 else "-"


def _how_chosen(calibration: Calibration) -> str:
    defects = calibration.defects
    if calibration.method == "defects" and defects and defects.miss_cost is not None:
        weight = f"missing 1% of the defects weighs as much as {defects.miss_cost:g}% false alarms"
        return f"the best trade of missed defects and false alarms ({'balanced' if defects.miss_cost == 1 else weight})"
    sure = "on average" if calibration.confidence is None else f"with {calibration.confidence:.3%} confidence"
    is_kept = calibration.method != "quantile" or not calibration.note  # the note says that the images were too few
    wanted = "for" if is_kept else "asked for:"
    return f"{wanted} {calibration.false_alarm_rate:.2%} false alarms {sure.replace('.000%', '%')}"


def _sizes(file_bytes: int, network_bytes: int) -> str:
    return f"file {file_bytes / 1e6:.2f} MB, network {network_bytes / 1e6:.2f} MB"


def _defects_found(calibration: Calibration) -> str:
    defects = calibration.defects
    if defects is None:
        return ""
    text = f"{defects.num_found} of {defects.num_images} found"
    accuracy = calibration.balanced_accuracy
    return text if accuracy is None else f"{text}; balanced accuracy {accuracy:.3f} on the images it was set with"


def _tensor_line(tensor: TensorInfo) -> str:
    shape = " x ".join(map(str, tensor.shape))
    scale = f", scale {tensor.scales[0]:.6g}, zero point {tensor.zero_points[0]}" if tensor.scales else ""
    return f"{shape} {tensor.type}{scale}"


def _named_outputs(metadata: ArtefactMetadata, inspection: FlatbufferInspection) -> list[tuple[str, TensorInfo]]:
    wrong = [name for name, position in metadata.outputs.items() if not 0 <= position < len(inspection.outputs)]
    if wrong:
        raise ArtefactError(
            f"The metadata names the output '{wrong[0]}' at position {metadata.outputs[wrong[0]]}, but the model has "
            f"{len(inspection.outputs)} outputs. Export it again."
        )
    return [(name, inspection.outputs[position]) for name, position in metadata.outputs.items()]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)
