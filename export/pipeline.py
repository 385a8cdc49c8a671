"""From a trained run to an artefact that is proven to score as the run does: the story of `tfganomaly export`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.artefact import ArtefactMetadata, write_artefact
from edge_runtime.detector import AnomalyDetector
from edge_runtime.preprocessing import scale_pixels
from export.edgetpu_compiler import compiled_path, find_compiler
from export.errors import ExportError, ParityError
from export.options import ExportOptions
from export.parity_files import ParityFiles
from export.result import ExportResult
from tfganomaly.extras import require_extra
from tfganomaly.quiet_tensorflow import import_quietly
from tfganomaly.training.provenance import installed_versions
from tfganomaly.training.run_folder import RunFolder

if TYPE_CHECKING:
    from export.building import BuiltModel
    from export.edgetpu_target import EdgeTpuTarget
    from export.images import ExportImages
    from export.parity import ArtefactParity, ScoredOutputs
    from export.threshold import ThresholdTransfer
    from tfganomaly.training.run import TrainedRun

Progress = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`; stages come one after the other."""

_SUFFIX = ".tflite"
_LOWERING_CHECK_IMAGES = 32


def export_run(
    run: TrainedRun | Path | str,
    output_path: Path | str,
    options: ExportOptions | None = None,
    *,
    data_source: str | None = None,
    archive: Path | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Exports a run. The run is only read; an earlier artefact is replaced only by one that passed the gate.

    Args:
        run: A run whose training is finished, or its folder.
        output_path: The `.tflite` file to write. The parity report is written beside it, that of a file which was
            refused under a name of its own.
        options: How to export.
        data_source: Where the run's data is now, if it has moved.
        archive: The same of the local file or folder of a named data set.
        progress: Told about the stages.

    Returns:
        Where everything is and how well it agrees with the run.

    Raises:
        MissingExtraError: The `export` extra is not installed.
        RunError, NotExportableError: There is no finished run, or its model has no inference graph.
        DataError: The run's data is gone; say where it is with `data_source` or `archive`.
        ExportError: The model cannot be exported, or the Edge TPU's compiler failed.
        ParityError: The file drifted past the bounds of the options; its report was written, it was not.
        OutputError: A file cannot be written.
    """
    started = time.monotonic()
    options = options or ExportOptions()
    tell = progress or (lambda stage, done, total: None)
    output_path = Path(output_path)
    require_extra("export")
    files, refused = _free_places(output_path)
    compiler = find_compiler(options.edgetpu_compiler) if options.target == "edgetpu" else None
    if compiler is not None:
        _check_output(compiled_path(output_path))
    run, images = _open_run(run, options, data_source, archive, tell)
    graph, lowering_difference = _lower(run, images, options, tell)

    from export.edgetpu_target import refuse_too_large
    from export.gate import gate_failures
    from export.latency import measure_latencies_ms
    from export.parity import ParityReport, score_images
    from export.parity_report import write_parity_report
    from tfganomaly.evaluation.metrics import image_auroc

    if options.target == "edgetpu" and not options.allow_off_chip:
        refuse_too_large(graph.model.count_params())  # a byte each at least: said before the work
    scored_run = score_images(run, images.parity, lambda *count: tell("score with the run", *count))
    candidates, edgetpu = _candidates(run, images, graph, compiler, options, tell)
    tell("measure times", 0, 1)
    latencies_ms = measure_latencies_ms([one.built.flatbuffer for one in candidates], images.held_back[0])
    tell("measure times", 1, 1)
    fine_tuning = candidates[0].built.fine_tuning
    compared = _compared(run, scored_run, candidates, latencies_ms, images)
    report = ParityReport(
        run=run.description,
        data=f"{images.data_name}, {images.parity.part}",
        names=images.parity.names,
        labels=images.parity.labels,
        run_scores=scored_run.scores,
        run_threshold=run.threshold,
        run_auroc=image_auroc(images.parity.labels, scored_run.scores),
        num_stand_ins=images.parity.num_stand_ins,
        artefacts=compared,
        lowering_difference=lowering_difference,
        fine_tuning=fine_tuning.history if fine_tuning else (),
        best_step=fine_tuning.best_step if fine_tuning else 0,
        failures=gate_failures(compared[0], images.parity.labels, options),
        edgetpu=edgetpu,
    )
    if report.failures:
        write_parity_report(report, refused)
        raise ParityError(
            f"'{output_path}' was not written: {'; '.join(report.failures)}. The report of what was refused is "
            f"'{refused.html}'.",
            refused.html,
        )
    chosen = candidates[0]
    data = {**chosen.metadata.data, "exported_with": _data_at_hand(run, images)}
    metadata = replace(chosen.metadata, parity=report.summary(), data=data)
    # The report last: it says that the files were exported.
    compiled = edgetpu.write_compiled(output_path, metadata) if edgetpu else None
    written = write_artefact(output_path, chosen.built.flatbuffer, metadata)
    write_parity_report(report, files)
    for path in (refused.json, refused.html):
        path.unlink(missing_ok=True)  # of an earlier try
    return ExportResult(
        artefact=output_path,
        parity_json=files.json,
        parity_html=files.html,
        parity=report,
        metadata=written.metadata,
        size_bytes=output_path.stat().st_size,
        seconds=time.monotonic() - started,
        notes=_notes(run, images, metadata, options, output_path, compiled),
        compiled=compiled,
    )


@dataclass(frozen=True)
class _Candidate:
    """A built file with its metadata, and what it says of the images of the comparison."""

    built: BuiltModel
    metadata: ArtefactMetadata
    scored: ScoredOutputs


def _free_places(output_path: Path) -> tuple[ParityFiles, ParityFiles]:
    """Returns where the report goes, and where that of a refused file; nothing stands in the way there."""
    _check_output(output_path)
    files, refused = ParityFiles.beside(output_path), ParityFiles.beside(output_path.with_suffix(f".refused{_SUFFIX}"))
    for path in (files.json, files.html, refused.json, refused.html):
        if path.is_dir():
            raise ExportError(f"'{path}' is a folder; the parity report is written there. Move it away.")
    return files, refused


def _candidates(
    run: TrainedRun,
    images: ExportImages,
    graph: Any,
    compiler: Path | None,
    options: ExportOptions,
    tell: Progress,
) -> tuple[list[_Candidate], EdgeTpuTarget | None]:
    """Builds, calibrates and scores the file asked for, then those that it is compared with."""
    from export.building import build_model
    from export.edgetpu_target import target_edgetpu
    from export.threshold import ThresholdTransfer

    transfer = ThresholdTransfer(run, images.held_back, options.seed)
    candidates: list[_Candidate] = []
    edgetpu: EdgeTpuTarget | None = None
    for quantization in _quantizations(options):
        built = build_model(quantization, graph, images, run.score_rule, options, tell)
        if options.target == "edgetpu" and not candidates:
            edgetpu = target_edgetpu(built, compiler, options, tell)
        candidates.append(_Candidate(built, *_calibrate_and_score(built, run, transfer, images, options, tell)))
    return candidates, edgetpu


def _compared(
    run: TrainedRun,
    scored_run: ScoredOutputs,
    candidates: Sequence[_Candidate],
    latencies_ms: Sequence[float],
    images: ExportImages,
) -> tuple[ArtefactParity, ...]:
    """Holds each file against the run."""
    from export.parity import compare_with_run

    run_margin = run.threshold - float(np.median(run.calibration.score_quantiles))
    return tuple(
        compare_with_run(
            one.built.title, scored_run, run_margin, one.scored, images.parity, one.built.inspection, latency_ms
        )
        for one, latency_ms in zip(candidates, latencies_ms, strict=True)
    )


def _check_output(path: Path) -> None:
    """Says before the work what would go wrong after it."""
    if path.suffix != _SUFFIX:
        raise ExportError(f"The artefact is to be '{path}'; expected a name that ends in {_SUFFIX}.")
    if path.is_dir():
        raise ExportError(f"'{path}' is a folder; expected the name of the file to write.")
    if not path.parent.is_dir():
        raise ExportError(f"There is no folder '{path.parent}' to write '{path.name}' to. Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise ExportError(f"The folder '{path.parent}' is not writable. Choose another --output.")


def _open_run(
    run: TrainedRun | Path | str,
    options: ExportOptions,
    data_source: str | None,
    archive: Path | None,
    tell: Progress,
) -> tuple[TrainedRun, ExportImages]:
    """Reads the images first: wrong data is said before TensorFlow takes its seconds to load."""
    from export.images import load_export_images

    folder = RunFolder(Path(run)) if isinstance(run, (str, Path)) else run.folder
    folder.require_finished()
    if folder.read_config().score_rule.needs_discriminator:
        raise ExportError(
            f"The score of the run '{folder.path}' uses feature_l2, a distance in the discriminator, which is not "
            "exported: a device runs the generator alone. Let another score decide, which needs no new training: "
            "`tfganomaly train "
            f"{folder.read_config().data_source} --run {folder.path} --resume --score latent_l2`."
        )
    config = folder.read_config()
    if archive is not None or data_source not in (None, config.data_source):
        config = replace(config, data_archive=str(archive) if archive else None)  # the run's belongs to its own source
    images = load_export_images(config, options, data_source, tell)
    tell("load TensorFlow", 0, 1)
    import_quietly()
    tell("load TensorFlow", 1, 1)
    from tfganomaly.training.run import TrainedRun

    return (run if isinstance(run, TrainedRun) else TrainedRun(folder.path)), images


def _lower(run: TrainedRun, images: ExportImages, options: ExportOptions, tell: Progress) -> tuple[Any, float]:
    """Lowers the run's graph, gives it the form that suits the target, and proves it on held-back images."""
    from export.lowering import check_same_function, lower_graph
    from export.transposed_convolutions import replace_transposed_convolutions

    tell("fold batch normalization", 0, 1)
    inference_graph = run.model.inference_graph()
    graph = lower_graph(inference_graph)
    if options.target == "cpu":
        graph = replace_transposed_convolutions(graph)
    difference = check_same_function(inference_graph, graph, scale_pixels(images.held_back[:_LOWERING_CHECK_IMAGES]))
    tell("fold batch normalization", 1, 1)
    return graph, difference


def _quantizations(options: ExportOptions) -> list[str]:
    """What to build: the file asked for, then those that it is compared with, float32 always."""
    wanted = [options.quantization, "float32"] + (["ptq"] if options.compare else [])
    return list(dict.fromkeys(wanted))


def _calibrate_and_score(
    built: BuiltModel,
    run: TrainedRun,
    transfer: ThresholdTransfer,
    images: ExportImages,
    options: ExportOptions,
    tell: Progress,
) -> tuple[ArtefactMetadata, ScoredOutputs]:
    """Runs a built model through the runtime: its own threshold first, then the images of the comparison."""
    from export.parity import score_images
    from tfganomaly.evaluation.calibrate import calibrate_scorer

    metadata = _provisional_metadata(built, run, options)
    with tempfile.TemporaryDirectory(prefix="tfganomaly-export-") as folder:
        path = Path(folder) / f"candidate{_SUFFIX}"
        write_artefact(path, built.flatbuffer, metadata)
        detector = AnomalyDetector(path)
        calibration = calibrate_scorer(
            detector,
            images.held_back,
            images.held_back_textures,
            run.config.training.false_alarm_rate,
            lambda *count: tell(f"calibrate {built.title}", *count),
        )
        metadata = metadata.with_calibration(transfer.apply(calibration, detector))
        write_artefact(path, built.flatbuffer, metadata)
        detector = AnomalyDetector(path)
        scored = score_images(detector, images.parity, lambda *count: tell(f"score with {built.title}", *count))
    return metadata, scored


def _provisional_metadata(built: BuiltModel, run: TrainedRun, options: ExportOptions) -> ArtefactMetadata:
    """The artefact's metadata with the run's own calibration, and without parity."""
    manifest = run.folder.read_manifest()
    return ArtefactMetadata(
        model=run.config.training.model,
        recipe=run.config.training.recipe,
        preprocessing=run.preprocessing,
        score_rule=run.score_rule,
        calibration=run.calibration,
        outputs=built.output_positions,
        quantization=built.quantization,
        target=options.target,
        data={
            "source": run.data_source,
            "seed": run.data_seed,
            "validation_fraction": run.validation_fraction,
            "fingerprint": manifest.get("data_fingerprint"),
            "num_train": manifest.get("num_train"),
            "num_validation": manifest.get("num_validation"),
        },
        versions=installed_versions(),
    )


def _data_at_hand(run: TrainedRun, images: ExportImages) -> dict[str, Any]:
    """What the export read, under the names that the run's own data has in the metadata."""
    return {
        "source": images.source,
        "fingerprint": run.fingerprint_of(images.training_items),
        "num_train": len(images.train),
        "num_validation": len(images.held_back),
    }


def _notes(
    run: TrainedRun,
    images: ExportImages,
    metadata: ArtefactMetadata,
    options: ExportOptions,
    output_path: Path,
    compiled: Path | None,
) -> tuple[str, ...]:
    from export.images import FEWEST_TEST_IMAGES

    notes = []
    if images.parity.num_stand_ins == images.parity.labels.sum():
        notes.append(
            "The data has no anomalous test images, so disturbed copies of good ones stood for them: the AUROC "
            "compares run and file, and says nothing of real defects."
        )
    elif images.parity.num_stand_ins:
        notes.append(
            f"The data has fewer than {FEWEST_TEST_IMAGES} good or anomalous test images that can be read, so run "
            "and file were compared on held-back good images and disturbed copies of them too: the AUROC says little "
            "of real defects."
        )
    if options.compare and options.quantization == "ptq":
        notes.append(
            "--compare adds post-training quantization, which is what was exported: float32 alone stands beside it. "
            "For both kinds of int8 side by side export with --quantization qat --compare."
        )
    manifest = run.folder.read_manifest()
    expected = manifest.get("num_validation")
    if manifest.get("data_fingerprint") != metadata.data["exported_with"]["fingerprint"]:
        notes.append(
            f"The good images of '{images.source}' are not those that the run was trained on: the data has changed "
            "since the training. Ranges, fine-tuning and threshold are of the images as they are now."
        )
    elif expected != len(images.held_back):
        notes.append(
            f"The run held back {expected} good images, now {len(images.held_back)} were found: the data has changed "
            f"since the training."
        )
    if images.num_unreadable:
        notes.append(f"{images.num_unreadable} images could not be read and were left out.")
    stale = compiled_path(output_path)
    if compiled is None and stale.exists():
        notes.append(f"'{stale}' is of an earlier export and does not belong to this one.")
    return (*notes, *metadata.calibration.remarks)
